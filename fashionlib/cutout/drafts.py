"""Drafts of masks: a model's label maps of photos without labels, as a folder to correct in any editor.

`fashionlib convert folder` reads the corrected folder: correcting is quicker than painting.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from fashionlib.core import outputs, paths
from fashionlib.core.classes import check_name
from fashionlib.cutout import photos, segment, tasks
from fashionlib.data import prepared
from fashionlib.data.sources import folder


def draft(inputs, out: str | Path, model=None, groups: dict | None = None, progress: bool = True) -> Path:
    """Write photos/, masks/ and classes.csv (`folder.write`) to the new folder `out`; returns it.

    Args:
        inputs: photos as files, folders and globs, one or a list (`tasks.outputs`).
        model: loaded, or a checkpoint's path; None: the shipped model.
        groups: classes of one's own, as `segment.regrouped` has them; None: the model's.

    Raises ValueError or FileNotFoundError with one sentence for photos, a model or groups that can't be.
    """
    model = model if segment.is_loaded(model) else segment.load_model(model)
    names, values = regroup(model.metadata["classes"], groups)
    files = [photo for photo, _ in tasks.outputs(inputs, Path(out), "png")]
    outputs.lie_apart(out, files)
    labelled = ((photo, values[label_map(photo, model)]) for photo in tqdm(files, disable=not progress))
    return folder.write(out, labelled, names)


def label_map(photo: Path, model) -> np.ndarray:
    """The model's label map of a photo, uint8 (H, W)."""
    rgb = photos.read(photo).rgb
    scores = segment.probabilities(rgb, model)
    return segment.strongest(scores, [*range(len(scores))], rgb.shape[:2])


def regroup(classes, groups: dict | None) -> tuple[list[str], np.ndarray]:
    """Names of classes of one's own, and the value there of each of the `classes`: uint8 (C,).

    `groups` are as in `segment.regrouped`; None keeps the classes.
    """
    names = list(classes) if groups is None else [classes[0], *groups]
    return names, values_in(names, classes, groups)


def values_in(names, classes, groups: dict | None) -> np.ndarray:
    """Label value in `names` of each of a model's `classes`, uint8 (C,); 0, background, without one there.

    By `groups`, whose own names have to be among `names` (ValueError); None: a class of the same name.
    """
    for own in groups or ():
        check_name(own, names, "class of the photos")
    called = segment.regrouped(classes, groups) if groups else dict(zip(classes, classes, strict=True))
    return np.array([names.index(called[name]) if called[name] in names else 0 for name in classes], np.uint8)


def example(data: str, out: str | Path, count: int, groups: dict | None) -> Path:
    """A folder as your own may be: the first `count` training photos of `data`, relabelled; returns `out`.

    What lies in `out` is left as it is. Raises ValueError for a `count` below 1 or above the photos.
    """
    source, out = paths.data_folder(data), Path(out)
    names, values = regroup(prepared.require(source)["classes"], groups)
    ids = sorted(prepared.ids(source, "train"))
    if not 1 <= count <= len(ids):
        raise ValueError(f"photos={count}: {data} has 1 to {len(ids)} training photos.")
    if (out / folder.TABLE).is_file():
        return out
    labelled = ((source / f"images/{i}.jpg", values[prepared.label_map(source, i)]) for i in ids[:count])
    return folder.write(out, labelled, names)
