"""Accessories by category id (13-26): worn on a pose, or laid out around the origin by themselves."""

from dataclasses import replace

import numpy as np

from tools.draw_sample.garments import FRINGE, trim
from tools.draw_sample.geometry import along, box, ellipse, smooth, tube
from tools.draw_sample.paint import Item
from tools.draw_sample.people import Pose, hand, hand_outlines
from tools.draw_sample.styles import dye, hue
from tools.draw_sample.textures import Cloth

BUCKLE, BOW, RIVET = 34, 38, 42
_BRASS = Cloth("metal", (0.55, 0.42, 0.18), (1.0, 0.9, 0.6), gloss=0.6, folds=0.0)
_DARK = Cloth("plain", (0.1, 0.09, 0.1), (0.1, 0.09, 0.1), folds=0.0)
_STEEL = Cloth("metal", (0.45, 0.46, 0.5), (0.95, 0.96, 1.0), gloss=0.6, folds=0.0)


def glasses(body: Pose | None, rng) -> Item:
    frame_, lens = hue(rng, (0.05, 0.45)), hue(rng, (0.05, 0.3))
    item = Item(13, Cloth("plain", frame_, frame_, folds=0.0))
    glass = Cloth("plain", lens, lens, gloss=1.0, folds=0.0)
    rx, ry = rng.uniform(2.5, 3.0), rng.uniform(1.8, 2.5)
    item.add(tube([(-1.2, -9.8), (0, -10.2), (1.2, -9.8)], 0.4), 13)
    for side in (-1, 1):
        item.add(tube([(side * 4.4, -10), (side * 5.9, -10.2)], 0.5), 13)
        item.add(ellipse(side * 2.9, -9.5, rx, ry), 13.1, round_=0.5)
        item.add(ellipse(side * 2.9, -9.5, rx - 0.55, ry - 0.55), 13.2, cloth=glass, round_=0.5, shadow=0)
        if body is None:
            item.add(tube([(side * 5.6, -10), (side * 7, -14), (side * 5.8, -17.5)], 0.4), 12.9)
    return item


def hat(body: Pose | None, rng) -> Item:
    item = Item(14, dye(14, rng))
    band = trim(item.cloth)
    kind = rng.integers(3)
    if kind == 0:  # a brim all around
        brim = rng.uniform(10, 13)
        crown = [(-6.6, -14.5), (-6.2, -20), (-4.4, -24), (0, -23), (4.4, -24), (6.2, -20), (6.6, -14.5)]
        item.add(ellipse(0, -14.6, brim, 2.6), 14, round_=1.5)
        item.add(smooth(crown), 14.1, round_=4)
        item.add(tube([(-6.5, -16), (0, -15.2), (6.5, -16)], 1.1), 14.2, cloth=band, shadow=0.1)
    elif kind == 1:  # a beanie
        crown = [(-6.8, -12.6), (-6.6, -18), (-3.6, -23), (3.6, -23), (6.6, -18), (6.8, -12.6)]
        item.add(smooth(crown), 14, round_=4)
        item.add(tube([(-6.6, -13.6), (0, -14.2), (6.6, -13.6)], 1.9), 14.1, cloth=band)
        item.add(ellipse(0, -23.6, 2.3, 2.3), 14.2, cloth=band)
    else:  # a cap
        crown = [(-6.7, -13.6), (-6.4, -18), (-3.4, -22), (3.4, -22), (6.4, -18), (6.7, -13.6)]
        visor = [(-6, -14.6), (0, -16), (6, -14.6), (8.4, -11.6), (0, -12.6), (-8.4, -11.6)]
        item.add(smooth(crown), 14, round_=4)
        item.add(smooth(visor), 14.1, cloth=band)
    return item


