"""Reader, validator and writer of raw data: the layout of Kaggle's iMaterialist (Fashion) 2020.

    raw/<data>/train.csv                 one row per instance; its columns are COLUMNS
    raw/<data>/label_descriptions.json   info, categories (id, name, supercategory, level), attributes
    raw/<data>/train/<ImageId>.jpg       annotated photos
    raw/<data>/test/<ImageId>.jpg        photos without annotation
    raw/<data>/tags.csv                  ImageId,ClassId: image-level labels of photos in test/ (optional)
    raw/<data>/official_val.txt          ids of the annotated photos in the source's own validation split
                                         (optional)
    raw/<data>/train_only.txt            ids of photos never used for evaluation: composites, photos with
                                         model-made labels (optional)

`read` raises at the first bad row or photo; `check` collects all of them, and `prepare` skips them. The 2019
format is accepted too: there ImageId ends in ``.jpg``, ClassId is ``6_1_20`` (class, then attributes) and
the column AttributesIds is missing.

Classes are Fashionpedia's, unless "info" has ``"classes": "own"``: then "categories" names them, ids from 0.
"""

import functools
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from fashionlib.core import checked_files, classes, outputs
from fashionlib.core.files import atomic_write
from fashionlib.data import rle
from fashionlib.data.descriptions import DESCRIPTIONS, OWN, RawError, class_ids, own_classes  # noqa: F401
from fashionlib.data.descriptions import read as descriptions  # noqa: F401  (`raw.` has all of the layout)

COLUMNS = ("ImageId", "EncodedPixels", "Height", "Width", "ClassId", "AttributesIds")
CSV = "train.csv"
TAGS, OFFICIAL_VAL, TRAIN_ONLY = "tags.csv", "official_val.txt", "train_only.txt"


def fills_new_folder(doing: str) -> Callable[[Callable], Callable]:
    """Decorator that makes a function ``(source, out, …)`` fill the folder `out` atomically.

    The function writes to a temporary folder, which becomes `out` when it returns (`outputs.building`).
    Raises RawError if `out` already contains raw data: raw data are never changed.
    """

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def into_new_folder(source, out: str | Path, *args, **options) -> Path:
            refuse_complete(out)
            with outputs.building(out, CSV, doing, "raw data", [source]) as part:
                refuse_complete(out)  # again, under the lock: another process may have filled it
                function(source, part, *args, **options)
            return Path(out)

        return into_new_folder

    return decorate


def refuse_complete(out: str | Path) -> None:
    """Raise RawError if `out` contains ``train.csv``, which every converter writes last."""
    if (Path(out) / CSV).exists():
        raise RawError(f"{out} already holds raw data: delete it or choose another folder.")


def make_room(part: Path, photos: Iterable[Path]) -> None:
    """Create ``train/`` and ``test/`` in `part`, the temporary folder of `fills_new_folder`.

    Raises RawError if the disk has no room for copies of `photos` and their rows, or if a photo is not a
    file or its name can't be an id.
    """
    photos = [checked_files.check_file(photo, RawError) for photo in photos]
    for photo in photos:
        image_path(part, photo.stem)
    for name in ("train", "test"):
        (part / name).mkdir()
    needed = sum(photo.stat().st_size for photo in photos) * 6 // 5  # rows seldom exceed a fifth of the photo
    if needed > (free := shutil.disk_usage(part).free):
        needs, has = (tqdm.format_sizeof(size, "B") for size in (needed, free))
        raise RawError(f"{part.parent} needs {needs}, {has} are free: choose another disk.")


def require(folder: str | Path) -> Path:
    """Return `folder` if it contains raw data; raises FileNotFoundError with the command that fills it."""
    folder = Path(folder)
    if (folder / CSV).is_file():
        return folder
    by_hand = {
        "sample": "fashionlib sample",
        "imaterialist": f"unzip imaterialist-fashion-2020-fgvc7.zip -d {folder}",
    }
    source = folder.name if folder.name in ("ccp", "fashionpedia") else "folder"
    command = by_hand.get(folder.name, f"fashionlib convert {source} SRC {folder}")
    raise FileNotFoundError(f"No raw data in {folder}: fill it with `{command}` (README, section Data).")


