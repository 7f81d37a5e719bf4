"""`make soak`: every section in a process of its own, then results/soak.md.

python -m tests.soak              all sections
python -m tests.soak kills load   these; the others keep what they last found
python -m tests.soak --small      at the size of `make test`, into build/soak/small.md
"""

import importlib
import sys

import click

from fashionlib.core.paths import PROJECT
from tests.sections import Page
from tests.soak import Line

SECTIONS = {
    "kills": "Kill it anywhere",
    "twice": "Same seed, same result",
    "load": "Load",
    "fuzz": "Fuzzing",
}
PARTS = PROJECT / "build" / "soak"
RESULTS = PROJECT / "results" / "soak.md"
HEAD = """# Nothing lost, nothing trusted: the long tries

Made by `make soak`; tests/README.md says which test of `make test` holds the same promise at small size.
"""
PAGE = Page("tests.soak", HEAD, SECTIONS, "| promise | tried | kept |\n|---|---|---|", Line, "Tried")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(SECTIONS)))
@click.option("--small", is_flag=True, help="At the size of `make test`, for a trial.")
@click.option("--here", is_flag=True, hidden=True)
def main(names: tuple[str, ...], small: bool, here: bool) -> None:
    """Try the sections NAMES (all without any) and write the page; ends with 1 if a promise was not kept."""
    folder, results = (PARTS / "small", PARTS / "small.md") if small else (PARTS, RESULTS)
    if here:
        section = importlib.import_module(f"tests.soak.{names[0]}")
        return PAGE.keep(folder, names[0], section.run_section(small))
    failed = PAGE.run(names, *(["--small"] if small else []))
    broken = [line.promise for line in PAGE.write(results, folder) if line.held is False]
    print("\n".join([f"wrote {results}", *(f"not kept: {promise}" for promise in broken)]))
    sys.exit(bool(failed or broken))


if __name__ == "__main__":
    main()
