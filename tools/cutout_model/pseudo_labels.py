"""Pseudo-labels: photos without masks, labelled by a model, for the next model to learn from.

    raw/<out>/train.csv, train/    the raw folder as it is, photos of its test/ with pseudo-labels, and the
                                   photos of other raw folders
    raw/<out>/train_only.txt       ids of what was added: `prepare` puts them into train, never into val, test

Where a photo's classes are known (``tags.csv``), the model may only choose among them, and a class's prior
is divided out: p(class | pixel, tagged) ~ p(class | pixel) / p(tagged) by Bayes' rule. On CCP's validation
photos the labels of a model of mIoU 0.25 so have mIoU 0.55 (0.42 without that division). Lee: Pseudo-Label,
ICML workshop 2013; Xie et al.: Self-training with Noisy Student, arXiv 1911.04252.
"""

import hashlib
import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm.auto import tqdm

from fashionlib import models
from fashionlib.core import checked_files, classes, files, outputs
from fashionlib.data import raw, rle
from fashionlib.data.prepare import make_fingerprint

_NEVER = -1e4  # a logit that wins nowhere, and can still be interpolated
_CLASS_IDS = {str(i) for i in (*range(len(classes.CATEGORIES)), *classes.PERSON)}
_DRAWN = ".drawn"  # label maps so far: what a stopped run goes on from


def add(
    source: str | Path,
    out: str | Path,
    model=None,
    others: Sequence[str | Path] = (),
    without: Sequence[str] = (),
    progress: bool = True,
) -> Path:
    """Write the raw folder `source` with more training photos to `out`; returns `out`.

    Args:
        source: a raw folder; the photos of its ``test/`` that ``tags.csv`` lists are labelled by `model`.
        out: a new raw folder. The same command goes on where an interrupted one was.
        model: a model of `models.load`; None labels nothing.
        others: raw folders whose photos are added whole, such as composites (`flatlay`).
        without: ids of tagged photos that stay out, such as near-duplicates of photos to be scored on.

    Raises:
        RawError: `out` is complete already, ``tags.csv`` is missing or lacks an id of `without`, or
            a photo id occurs twice.
        files.FolderLocked, outputs.Taken: another process writes `out`; it holds something else.
    """
    folders = [Path(source), *map(Path, others)]
    raw.refuse_complete(out)
    key = _fingerprint(folders, model, without)
    with outputs.building(out, raw.CSV, "adding pseudo-labels to", "raw data", folders, key=key) as part:
        raw.refuse_complete(out)
        _add(part, *folders, model=model, without=without, progress=progress)
    return Path(out)


def _fingerprint(folders: list[Path], model, without: Sequence[str]) -> str:
    """A hash of all that decides what `add` writes."""
    tags = folders[0] / raw.TAGS
    drawn = [model.metadata, tags.read_bytes().hex() if tags.is_file() else None] if model is not None else []
    total = [drawn, sorted(without), *(make_fingerprint(folder, {}) for folder in folders)]
    return hashlib.sha256(json.dumps(total, default=str).encode()).hexdigest()[:16]


def _add(out: Path, source: Path, *others: Path, model, without: Sequence[str], progress: bool) -> None:
    """What `add` writes, to a folder that may hold some of it."""
    tables = {folder: raw.read(folder) for folder in (source, *others)}
    tags = _tags(source, without) if model is not None else {}
    _check_distinct([*(set(table.ImageId) for table in tables.values()), set(tags)])
    photos = [raw.image_path(folder, i) for folder, table in tables.items() for i in table.ImageId.unique()]
    photos += [raw.image_path(source, i, "test") for i in tags]
    for folder in ("train", "test", _DRAWN):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for photo in photos:
        checked_files.check_file(photo, raw.RawError)
        _link(photo, out / "train" / photo.name)
    rates = _rates(tables[source])
    drawn = [
        row
        for i in tqdm(tags, "labelling", unit="photo", mininterval=1, disable=not progress)
        for row in _rows(out, i, {c: rates.get(c, 1.0) for c in tags[i]}, model)
    ]
    _finish(source, out, [*tables.values(), pd.DataFrame(drawn, columns=raw.COLUMNS)], model)


