"""What lies behind: studio walls and table tops, streets, rooms and desks full of things."""

import cv2
import numpy as np

from .geometry import box, ellipse, smooth, tube
from .paint import Canvas, Item, fill
from .textures import PATTERNS, Cloth
from .textures import hue as any_hue


def hue(rng, light=(0.2, 0.95), vivid: float = 0.5):
    """A colour for the surroundings: as clothes', but less vivid."""
    return any_hue(rng, light, vivid)


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
    image = _image(hue(rng, (0.3, 1.0)), height, width)
    x, y = np.linspace(-1, 1, width, dtype=np.float32)[None], np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    spot = np.exp(-((x - rng.uniform(-0.5, 0.5)) ** 2) / 1.6 - (y + 0.3) ** 2 / 2.5)
    floor = 1 / (1 + np.exp(-(y - rng.uniform(0.55, 0.75)) * 18))
    return image * (0.72 + 0.32 * spot - 0.08 * floor)[..., None]


def bricks(rng, height: int, width: int) -> np.ndarray:
    """A brick or tile wall."""
    size = rng.uniform(0.05, 0.12) * min(height, width)
    ratio = rng.choice([1.0, 2.4])
    x, y = np.arange(width, dtype=np.float32)[None] / size / ratio, np.arange(height, dtype=np.float32)[:, None] / size
    row = np.floor(y).astype(int)
    column = np.floor(x + 0.5 * (row % 2)).astype(int)
    shades = rng.normal(1, 0.09, (64, 64)).astype(np.float32)
    image = _image(hue(rng, (0.35, 0.95)), height, width) * shades[row % 64, column % 64][..., None]
    fx, fy = x + 0.5 * (row % 2), y + 0 * x
    gap = np.minimum(np.abs(fx - np.round(fx)) * ratio, np.abs(fy - np.round(fy)))
    joint = np.clip((0.06 - gap) / 0.03, 0, 1)[..., None]
    return image + joint * (np.float32(hue(rng, (0.4, 0.9))) - image)


def street(rng, height: int, width: int) -> np.ndarray:
    """Houses out of focus above a pavement."""
    image = _image(hue(rng, (0.6, 1.0)), height, width)
    x = -0.1 * width
    while x < width:
        w, top = rng.uniform(0.18, 0.4) * width, rng.uniform(0.0, 0.3) * height
        colour, pane = np.array(hue(rng, (0.3, 0.9))), hue(rng, (0.1, 0.9))
        _blend(image, box(x, top, x + w, height), colour)
        step = w / rng.integers(2, 4)
        for wy in np.arange(top + 0.03 * height, 0.7 * height, 1.7 * step):
            for wx in np.arange(x + 0.2 * step, x + w - 0.7 * step, step):
                _blend(image, box(wx, wy, wx + 0.6 * step, wy + 1.1 * step), pane)
        x += w
    _blend(image, box(0, 0.82 * height, width, height), hue(rng, (0.3, 0.7)))
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.004, 0.012) * min(height, width))


def shelves(rng, height: int, width: int) -> np.ndarray:
    """A wall of books."""
    image = _image(np.array(hue(rng, (0.2, 0.6))), height, width)
    shelf, step = hue(rng, (0.3, 0.8)), height / rng.integers(4, 6)
    for y in np.arange(step, height + step, step):
        x = 0.0
        while x < width:
            w, h = rng.uniform(0.02, 0.055) * width, rng.uniform(0.55, 0.88) * step
            if rng.random() < 0.9:
                _blend(image, box(x, y - h, x + w, y), hue(rng))
                _blend(image, box(x, y - 0.8 * h, x + w, y - 0.7 * h), hue(rng))
            x += w + 1
        _blend(image, box(0, y, width, y + 0.06 * step), shelf)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.003, 0.008) * min(height, width))


def garden(rng, height: int, width: int) -> np.ndarray:
    """Leaves and blossoms."""
    base, size = np.array(hue(rng, (0.15, 0.5))), 0.05 * min(height, width)
    image = _image(base, height, width)
    for i in range(260):
        centre, turn = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0, np.pi)
        colour = hue(rng, (0.6, 1.0)) if i % 9 == 8 else np.clip(base * rng.uniform(0.7, 2.2) + 0.04, 0, 1)
        _blend(image, ellipse(*centre, size * rng.uniform(0.6, 1.8), size * rng.uniform(0.3, 0.6), turn, 14), colour)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.004, 0.01) * min(height, width))


def lights(rng, height: int, width: int) -> np.ndarray:
    """Evening: lamps out of focus."""
    image = studio(rng, height, width) * 0.55
    for _ in range(45):
        centre, r = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0.02, 0.08) * min(height, width)
        disc = image.copy()
        _blend(disc, ellipse(*centre, r, r, n=24), hue(rng, (0.6, 1.0)))
        image += 0.45 * (disc - image)
    return image


def papered(rng, height: int, width: int) -> np.ndarray:
    """A papered wall, or a printed cloth: any of the patterns that garments wear, fainter."""
    pattern = rng.choice(["pinstripe", "dots", "tartan", "gingham", "herringbone", "chevron", "flowers", "breton"])
    size = rng.uniform(0.008, 0.02) * min(height, width)
    first = np.array(hue(rng, (0.4, 1.0)))
    second = np.clip(first * rng.uniform(0.65, 1.3), 0, 1)
    u, v = np.arange(width, dtype=np.float32)[None] / size, np.arange(height, dtype=np.float32)[:, None] / size
    turn = rng.choice([0.0, 0.78])
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    mix, relief = PATTERNS[pattern](c * u + s * v, c * v - s * u)
    mix = np.broadcast_to(np.asarray(mix, np.float32), (height, width))[..., None]
    image = (np.float32(first) + mix * np.float32(second - first)) * np.broadcast_to(relief, (height, width))[..., None]
    return image.astype(np.float32)


