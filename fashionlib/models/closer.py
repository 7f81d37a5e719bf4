"""Where to look: at the whole photo, or first at that and then, closer, at its subject.

Most of a photo of one person shows something else. A checkpoint whose card has ``closer`` is shown every
photo twice: small, to find the box of all that is not background, and then that box alone, large. So the
same number of tokens shows more of the clothes::

    {"first": [896, 224],    # (long, short) side into which the whole photo is fitted
     "margin": 0.05,         # by which the box is widened, as a share of its longer side
     "pixels": 313600}       # area at which it is then shown, whatever its shape
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmseg.models import EncoderDecoder

from fashionlib.models.forward import fitted_size, scaled_size, scores_each

SPECK = 0.002  # of the photo's area: what is smaller and lies apart does not widen the box


class View(NamedTuple):
    """A part of a photo, and the `size` (h, w) at which the model is shown it."""

    rows: slice
    columns: slice
    size: tuple[int, int]

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The part of `image` (H, W, ...), as a view."""
        return image[self.rows, self.columns]

    def in_whole(self, label: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """The label map of a whole photo of `shape` (H, W), from that of the part: background around it."""
        whole = np.zeros(shape, label.dtype)
        self.cut(whole)[:] = label
        return whole


def cells(shown: int, own: int, head: int = 1) -> int:
    """In how many cells class probabilities are given along a side of `own` pixels, shown as `shown`.

    Half of those shown, or the `head`'s where that is finer, and never more than the side has pixels.
    """
    return min(max(head, -(-shown // 2)), own)


def views(model: EncoderDecoder, images: Sequence[np.ndarray], ask: str = "auto") -> list[View]:
    """Where `model` looks in each photo, uint8 RGB (H, W, 3): at all of it, or closer if its card says so.

    A photo in which the first look finds nothing is looked at as a whole.
    """
    shapes = [image.shape[:2] for image in images]
    found = [_whole(shape, model.meta) for shape in shapes]
    if model.meta.get("closer"):
        small = model.meta | {"resize": model.meta["closer"]["first"]}
        for index, scores in scores_each(model, images, [fitted_size(shape, small) for shape in shapes], ask):
            box = _subject(scores)
            if box is not None:
                found[index] = _around(box, shapes[index], model.meta)
    return found


def _whole(shape: tuple[int, int], info: dict) -> View:
    return View(slice(0, shape[0]), slice(0, shape[1]), fitted_size(shape, info))


def _subject(scores: torch.Tensor) -> np.ndarray | None:
    """[[top, bottom], [left, right]] of what is not background, as shares of the photo; None: nothing is."""
    seen = (scores[1:].amax(0) > scores[0]).cpu().numpy().astype(np.uint8)
    _, _, pieces, _ = cv2.connectedComponentsWithStats(seen, connectivity=8)
    left, top, width, height, area = pieces[1:][pieces[1:, cv2.CC_STAT_AREA] >= SPECK * seen.size].T
    if not len(area):
        return None
    rows, columns = (top.min(), (top + height).max()), (left.min(), (left + width).max())
    return np.array([rows, columns]) / np.array(seen.shape)[:, None]


def _around(box: np.ndarray, shape: tuple[int, int], info: dict) -> View:
    """The view of a `box` of shares, with its margin."""
    asked, (height, width) = info["closer"], shape
    box = box * [[height], [width]]
    margin = asked["margin"] * np.ptp(box, axis=1).max()
    rows, columns = (
        slice(max(0, math.floor(first - margin)), min(side, math.ceil(end + margin)))
        for (first, end), side in zip(box, shape, strict=True)
    )
    length = rows.stop - rows.start, columns.stop - columns.start
    size = scaled_size(length, math.sqrt(asked["pixels"] / math.prod(length)), info)
    return View(_on_grid(rows, size[0]), _on_grid(columns, size[1]), size)


def _on_grid(part: slice, shown: int) -> slice:
    """`part`, moved by less than a cell of `predict.probabilities` so that it begins on their grid."""
    length = part.stop - part.start
    cell = length / cells(shown, length)
    start = round(part.start // cell * cell)
    return slice(start, start + length)
