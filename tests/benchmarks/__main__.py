"""`make bench`: every section in a process of its own, then results/benchmarks.md.

python -m tests.benchmarks                     all sections
python -m tests.benchmarks labels evaluation   these; the others keep what they last measured
"""

import importlib
import sys

import click

from fashionlib.core.paths import PROJECT
from tests.benchmarks.frame import Line
from tests.sections import Page

SECTIONS = {
    "attention": "Attention and the training step",
    "memory": "Precision and memory",
    "labels": "Label maps",
    "loader": "Loader",
    "evaluation": "Evaluation",
    "inference": "Inference",
    "cutouts": "Cut-outs",
}
PARTS = PROJECT / "build" / "benchmarks"
RESULTS = PROJECT / "results" / "benchmarks.md"
HEAD = """# Speed and memory

Made by `make bench`. Every ratio was measured against the alternative in the same run, in turns, after both
had been found to give the same answers; in brackets the least and greatest ratio of any round.
"""
HEADER = "| what | alternative | ours | ratio | target | met |\n|---|---|---|---:|---:|---|"
PAGE = Page("tests.benchmarks", HEAD, SECTIONS, HEADER, Line, "Measured")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(SECTIONS)))
@click.option("--here", is_flag=True, hidden=True)
def main(names: tuple[str, ...], here: bool) -> None:
    """Measure the sections NAMES (all without any) and write the page; ends with 1 if one of them failed."""
    if here:
        section = importlib.import_module(f"tests.benchmarks.{names[0]}")
        return PAGE.keep(PARTS, names[0], section.measure(), " ".join(section.__doc__.split()))
    failed = PAGE.run(names)
    PAGE.write(RESULTS, PARTS)
    print(f"wrote {RESULTS}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
