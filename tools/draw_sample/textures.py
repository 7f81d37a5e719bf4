"""Cloth: patterns in figure units, and two colours that they mix.

A pattern turns a place (u, v) on the cloth into `mix` (0-1: how much of the second colour shows) and
`relief` (brightness, about 1).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cloth:
    """A pattern with two colours (RGB in 0-1); `size` stretches it, `phase` moves it."""

    pattern: str
    first: tuple[float, float, float]
    second: tuple[float, float, float]
    size: float = 1.0
    phase: tuple[float, float] = (0.0, 0.0)
    gloss: float = 0.0
    folds: float = 0.07

    def colour(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """RGB (H, W, 3) float32 at the places (u, v)."""
        mix, relief = PATTERNS[self.pattern](u / self.size + self.phase[0], v / self.size + self.phase[1])
        mix = np.broadcast_to(np.asarray(mix, np.float32), np.broadcast_shapes(u.shape, v.shape))[..., None]
        first, second = np.float32(self.first), np.float32(self.second)
        return (first + mix * (second - first)) * np.asarray(relief, np.float32)[..., None]


def _saw(x):
    return x - np.floor(x)


def _zigzag(x):
    """A triangle wave between 0 and 1 of period 1."""
    return np.abs(2 * _saw(x) - 1)


def _step(x, soft=0.08):
    """0 below and 1 above zero, blurred over +-`soft`."""
    return np.clip(x / (2 * soft) + 0.5, 0, 1)


def _smooth(u, v):
    return 0.0 * u, 1 + 0.0 * v


def _plain(u, v):
    return 0.0 * u, 1 + 0.02 * np.sin(9 * u) * np.sin(9 * v)


def _pinstripe(u, v):
    return _step(_zigzag(u / 3) - 0.62), 1 + 0.0 * v


def _breton(u, v):
    return _step(_zigzag(v / 5.5) - 0.5, 0.05), 1 + 0.0 * u


def _cable(u, v):
    column = _zigzag(u / 4.4)
    chevron = np.sin(2 * np.pi * (v / 2.4 + 0.9 * column))
    return 0.0 * u, 0.92 + 0.22 * chevron * (column > 0.18) - 0.32 * (column <= 0.18)


def _argyle(u, v):
    a, b = u / 8 + v / 11, u / 8 - v / 11
    lines = np.minimum(_zigzag(a + 0.5), _zigzag(b + 0.5))
    return _step((_saw(a) - 0.5) * (_saw(b) - 0.5), 0.01) * (lines > 0.06), 1 - 0.35 * (lines < 0.07)


def _puffer(u, v):
    across = _saw(v / 6 + 0.03 * np.sin(u / 3))
    return 0.0 * u, 0.5 + 0.72 * np.sqrt(np.maximum(1 - (1.6 * across - 0.6) ** 2, 0)) - 0.15 * across


def _quilt(u, v):
    a, b = _zigzag((u + v) / 7), _zigzag((u - v) / 7)
    return 0.0 * u, 0.56 + 0.62 * np.sqrt(np.minimum(np.minimum(1 - a, 1 - b) * 2.4, 1))


def _denim(u, v):
    twill = np.sin(2 * np.pi * (u + v) / 2.1)
    worn = np.sin(u / 7 + 1.3 * np.sin(v / 9))
    return 0.4 + 0.24 * twill + 0.16 * worn, 1 + 0.05 * np.sin(13 * u - 11 * v)


def _gingham(u, v):
    return 0.5 * _step(_zigzag(u / 4.6) - 0.5, 0.04) + 0.5 * _step(_zigzag(v / 4.6) - 0.5, 0.04), 1 + 0.0 * u


def _pleats(u, v):
    pleat = _saw(u / 3.6)
    return 0.0 * u, 0.62 + 0.55 * np.minimum(pleat**0.8, 9 * (1 - pleat)) + 0.0 * v


def _herringbone(u, v):
    stripes = np.sin(2 * np.pi * (v / 2.6 + 1.6 * _zigzag(u / 7)))
    return 0.5 + 0.5 * np.clip(2.5 * stripes, -1, 1), 1 + 0.04 * np.sin(8 * u + 3 * v)


def _dots(u, v):
    row = np.floor(v / 4.2)
    x, y = _saw(u / 5 + 0.5 * (row % 2)) - 0.5, _saw(v / 4.2) - 0.5
    return _step(0.29 - np.hypot(x, 0.84 * y), 0.03), 1 + 0.0 * u


def _flowers(u, v):
    row = np.floor(v / 6.4)
    x, y = 7 * (_saw(u / 7 + 0.5 * (row % 2)) - 0.5), 6.4 * (_saw(v / 6.4) - 0.5)
    r, turn = np.hypot(x, y), np.arctan2(y, x)
    petals = _step(1.7 + 0.75 * np.cos(5 * turn) - r, 0.15) * _step(r - 0.7, 0.1)
    return petals, 1 + 0.0 * u


def _chevron(u, v):
    return _step(_zigzag(v / 7 + 0.75 * _zigzag(u / 8)) - 0.5, 0.05), 1 + 0.0 * u


def _tartan(u, v):
    def bands(x):
        x = _saw(x / 13)
        wide, thin, middle = (x > 0.12) & (x < 0.5), (x > 0.7) & (x < 0.78), (x > 0.28) & (x < 0.34)
        return 0.42 * wide + 0.5 * thin + 0.25 * middle

    return np.clip(bands(u) + bands(v), 0, 1), 1 + 0.05 * np.sin(4 * (u + v))


def _blocks(u, v):
    bands = _step(_zigzag(v / 9) - 0.5, 0.03) * (0.75 + 0.25 * (_zigzag(v / 9) > 0.85))
    return bands, 1 + 0.10 * np.sin(5 * u)


def _fishnet(u, v):
    net = np.minimum(_zigzag((u + 0.7 * v) / 2.6), _zigzag((u - 0.7 * v) / 2.6))
    return 0.75 * _step(net - 0.22, 0.12), 1 + 0.0 * u


def _hoops(u, v):
    return _step(_zigzag(v / 3.2) - 0.5, 0.05), 1 + 0.06 * np.sin(7 * u)


def _rib(u, v):
    return 0.0 * u, 0.62 + 0.5 * np.abs(np.sin(np.pi * u / 2.2)) + 0.05 * np.sin(6 * v)


def _repp(u, v):
    return _step(_zigzag((u + v) / 4.2) - 0.5, 0.05), 1 + 0.0 * u


def _croco(u, v):
    row = np.floor(v / 2.4)
    x, y = _zigzag(u / 3 + 0.5 * (row % 2)), _zigzag(v / 2.4)
    return 0.0 * u, 0.7 + 0.42 * np.sqrt(np.minimum(np.minimum(1 - x, 1 - y) * 3, 1))


def _metal(u, v):
    return 0.5 + 0.5 * np.sin(1.1 * (u + v)), 1 + 0.0 * u


def _felt(u, v):
    fibres = np.sin(5.1 * u + 2 * np.sin(3.3 * v)) * np.sin(4.3 * v + 2 * np.sin(2.9 * u))
    return 0.15 + 0.15 * fibres, 1 + 0.0 * u


def _fur(u, v):
    strand = np.sin(3.1 * u + 2.2 * np.sin(0.9 * v) + 1.4 * np.sin(1.7 * u - 0.6 * v))
    return 0.35 + 0.35 * strand, 0.95 + 0.16 * np.sin(5.3 * u + 1.9 * np.sin(1.3 * v))


PATTERNS = {
    "smooth": _smooth, "plain": _plain, "pinstripe": _pinstripe, "breton": _breton, "cable": _cable,
    "argyle": _argyle, "puffer": _puffer, "quilt": _quilt, "denim": _denim, "gingham": _gingham,
    "pleats": _pleats, "herringbone": _herringbone, "dots": _dots, "flowers": _flowers, "chevron": _chevron,
    "tartan": _tartan, "blocks": _blocks, "fishnet": _fishnet, "hoops": _hoops, "rib": _rib, "repp": _repp,
    "croco": _croco, "metal": _metal, "felt": _felt, "fur": _fur,
}  # fmt: skip