def headband(body: Pose | None, rng) -> Item:
    item = Item(15, replace(dye(15, rng), size=0.4))
    band = [(-6.3, -12.6), (-4.6, -17.2), (0, -18.9), (4.6, -17.2), (6.3, -12.6)]
    item.add(tube(band, 1.5), 13.5, round_=1.5)
    side = rng.choice([-1, 1])
    for turn in (-1, 1):
        loop = [(side * 3.2, -18.6), (side * 3.2 + turn * 4.6, -22), (side * 3.2 + turn * 4.8, -17.4)]
        item.add(smooth(loop, 2), 13.6, round_=1.2, part_id=BOW)
    item.add(ellipse(side * 3.2, -18.8, 1.2, 1.2), 13.7)
    return item


def tie(body: Pose | None, rng) -> Item:
    item = Item(16, dye(16, rng))
    low = rng.uniform(23, 28)
    item.add(smooth([(-1.3, 6), (1.3, 6), (2.7, low), (0, low + 3.5), (-2.7, low)], 1), 8.6, round_=1.2)
    item.add(smooth([(-2.3, 3.4), (2.3, 3.4), (1.3, 7), (-1.3, 7)], 1), 8.7, round_=1.2)
    return item


def glove(body: Pose | None, rng) -> Item:
    item = Item(17, dye(17, rng))
    arms = [np.array([(0, -14), (0, -4), (0, 6)])] if body is None else body.arms
    for arm in arms:
        item.add(tube(along(arm, 0.62, 1.0, 3), (3.0, 2.4, 2.0)), 13, round_=1.5)
        for outline in hand_outlines(arm, 1.35 if body is None else 1.2):
            item.add(outline, 13.1, round_=0.8, shadow=0.1)
        item.add(tube(along(arm, 0.60, 0.66, 2), 3.3), 13.2, cloth=trim(item.cloth), round_=1.2)
    return item


def watch(body: Pose | None, rng) -> Item:
    item = Item(18, dye(18, rng))
    face = hue(rng, (0.75, 1.0))
    dial = Cloth("plain", face, face, folds=0.0)
    if body is None:
        centre, axis = np.zeros(2), np.array([0.0, 1.0])
        item.add(tube([(0, -14), (0, 14)], 1.6, rounded=True), 13, round_=1)
        for y in (7, 9, 11):
            item.add(ellipse(0, y, 0.3, 0.3), 13.05, cloth=trim(item.cloth), shadow=0, part_id=RIVET)
    else:
        arm = min(body.arms, key=lambda arm: abs(arm[2, 0]))  # the hand nearer to the middle
        axis = (arm[2] - arm[1]) / np.linalg.norm(arm[2] - arm[1])
        centre = arm[2] - 0.6 * axis
        across = np.array([-axis[1], axis[0]])
        item.add(tube([centre - 2.6 * across, centre + 2.6 * across], 1.4), 13, round_=1.2)
    size = 3.0 if body is None else 2.3
    item.add(ellipse(*centre, size, size), 13.1, cloth=_BRASS if rng.random() < 0.5 else _STEEL, round_=0.6)
    item.add(ellipse(*centre, size * 0.78, size * 0.78), 13.2, cloth=dial, shadow=0)
    for turn, reach in ((rng.uniform(0, 6.3), 0.6), (rng.uniform(0, 6.3), 0.42)):
        tip = centre + size * reach * np.array([np.cos(turn), np.sin(turn)])
        item.add(tube([centre, tip], 0.22), 13.3, cloth=_DARK, shadow=0)
    return item


def belt(body: Pose | None, rng) -> Item:
    item = Item(19, dye(19, rng))
    if body is None:
        turn = np.linspace(0.3, 2 * np.pi - 0.1, 24)
        ring = np.column_stack([13 * np.sin(turn), -9 * np.cos(turn)])
        item.add(tube([*ring, (-4, -13), (4, -14.5)], 1.5), 0, round_=1.0)
        x, y = 4.5, -14.6
    else:
        y = 24.2
        x = float(body.middle(y))
        item.add(body.band([(y - 1.7, 1.3), (y + 1.7, 1.4)], closed=False), 9.5, round_=1.2)
    buckle = smooth(box(x - 2.4, y - 2.3, x + 2.4, y + 2.3), 1)
    item.add(buckle, 9.6, cloth=_BRASS, round_=0.5, part_id=BUCKLE)
    item.add(smooth(box(x - 1.4, y - 1.3, x + 1.4, y + 1.3), 1), 9.7, shadow=0.2)
    return item


