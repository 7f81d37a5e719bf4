"""A row of counts a photo, and the scores of a split with their intervals under redrawing its photos."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from fashionlib.core.classes import IGNORE, garment_values
from fashionlib.cutout.segment import SUBJECTS
from fashionlib.evaluate import metrics
from fashionlib.evaluate.split import Split

TOLERANCE = 3.0  # pixels between outlines that agree
REDRAWS = 1000
FEW = 5  # photos: a class with fewer in the split is left out of the second mean


def boundary_f(pred: np.ndarray, truth: np.ndarray, tolerance: float = TOLERANCE) -> float:
    """Boundary F of `pred` against `truth`, both bool (H, W).

    Precision is the share of predicted boundary pixels with a true one at most `tolerance` pixels (Euclidean)
    away, recall the reverse, and F their harmonic mean, as in DAVIS (Perazzi et al., CVPR 2016, section 4),
    which dilates by a disc where we look distances up. (BSDS matches pixels one to one, and is stricter.)
    Two masks without any outline agree (1); an outline against none is 0.
    """
    if pred.shape != truth.shape:
        raise ValueError(f"The masks are {pred.shape} and {truth.shape}: compare them at the photo's size.")
    ours, theirs = boundary(pred), boundary(truth)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    precision = (_distance(theirs)[ours] <= tolerance).mean()
    recall = (_distance(ours)[theirs] <= tolerance).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def boundary(mask: np.ndarray) -> np.ndarray:
    """The pixels of `mask`, bool (H, W), that have one of their four neighbours outside it.

    The photo's edge is no boundary: nobody knows how the mask goes on beyond it.
    """
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inside = cv2.erode(mask.astype(np.uint8), cross, borderType=cv2.BORDER_REPLICATE)
    return mask & (inside == 0)


def _distance(points: np.ndarray) -> np.ndarray:
    """Euclidean distance of each pixel to the nearest true pixel of `points`: float32 (H, W), exact."""
    return cv2.distanceTransform((~points).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def rows(method, split: Split) -> Iterator[dict]:
    """A row for each photo of `split`, in order.

    photo; confusion: (C, C) `metrics.confusion_matrix` of the label map, None without classes; for each
    subject that the method can cut out, <subject>: [intersection, union] in pixels, and <subject>_F, against
    the very file that a user gets: a pixel belongs to the cut-out from alpha 128 on.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for photo in split.ids:
            yield _row(method, split, photo, Path(scratch) / "cut.png")


def _row(method, split: Split, photo: str, cut: Path) -> dict:
    rgb, target = split.load(photo)
    label = method.label_map(rgb)
    confusion = None if label is None else metrics.confusion_matrix(label, target, len(split.classes))
    row = {"photo": photo, "confusion": confusion}
    for subject in method.subjects:
        if method.tells_subjects or subject == method.subjects[0]:  # else: the same file again
            method.cut(split.folder / "images" / f"{photo}.jpg", cut, subject)
        with Image.open(cut) as picture:
            mask = np.asarray(picture.getchannel("A")) >= 128
        truth = is_subject(subject, split.classes)[target]
        mask &= target != IGNORE  # ignored pixels are background on both sides
        row[subject] = [int((mask & truth).sum()), int((mask | truth).sum())]
        row[f"{subject}_F"] = boundary_f(mask, truth)
    return row


def is_subject(subject: str, classes) -> np.ndarray:
    """(256,) bool: which label values are ``apparel``, or ``person`` (apparel, hair and skin)."""
    values = garment_values(classes) if subject == "apparel" else range(1, len(classes))
    return np.isin(np.arange(256), values)


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
    return _columns(name, float(np.sum(part) / np.sum(whole)), interval(part, whole))


def _columns(name: str, value: float, bounds: tuple[float, float]) -> dict:
    return dict(zip((name, f"{name}_low", f"{name}_high"), (value, *bounds), strict=True))


def summary(rows: list[dict]) -> dict:
    """The scores of P `rows` as columns; fractions. What is unknown is left out."""
    columns = {"photos": len(rows)}
    for subject in SUBJECTS:
        if subject in rows[0]:
            columns |= with_interval(f"{subject}_IoU", *zip(*(row[subject] for row in rows), strict=True))
            columns |= with_interval(f"{subject}_F", [row[f"{subject}_F"] for row in rows])
    if rows[0]["confusion"] is None:
        return columns
    total, counts = _counts(rows)
    columns |= with_interval("aAcc", counts[:, 0].sum(axis=1), counts[:, 1].sum(axis=1))
    in_photos = (counts[:, 1] > 0).sum(axis=0)
    for name, chosen in {"mIoU": in_photos > 0, f"mIoU_{FEW}": in_photos >= FEW}.items():
        bounds = metrics.bootstrap_miou(counts[..., chosen], REDRAWS) if chosen.any() else (np.nan, np.nan)
        columns |= _columns(name, metrics.mean(metrics.iou(total)[chosen]), bounds)
        columns[f"n_{name}"] = int(chosen.sum())
    return columns | {"n_only_predicted": int(((in_photos == 0) & (total.sum(axis=0) > 0)).sum())}


def per_class(rows: list[dict], classes) -> pd.DataFrame:
    """A row a class: IoU with its interval, and on how many photos and true pixels it rests."""
    total, counts = _counts(rows)
    intersect, truth, predicted = counts.transpose(1, 2, 0)
    bounds = [interval(*of) for of in zip(intersect, truth + predicted - intersect, strict=True)]
    table = pd.DataFrame({"class": classes, "IoU": metrics.iou(total)})
    table[["IoU_low", "IoU_high"]] = bounds
    return table.assign(photos=(truth > 0).sum(axis=1), pixels=truth.sum(axis=1))


def _counts(rows: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """The confusion matrix (C, C) of all photos, and `metrics.class_counts` (P, 3, C) of each."""
    matrices = [row["confusion"] for row in rows]
    return np.sum(matrices, axis=0), np.array([metrics.class_counts(matrix) for matrix in matrices])
