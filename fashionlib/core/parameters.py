"""The parameters of a notebook, read from its code."""

import ast
import json
from functools import cache

from fashionlib.core import paths


def declared(code: str) -> dict[str, tuple[str, object]]:
    """Name -> (type, default) of the annotated literals in a cell's code; none in what is not plain Python.

    ``epochs: int = None`` gives ``{"epochs": ("int", None)}``.
    """
    return {
        node.target.id: (ast.unparse(node.annotation), ast.literal_eval(node.value))
        for node in statements(code)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def statements(code: str) -> list[ast.stmt]:
    """The statements of a cell's code; none where it is not plain Python (``%magic``)."""
    try:
        return ast.parse(code).body
    except SyntaxError:
        return []


@cache
def defaults(notebook: str) -> dict[str, object]:
    """Parameter -> default of a notebook such as ``03_train``, from its cell tagged ``parameters``."""
    content = json.loads((paths.NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in content["cells"] if "parameters" in cell["metadata"].get("tags", ())]
    return {
        name: default for cell in cells for name, (_, default) in declared("".join(cell["source"])).items()
    }
