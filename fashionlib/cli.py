"""The command line: ``fashionlib --help``. Thin: a command reads its options and calls one function.

Modules are imported inside the commands, so that help and mistakes answer at once.
"""

import ast
import os
from pathlib import Path

import click

FOLDER = click.Path(path_type=Path, file_okay=False)
EXISTING = click.Path(path_type=Path, exists=True)


class _Commands(click.Group):
    """A group whose commands end a foreseen error with its sentence and exit code 1."""

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.ClickException("Stopped. The same command goes on from here.") from None
        except (ValueError, OSError, MemoryError) as error:
            if os.environ.get("FASHION_DEBUG"):
                raise
            raise click.ClickException(str(error) or type(error).__name__) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="fashionlib")
def main() -> None:
    """From raw fashion photos to label maps, trained segmenters, Table I, figures and cut-outs.

    raw/, data/ and runs/ lie in the repository, or where FASHION_HOME says. FASHION_DEBUG=1 shows the
    traceback of an error.
    """


@main.command()
@click.option("--photos", default=400, help="Annotated photos to draw.")
@click.option("--seed", default=0, help="Another seed draws another sample.")
def sample(photos: int, seed: int) -> None:
    """Draw the sample into raw/sample and prepare it in data/sample."""
    from fashionlib import paths
    from fashionlib.notebook import stratify_by_default
    from fashionlib.prepare import prepare
    from fashionlib.sources import sample

    raw = sample.make(paths.raw_folder("sample"), photos, seed)
    _say_prepared(prepare(raw, paths.data_folder("sample"), stratify=stratify_by_default("sample")))


@main.group()
def convert() -> None:
    """Bring a data set into the raw layout (that of Kaggle's iMaterialist 2020)."""


@convert.command("ccp")
@click.argument("src", type=EXISTING)
@click.argument("out", type=FOLDER)
def convert_ccp(src: Path, out: Path) -> None:
    """Clothing Co-Parsing: SRC is the unpacked archive with photos/ and annotations/."""
    from fashionlib.sources import ccp

    click.echo(f"Wrote {ccp.convert(src, out)}.")


@convert.command("fashionpedia")
@click.argument("src", type=EXISTING)
@click.argument("out", type=FOLDER)
def convert_fashionpedia(src: Path, out: Path) -> None:
    """Fashionpedia: SRC holds CVDF's JSON files and unpacked zips, or is one such JSON file."""
    from fashionlib.sources import fashionpedia

    click.echo(f"Wrote {fashionpedia.convert(src, out)}.")


@convert.command("folder")
@click.argument("src", type=EXISTING)
@click.argument("out", type=FOLDER)
@click.option("--table", type=EXISTING, help="The class table.  [default: SRC/classes.csv]")
def convert_folder(src: Path, out: Path, table: Path | None) -> None:
    """Your own photos and painted masks: SRC holds photos/, masks/ and the class table classes.csv."""
    from fashionlib.sources import folder

    click.echo(f"Wrote {folder.convert(src, out, table)}.")


@main.command()
@click.argument("data")
def download(data: str) -> None:
    """Fetch ccp or fashionpedia from its official place, going on where a download stopped."""
    from fashionlib import paths
    from fashionlib.sources import download

    source = download.download(data)
    click.echo(f"Now: fashionlib convert {data} {source} {paths.raw_folder(data)}")


@main.command()
@click.argument("prepared", type=FOLDER)
@click.argument("out", type=FOLDER)
@click.option("--split", default="train", help="Whose photos: train for training, test for a test.")
@click.option("--photos", "count", default=400, help="Composites to make.")
@click.option("--seed", default=0, help="Another seed makes other composites.")
@click.option("--workers", type=int, help="Processes; all cores if not given.")
def flatlay(prepared: Path, out: Path, **options) -> None:
    """Single garments of the PREPARED photos, alone and large on other grounds: a raw folder OUT."""
    from fashionlib.sources import flatlay

    click.echo(f"Wrote {flatlay.make(prepared, out, **options)}.")


