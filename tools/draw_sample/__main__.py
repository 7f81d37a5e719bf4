"""The commands that make the sample: ``python -m tools.draw_sample --help``, from a checkout."""

from pathlib import Path

import click

from fashionlib.cli import EXISTING, FOLDER, Commands
from fashionlib.data.sources import SAMPLE
from tools import draw_sample
from tools.draw_sample import archive


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Draw the sample, and pack it as it ships."""


@main.command()
@click.argument("out", type=FOLDER)
@click.option("--photos", type=click.IntRange(1), default=400, help="Annotated photos to draw.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Another seed draws another sample.")
def draw(**options) -> None:
    """Draw the sample at full size into the raw folder OUT."""
    click.echo(f"Drew {draw_sample.make(**options)}.")


@main.command()
@click.argument("drawn", type=EXISTING)
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False), default=SAMPLE)
def pack(drawn: Path, out: Path) -> None:
    """Shrink the photos of DRAWN for training and validation, and write all to the zip OUT."""
    archive.pack(drawn, out)
    click.echo(f"Wrote {out} ({out.stat().st_size / 1e6:.1f} MB).")


if __name__ == "__main__":
    main()
