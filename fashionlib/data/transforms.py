"""Fast training transforms: draw scale and crop window first, then resize only the window.

MMSegmentation's pipeline decodes, resizes and counts whole photos and then cuts a window out of them.
`LoadCrop` makes the same draws from the same generators, including redrawn windows (which need only the
label map), and then resizes only the window. The same seed gives the same label map and, up to rounding,
the same photo. Usable from any stock config for 8-bit colour photos::

    custom_imports = dict(imports=["fashionlib.data.transforms"])
    train_pipeline = [
        dict(type="LoadCrop", scale=(2048, 512), ratio_range=(0.5, 2.0), crop_size=(512, 512),
             cat_max_ratio=0.75),
        dict(type="FastPhotoMetricDistortion"),
        dict(type="PackCrop"),
    ]
"""

import fashionlib.core.engine  # noqa: F401  (first: it keeps the engine quiet)

# isort: split
import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.image.geometric import rescale_size
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import PackSegInputs, PhotoMetricDistortion
from mmseg.registry import TRANSFORMS

from fashionlib.core.classes import IGNORE
from fashionlib.data import prepared

_REDRAWS = 10  # MMSegmentation's number
_SLACK = 16  # pixels; how far a window may be widened on each side (see `Span.source`)
_PHASE = 0.1  # source pixels; maximum distance of a widened window's edge from a pixel edge
_LEVELS = np.arange(256, dtype=np.uint8)


class Span(NamedTuple):
    """One axis of a window: pixels `start` to `start + size` of a side resized from `old` to `new` pixels."""

    old: int
    new: int
    start: int
    size: int

    def cut(self, side: np.ndarray) -> np.ndarray:
        """The window's part of `side`, an array over the resized side's pixels."""
        return side[self.start : self.start + self.size]

    def source(self) -> tuple[int, int, int, int]:
        """Part of the photo to resize, and the window's offset in the resized part.

        ``cv2.resize`` can't begin between two source pixels, so the window is widened to positions where the
        two grids align: resized pixel p begins at source pixel p * old / new, which must be (nearly) whole.
        With old / new = 2 / 3 this holds for every third resized pixel::

            resized  |  0  |  1  |  2  |  3  |  4  |  5  |  6  |
            source   |   0    |   1    |   2    |   3    |
                     ^ meet            ^ meet            ^ meet

        A window of the pixels 4 and 5 is computed by resizing the source pixels 2 and 3 to the pixels 3 to 5;
        it begins at offset 1. If the grids align nowhere nearby, the photo's own edges are used. A margin
        ensures that interpolation in the window needs no pixels from beyond the cut.

        Returns:
            first source pixel, last source pixel + 1, size after resizing, offset of the window in it.
        """
        step = self.old / self.new
        margin = max(math.ceil((1 / step - 1) / 2), 0)
        first = _meet(step, self.start - margin - np.arange(_SLACK + 1), 0, self.new)
        last = _meet(step, self.start + self.size + margin + np.arange(_SLACK + 1), self.new, self.new)
        return round(first * step), round(last * step), last - first, self.start - first


def _meet(step: float, places: np.ndarray, edge: int, new: int) -> int:
    """The entry of `places` closest to a source pixel's edge, if close enough and inside; else `edge`."""
    at = places * step
    off = np.abs(at - at.round())
    best = off.argmin()
    return int(places[best]) if off[best] <= _PHASE and 0 <= places[best] <= new else edge


def nearest(old: int, new: int) -> np.ndarray:
    """Source pixel of each resized pixel, int (new,), as in ``cv2.resize(..., INTER_NEAREST)``."""
    return np.minimum((np.arange(new) * (1 / (new / old))).astype(int), old - 1)  # OpenCV's rounding


def _draw(old: int, new: int, crop: int) -> Span:
    """Draw a crop window along one axis as RandomCrop does."""
    size = min(crop, new)
    return Span(old, new, np.random.randint(new - size + 1), size)


