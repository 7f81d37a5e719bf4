"""Reader of a raw folder's ``label_descriptions.json``: its source, and its classes."""

from collections.abc import Sequence
from pathlib import Path

from fashionlib.core import checked_files, classes

DESCRIPTIONS = "label_descriptions.json"
OWN = "own"  # the class set of a raw folder with classes of its own


class RawError(ValueError):
    """Unusable raw data; the message is one sentence that names the file, row or value."""


def read(folder: str | Path) -> dict:
    """Content of label_descriptions.json, with at least "info" and "categories"; {} if the file is missing.

    Raises RawError if the file is unreadable or one of these two has the wrong form.
    """
    path = Path(folder) / DESCRIPTIONS
    if not path.exists():
        return {}
    advice = "fetch or convert it again"
    found = {"info": {}, "categories": []} | checked_files.json_object(path, {}, advice, RawError)
    if not isinstance(found["info"], dict) or not isinstance(found["info"].get("source", ""), str):
        raise RawError(f"{path}: 'info' must be an object, and its 'source' a text: {advice}.")
    entries = found["categories"]
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("id"), int) for entry in entries
    ):
        raise RawError(f"{path}: 'categories' must be a list of objects with a number 'id': {advice}.")
    return found


def own_classes(folder: str | Path) -> list[str] | None:
    """Names of a raw folder's own classes, position = ClassId; None if its classes are Fashionpedia's.

    Raises RawError like `read`, and for ids or names that can't be a class set.
    """
    found = read(folder)
    if found.get("info", {}).get("classes") != OWN:
        return None
    listed = {entry["id"]: entry.get("name") for entry in found["categories"]}
    names = [listed.get(i) for i in range(len(found["categories"]))]
    if not classes.is_class_set([classes.BACKGROUND, *names]):
        raise RawError(
            f"{Path(folder) / DESCRIPTIONS}: own classes need the ids 0, 1, … and 1 to {classes.IGNORE - 1} "
            "different names: convert the data again."
        )
    return names


def class_ids(folder: Path) -> Sequence[int]:
    """Allowed class ids: 0-45, and our hair and skin if label_descriptions.json lists them; or its own.

    Raises RawError if that file gives one of these ids another name: its rows would get the wrong classes.
    """
    if (own := own_classes(folder)) is not None:
        return range(len(own))
    listed = {entry["id"]: entry.get("name") for entry in read(folder).get("categories", [])}
    for i, name in listed.items():
        if name is not None and name != classes.NAMES.get(i, name):
            raise RawError(
                f"{folder / DESCRIPTIONS} names the id {i} {checked_files.shown(str(name))}, and here it is "
                f"{classes.NAMES[i]!r}: convert the data set to Fashionpedia's ids first."
            )
    return [*range(len(classes.CATEGORIES)), *(i for i in classes.PERSON if i in listed)]
