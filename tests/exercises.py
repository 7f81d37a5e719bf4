"""The exercises at a notebook's end: read, and their solutions appended to copies of the notebooks."""

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import v4

from fashionlib.core import paths

HEADING = "## Exercises"
FORM = re.compile(
    r"\*\*(?P<number>\d)\. (?P<title>[^*]+)\*\* · (?P<level>easy|medium|hard) · (?P<minutes>\d+) minutes\n\n"
    r"(?P<task>.+?)\n\n"
    r"<details><summary>Hint</summary>\n\n(?P<hint>.+?)\n\n</details>\n\n"
    r"<details><summary>Solution</summary>\n\n(?P<solution>.+?)\n\n</details>",
    flags=re.DOTALL,
)
CODE = re.compile(r"^```python\n(.+?)^```$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Exercise:
    """One exercise; `code` and `answer` are the Python block of its solution and the prose around it."""

    number: int
    level: str
    minutes: int
    code: str
    answer: str


def sections(path: Path) -> tuple[list[Exercise], list]:
    """The exercises of a notebook and the cells behind them; both empty where it has no such heading.

    Raises ValueError that quotes the cell which is no exercise.
    """
    cells = nbformat.read(path, as_version=4).cells
    start = next((i for i, cell in enumerate(cells) if cell.source.strip() == HEADING), None)
    if start is None:
        return [], []
    return [_exercise(path, cell) for cell in cells[start + 1 : start + 4]], cells[start + 4 :]


def solved(folder: Path) -> Path:
    """Copies of all notebooks in `folder`, which is made, with each solution as a code cell at the end."""
    folder.mkdir()
    for path in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells += [v4.new_code_cell(exercise.code) for exercise in sections(path)[0]]
        nbformat.write(notebook, folder / path.name)
    return folder


def _exercise(path: Path, cell) -> Exercise:
    found = FORM.fullmatch(cell.source.strip())
    blocks = CODE.findall(found["solution"]) if found else ()
    if cell.cell_type != "markdown" or len(blocks) != 1:
        raise ValueError(f"{path.name}: not an exercise with one Python block as solution:\n{cell.source}")
    answer = CODE.sub("", found["solution"]).strip()
    return Exercise(int(found["number"]), found["level"], int(found["minutes"]), blocks[0], answer)
