"""Edges x composites -> errors of alpha and of colour at the rim, where the truth is known."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from fashionlib.core.files import write_csv, write_text
from fashionlib.core.outputs import begins, claim_file
from fashionlib.cutout import compose, edges, segment
from fashionlib.evaluate.split import Split
from fashionlib.report.run_record import commit
from fashionlib.report.table1 import markdown
from tools.cutout_model.flatlay import scene
from tools.cutout_model.score import command, drawn
from tools.cutout_model.score.composites import MATERIALS, Composite, composites, rim_of
from tools.cutout_model.score.measure import REDRAWS, with_interval
from tools.cutout_model.score.page import cell

_TITLE = "# Edges of cut-outs"
RIM = 6  # pixels around the mixed ones in which errors are measured
GRID = 4  # pixels between the samples of the truth: as coarse as a model's answers, or coarser
FOUND = 0.9  # IoU from which a model has found the garment, so that its edge can be judged
_COLUMNS = {"alpha": ("alpha, %", 100), "white": ("on white", 1), "black": ("on black", 1)}
RAW = "matting, the photo's colours"  # what leaving colours as they are would give
JPEG = 75  # the quality that the photos of Clothing Co-Parsing are saved with
STARTS = {
    "truth": f"the true mask, known every {GRID} pixels",
    "JPEG": f"the same mask, the composite saved as a JPEG of quality {JPEG}",
    "model": "the model's probabilities",
}


def score(
    data: str, model, out: str | Path = "results/cutouts", split: str = "test", count: int = 60, seed: int = 0
) -> pd.DataFrame:
    """Measure every kind of edge on `count` composites of each material and a split of the data set `data`.

    Args:
        model: from `cutout.load_model`: its own masks of cloth are refined as well, where it finds the
            garment (IoU of at least FOUND); None: only masks made of the truth.
        out: gets edges.csv (alpha in 0-1, colours in grey levels, 0-255) and edges.md.

    Returns:
        edges.csv: a row for each material, start and edge. Raises ValueError as `composites` does.
    """
    part, out, errors = Split.read(data, split), Path(out), []
    for name, words in {"edges.csv": "start,edge,", "edges.md": _TITLE}.items():
        claim_file(out / name, "scores of edges", [part.folder], begins(words))
    for material in MATERIALS:
        for composite in tqdm(composites(part, count, seed, material), material, count):
            for start, photo, p in _starts(composite, model if material == "cloth" else None):
                for edge, found in errors_of(composite._replace(photo=photo), p).items():
                    errors.append({"start": start, "edge": edge, "material": material, **found})
    options = {"data": data, "split": split, "composites": count, "seed": seed}
    groups = pd.DataFrame(errors).groupby(["material", "start", "edge"], sort=False)
    table = pd.DataFrame(map(_means, groups)).assign(**options, commit=commit())
    write_csv(out / "edges.csv", table)
    write_text(out / "edges.md", _page(table, command("score-edges", options)))
    return table


def _starts(composite: Composite, model):
    """(name, photo, probability float32 (H, W)).

    The truth as fine as a model's, before and after compression; `model`'s, where it finds the garment.
    """
    height, width = composite.alpha.shape
    cells = -(-width // GRID), -(-height // GRID)
    coarse = cv2.resize(composite.alpha, cells, interpolation=cv2.INTER_AREA)
    p = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    yield "truth", composite.photo, p
    packed = cv2.imencode(".jpg", composite.photo[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, JPEG))[1]
    yield "JPEG", cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1].copy(), p
    if model is not None:
        scored = segment.probabilities(composite.photo, model)
        choice = segment.wanted(model.metadata["classes"])
        p = segment.keep_probability(scored, choice, composite.alpha.shape)
        ours, true = p >= 0.5, composite.alpha >= 0.5
        if (ours & true).sum() >= FOUND * (ours | true).sum():
            yield "model", composite.photo, p


def errors_of(composite: Composite, p: np.ndarray) -> dict[str, dict[str, float]]:
    """Of each edge, and of matting without new colours: mean errors at the rim.

    alpha        |alpha - true alpha|, 0-1
    white, black |cut-out - true cut-out| over white and black, in grey levels (0-255)
    …_vs_soft    the same less that of the soft edge
    """
    photo, truth, _ = composite
    rim = rim_of(truth, RIM)
    found = {}
    for edge in edges.EDGES:
        alpha, _ = edges.alpha_of(photo, p, edge)
        cutouts = {edge: edges.estimate_foreground(photo, alpha)}
        cutouts |= {RAW: np.dstack([photo, alpha])} if edge == "matting" else {}
        for name, rgba in cutouts.items():
            found[name] = {
                "alpha": float(np.abs(rgba[..., 3] / 255 - truth)[rim].mean()),
                "white": colour_error(rgba, composite, rim, 255),
                "black": colour_error(rgba, composite, rim, 0),
            }
    against = {edge: {f"{k}_vs_soft": v - found["soft"][k] for k, v in found[edge].items()} for edge in found}
    return {edge: found[edge] | against[edge] for edge in found}


def colour_error(rgba: np.ndarray, composite: Composite, where: np.ndarray, grey: int) -> float:
    """Mean distance in grey levels, over a background of that `grey`, of `rgba` from the true cut-out."""
    alpha = composite.alpha[..., None]
    true = composite.colours * alpha + grey * (1 - alpha)
    return float(np.abs(compose.over(rgba, (grey,) * 3) - true)[where].mean())


def _means(group: tuple[tuple[str, str, str], pd.DataFrame]) -> dict:
    """The row of edges.csv of one material, start and edge, from their rows."""
    (material, start, edge), errors = group
    row = {"start": start, "edge": edge, "material": material, "found": len(errors)}
    for name in [*_COLUMNS, *(f"{column}_vs_soft" for column in _COLUMNS)]:
        row |= with_interval(name, errors[name])
    return row


def verdict(row: pd.Series) -> str:
    """How a row of edges.csv compares with the soft edge: by the errors whose interval leaves out 0."""
    better = any(row[f"{name}_vs_soft_high"] < 0 for name in _COLUMNS)
    worse = any(row[f"{name}_vs_soft_low"] > 0 for name in _COLUMNS)
    return ("better and worse" if worse else "better") if better else ("worse" if worse else "a tie")


def _page(table: pd.DataFrame, command: str) -> str:
    cells = pd.DataFrame({"material": table.material, "from": table.start, "edge": table.edge})
    cells["n"] = table.found.map(str)
    for name, (heading, factor) in _COLUMNS.items():
        cells[heading] = [cell(row, name, factor) for _, row in table.iterrows()]
    against = table[table.edge.isin({*edges.EDGES} - {"soft"})]
    against = against.assign(verdict=[verdict(row) for _, row in against.iterrows()])
    differences = cells.loc[against.index, ["material", "from", "edge"]]
    for name, (heading, factor) in _COLUMNS.items():
        parts = (factor * against[f"{name}_vs_soft{end}"] for end in ("", "_low", "_high"))
        differences[heading] = [f"{a:+.2f} ({b:+.2f} to {c:+.2f})" for a, b, c in zip(*parts, strict=True)]
    differences["than soft"] = against.verdict
    said = []
    for (start, edge), rows in against.groupby(["start", "edge"], sort=False):
        by = [f"{what} on {', '.join(of.material)}" for what, of in rows.groupby("verdict", sort=False)]
        said.append(f"- **{edge}**, from {STARTS[start]}: {'; '.join(by)}.")
    first = table.iloc[0]
    return f"""\
{_TITLE}, where the truth is known

