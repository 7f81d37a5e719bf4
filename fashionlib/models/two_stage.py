"""Where to look: at the whole photo, or first at that and then, closer, at its subject.

Most of a photo of one person shows something else. A checkpoint whose card has ``closer`` is shown every
photo twice: small, to find the box of all that is not background, and then that box alone, large. So the
same number of tokens shows more of the clothes::

    {"first": [896, 224],    # (long, short) side into which the whole photo is fitted
     "margin": 0.05,         # by which the box is widened, as a share of its longer side
     "pixels": 313600,       # area at which it is then shown, whatever its shape
     "share": 0.3}           # of the first look in the answer to which garment it is

The first look sees no edges, but how all belongs together. Without ``share`` it only says where.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models import EncoderDecoder

from fashionlib.core.classes import garment_values
from fashionlib.models.inference import fitted_size, scaled_size, scores_each

SPECK = 0.002  # of the photo's area: what is smaller and lies apart does not widen the box


class Before(NamedTuple):
    """What a first look says of a whole photo: `logits` (C, ·, ·), with its `share` among `garments`."""

    logits: torch.Tensor
    share: float
    garments: list[int]


class View(NamedTuple):
    """A part of a photo, and the `size` (h, w) at which the model is shown it."""

    rows: slice
    columns: slice
    size: tuple[int, int]
    before: Before | None = None

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The part of `image` (H, W, ...), as a view."""
        return image[self.rows, self.columns]

    def in_whole(self, label: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """The label map of a whole photo of `shape` (H, W), from that of the part: background around it."""
        whole = np.zeros(shape, label.dtype)
        self.cut(whole)[:] = label
        return whole

    def answer(self, logits: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """Logits (C, h, w) of the part of a photo of `shape` (H, W), with what was seen before.

        The probability that it is any garment stays; which one it is, both looks say.
        """
        if self.before is None:
            return logits
        seen, share, garments = self.before
        now, then = logits[garments], self._sampled(seen[garments], shape, logits.shape[1:])
        which = now.log_softmax(0).lerp(then.log_softmax(0), share).log_softmax(0)
        joined = logits.clone()
        joined[garments] = which + now.logsumexp(0)
        return joined

    def _sampled(self, whole: torch.Tensor, shape: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
        """This part of maps (C, ·, ·) of a whole photo of `shape`, bilinearly at `size` (h, w)."""
        sides = zip((self.columns, self.rows), shape[::-1], strict=True)
        (width, left), (height, top) = [
            ((part.stop - part.start) / side, (part.start + part.stop) / side - 1) for part, side in sides
        ]
        place = whole.new_tensor([[[width, 0, left], [0, height, top]]])
        grid = F.affine_grid(place, [1, 1, *size], align_corners=False)
        return F.grid_sample(whole[None], grid, padding_mode="border", align_corners=False)[0]


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
        garments = garment_values(model.meta["classes"])
        small = model.meta | {"resize": model.meta["closer"]["first"]}
        for index, scores in scores_each(model, images, [fitted_size(shape, small) for shape in shapes], ask):
            box = _subject(scores)
            if box is not None:
                found[index] = _around(box, shapes[index], model.meta)
                share = model.meta["closer"].get("share")
                if share and garments:
                    found[index] = found[index]._replace(before=Before(scores, share, garments))
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