def read(folder: str | Path) -> pd.DataFrame:
    """Validated instances of a raw folder: the CSV's columns and `row`, the line number in the file.

    ImageId, EncodedPixels and AttributesIds ("" for none) are strings; Height, Width, ClassId and row are
    int64. Raises RawError at the first bad row or photo. Photos are opened for their size, not decoded.
    """
    instances, problems = check(folder)
    if len(problems):
        first, more = problems.iloc[0], len(problems) - 1
        raise RawError(
            f"{Path(folder) / CSV}, row {first.row} (photo {checked_files.shown(first.ImageId)}): "
            + first.problem
            + (f" ({more} more such rows; `fashionlib prepare` lists them all)." if more else ".")
        )
    return instances


def check(folder: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Instances of the valid photos (columns as in `read`) and a table of problems, both sorted by row.

    The problems have the columns ImageId, row and problem (half a sentence). One bad row excludes its whole
    photo, because a label map without one of its instances would be wrong. Raises RawError if the file as a
    whole is unusable: missing, unreadable, without rows, without a required column.
    """
    folder = Path(folder)
    table = _table(folder / CSV)
    found = _row_problems(table, class_ids(folder))
    found |= _photo_problems(folder, table.drop(index=list(found)))
    rows = sorted(found)
    problems = table.loc[rows, ["ImageId", "row"]].reset_index(drop=True)
    problems["problem"] = [found[i] for i in rows]
    good = table[~table.ImageId.isin(problems.ImageId)].reset_index(drop=True)
    return good.astype({"Height": int, "Width": int, "ClassId": int}), problems


def write(
    folder: str | Path,
    instances: pd.DataFrame,
    source: str,
    info: dict | None = None,
    own: Sequence[str] | None = None,
) -> None:
    """Write train.csv and label_descriptions.json of a raw folder, each atomically, the CSV last.

    `instances` has the columns ImageId, EncodedPixels, Height, Width, ClassId (and AttributesIds, if any).
    `source`, the name of the data's origin, and `info` are stored in the JSON's "info". `own` names classes
    of one's own, position = ClassId. Writes no photos.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    occurring = set(instances.ClassId)
    names = [(i, n) for i, n in classes.NAMES.items() if i not in classes.PERSON or i in occurring]
    categories = [
        {"id": i, "name": name, "supercategory": classes.supercategory(i), "level": 2} for i, name in names
    ]
    if own is not None:
        categories = [{"id": i, "name": name} for i, name in enumerate(own)]
        info = {**(info or {}), "classes": OWN}
    text = {"info": {"source": source, **(info or {})}, "categories": categories, "attributes": []}
    with atomic_write(folder / DESCRIPTIONS) as path:
        path.write_text(json.dumps(text, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with atomic_write(folder / CSV) as path:
        instances.reindex(columns=COLUMNS).to_csv(path, index=False, lineterminator="\n")


def listed(folder: str | Path, name: str) -> set[str]:
    """Ids in the file `name` of `folder` (`OFFICIAL_VAL`, `TRAIN_ONLY`), one per line; empty without it."""
    path = Path(folder) / name
    return set(checked_files.lines(path, RawError)) if path.exists() else set()


def image_path(folder: str | Path, image_id: str, part: str = "train") -> Path:
    """``<folder>/<part>/<image_id>.jpg``; raises RawError if the id is not a plain file name (``../x``)."""
    if not is_file_name(image_id):
        raise RawError(
            f"The image id {image_id!r} is not a plain file name: use printable UTF-8 without / \\ and :."
        )
    return Path(folder) / part / f"{image_id}.jpg"


def _table(csv: Path) -> pd.DataFrame:
    """The CSV as strings, with `row` numbers (the header is row 1); the 2019 format becomes that of 2020."""
    try:
        table = checked_files.table(csv, COLUMNS[:-1], RawError)
    except FileNotFoundError:
        raise RawError(f"{csv} does not exist: fill {csv.parent} first (README, section Data).") from None
    table = table.reindex(columns=COLUMNS, fill_value="").fillna("")
    table["row"] = np.arange(len(table)) + 2
    table = table[(table[list(COLUMNS)] != "").any(axis=1)].reset_index(drop=True)  # blank lines
    if table.empty:
        raise RawError(f"{csv} has no rows below its header.")
    table["ImageId"] = table.ImageId.str.removesuffix(".jpg")
    table["ClassId"] = table.ClassId.str.partition("_")[0]
    return table


def _row_problems(table: pd.DataFrame, class_ids: Sequence[int]) -> dict[int, str]:
    """Problem of each bad row, by its index in `table`; converts Height, Width and ClassId to integers."""
    found: dict[int, str] = {}

    def flag(bad, sentence: str) -> None:
        for i in table.index[bad]:
            values = {k: checked_files.shown(v) if isinstance(v, str) else v for k, v in table.loc[i].items()}
            found.setdefault(i, sentence.format(**values))

    names = {name: is_file_name(name) for name in table.ImageId.unique()}
    flag(~table.ImageId.map(names), "ImageId {ImageId} is no plain file name: it could lead out of train/")
    for column in ("Height", "Width", "ClassId", "EncodedPixels"):
        broken = table[column].str.contains("\n", regex=False)  # makes all later row numbers wrong
        flag(broken, column + " {" + column + "} holds a line break: a quote was left open")
    for column in ("Height", "Width", "ClassId"):
        number = pd.to_numeric(table[column], errors="coerce")
        integer = (number % 1 == 0) & (number.abs() < 2**31)
        flag(~integer, column + " {" + column + "} is not a whole number")
        table[column] = number.where(integer, -1).astype(np.int64)
    for column in ("Height", "Width"):
        flag(table[column] < 1, column + " {" + column + "} is not positive")
        first = table.groupby("ImageId")[column].transform("first")
        flag(table[column] != first, column + " {" + column + "} differs from the photo's first row")
    hint = "0-45" + "".join(f", {i}" for i in class_ids if i in classes.PERSON)
    hint = f"0-{class_ids[-1]}" if isinstance(class_ids, range) else hint
    flag(~table.ClassId.isin(class_ids), "ClassId {ClassId} is not one of the known ids (" + hint + ")")
    flag(table.EncodedPixels.str.strip() == "", "EncodedPixels is empty")
    pixels = table.Height * table.Width
    for i, code, n in zip(table.index, table.EncodedPixels, pixels, strict=True):
        try:
            rle.runs(code, n)
        except ValueError as error:
            found.setdefault(i, str(error))
    return found


def _photo_problems(folder: Path, table: pd.DataFrame) -> dict[int, str]:
    """Problem of each bad photo file, by the index of the photo's first row in `table`."""
    found = {}
    for i, photo in table.drop_duplicates("ImageId").iterrows():
        path = image_path(folder, photo.ImageId)
        try:
            height, width = photo_size(path)
        except RawError as error:
            found[i] = str(error)[:-1]
            continue
        if (height, width) != (photo.Height, photo.Width):
            found[i] = (
                f"Height x Width {photo.Height} x {photo.Width} differ from the photo {path}, "
                f"which is {height} x {width}"
            )
    return found


def photo_size(photo: Path) -> tuple[int, int]:
    """(height, width) of the stored pixels, from the file header; masks ignore the EXIF orientation.

    Raises RawError for a missing or unreadable photo.
    """
    try:
        with Image.open(checked_files.check_file(photo)) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise RawError(f"The photo {photo} is missing.") from None
    except checked_files.DAMAGED as error:
        raise RawError(f"The photo {photo} can't be read ({checked_files.reason(error)}).") from None


def check_max_bad(share: float) -> None:
    """Raise ValueError unless the fraction `share` lies between 0 and 1."""
    if not 0 <= share <= 1:
        raise ValueError(f"max_bad={share} must be a share of the photos, from 0 to 1.")


def is_file_name(name: str) -> bool:
    """Whether `name` is valid as a file name and as a line in a list of ids."""
    plain = name.isprintable() and name == name.strip() and not set(name) & set("/\\:")
    return plain and name not in ("", ".", "..")