def pseudo_label(model, image: np.ndarray, rates: Mapping[int, float]) -> np.ndarray:
    """Label map uint8 (H, W) of a photo uint8 RGB (H, W, 3) of which the classes are known.

    Args:
        rates: the category ids that the photo shows, each with the share of all photos that show it.
            Background, hair and skin may always occur.

    The logits of what the model looks at (`models.crops`) and of its mirror image are averaged.
    """
    values, crop = _label_values(model), models.crops(model, [image])[0]
    part = crop.cut(image)
    mirrored = models.upsampled_logits(model, np.ascontiguousarray(part[:, ::-1]), size=crop.size).flip(2)
    scores = (models.upsampled_logits(model, part, size=crop.size) + mirrored) / 2
    kept = torch.full_like(scores, _NEVER)
    kept[0] = scores[0]
    for i in {*rates, *classes.PERSON} & set(values):
        kept[values[i]] = scores[values[i]] - np.log(rates.get(i, 1.0))
    return crop.paste(models.upsampled_argmax(kept, part.shape[:2]), image.shape[:2])


def _rates(instances: pd.DataFrame) -> dict[int, float]:
    """Share of the annotated photos that show each category id."""
    photos = instances.ImageId.nunique()
    return {i: rows.ImageId.nunique() / photos for i, rows in instances.groupby("ClassId")}


def _rows(out: Path, image_id: str, rates: dict[int, float], model) -> list[tuple]:
    """The instances of one photo of `out`, drawn by `model` now or before."""
    path = out / _DRAWN / f"{image_id}.png"
    if not path.exists():
        with Image.open(raw.image_path(out, image_id)) as photo:
            label = pseudo_label(model, np.asarray(photo.convert("RGB")), rates)
        with files.atomic_write(path) as part:
            Image.fromarray(label).save(part)
    label, ids = np.asarray(Image.open(path)), {v: i for i, v in _label_values(model).items()}
    present = np.unique(label[label > 0]).tolist()
    return [(image_id, rle.encode(label == value), *label.shape, ids[value], "") for value in present]


def _label_values(model) -> dict[int, int]:
    """Category id -> label value of a model, found by its class names."""
    names = tuple(model.metadata["classes"])
    for class_set, known in classes.CLASS_SETS.items():
        if known == names:
            return classes.label_values(class_set)
    raise ValueError(f"A model with {len(names)} classes of its own can't draw masks for the raw layout.")


def _tags(source: Path, without: Sequence[str]) -> dict[str, set[int]]:
    """The category ids of each photo that ``tags.csv`` lists, but for those of `without`."""
    path = source / raw.TAGS
    if not path.exists():
        raise raw.RawError(f"{path} does not exist: without it no photo's classes are known; convert again.")
    table = checked_files.table(path, ("ImageId", "ClassId"), raw.RawError)
    for row, (image_id, text) in enumerate(zip(table.ImageId, table.ClassId, strict=True), start=2):
        if not raw.is_file_name(image_id) or text not in _CLASS_IDS:
            image_id, text = checked_files.shown(image_id), checked_files.shown(text)
            raise raw.RawError(
                f"{path}, row {row}: {image_id} with the class {text} is not a photo's id and a class id"
                f" of 0-{max(classes.PERSON)}: repair the row, or convert again."
            )
    table["ClassId"] = table.ClassId.astype(int)
    if unknown := sorted(set(without) - set(table.ImageId)):
        raise raw.RawError(f"{path} has no photo {unknown[0]!r} to leave out.")
    kept = table[~table.ImageId.isin(without)]
    return {image_id: set(rows.ClassId) for image_id, rows in kept.groupby("ImageId")}


def _check_distinct(ids: list[set[str]]) -> None:
    for one, other in itertools.combinations(ids, 2):
        if both := one & other:
            raise raw.RawError(f"The photo id {min(both)!r} occurs in two of the folders: rename one.")


def _link(source: Path, target: Path) -> None:
    """Whole or not at all: what is there already is from a run that was stopped."""
    if not target.exists():
        with files.atomic_write(target) as part:
            files.link(source, part)


def _finish(source: Path, out: Path, tables: list[pd.DataFrame], model) -> None:
    """The text files, train.csv last: its presence says that all is there."""
    added = sorted({i for table in tables[1:] for i in table.ImageId})
    files.write_text(out / raw.TRAIN_ONLY, "".join(f"{i}\n" for i in added))
    if (source / raw.OFFICIAL_VAL).exists():
        shutil.copyfile(source / raw.OFFICIAL_VAL, out / raw.OFFICIAL_VAL)
    info = raw.descriptions(source).get("info", {})
    name = f"{info.pop('source', source.name)} and {len(added)} photos for training alone"
    if model is not None:
        info["masks_drawn_by"] = f"{model.metadata['run']}, epoch {model.metadata['epoch']}"
    shutil.rmtree(out / _DRAWN)
    raw.write(out, pd.concat(tables, ignore_index=True), name, info)
