"""The commands whose input is photos without labels."""

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path, file_okay=False)
EXISTING = click.Path(path_type=Path, exists=True)
SHOWN = 5  # reasons of photos that failed; report.csv has all


@click.command()
@click.argument("photos", nargs=-1)
@click.option("--out", help="The folder for the pictures and report.csv.")
@click.option("--model", type=EXISTING, help="A checkpoint: runs/…/epoch_9.safetensors.  [default: ours]")
@click.option("--about", is_flag=True, help="Only say which model it is, its data and licences.")
@click.option("--subject", default="apparel", help="What stays: apparel, or the whole person.")
@click.option("--keep", help="Only these classes or groups: dress,shoe or upperbody.")
@click.option("--drop", help="All but these.")
@click.option("--mask-in", type=EXISTING, help="A mask made elsewhere, or a folder of them.")
@click.option("--apply-to", multiple=True, help="Renditions of the same shot (once for each).")
@click.option("--edge", help="hard, soft, or matting (hair, fur).  [default: hard; a given mask's own]")
@click.option("--grow", default=0, help="Pixels outwards; negative: inwards.")
@click.option("--layers", is_flag=True, help="Also a picture for each class, and a manifest.")
@click.option("--mask", is_flag=True, help="The alpha alone, as a grey picture.")
@click.option("--background", default="none", help="none, a colour (white, #fff, #RRGGBB), blur, or a photo.")
@click.option("--shadow", default="none", help="none, or soft: below the subject.")
@click.option("--crop", is_flag=True, help="To the subject.")
@click.option("--margin", default=0.0, help="Around the crop, as a share of the subject's longer side.")
@click.option("--size", type=int, help="The longer side in pixels.  [default: the photo's]")
@click.option("--canvas", metavar="WxH", help="2000x2000: the subject in the middle of so many pixels.")
@click.option("--fill", default=0.85, help="The subject's share of the canvas, where it has less room.")
@click.option("--format", default="png", help="png, webp, avif or jpg.")
@click.option("--strip", is_flag=True, help="Leave out EXIF, XMP and dots per inch.")
@click.option("--preview", is_flag=True, help="Also preview.html, preview.png and worst.png.")
@click.option("--workers", default=1, help="Processes; with Ray: actors.")
@click.option("--runtime", default="auto", help="openvino (the shipped model), torch (any), or auto.")
@click.option("--engine", default="local", help="local, or ray: on a cluster, with fsspec URLs.")
@click.option("--max-pixels", default=50_000_000, help="Refuse larger photos; these take 2 GB of memory.")
def cutout(photos: tuple[str, ...], out: str | None, about: bool, **options) -> None:
    """Remove the background of PHOTOS (files, folders, globs): RGBA pictures of their own size.

    For a marketplace: --canvas 2000x2000 --background white --format jpg, and --shadow soft where it may be.

    Ends with 0, with 1 if some photo failed, with 2 if what is asked for makes no sense.
    """
    from fashionlib.core.files import FolderLocked

    try:
        if about:
            from fashionlib.cutout.about import about as facts

            return click.echo(facts(options["model"]))
        if not photos or not out:
            raise click.UsageError("PHOTOS and --out say what to cut out, and where to.")
        from fashionlib.cutout import batch
        from fashionlib.cutout.tasks import readable

        result = batch.run(list(photos), out, **options)
    except FolderLocked:  # by itself what is asked for makes sense
        raise
    except (ValueError, FileNotFoundError) as error:  # before anything was written
        raise click.UsageError(str(error)) from None
    for reason in result.reasons[:SHOWN]:
        click.echo(f"Failed: {reason}", err=True)
    if more := len(result.reasons[SHOWN:]):
        click.echo(f"and {more} more: report.csv has them.", err=True)
    report = readable(result.report)
    click.echo(f"{result.done} cut out, {result.skipped} up to date, {result.failed} failed: {report}")
    raise SystemExit(result.exit_code)


@click.command()
@click.argument("photos", nargs=-1, required=True)
@click.option("--out", required=True, type=FOLDER, help="The new folder for photos/, masks/, classes.csv.")
@click.option("--model", type=EXISTING, help="A checkpoint: runs/…/epoch_9.safetensors.  [default: ours]")
@click.option(
    "--group", "groups", nargs=2, multiple=True, metavar="NAME CLASSES", help="top upperbody,wholebody"
)
def draft(photos: tuple[str, ...], out: Path, model: Path | None, groups: tuple) -> None:
    """Masks of PHOTOS by a model, to correct in any editor and give to `convert folder`.

    Each --group makes a class of your own; what is in none becomes background.
    """
    from fashionlib.cutout import drafts

    folder = drafts.draft(list(photos), out, model, dict(groups) or None)
    own = " --own-classes" if groups else ""
    click.echo(f"Correct {folder / 'masks'}, then: fashionlib convert folder {folder} raw/NAME{own}")
