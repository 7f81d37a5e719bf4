"""Composites whose alpha is known: garments of a split's photos, and drawn hair, fur and knit, on real
backgrounds.

The garments are those of flat-lays (`flatlay`), the other materials `drawn`. The background is what stands
beside the person in another photo of the split, mirrored until it fills the picture. Alpha is exact: nothing
is blurred or compressed after the two are mixed.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from fashionlib.evaluate.split import Split
from tools.cutout_model.flatlay import pieces, scene
from tools.cutout_model.score import drawn

MATERIALS = ("cloth", *drawn.MATERIALS)
STRIP = 60  # pixels of background beside a person, at least


class Composite(NamedTuple):
    """`photo` uint8 RGB (H, W, 3) shows `colours` float32 (0-255) as far as `alpha` float32 (H, W) says."""

    photo: np.ndarray
    alpha: np.ndarray
    colours: np.ndarray


def composites(split: Split, count: int, seed: int = 0, material: str = "cloth") -> Iterator[Composite]:
    """`count` composites of a split and one of MATERIALS; the same arguments give the same ones.

    Raises ValueError where no photo of the split shows a whole garment, or none has room beside the person.
    """
    rng, backgrounds = np.random.default_rng(seed), _with_background(split)
    garments = _garments(split) if material == "cloth" else [None]
    if not garments or not backgrounds:
        missing = (
            "a garment that is whole" if not garments else f"{STRIP} pixels of background beside the person"
        )
        raise ValueError(f"No photo of split {split.name!r} of {split.folder} has {missing}.")
    for garment in _in_turn(garments, count, rng):
        shown = garment and garment.photo
        other = rng.choice([photo for photo in backgrounds if photo != shown] or backgrounds)
        piece = _laid(split, garment, rng) if garment else drawn.piece(material, rng)
        yield _mixed(*piece, *split.load(other))


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


def _in_turn(garments: Sequence, count: int, rng: np.random.Generator) -> list:
    """`count` of them in a drawn order; none twice before all were drawn."""
    order = np.concatenate([rng.permutation(len(garments)) for _ in range(-(-count // len(garments)))])
    return [garments[i] for i in order[:count]]


def _laid(split: Split, garment: pieces.Piece, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    cloth, mask = pieces.cut(*split.load(garment.photo), garment)
    matrix, size, scale = scene.placed(mask, rng)
    return scene.warped_alpha(mask, matrix, size, scale), scene.warped_colours(cloth, matrix, size)


def _mixed(alpha: np.ndarray, colours: np.ndarray, other: np.ndarray, label: np.ndarray) -> Composite:
    (height, width), (first, end) = alpha.shape, _beside(label)
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