def sample(labels: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """``labels[np.ix_(rows, columns)]`` for ascending indices; faster, because it copies whole rows."""
    top, left = rows[0], columns[0]
    box = labels[top : rows[-1] + 1, left : columns[-1] + 1]
    return cv2.transpose(cv2.transpose(box).take(columns - left, 0)).take(rows - top, 0)


@TRANSFORMS.register_module()
class LoadCrop(BaseTransform):
    """LoadImageFromFile, LoadAnnotations, RandomResize, RandomCrop and RandomFlip, for the window only.

    A photo smaller than the crop gives a smaller window, which the data preprocessor pads as usual.
    The EXIF orientation is ignored: label maps fit the stored pixels.

    Args:
        scale: (long, short) side to fit the photo into at ratio 1.
        ratio_range: smallest and largest ratio.
        crop_size: (height, width).
        cat_max_ratio: redraw a window, up to 10 times, if one class fills this fraction of it or more; label
            255 is no class.
        flip: probability of a horizontal flip.

    Raises (from `transform`):
        ValueError: a photo or label map can't be decoded, or the two differ in size.
    """

    def __init__(
        self,
        scale: tuple[int, int],
        ratio_range: tuple[float, float],
        crop_size: tuple[int, int],
        cat_max_ratio: float = 1.0,
        flip: float = 0.5,
    ) -> None:
        self.scale, self.ratio_range, self.crop_size = scale, ratio_range, crop_size
        self.cat_max_ratio, self.flip = cat_max_ratio, flip

    def transform(self, results: dict) -> dict:
        """Add ``img``, ``gt_seg_map`` and the metadata that the packer and the model need."""
        labels = self.read_labels(results)
        height, width = labels.shape
        results["scale"] = self.draw_scale()
        new_width, new_height = rescale_size((width, height), results["scale"])
        rows, columns, window = self.draw_window(labels, new_height, new_width)
        flip = np.random.random_sample() < self.flip  # what np.random.choice(p=...) draws
        image = self.read_photo(results["img_path"], rows, columns)
        results.update(
            img=cv2.flip(image, 1) if flip else image,
            gt_seg_map=cv2.flip(window, 1) if flip else window,
            img_shape=window.shape,
            ori_shape=labels.shape,
            scale_factor=(new_width / width, new_height / height),
            keep_ratio=True,
            flip=flip,
            flip_direction="horizontal" if flip else None,
        )
        results["seg_fields"].append("gt_seg_map")
        return results

    def read_labels(self, results: dict) -> np.ndarray:
        """The whole label map, uint8 (H, W), renumbered as LoadAnnotations does."""
        path = results["seg_map_path"]
        labels = prepared.decode(Path(path).read_bytes(), path)
        table = np.array([255, *range(254), 255], np.uint8) if results["reduce_zero_label"] else _LEVELS
        renumbered = _LEVELS.copy()
        for old, new in (results.get("label_map") or {}).items():
            renumbered[old] = new
        labels = _look_up(labels, renumbered[table])
        return prepared.check_labels(labels, results["classes"], path) if "classes" in results else labels

    def draw_scale(self) -> tuple[int, int]:
        """Draw the (long, short) side to fit the photo into, as RandomResize does."""
        low, high = self.ratio_range
        ratio = np.random.random_sample() * (high - low) + low
        return int(self.scale[0] * ratio), int(self.scale[1] * ratio)

    def draw_window(self, labels: np.ndarray, height: int, width: int) -> tuple[Span, Span, np.ndarray]:
        """Draw a crop window on `labels` resized to (height, width), as RandomCrop does.

        Returns:
            rows and columns of the window, and its label map, uint8 (h, w).
        """
        axes = list(zip(labels.shape, (height, width), self.crop_size, strict=True))
        places = [nearest(old, new) for old, new, _ in axes]
        for attempt in range(_REDRAWS + 1):
            spans = [_draw(*axis) for axis in axes]
            window = sample(labels, *(span.cut(side) for span, side in zip(spans, places, strict=True)))
            if self.cat_max_ratio >= 1 or attempt == _REDRAWS or self.is_mixed(window):
                return *spans, window
        raise AssertionError

    def is_mixed(self, window: np.ndarray) -> bool:
        """Whether the window has at least two classes, none filling `cat_max_ratio` of it (RandomCrop)."""
        background = window.size - cv2.countNonZero(window)
        if background / window.size >= self.cat_max_ratio:  # the usual case, counted ten times as fast
            return False
        counts = cv2.calcHist([window], [0], None, [256], [0, 256]).ravel().astype(int)
        counts[IGNORE] = 0
        return np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < self.cat_max_ratio

    def read_photo(self, path: str, rows: Span, columns: Span) -> np.ndarray:
        """Window of the photo at `path`, uint8 BGR (h, w, 3)."""
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(Path(path).read_bytes(), np.uint8), flags)
        if image is None:
            raise ValueError(f"{path} can't be decoded: replace it, and prepare the data again.")
        if image.shape[:2] != (rows.old, columns.old):
            raise ValueError(
                f"{path} is {image.shape[:2]}, but its label map is {rows.old, columns.old}: "
                "prepare the data again."
            )
        top, bottom, height, y = rows.source()
        left, right, width, x = columns.source()
        image = cv2.resize(image[top:bottom, left:right], (width, height), interpolation=cv2.INTER_LINEAR)
        return image[y : y + rows.size, x : x + columns.size]


