"""Garments by category id (0-12, 16): outlines fitted to a pose, worn or laid out.

Each function takes the pose and a random generator and returns an Item. Depths (`z`) follow how
clothes lie on a body: trousers 6, tops 7, skirts and dresses 8, vests 9, coats 10, sleeves 11, capes 12.
"""

from dataclasses import replace

import numpy as np

from tools.draw_sample.geometry import along, box, ellipse, smooth, tube
from tools.draw_sample.paint import Item
from tools.draw_sample.people import Pose
from tools.draw_sample.styles import dye, luma
from tools.draw_sample.textures import Cloth

SLEEVE, COLLAR, LAPEL, POCKET, NECKLINE, HOOD = 31, 28, 29, 32, 33, 27
ZIPPER, APPLIQUE, FRINGE, RUFFLE = 35, 36, 40, 43


def trim(cloth: Cloth, factor: float | None = None) -> Cloth:
    """The plain cloth of a garment's edges: darker on light cloth, lighter on dark."""
    factor = factor or (0.68 if luma(cloth.first) > 0.35 else 1.7)
    colour = tuple(np.clip(np.array(cloth.first) * factor + (0.06 if factor > 1 else 0), 0, 1))
    return Cloth("plain", colour, colour, folds=0.03)


def sleeves(item: Item, body: Pose, stop: float, widths, z: float = 11.1, cuff: float = 0.0) -> None:
    """Both sleeves down to the fraction `stop` of the arm, with cuffs of that share of the arm."""
    for arm in body.arms:
        path = along(arm, 0.0, stop)
        turn = np.arctan2(*(path[-1] - path[0])[::-1]) - np.pi / 2
        wide, narrow = np.multiply(widths, body.build)
        outline = tube(path[::-1], (narrow, (wide + narrow) / 2, wide, 0.72 * wide), rounded=True)
        item.add(outline, z, grain=turn, round_=3.5, part_id=SLEEVE, shadow=0.25)
        if cuff:
            end = tube(along(arm, stop - cuff, stop, 2), widths[1] * body.build * 1.05)
            item.add(end, z + 0.01, cloth=trim(item.cloth), grain=turn, shadow=0)


def shirt(body: Pose, rng) -> Item:
    item = Item(0, dye(0, rng))
    hem = rng.uniform(33, 38)
    sleeves(item, body, 0.97, (4.1, 2.9), cuff=0.1)
    rows = [(0.8, 0.4, 4), (3.2, 0.6), (7, 1), (15, 1.3), (24, 1.6), (hem - 2, 1.6), (hem, -2, 1)]
    item.add(body.band(rows), 7)
    edge = trim(item.cloth)
    item.add(box(-0.8, 4, 0.8, hem), 7.1, cloth=edge, shadow=0.1)
    for side in (-1, 1):
        collar = [(0, 4.6), (side * 4.6, 0.2), (side * 5.6, 2.6), (side * 3.2, 7)]
        item.add(smooth(collar, 1), 7.3, cloth=edge, part_id=COLLAR)
    for y in np.arange(8, hem - 1, 5):
        item.add(ellipse(0, y, 0.55, 0.55), 7.2, cloth=trim(edge), shadow=0.2)
    if rng.random() < 0.5:
        item.add(box(2.6, 10, 6.8, 15), 7.1, cloth=edge, shadow=0.15, part_id=POCKET)
    return item


def top(body: Pose, rng) -> Item:
    item = Item(1, dye(1, rng))
    hem = rng.uniform(31, 35)
    dip = rng.uniform(3, 5.5)
    sleeves(item, body, rng.uniform(0.3, 0.42), (4.4, 4.3))
    rows = [(0.9, 0.2, dip), (3.2, 0.6), (7, 0.9), (15, 1.0), (24, 1.2), (hem, 0.9, 0.4)]
    item.add(body.band(rows), 7)
    neck = [(-4.4, 1), (-2.4, dip * 0.8), (0, dip + 0.8), (2.4, dip * 0.8), (4.4, 1)]
    item.add(tube(neck, 0.7), 7.1, cloth=trim(item.cloth), shadow=0.1, part_id=NECKLINE)
    if rng.random() < 0.45:
        item.add(_print(rng), 7.1, cloth=trim(item.cloth), round_=0.3, shadow=0, part_id=APPLIQUE)
    return item


