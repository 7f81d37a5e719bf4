"""What lies behind or beneath: walls, streets, gardens, table tops. Each is (H, W, 3) float32 in 0-1."""

import cv2
import numpy as np

from tools.draw_sample.geometry import box, ellipse, grid
from tools.draw_sample.paint import fill
from tools.draw_sample.styles import muted
from tools.draw_sample.textures import PATTERNS

PAPERS = ("pinstripe", "dots", "tartan", "gingham", "herringbone", "chevron", "flowers", "breton")


def _image(colour, height: int, width: int) -> np.ndarray:
    return np.broadcast_to(np.float32(colour), (height, width, 3)).copy()


def _noise(rng, height: int, width: int, cell: float) -> np.ndarray:
    """Smooth noise (H, W) of unit spread, `cell` pixels a blob."""
    coarse = rng.standard_normal((int(height / cell) + 3, int(width / cell) + 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _blend(image: np.ndarray, outline: np.ndarray, colour) -> None:
    """Paint a flat outline (pixels) onto `image`."""
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 2, image.shape[1::-1])
    if (high - low < 1).any():
        return
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    alpha = fill(outline - low, *(high - low)[::-1])[..., None]
    image[window] += alpha * (np.float32(colour) - image[window])


def studio(rng, height: int, width: int) -> np.ndarray:
    """A seamless wall with a floor, lit from one side."""
    image = _image(muted(rng, (0.3, 1.0)), height, width)
    x, y = grid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    spot = np.exp(-((x - rng.uniform(-0.5, 0.5)) ** 2) / 1.6 - (y + 0.3) ** 2 / 2.5)
    floor = 1 / (1 + np.exp(-(y - rng.uniform(0.55, 0.75)) * 18))
    return image * (0.72 + 0.32 * spot - 0.08 * floor)[..., None]


def bricks(rng, height: int, width: int) -> np.ndarray:
    """A brick or tile wall."""
    size = rng.uniform(0.05, 0.12) * min(height, width)
    ratio = rng.choice([1.0, 2.4])
    x, y = grid(np.arange(width), np.arange(height))
    x, y = x / size / ratio, y / size
    row = np.floor(y).astype(int)
    column = np.floor(x + 0.5 * (row % 2)).astype(int)
    shades = rng.normal(1, 0.09, (64, 64)).astype(np.float32)
    image = _image(muted(rng, (0.35, 0.95)), height, width) * shades[row % 64, column % 64][..., None]
    fx, fy = x + 0.5 * (row % 2), y + 0 * x
    gap = np.minimum(np.abs(fx - np.round(fx)) * ratio, np.abs(fy - np.round(fy)))
    joint = np.clip((0.06 - gap) / 0.03, 0, 1)[..., None]
    return image + joint * (np.float32(muted(rng, (0.4, 0.9))) - image)


def street(rng, height: int, width: int) -> np.ndarray:
    """Houses out of focus above a pavement."""
    image = _image(muted(rng, (0.6, 1.0)), height, width)
    x = -0.1 * width
    while x < width:
        w, top = rng.uniform(0.18, 0.4) * width, rng.uniform(0.0, 0.3) * height
        colour, pane = np.array(muted(rng, (0.3, 0.9))), muted(rng, (0.1, 0.9))
        _blend(image, box(x, top, x + w, height), colour)
        step = w / rng.integers(2, 4)
        for wy in np.arange(top + 0.03 * height, 0.7 * height, 1.7 * step):
            for wx in np.arange(x + 0.2 * step, x + w - 0.7 * step, step):
                _blend(image, box(wx, wy, wx + 0.6 * step, wy + 1.1 * step), pane)
        x += w
    _blend(image, box(0, 0.82 * height, width, height), muted(rng, (0.3, 0.7)))
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.004, 0.012) * min(height, width))


def shelves(rng, height: int, width: int) -> np.ndarray:
    """A wall of books."""
    image = _image(np.array(muted(rng, (0.2, 0.6))), height, width)
    shelf, step = muted(rng, (0.3, 0.8)), height / rng.integers(4, 6)
    for y in np.arange(step, height + step, step):
        x = 0.0
        while x < width:
            w, h = rng.uniform(0.02, 0.055) * width, rng.uniform(0.55, 0.88) * step
            if rng.random() < 0.9:
                _blend(image, box(x, y - h, x + w, y), muted(rng))
                _blend(image, box(x, y - 0.8 * h, x + w, y - 0.7 * h), muted(rng))
            x += w + 1
        _blend(image, box(0, y, width, y + 0.06 * step), shelf)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.003, 0.008) * min(height, width))


