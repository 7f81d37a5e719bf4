"""Composites whose alpha is known: garments cut out of one split's photos, on real backgrounds of others.

The garments are those of flat-lays (`flatlay`); the background is what stands beside the person in
another photo of the same split, mirrored until it fills the picture. Alpha is exact: nothing is blurred or
compressed after the two are mixed.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from fashionlib.evaluate.split import Split
from tools.cutout_model.flatlay import pieces, scene

STRIP = 60  # pixels of background beside a person, at least


class Composite(NamedTuple):
    """`photo` uint8 RGB (H, W, 3) shows `colours` float32 (0-255) as far as `alpha` float32 (H, W) says."""

    photo: np.ndarray
    alpha: np.ndarray
    colours: np.ndarray


def composites(split: Split, count: int, seed: int = 0) -> Iterator[Composite]:
    """`count` composites of a split; the same arguments give the same ones.

    Raises ValueError where no photo of the split shows a whole garment, or none has room beside the person.
    """
    rng = np.random.default_rng(seed)
    garments, backgrounds = _garments(split), _with_background(split)
    if not garments or not backgrounds:
        missing = (
            "a garment that is whole" if not garments else f"{STRIP} pixels of background beside the person"
        )
        raise ValueError(f"No photo of split {split.name!r} of {split.folder} has {missing}.")
    for garment in _in_turn(garments, count, rng):
        rgb, label = split.load(garment.photo)
        cloth, mask = pieces.cut(rgb, label, garment)
        other = rng.choice([photo for photo in backgrounds if photo != garment.photo] or backgrounds)
        yield _mixed(cloth, mask, *split.load(other), rng)


def _garments(split: Split) -> list[pieces.Piece]:
    class_ids = pieces.class_ids(split.dataset["class_set"])
    return [piece for photo in split.ids for piece in pieces.find(split.load(photo)[1], photo, class_ids)]


def _with_background(split: Split) -> list[str]:
    return [photo for photo in split.ids if np.ptp(_beside(split.load(photo)[1])) >= STRIP]


def _beside(label: np.ndarray) -> tuple[int, int]:
    """First column and end of the wider strip of background, left or right of all that is labelled."""
    columns = np.flatnonzero(label.any(axis=0))
    if not len(columns):
        return 0, label.shape[1]
    left, right = columns[0], label.shape[1] - 1 - columns[-1]
    return (0, int(left)) if left >= right else (int(columns[-1]) + 1, label.shape[1])


def _in_turn(garments: Sequence[pieces.Piece], count: int, rng: np.random.Generator) -> list[pieces.Piece]:
    """`count` of them in a drawn order; none twice before all were drawn."""
    order = np.concatenate([rng.permutation(len(garments)) for _ in range(-(-count // len(garments)))])
    return [garments[i] for i in order[:count]]


def _mixed(cloth: np.ndarray, mask: np.ndarray, other: np.ndarray, label: np.ndarray, rng) -> Composite:
    matrix, (height, width), scale = scene.placed(mask, rng)
    alpha = scene.warped_alpha(mask, matrix, (height, width), scale)
    colours = scene.warped_colours(cloth, matrix, (height, width))
    first, end = _beside(label)
    strip = other[:, first:end].astype(np.float32)
    behind = np.pad(
        strip,
        ((0, max(0, height - len(strip))), (0, max(0, width - strip.shape[1])), (0, 0)),
        mode="symmetric",
    )[:height, :width]
    photo = behind + alpha[..., None] * (colours - behind)
    return Composite(np.round(photo).astype(np.uint8), alpha, colours)


def rim_of(alpha: np.ndarray, pixels: int) -> np.ndarray:
    """bool (H, W): at most `pixels` (by chessboard) from where `alpha` (H, W) is mixed."""
    mixed = ((alpha > 0) & (alpha < 1)).astype(np.uint8)
    return cv2.dilate(mixed, np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0