@TRANSFORMS.register_module()
class FastPhotoMetricDistortion(PhotoMetricDistortion):
    """PhotoMetricDistortion with look-up tables and at most one conversion to HSV and back.

    Draws and formulas are MMSegmentation's: its own methods fill the tables. When both saturation and hue are
    drawn, values are rounded once instead of twice; everything else is bit-identical.
    """

    def transform(self, results: dict) -> dict:
        """Distort ``img``, uint8 BGR (H, W, 3)."""
        before = self.brightness(_LEVELS)
        contrast_last = np.random.randint(2) == 0
        if not contrast_last:
            before = self.contrast(before)
        saturation, hue = self.saturation_table(), self.hue_table()
        after = self.contrast(_LEVELS) if contrast_last else _LEVELS
        image = results["img"]
        if saturation is not None or hue is not None:
            image = _in_hsv(_look_up(image, before), hue, saturation)
            before = _LEVELS
        results["img"] = _look_up(image, after[before])
        return results

    def saturation_table(self) -> np.ndarray | None:
        """Look-up table of the drawn saturation factor, uint8 (256,); None if no factor is drawn."""
        if not np.random.randint(2):
            return None
        return self.convert(_LEVELS, alpha=np.random.uniform(self.saturation_lower, self.saturation_upper))

    def hue_table(self) -> np.ndarray | None:
        """Look-up table of the drawn hue shift, uint8 (256,), in steps of 2 degrees; None if not drawn."""
        if not np.random.randint(2):
            return None
        shift = np.random.randint(-self.hue_delta, self.hue_delta)
        return ((_LEVELS.astype(int) + shift) % 180).astype(np.uint8)


def _look_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    return image if (table == _LEVELS).all() else cv2.LUT(image, table)


def _in_hsv(image: np.ndarray, *tables: np.ndarray | None) -> np.ndarray:
    """The image, uint8 BGR, with the look-up `tables` applied to its hue and saturation."""
    channels = list(cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV)))
    for i, table in enumerate(tables):
        if table is not None:
            channels[i] = cv2.LUT(channels[i], table)
    return cv2.cvtColor(cv2.merge(channels), cv2.COLOR_HSV2BGR)


@TRANSFORMS.register_module()
class PackCrop(PackSegInputs):
    """PackSegInputs with OpenCV's transpose from (H, W, 3) to (3, H, W), ten times as fast as torch's."""

    def transform(self, results: dict) -> dict:
        """Pack as PackSegInputs does."""
        image = results["img"]
        planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
        cv2.split(image, list(planes))
        results["img"] = planes.transpose(1, 2, 0)  # the packer transposes it back without a copy
        return super().transform(results)
