"""`make soak`: every section in a process of its own, then results/soak.md.

python -m tests.soak              all sections
python -m tests.soak kills load   these; the others keep what they last found
python -m tests.soak --small      at the size of `make test`, into build/soak/small.md
"""

import importlib
import json
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from fashionlib.core.files import write_text
from fashionlib.core.paths import PROJECT
from tests.benchmarks.__main__ import _commit, machine
from tests.soak import Line

SECTIONS = {
    "kills": "Kill it anywhere",
    "twice": "Same seed, same result",
    "load": "Load",
    "fuzz": "Fuzzing",
}
PARTS = PROJECT / "build" / "soak"
PAGE = PROJECT / "results" / "soak.md"

_HEAD = """# Nothing lost, nothing trusted: the long tries

Made by `make soak`; tests/README.md says which test of `make test` holds the same promise at small size.
"""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(SECTIONS)))
@click.option("--small", is_flag=True, help="At the size of `make test`, for a trial.")
@click.option("--here", is_flag=True, hidden=True)
def main(names: tuple[str, ...], small: bool, here: bool) -> None:
    """Try the sections NAMES (all without any) and write the page; ends with 1 if a promise was not kept."""
    folder = PARTS / "small" if small else PARTS
    if here:
        return _try(names[0], small, folder)
    options = ["--here", *(["--small"] if small else [])]
    failed = [
        name
        for name in names or SECTIONS
        if subprocess.run([sys.executable, "-m", "tests.soak", name, *options], cwd=PROJECT).returncode
    ]
    page = write_text(PARTS / "small.md" if small else PAGE, _page(folder))
    lines = [line for part in _parts(folder).values() for line in part["lines"]]
    broken = [line["promise"] for line in lines if line["held"] is False]
    click.echo("\n".join([f"wrote {page}", *(f"not kept: {promise}" for promise in broken)]))
    sys.exit(bool(failed or broken))


def _try(name: str, small: bool, folder: Path) -> None:
    """Run one section here and keep its lines in build/."""
    lines, commit = [], _commit()  # the commit at the start: a night is long
    for line in importlib.import_module(f"tests.soak.{name}").run_section(small):
        click.echo(f"{name}: kept: {line.kept}: {line.promise}: {line.tried} {line.note}")
        lines.append(asdict(line))
    part = dict(lines=lines, machine=machine(), commit=commit, date=f"{datetime.now(UTC):%Y-%m-%d}")
    write_text(folder / f"{name}.json", json.dumps(part))


def _parts(folder: Path) -> dict[str, dict]:
    files = {name: folder / f"{name}.json" for name in SECTIONS}
    return {name: json.loads(path.read_text()) for name, path in files.items() if path.is_file()}


def _page(folder: Path) -> str:
    """results/soak.md of the sections tried so far."""
    return "\n".join([_HEAD, *(_section(SECTIONS[name], part) for name, part in _parts(folder).items())])


def _section(title: str, part: dict) -> str:
    rows = [_row(Line(**line)) for line in part["lines"]]
    made = f"{part['machine']} Tried {part['date']} at {part['commit']}."
    return "\n".join([f"## {title}\n", "| promise | tried | kept |", "|---|---|---|", *rows, "", made, ""])


def _row(line: Line) -> str:
    note = f" ({line.note[:300]})" if line.note else ""
    cells = line.promise, line.tried, line.kept + note
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


if __name__ == "__main__":
    main()
