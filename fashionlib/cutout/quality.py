"""Predicted quality of a cut-out, for finding the few doubtful ones in a large batch.

A logistic model maps `features` of the class probabilities to the expected IoU with the true cut-out. Its
weights are fitted on a validation split (tools.cutout_model.calibrate) and stored in the checkpoint. Without
them the uncalibrated `DEFAULT` applies: the expected IoU under the class probabilities, less a penalty for a
second person.
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy.special import expit, logit

from fashionlib.core.classes import PERSON

BAND = 1 / 64  # half-width of the band around the border for `edge`, as a fraction of the shorter side
RIVAL = 1 / 4  # least size of a second person, as a fraction of the largest
_LIMITS = {  # feature: the limit beyond which a cut-out needs review, and the reason in words
    "expected": (1.7, "the model expects little overlap"),
    "missed": (-2.3, "parts may be missing"),
    "edge": (0.4, "unsure at the edge"),
    "inside": (0.9, "unsure inside"),
    "pieces": (8, "many pieces"),
    "frame": (0.05, "touches the frame"),
    "people": (0, "more than one person"),
    "area": (-3.5, "small"),
}
FEATURES = tuple(_LIMITS)
LOW = ("expected", "edge", "inside", "area")  # bad below their limits; the other features above theirs
DEFAULT = {
    "weights": {"bias": 0.0, "expected": 1.0, "people": -1.0},
    "limits": {name: limit for name, (limit, _) in _LIMITS.items()},
}


class Quality(NamedTuple):
    """`score`: predicted IoU with the true cut-out, 0 to 1; `reasons` to doubt the cut-out, in words."""

    score: float
    reasons: tuple[str, ...] = ()


GIVEN = Quality(1.0)  # an external mask is not assessed
NOTHING = Quality(0.0, ("nothing found",))


def of(scores: np.ndarray, p: np.ndarray, classes, calibration: dict | None = None) -> Quality:
    """The quality of a cut-out.

    Args:
        scores: class probabilities float32 (C, h, w).
        p: probability float32 (h, w) that a pixel is foreground. Enlarged, it would be blurred at the border.
        classes: C names.
        calibration: fitted weights and limits, from the checkpoint's metadata; None: `DEFAULT`.
    """
    if not (p >= 0.5).any():
        return NOTHING
    found, how = features(scores, p, classes), calibration or DEFAULT
    weights, limits = how["weights"], DEFAULT["limits"] | how["limits"]
    score = expit(weights.get("bias", 0.0) + sum(weights.get(name, 0.0) * found[name] for name in FEATURES))

    def beyond(name: str) -> bool:
        return found[name] < limits[name] if name in LOW else found[name] > limits[name]

    return Quality(float(score), tuple(_LIMITS[name][1] for name in FEATURES if beyond(name)))


def features(scores: np.ndarray, p: np.ndarray, classes) -> dict[str, float]:
    """Features of a non-empty cut-out (see `of`):

    expected   log-odds of the expected IoU under the probabilities: E |A and B| / E |A or B|
    missed     logarithm of the expected number of foreground pixels outside, per pixel of the foreground
    edge       mean confidence |2p - 1| within BAND of the border
    inside     mean p of the foreground
    pieces     number of connected components of the foreground
    frame      fraction of the photo's rim that is foreground
    people     estimated number of people beyond one, see `_people`
    area       logarithm of the foreground's fraction of the photo
    """
    mask = p >= 0.5
    missed = p[~mask].sum() / mask.sum()
    expected = p[mask].mean() / (1 + missed)
    rim = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return {
        "expected": float(logit(np.clip(expected, 0.01, 0.99))),
        "missed": float(np.log(max(missed, 0.001))),
        "edge": float(np.abs(2 * p - 1)[_border(mask)].mean()),
        "inside": float(p[mask].mean()),
        "pieces": cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1,
        "frame": float(rim.mean()),
        "people": max(0, _people(scores, classes) - 1),
        "area": float(np.log(mask.mean())),
    }


def _border(mask: np.ndarray) -> np.ndarray:
    """Pixels within BAND of the border of `mask`; the mask itself where it has no border."""
    r = max(1, round(BAND * min(mask.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))
    band = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, disc) > 0
    return band if band.any() else mask


def _people(scores: np.ndarray, classes) -> int:
    """Estimated number of people, for a model with classes hair and skin (else 1).

    A person is a connected component of at least RIVAL times the largest. People who touch are counted by
    their heads: components of hair and skin, by the hair in them (a face joins the hair on both its sides).
    """
    names = list(classes)
    if not set(PERSON.values()) <= set(names):
        return 1
    bodies = _counts(scores[0] < 0.5)
    hair, skin = (scores[names.index(name)] for name in PERSON.values())
    return max(_alike(bodies), _alike(_counts(hair + skin >= 0.5, hair >= 0.5)))


def _counts(mask: np.ndarray, of: np.ndarray | None = None) -> np.ndarray:
    """Pixel count of each connected component of `mask`; with `of`, only pixels that are also in it."""
    n, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    counted = mask if of is None else mask & of
    return np.bincount(pieces[counted], minlength=n)[1:]


def _alike(sizes: np.ndarray) -> int:
    return int((sizes >= max(1, RIVAL * sizes.max(initial=0))).sum())
