"""From rows to scores: of the whole split, each with its interval under redrawing the photos."""

import numpy as np
import pandas as pd

from fashionlib.evaluate import metrics

REDRAWS = 1000
FEW = 5  # photos: a class with fewer in the split is left out of the second mean


def interval(part, whole) -> tuple[float, float]:
    """95 % interval of sum(part) / sum(whole) over P photos redrawn with replacement; NaN where `whole` is 0.

    `part` and `whole` are (P,): pixels of intersection and union, or values and ones for a mean.
    """
    if not np.any(whole):
        return np.nan, np.nan
    return metrics.bootstrap_miou(np.stack([part, whole, part], axis=1)[..., None], REDRAWS)


def with_interval(name: str, part, whole=None) -> dict:
    """The columns <name>, <name>_low and <name>_high of sum(part) / sum(whole); None: a mean."""
    whole = np.ones(len(part)) if whole is None else whole
    low, high = interval(part, whole)
    return {name: float(np.sum(part) / np.sum(whole)), f"{name}_low": low, f"{name}_high": high}


def summary(rows: list[dict]) -> dict:
    """The scores of P rows (`measure.rows`) as columns; fractions. What is unknown is left out."""
    columns = {"photos": len(rows)}
    for subject in ("apparel", "person"):
        if subject in rows[0]:
            columns |= with_interval(f"{subject}_IoU", *zip(*(row[subject] for row in rows), strict=True))
            columns |= with_interval(f"{subject}_F", [row[f"{subject}_F"] for row in rows])
    if rows[0]["confusion"] is None:
        return columns
    total, areas = _counts(rows)
    columns |= with_interval("aAcc", areas[:, 0].sum(axis=1), areas[:, 1].sum(axis=1))
    in_photos = (areas[:, 1] > 0).sum(axis=0)
    for name, chosen in {"mIoU": in_photos > 0, f"mIoU_{FEW}": in_photos >= FEW}.items():
        low, high = metrics.bootstrap_miou(areas[..., chosen], REDRAWS) if chosen.any() else (np.nan, np.nan)
        mean = metrics.iou(total)[chosen].mean() if chosen.any() else np.nan
        columns |= {name: mean, f"{name}_low": low, f"{name}_high": high, f"n_{name}": int(chosen.sum())}
    return columns | {"n_only_predicted": int(((in_photos == 0) & (total.sum(axis=0) > 0)).sum())}


def per_class(rows: list[dict], classes) -> pd.DataFrame:
    """A row a class: IoU with its interval, and on how many photos and true pixels it rests."""
    total, areas = _counts(rows)
    intersect, truth, predicted = areas.transpose(1, 2, 0)
    bounds = [interval(*of) for of in zip(intersect, truth + predicted - intersect, strict=True)]
    table = pd.DataFrame({"class": classes, "IoU": metrics.iou(total)})
    table[["IoU_low", "IoU_high"]] = bounds
    return table.assign(photos=(truth > 0).sum(axis=1), pixels=truth.sum(axis=1))


def _counts(rows: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """The confusion matrix (C, C) of all photos, and `metrics.class_counts` (P, 3, C) of each."""
    matrices = [row["confusion"] for row in rows]
    return np.sum(matrices, axis=0), np.array([metrics.class_counts(matrix) for matrix in matrices])
