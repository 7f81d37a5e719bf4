"""Readers of a run's text files and of a notebook's parameters; need no torch."""

import ast
import json
from functools import cache
from pathlib import Path

import pandas as pd

from fashionlib.core import paths
from fashionlib.core.checked_files import numbers

CARD = {"recipe": dict, "classes": list, "fingerprint": str}  # required keys of recipe.json
# settings of a run in the paper's Table I, as far as the paper states them
PAPERS_RUN = {"data": "imaterialist", "scale": "full", "init": "ade20k", "preset": "paper"}
# how the paper prepared its data, as far as it says: every photo as it is, split 70/20/10
PAPERS_DATA = {"max_side": None, "fractions": [0.7, 0.2, 0.1]}
FREE = ("scale", "init", "gpus", "workers", "activation_checkpointing", "accumulate")  # not of the recipe
HISTORY = ("epoch", "iter", "loss", "loss_decode", "acc", "lr", "seconds", "memory_mb")


def read_history(folder: Path) -> pd.DataFrame:
    """``history.csv`` of a run folder, one row per iteration, without an incomplete last line.

    Raises ValueError, naming file and row, for invalid content, FileNotFoundError if the file is missing.
    """
    path, header = folder / "history.csv", ",".join(HISTORY).encode()
    with path.open("rb") as file:
        if header.startswith(file.read(len(header) + 1)):  # the header itself is incomplete
            return pd.DataFrame(columns=HISTORY, dtype=float)
    rows = numbers(path, HISTORY, "remove it (the curve is lost, the weights are not)")
    return rows[rows.memory_mb.notna()]


def given(origin: dict[str, str]) -> list[str]:
    """The settings of a recipe that its preset did not decide; `origin` is that of recipe.json."""
    return [name for name, where in origin.items() if where == "given" and name not in FREE]


def changed(options: dict) -> dict:
    """The options of a prepared data set in which it differs from the paper's, as far as that is known."""
    return {
        name: options[name] for name, papers in PAPERS_DATA.items() if options.get(name, papers) != papers
    }


def declared_parameters(code: str) -> dict[str, tuple[str, object]]:
    """Type and default, by name, of a cell's annotated assignments; empty if it is not plain Python.

    ``epochs: int = None`` gives ``{"epochs": ("int", None)}``.
    """
    return {
        node.target.id: (ast.unparse(node.annotation), ast.literal_eval(node.value))
        for node in statements(code)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def statements(code: str) -> list[ast.stmt]:
    """Parsed statements of a cell's code; empty if it is not plain Python (``%magic``)."""
    try:
        return ast.parse(code).body
    except SyntaxError:
        return []


@cache
def parameter_defaults(notebook: str) -> dict[str, object]:
    """Default of each parameter of a notebook such as ``03_train``, from its cell tagged ``parameters``."""
    content = json.loads((paths.NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in content["cells"] if "parameters" in cell["metadata"].get("tags", ())]
    found = [declared_parameters("".join(cell["source"])) for cell in cells]
    return {name: default for each in found for name, (_, default) in each.items()}
