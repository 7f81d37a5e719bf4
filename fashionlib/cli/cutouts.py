"""Commands about cut-outs: made, judged, scored."""

from pathlib import Path

import click

from fashionlib.cli import EXISTING, FOLDER, main

SHOWN = 5  # reasons of photos that failed; report.csv has all


@main.command()
@click.argument("photos", nargs=-1)
@click.option("--out", help="The folder for the pictures and report.csv.")
@click.option("--model", type=EXISTING, help="A checkpoint: runs/…/epoch_9.safetensors.  [default: ours]")
@click.option("--about", is_flag=True, help="Only say which model it is, its data and licences.")
@click.option("--subject", default="apparel", help="What stays: apparel, or the whole person.")
@click.option("--keep", help="Only these classes or groups: dress,shoe or upperbody.")
@click.option("--drop", help="All but these.")
@click.option("--mask-in", type=EXISTING, help="A mask made elsewhere, or a folder of them.")
@click.option("--apply-to", multiple=True, help="Renditions of the same shot (once for each).")
@click.option("--edge", help="hard, soft or matting.  [default: hard; a given mask's own]")
@click.option("--grow", default=0, help="Pixels outwards; negative: inwards.")
@click.option("--layers", is_flag=True, help="Also a picture for each class, and a manifest.")
@click.option("--mask", is_flag=True, help="The alpha alone, as a grey picture.")
@click.option("--background", default="none", help="none, white, #RRGGBB, blur, or a photo.")
@click.option("--crop", is_flag=True, help="To the subject.")
@click.option("--margin", default=0.0, help="Around the crop, as a share of the subject's longer side.")
@click.option("--size", type=int, help="The longer side in pixels.  [default: the photo's]")
@click.option("--format", default="png", help="png, webp or jpg.")
@click.option("--strip", is_flag=True, help="Leave out EXIF, XMP and dots per inch.")
@click.option("--preview", is_flag=True, help="Also preview.html, preview.png and worst.png.")
@click.option("--workers", default=1, help="Processes; with Ray: actors.")
@click.option("--engine", default="local", help="local, or ray: on a cluster, with fsspec URLs.")
@click.option("--max-pixels", default=50_000_000, help="Refuse larger photos; these take 2 GB of memory.")
def cutout(photos: tuple[str, ...], out: str | None, about: bool, **options) -> None:
    """Remove the background of PHOTOS (files, folders, globs): RGBA pictures of their own size.

    Ends with 0, with 1 if some photo failed, with 2 if what is asked for makes no sense.
    """
    from fashionlib.cutout import batch
    from fashionlib.cutout.about import about as facts
    from fashionlib.cutout.sources import readable
    from fashionlib.files import Busy

    try:
        if about:
            return click.echo(facts(options["model"]))
        if not photos or not out:
            raise click.UsageError("PHOTOS and --out say what to cut out, and where to.")
        result = batch.run(list(photos), out, **options)
    except Busy:  # by itself what is asked for makes sense
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


@main.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("prepared", type=EXISTING)
@click.option("--subject", default="apparel", help="What stays: apparel, or the whole person.")
@click.option(
    "--by",
    type=EXISTING,
    help="Fit to the cut-outs of this checkpoint, which never saw the validation photos, if MODEL did.",
)
def calibrate(model: Path, prepared: Path, subject: str, by: Path | None) -> None:
    """Fit the predicted quality of MODEL's cut-outs to their IoU on the validation split of PREPARED.

    The fit is kept in the checkpoint MODEL itself and tried, with MODEL, on the test split.
    """
    from fashionlib.cutout.calibrate import calibrate

    test = calibrate(model, prepared, subject, by)["test"]
    click.echo(
        f"On {test['photos']} test photos predicted and real IoU have a rank correlation (Spearman) of"
        f" {test['spearman']:.2f} and are {test['distance']:.3f} apart on average."
    )


@main.command("score-cutouts")
@click.option("--data", required=True, help="A prepared data set: ccp-person.")
@click.option("--model", type=EXISTING, help="A checkpoint: runs/…/epoch_9.safetensors.  [default: ours]")
@click.option("--out", default="results/cutouts", type=FOLDER, help="Where scores.csv and scores.md go.")
@click.option("--split", default="test", help="Of the data's photos.")
@click.option("--edge", default="hard", help="hard, soft or matting.")
@click.option("--photos", type=int, help="Only so many, for a trial.  [default: all of the split]")
@click.option("--timed", default=20, help="Photos to time on one core and on two.")
@click.option("--classical/--no-classical", default=True, help="Also GrabCut and a colour threshold.")
def score_cutouts(**options) -> None:
    """Score a model's cut-outs on photos whose labels are known, with GrabCut and a threshold beside it."""
    from fashionlib import cutscore

    cutscore.score(**options)
    click.echo(f"Wrote {options['out'] / 'scores.md'}.")


@main.command("score-edges")
@click.option("--data", required=True, help="A prepared data set: ccp-person.")
@click.option("--model", type=EXISTING, help="A checkpoint: runs/…/epoch_9.safetensors.  [default: ours]")
@click.option("--out", default="results/cutouts", type=FOLDER, help="Where edges.csv and edges.md go.")
@click.option("--split", default="test", help="Whose garments and grounds.")
@click.option("--composites", "count", default=60, help="How many.")
@click.option("--seed", default=0, help="Another seed makes other composites.")
def score_edges(model: Path | None, **options) -> None:
    """Measure the kinds of edge on composites whose alpha is known."""
    from fashionlib import cutout
    from fashionlib.cutscore import edgescore

    edgescore.score(model=cutout.load_model(model), **options)
    click.echo(f"Wrote {options['out'] / 'edges.md'}.")