{first.composites:.0f} garments (cloth) cut out of the {first.split} photos of {first.data}, and as many
drawn pieces each of {", ".join(drawn.MATERIALS)}, laid, with an alpha that is known, on the real background
beside the person of another photo (`tools/cutout_model/score/composites.py`, `drawn.py`). Mean errors
within {RIM} pixels of the edge: of alpha, and in grey levels (of 255) of the cut-out as seen over white and
black; in brackets 95 % of {REDRAWS} redraws of the composites.

Compared with the soft edge, by those of the three errors whose difference has an interval that leaves out 0:

{chr(10).join(said)}

{markdown(cells)}

- **from** *truth*: {STARTS["truth"]}; *JPEG*: {STARTS["JPEG"]},
  as the photos of Clothing Co-Parsing are (else nothing is compressed after mixing, and drawn strands are
  free of noise); *model*: {STARTS["model"]}, judged only where it finds the garment (IoU of at
  least {FOUND}). **n** is how often. Drawn pieces are nothing that the model can know.
- **{RAW}**: what `matting` would be if mixed pixels kept the colour they have in the photo.
- **cloth**: {scene.FEATHER:g} pixels of blend along an outline drawn by annotators. **hair**, **fur**,
  **knit**: opaque strands, 0.1 to 4 pixels wide at the border, drawn {drawn.FINE} times as large and
  averaged. The {RIM} pixels count from every mixed one, so from each strand and hole: enough for them.
- An edge changes alpha only in a band along the border of the mask. A lone hair far from it is in no such
  mask, and no edge finds it.

## Difference from the soft edge

The same composites with either edge; below 0: nearer to the truth than soft.

{markdown(differences)}

`{command}` at {first.commit}
"""