def _print(rng) -> np.ndarray:
    """A disc, a star or a flower printed on the chest."""
    turn = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    points, depth = ((5, 0.0), (5, 0.22), (7, 0.12))[rng.integers(3)]
    r = 4.2 * (1 - depth + depth * np.cos(points * turn))
    return np.column_stack([r * np.sin(turn), 14 - r * np.cos(turn)])


def sweater(body: Pose, rng) -> Item:
    item = Item(2, dye(2, rng))
    hem = rng.uniform(33, 37)
    sleeves(item, body, 0.98, (5.2, 4.0), cuff=0.12)
    rows = [(0.2, 0.6, 2.4), (3.2, 1.2), (8, 2.2), (18, 3.4), (28, 3.2), (hem, 1.4)]
    item.add(body.band(rows), 7, round_=5)
    rib = replace(item.cloth, pattern="rib", size=0.7)
    item.add(body.band([(hem - 3, 2.2), (hem, 1.5), (hem + 0.8, 1.2)]), 7.1, cloth=rib, shadow=0.1)
    item.add(tube([(-4.4, 1), (0, 3), (4.4, 1)], 1.8), 7.2, cloth=rib, part_id=NECKLINE)
    return item


def _front(body: Pose, rows, gap, side: int) -> np.ndarray:
    """One half of an open front: `rows` as in `Pose.band`, `gap` the inner edge's from the middle."""
    y, ease = np.array(rows, float).T
    inner = np.interp(y, *np.array(gap, float).T)
    middle = body.middle(y)
    outer_edge = np.column_stack([middle + side * (body.half(y) + ease), y])
    inner_edge = np.column_stack([middle + side * inner, y])
    return smooth([*outer_edge, *inner_edge[::-1]], 2)


def cardigan(body: Pose, rng) -> Item:
    item = Item(3, dye(3, rng))
    hem = rng.uniform(36, 42)
    rows = [(0.6, 0.2), (3.2, 0.8), (8, 1.8), (20, 2.6), (30, 2.4), (hem, 1.6)]
    gap = [(0.6, 3.6), (18, 1.2), (24, 0.6), (hem, 2.4)]
    y = np.linspace(0.8, hem, 8)
    sleeves(item, body, 0.97, (4.7, 3.5), 11.3, cuff=0.1)
    for side in (-1, 1):
        item.add(_front(body, rows, gap, side), 10, round_=3)
        edge = np.column_stack([body.middle(y) + side * (np.interp(y, *np.array(gap).T) + 0.4), y])
        item.add(tube(edge, 1.1), 10.1, cloth=trim(item.cloth), shadow=0.15)
    for y in np.arange(20, hem - 1, 5):
        item.add(ellipse(body.middle(y) + 1.2, y, 0.8, 0.8), 10.2, cloth=trim(item.cloth, 0.4), shadow=0.2)
    return item


def jacket(body: Pose, rng) -> Item:
    item = Item(4, dye(4, rng))
    hem = rng.uniform(28, 32)
    open_ = rng.uniform(0, 3.5)
    rows = [(-0.6, 0.8), (3.0, 2.0), (9, 3.8), (20, 4.6), (hem - 2, 3.8), (hem, 2.6)]
    sleeves(item, body, 0.98, (6.0, 4.6), 11.3)
    for side in (-1, 1):
        item.add(_front(body, rows, [(-0.6, 2.5 + open_), (hem, open_ / 2)], side), 10, round_=4)
        zip_x = side * (2.5 + open_), body.middle(18) + side * (0.5 + 0.7 * open_), side * open_ / 2
        zip_ = tube(np.column_stack([zip_x, (-0.4, 18, hem)]), 0.5)
        item.add(zip_, 10.2, cloth=Cloth("metal", (0.3, 0.3, 0.3), (0.9, 0.9, 0.9)), part_id=ZIPPER)
        collar = [(side * 2.2, -2.6), (side * 6.2, -1.6), (side * 6.6, 2.4), (side * 2.6, 3.4)]
        item.add(smooth(collar), 12.1, cloth=trim(item.cloth), part_id=COLLAR)
    return item


