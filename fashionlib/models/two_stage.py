"""Two-stage inference: the whole photo at low resolution, then an enlarged crop around its subject.

Most of a photo of one person is background. A checkpoint whose metadata has ``closer`` processes every photo
twice: small, to find the box of everything that is not background, and then that box alone, large. The same
number of tokens thus covers more of the clothes::

    {"first": [896, 224],    # (long, short) sides in pixels into which the whole photo is fitted
     "margin": 0.05,         # added around the box, as a fraction of its longer side
     "pixels": 313600,       # area of the enlarged crop, whatever its shape
     "share": 0.3}           # weight of the first stage in the choice among garments

The first, low-resolution stage has global context but no detail. Its logits enter with the weight ``share``;
without it, the first stage only gives the box.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from fashionlib.core.classes import garment_values
from fashionlib.models.specs import patch_size, spec_of

if TYPE_CHECKING:
    from torch import Tensor

SPECK = 0.002  # fraction of the photo's area: smaller separate components do not widen the box


class GlobalContext(NamedTuple):
    """First-stage logits (C, ·, ·) of a whole photo, and their weight when `garments` are compared."""

    logits: "Tensor | np.ndarray"
    context_weight: float
    garments: list[int]


class Crop(NamedTuple):
    """A rectangle of a photo, and the input `size` (h, w) in pixels to which it is resized."""

    rows: slice
    columns: slice
    size: tuple[int, int]
    context: GlobalContext | None = None

    def cut(self, image: np.ndarray) -> np.ndarray:
        """View of `image` (H, W, ...) inside the crop."""
        return image[self.rows, self.columns]

    def paste(self, label: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Label map of a photo of `shape` (H, W): the crop's own, and background around it."""
        whole = np.zeros(shape, label.dtype)
        self.cut(whole)[:] = label
        return whole

    def blend(self, logits: "Tensor", shape: tuple[int, int]) -> "Tensor":
        """The crop's `logits` (C, h, w) blended with the first stage's; the photo has `shape` (H, W).

        With p the second stage's probabilities, q the first's and w the context weight,
        p'(g) = P · p(g | garment)^(1-w) q(g | garment)^w, normalised over the garments g. Their sum P and all
        other classes stay as they are.
        """
        if self.context is None:
            return logits
        first, weight, garments = self.context
        now, before = (
            logits[garments],
            self._resample(first[garments].to(logits.device), shape, logits.shape[1:]),
        )
        which = now.log_softmax(0).lerp(before.log_softmax(0), weight).log_softmax(0)
        blended = logits.clone()
        blended[garments] = which + now.logsumexp(0)
        return blended

    def _resample(self, whole: "Tensor", shape: tuple[int, int], size: tuple[int, int]) -> "Tensor":
        """Maps (C, ·, ·) of a whole photo of `shape`, cropped and resized bilinearly to `size` (h, w)."""
        import torch.nn.functional as F  # here: the geometry alone needs no torch

        sides = zip((self.columns, self.rows), shape[::-1], strict=True)
        (width, left), (height, top) = [
            ((part.stop - part.start) / side, (part.start + part.stop) / side - 1) for part, side in sides
        ]
        place = whole.new_tensor([[[width, 0, left], [0, height, top]]])
        grid = F.affine_grid(place, [1, 1, *size], align_corners=False)
        return F.grid_sample(whole[None], grid, padding_mode="border", align_corners=False)[0]


def fitted_size(size: tuple[int, int], metadata: dict) -> tuple[int, int]:
    """Input size (h, w) of a whole photo of `size` (H, W).

    The photo is fitted into ``metadata["resize"]`` at its own aspect ratio. Whole-image inference rounds each
    side to whole patches: a partly padded last patch would shift the logits against the photo. The
    convolutional rows halve their input up to four times, and U-Net accepts only multiples of 16.
    """
    long, short = metadata["resize"]
    return _scaled(size, min(long / max(size), short / min(size)), metadata)


def _scaled(size: tuple[int, int], factor: float, metadata: dict) -> tuple[int, int]:
    """`size` (H, W) times `factor`, in whole pixels, or patches for whole-image inference."""
    whole = metadata["test_cfg"]["mode"] == "whole"
    own = patch_size(spec_of(metadata), metadata["scale"], metadata.get("patch"))
    patch = (own or 16) if whole else 1
    h, w = (max(patch, round(side * factor / patch) * patch) for side in size)
    return h, w


def whole_photo(shape: tuple[int, int], metadata: dict) -> Crop:
    """The crop that covers a whole photo of `shape` (H, W)."""
    return Crop(slice(0, shape[0]), slice(0, shape[1]), fitted_size(shape, metadata))


def subject(logits, shape: tuple[int, int], metadata: dict) -> Crop | None:
    """The crop around the subject of a photo of `shape` (H, W), from its first-stage `logits` (C, ·, ·).

    They are an array or a tensor on the CPU.     None if the first stage finds only background.
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


def _box(logits) -> np.ndarray | None:
    """Box of all non-background, [[top, bottom], [left, right]] as fractions of the photo, or None."""
    logits = np.asarray(logits)
    seen = (logits[1:].max(0) > logits[0]).astype(np.uint8)
    _, _, pieces, _ = cv2.connectedComponentsWithStats(seen, connectivity=8)
    left, top, width, height, area = pieces[1:][pieces[1:, cv2.CC_STAT_AREA] >= SPECK * seen.size].T
    if not len(area):
        return None
    rows, columns = (top.min(), (top + height).max()), (left.min(), (left + width).max())
    return np.array([rows, columns]) / np.array(seen.shape)[:, None]


def cells(shown: int, own: int, head: int = 1) -> int:
    """Number of cells in the map of class probabilities along one side of a photo or crop.

    The side has `own` pixels, `shown` in the model's input, `head` in the decode head's output. The result
    is half of `shown`, or `head` where that is more, but at most `own`.
    """
    return min(max(head, -(-shown // 2)), own)


def _on_grid(part: slice, shown: int) -> slice:
    """`part` aligned to the grid of `inference.probabilities`, a shift of less than one cell."""
    length = part.stop - part.start
    cell = length / cells(shown, length)
    start = round(part.start // cell * cell)
    return slice(start, start + length)
