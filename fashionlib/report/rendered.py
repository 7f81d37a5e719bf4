"""Executed notebooks as git has them: with outputs, the same bytes whenever one machine makes them again.

A page is the notebook as it is now with the outputs of its executed copy in ``runs/<data>/notebooks``.
Left out of these is what another run or machine would have differently: progress bars and all else on
stderr, live widgets, times of day, folders, addresses in memory, measured columns of tables (`_MEASURED`)
and whatever a cell tagged ``machine`` shows. Pictures become JPEGs where that makes them smaller.
"""

import base64
import io
import re
from copy import deepcopy
from pathlib import Path

import nbformat
import yaml
from bs4 import BeautifulSoup
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from PIL import Image

from fashionlib.core import paths

LIMIT = 800_000  # bytes of a page: code hosts show nothing of a much larger one
SIZES = ((1400, 85), (1080, 80), (960, 75), (880, 70), (800, 65))  # widest picture [px], JPEG's quality
NOTE = "(measured on the machine: run it to see)\n"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_MEASURED = re.compile(r"seconds|memory_mb|.*\[(s|MB|Wh)\]")  # headings
_UNSTABLE = {
    r"(?<![\w.:/<])(?:/[\w.+-]+)+/([\w.+-]+)": r"…/\1",  # an absolute path; one below the home is relative
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*(?:Z|[+-]\d\d:\d\d)?": "…",
    r"\bat 0x[0-9a-f]+": "at 0x…",
    r' id="T_[0-9a-f]{5}[^"]*"': "",  # pandas' random names, by which no table here is styled
    r'<style type="text/css">\s*</style>\s*': "",
}


def pages(data: str) -> dict[str, str]:
    """File name -> JSON text of the page of every notebook.

    Raises FileNotFoundError for a notebook that was not executed here as the committed plan says,
    ValueError for one that has stopped or changed since, or whose page has more than `LIMIT` bytes.
    """
    return {name: _fitted(name, page) for name, page in _pages(data).items()}


def differences(data: str) -> list[str]:
    """Where the executed notebooks disagree with the committed pages, one sentence each.

    They agree if they have the same code, and every cell shows as many pictures, texts and tables, these
    with the same columns. Words and numbers are not compared: they may change with another machine's
    roundings, and the numbers are in the results' tables. Raises as `pages` does.
    """
    files = (paths.published_results(data) / "notebooks").glob("*.ipynb")
    committed = {path.name: _shape(nbformat.read(path, as_version=4)) for path in files}
    here, found = {name: _shape(page) for name, page in _pages(data).items()}, []
    for name in sorted(here.keys() | committed.keys()):
        a, b = here.get(name), committed.get(name)
        if a is None or b is None:
            found.append(f"notebooks/{name} is only {'here' if b is None else 'committed'}.")
        elif differ := [key for key in {**a, **b} if a.get(key) != b.get(key)]:
            found.append(f"notebooks/{name}: cell {differ[0]} has other code or outputs than committed.")
    return found


def _pages(data: str) -> dict[str, nbformat.NotebookNode]:
    """File name -> page, its pictures as they were drawn; of 03 the plan's first run."""
    plan = yaml.safe_load((paths.published_results(data) / "plan.yaml").read_text(encoding="utf-8"))
    first = plan | {"03_train": plan["03_train"][0]}
    sources = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
    copies = [_copy(data, path.stem, first.get(path.stem, {}), len(plan["03_train"])) for path in sources]
    return {path.name: _page(path, copy) for path, copy in zip(sources, copies, strict=True)}


def _copy(data: str, name: str, planned: dict, runs: int) -> Path:
    """The executed copy that was given the `planned` parameters, so no photos but those of `data`."""
    folder = paths.runs_folder(data) / "notebooks"
    for path in sorted(folder.glob(f"{name}.*ipynb")):
        given = dict(nbformat.read(path, as_version=4).metadata.papermill.parameters)
        if len(given.pop("runs", range(runs))) == runs and given == {"data": data, **planned}:
            return path
    raise FileNotFoundError(
        f"No copy of {name} in {folder} was executed as results/{data}/plan.yaml says: "
        f"run `fashionlib reproduce --data {data}` first."
    )


