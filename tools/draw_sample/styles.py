"""Colours, and which cloth a class is made of.

A class has its own pattern and habits of light and dark, and a hue that it often has, as jeans are twill
and more often blue than not. Habits are no rules: most clothes, and every background, take any
hue, so that a colour says little by itself.
"""

import colorsys
from typing import NamedTuple

import numpy as np

from tools.draw_sample.textures import Cloth

FAITHFUL = 0.45  # how often a colour follows its class's hue


class Habit(NamedTuple):
    """Pattern, then usual hue, brightness (low, high) and greatest saturation of its two colours."""

    pattern: str
    hues: tuple[float | None, float | None] = (None, None)
    first: tuple[float, float] = (0.3, 0.9)
    second: tuple[float, float] = (0.3, 0.9)
    vivid: tuple[float, float] = (0.8, 0.8)
    gloss: float = 0.0


HABITS = {
    0: Habit("pinstripe", (None, 0.6), (0.88, 1.0), (0.25, 0.55), (0.15, 0.9)),
    1: Habit("breton", (None, None), (0.75, 1.0), (0.15, 0.5), (0.5, 0.95)),
    2: Habit("cable", (0.11, None), (0.65, 0.9), vivid=(0.8, 0.5)),
    3: Habit("argyle", (0.38, 0.38), (0.6, 0.85), (0.15, 0.4)),
    4: Habit("puffer", (0.04, None), (0.7, 1.0), vivid=(1.0, 1.0), gloss=0.6),
    5: Habit("quilt", (0.78, None), (0.2, 0.45)),
    6: Habit("denim", (0.6, 0.6), (0.2, 0.4), (0.5, 0.7), (0.8, 0.6)),
    7: Habit("gingham", (0.52, 0.52), (0.85, 1.0), (0.4, 0.65), (0.35, 1.0)),
    8: Habit("pleats", (0.92, None), (0.65, 0.95), vivid=(0.8, 0.8)),
    9: Habit("herringbone", (0.08, 0.08), (0.08, 0.22), (0.5, 0.7), (0.8, 0.6)),
    10: Habit("dots", (0.97, None), (0.3, 0.6), (0.85, 1.0), (1.0, 0.3)),
    11: Habit("chevron", (None, 0.44), (0.85, 1.0), (0.2, 0.4), (0.3, 1.0)),
    12: Habit("tartan", (0.16, 0.33), (0.6, 0.85), (0.1, 0.25), (0.9, 0.8)),
    14: Habit("felt", (0.13, 0.13), (0.5, 0.9), (0.5, 0.9)),
    15: Habit("dots", (0.85, None), (0.5, 1.0), (0.85, 1.0), (0.95, 0.2)),
    16: Habit("repp", (0.12, 0.7), (0.6, 0.95), (0.1, 0.4), (0.8, 0.95)),
    17: Habit("plain", (0.98, None), (0.2, 0.5), vivid=(0.95, 0.95), gloss=0.7),
    18: Habit("plain", (0.06, None), (0.1, 0.5), gloss=0.7),
    19: Habit("plain", (0.07, None), (0.15, 0.5), gloss=0.7),
    20: Habit("rib", (0.7, None), (0.6, 0.95), vivid=(0.85, 0.85)),
    21: Habit("fishnet", (None, 0.05), (0.02, 0.12), (0.35, 0.6), (0.5, 0.5)),
    22: Habit("hoops", (None, 0.55), (0.85, 1.0), (0.4, 0.8), (0.2, 1.0)),
    23: Habit("plain", (0.03, None), (0.12, 0.6), gloss=0.7),
    24: Habit("croco", (0.09, None), (0.4, 0.75), vivid=(0.8, 0.8), gloss=0.6),
    25: Habit("blocks", (0.15, 0.62), (0.75, 1.0), (0.2, 0.5), (0.7, 0.9)),
    26: Habit("plain", (0.55, 0.98), (0.6, 1.0), (0.4, 0.9), (0.9, 0.9)),
}  # glasses (13) are made of no cloth


def dye(class_id: int, rng: np.random.Generator) -> Cloth:
    """Cloth for a garment, nearly always in its class's own pattern."""
    habit = HABITS[class_id]
    pattern = habit.pattern
    if class_id == 10 and rng.random() < 0.3:
        pattern = "flowers"
    elif rng.random() < 0.06:
        pattern = "plain"
    usual = habit.hues if rng.random() < FAITHFUL else (None, None)
    first = hue(rng, habit.first, habit.vivid[0], usual[0])
    second = hue(rng, habit.second, habit.vivid[1], usual[1])
    size, phase = rng.uniform(0.9, 1.15), tuple(rng.uniform(0, 50, 2))
    return Cloth(pattern, first, second, size, phase, habit.gloss, 0.03 if habit.gloss else 0.07)


def hue(rng: np.random.Generator, light=(0.2, 0.95), vivid: float = 0.8, usual: float | None = None):
    """An RGB colour: any hue, or one near `usual`; brightness within `light`, saturation up to `vivid`."""
    if usual is None:
        saturation = rng.beta(2, 2) * (0.15 if rng.random() < 0.22 else vivid)
        return colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(*light))
    return colorsys.hsv_to_rgb(rng.normal(usual, 0.025) % 1, vivid * rng.uniform(0.6, 1), rng.uniform(*light))


def muted(rng: np.random.Generator, light=(0.3, 1.0)) -> tuple[float, float, float]:
    """A colour for the surroundings: any hue, less vivid than clothes."""
    return hue(rng, light, 0.4)


def luma(colour) -> float:
    """Brightness (Rec. 601) of an RGB colour, 0-1."""
    return float(np.dot(colour, (0.299, 0.587, 0.114)))
