"""Folders that `fashionlib.data.prepare` wrote, for the stages that come after it: its text files, checked.

Photos lie in ``images/<id>.jpg``, label maps in ``labels/<id>.png``.
"""

import os
from collections.abc import Collection
from pathlib import Path

import numpy as np

from fashionlib.core import checked_files, classes
from fashionlib.data import png, raw

INFO = "dataset.json"
AGAIN = "prepare the data again"
_KEYS = {"data": str, "class_set": str, "classes": list, "fingerprint": str, "counts": dict}


def require(folder: str | Path) -> dict:
    """``dataset.json`` of a prepared folder, checked.

    Raises FileNotFoundError, with the command that prepares the data, where it is missing, and ValueError
    for one that is torn or not of this version. Label values are positions in "classes": a list that is not
    its class set's would name them all wrongly.
    """
    path = Path(folder) / INFO
    if not path.exists():
        name = path.parent.name
        command = "sample" if name == "sample" else f"prepare raw/{name} data/{name}"
        raise FileNotFoundError(f"No prepared data in {folder}: make it with `fashionlib {command}`.")
    found = checked_files.json_object(path, _KEYS, AGAIN)
    if found["classes"] != list(classes.CLASS_SETS.get(found["class_set"], ())):
        raise ValueError(f"{path}: its classes are not those of a class set {found['class_set']!r}: {AGAIN}.")
    return found


def split_names(folder: str | Path) -> list[str]:
    """The lists of photos that there are: train, val, test, perhaps official_val."""
    return sorted(path.stem for path in (Path(folder) / "splits").glob("*.txt"))


def ids(folder: str | Path, split: str) -> list[str]:
    """The ids in a list of photos. Raises ValueError for an unknown list, or a line that is no id."""
    path = Path(folder) / "splits" / f"{classes.check_name(split, split_names(folder), 'split')}.txt"
    found = checked_files.lines(path)
    for name in found:
        try:
            raw.image_path(folder, name)
        except raw.RawError as error:
            raise ValueError(f"{path}: {str(error).rstrip('.')}; {AGAIN}.") from None
    return found


def check_files(folder: str | Path, ids: Collection[str]) -> None:
    """Raise ValueError, naming the file, where a photo or its label map is missing; opens none."""
    for name, suffix in (("images", ".jpg"), ("labels", ".png")):
        where = Path(folder) / name
        there = set(os.listdir(where)) if where.is_dir() else set()
        if missing := next((i for i in ids if f"{i}{suffix}" not in there), None):
            raise ValueError(f"{where / missing}{suffix} is missing: {AGAIN}.")


def label_map(folder: str | Path, photo: str, n_classes: int = 255) -> np.ndarray:
    """A photo's label map, uint8 (H, W). Raises ValueError for a damaged one, or labels that are none."""
    path = Path(folder) / "labels" / f"{photo}.png"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} can't be read ({checked_files.reason(error)}): {AGAIN}.") from None
    return png.checked(png.read(content, path), n_classes, path)
