"""Pixel counts per photo, class and epoch of a run, for intervals and paired tests.

``areas/<run>.csv.gz`` has a row for each class in a photo's truth or prediction, with the columns of
`COLUMNS`: pixels of intersection, truth and prediction, as in `metrics.class_counts`. Validation writes every
epoch, the test the picked one and the last.
"""

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd

from fashionlib.core.classes import BACKGROUND
from fashionlib.core.files import atomic_write
from fashionlib.evaluate import metrics
from fashionlib.evaluate.split import Split

COUNTS = ["intersection", "truth", "prediction"]
COLUMNS = ["split", "epoch", "photo", "class", *COUNTS]


def path(folder: Path, run: str) -> Path:
    """The file of a run in a folder of results."""
    return folder / "areas" / f"{run}.csv.gz"


def read(file: Path) -> pd.DataFrame:
    """The rows of a run; none where nothing was scored yet."""
    if not file.is_file():
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(file, dtype={"photo": str})


def put(file: Path, split: Split, epoch: int, per_photo: np.ndarray) -> None:
    """Store the counts of one epoch on `split`, (P, 3, C) int64, replacing earlier ones."""
    new, known = table(split, epoch, per_photo), read(file)
    kept = known[(known.split != split.name) | (known.epoch != epoch)]
    rows = (pd.concat([kept, new]) if len(kept) else new).sort_values(["split", "epoch"], kind="stable")
    write(file, rows)


def table(split: Split, epoch: int, per_photo: np.ndarray) -> pd.DataFrame:
    """The rows of one epoch's counts on `split`, (P, 3, C) int64."""
    photo, value = np.nonzero(per_photo.any(axis=1))
    intersect, truth, predicted = per_photo[photo, :, value].T
    names = np.array(split.classes, dtype=object)[value], np.array(split.ids, dtype=object)[photo]
    return pd.DataFrame(
        {"split": split.name, "epoch": epoch, "photo": names[1], "class": names[0]}
        | {"intersection": intersect, "truth": truth, "prediction": predicted}
    )


def of_epoch(file: Path, split: str, epoch: int) -> pd.DataFrame:
    """The rows of one epoch; ValueError where there is none."""
    rows = read(file)
    rows = rows[(rows.split == split) & (rows.epoch == epoch)]
    if rows.empty:
        raise ValueError(f"{file} has no rows of {split} at epoch {epoch}: run notebook 05 again.")
    return rows


def epochs(file: Path, split: str) -> set[int]:
    """Epochs whose counts on `split` are stored: a score without them is an older version's."""
    rows = read(file)
    return set(rows.epoch[rows.split == split])


def drop(file: Path, split: str) -> None:
    """Delete the rows of a split whose list of photos has changed."""
    if len(known := read(file)):
        write(file, known[known.split != split])


def mean_iou(file: Path, split: str, epoch: int) -> pd.Series:
    """Photo -> its mean IoU over the classes in its truth or prediction; ValueError without rows."""
    rows = of_epoch(file, split, epoch)
    iou = metrics.iou_of(rows[COUNTS].to_numpy().T)
    return pd.Series(iou).groupby(rows.photo.to_numpy()).mean()


def background_miou(file: Path, split: str) -> float:
    """mIoU of predicting background everywhere on the photos of `split`: the floor."""
    rows = read(file)
    truth = rows[(rows.split == split) & (rows.epoch == rows.epoch[rows.split == split].min())]
    truth = truth.groupby("class").truth.sum()
    counts = [truth.get(BACKGROUND, 0), *truth.drop(BACKGROUND, errors="ignore")]
    return metrics.miou(metrics.background_everywhere(np.diag(counts)))


def write(file: Path, rows: pd.DataFrame) -> None:
    """Write the rows of a run, the same bytes for the same rows."""
    text = io.StringIO()
    rows.to_csv(text, index=False, lineterminator="\n")
    with atomic_write(file) as part:
        part.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))  # no time: the same bytes again