def leg_warmer(body: Pose | None, rng) -> Item:
    item = Item(20, dye(20, rng))
    legs = _flat_legs() if body is None else body.legs
    for leg in legs:
        item.add(tube(along(leg, 0.5, 0.93, 4), (4.0, 4.2, 4.6, 5.2)), 5, round_=2.5)
        for at, width in ((0.5, 4.3), (0.89, 5.4)):
            item.add(tube(along(leg, at, at + 0.05, 2), width), 5.1, cloth=trim(item.cloth))
    return item


def tights(body: Pose | None, rng) -> Item:
    item = Item(21, dye(21, rng))
    legs = _flat_legs(straight=True) if body is None else body.legs
    for leg in legs:
        item.add(tube([*leg, leg[2] + (0, 4.5)], np.array([5.3, 3.6, 2.3, 2.4])), 2, round_=3.5)
    if body is None:
        item.add(smooth(box(-9.4, 24, 9.4, 40), 1), 2.1, shadow=0)
        item.add(box(-9.2, 23.5, 9.2, 26), 2.2, cloth=trim(item.cloth), shadow=0.1)
    return item


def sock(body: Pose | None, rng) -> Item:
    item = Item(22, dye(22, rng))
    start = rng.uniform(0.58, 0.68)
    legs = _flat_legs() if body is None else body.legs
    for side, leg in zip((-1, 1), legs, strict=True):
        item.add(tube([*along(leg, start, 1.0, 3), leg[2] + (0, 3)], 2.9), 3, round_=2)
        if body is None:
            foot = [leg[2] + (0, 2), leg[2] + (side * 2, 5), leg[2] + (side * 9, 6)]
            item.add(tube(foot, (2.9, 3.0, 2.5), rounded=True), 3.1, round_=2, shadow=0)
        item.add(tube(along(leg, start, start + 0.04, 2), 3.2), 3.2, cloth=trim(item.cloth), round_=1)
    return item


def _flat_legs(straight: bool = False) -> np.ndarray:
    x = (4.8, 5.6, 6.2) if straight else (5.5, 5.5, 5.5)
    return np.stack([np.column_stack([s * np.array(x), [36, 59, 79]]) for s in (-1, 1)])


def shoes(body: Pose | None, rng) -> list[Item]:
    """Two items, one a shoe: iMaterialist annotates them so."""
    cloth, boot = dye(23, rng), rng.random() < 0.3
    sole = (0.93, 0.92, 0.88) if rng.random() < 0.6 else (0.15, 0.12, 0.1)
    sole = Cloth("plain", sole, sole, folds=0.0)
    legs = _flat_legs() if body is None else body.legs
    pair = []
    for side, leg in zip((-1, 1), legs, strict=True):
        x, y = leg[2]
        item = Item(23, cloth)

        def at(*points, foot=leg[2], side=side):
            return foot + np.multiply(points, (side, 1))

        if boot:
            item.add(tube([(x, y - 10), (x, y + 3)], (3.6, 3.0)), 4, round_=2)
        item.add(smooth(at((-2.8, 0.5), (2.4, 0), (6.8, 3.2), (7.4, 6.2), (-3.2, 6.2))), 4.1, round_=2)
        edge = at((-3.6, 5), (7.9, 5), (7.7, 7.2), (-3.6, 7.2))
        item.add(smooth(edge, 1), 4.2, cloth=sole, round_=0.8)
        for k in range(0 if boot else 3):
            lace = at((0.6 + k * 1.3, 0.6 + k), (2.8 + k * 1.1, 0.4 + k * 1.1))
            item.add(tube(lace, 0.3), 4.3, cloth=sole, shadow=0.1)
        pair.append(item)
    return pair


