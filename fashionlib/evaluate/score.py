"""A checkpoint, or label maps that any tool predicted, on one split: exact counts, and columns from them."""

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from fashionlib.core.classes import IGNORE
from fashionlib.data import prepared
from fashionlib.evaluate import metrics
from fashionlib.evaluate.split import Photos, Split

BATCH = 8  # photos that go through a model together: so many are decoded, and a head's logits are held
SMALL = 256  # pixels of a photo's short side up to which batches pay on a CPU; a ViT-T at 512 loses a third
ERRORS = ("edge", "wrong_class", "missed", "invented")  # kinds of wrong pixels
EDGE = (
    0.01  # of a photo's short side: as far from another class a pixel is still at an edge, at least 1 pixel
)


@dataclass
class Counts:
    """Pixel counts of predictions on a split of P photos and C classes."""

    cm: np.ndarray  # (C, C) int64, rows = truth
    per_photo: np.ndarray  # (P, 3, C) int64, `metrics.class_counts` of each photo
    errors: np.ndarray  # (4,) int64, `error_split` of all photos
    parameters: float = np.nan  # of the network
    seconds: float = np.nan  # of prediction a photo, on this machine; decoding and counting left out

    @classmethod
    def of_none(cls, split: Split) -> "Counts":
        """The counts before any photo of `split`."""
        photos, classes = len(split.ids), len(split.classes)
        shapes = (classes, classes), (photos, 3, classes), len(ERRORS)
        return cls(*(np.zeros(shape, np.int64) for shape in shapes))

    def matrix(self, classes: list[str]) -> pd.DataFrame:
        """The confusion matrix as a table: the column `truth`, then a column a predicted class."""
        rows = pd.DataFrame(self.cm, index=pd.Index(classes, name="truth"), columns=classes)
        return rows.reset_index()

    def add(self, place: int, pred: np.ndarray, target: np.ndarray) -> None:
        """Count the prediction of the photo at `place`; ValueError if it does not fit `target`."""
        cm = metrics.confusion_matrix(pred, target, len(self.cm))
        self.cm += cm
        self.per_photo[place] = metrics.class_counts(cm)
        self.errors += error_split(pred, target)


def error_split(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Wrong pixels of two label maps (H, W) uint8 by kind, in the order of `ERRORS`: (4,) int64.

    At an edge: a pixel of another true class (or an ignored one) is at most `EDGE` away, in rows and in
    columns. Elsewhere: one class taken for another, a class taken for background, and the reverse.
    """
    reach = max(1, round(EDGE * min(target.shape)))
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    at_edge = cv2.dilate(target, square) != cv2.erode(target, square)
    wrong = (pred != target) & (target != IGNORE)
    kinds = np.select([at_edge[wrong], pred[wrong] == 0, target[wrong] == 0], [0, 2, 3], 1)
    return np.bincount(kinds, minlength=len(ERRORS))


class Scorer:
    """Scorer of several checkpoints, which share decoded photos and, where it is the same, the network."""

    def __init__(self, split: Split) -> None:
        self.photos = Photos(split)
        self._model = None

    def score(self, checkpoint: Path, bar: tqdm, called: dict[str, str] | None = None) -> Counts:
        """Predict every photo at its own size and count; `bar` moves on by one a photo.

        Photos with the same input size go through the model together. Classes of the model that the data
        lack (hair and skin, in the class set main) are background; `called` renames the model's first.
        """
        import torch  # here, like the engine: it takes seconds, and what is all scored needs neither

        from fashionlib import models

        self._model = model = models.load(checkpoint, self._model)
        if torch.cuda.is_available():
            model.to("cuda")
        classes = self.photos.split.classes
        names = [(called or {}).get(name, name) for name in model.metadata["classes"]]
        value_of = np.array([classes.index(name) if name in classes else 0 for name in names], np.uint8)
        counts, seconds = Counts.of_none(self.photos.split), 0.0
        most = BATCH if torch.cuda.is_available() or min(model.metadata["resize"]) <= SMALL else 1
        batches = self.photos.batches(lambda size: models.fitted_size(size, model.metadata), most)
        for places, images, targets in batches:
            started = time.perf_counter()
            preds = models.predict_batch(model, images)
            seconds += time.perf_counter() - started
            for place, pred, target in zip(places, preds, targets, strict=True):
                counts.add(place, value_of[pred], target)
            bar.update(len(places))
        counts.parameters = sum(parameter.numel() for parameter in model.parameters())
        counts.seconds = seconds / len(counts.per_photo)
        return counts


def read_predictions(split: Split, folder: Path) -> Counts:
    """Counts of label maps ``<folder>/<photo>.png``, one for each photo of `split`, whatever made them.

    Raises FileNotFoundError or ValueError, naming the file, for one that is missing, no PNG of one channel
    of 8 bits, of another size than the photo's label map, or with a value that is no class.
    """
    counts = Counts.of_none(split)
    for place, photo in enumerate(split.ids):
        file = folder / f"{photo}.png"
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} is missing: give a label map, <photo>.png, for each of the {len(split.ids)} photos."
            )
        pred = prepared.decode(file.read_bytes(), file, "save it as a PNG whose pixels are class numbers")
        try:
            counts.add(place, pred, prepared.label_map(split.folder, photo, len(split.classes)))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    return counts


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