def vest(body: Pose, rng) -> Item:
    item = Item(5, dye(5, rng))
    hem = rng.uniform(29, 33)
    rows = [(0.6, -0.6), (3.2, -1.6), (7, -1.2), (11, 0.8), (20, 1.6), (hem - 2, 1.8), (hem, 0.6)]
    for side in (-1, 1):
        item.add(_front(body, rows, [(0.6, 3.2), (12, 0.2), (hem - 3, 0), (hem, 1.6)], side), 9, round_=2)
    for y in np.arange(13, hem - 1, 4.5):
        item.add(ellipse(body.middle(y) + 0.8, y, 0.8, 0.8), 9.1, cloth=trim(item.cloth, 0.4), shadow=0.2)
    return item


def _trousers(body: Pose, item: Item, stop: float, widths, z: float) -> None:
    """Both legs and the seat as one outline, down to the fraction `stop` of the leg, and a waistband."""
    middle, half = float(body.middle(24)), float(body.half(24)) + 0.7
    hip = float(body.half(34)) + 1.0
    sides = []  # of the left leg, then the right: the edge to the left and the one to the right, downwards
    for leg in body.legs:
        outline = tube(along(leg, 0.2, stop, 5), np.multiply(widths, body.build))
        left, right = np.split(outline, 2)
        sides += sorted([left, right[::-1]], key=lambda edge: edge[0, 0])
    right = [(middle + half, 23), (middle + hip, 34), *sides[3], *sides[2][::-1]]
    left = [*sides[1], *sides[0][::-1], (middle - hip, 34)]
    item.add(np.array([(middle - half, 23), *right, (0, 43.5), *left]), z, round_=4)
    item.add(body.band([(23, 0.8), (25.6, 0.9)], closed=False), z + 0.1, cloth=trim(item.cloth), shadow=0.1)


def pants(body: Pose, rng) -> Item:
    item = Item(6, dye(6, rng))
    knee, hem = ((4.2, 2.9), (4.6, 4.4), (4.6, 6.2))[rng.integers(3)]
    _trousers(body, item, rng.uniform(0.96, 1.0), (5.8, knee, hem), 6)
    item.add(tube([(0, 26), (0.2, 38)], 0.25), 6.2, cloth=trim(item.cloth), shadow=0)
    for side in (-1, 1):
        pocket = [(side * 4.5, 26), (side * 6, 30), (side * 9.2 * body.build, 31.5)]
        item.add(tube(pocket, 0.3), 6.2, cloth=trim(item.cloth), shadow=0, part_id=POCKET)
    return item


def shorts(body: Pose, rng) -> Item:
    item = Item(7, dye(7, rng))
    _trousers(body, item, rng.uniform(0.34, 0.46), (5.8, 6.4, 6.8), 6)
    return item


def skirt(body: Pose, rng) -> Item:
    item = Item(8, dye(8, rng))
    hem, flare = rng.uniform(48, 62), rng.uniform(5, 13)
    rows = [(22.5, 0.6), (28, 1.2), (34, 1.8 + flare * 0.2), (hem - 1, flare), (hem, flare - 1, 1.5)]
    item.add(body.band(rows), 8, round_=5)
    item.add(body.band([(22.3, 0.7), (25.4, 0.8)], closed=False), 8.1, cloth=trim(item.cloth), shadow=0.1)
    return item


