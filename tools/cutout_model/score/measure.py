"""One row a photo: the counts that every score is a sum of, kept so that a stopped run goes on."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fashionlib.core.classes import BACKGROUND, IGNORE, PERSON
from fashionlib.evaluate import metrics
from fashionlib.evaluate.split import Split
from tools.cutout_model.score.boundary import boundary_f

_VERSION = 1  # raise it when the same cut-outs give other rows


def rows(method, split: Split, folder: Path) -> Iterator[dict]:
    """A row for each photo of `split`, in order; those in ``<folder>/<method>-<keys>.jsonl`` are kept.

    photo; areas: (3, C) `metrics.class_counts` of the label map, None without classes; for each subject that the
    method can cut out, <subject>: [intersection, union] in pixels, and <subject>_F, against the very file
    that a user gets: a pixel belongs to the cut-out from alpha 128 on.
    """
    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", method.name)
    path = folder / f"{slug}-{method.key}-{split.dataset['fingerprint']}-{_VERSION}.jsonl"
    kept = _read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file, tempfile.TemporaryDirectory() as scratch:
        for photo in split.ids:
            if photo not in kept:
                kept[photo] = _row(method, split, photo, Path(scratch))
                file.write(json.dumps(kept[photo]) + "\n")
                file.flush()
            yield kept[photo]


def _read(path: Path) -> dict[str, dict]:
    """The rows of an earlier run; a line that a kill tore is dropped, for rows are appended after it."""
    if not path.is_file():
        return {}
    text = path.read_bytes()
    whole, _, torn = text.rpartition(b"\n")
    if torn:
        path.write_bytes(text[: len(text) - len(torn)])
    return {row["photo"]: row for row in map(json.loads, whole.splitlines())}


def _row(method, split: Split, photo: str, scratch: Path) -> dict:
    rgb, target = split.load(photo)
    counted = target != IGNORE
    label = method.label_map(rgb)
    row = {"photo": photo, "areas": None}
    if label is not None:
        cm = metrics.confusion_matrix(label, target, len(split.classes))
        row["areas"] = metrics.class_counts(cm).tolist()
    for subject in method.subjects:
        if method.tells_subjects or subject == method.subjects[0]:  # else: the same file again
            method.cut(split.folder / "images" / f"{photo}.jpg", scratch / "cut.png", subject)
        with Image.open(scratch / "cut.png") as picture:
            mask = np.asarray(picture.getchannel("A")) >= 128
        truth = values_of(subject, split.classes)[target]
        mask, truth = mask & counted, truth & counted  # ignored pixels are ground on both sides
        row[subject] = [int((mask & truth).sum()), int((mask | truth).sum())]
        row[f"{subject}_F"] = boundary_f(mask, truth)
    return row


def values_of(subject: str, classes) -> np.ndarray:
    """(256,) bool: which label values are ``apparel``, or ``person`` (apparel, hair and skin)."""
    others = {BACKGROUND} | (set(PERSON.values()) if subject == "apparel" else set())
    table = np.zeros(256, bool)
    table[: len(classes)] = [name not in others for name in classes]
    return table
