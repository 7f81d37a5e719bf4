"""Does it help to name garments by region or by photo instead of pixel by pixel? Rules that were tried.

A rule maps class probabilities float32 (C, h, w) to a label map uint8 (h, w). Each is compared with the plain
argmax by mIoU, paired by photo. The checkpoint must not have learnt from the photos: of the shipped model's
ancestors, that of commit 38ce7a0 knows no validation photo.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from fashionlib.core.classes import garment_values
from fashionlib.core.files import write_csv
from fashionlib.cutout import segment
from fashionlib.evaluate import areas, compare, metrics
from fashionlib.evaluate.split import Split

PAIRS = (
    ("shirt, blouse", "top, t-shirt, sweatshirt"),
    ("dress", "skirt"),
    ("pants", "shorts"),
    ("jacket", "coat"),
)
SMALL = 1e-3  # of the photo: regions that are named by what is around them
AROUND = np.ones((9, 9), np.uint8)
Rule = Callable[[np.ndarray], np.ndarray]


def compare_rules(data: str, checkpoint: Path, out: Path, split: str = "val") -> pd.DataFrame:
    """A row a rule: mIoU, and its difference to the argmax with a 95 % interval; written to `out`."""
    part, model = Split.read(data, split), segment.load_model(checkpoint, "torch")
    rules = _rules(list(part.classes))
    counts = {name: [] for name in rules}
    for photo in tqdm(part.ids, "naming", unit="photo"):
        p = segment.probabilities(np.asarray(Image.open(part.folder / "images" / f"{photo}.jpg")), model)
        truth = np.asarray(Image.open(part.folder / "labels" / f"{photo}.png"))
        truth = cv2.resize(truth, p.shape[:0:-1], interpolation=cv2.INTER_NEAREST)
        for name, rule in rules.items():
            cm = metrics.confusion_matrix(rule(p.copy()), truth, len(part.classes))
            counts[name].append(metrics.class_counts(cm))
    arms = {name: {0: areas.table(part, 0, np.array(each))} for name, each in counts.items()}
    found = {
        name: compare.difference(arm, arms["argmax"], classes=part.classes) for name, arm in arms.items()
    }
    rows = [
        {
            "rule": name,
            "mIoU": d.a,
            "difference": d.difference,
            "low": d.low,
            "high": d.high,
            "verdict": d.verdict,
        }
        for name, d in found.items()
    ]
    table = pd.DataFrame(rows).assign(
        photos=len(part.ids), data=data, split=split, checkpoint=checkpoint.name
    )
    write_csv(out, table.round(5))
    return table


def _rules(classes: list[str]) -> dict[str, Rule]:
    garments = garment_values(classes)
    pairs = [[classes.index(name) for name in pair] for pair in PAIRS]
    return {
        "argmax": lambda p: p.argmax(0),
        "region: its mean": lambda p: _regions(p, garments, 0),
        "region: its mean, small ones by what is around": lambda p: _regions(p, garments, SMALL),
        **{
            f"photo: {classes[a]} or {classes[b]}, not both": lambda p, a=a, b=b: _either(p, a, b)
            for a, b in pairs
        },
        "photo: drop classes of mean probability < 0.35": lambda p: _sure(p, garments, np.mean, 0.35),
        "photo: drop classes of greatest probability < 0.6": lambda p: _sure(p, garments, np.max, 0.6),
        "photo: weight classes by their mean to the 0.3": lambda p: _weighted(p, garments, 0.3),
    }


def _regions(p: np.ndarray, garments: list[int], small: float) -> np.ndarray:
    """The argmax, with each connected region of a garment named by a mean over it or, if small, around it."""
    label = p.argmax(0)
    named, worn = label.copy(), p[garments].sum(0) > 0.5
    for value in np.intersect1d(label, garments):
        n, pieces = cv2.connectedComponents((label == value).astype(np.uint8), connectivity=8)
        for region in (pieces == piece for piece in range(1, n)):
            where = region
            if region.mean() < small:
                where = worn & (cv2.dilate(region.astype(np.uint8), AROUND) > 0)
            if where.any():
                named[region] = garments[p[garments][:, where].mean(axis=1).argmax()]
    return named


def _either(p: np.ndarray, a: int, b: int) -> np.ndarray:
    """The argmax after all of two classes went to the one with more probability in the photo."""
    where = np.isin(p.argmax(0), (a, b))
    more, less = (a, b) if p[a][where].sum() >= p[b][where].sum() else (b, a)
    if where.any():
        p[more] += p[less]
        p[less] = 0
    return p.argmax(0)


def _sure(p: np.ndarray, garments: list[int], of: Callable, least: float) -> np.ndarray:
    """The argmax without garments whose probability, where they win, is too low in the photo."""
    label = p.argmax(0)
    unsure = [value for value in np.intersect1d(label, garments) if of(p[value][label == value]) < least]
    p[unsure] = 0
    return np.where(label == 0, 0, p.argmax(0))


def _weighted(p: np.ndarray, garments: list[int], power: float) -> np.ndarray:
    """The argmax after each garment was weighted by its mean probability on the worn pixels of the photo."""
    worn = p[garments].sum(0)
    if (worn > 0.5).any():
        seen = p[garments][:, worn > 0.5].mean(axis=1)
        p[garments] *= ((seen / seen.max()) ** power)[:, None, None]
        p[garments] *= worn / np.maximum(p[garments].sum(0), 1e-9)
    return p.argmax(0)