@main.command()
@click.argument("raw", type=FOLDER)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Also write the page to this file."
)
def audit(raw: Path, out: Path | None) -> None:
    """One page about a raw folder, to be read before any training."""
    from fashionlib.audit import audit

    click.echo(audit(raw, out))


@main.command()
@click.argument("raw", type=FOLDER)
@click.argument("out", type=FOLDER)
@click.option("--model", type=EXISTING, help="Checkpoint that draws masks for the tagged photos of RAW/test.")
@click.option("--add", type=FOLDER, multiple=True, help="Raw folder whose photos are added; several times.")
def extend(raw: Path, out: Path, model: Path | None, add: tuple[Path, ...]) -> None:
    """Write RAW with more photos for training to OUT: tagged ones, other folders; never scored on."""
    from fashionlib import models, selftrain

    loaded = models.load(model) if model else None
    click.echo(f"Wrote {selftrain.extend(raw, out, loaded, add)}.")


@main.command()
@click.argument("checkpoints", type=EXISTING, nargs=-1, required=True)
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
def pack(checkpoints: tuple[Path, ...], out: Path) -> None:
    """Average CHECKPOINTS of one run and write them to OUT in int8: a quarter of the size."""
    from fashionlib.models.pack import pack

    click.echo(f"Wrote {pack(checkpoints, out)} ({out.stat().st_size / 1e6:.1f} MB).")


@main.command()
@click.argument("raw", type=FOLDER)
@click.argument("out", type=FOLDER)
@click.option(
    "--class-set", default="main", help="main (the paper's 28), person (with hair and skin) or all (parts)."
)
@click.option(
    "--part-only", default="leave_out", help="Photos that carry parts only: leave_out, ignore or keep."
)
@click.option(
    "--fractions", nargs=3, type=float, default=(0.7, 0.2, 0.1), help="Shares of train, val and test."
)
@click.option("--seed", default=0, help="Of the split.")
@click.option(
    "--stratify/--random",
    default=None,
    help="Spread rare classes over the splits?  [default: not for the paper's data]",
)
@click.option("--max-side", type=int, help="Shrink photos whose longer side has more pixels.")
@click.option("--max-bad", default=0.01, help="Share of unusable photos to go on with.")
@click.option("--workers", type=int, help="Processes; all cores if not given.")
def prepare(raw: Path, out: Path, stratify: bool | None, **options) -> None:
    """Write label maps and splits of the raw folder RAW to OUT, as MMSegmentation expects them."""
    from fashionlib.notebook import stratify_by_default
    from fashionlib.prepare import prepare

    stratify = stratify_by_default(out.resolve().name) if stratify is None else stratify
    _say_prepared(prepare(raw, out, stratify=stratify, **options))


@main.command()
@click.option(
    "--data", required=True, help="sample, ccp, fashionpedia, imaterialist, or a folder of yours below raw/."
)
@click.option("--models", default="", help="Only these of the plan, or these beside it: a,b,…")
@click.option("--preset", help="For every run: paper, quick or finetune.")
@click.option(
    "-p",
    "--parameter",
    "parameters",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="Of 03_train, for every run.",
)
@click.option("--plan", type=EXISTING, help="Runs and parameters.  [default: results/<data>/plan.yaml]")
@click.option(
    "--raw", type=EXISTING, help="The unpacked Clothing Co-Parsing archive, where raw/ccp is missing."
)
@click.option("--until", help="Stop after this notebook, for instance 02_prepare.")
@click.option("--force", is_flag=True, help="Run also what is up to date.")
def reproduce(
    data: str, models: str, preset: str | None, parameters: tuple, plan: Path | None, **options
) -> None:
    """Run the six notebooks in order, 03 once a model, skipping what is up to date."""
    from fashionlib import plan as plans
    from fashionlib.reproduce import StepFailed, reproduce

    overrides = {name: _literal(value) for name, value in parameters} | ({"preset": preset} if preset else {})
    try:
        reproduce(
            data, plans.read(data, plan, [name for name in models.split(",") if name], overrides), **options
        )
    except StepFailed as error:
        raise click.ClickException(str(error)) from None


