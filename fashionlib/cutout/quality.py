"""Predicted quality of a cut-out, so that people can look at the few doubtful ones of a thousand.

A logistic model turns `features` of the class probabilities into the expected IoU with the true cut-out. Its
weights are fitted on a validation split (tools.cutout_model.calibrate) and stored in the checkpoint. Without
them `DEFAULT` applies, uncalibrated: the IoU that the probabilities themselves expect, less a penalty for a
second person.
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy.special import expit, logit

from fashionlib.core.classes import PERSON, garment_values

SIDE = 256  # pixels of the longer side at which features are taken: a few milliseconds a photo
BAND = 1 / 64  # of the shorter side: how far to either side of the border the edge's confidence is taken
RIVAL = 1 / 4  # of the largest: a smaller piece of a person is no second person
_LIMITS = {  # feature: its limit, beyond which a cut-out needs a look, and the reason in words
    "expected": (1.7, "the model expects little overlap"),
    "edge": (0.4, "unsure at the edge"),
    "inside": (0.9, "unsure inside"),
    "pieces": (8, "many pieces"),
    "conflict": (0.4, "classes in conflict"),
    "frame": (0.05, "touches the frame"),
    "people": (0, "more than one person"),
    "area": (-3.5, "small"),
}
FEATURES = tuple(_LIMITS)
LOW = ("expected", "edge", "inside", "area")  # features of which little is bad; of the others, much
DEFAULT = {
    "weights": {"bias": 0.0, "expected": 1.0, "people": -1.0},
    "limits": {name: limit for name, (limit, _) in _LIMITS.items()},
}


class Quality(NamedTuple):
    """`score`: predicted IoU with the true cut-out, 0 to 1; `reasons`: what speaks against it, in words."""

    score: float
    reasons: tuple[str, ...] = ()


GIVEN = Quality(1.0)  # of a mask made elsewhere: not judged
NOTHING = Quality(0.0, ("nothing found",))


def of(scores: np.ndarray, p: np.ndarray, classes, calibration: dict | None = None) -> Quality:
    """The quality of a cut-out.

    Args:
        scores: class probabilities float32 (C, h, w).
        p: probability float32 (H, W) that a pixel stays, of any size of the same shape.
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
    """Features of a cut-out that is not empty (see `of`):

    expected   log-odds of the IoU that the probabilities themselves expect: E |A and B| / E |A or B|
    edge       mean confidence |2p - 1| within BAND of the border
    inside     mean p of what is kept
    pieces     its connected pieces
    conflict   mean share that the second garment has of what the first two have
    frame      share of the photo's rim that is kept
    people     how many there seem to be beyond one, see `_people`
    area       logarithm of the share of the photo that is kept
    """
    step = max(1, -(-max(scores.shape[1:]) // SIDE))
    scores = scores[:, ::step, ::step]
    p = cv2.resize(p, scores.shape[:0:-1], interpolation=cv2.INTER_NEAREST)
    mask = p >= 0.5
    mask = mask if mask.any() else p >= p.max()  # smaller than a pixel here
    expected = p[mask].sum() / (mask.sum() + p[~mask].sum())
    rim = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return {
        "expected": float(logit(np.clip(expected, 0.01, 0.99))),
        "edge": float(np.abs(2 * p - 1)[_border(mask)].mean()),
        "inside": float(p[mask].mean()),
        "pieces": cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1,
        "conflict": _conflict(scores, mask, classes),
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


def _conflict(scores: np.ndarray, mask: np.ndarray, classes) -> float:
    garments = garment_values(classes)
    if len(garments) < 2:
        return 0.0
    second, first = np.partition(scores[garments][:, mask], -2, axis=0)[-2:]
    return float((second / np.maximum(first + second, 1e-6)).mean())


def _people(scores: np.ndarray, classes) -> int:
    """Estimated number of people, by a model that knows hair and skin (else 1).

    They are connected pieces of person with no less than RIVAL of the largest. People who touch count by
    their heads: pieces of hair and skin, by the hair they hold (a face joins the hair on both its sides).
    """
    names = list(classes)
    if not set(PERSON.values()) <= set(names):
        return 1
    bodies = _counts(scores[0] < 0.5)
    hair, skin = (scores[names.index(name)] for name in PERSON.values())
    return max(_alike(bodies), _alike(_counts(hair + skin >= 0.5, hair >= 0.5)))


def _counts(mask: np.ndarray, of: np.ndarray | None = None) -> np.ndarray:
    """Pixels of each connected component of `mask`, only those also in `of` where it is given."""
    n, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    counted = mask if of is None else mask & of
    return np.bincount(pieces[counted], minlength=n)[1:]


def _alike(sizes: np.ndarray) -> int:
    return int((sizes >= max(1, RIVAL * sizes.max(initial=0))).sum())
