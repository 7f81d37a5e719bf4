"""How well two outlines agree: boundary F at a tolerance in pixels."""

import cv2
import numpy as np

TOLERANCE = 3.0  # pixels


def boundary_f(pred: np.ndarray, truth: np.ndarray, tolerance: float = TOLERANCE) -> float:
    """F of the outline of `pred` against that of `truth`, both bool (H, W).

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
