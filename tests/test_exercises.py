"""Three exercises close a notebook; `test_reproduce.test_all_notebooks` runs their solutions."""

import ast
from itertools import pairwise

import exercises
import nbformat
import pytest

from fashionlib.core import paths

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each
def test_three_exercises_with_hint_and_solution(path):
    found, _ = exercises.sections(path)
    assert [exercise.number for exercise in found] == [1, 2, 3]
    assert [exercise.minutes for exercise in found] == sorted(exercise.minutes for exercise in found)
    for exercise in found:
        assert exercise.answer, f"{path.stem}, {exercise.number}: what comes out is not said"
        assert ast.parse(exercise.code).body


@pytest.mark.parametrize("path, after", [*pairwise(NOTEBOOKS)], ids=lambda path: path.stem)
def test_the_last_cell_leads_to_the_next_notebook(path, after):
    """And nothing else stands behind the exercises, in the last notebook too."""
    (last,) = exercises.sections(path)[1]
    title = nbformat.read(after, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
    assert last.cell_type == "markdown" and last.source.startswith(f"**Next:** [{title}]({after.name})")
    if after == NOTEBOOKS[-1]:
        assert all(cell.cell_type == "markdown" for cell in exercises.sections(after)[1][:1])
        assert not exercises.sections(after)[1][1:]


def test_a_copy_with_the_solutions_ends_with_them(tmp_path):
    folder = exercises.solved(tmp_path / "solved")
    assert [path.name for path in sorted(folder.iterdir())] == [path.name for path in NOTEBOOKS]
    for path in NOTEBOOKS:
        before, after = (nbformat.read(at, as_version=4).cells for at in (path, folder / path.name))
        assert after[: len(before)] == before
        assert [cell.source for cell in after[len(before) :]] == [
            exercise.code for exercise in exercises.sections(path)[0]
        ]


@pytest.mark.parametrize("cut", ["<details><summary>Hint</summary>", " · easy", "```python", "**1. "])
def test_a_cell_that_is_no_exercise_is_quoted(tmp_path, cut):
    fold = "<details><summary>{}</summary>\n\n{}\n\n</details>"
    parts = ["**1. One** · easy · 5 minutes", "Add.", fold.format("Hint", "Count.")]
    whole = "\n\n".join([*parts, fold.format("Solution", "```python\n1 + 1\n```\n\nTwo.")])
    path = tmp_path / "toy.ipynb"
    for text in (whole, whole.replace(cut, "")):
        cells = [nbformat.v4.new_markdown_cell(source) for source in (exercises.HEADING, text)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        if text == whole:
            assert exercises.sections(path)[0] == [exercises.Exercise(1, "easy", 5, "1 + 1\n", "Two.")]
    with pytest.raises(ValueError, match="toy.ipynb: not an exercise"):
        exercises.sections(path)
