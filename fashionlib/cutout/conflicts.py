"""Conflicts of garments: a person wears a dress, or a top and a skirt, never both in the same place.

A model judges pixel by pixel, so half a dress may come out as a top above a skirt. In each connected region
of these classes the two hypotheses are compared by their mean probability, and the region follows the winner.
Of the 807 photos of CCP's training and validation split one shows a dress together with a skirt. On its 178
validation photos (detail_vit_s, 20 epochs) the vote changes 12: mIoU 0.2331 to 0.2342, skirt 0.26 to 0.29.
"""

import cv2
import numpy as np

WHOLE = "dress"
PARTS = "shirt, blouse", "top, t-shirt, sweatshirt", "skirt"
TELLING = "skirt"  # a region is in conflict only where this part occurs
SHARE = 0.05  # of a region: what is less is no second garment
LEAST = 0.002  # of the photo: smaller regions are left alone


def resolve_conflicts(scores: np.ndarray, classes) -> tuple[np.ndarray, int]:
    """Class probabilities float32 (C, h, w) with one hypothesis a region; the number of regions changed.

    A region is a connected component where WHOLE and PARTS together have probability 1/2. If WHOLE has the
    higher mean probability there, it takes that of the parts, else each pixel's strongest part takes its.
    So the sum over these classes stays the same in every pixel. The input is left as it is.
    """
    values, count = {name: value for value, name in enumerate(classes)}, 0
    if not {WHOLE, *PARTS} <= set(values):
        return scores, 0
    whole, *parts = (values[name] for name in (WHOLE, *PARTS))
    for region, whole_wins in _conflicts(scores, whole, parts, values[TELLING]):
        scores, count = scores if count else scores.copy(), count + 1
        inside = scores[:, region]  # (C, n), a copy
        if whole_wins:
            inside[whole] += inside[parts].sum(axis=0)
            inside[parts] = 0
        else:
            strongest = np.asarray(parts)[inside[parts].argmax(axis=0)]
            inside[strongest, np.arange(inside.shape[1])] += inside[whole]
            inside[whole] = 0
        scores[:, region] = inside
    return scores, count


def _conflicts(scores: np.ndarray, whole: int, parts: list[int], telling: int):
    """(mask bool (h, w), whether WHOLE wins) of regions where the loser is the strongest in some pixels."""
    rivals = scores[[whole, *parts]]
    strongest = np.asarray([whole, *parts])[rivals.argmax(axis=0)]
    n, pieces = cv2.connectedComponents((rivals.sum(axis=0) >= 0.5).astype(np.uint8), connectivity=8)
    sizes = np.bincount(pieces.ravel(), minlength=n)
    for piece in np.flatnonzero(sizes >= LEAST * pieces.size):
        region = pieces == piece
        if piece == 0 or (strongest[region] == telling).mean() < SHARE:
            continue
        whole_wins = scores[whole][region].mean() > sum(scores[part][region].mean() for part in parts)
        if np.isin(strongest[region], parts if whole_wins else [whole]).mean() >= SHARE:
            yield region, whole_wins
