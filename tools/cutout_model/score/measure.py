"""One row a photo: the counts that every score is a sum of."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fashionlib.core.classes import BACKGROUND, IGNORE, PERSON
from fashionlib.evaluate import metrics
from fashionlib.evaluate.split import Split
from tools.cutout_model.score.boundary import boundary_f


def rows(method, split: Split) -> Iterator[dict]:
    """A row for each photo of `split`, in order.

    photo; confusion: (C, C) `metrics.confusion_matrix` of the label map, None without classes; for each
    subject that the method can cut out, <subject>: [intersection, union] in pixels, and <subject>_F, against
    the very file that a user gets: a pixel belongs to the cut-out from alpha 128 on.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for photo in split.ids:
            yield _row(method, split, photo, Path(scratch) / "cut.png")


def _row(method, split: Split, photo: str, cut: Path) -> dict:
    rgb, target = split.load(photo)
    label = method.label_map(rgb)
    confusion = None if label is None else metrics.confusion_matrix(label, target, len(split.classes))
    row = {"photo": photo, "confusion": confusion}
    for subject in method.subjects:
        if method.tells_subjects or subject == method.subjects[0]:  # else: the same file again
            method.cut(split.folder / "images" / f"{photo}.jpg", cut, subject)
        with Image.open(cut) as picture:
            mask = np.asarray(picture.getchannel("A")) >= 128
        truth = is_subject(subject, split.classes)[target]
        mask &= target != IGNORE  # ignored pixels are background on both sides
        row[subject] = [int((mask & truth).sum()), int((mask | truth).sum())]
        row[f"{subject}_F"] = boundary_f(mask, truth)
    return row


def is_subject(subject: str, classes) -> np.ndarray:
    """(256,) bool: which label values are ``apparel``, or ``person`` (apparel, hair and skin)."""
    others = {BACKGROUND} | (set(PERSON.values()) if subject == "apparel" else set())
    table = np.zeros(256, bool)
    table[: len(classes)] = [name not in others for name in classes]
    return table
