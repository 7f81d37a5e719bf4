"""One checkpoint on one split: exact counts, and the columns that are derived from them."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fashionlib import metrics
from fashionlib.evaluate.split import Photos, Split


@dataclass(frozen=True)
class Scores:
    """What one checkpoint did on a split of P photos and C classes."""

    cm: np.ndarray  # (C, C) int64, rows = truth
    areas: np.ndarray  # (P, 3, C) int64, `metrics.areas` of each photo
    seconds: float  # of prediction a photo, on this machine; decoding and counting left out


def score(checkpoint: Path, photos: Photos, bar: tqdm) -> Scores:
    """Predict every photo at its own size and count; `bar` moves on by one a photo."""
    import torch  # here, like the engine: it takes seconds, and a run without new checkpoints needs neither

    from fashionlib import models

    model = models.load(checkpoint)
    if torch.cuda.is_available():
        model = model.to("cuda")
    num_classes = len(photos.split.classes)
    total, areas, seconds = np.zeros((num_classes, num_classes), np.int64), [], 0.0
    for image, target in photos:
        started = time.perf_counter()
        pred = models.predict(model, image)
        seconds += time.perf_counter() - started
        cm = metrics.confusion_matrix(pred, target, num_classes)
        total += cm
        areas.append(metrics.areas(cm))
        bar.update()
    return Scores(total, np.stack(areas), seconds / len(areas))


def summary(scores: Scores, split: Split) -> dict:
    """The scores of a split as columns; fractions, seconds a photo."""
    cm = scores.cm
    return {
        "aAcc": metrics.aacc(cm),
        "mIoU": metrics.miou(cm),
        "mIoU_no_background": metrics.miou(cm, background=False),
        "n_classes": metrics.n_classes(cm),
        "apparel_IoU": metrics.apparel_iou(cm, split.classes),
        "person_IoU": metrics.person_iou(cm, split.classes),
        "photos": len(split.ids),
        "seconds_per_photo": scores.seconds,
    }