@main.command()
def recipe() -> None:
    """Write results/recipe.md: the paper's recipe, setting by setting, and whose each is."""
    from fashionlib import paths
    from fashionlib.files import write_text
    from fashionlib.train.table import recipe_page

    click.echo(write_text(paths.PROJECT / "results" / "recipe.md", recipe_page()))


@main.command()
@click.argument("data")
@click.option("--check", is_flag=True, help="Only compare with what is committed.")
def publish(data: str, check: bool) -> None:
    """Copy this machine's results and figures of DATA into the repository."""
    from fashionlib import publish as publishing

    if not check:
        click.echo(f"Published {len(publishing.publish(data))} files of {data}.")
        return
    differences = publishing.compare(data)
    click.echo(publishing.summary(data))
    if differences:
        raise click.ClickException("\n".join(["This is not what is committed:", *differences]))
    click.echo(
        f"As committed in results/{data}: same files, columns and rows, mIoU within {publishing.TOLERANCE}."
    )


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
@click.option("--max-pixels", default=200_000_000, help="Refuse larger photos.")
def cutout(photos: tuple[str, ...], out: str | None, about: bool, **options) -> None:
    """Remove the background of PHOTOS (files, folders, globs): RGBA pictures of their own size.

    Ends with 0, with 1 if some photo failed, with 2 if what is asked for makes no sense.
    """
    from fashionlib.cutout import batch
    from fashionlib.cutout.about import about as facts

    try:
        if about:
            return click.echo(facts(options["model"]))
        if not photos or not out:
            raise click.UsageError("PHOTOS and --out say what to cut out, and where to.")
        result = batch.run(list(photos), out, **options)
    except (ValueError, FileNotFoundError) as error:  # before anything was written
        raise click.UsageError(str(error)) from None
    click.echo(f"{result.done} cut out, {result.skipped} up to date, {result.failed} failed: {result.report}")
    raise SystemExit(result.exit_code)


@main.command()
@click.argument("model", metavar="RUN_OR_CHECKPOINT", type=EXISTING)
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--size", nargs=2, type=int, metavar="H W", help="Of the photos.  [default: the checkpoint's]")
def export(model: Path, out: Path, size: tuple[int, int] | None) -> None:
    """Write a checkpoint, or a run's picked epoch, as an ONNX graph: uint8 photos in, logits out.

    Normalisation is part of the graph. Of a model tested with sliding windows it is one window.
    """
    from fashionlib.export import export

    done = export(model, out, size)
    click.echo(
        f"Wrote {done.path} for photos of {done.size[0]} x {done.size[1]} (H x W). onnxruntime's logits"
        f" differ from torch's by at most {done.difference:.2g}; they spread by {done.spread:.2g}."
    )


@main.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("prepared", type=EXISTING)
@click.option("--subject", default="apparel", help="What stays: apparel, or the whole person.")
def calibrate(model: Path, prepared: Path, subject: str) -> None:
    """Fit the predicted quality of MODEL's cut-outs to their IoU on the validation split of PREPARED.

    The fit is kept in the checkpoint MODEL itself and tried on the test split.
    """
    from fashionlib.cutout.calibrate import calibrate

    test = calibrate(model, prepared, subject)["test"]
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


@main.command()
def doctor() -> None:
    """Versions, libraries, disk and GPU, and what to do about a bad one."""
    from fashionlib import doctor

    raise SystemExit(doctor.main())


def _say_prepared(summary: dict) -> None:
    """The counts of a ``dataset.json`` in a few lines."""
    counts, left_out = summary["counts"], summary["left_out"]
    click.echo(
        f"{summary['data']}: {counts['photos']} photos ({counts['train']} train, {counts['val']} val, "
        f"{counts['test']} test), {len(summary['classes'])} classes, {counts['instances']} instances."
    )
    for reason, photos in left_out.items():
        click.echo(f"Left out: {photos} photos ({reason.replace('_', ' ')}), listed in left_out.csv.")


def _literal(text: str):
    """A Python literal as papermill reads it (1e-4, True, None, [420, 280]); anything else is text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
