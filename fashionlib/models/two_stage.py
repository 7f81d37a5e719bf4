"""Two-stage inference: the whole photo at low resolution, then an enlarged crop around its subject.

Most of a photo of one person is background. A checkpoint whose metadata has ``closer`` processes every photo
twice: small, to find the box of everything that is not background, and then that box alone, large. The same
number of tokens thus covers more of the clothes::

    {"first": [896, 224],    # (long, short) sides in pixels into which the whole photo is fitted
     "margin": 0.05,         # added around the box, as a fraction of its longer side
     "pixels": 313600,       # area of the enlarged crop, whatever its shape
     "share": 0.3,           # weight of the first stage in the choice among garments
     "least": 0.001}         # least probability of a subject where the second stage looks

The first, low-resolution stage has global context but no detail. Its logits enter with the weight ``share``;
without it, the first stage only gives the box. With ``least``, which needs the network `detail`, the second
stage's encoder sees only the patches in or beside which the first finds a subject that probable, and the next
most probable up to a multiple of 64. It has the first one's tokens for the others: much of the box, too, is
background.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from scipy.special import softmax

from fashionlib.core.classes import garment_values
from fashionlib.models.specs import patch_size, spec_of

if TYPE_CHECKING:
    from torch import Tensor

ROUNDED = 64  # patches are kept in multiples of so many: new shapes cost a runtime time
SPECK = 0.002  # fraction of the photo's area: smaller separate components do not widen the box


class GlobalContext(NamedTuple):
    """First-stage logits (C, ·, ·) of a whole photo, and their weight when `garments` are compared."""

    logits: "Tensor | np.ndarray"
    context_weight: float
    garments: list[int]


class Kept(NamedTuple):
    """Patches that the second stage's encoder sees, int64 (K,), and the first's token maps (D, ·, ·)."""

    patches: np.ndarray
    tokens: "Tensor | np.ndarray"


class Crop(NamedTuple):
    """A rectangle of a photo, and the input `size` (h, w) in pixels to which it is resized."""

    rows: slice
    columns: slice
    size: tuple[int, int]
    context: GlobalContext | None = None
    kept: Kept | None = None

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
            self.resample(first[garments].to(logits.device), shape, logits.shape[1:]),
        )
        which = now.lerp(before, weight)
        blended = logits.clone()
        blended[garments] = which + (now.logsumexp(0) - which.logsumexp(0))
        return blended

    def resample(self, whole: "Tensor", shape: tuple[int, int], size: tuple[int, int]) -> "Tensor":
        """Maps (C, ·, ·) of a whole photo of `shape`, cropped and resized bilinearly to `size` (h, w)."""
        import torch.nn.functional as F  # here: the geometry alone needs no torch

        (top, bottom), (left, right) = self.places(shape)
        (width, left), (height, top) = (right - left, left + right - 1), (bottom - top, top + bottom - 1)
        place = whole.new_tensor([[[width, 0, left], [0, height, top]]])
        grid = F.affine_grid(place, [1, 1, *size], align_corners=False)
        return F.grid_sample(whole[None], grid, padding_mode="border", align_corners=False)[0]

    def places(self, shape: tuple[int, int]) -> tuple[tuple[float, float], ...]:
        """Where its rows and columns begin and end in a photo of `shape` (H, W), as shares of its sides."""
        sides = zip((self.rows, self.columns), shape, strict=True)
        return tuple((part.start / side, part.stop / side) for part, side in sides)


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
    patch = (_patch(metadata) or 16) if metadata["test_cfg"]["mode"] == "whole" else 1
    h, w = (max(patch, round(side * factor / patch) * patch) for side in size)
    return h, w


def _patch(metadata: dict) -> int | None:
    return patch_size(spec_of(metadata), metadata["scale"], metadata.get("patch"))


def patches(size: tuple[int, int], metadata: dict) -> tuple[int, int]:
    """Patches (h, w) of an input of `size` (H, W) pixels."""
    return tuple(side // _patch(metadata) for side in size)


def whole_photo(shape: tuple[int, int], metadata: dict) -> Crop:
    """The crop that covers a whole photo of `shape` (H, W)."""
    return Crop(slice(0, shape[0]), slice(0, shape[1]), fitted_size(shape, metadata))


def first_look(shape: tuple[int, int], metadata: dict) -> Crop:
    """`whole_photo`, of the first of two stages."""
    return whole_photo(shape, metadata | {"resize": metadata["closer"]["first"]})


def keeps_tokens(metadata: dict) -> bool:
    """Whether the second stage's encoder sees only some patches."""
    return "least" in (metadata.get("closer") or {})


def subject(logits, shape: tuple[int, int], metadata: dict, tokens=None) -> Crop | None:
    """The crop around the subject of a photo of `shape` (H, W), from its first-stage `logits` (C, ·, ·).

    They are an array or a tensor on the CPU; `tokens` are the first stage's joined token maps (D, ·, ·), if
    the second `keeps_tokens`. None if the first stage finds only background.
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
    crop = Crop(_on_grid(rows, size[0]), _on_grid(columns, size[1]), size, context)
    if tokens is None:
        return crop
    return crop._replace(kept=Kept(_kept(crop, logits, shape, metadata), tokens))


def _kept(crop: Crop, logits, shape: tuple[int, int], metadata: dict) -> np.ndarray:
    """Indices of the crop's patches, in the order of rows, in or beside which there may be a subject."""
    subject = 1 - softmax(np.asarray(logits, np.float32), axis=0)[:1]
    height, width = patches(crop.size, metadata)
    cells_of = resampled(subject, (4 * height, 4 * width), *crop.places(shape)).reshape(height, 4, width, 4)
    around = cv2.dilate(cells_of.max((1, 3)), np.ones((3, 3), np.uint8)).ravel()
    wanted = max(1, np.count_nonzero(around >= metadata["closer"]["least"]))
    return np.sort(np.argsort(-around, kind="stable")[: -(-wanted // ROUNDED) * ROUNDED])


def resampled(whole: np.ndarray, size: tuple[int, int], rows=(0, 1), columns=(0, 1)) -> np.ndarray:
    """Maps (C, ·, ·) bilinearly at `size` (h, w), or a part of them: `rows` and `columns` are shares."""
    down, across = (_bilinear(*one) for one in zip(whole.shape[1:], size, (rows, columns), strict=True))
    return down @ whole @ across.T


def _bilinear(own: int, wanted: int, part: tuple[float, float]) -> np.ndarray:
    """The matrix float32 (wanted, own) of linear interpolation between centres of pixels, along a side."""
    first, end = part
    at = (first + (end - first) * (np.arange(wanted) + 0.5) / wanted) * own - 0.5
    at = at.clip(0, own - 1)[:, None]
    return (1 - np.abs(at - np.arange(own))).clip(0).astype(np.float32)


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
