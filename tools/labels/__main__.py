"""The steps of judging labels: ``python -m tools.labels --help``."""

import click
import pandas as pd

from fashionlib.cli import Commands
from fashionlib.core import paths
from fashionlib.core.files import write_csv
from tools import labels

DATA = "ccp"
OUT = paths.published_results(DATA) / "labels"
VERDICTS = OUT / "verdicts.csv"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Choose photos of Clothing Co-Parsing, judge their label maps, score without the wrong ones."""


@main.command()
@click.option("--seed", default=0, help="Another seed draws other photos for the random group.")
def choose(seed: int) -> None:
    """Write verdicts.csv: the 30 photos of largest disagreement and 30 random ones, shuffled."""
    if VERDICTS.exists():
        raise click.UsageError(f"{VERDICTS} holds verdicts: delete it to choose and judge again.")
    photos = labels.choose(paths.published_results(DATA), seed=seed)
    write_csv(VERDICTS, photos.assign(truth="", cause="", note=""))
    click.echo(f"Wrote {VERDICTS}. Don't read its column group before you have judged.")


@main.command()
@click.option("--with-prediction", is_flag=True, help="Beside each label map the best run's prediction.")
def sheets(with_prediction: bool) -> None:
    """Write the sheets to judge from to runs/ccp/pictures/labels: they hold photos, git ignores them."""
    photos, out = pd.read_csv(VERDICTS, dtype=str).photo, paths.pictures_folder(DATA) / "labels"
    predict = labels.best_prediction(DATA) if with_prediction else None
    click.echo(f"Wrote {labels.sheets(list(photos), DATA, out, predict=predict)} sheets to {out}.")


@main.command()
def report() -> None:
    """Write labels.md and labels.csv from the verdicts and the stored pixel counts."""
    from tools.labels import scores

    click.echo(f"Wrote {scores.report(DATA)}.")


if __name__ == "__main__":
    main()
