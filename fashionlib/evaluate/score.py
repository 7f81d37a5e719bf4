"""One checkpoint on one split: exact counts, and the columns that are derived from them."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fashionlib.core.classes import BACKGROUND
from fashionlib.evaluate import metrics
from fashionlib.evaluate.split import Photos, Split

BATCH = 8  # photos that go through a model together: so many are decoded, and a head's logits are held
SMALL = 256  # pixels of a photo's short side up to which batches pay on a CPU; a ViT-T at 512 loses a third


@dataclass(frozen=True)
class Counts:
    """Pixel counts of one checkpoint on a split of P photos and C classes."""

    cm: np.ndarray  # (C, C) int64, rows = truth
    per_photo: np.ndarray  # (P, 3, C) int64, `metrics.class_counts` of each photo
    parameters: int  # of the network
    seconds: float  # of prediction a photo, on this machine; decoding and counting left out


class Scorer:
    """Scorer of several checkpoints, which share decoded photos and, where it is the same, the network."""

    def __init__(self, split: Split) -> None:
        self.photos = Photos(split)
        self._model = None

    def score(self, checkpoint: Path, bar: tqdm) -> Counts:
        """Predict every photo at its own size and count; `bar` moves on by one a photo.

        Photos with the same input size go through the model together. Classes of the model that the data
        lack (hair and skin, in the class set main) are background.
        """
        import torch  # here, like the engine: it takes seconds, and what is all scored needs neither

        from fashionlib import models

        self._model = model = models.load(checkpoint, self._model)
        if torch.cuda.is_available():
            model.to("cuda")
        classes, names = self.photos.split.classes, model.metadata["classes"]
        onto = np.equal.outer([name if name in classes else BACKGROUND for name in names], classes)
        num_classes, seconds = len(classes), 0.0
        total = np.zeros((num_classes, num_classes), np.int64)
        per_photo = np.zeros((len(self.photos.split.ids), 3, num_classes), np.int64)
        most = BATCH if torch.cuda.is_available() or min(model.metadata["resize"]) <= SMALL else 1
        batches = self.photos.batches(lambda size: models.fitted_size(size, model.metadata), most)
        for places, images, targets in batches:
            started = time.perf_counter()
            preds = models.predict_batch(model, images)
            seconds += time.perf_counter() - started
            for place, pred, target in zip(places, preds, targets, strict=True):
                cm = metrics.confusion_matrix(pred, target, max(onto.shape))
                cm = cm[:num_classes, : len(names)] @ onto.astype(np.int64)
                total += cm
                per_photo[place] = metrics.class_counts(cm)
            bar.update(len(places))
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return Counts(total, per_photo, parameters, seconds / len(per_photo))


def summary(counts: Counts, split: Split) -> dict:
    """The scores of a split as columns; fractions, seconds a photo."""
    cm = counts.cm
    return {
        "aAcc": metrics.aacc(cm),
        "mAcc": metrics.macc(cm),
        "mIoU": metrics.miou(cm),
        "mIoU_no_background": metrics.miou(cm, background=False),
        "n_classes": metrics.n_classes(cm),
        "apparel_IoU": metrics.apparel_iou(cm, split.classes),
        "person_IoU": metrics.person_iou(cm, split.classes),
        "parameters": counts.parameters,
        "photos": len(split.ids),
        "seconds_per_photo": counts.seconds,
    }
