"""One confusion matrix, five taxonomies: scores beside published ones of fewer classes.

classes          each class by itself: 28 with background
supercategories  the ontology's: 9 among the 27 classes, 10 with background. With garment parts, closures and
                 decorations the ontology has 12, so the published 13 may be these and background
groups           upper, lower and whole body, feet, accessories (github.com/mberkay0/clothing-segmentation)
body             upper, lower and whole body (levindabhi/cloth-segmentation's three); all else is background
apparel          apparel and background

Pixels are merged, not scores: a skirt taken for shorts is right in all but the first. Hair and skin, which no
published one has, are background in all but the first.
"""

import numpy as np
import pandas as pd

from fashionlib.core.classes import BACKGROUND, CLASSES, IDS, PERSON, supercategory
from fashionlib.core.paths import ASSETS
from fashionlib.evaluate import metrics

_BODY = {"upperbody": "upper body", "lowerbody": "lower body", "wholebody": "whole body"}
_GROUPS = _BODY | {"legs and feet": "feet", BACKGROUND: BACKGROUND}


def taxonomies(classes=CLASSES) -> dict[str, list[str]]:
    """Taxonomy -> what it calls each of the `classes`."""
    nothing = {BACKGROUND, *PERSON.values()}
    kinds = [BACKGROUND if name in nothing else supercategory(IDS[name]) for name in classes]
    return {
        "classes": list(classes),
        "supercategories": kinds,
        "groups": [_GROUPS.get(kind, "accessories") for kind in kinds],
        "body": [_BODY.get(kind, BACKGROUND) for kind in kinds],
        "apparel": [BACKGROUND if kind == BACKGROUND else "apparel" for kind in kinds],
    }


def merge(cm: np.ndarray, names: list[str]) -> np.ndarray:
    """(K, K) int64: the confusion matrix `cm` (C, C) of classes that are called `names`, (C,), from now on.

    The K merged classes are in order of first appearance: background stays 0.
    """
    merged, kinds = pd.factorize(np.array(names, dtype=object))
    member = np.eye(len(kinds), dtype=np.int64)[merged]
    return member.T @ cm @ member


def table(cm: np.ndarray, classes=CLASSES) -> pd.DataFrame:
    """A row a taxonomy: classes that occur, aAcc, mAcc, mIoU, also without background, and mean F1."""
    rows = []
    for taxonomy, names in taxonomies(classes).items():
        merged = merge(cm, names)
        rows.append(
            {
                "taxonomy": taxonomy,
                "n_classes": metrics.n_classes(merged),
                "aAcc": metrics.aacc(merged),
                "mAcc": metrics.macc(merged),
                "mIoU": metrics.miou(merged),
                "mIoU_no_background": metrics.miou(merged, background=False),
                "F1": float(metrics.mean(metrics.f1(merged))),
            }
        )
    return pd.DataFrame(rows)


def published() -> pd.DataFrame:
    """Published scores: taxonomy, metric, value (a fraction), model, data, source, and what is in doubt."""
    return pd.read_csv(ASSETS / "published.csv")
