"""The command line: ``fashionlib --help``. Thin: a command reads its options and calls one function.

Modules are imported inside the commands, so that help and mistakes answer at once.
"""

import ast
from importlib import import_module
from pathlib import Path

import click

from fashionlib.cli.errors import Commands
from fashionlib.cli.photos import EXISTING, FOLDER, cutout, draft

FILE = click.Path(path_type=Path, dir_okay=False)
OWN_KINDS = ("folder", "coco", "labelme")  # of your own photos


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="fashionlib")
def main() -> None:
    """From raw fashion photos to label maps, trained segmenters, Table I, figures and cut-outs.

    raw/, data/ and runs/ lie in the repository, or where FASHION_HOME says. FASHION_DEBUG=1 shows the
    traceback of an error.
    """


@main.command()
def sample() -> None:
    """Unpack the sample, drawings of dressed figures, into raw/sample and prepare it in data/sample."""
    from fashionlib.core import paths
    from fashionlib.data.prepare import prepare
    from fashionlib.data.sources import unpack_sample
    from fashionlib.data.splits import stratify_by_default

    raw = unpack_sample(paths.raw_folder("sample"))
    _say_prepared(prepare(raw, paths.data_folder("sample"), stratify=stratify_by_default("sample")))


@main.command()
@click.argument("kind", type=click.Choice(["ccp", "fashionpedia", *OWN_KINDS]))
@click.argument("src", type=EXISTING)
@click.argument("out", type=FOLDER)
@click.option("--table", type=EXISTING, help="colour,class or label,class.  [default of folder: classes.csv]")
@click.option("--own-classes", is_flag=True, help="Any names of classes, not only Fashionpedia's.")
def convert(kind: str, src: Path, out: Path, table: Path | None, own_classes: bool) -> None:
    """Bring a data set into the raw layout (that of Kaggle's iMaterialist 2020).

    ccp, Clothing Co-Parsing: SRC is the unpacked archive with photos/ and annotations/.

    fashionpedia: SRC holds CVDF's JSON files and unpacked zips, or is one such JSON file.

    folder, your own photos and painted masks: SRC holds photos/, masks/ and the class table classes.csv.

    coco, an export of CVAT or Label Studio: SRC holds the JSON and its photos, or is the JSON.

    labelme: SRC holds LabelMe's JSON files and the photos.
    """
    if kind not in OWN_KINDS and (table or own_classes):
        raise click.UsageError(f"--table and --own-classes go with {', '.join(OWN_KINDS)}.")
    given = {"table": table, "own": own_classes} if kind in OWN_KINDS else {}
    click.echo(f"Wrote {import_module(f'fashionlib.data.sources.{kind}').convert(src, out, **given)}.")


@main.command()
@click.argument("data")
def download(data: str) -> None:
    """Fetch ccp or fashionpedia from its official place, going on where a download stopped."""
    from fashionlib.core import paths
    from fashionlib.data.sources import download

    source = download.download(data)
    click.echo(f"Now: fashionlib convert {data} {source} {paths.raw_folder(data)}")


@main.command()
@click.argument("raw", type=FOLDER)
@click.option("--out", type=FILE, help="Also write the page to this file.")
def audit(raw: Path, out: Path | None) -> None:
    """One page about a raw folder, to be read before any training."""
    from fashionlib.data.audit import audit

    click.echo(audit(raw, out))


@main.command()
@click.argument("raw", type=FOLDER)
@click.argument("out", type=FOLDER)
@click.option(
    "--class-set", default="main", help="main (the paper's 28), person (+ hair, skin), all (+ parts)."
)
@click.option("--part-only", default="leave_out", help="Photos with parts only: leave_out, ignore or keep.")
@click.option("--fractions", nargs=3, type=float, default=(0.7, 0.2, 0.1), help="Of train, val and test.")
@click.option("--seed", default=0, help="Of the split.")
@click.option(
    "--stratify/--random", default=None, help="Rare classes in all splits?  [default: not the paper's]"
)
@click.option("--shuffle/--in-order", default=True, help="Split at random, or in the order of train.csv?")
@click.option("--order", default="area", help="Overlaps: larger instances below (area), or as listed (csv).")
@click.option("--max-side", type=click.IntRange(1), help="Shrink photos whose longer side has more pixels.")
@click.option("--max-bad", type=click.FloatRange(0, 1), default=0.01, help="Share of photos that may be bad.")
@click.option("--workers", type=click.IntRange(1), help="Processes; all cores if not given.")
def prepare(raw: Path, out: Path, stratify: bool | None, **options) -> None:
    """Write label maps and splits of the raw folder RAW to OUT, as MMSegmentation expects them."""
    from fashionlib.data.prepare import prepare
    from fashionlib.data.splits import stratify_by_default

    if stratify is None:
        stratify = options["shuffle"] and stratify_by_default(out.resolve().name)
    _say_prepared(prepare(raw, out, stratify=stratify, **options))


