"""Commands about data: from a source to photos, label maps and splits."""

from pathlib import Path

import click

from fashionlib.cli import EXISTING, FILE, FOLDER, main


@main.command()
def sample() -> None:
    """Unpack the sample, drawings of dressed figures, into raw/sample and prepare it in data/sample."""
    from fashionlib.core import paths
    from fashionlib.data.prepare import prepare
    from fashionlib.data.sources import unpack_sample
    from fashionlib.data.splits import stratify_by_default

    raw = unpack_sample(paths.raw_folder("sample"))
    _say_prepared(prepare(raw, paths.data_folder("sample"), stratify=stratify_by_default("sample")))


@main.group()
def convert() -> None:
    """Bring a data set into the raw layout (that of Kaggle's iMaterialist 2020)."""


@convert.command("ccp")
@click.argument("src", type=EXISTING)
@click.argument("out", type=FOLDER)
def convert_ccp(src: Path, out: Path) -> None:
    """Clothing Co-Parsing: SRC is the unpacked archive with photos/ and annotations/."""
    from fashionlib.data.sources import ccp

    click.echo(f"Wrote {ccp.convert(src, out)}.")


@convert.command("fashionpedia")
@click.argument("src", type=EXISTING)
@click.argument("out", type=FOLDER)
def convert_fashionpedia(src: Path, out: Path) -> None:
    """Fashionpedia: SRC holds CVDF's JSON files and unpacked zips, or is one such JSON file."""
    from fashionlib.data.sources import fashionpedia

    click.echo(f"Wrote {fashionpedia.convert(src, out)}.")


@convert.command("folder")
@click.argument("src", type=EXISTING)
@click.argument("out", type=FOLDER)
@click.option("--table", type=EXISTING, help="The class table.  [default: SRC/classes.csv]")
def convert_folder(src: Path, out: Path, table: Path | None) -> None:
    """Your own photos and painted masks: SRC holds photos/, masks/ and the class table classes.csv."""
    from fashionlib.data.sources import folder

    click.echo(f"Wrote {folder.convert(src, out, table)}.")


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
@click.option("--max-side", type=click.IntRange(1), help="Shrink photos whose longer side has more pixels.")
@click.option("--max-bad", type=click.FloatRange(0, 1), default=0.01, help="Share of photos that may be bad.")
@click.option("--workers", type=click.IntRange(1), help="Processes; all cores if not given.")
def prepare(raw: Path, out: Path, stratify: bool | None, **options) -> None:
    """Write label maps and splits of the raw folder RAW to OUT, as MMSegmentation expects them."""
    from fashionlib.data.prepare import prepare
    from fashionlib.data.splits import stratify_by_default

    stratify = stratify_by_default(out.resolve().name) if stratify is None else stratify
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
