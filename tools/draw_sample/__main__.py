"""Draw the sample: ``python -m tools.draw_sample``, from a checkout."""

import click

from fashionlib.cli import FOLDER, Commands
from tools import draw_sample


@click.group(cls=Commands, invoke_without_command=True)
@click.argument("out", type=FOLDER)
@click.option("--photos", type=click.IntRange(1), default=400, help="Annotated photos to draw.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Another seed draws another sample.")
def main(**options) -> None:
    """Draw the sample into the raw folder OUT."""
    click.echo(f"Drew {draw_sample.make(**options)}.")


if __name__ == "__main__":
    main()
