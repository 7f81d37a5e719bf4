"""Outlines in figure units: 1 unit is about a hundredth of a person's height, x to the right, y down.

The origin lies between the collar bones; the crown is near y = -18 and the soles near y = 85.
"""

import numpy as np


def smooth(points, times: int = 2, closed: bool = True) -> np.ndarray:
    """`points` (N, D) with its corners cut `times` times (Chaikin, 1974): (M, D) float."""
    points = np.asarray(points, float)
    for _ in range(times):
        ahead = np.roll(points, -1, axis=0) if closed else points[1:]
        here = points if closed else points[:-1]
        cut = np.stack([0.75 * here + 0.25 * ahead, 0.25 * here + 0.75 * ahead], axis=1)
        cut = cut.reshape(-1, points.shape[1])
        points = cut if closed else np.concatenate([points[:1], cut, points[-1:]])
    return points


def tube(path, widths, rounded: bool = False) -> np.ndarray:
    """The outline of a tube along `path` (N, 2); `widths` are half-widths, spread evenly over the points."""
    path, widths = np.asarray(path, float), np.atleast_1d(np.asarray(widths, float))
    width = np.interp(np.linspace(0, 1, len(path)), np.linspace(0, 1, len(widths)), widths)
    bent = smooth(np.column_stack([path, width]), 3, closed=False)
    along = np.gradient(bent[:, :2], axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    side = np.column_stack([-along[:, 1], along[:, 0]]) * bent[:, 2:]
    left, right = bent[:, :2] + side, bent[:, :2] - side
    if rounded:
        turn = np.linspace(0, np.pi, 9)[1:-1, None]
        cap = np.cos(turn) * side[-1] + np.sin(turn) * along[-1] * bent[-1, 2]
        return np.concatenate([left, bent[-1, :2] + cap, right[::-1]])
    return np.concatenate([left, right[::-1]])


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0, n: int = 40) -> np.ndarray:
    """An ellipse's outline; `angle` in radians."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    px, py = rx * np.cos(t), ry * np.sin(t)
    c, s = np.cos(angle), np.sin(angle)
    return np.column_stack([x + c * px - s * py, y + s * px + c * py])


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """A rectangle's four corners."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def along(path, start: float, stop: float, n: int = 5) -> np.ndarray:
    """`n` points of a polyline between two fractions of its length."""
    path = np.asarray(path, float)
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    knots = lengths / lengths[-1]
    at = np.unique(np.concatenate([np.linspace(start, stop, n), knots[(knots > start) & (knots < stop)]]))
    return np.column_stack([np.interp(at, knots, path[:, i]) for i in range(2)])


def grid(x, y) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates `x` (W,) and `y` (H,) as float32 arrays (1, W) and (H, 1)."""
    return np.float32(x)[None], np.float32(y)[:, None]


def frame(scale: float, x: float, y: float, angle: float = 0.0) -> np.ndarray:
    """The 2x3 matrix from figure units to pixels: turn by `angle` (radians), scale, move to (x, y)."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


def moved(points, matrix) -> np.ndarray:
    """`points` (N, 2) through a 2x3 `matrix`."""
    return np.asarray(points, float) @ matrix[:, :2].T + matrix[:, 2]