def planks(rng, height: int, width: int) -> np.ndarray:
    """A wooden floor or table, seen from above."""
    board = rng.uniform(0.12, 0.25) * min(height, width)
    y, grain = np.arange(height)[:, None] / board, _noise(rng, height, width, 0.02 * min(height, width))
    row = np.floor(y).astype(int)
    streaks = cv2.resize(rng.standard_normal((height, 9)).astype(np.float32), (width, height))
    shade = 1 + 0.07 * streaks + 0.02 * grain + rng.normal(0, 0.09, 64)[row % 64]
    shade = np.where((y - row) < 0.02, 0.55, shade).astype(np.float32)
    image = _image(hue(rng, (0.35, 0.95)), height, width) * shade[..., None]
    return image if rng.random() < 0.5 else np.ascontiguousarray(cv2.resize(image.swapaxes(0, 1), (width, height)))


def linen(rng, height: int, width: int) -> np.ndarray:
    """A bed sheet with soft creases."""
    size = min(height, width)
    drape = _noise(rng, height, width, 0.3 * size) + 0.4 * _noise(rng, height, width, 0.08 * size)
    slope = cv2.Sobel(drape, -1, 1, 1, ksize=5) + cv2.Sobel(drape, -1, 1, 0, ksize=5)
    weave = rng.standard_normal((height, width)).astype(np.float32)
    shade = 0.93 + 0.05 * slope / slope.std() + 0.015 * weave
    return _image(hue(rng, (0.5, 1.0)), height, width) * shade[..., None]


def marble(rng, height: int, width: int) -> np.ndarray:
    """Polished stone with veins."""
    bend = _noise(rng, height, width, 0.25 * min(height, width)) + 0.4 * _noise(rng, height, width, 0.06 * min(height, width))
    vein = np.exp(-np.abs(bend) * 9) * np.clip(0.5 + 0.5 * _noise(rng, height, width, 0.2 * min(height, width)), 0, 1)
    return _image(hue(rng, (0.5, 1.0), 0.3), height, width) * (1 - 0.22 * vein + 0.03 * bend)[..., None]


BEHIND = {False: (studio, studio, linen), True: (bricks, street, shelves, garden, lights, papered)}
BENEATH = {False: (linen, marble, studio), True: (planks, papered, marble, bricks)}


def scatter(canvas: Canvas, rng, count: int) -> None:
    """Lay `count` things that nobody wears around the picture: books, cups, leaves, phones, cards."""
    size = 0.011 * min(canvas.height, canvas.width)
    for _ in range(count):
        item = THINGS[rng.integers(len(THINGS))](rng)
        turn, centre = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1, 2) * (canvas.width, canvas.height)
        c, s = size * np.cos(turn), size * np.sin(turn)
        canvas.draw([item], np.array([[c, -s, centre[0]], [s, c, centre[1]]]))


def _thing(colour) -> Item:
    return Item(None, Cloth("plain", tuple(colour), tuple(colour), folds=0.02))


def _book(rng) -> Item:
    item = _thing(hue(rng))
    w, h = rng.uniform(8, 12), rng.uniform(11, 16)
    item.add(box(-w + 0.8, -h + 0.8, w + 0.8, h + 0.8), 0, cloth=Cloth("pinstripe", (0.9,) * 3, (0.7,) * 3, 0.3))
    item.add(box(-w, -h, w, h), 1, round_=0.6)
    item.add(box(-w * 0.7, -h * 0.7, w * 0.7, -h * 0.4), 2, cloth=_thing(hue(rng, (0.6, 1))).cloth, shadow=0)
    return item


def _cup(rng) -> Item:
    item = _thing(hue(rng, (0.6, 1.0)))
    drink = hue(rng, (0.1, 0.5))
    item.add(ellipse(0, 0, 11, 11), 0, round_=1.5)
    item.add(tube([(5, 2), (10, 5), (8, 8)], 1), 1)
    item.add(ellipse(0, 0, 6.5, 6.5), 1.1, round_=1)
    item.add(ellipse(0, 0, 5.4, 5.4), 1.2, cloth=_thing(drink).cloth, shadow=0)
    return item


def _leaf(rng) -> Item:
    item = _thing(hue(rng, (0.2, 0.7)))
    item.add(tube([(0, 14), (1, 0), (0, -14)], 0.35), 0)
    for y in (-12, -7, -2, 3, 8):
        for side in (-1, 1):
            item.add(smooth([(0, y + 1), (side * 4, y - 3), (side * 9, y - 3), (side * 5, y + 2)]), 0.1, round_=1)
    return item


def _phone(rng) -> Item:
    item = _thing(hue(rng, (0.05, 0.3)))
    item.add(smooth(box(-6, -12, 6, 12), 2), 0, round_=1)
    item.add(box(-5, -9.5, 5, 9.5), 1, cloth=_thing(hue(rng, (0.2, 0.9))).cloth, shadow=0)
    return item


def _card(rng) -> Item:
    item = _thing(hue(rng, (0.75, 1.0)))
    item.add(box(-10, -8, 10, 8), 0, round_=0.3)
    item.add(box(-8, -6, 8, 6), 1, cloth=Cloth("felt", hue(rng), hue(rng), 3.0), shadow=0)
    return item


THINGS = (_book, _cup, _leaf, _phone, _card)