def bag(body: Pose | None, rng) -> Item:
    item = Item(24, dye(24, rng))
    w, h = rng.uniform(8, 10.5), rng.uniform(11, 15)
    if body is None:
        x, y = 0.0, 0.0
    else:
        side = int(rng.integers(2))
        x, y = hand(body, side) + (0, 4.5)
        x += (1 if side else -1) * 1.0
    handle = [(x - w * 0.6, y + 1), (x - w * 0.4, y - 6), (x + w * 0.4, y - 6), (x + w * 0.6, y + 1)]
    body_ = [(x - w * 0.85, y), (x + w * 0.85, y), (x + w, y + h), (x - w, y + h)]
    item.add(tube(handle, 0.8), 13.9)
    item.add(smooth(body_, 2), 14, round_=2.5)
    flap = [(-0.8 * w, 0.2), (0.8 * w, 0.2), (0.6 * w, 0.42 * h), (0, 0.55 * h), (-0.6 * w, 0.42 * h)]
    item.add(smooth(flap) + (x, y), 14.1, cloth=trim(item.cloth), round_=1.5)
    item.add(ellipse(x, y + h * 0.5, 1.3, 1.3), 14.2, cloth=_BRASS, round_=0.6, part_id=BUCKLE)
    return item


def scarf(body: Pose | None, rng) -> Item:
    item = Item(25, dye(25, rng))
    side, low = rng.choice([-1, 1]), rng.uniform(26, 36)
    item.add(tube([(side * 3, 2), (side * 4.4, 14), (side * 4.0, low)], (2.6, 3.4, 3.8)), 12.05, round_=2)
    short, loop = [(side * -2, 3), (side * -2.4, 10), (side * -2.8, low - 9)], [(-4, 2.6), (0, 4.2), (4, 2.6)]
    item.add(tube(short, (2.4, 3.0, 3.2)), 12.04, round_=2)
    item.add(tube([(-6.6, -1.4), *loop, (6.6, -1.4)], 2.7), 12.1, grain=1.57, round_=2)
    for x, end, width in ((side * 4.0, low, 3.8), (side * -2.8, low - 9, 3.2)):
        for at in np.linspace(-0.85, 0.85, 6):
            strand = box(x + at * width - 0.3, end - 0.4, x + at * width + 0.3, end + 3)
            item.add(strand, 12.03, part_id=FRINGE)
    return item


def umbrella(body: Pose | None, rng) -> Item:
    item = Item(26, dye(26, rng))
    other = replace(item.cloth, first=item.cloth.second)
    x, y = (0.0, -24.0) if body is None else (hand(body, 1)[0] - 4, -24.0)
    grip = (x, 10.0) if body is None else tuple(hand(body, 1))
    rim = np.linspace(-22, 22, 7)
    item.add(tube([(x, y - 16), (x, y), grip, (grip[0], grip[1] + 4)], 0.6), -1.5, cloth=_DARK)
    item.add(tube([(grip[0], grip[1] + 2), (grip[0], grip[1] + 6), (grip[0] + 3, grip[1] + 6)], 0.9), -1.5)
    for k in range(6):
        a, b = rim[k], rim[k + 1]
        cloth = item.cloth if k % 2 else other
        turn = np.linspace(0, np.pi / 2, 8)
        left, right = ([(x + edge * np.sin(t), y - 15 * np.cos(t)) for t in turn] for edge in (a, b))
        gore = [*left, (x + (a + b) / 2, y - 1.8), *right[::-1]]
        item.add(gore, -1, cloth=cloth, round_=1.5, shadow=0.1)
    return item


WORN = {13: glasses, 14: hat, 15: headband, 16: tie, 17: glove, 18: watch, 19: belt, 20: leg_warmer,
        21: tights, 22: sock, 24: bag, 25: scarf, 26: umbrella}  # fmt: skip