def _page(path: Path, copy: Path) -> nbformat.NotebookNode:
    """The notebook with the stable part of its executed copy's outputs, and links for where it will be."""
    page, executed = (nbformat.read(each, as_version=4) for each in (path, copy))
    code, ran = ([cell for cell in each.cells if cell.cell_type == "code"] for each in (page, executed))
    given = next(cell for cell in ran if "injected-parameters" in cell.metadata.tags)
    ran.remove(given)
    whole = all(cell.metadata.papermill.status == "completed" for cell in ran)
    if not whole or [cell.source for cell in code] != [cell.source for cell in ran]:
        raise ValueError(f"{copy} has stopped, or {path.name} has changed since: run `fashionlib reproduce`.")
    for cell, done in zip(code, ran, strict=True):
        cell.execution_count, cell.outputs = done.execution_count, _stable(cell, done.outputs)
    for cell in page.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"""(\]\(|(?:href|src)=["'])\.\./""", r"\1../../../", cell.source)
    at = next(i for i, cell in enumerate(page.cells) if "parameters" in cell.metadata.get("tags", ()))
    page.cells.insert(at + 1, nbformat.v4.new_code_cell(given.source, id="injected-parameters"))
    return CoalesceStreamsPreprocessor().preprocess(page, {})[0]


def _stable(cell: nbformat.NotebookNode, outputs: list) -> list:
    """What of a cell's outputs comes out the same again."""
    if outputs and "machine" in cell.metadata.get("tags", ()):
        return [nbformat.v4.new_output("stream", name="stdout", text=NOTE)]
    kept = [each for each in outputs if each.get("name") != "stderr" and _WIDGET not in each.get("data", ())]
    for output in kept:
        forms = output.get("data", output)
        if "image/png" in forms:
            forms.pop("image/jpeg", None)  # Pillow's pictures come as both
        if len(forms) > 1:
            forms.pop("text/plain", None)  # "<Figure size …>", or a table once more
        for form in forms.keys() & {"text", "text/plain", "text/html", "text/markdown"}:
            forms[form] = _stable_text(forms[form])
    return kept


def _stable_text(text: str) -> str:
    """`text` without times, folders and addresses, and with measured columns of its tables blanked."""
    for folder in (paths.home(), paths.PROJECT):
        text = text.replace(f"{folder}/", "")
    for pattern, replacement in _UNSTABLE.items():
        text = re.sub(pattern, replacement, text)
    if "<table" not in text:
        return text
    soup = BeautifulSoup(text, "html.parser")
    heads, *rows = [row(("th", "td")) for row in soup("tr")]
    for back, head in enumerate(reversed(heads), 1):  # from the right: an index of two levels has gaps
        if _MEASURED.fullmatch(head.get_text(strip=True)):
            for row in (row for row in rows if row[-back].name == "td"):
                row[-back].string = "…"
    return str(soup)


def _shape(page: nbformat.NotebookNode) -> dict[str, list]:
    """Cell -> its code, and kind and columns of what it displays; what it prints, a resumed run changes."""
    return {
        cell.id: [cell.source]
        + [
            (re.sub("png|jpeg", "", kind), sorted(re.findall(r">([^<>]*)</th>", text.partition("</tr>")[0])))
            for output in cell.outputs
            for kind, text in output.get("data", {}).items()
        ]
        for cell in page.cells
        if cell.cell_type == "code"
    }


def _fitted(name: str, page: nbformat.NotebookNode) -> str:
    """JSON text of a page, its pictures as large as `LIMIT` allows."""
    for width, quality in SIZES:
        fitted = deepcopy(page)
        for forms in (output.get("data", {}) for cell in fitted.cells for output in cell.get("outputs", ())):
            png = forms.get("image/png", "")
            if png and len(jpeg := _jpeg(png, width, quality)) < len(png):
                forms["image/jpeg"] = jpeg
                del forms["image/png"]
        text = nbformat.writes(fitted) + "\n"
        if len(text.encode()) <= LIMIT:
            return text
    raise ValueError(
        f"{name} would have {len(text.encode()) / 1000:.0f} KB with its outputs, more than {LIMIT // 1000}: "
        "show fewer or smaller pictures in it."
    )


def _jpeg(png: str, width: int, quality: int) -> str:
    """A PNG in base64 as such a JPEG, on white, at most `width` pixels wide."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image.thumbnail((width, image.height), Image.Resampling.LANCZOS)
    made = io.BytesIO()
    image.save(made, "JPEG", quality=quality, optimize=True, progressive=True)
    return base64.b64encode(made.getvalue()).decode()