def garden(rng, height: int, width: int) -> np.ndarray:
    """Leaves and blossoms."""
    base, size = np.array(muted(rng, (0.15, 0.5))), 0.05 * min(height, width)
    image = _image(base, height, width)
    for i in range(260):
        centre, turn = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0, np.pi)
        colour = muted(rng, (0.6, 1.0)) if i % 9 == 8 else np.clip(base * rng.uniform(0.7, 2.2) + 0.04, 0, 1)
        leaf = ellipse(*centre, size * rng.uniform(0.6, 1.8), size * rng.uniform(0.3, 0.6), turn, 14)
        _blend(image, leaf, colour)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.004, 0.01) * min(height, width))


def lights(rng, height: int, width: int) -> np.ndarray:
    """Evening: lamps out of focus."""
    image = studio(rng, height, width) * 0.55
    for _ in range(45):
        centre, r = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0.02, 0.08) * min(height, width)
        disc = image.copy()
        _blend(disc, ellipse(*centre, r, r, n=24), muted(rng, (0.6, 1.0)))
        image += 0.45 * (disc - image)
    return image


def papered(rng, height: int, width: int) -> np.ndarray:
    """A papered wall, or a printed cloth: any of the patterns that garments wear, fainter."""
    pattern = rng.choice(PAPERS)
    size = rng.uniform(0.008, 0.02) * min(height, width)
    first = np.array(muted(rng, (0.4, 1.0)))
    second = np.clip(first * rng.uniform(0.65, 1.3), 0, 1)
    u, v = (places / size for places in grid(np.arange(width), np.arange(height)))
    turn = rng.choice([0.0, 0.78])
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    mix, relief = PATTERNS[pattern](c * u + s * v, c * v - s * u)
    mix = np.broadcast_to(np.asarray(mix, np.float32), (height, width))[..., None]
    relief = np.broadcast_to(relief, (height, width))[..., None]
    return ((np.float32(first) + mix * np.float32(second - first)) * relief).astype(np.float32)


def planks(rng, height: int, width: int) -> np.ndarray:
    """A wooden floor or table, seen from above."""
    board = rng.uniform(0.12, 0.25) * min(height, width)
    y, grain = np.arange(height)[:, None] / board, _noise(rng, height, width, 0.02 * min(height, width))
    row = np.floor(y).astype(int)
    streaks = cv2.resize(rng.standard_normal((height, 9)).astype(np.float32), (width, height))
    shade = 1 + 0.07 * streaks + 0.02 * grain + rng.normal(0, 0.09, 64)[row % 64]
    shade = np.where((y - row) < 0.02, 0.55, shade).astype(np.float32)
    image = _image(muted(rng, (0.35, 0.95)), height, width) * shade[..., None]
    if rng.random() < 0.5:
        return image
    return np.ascontiguousarray(cv2.resize(image.swapaxes(0, 1), (width, height)))


def linen(rng, height: int, width: int) -> np.ndarray:
    """A bed sheet with soft creases."""
    size = min(height, width)
    drape = _noise(rng, height, width, 0.3 * size) + 0.4 * _noise(rng, height, width, 0.08 * size)
    slope = cv2.Sobel(drape, -1, 1, 1, ksize=5) + cv2.Sobel(drape, -1, 1, 0, ksize=5)
    weave = rng.standard_normal((height, width)).astype(np.float32)
    shade = 0.95 + 0.03 * slope / slope.std() + 0.015 * weave
    return _image(muted(rng, (0.5, 1.0)), height, width) * shade[..., None]


def curtain(rng, height: int, width: int) -> np.ndarray:
    """Cloth that hangs in folds."""
    fold = rng.uniform(0.05, 0.1) * min(height, width)
    x, y = grid(np.arange(width), np.linspace(0, 1, height))
    x = x / fold
    wave = np.sin(2 * np.pi * x + 2.5 * np.sin(0.7 * x) + 0.6 * np.sin(3 * y + x / 3))
    shade = 0.86 + 0.1 * wave + 0.03 * np.sin(9.0 * x)
    return _image(muted(rng, (0.35, 0.95)), height, width) * shade[..., None]


def marble(rng, height: int, width: int) -> np.ndarray:
    """Polished stone with veins."""
    size = min(height, width)
    bend = _noise(rng, height, width, 0.25 * size) + 0.4 * _noise(rng, height, width, 0.06 * size)
    strength = np.clip(0.5 + 0.5 * _noise(rng, height, width, 0.2 * size), 0, 1)
    vein = np.exp(-np.abs(bend) * 9) * strength
    return _image(muted(rng, (0.5, 1.0)), height, width) * (1 - 0.22 * vein + 0.03 * bend)[..., None]


BEHIND = {False: (studio, studio, curtain), True: (bricks, street, shelves, garden, lights, papered)}
BENEATH = {False: (linen, linen, marble, studio), True: (planks, papered, marble, linen, bricks)}
WALLS = (bricks, papered)
