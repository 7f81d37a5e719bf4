"""Hair, fur and knit, drawn strand by strand: no photo of them has an alpha that is known.

Each is drawn FINE times as large, opaque and without anti-aliasing, and averaged down: alpha is the share of
a pixel that strands cover, so a strand thinner than a pixel is as transparent as it is thin.

    hair  long hair from behind, strands 0.3 to 1.4 pixels wide, flyaways at its outline
    fur   a fluffy piece, hairs of 5 to 26 pixels and at most 1.4 wide on it and all around
    knit  a piece of knitwear, open-work at its borders, with dropped stitches, loose loops and fuzz
"""

import cv2
import numpy as np

FINE = 8  # samples a pixel, in each direction
LONG = 360, 560  # pixels of a picture's longer side, least and most
TONES = (38, 30, 28), (120, 76, 48), (200, 164, 116), (160, 156, 152), (228, 220, 205), (110, 44, 50)


def piece(material: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Alpha float32 (H, W) of a piece of `material`, and its colours float32 (H, W, 3), 0 where alpha is."""
    height, width = size = (rng.uniform(*LONG) * np.array([1, rng.uniform(0.65, 0.9)])).astype(int)
    canvas = np.zeros((*FINE * size, 4), np.uint8)
    tone = rng.choice(TONES) * rng.normal(rng.uniform(0.85, 1.1), 0.03, 3)
    MATERIALS[material](canvas, height, width, tone, rng)
    return averaged(canvas)


def averaged(canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Alpha (H, W) and colours (H, W, 3), float32, of a canvas uint8 (FINE H, FINE W, RGB and coverage)."""
    size = canvas.shape[1] // FINE, canvas.shape[0] // FINE
    cells = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return cells[..., 3], 255 * cells[..., :3] / np.maximum(cells[..., 3:], 1 / 255)


def strand(canvas: np.ndarray, points: np.ndarray, width, tone: np.ndarray, shade=1.0) -> None:
    """Draw a strand along `points` (N, 2), x and y in pixels; `width` (pixels) and `shade` may be (N,)."""
    along = np.gradient(points, axis=0)
    across = along[:, ::-1] * (-1, 1) / np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    half = np.broadcast_to((np.asarray(width) * FINE - 1) / 2, len(points))[:, None].clip(0)  # + outline of 1
    centres = points * FINE - 0.5
    sides = np.round(16 * np.stack([centres + half * across, centres - half * across])).astype(np.int32)
    colours = (np.broadcast_to(shade, len(points))[:, None] * tone).clip(0, 255).tolist()
    for i in range(len(points) - 1):
        quad = sides[[0, 0, 1, 1], [i, i + 1, i + 1, i]]
        cv2.fillConvexPoly(canvas, quad, (*colours[i], 255), cv2.LINE_8, 4)


def _fill(canvas: np.ndarray, outline: np.ndarray, tone: np.ndarray) -> None:
    cv2.fillPoly(canvas, [np.round(outline * FINE).astype(np.int32)], (*tone.clip(0, 255).tolist(), 255))


def _hair(canvas: np.ndarray, height: int, width: int, tone: np.ndarray, rng: np.random.Generator) -> None:
    radius, flare, parting = width * rng.uniform(0.24, 0.3), rng.uniform(0, 0.35), rng.normal(0, 0.3)
    wave, turns, t = rng.uniform(0, 0.1), rng.uniform(6, 20), np.linspace(0, 1, 24)

    def path(u: float, length: float, loose: float) -> np.ndarray:
        down = length * t * 0.68 * height
        fall = np.sqrt(1 - (1 - (down / radius).clip(0, 1)) ** 2)  # over a round head, then straight
        x = parting * (1 - fall) + u * fall * (1 + flare * t**2) + wave * t * np.sin(turns * t + 2.5 * u)
        x += loose * (rng.normal() * t**2 + rng.normal(0, 0.3) * fall * np.sin(rng.uniform(3, 12) * t))
        return np.column_stack([width / 2 + radius * x, 0.12 * height + down])

    _fill(canvas, np.vstack([path(-0.86, 0.8, 0), path(0.86, 0.8, 0)[::-1]]), 0.45 * tone)
    sheen = 0.85 + 0.4 * np.exp(-(((t - rng.uniform(0.15, 0.3)) / 0.08) ** 2))
    for flyaway in rng.random(1300) < 0.15:
        u = rng.choice([-1, 1]) * rng.uniform(0.7, 1.05) if flyaway else rng.uniform(-1, 1)
        points = path(u, rng.uniform(0.75, 1.1), 0.35 if flyaway else 0.06)
        thick = (rng.uniform(0.3, 0.8) if flyaway else rng.uniform(0.6, 1.4)) * (2.8 - 2.5 * t).clip(0, 1)
        strand(canvas, points, thick, tone * rng.normal(1, 0.04, 3), sheen * rng.normal(1, 0.22))


def _fur(canvas: np.ndarray, height: int, width: int, tone: np.ndarray, rng: np.random.Generator) -> None:
    bumps, phases, waves = rng.normal(0, 0.05, 3), rng.uniform(0, 6.3, 3), np.array([2, 3, 5])
    t = np.linspace(0, 1, 6)

    def outline(angle: np.ndarray, share) -> np.ndarray:
        r = share * (0.76 + np.cos(angle[:, None] * waves + phases) @ bumps)
        return np.column_stack([width / 2 * (1 + r * np.cos(angle)), height / 2 * (1 + r * np.sin(angle))])

    _fill(canvas, outline(np.linspace(0, 2 * np.pi, 180), 0.95), 0.6 * tone)
    count, long, comb = height * width // 10, rng.uniform(10, 22), rng.uniform(-0.4, 0.4)
    share, angle = np.sort(rng.random(count) ** 0.36)[::-1], rng.uniform(0, 2 * np.pi, count)
    roots, clumps = outline(angle, share), cv2.resize(rng.normal(0, 0.5, (24, 24)), (width, height))
    for (x, y), a in zip(roots, angle, strict=True):
        clump = clumps[int(y), int(x)]
        turn = a + comb + clump + rng.normal(0, 0.25) + rng.normal(0, 0.25) * t
        step = long * rng.uniform(0.5, 1.2) * t
        points = np.column_stack([x + step * np.cos(turn), y + step * np.sin(turn) + 2 * t**2])
        shade = (0.65 + 0.47 * t) * rng.normal(1 + 0.15 * np.sin(3 * clump), 0.14)
        strand(canvas, points, rng.uniform(0.4, 1.2) * (1.15 - t), tone * rng.normal(1, 0.04, 3), shade)


def _knit(canvas: np.ndarray, height: int, width: int, tone: np.ndarray, rng: np.random.Generator) -> None:
    pitch, yarn, rise = rng.uniform(8, 14) * np.array([1, rng.uniform(0.2, 0.28), rng.uniform(0.75, 0.95)])
    stitches, courses, lace = int(0.74 * width / pitch), int(0.74 * height / rise), rng.uniform(1.5, 3.5)
    tilt, drape = rng.normal(0, 0.1), rng.uniform(0, 6.3, 2)

    def placed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = (x - stitches / 2) * pitch, (y - courses / 2) * rise
        x, y = x + 5 * np.sin(y / 50 + drape[0]), y + 4 * np.sin(x / 45 + drape[1])
        return np.column_stack([x - tilt * y, y + tilt * x]) + (width / 2, height / 2)

    s = np.arange(16 * stitches + 1) / 16  # stitches along a course
    for course in range(courses + 1):
        loops = rng.normal(1, 0.08, stitches + 1) * rng.choice([0.25, 1], stitches + 1, p=[0.05, 0.95])
        loops *= rng.uniform(1, 2.2, stitches + 1) if course == courses else 1
        slack = 0.2 * cv2.GaussianBlur(rng.normal(0, 1, (len(s), 1)), (1, 0), 6)[:, 0]
        y = course + slack - 0.75 * np.interp(s, np.arange(stitches + 1), loops) * np.cos(2 * np.pi * s)
        points = placed(s + 0.24 * np.sin(4 * np.pi * s) + slack, y)
        inside = np.minimum(np.minimum(s, stitches - s), min(course, 0.7 * (courses - course)))
        thick = yarn * (1 + 1.9 * ((inside - lace) / 2).clip(0, 1))  # dense inside, open-work at the borders
        if (deep := s[inside > lace + 1]).size:
            under = course + np.repeat([-0.6, 0.6], len(deep))
            _fill(canvas, placed(np.append(deep, deep[::-1]), under), 0.5 * tone)
        for share, shade in ((1.0, 0.62), (0.7, 0.95), (0.3, 1.12)):
            strand(canvas, points, thick * share, tone, shade * (1 + 0.08 * np.sin(44 * s)))
        for start in points[rng.integers(0, len(s), 3 * stitches)]:
            fibre = start + np.cumsum(rng.normal(0, 1.2, (5, 2)) + rng.normal(0, 1, 2), axis=0)
            strand(canvas, fibre, 0.3, tone, rng.uniform(0.9, 1.2))


MATERIALS = {"hair": _hair, "fur": _fur, "knit": _knit}
