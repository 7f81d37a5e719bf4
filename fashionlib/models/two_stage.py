"""Where in a photo the model looks: at all of it, or in a second stage at its subject, enlarged.

Most of a photo of one person shows something else. A checkpoint whose metadata has ``closer`` sees every
photo twice: small, to find the box of all that is not background, and then that box alone, large. The same
number of tokens thus covers more of the clothes::

    {"first": [896, 224],    # (long, short) side in pixels that the whole photo is fitted into
     "margin": 0.05,         # added around the box, as a fraction of its longer side
     "pixels": 313600,       # area of the enlarged crop, whatever its shape
     "share": 0.3}           # weight of the first stage in the choice among garments

The first, low-resolution stage has global context but no detail. Its logits enter with the weight ``share``;
without it, the first stage only gives the box.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from fashionlib.core.classes import garment_values
from fashionlib.models.zoo import patch_size

SPECK = 0.002  # fraction of the photo's area: smaller separate components do not widen the box


class GlobalContext(NamedTuple):
    """First-stage logits (C, ·, ·) of a whole photo, and their weight in the choice among `garments`."""

    logits: torch.Tensor
    context_weight: float
    garments: list[int]


class Crop(NamedTuple):
    """A part of a photo, and the `size` (h, w) in pixels at which the model sees it."""

    rows: slice
    columns: slice
    size: tuple[int, int]
    context: GlobalContext | None = None

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The part of `image` (H, W, ...), as a view."""
        return image[self.rows, self.columns]

    def paste(self, label: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """The label map of a photo of `shape` (H, W) from the crop's: background around it."""
        whole = np.zeros(shape, label.dtype)
        self.cut(whole)[:] = label
        return whole

    def blend(self, logits: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """`logits` (C, h, w) of this crop of a photo of `shape` (H, W), blended with the first stage's.

        With p the second stage's probabilities, q the first's and w the context weight,
        p'(g) = P · p(g | garment)^(1-w) q(g | garment)^w, normalised over the garments g. Their sum P and all
        other classes stay as they are.
        """
        if self.context is None:
            return logits
        first, weight, garments = self.context
        now, before = logits[garments], self._resample(first[garments], shape, logits.shape[1:])
        which = now.log_softmax(0).lerp(before.log_softmax(0), weight).log_softmax(0)
        blended = logits.clone()
        blended[garments] = which + now.logsumexp(0)
        return blended

    def _resample(self, whole: torch.Tensor, shape: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
        """This crop of maps (C, ·, ·) of a whole photo of `shape`, bilinearly at `size` (h, w)."""
        sides = zip((self.columns, self.rows), shape[::-1], strict=True)
        (width, left), (height, top) = [
            ((part.stop - part.start) / side, (part.start + part.stop) / side - 1) for part, side in sides
        ]
        place = whole.new_tensor([[[width, 0, left], [0, height, top]]])
        grid = F.affine_grid(place, [1, 1, *size], align_corners=False)
        return F.grid_sample(whole[None], grid, padding_mode="border", align_corners=False)[0]


def fitted_size(size: tuple[int, int], metadata: dict) -> tuple[int, int]:
    """(h, w) at which the model sees a whole photo of `size` (H, W).

    Fitted into ``metadata["resize"]`` with its aspect ratio kept. Whole-image inference rounds each side to
    whole patches: a partly padded last patch would shift the logits against the photo. The convolutional
    rows halve theirs up to four times, and U-Net takes no other sides than multiples of 16.
    """
    long, short = metadata["resize"]
    return _scaled(size, min(long / max(size), short / min(size)), metadata)


def _scaled(size: tuple[int, int], factor: float, metadata: dict) -> tuple[int, int]:
    """`size` (H, W) times `factor`, in whole pixels, or patches for whole-image inference."""
    whole = metadata["test_cfg"]["mode"] == "whole"
    patch = (patch_size(metadata["model"], metadata["scale"]) or 16) if whole else 1
    h, w = (max(patch, round(side * factor / patch) * patch) for side in size)
    return h, w


def whole_photo(shape: tuple[int, int], metadata: dict) -> Crop:
    """The crop that is all of a photo of `shape` (H, W)."""
    return Crop(slice(0, shape[0]), slice(0, shape[1]), fitted_size(shape, metadata))


def subject(logits: torch.Tensor, shape: tuple[int, int], metadata: dict) -> Crop | None:
    """The crop around the subject of a photo of `shape` (H, W), from its first-stage `logits` (C, ·, ·).

    None where the first stage finds nothing.
    """
    box = _box(logits)
    if box is None:
        return None
    closer, (height, width) = metadata["closer"], shape
    box = box * [[height], [width]]
    margin = closer["margin"] * np.ptp(box, axis=1).max()
    rows, columns = (
        slice(max(0, math.floor(first - margin)), min(side, math.ceil(end + margin)))
        for (first, end), side in zip(box, shape, strict=True)
    )
    length = rows.stop - rows.start, columns.stop - columns.start
    size = _scaled(length, math.sqrt(closer["pixels"] / math.prod(length)), metadata)
    garments = garment_values(metadata["classes"])
    weight = closer.get("share")
    context = GlobalContext(logits, weight, garments) if weight and garments else None
    return Crop(_on_grid(rows, size[0]), _on_grid(columns, size[1]), size, context)


def _box(logits: torch.Tensor) -> np.ndarray | None:
    """[[top, bottom], [left, right]] of all that is not background, as fractions of the photo, or None."""
    seen = (logits[1:].amax(0) > logits[0]).cpu().numpy().astype(np.uint8)
    _, _, pieces, _ = cv2.connectedComponentsWithStats(seen, connectivity=8)
    left, top, width, height, area = pieces[1:][pieces[1:, cv2.CC_STAT_AREA] >= SPECK * seen.size].T
    if not len(area):
        return None
    rows, columns = (top.min(), (top + height).max()), (left.min(), (left + width).max())
    return np.array([rows, columns]) / np.array(seen.shape)[:, None]


def cells(shown: int, own: int, head: int = 1) -> int:
    """Number of cells of class probabilities along a side of `own` pixels that the model sees as `shown`.

    Half of `shown`, or the `head`'s where that is finer, and never more than the side has pixels.
    """
    return min(max(head, -(-shown // 2)), own)


def _on_grid(part: slice, shown: int) -> slice:
    """`part`, moved by less than a cell of `inference.probabilities` so that it begins on their grid."""
    length = part.stop - part.start
    cell = length / cells(shown, length)
    start = round(part.start // cell * cell)
    return slice(start, start + length)
