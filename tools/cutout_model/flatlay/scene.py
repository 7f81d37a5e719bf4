"""A garment's pixels on a background, as a shop would show it: turned, scaled, lit, with a soft shadow."""

import cv2
import numpy as np

from tools.draw_sample import backgrounds

LONG = 480, 800  # pixels of a composite's longer side, least and most
SHARE = 0.6, 0.94  # of the width or height, whichever is filled first, that the garment takes
ENLARGED = 3.0  # times at most: a small garment makes a small picture
TALLEST = 1.6  # the longer side over the shorter
TILT = 10.0  # degrees: spread of the angle at which most garments lie
ANY_TURN = 0.15  # share of composites turned by any angle
FEATHER = 1.5  # pixels over which the garment's edge fades into the background


def lay(cloth: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The composite uint8 RGB (H, W, 3) and the garment's mask bool (H, W), from `pieces.cut`'s two."""
    matrix, (height, width), scale = placed(mask, rng)
    alpha = warped_alpha(mask, matrix, (height, width), scale)
    colours = warped_colours(cloth, matrix, (height, width)) / 255
    colours = (colours * np.float32(rng.normal(1, 0.03, 3) * rng.uniform(0.88, 1.12))).clip(0, 1)
    behind = _background(rng, height, width) * _shade(alpha, rng)[..., None]
    picture = behind + alpha[..., None] * (colours - behind)
    return _photographed(picture, rng), alpha >= 0.5


def placed(mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int], float]:
    """The affine matrix (2, 3) from the piece's pixels to the composite's, its (height, width), the scale."""
    angle = rng.uniform(-180, 180) if rng.random() < ANY_TURN else rng.normal(0, TILT)
    flip = rng.choice([-1.0, 1.0])
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[c, -s], [s, c]]) @ np.diag([flip, 1.0])
    points = np.argwhere(mask)[:, ::-1] @ turn.T
    low, high = points.min(axis=0), points.max(axis=0) + 1
    w, h = high - low
    aspect = np.clip(w / h * np.exp(rng.normal(0, 0.25)), 1 / TALLEST, TALLEST)  # the composite's
    share = rng.uniform(*SHARE)
    size = np.array([min(1.0, aspect), min(1.0, 1 / aspect)])  # (width, height), longer side 1
    fits = share * (size / (w, h)).min()  # scale where the longer side is 1
    long = min(rng.uniform(*LONG), ENLARGED / fits)
    scale, size = fits * long, np.round(size * long).astype(int)
    room = size - scale * (high - low)
    corner = room * np.clip(rng.normal(0.5, 0.12, 2), 0, 1)
    return np.column_stack([scale * turn, corner - scale * low]), (int(size[1]), int(size[0])), scale


def warped_alpha(mask: np.ndarray, matrix: np.ndarray, size: tuple[int, int], scale: float) -> np.ndarray:
    """`mask` in the composite, float32 (H, W), its edge FEATHER pixels wide at any scale."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)
    soft = cv2.warpAffine(soft, matrix, size[::-1], flags=cv2.INTER_LINEAR)
    slope = 2.5 * scale / FEATHER  # a Gaussian of spread 1 rises over about 2.5 pixels
    return np.clip(0.5 + max(1.0, slope) * (soft - 0.5), 0, 1)


def warped_colours(cloth: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`cloth` uint8 (h, w, 3) in the composite of `size` (H, W), beyond its edges too: float32 (H, W, 3)."""
    warped = cv2.warpAffine(
        cloth, matrix, size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return warped.astype(np.float32)


def _shade(alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness (H, W) that the garment's shadow leaves: one part wide, one where the two touch."""
    side = max(alpha.shape)
    shade = np.ones_like(alpha)
    wide, contact = (rng.uniform(0.01, 0.04), rng.uniform(0.0, 0.35)), (0.004, rng.uniform(0.05, 0.3))
    for reach, strength in (wide, contact):
        x, y = rng.uniform(-1, 1) * reach * side, rng.uniform(0, 1) * reach * side
        moved = cv2.warpAffine(alpha, np.float32([[1, 0, x], [0, 1, y]]), alpha.shape[::-1])
        shade *= 1 - strength * cv2.GaussianBlur(moved, (0, 0), max(0.8, reach * side))
    return shade


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A shop's white in one of three, else a seamless wall, paper, cloth, wood or stone."""
    if rng.random() < 0.35:
        return np.full((height, width, 3), rng.choice([1.0, rng.uniform(0.9, 1.0)]), np.float32)
    return _BACKGROUNDS[rng.integers(8)](rng, height, width).astype(np.float32)


def gradient(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Two greys, hardly tinted, that run into each other: a light box or a grey sweep."""
    level, tint = rng.uniform(0.35, 1.0), rng.normal(1, 0.02, 3)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    ramp = 1 + rng.uniform(0.02, 0.2) * (np.cos(angle) * x + np.sin(angle) * y) / 2
    return ((level * ramp)[..., None] * np.float32(tint)).clip(0, 1)


def paper(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Coloured cardboard: one pale tone with a fine, soft grain."""
    grain = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 1.2)
    tone = np.float32(rng.uniform(0.55, 1.0) * (1 - rng.uniform(0, 0.2, 3)))
    return (tone * (1 + 0.05 * grain[..., None])).clip(0, 1)


_BACKGROUNDS = (gradient, gradient, paper, backgrounds.studio, backgrounds.linen, backgrounds.planks,
                backgrounds.marble, backgrounds.papered)  # fmt: skip


def _photographed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One lens and one sensor for garment and background alike: a slight blur and grain; uint8."""
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 0.8))
    grain = rng.standard_normal(picture.shape[:2]).astype(np.float32)[..., None] * rng.uniform(0.002, 0.015)
    return np.round((picture + grain).clip(0, 1) * 255).astype(np.uint8)
