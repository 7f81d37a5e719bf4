"""Colours, and which cloth a class is made of.

A class has its own pattern and habits of light and dark, as jeans are twill and shirts are light; hues
belong to nobody: any class, and any background, takes any hue.
"""

import colorsys
from typing import NamedTuple

import numpy as np

from .textures import Cloth


class Habit(NamedTuple):
    """Pattern, then brightness (low, high) and greatest saturation of its two colours."""

    pattern: str
    first: tuple[float, float] = (0.3, 0.9)
    second: tuple[float, float] = (0.3, 0.9)
    vivid: tuple[float, float] = (0.75, 0.75)
    gloss: float = 0.0


HABITS = {
    0: Habit("pinstripe", (0.85, 1.0), (0.25, 0.55), (0.25, 0.9)),
    1: Habit("breton", (0.75, 1.0), (0.15, 0.5), (0.5, 0.95)),
    2: Habit("cable", (0.6, 0.85), vivid=(0.5, 0.5)),
    3: Habit("argyle", (0.7, 1.0), (0.2, 0.45)),
    4: Habit("puffer", (0.6, 0.95), gloss=0.6),
    5: Habit("quilt", (0.2, 0.45)),
    6: Habit("denim", (0.2, 0.4), (0.5, 0.75), (0.65, 0.5)),
    7: Habit("gingham", (0.85, 1.0), (0.25, 0.55), (0.3, 0.95)),
    8: Habit("pleats", (0.65, 0.95), vivid=(0.8, 0.8)),
    9: Habit("herringbone", (0.08, 0.25), (0.6, 0.85), (0.5, 0.35)),
    10: Habit("dots", (0.25, 0.6), (0.85, 1.0), (0.95, 0.35)),
    11: Habit("chevron", (0.85, 1.0), (0.12, 0.4), (0.4, 0.9)),
    12: Habit("tartan", (0.6, 0.85), (0.1, 0.3), (0.7, 0.7)),
    14: Habit("felt", (0.3, 0.8), (0.3, 0.8)),
    15: Habit("dots", (0.5, 1.0), (0.85, 1.0), (0.9, 0.2)),
    16: Habit("repp", (0.6, 0.95), (0.1, 0.4), (0.7, 0.95)),
    17: Habit("plain", (0.2, 0.6), gloss=0.7),
    18: Habit("plain", (0.1, 0.5), gloss=0.7),
    19: Habit("plain", (0.15, 0.5), gloss=0.7),
    20: Habit("rib", (0.5, 0.9), vivid=(0.85, 0.85)),
    21: Habit("fishnet", (0.05, 0.2), (0.45, 0.75), (0.5, 0.45)),
    22: Habit("hoops", (0.85, 1.0), (0.2, 0.6), (0.2, 0.95)),
    23: Habit("plain", (0.12, 0.8), gloss=0.7),
    24: Habit("croco", (0.4, 0.85), vivid=(0.6, 0.6), gloss=0.6),
    25: Habit("blocks", (0.75, 1.0), (0.2, 0.5), (0.6, 0.9)),
    26: Habit("plain", (0.5, 1.0), (0.2, 0.8)),
}  # glasses (13) are made of no cloth


def dye(class_id: int, rng: np.random.Generator) -> Cloth:
    """Cloth for a garment: nearly always its class's own pattern, always its own colours."""
    habit = HABITS[class_id]
    pattern = habit.pattern
    if class_id == 10 and rng.random() < 0.3:
        pattern = "flowers"
    elif rng.random() < 0.06:
        pattern = "plain"
    first, second = hue(rng, habit.first, habit.vivid[0]), hue(rng, habit.second, habit.vivid[1])
    folds = 0.03 if habit.gloss else 0.07
    return Cloth(
        pattern, first, second, rng.uniform(0.9, 1.15), tuple(rng.uniform(0, 50, 2)), habit.gloss, folds
    )


def hue(rng: np.random.Generator, light=(0.2, 0.95), vivid: float = 0.75) -> tuple[float, float, float]:
    """Any colour: every hue alike, at times a grey, brightness within `light`, saturation up to `vivid`."""
    saturation = rng.beta(2, 2) * (0.15 if rng.random() < 0.22 else vivid)
    return colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(*light))


def muted(rng: np.random.Generator, light=(0.3, 1.0)) -> tuple[float, float, float]:
    """A colour for the surroundings: any hue, less vivid than clothes."""
    return hue(rng, light, 0.4)


def luma(colour) -> float:
    """Brightness (Rec. 601) of an RGB colour, 0-1."""
    return float(np.dot(colour, (0.299, 0.587, 0.114)))
