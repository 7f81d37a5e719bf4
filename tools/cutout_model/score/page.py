"""scores.md: the table, what its columns are, and what they do not say."""

import pandas as pd

from fashionlib.report.table1 import markdown as as_table
from tools.cutout_model.score.boundary import TOLERANCE
from tools.cutout_model.score.scores import FEW, REDRAWS

TITLE = "# Scores of cut-outs"
_NOTHING = "–"
_PERCENT = {  # column of scores.csv -> heading
    "apparel_IoU": "apparel IoU",
    "person_IoU": "person IoU",
    "apparel_F": "apparel F",
    "person_F": "person F",
    "aAcc": "aAcc",
    "mIoU": "mIoU",
    f"mIoU_{FEW}": f"mIoU, ≥ {FEW} photos",
}
_SECONDS = {
    "cutout_seconds_1": "cut-out, 1 core",
    "cutout_seconds_2": "cut-out, 2 cores",
    "inference_seconds_1": "inference, 1 core",
    "inference_seconds_2": "inference, 2 cores",
}
_NOTES = f"""\
In brackets: 95 % of {REDRAWS} redraws of the photos. They say nothing of other seeds or training runs.

- **apparel** (all that is worn) and **person** (apparel, hair and skin) IoU: of all photos' pixels together,
  of the cut-out files that `fashionlib cutout` writes (alpha from 128 on) against the label maps.
- **F**: boundary F at {TOLERANCE:g} px, the mean over photos: the harmonic mean of the shares of either
  outline that lie within {TOLERANCE:g} px of the other (as in DAVIS, by distance). Clothing Co-Parsing's
  outlines follow superpixels and are ragged at that scale: part of what is missing to 100 is theirs.
- **aAcc**, **mIoU**: of the model's label maps, background included. mIoU is the mean over the classes that
  the photos hold, and beside it over those in at least {FEW} of them; how many stands after it. A class that
  is predicted but in no photo is not averaged here (Table I counts it as 0); `scores.csv` says how many.
- **Seconds a photo**: one after the other, model loaded; *cut-out* is the whole way (decode, infer, edge,
  encode, write), *inference* the network or the mask alone; on that many cores and no others. Wall time, so
  other programs show: *busy* is the share of the machine that they used just before.
- **GrabCut**: OpenCV's, from a central box (margins chosen on training photos). **colour threshold**: the
  paper's classical way, Otsu on the distance to the border's colour. One mask is both subjects.

*Not on these photos*, but on 104 others of the same kind (Clothing Co-Parsing, 2 cores): ISNet as shipped by
imgly's background-removal 1.4.5 (88 MB) has person IoU 95.7, boundary F 88.9, apparel IoU 78.2, 1.7 to 1.8 s
a photo; on 40 of them GrabCut 58.4 and 47.6 (from another box), colour threshold 34.5 and 32.1. A remover of
salient objects keeps the whole person, hence its apparel IoU: person is its line. Small
differences mean nothing."""


def markdown(table: pd.DataFrame) -> str:
    """The page of scores.csv."""
    parts = [TITLE]
    for (data, split), group in table.groupby(["data", "split"], sort=False):
        photos = "/".join(map(str, group.photos.unique()))
        parts += [f"## {data}, split {split}, {photos} photos", as_table(_cells(group)), _made_by(group)]
    return "\n\n".join([*parts, "## What the columns are", _NOTES]) + "\n"


def _cells(group: pd.DataFrame) -> pd.DataFrame:
    """The rows of one split as text, columns that hold nothing left out."""
    cells = pd.DataFrame({"cut-outs by": group.method, "edge": group.edge})
    for column, heading in _PERCENT.items():
        cells[heading] = [_value(row, column, 100, 1) for _, row in group.iterrows()]
    for column, heading in _SECONDS.items():
        cells[heading] = [_value(row, column, 1, 2) for _, row in group.iterrows()]
    return cells.loc[:, (cells != _NOTHING).any()]


def _value(row: pd.Series, column: str, factor: float, digits: int) -> str:
    """``90.2 (88.9-91.3)``, and after a mean over classes their number."""
    if pd.isna(row.get(column)):
        return _NOTHING
    names = (column, f"{column}_low", f"{column}_high")
    value, low, high = (f"{factor * row[name]:.{digits}f}" for name in names)
    count = f" of {row[f'n_{column}']:.0f}" if f"n_{column}" in row else ""
    return f"{value} ({low}–{high}){count}"


def _made_by(group: pd.DataFrame) -> str:
    lines = []
    for _, row in group.iterrows():
        if pd.notna(row.get("checkpoint")):
            weights = f"checkpoint {row.checkpoint}, trained on {row.trained_on}"
            begun = f"scale {row['scale']}, init {row.init} ({row.init_source})"
            lines.append(f"- **{row.method}**: {row.model}, {begun}; {weights}")
        if pd.notna(row.get("timed")):
            busy = f"busy {100 * row.busy:.0f} %"
            lines.append(f"- Seconds of {row.method}: {row.timed:.0f} photos on {row.device}, {busy}")
    made = dict.fromkeys(f"- `{row.command}` at {row.commit}" for _, row in group.iterrows())
    return "\n".join([*lines, *made])
