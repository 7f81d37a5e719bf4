"""Props: things that nobody wears, on a wall, before it, or around a flat-lay. None of them is annotated."""

import numpy as np

from tools.draw_sample.geometry import box, ellipse, frame, smooth, tube
from tools.draw_sample.paint import Canvas, Item
from tools.draw_sample.styles import muted
from tools.draw_sample.textures import Cloth


def furnish(canvas: Canvas, rng) -> None:
    """Hang pictures on a wall and put plants before it."""
    unit = canvas.height / 100
    for _ in range(rng.integers(1, 4)):
        x, y = rng.uniform(0, canvas.width), rng.uniform(0.05, 0.5) * canvas.height
        canvas.draw([_card(rng)], frame(unit * rng.uniform(0.7, 1.3), x, y, rng.choice([0, np.pi / 2])))
    for _ in range(rng.integers(0, 3)):
        x = rng.choice([rng.uniform(-0.02, 0.15), rng.uniform(0.85, 1.02)]) * canvas.width
        canvas.draw([_plant(rng)], frame(unit * rng.uniform(0.9, 1.4), x, canvas.height * 0.97))


def scatter(canvas: Canvas, rng) -> None:
    """Lay books, cups, leaves, phones and pictures about."""
    size = 0.011 * min(canvas.height, canvas.width)
    for _ in range(rng.integers(5, 12)):
        prop = (_book, _cup, _leaf, _phone, _card)[rng.integers(5)]
        x, y = rng.uniform(0, 1, 2) * (canvas.width, canvas.height)
        canvas.draw([prop(rng)], frame(size, x, y, rng.uniform(0, 2 * np.pi)))


def _cloth(colour) -> Cloth:
    return Cloth("plain", tuple(colour), tuple(colour), folds=0.02)


def _book(rng) -> Item:
    item = Item(None, _cloth(muted(rng)))
    w, h = rng.uniform(8, 12), rng.uniform(11, 16)
    pages = Cloth("pinstripe", (0.9, 0.9, 0.9), (0.7, 0.7, 0.7), 0.3)
    item.add(box(-w + 0.8, -h + 0.8, w + 0.8, h + 0.8), 0, cloth=pages)
    item.add(box(-w, -h, w, h), 1, round_=0.6)
    title = box(-0.7 * w, -0.7 * h, 0.7 * w, -0.4 * h)
    return item.add(title, 2, cloth=_cloth(muted(rng, (0.6, 1))), shadow=0)


def _cup(rng) -> Item:
    item = Item(None, _cloth(muted(rng, (0.6, 1.0))))
    item.add(ellipse(0, 0, 11, 11), 0, round_=1.5)
    item.add(tube([(5, 2), (10, 5), (8, 8)], 1), 1)
    item.add(ellipse(0, 0, 6.5, 6.5), 1.1, round_=1)
    return item.add(ellipse(0, 0, 5.4, 5.4), 1.2, cloth=_cloth(muted(rng, (0.1, 0.5))), shadow=0)


def _leaf(rng) -> Item:
    item = Item(None, _cloth(muted(rng, (0.2, 0.7))))
    item.add(tube([(0, 14), (1, 0), (0, -14)], 0.35), 0)
    for y in (-12, -7, -2, 3, 8):
        for side in (-1, 1):
            leaf = [(0, y + 1), (side * 4, y - 3), (side * 9, y - 3), (side * 5, y + 2)]
            item.add(smooth(leaf), 0.1, round_=1)
    return item


def _phone(rng) -> Item:
    item = Item(None, _cloth(muted(rng, (0.05, 0.3))))
    item.add(smooth(box(-6, -12, 6, 12)), 0, round_=1)
    return item.add(box(-5, -9.5, 5, 9.5), 1, cloth=_cloth(muted(rng)), shadow=0)


def _card(rng) -> Item:
    """A picture: framed on a wall, a print on a table."""
    item = Item(None, _cloth(muted(rng, (0.75, 1.0))))
    item.add(box(-10, -8, 10, 8), 0, round_=0.3)
    return item.add(box(-8, -6, 8, 6), 1, cloth=Cloth("felt", muted(rng), muted(rng), 3.0), shadow=0)


def _plant(rng) -> Item:
    """A pot plant that stands on y = 0."""
    item = Item(None, _cloth(muted(rng, (0.4, 0.9))))
    green, root = _cloth(muted(rng, (0.2, 0.6))), np.array([0, -14])
    for turn in np.deg2rad(rng.uniform(-62, 62, 11)):
        reach = rng.uniform(16, 34) * np.array([np.sin(turn), -np.cos(turn)])
        leaf = tube([root, root + 0.5 * reach + (0, -2), root + reach], (0.6, 2.6, 0.3))
        item.add(leaf, 0, cloth=green, round_=1.5)
    item.add([(-7, -15), (7, -15), (5, 0), (-5, 0)], 1, round_=4)
    return item.add(box(-7.6, -17, 7.6, -14), 1.1, round_=2)