def coat(body: Pose, rng) -> Item:
    item = Item(9, dye(9, rng))
    hem, open_ = rng.uniform(56, 65), rng.uniform(0, 2.5)
    rows = [(-0.2, 0.8), (3.0, 1.6), (9, 2.6), (24, 3.2), (40, 4.5), (hem - 1, 7), (hem, 6)]
    gap = [(-0.2, 3.2), (16, open_ * 0.4), (28, open_ * 0.4), (hem, open_ * 2)]
    sleeves(item, body, 0.97, (5.2, 4.2), 11.3, cuff=0.12)
    for side in (-1, 1):
        item.add(_front(body, rows, gap, side), 10 + 0.01 * side, round_=4)
        lapel = np.multiply([(2.4, -1.4), (6.8, -0.4), (7.6, 6.6), (5.4, 7.4), (0.6, 17)], (side, 1))
        pocket = [(side * 5, 33), (side * 9.5, 34.5)]
        item.add(smooth(lapel, 1), 10.2, cloth=trim(item.cloth), part_id=LAPEL)
        item.add(tube(pocket, 1.3), 10.2, cloth=trim(item.cloth), part_id=POCKET)
        for y in (20, 26.5, 33):
            item.add(ellipse(body.middle(y) + side * 2.6, y, 0.9, 0.9), 10.3, cloth=trim(item.cloth, 0.35))
    return item


def dress(body: Pose, rng) -> Item:
    item = Item(10, dye(10, rng))
    hem, flare, dip = rng.uniform(50, 63), rng.uniform(5, 12), rng.uniform(4, 9)
    if rng.random() < 0.6:
        sleeves(item, body, rng.uniform(0.2, 0.36), (4.3, 4.6))
    rows = [(1.2, -0.6, dip), (3.2, 0.1), (8, 0.3), (15, 0.6), (23, 0.2), (30, 1.8), (40, 2 + flare * 0.5),
            (hem - 1, flare), (hem, flare - 1, 1.5)]  # fmt: skip
    item.add(body.band(rows), 8.2, round_=5)
    item.add(body.band([(22, 0.5), (24.6, 0.6)], closed=False), 8.3, cloth=trim(item.cloth), shadow=0.1)
    if rng.random() < 0.3:
        item.add(body.band([(hem - 5, flare), (hem, flare + 1, 1.5)]), 8.3, round_=2, part_id=RUFFLE)
    return item


def jumpsuit(body: Pose, rng) -> Item:
    item = Item(11, dye(11, rng))
    width = rng.uniform(4.4, 6.5)
    _trousers(body, item, 0.98, (5.8, 5.0, width), 8)
    rows = [(1.2, -2.2, 7), (4, -2.4), (9, -0.2), (16, 0.8), (23, 0.6), (34, 0.8)]
    item.add(body.band(rows), 8.2, round_=5)
    item.add(body.band([(22, 0.8), (25, 0.9)], closed=False), 8.3, cloth=trim(item.cloth), shadow=0.1)
    return item


def cape(body: Pose, rng) -> Item:
    item = Item(12, dye(12, rng))
    hem, flare = rng.uniform(40, 52), rng.uniform(12, 17)
    rows = [(-0.4, 1.2, 3), (4, 3.2), (12, 8), (26, flare), (hem - 1, flare + 2), (hem, flare, 2)]
    item.add(body.band(rows), 12, round_=6)
    item.add(tube([(0, 3), (0.3, hem)], 0.3), 12.1, cloth=trim(item.cloth), shadow=0)
    fringe = trim(item.cloth, 0.6)
    for x in np.linspace(-0.92, 0.92, 23) * (body.half(hem) + flare):
        item.add(box(x - 0.45, hem - 0.5, x + 0.45, hem + 3.4), 12.2, cloth=fringe, part_id=FRINGE)
    item.add(tube([(-5.4, 0.4), (0, 3), (5.4, 0.4)], 1.5), 12.15, cloth=trim(item.cloth), part_id=COLLAR)
    return item


WORN = {0: shirt, 1: top, 2: sweater, 3: cardigan, 4: jacket, 5: vest, 6: pants, 7: shorts, 8: skirt, 9: coat,
        10: dress, 11: jumpsuit, 12: cape}  # fmt: skip
