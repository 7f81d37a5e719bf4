"""scores.md: the table, what its columns are, and what they do not say."""

from pathlib import Path

import pandas as pd

from fashionlib.report.captions import NOTHING, number
from fashionlib.report.table1 import markdown as as_table
from tools.cutout_model.score.measure import FEW, REDRAWS, TOLERANCE

TITLE = "# Scores of cut-outs"
_COLUMNS = {  # column of scores.csv -> heading, factor, digits
    "apparel_IoU": ("apparel IoU", 100, 1),
    "person_IoU": ("person IoU", 100, 1),
    "apparel_F": ("apparel F", 100, 1),
    "person_F": ("person F", 100, 1),
    "aAcc": ("aAcc", 100, 1),
    "mIoU": ("mIoU", 100, 1),
    f"mIoU_{FEW}": (f"mIoU, ≥ {FEW} photos", 100, 1),
    "cutout_seconds_1": ("cut-out, 1 core", 1, 2),
    "cutout_seconds_2": ("cut-out, 2 cores", 1, 2),
    "inference_seconds_1": ("inference, 1 core", 1, 2),
    "inference_seconds_2": ("inference, 2 cores", 1, 2),
}
NOTES = Path(__file__).with_name("notes.md")  # what the columns are


def markdown(table: pd.DataFrame) -> str:
    """The page of scores.csv."""
    notes = NOTES.read_text(encoding="utf-8").format(TOLERANCE=TOLERANCE, REDRAWS=REDRAWS, FEW=FEW)
    parts = [TITLE]
    for (data, split), group in table.groupby(["data", "split"], sort=False):
        photos = "/".join(map(str, group.photos.unique()))
        parts += [f"## {data}, split {split}, {photos} photos", as_table(_cells(group)), _made_by(group)]
    return "\n\n".join([*parts, "## What the columns are", notes])


def _cells(group: pd.DataFrame) -> pd.DataFrame:
    """The rows of one split as text, columns that hold nothing left out."""
    cells = pd.DataFrame({"cut-outs by": group.method, "edge": group.edge})
    for column, (heading, factor, digits) in _COLUMNS.items():
        cells[heading] = [cell(row, column, factor, digits) for _, row in group.iterrows()]
    return cells.loc[:, (cells != NOTHING).any()]


def cell(row: pd.Series, column: str, factor: float, digits: int = 1) -> str:
    """``90.2 (88.9-91.3)``, and after a mean over classes their number; a dash where it is unknown."""
    if pd.isna(row.get(column)):
        return NOTHING
    names = (column, f"{column}_low", f"{column}_high")
    value, low, high = (number(row[name], digits, factor) for name in names)
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
