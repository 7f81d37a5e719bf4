"""Commands about runs: notebooks, results, checkpoints, and the machine."""

import ast
from pathlib import Path

import click

from fashionlib.cli import EXISTING, FILE, main


@main.command()
@click.option(
    "--data", required=True, help="sample, ccp, fashionpedia, imaterialist, or your folder in raw/."
)
@click.option("--models", default="", help="Only these of the plan, or these beside it: a,b,…")
@click.option("--preset", help="For every run: paper, quick or finetune.")
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
    """Run the six notebooks in order, 03 once a model, skipping what is up to date."""
    from fashionlib.reproduce import plan as plans
    from fashionlib.reproduce.run import StepFailed, reproduce

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
    """Copy this machine's results and figures of DATA into the repository."""
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