def _say_prepared(summary: dict) -> None:
    """The counts of a ``dataset.json`` in a few lines."""
    counts, left_out = summary["counts"], summary["left_out"]
    click.echo(
        f"{summary['data']}: {counts['photos']} photos ({counts['train']} train, {counts['val']} val, "
        f"{counts['test']} test), {len(summary['classes'])} classes, {counts['instances']} instances."
    )
    for reason, photos in left_out.items():
        click.echo(f"Left out: {photos} photos ({reason.replace('_', ' ')}), listed in left_out.csv.")


@main.command()
@click.option(
    "--data", required=True, help="sample, ccp, fashionpedia, imaterialist, or your folder in raw/."
)
@click.option("--models", default="", help="Only these of the plan, or these beside it: a,b,…")
@click.option("--preset", help="For every run: paper, quick, finetune or study.")
@click.option(
    "-p", "--parameter", "parameters", nargs=2, multiple=True, metavar="NAME VALUE", help="Of 03_train."
)
@click.option("--plan", type=EXISTING, help="Runs and parameters.  [default: results/<data>/plan.yaml]")
@click.option("--raw", type=EXISTING, help="The unpacked CCP archive, where raw/ccp is missing.")
@click.option("--until", help="Stop after this notebook, for instance 02_prepare.")
@click.option("--force", is_flag=True, help="Run also what is up to date.")
@click.option("--trust-checkpoint", is_flag=True, help="Load -p init's file though it may run any code.")
def reproduce(
    data: str,
    models: str,
    preset: str | None,
    parameters: tuple,
    plan: Path | None,
    trust_checkpoint: bool,
    **options,
) -> None:
    """Run the notebooks in order, 03 once a model, skipping what is up to date."""
    from fashionlib.reproduce import StepFailed, reproduce
    from fashionlib.reproduce import plan as plans

    overrides = {name: _literal(value) for name, value in parameters} | ({"preset": preset} if preset else {})
    read = plans.read(data, plan, [name for name in models.split(",") if name], overrides)
    if trust_checkpoint:
        for run in read[plans.TRAIN]:
            run["settings"] = {**(run.get("settings") or {}), "trust_checkpoint": True}
    try:
        reproduce(data, read, **options)
    except StepFailed as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.argument("name", required=False)
@click.option("--data", default="ccp", help="The study is results/DATA/studies/NAME.yaml.")
@click.option("--hours", is_flag=True, help="Only time a few steps of each arm of NAME that lacks runs.")
def study(name: str | None, data: str, hours: bool) -> None:
    """Train and score the runs that a study lacks, then write its table and figure.

    A finished run is never repeated; what is stopped goes on. Without NAME, nothing is trained: the pages
    of all studies and results/REPRODUCTION.md are written again.
    """
    from fashionlib import study

    if hours and not name:
        raise click.UsageError("--hours times one study: give its NAME.")
    if hours:
        click.echo(study.hours(data, name).to_string(index=False))
        return
    for sentence in [study.run(data, name)] if name else study.write_all(data).values():
        click.echo(sentence)


@main.command()
def recipe() -> None:
    """Write results/recipe.md: the paper's recipe, setting by setting, and whose each is."""
    from fashionlib.core import paths
    from fashionlib.core.files import write_text
    from fashionlib.train.describe import recipe_page

    click.echo(write_text(paths.PROJECT / "results" / "recipe.md", recipe_page()))


@main.command()
@click.argument("data")
@click.option("--check", is_flag=True, help="Only compare with what is committed.")
def publish(data: str, check: bool) -> None:
    """Copy this machine's results and figures of DATA, and the sample's notebooks, into the repository."""
    from fashionlib.report import publish as publishing

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
@click.argument("model", metavar="RUN_OR_CHECKPOINT", type=EXISTING)
@click.argument("out", type=FILE)
@click.option(
    "--size",
    nargs=2,
    type=click.IntRange(1),
    metavar="H W",
    help="Of the photos.  [default: the checkpoint's]",
)
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
def doctor() -> None:
    """Versions, libraries, disk and GPU, and what to do about a bad one."""
    from fashionlib import doctor

    raise SystemExit(doctor.main())


def _literal(text: str):
    """A Python literal as papermill reads it (1e-4, True, None, [420, 280]); anything else is text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


main.add_command(cutout)
main.add_command(draft)
