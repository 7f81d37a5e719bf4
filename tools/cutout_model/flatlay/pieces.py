"""Which garments of a photo are whole enough to be shown alone, and their pixels."""

from typing import NamedTuple

import cv2
import numpy as np

from fashionlib.core.classes import CATEGORIES, GROUPS, MAIN, label_values
from fashionlib.cutout.edges import bounding_box

PAIRS = {CATEGORIES.index(name) for name in ("glove", "leg warmer", "tights, stockings", "sock", "shoe")}
CLOTHES = {CATEGORIES.index(n) for group in ("upperbody", "lowerbody", "wholebody") for n in GROUPS[group]}
SMALLEST = 1200, 60  # pixels of a piece's area and longer side: below, enlarging shows nothing but blur
CLOTHED = 0.015  # of the photo's area that clothes fill at least: less is what shows of them under others
COVERED = 0.4  # of the outline of clothes that may touch other apparel: more, and they lie under it
TORN = 0.8  # of a class's pixels in one piece (or pair): below, something lies across it
PARTNER = 0.4  # of the larger one's area: what the second of a pair must have at least
FULL = 0.6  # of its convex hull's area: below, too much is hidden (or it is a rag of superpixels)
HOLES = 0.04  # of its area: smaller ones are buttons and necklaces, and are filled
EDGE = 3  # pixels to the photo's edge: nearer, the garment may go on beyond it
MARGIN = 8  # pixels around a piece that are cut out with it
SMOOTH = 2.0  # pixels: the outline's superpixel steps are rounded by a Gaussian of this spread
INSIDE = 1  # pixels that the outline moves inwards, away from what is behind the garment


class Piece(NamedTuple):
    """A garment in a photo: category id, label value, and its box in pixels (ends exclusive)."""

    photo: str
    class_id: int
    value: int
    box: tuple[int, int, int, int]  # top, left, bottom, right


def class_ids(class_set: str) -> dict[int, int]:
    """Label value -> category id of the main apparel: no hair or skin, no parts of garments."""
    return {value: i for i, value in label_values(class_set).items() if i < MAIN}


def find(label: np.ndarray, photo: str, class_ids: dict[int, int]) -> list[Piece]:
    """The whole garments of a label map uint8 (H, W), by label value."""
    found = []
    for value in np.flatnonzero(np.bincount(label.ravel(), minlength=256)).tolist():
        if value in class_ids:
            mask = whole(label, value, class_ids[value])
            if mask is not None and not (class_ids[value] in CLOTHES and _hidden(label, mask, class_ids)):
                found.append(Piece(photo, class_ids[value], value, bounding_box(mask)))
    return found


def whole(label: np.ndarray, value: int, class_id: int) -> np.ndarray | None:
    """The one piece (or pair) that the pixels of `value` make up, bool (H, W), holes filled; else None."""
    mask = label == value
    if mask.sum() < SMALLEST[0]:
        return None
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas, kind="stable")
    kept = [i for i in order[: 2 if class_id in PAIRS else 1] if areas[i] >= PARTNER * areas.max()]
    kept = np.isin(parts, np.add(kept, 1))
    outlines, _ = cv2.findContours(kept.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED) > 0
    hulls = [cv2.convexHull(outline) for outline in outlines]
    hull = cv2.drawContours(np.zeros(mask.shape, np.uint8), hulls, -1, 1, cv2.FILLED)
    top, left, bottom, right = bounding_box(kept)
    good = (
        kept.sum() >= TORN * mask.sum()
        and max(bottom - top, right - left) >= SMALLEST[1]
        and min(top, left, mask.shape[0] - bottom, mask.shape[1] - right) >= EDGE
        and filled.sum() - kept.sum() <= HOLES * kept.sum()
        and filled.sum() >= FULL * hull.sum()
    )
    return filled if good else None


def _hidden(label: np.ndarray, mask: np.ndarray, apparel) -> bool:
    """Whether clothes lie under others: little is seen of them, or much of their outline touches apparel."""
    around = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    touching = np.isin(label[around & ~mask], list(apparel)).mean()
    return mask.mean() < CLOTHED or touching > COVERED


def cut(rgb: np.ndarray, label: np.ndarray, piece: Piece) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of `piece`: colours uint8 (h, w, 3), and a mask bool (h, w) with a smoothed outline.

    Outside the mask stand the colours of the nearest pixels inside, so that no edge shows the old background.
    """
    mask = whole(label, piece.value, piece.class_id)
    top, left, bottom, right = piece.box
    window = np.s_[max(0, top - MARGIN) : bottom + MARGIN, max(0, left - MARGIN) : right + MARGIN]
    rgb, mask = rgb[window], mask[window].astype(np.float32)
    soft = cv2.GaussianBlur(mask, (0, 0), SMOOTH, borderType=cv2.BORDER_CONSTANT)
    mask = cv2.erode((soft > 0.5).astype(np.uint8), np.ones((2 * INSIDE + 1,) * 2, np.uint8))
    return _extended(rgb, mask > 0), mask > 0


def _extended(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`rgb` with each pixel outside `mask` replaced by the nearest one inside."""
    _, nearest = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((nearest.max() + 1, 3), np.uint8)
    colours[nearest[mask]] = rgb[mask]
    return colours[nearest]
