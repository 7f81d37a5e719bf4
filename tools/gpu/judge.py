"""Cut-out checkpoints on validation photos: counts of every photo, and differences with paired intervals.

A counts file (.npz) holds, for P photos and C classes: ``photos`` (P,), ``apparel`` and ``person`` (P, 2)
intersection and union in pixels, ``classes`` (P, 3, C) `metrics.class_counts`.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from fashionlib.cutout.segment import SUBJECTS
from fashionlib.evaluate import metrics
from fashionlib.evaluate.split import Split
from tools.cutout_model.score import measure
from tools.cutout_model.score.methods import ModelCutouts

Counts = dict[str, np.ndarray]
REDRAWS = 2000


def counts(checkpoint: str | Path, split: Split, threads: int = 1) -> Counts:
    """The arrays of a counts file, of the checkpoint's cut-outs; on the GPU if there is one."""
    method = ModelCutouts(Path(checkpoint))
    method.check(split)
    _ = method.model  # loaded once, before the threads ask for it
    parts = [replace(split, ids=split.ids[i::threads]) for i in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        rows = sum(pool.map(lambda part: list(measure.rows(method, part)), parts), [])
    return gathered(sorted(rows, key=lambda row: row["photo"]))


def gathered(rows: list[dict]) -> Counts:
    """The arrays of a counts file, of rows with ``photo``, ``confusion`` (C, C) and each subject's areas."""
    classes = np.array([metrics.class_counts(row["confusion"]) for row in rows])
    subjects = {name: np.array([row[name] for row in rows]) for name in SUBJECTS}
    return {"photos": np.array([row["photo"] for row in rows]), "classes": classes} | subjects


def scores(found: Counts, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """person_IoU, apparel_IoU and mIoU of R draws of the photos, (R,): `weights` (R, P) is how often each.

    mIoU is over the classes that the photos show, as in scores.csv. None: every photo once.
    """
    weights = np.ones((1, len(found["photos"]))) if weights is None else weights
    areas = {name: (weights @ found[name]).T for name in SUBJECTS}
    shown = found["classes"][..., found["classes"][:, 1].sum(axis=0) > 0]
    redrawn = (weights @ shown.reshape(len(shown), -1)).reshape(len(weights), *shown.shape[1:])
    iou = {f"{name}_IoU": metrics.ratio(*areas[name]) for name in sorted(areas, reverse=True)}
    return iou | {"mIoU": metrics.mean(metrics.iou_of(redrawn.swapaxes(0, 1)))}


def differences(new: Counts, old: Counts, redraws: int = REDRAWS, seed: int = 0) -> dict[str, tuple]:
    """(difference, low, high) of each score, new - old: a paired bootstrap over photos, 95 %.

    Raises ValueError if the two are not of the same photos.
    """
    if not np.array_equal(new["photos"], old["photos"]):
        raise ValueError("The two files are not of the same photos: score both on one split.")
    photos = len(new["photos"])
    drawn = np.random.default_rng(seed).multinomial(photos, np.full(photos, 1 / photos), size=redraws)
    table = {}
    for name, value in scores(new).items():
        step = scores(new, drawn)[name] - scores(old, drawn)[name]
        table[name] = float((value - scores(old)[name])[0]), *np.quantile(step, [0.025, 0.975]).tolist()
    return table


def line(found: Counts) -> str:
    """The scores as a line."""
    return ", ".join(f"{name} {value[0]:.4f}" for name, value in scores(found).items())
