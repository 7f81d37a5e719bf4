"""The wearer: a pose, and the skin, hair and face that are painted under and between the garments."""

from dataclasses import dataclass

import numpy as np

from tools.draw_sample.geometry import ellipse, smooth, tube
from tools.draw_sample.paint import Item
from tools.draw_sample.textures import Cloth

_SKIN = ((250, 219, 198), (241, 199, 168), (226, 178, 142), (206, 153, 114), (172, 119, 82), (139, 92, 62),
         (110, 70, 48), (82, 54, 40))  # fmt: skip
_HAIR = ((36, 28, 26), (62, 42, 32), (98, 62, 38), (140, 94, 54), (196, 160, 104), (150, 74, 44),
         (150, 150, 152))  # fmt: skip

_Y = np.array([0, 3, 6, 11, 17, 23, 28, 34, 42], float)  # heights at which the body's half-width is known
_HALF = np.array([4.4, 9.6, 10.2, 9.0, 8.0, 7.2, 8.2, 9.4, 9.2])

# (upper arm, forearm) in degrees from hanging straight down, outwards positive
_ARMS = {"down": (13, 5), "loose": (22, 10), "hip": (44, -60), "bent": (16, -38), "up": (30, 165),
         "spread": (40, 33)}  # fmt: skip


@dataclass(frozen=True)
class Pose:
    """Joints in figure units, left side of the picture first. `arms`, `legs` are (2, 3, 2) floats."""

    arms: np.ndarray  # shoulder, elbow, wrist
    legs: np.ndarray  # hip, knee, ankle
    build: float  # widens or narrows everything
    sway: float  # how far the waist is pushed aside

    def half(self, y) -> np.ndarray:
        """The body's half-width at height y."""
        return np.interp(y, _Y, _HALF) * self.build

    def middle(self, y) -> np.ndarray:
        """Where the body's axis lies at height y."""
        return self.sway * np.exp(-(((np.asarray(y, float) - 26) / 13) ** 2))

    def band(self, rows, closed: bool = True) -> np.ndarray:
        """The outline of cloth around the body: `rows` are (y, ease) or (y, ease, dip in the middle)."""
        rows = [(*row, 0.0)[:3] for row in rows]
        y, ease, dip = np.array(rows, float).T
        half, middle = self.half(y) + ease, self.middle(y)
        right = np.column_stack([middle + half, y])
        left = np.column_stack([middle - half, y])
        top = [(middle[0], y[0] + dip[0])] if dip[0] else []
        bottom = [(middle[-1], y[-1] + dip[-1])] if dip[-1] else []
        outline = [*right, *bottom, *left[::-1], *top]
        return smooth(outline, 2) if closed else np.array(outline)


def pose(rng: np.random.Generator, arms: tuple[str, str] | None = None) -> Pose:
    """A standing pose; `arms` fixes what the left and the right arm do."""
    build = rng.uniform(0.92, 1.16)
    names = arms or tuple(rng.choice(["down", "down", "loose", "hip", "bent"], 2))
    legs = rng.choice(["straight", "apart", "step"])
    spread = {"straight": 0.6, "apart": 3.5, "step": 1.5}[legs]
    bend = rng.uniform(-2, 2, 2) if legs == "step" else np.zeros(2)
    sides = np.array([-1.0, 1.0])
    hips = np.column_stack([sides * 4.6 * build, [36, 36]])
    knees = np.column_stack([sides * (4.3 * build + 0.5 * spread) + bend, [59, 59]])
    ankles = np.column_stack([sides * (3.9 * build + spread) + 0.4 * bend, [79, 79]])
    angles = [_ARMS[name] for name in names]
    limbs = [_arm(side, build, *of, rng.uniform(-5, 5)) for side, of in zip(sides, angles, strict=True)]
    return Pose(np.array(limbs), np.stack([hips, knees, ankles], axis=1), build, rng.uniform(-1.2, 1.2))


def laid_out(rng: np.random.Generator) -> Pose:
    """The pose of a garment spread on a table."""
    flat = pose(rng, ("spread", "spread"))
    legs = np.stack([np.column_stack([s * np.array([4.6, 5.2, 5.6]), [36, 59, 79]]) for s in (-1, 1)])
    return Pose(flat.arms, legs, flat.build, 0.0)


def _arm(side: float, build: float, upper: float, fore: float, wobble: float) -> np.ndarray:
    shoulder = np.array([side * 8.4 * build, 5.6])
    points = [shoulder]
    for length, angle in ((14.5, upper + wobble), (13.5, fore + wobble)):
        turn = np.deg2rad(angle)
        points.append(points[-1] + length * np.array([side * np.sin(turn), np.cos(turn)]))
    return np.array(points)


