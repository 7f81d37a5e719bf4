"""From rows to scores: data-set level, each with its interval under redrawing the photos."""

import numpy as np
import pandas as pd

from fashionlib.evaluate import metrics

REDRAWS, LEVEL = 1000, 0.95
FEW = 5  # photos: a class with fewer in the split is left out of the second mean


def interval(part, whole, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of sum(part) / sum(whole) over P photos redrawn with replacement.

    `part` and `whole` are (P,): pixels of intersection and union, or values and ones for a mean. The photos
    are redrawn as `metrics.bootstrap_miou` redraws them.
    """
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    count = len(part)
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=REDRAWS)
    with np.errstate(invalid="ignore"):  # a redraw without the class: 0/0, left out
        redrawn = (weights @ part) / (weights @ whole)
    if np.isnan(redrawn).all():
        return np.nan, np.nan
    low, high = np.nanquantile(redrawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def with_interval(name: str, part, whole, seed: int = 0) -> dict:
    """The columns <name>, <name>_low and <name>_high of sum(part) / sum(whole)."""
    low, high = interval(part, whole, seed)
    return {name: float(np.sum(part) / np.sum(whole)), f"{name}_low": low, f"{name}_high": high}


def summary(rows: list[dict], seed: int = 0) -> dict:
    """The scores of P rows (`measure.rows`) as columns; fractions. What is unknown is left out."""
    columns, ones = {"photos": len(rows)}, np.ones(len(rows))
    for subject in ("apparel", "person"):
        if subject in rows[0]:
            shared, either = zip(*(row[subject] for row in rows), strict=True)
            columns |= with_interval(f"{subject}_IoU", shared, either, seed)
            columns |= with_interval(f"{subject}_F", [row[f"{subject}_F"] for row in rows], ones, seed)
    if rows[0]["areas"] is None:
        return columns
    areas = _areas(rows)
    columns |= with_interval("aAcc", areas[:, 0].sum(axis=1), areas[:, 1].sum(axis=1), seed)
    in_photos = (areas[:, 1] > 0).sum(axis=0)
    columns |= _mean_iou("mIoU", areas[..., in_photos > 0], seed)
    columns |= _mean_iou(f"mIoU_{FEW}", areas[..., in_photos >= FEW], seed)
    only_predicted = (in_photos == 0) & (areas[:, 2].sum(axis=0) > 0)
    return columns | {"n_only_predicted": int(only_predicted.sum())}


def per_class(rows: list[dict], classes, seed: int = 0) -> pd.DataFrame:
    """A row a class: IoU with its interval, and on how many photos and true pixels it rests."""
    areas = _areas(rows)
    intersect, truth, predicted = areas.transpose(1, 0, 2)
    union = truth + predicted - intersect
    bounds = [interval(intersect[:, c], union[:, c], seed) for c in range(len(classes))]
    with np.errstate(invalid="ignore"):
        iou = intersect.sum(axis=0) / union.sum(axis=0)
    low, high = zip(*bounds, strict=True)
    return pd.DataFrame(
        {
            "class": classes,
            "IoU": iou,
            "IoU_low": low,
            "IoU_high": high,
            "photos": (truth > 0).sum(axis=0),
            "pixels": truth.sum(axis=0),
        }
    )


def _areas(rows: list[dict]) -> np.ndarray:
    """(P, 3, C) int64."""
    return np.array([row["areas"] for row in rows], np.int64)


def _mean_iou(name: str, areas: np.ndarray, seed: int) -> dict:
    """Mean IoU over the classes of (P, 3, C) `areas`, all of them present, with interval and their number."""
    intersect, truth, predicted = areas.sum(axis=0)
    low, high = metrics.bootstrap_miou(areas, REDRAWS, seed, LEVEL)
    iou = intersect / (truth + predicted - intersect)
    mean = float(iou.mean()) if iou.size else np.nan
    return {name: mean, f"{name}_low": low, f"{name}_high": high, f"n_{name}": areas.shape[2]}