def wearer(body: Pose, rng: np.random.Generator) -> list[Item]:
    """Skin, face and hair for `body`, none of them annotated."""
    tone = np.array(_SKIN[rng.integers(len(_SKIN))]) / 255
    skin = Item(None, Cloth("smooth", tuple(tone), tuple(tone), folds=0.0))
    for side, leg in zip((-1, 1), body.legs, strict=True):
        skin.add(ellipse(*(leg[2] + (1.6 * side, 4.4)), 4.6, 1.9), z=1, round_=1.5)
        skin.add(tube([*leg, leg[2] + (0, 4)], np.array([5.0, 3.3, 2.0, 2.0]) * body.build), z=1, round_=4)
    skin.add(body.band([(1.0, 0), (6, 0), (14, 0), (23, 0), (32, 0), (41, 0)]), z=1.1, round_=6)
    for arm in body.arms:
        skin.add(tube(arm, np.array([2.9, 2.3, 1.6]) * body.build, rounded=True), z=11, round_=3, shadow=0.25)
        for outline in hand_outlines(arm):
            skin.add(outline, z=12.5, round_=1, shadow=0.12)
    skin.add(tube([(0, -5), (0, 3)], 2.6), z=1.2, round_=3)
    for side in (-1, 1):
        skin.add(ellipse(side * 5.5, -9, 1.1, 1.9), z=12.1, round_=1, shadow=0.2)
    skin.add(_head(), z=12.2, round_=7, shadow=0.3)
    return [skin, *_face(tone, rng), *_hair(rng)]


def hand_outlines(arm: np.ndarray, width: float = 1.0) -> list[np.ndarray]:
    """Palm, fingers and thumb at the end of an `arm` (shoulder, elbow, wrist); `width` stretches them."""
    axis = _unit(arm[2] - arm[1])
    across = np.array([-axis[1], axis[0]]) * (1 if arm[0][0] > 0 else -1)
    wrist = arm[2]
    thumb = [(0.6, 0), (2, 2.0), (3.8, 2.5)]
    thumb = [wrist + ahead * axis - aside * width * across for ahead, aside in thumb]
    palm = [wrist - axis, wrist + 1.8 * axis, wrist + 3.6 * axis]
    outlines = [tube(thumb, 0.62 * width, rounded=True), tube(palm, np.multiply((1.5, 2.0, 1.9), width))]
    for k, reach in enumerate((5.6, 6.6, 6.8, 5.9)):
        root = wrist + 2.8 * axis + across * (k - 1.5) * 0.95 * width
        tip = wrist + reach * width**0.5 * axis + across * (k - 1.5) * 1.05 * width
        outlines.append(tube([root, tip], 0.6 * width, rounded=True))
    return outlines


def _head() -> np.ndarray:
    half = [(0, -17.5), (4.0, -16.6), (5.6, -12.5), (5.4, -8), (4.2, -4.4), (1.8, -2.0)]
    return smooth([*half, *[(-x, y) for x, y in half[:0:-1]]], 3)


def _face(tone: np.ndarray, rng: np.random.Generator) -> list[Item]:
    dark, lips = tuple(tone * 0.45), tuple(tone * (0.82, 0.5, 0.5))
    lines = Item(None, Cloth("smooth", dark, dark, folds=0.0))
    mouth = Item(None, Cloth("smooth", lips, lips, folds=0.0))
    white = Cloth("smooth", (0.93, 0.92, 0.9), (0.93, 0.92, 0.9), folds=0.0)
    for side in (-1, 1):
        lines.add(ellipse(side * 2.3, -9.7, 1.15, 0.62), z=12.3, shadow=0)
        lines.add(ellipse(side * 2.3, -9.55, 1.0, 0.42), z=12.3, cloth=white, shadow=0)
        lines.add(ellipse(side * 2.3, -9.6, 0.55, 0.5), z=12.3, shadow=0)
        brow = [(side * 1.2, -11.2), (side * 2.4, -11.7), (side * 3.5, -11.1)]
        lines.add(tube(brow, 0.22), z=12.3, shadow=0)
    lines.add(tube([(0.2, -9), (0.7, -6.9), (-0.2, -6.7)], 0.13), z=12.3, shadow=0)
    mouth.add(ellipse(0, -4.9, 1.5, rng.uniform(0.4, 0.65)), z=12.3, shadow=0)
    return [lines, mouth]


def _hair(rng: np.random.Generator) -> list[Item]:
    colour = np.array(_HAIR[rng.integers(len(_HAIR))]) / 255
    hair = Item(None, Cloth("fur", tuple(colour), tuple(np.minimum(colour * 1.3 + 0.05, 1)), 0.5, folds=0.1))
    style = rng.choice(["long", "bob", "short", "bun", "afro"])
    fringe = [(-5.9, -8), (-6.3, -13), (-4, -18.3), (0, -19.3), (4, -18.3), (6.3, -13), (5.9, -8), (5.2, -12)]
    part = rng.uniform(-3, 3)
    front = smooth([*fringe, (part + 1.5, -15.2), (part - 1.5, -15.6), (-5.2, -12)], 2)
    if style == "long":
        low = rng.uniform(8, 14)
        ends = [(7.2, low), (3, low + 2), (-3, low + 2), (-7.2, low)]
        hair.add(smooth([(-6.4, -12), (0, -19), (6.4, -12), *ends]), z=0)
    elif style == "bob":
        hair.add(smooth([(-6.6, -12), (0, -19), (6.6, -12), (7.4, -1.5), (-7.4, -1.5)]), z=0)
    elif style == "bun":
        hair.add(ellipse(0, -20.5, 3.2, 2.9), z=0)
    elif style == "afro":
        hair.add(ellipse(0, -13, 9.6, 8.6), z=0)
    return [hair.add(front, z=12.4, round_=2, shadow=0.25)]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / (np.linalg.norm(vector) + 1e-9)


def hand(body: Pose, side: int) -> np.ndarray:
    """Where the hand of arm `side` (0 or 1) grips."""
    arm = body.arms[side]
    return arm[2] + 3.4 * _unit(arm[2] - arm[1])
