"""What the converters of your own photos share: class names, photos as they are seen, rows of shapes.

Classes are Fashionpedia's 46, ``hair``, ``skin`` and ``background``, or with `own` any names beside
background, numbered in their order. Later shapes cover earlier ones, as annotation tools show them.
"""

import io
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import ExifTags, Image, ImageOps

from fashionlib.core import checked_files, classes, processes
from fashionlib.data import raw, rle

BACKGROUND = -1
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class Classes(NamedTuple):
    """Class id of each key (a colour, a value, a label) of the kind `key`; `own` as in `raw.write`."""

    ids: dict[str | int, int]
    own: list[str] | None
    key: str = "label"


class Photo(NamedTuple):
    """A photo that an export describes."""

    path: Path  # with `content`: where it would lie
    where: str  # the place in the export, to begin a message
    size: tuple[int, int]  # (height, width) that the export states
    shapes: list[tuple[str, object]]  # (label, shape), later ones on top
    content: bytes | None = None  # the photo itself, where the export holds it


def known_classes(labels: Iterable[str], where: str, table: Path | None, own: bool) -> Classes:
    """Classes of the `labels` of an export: as the `table` ``label,class`` says, or by the same name.

    Raises RawError, beginning with `where`, for a label that the table lacks or that is no class.
    """
    labels = list(dict.fromkeys(labels))
    if table is None:
        return Classes(*class_ids(dict(zip(labels, labels, strict=True)), own, lambda label: where))
    found = read_table(table, {"label": str}, own)
    if missing := next((label for label in labels if label not in found.ids), None):
        raise raw.RawError(f"{where}: {table} has no row for the label {checked_files.shown(missing)}.")
    return found


def class_ids(names: dict, own: bool, where: Callable) -> tuple[dict, list[str] | None]:
    """Class id of each key of `names` (key -> name), and the own classes; ``where(key)`` begins a message."""
    known = {classes.BACKGROUND: BACKGROUND, **classes.IDS}
    if own:
        listed = [name for name in dict.fromkeys(names.values()) if name != classes.BACKGROUND]
        known = {classes.BACKGROUND: BACKGROUND} | {name: i for i, name in enumerate(listed)}
        if not classes.is_class_set(list(known)):
            raise raw.RawError(f"{where(None)}: own classes take 1 to 254 plain names: {listed[:3]}.")
    for key, name in names.items():
        try:
            classes.check_name(name, known, "class")
        except ValueError as error:
            hint = "--own-classes takes any name."
            raise raw.RawError(f"{where(key)}: {error} {hint}") from None
    return {key: known[name] for key, name in names.items()}, listed if own else None


def read_table(path: Path, keys: dict[str, Callable[[str], str | int]], own: bool) -> Classes:
    """Classes of a table of two columns: one of `keys`, each with the reader of its cells, and ``class``."""
    columns = " or ".join(f"'{key},class'" for key in keys)
    try:
        checked_files.check_file(path, raw.RawError)
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError:
        raise raw.RawError(
            f"{path} is missing: it says which {next(iter(keys))} is which class, in a row for each."
        ) from None
    except raw.RawError:
        raise
    except UnicodeDecodeError:
        raise raw.RawError(f"{path} is no UTF-8 text: save it with the encoding UTF-8.") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise raw.RawError(
            f'{path} can\'t be read ({str(error).strip()}): quote names with commas, as in "bag, wallet".'
        ) from None
    key = next((name for name in keys if list(table.columns) == [name, "class"]), None)
    if key is None or table.empty:
        raise raw.RawError(f"{path} must have the columns {columns} and a row a class.")
    names, rows = {}, {}
    for row, (text, name) in enumerate(table.itertuples(index=False), start=2):
        if not text and not name:
            continue  # a blank line
        try:
            value = keys[key](text)
            if names.setdefault(value, name.strip()) != name.strip():
                raise ValueError(f"The {key} {text!r} means another class further up: keep one of the two.")
        except ValueError as error:
            raise raw.RawError(f"{path}, row {row}: {error}") from None
        rows.setdefault(value, row)
    ids, listed = class_ids(names, own, lambda value: f"{path}, row {rows.get(value, 2)}")
    return Classes(ids, listed, key)


def pictures(folder: Path, suffixes: tuple[str, ...], what: str) -> dict[str, Path]:
    """Mapping from id to file for the images in `folder`, sorted.

    Raises RawError if two files would get the same id, or one has a suffix not in `suffixes`.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() not in Image.registered_extensions():
            continue
        if path.stem in found:
            raise raw.RawError(
                f"{path} and {found[path.stem].name} would get the same id: keep one, or rename it."
            )
        raw.image_path("", path.stem)  # raises RawError for a name that can't be an id
        found[path.stem] = path
    for path in found.values():
        if path.suffix.lower() not in suffixes:
            raise raw.RawError(f"{path} is no {what} of the kind {' '.join(suffixes)}: save it as one.")
    return found


def write(
    out: Path,
    photos: list[Photo],
    draw: Callable[[object, int, int], np.ndarray],
    known: Classes,
    source: Path,
    workers: int | None,
    progress: bool,
) -> None:
    """Fill the raw folder `out` with the photos of an export.

    Photos without a shape, and those in the folder `source` that the export does not name, go to ``test/``.
    ``draw(shape, height, width)`` returns a mask, or raises ValueError with half a sentence.
    """
    named: dict[Path, Photo] = {}
    for photo in photos:
        if (other := named.setdefault(photo.path, photo)) is not photo:
            raise raw.RawError(f"{photo.where} and {other.where} are of one photo, {photo.path}: keep one.")
    others = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in SUFFIXES]
    others = [path for path in others if path not in named]
    ids = _ids([*named, *others], source)
    raw.make_room(out, [path for path in (*named, *others) if path.exists()])
    labelled = [photo for photo in photos if photo.shapes]
    if not labelled:
        raise raw.RawError(f"{source}: no photo of the export has a shape.")
    work = partial(_convert_photo, out, ids, draw, known)
    rows = sum(processes.in_parallel(work, labelled, workers, progress, "photos"), [])
    for photo in photos:
        if not photo.shapes:
            save_photo(photo.path, out / "test" / f"{ids[photo.path]}.jpg", photo.content)
    for path in others:
        save_photo(path, out / "test" / f"{ids[path]}.jpg")
    table = pd.DataFrame(rows, columns=list(raw.COLUMNS))
    raw.write(out, table, f"export {source.resolve().name}", own=known.own)


def _ids(paths: list[Path], source: Path) -> dict[Path, str]:
    """Id of each photo: its name or, where two have the same, its sub-folders joined to it by ``_``."""
    ids = {path: path.stem for path in paths}
    if len(set(ids.values())) < len(ids):
        ids = {path: "_".join(path.relative_to(source).with_suffix("").parts) for path in paths}
    taken: dict[str, Path] = {}
    for path, photo_id in ids.items():
        raw.image_path("", photo_id)
        if taken.setdefault(photo_id, path) != path:
            raise raw.RawError(f"{path} and {taken[photo_id]} would get the same id: rename one of them.")
    return ids


def _convert_photo(out: Path, ids: dict, draw: Callable, known: Classes, photo: Photo) -> list[tuple]:
    """Save one photo and return its CSV rows, one per shape that is to be seen."""
    size = save_photo(photo.path, out / "train" / f"{ids[photo.path]}.jpg", photo.content)
    if size != photo.size:
        raise raw.RawError(
            f"{photo.where}: the photo {photo.path} is as seen {size[0]} high and {size[1]} wide, the export "
            f"says {photo.size[0]} and {photo.size[1]}."
        )
    top = np.full(size, BACKGROUND)  # number of the shape seen in each pixel
    for number, (label, shape) in enumerate(photo.shapes):
        try:
            mask = np.asarray(draw(shape, *size), bool)
        except ValueError as error:
            name = checked_files.shown(label)
            raise raw.RawError(f"{photo.where}, shape {number} ({name}): {error}.") from None
        top[mask] = number if known.ids[label] != BACKGROUND else BACKGROUND
    seen = [number for number in np.unique(top).tolist() if number != BACKGROUND]
    return [
        (ids[photo.path], rle.encode(top == number), *size, known.ids[photo.shapes[number][0]], "")
        for number in seen
    ]


def find_photo(name: str, beside: Path, source: Path, files: dict[str, list[Path]]) -> Path:
    """The photo that an export calls `name`: a path of the machine that it was made on, ``/`` or ``\\``.

    `files` maps the name of each file in the folder `source` to its paths. The one that agrees with `name`
    in most parts from the end is taken; of several the one that lies so below `beside`. Without any it is
    the path where it is expected. Raises RawError where several agree.
    """
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..")]
    if not parts:
        raise raw.RawError(f"{beside}: {checked_files.shown(name)} names no photo.")
    same_name = files.get(parts[-1], [])
    for count in range(len(parts), 0, -1):
        tail = tuple(parts[-count:])
        found = [path for path in same_name if path.parts[-count:] == tail]
        if beside.joinpath(*tail) in found:
            return beside.joinpath(*tail)
        if len(found) > 1:
            raise raw.RawError(
                f"{found[0]} and {found[1]} may both be {checked_files.shown(name)}: keep one."
            )
        if found:
            return found[0]
    return source / parts[-1]


def files_by_name(source: Path) -> dict[str, list[Path]]:
    """Paths of the photos in a folder and its sub-folders, by file name."""
    found: dict[str, list[Path]] = {}
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() in Image.registered_extensions():
            found.setdefault(path.name, []).append(path)
    return found


def open_image(path: Path, content: bytes | None = None) -> Image.Image:
    """Decode an image file, or its `content`; RawError if that fails or it contains several images."""
    try:
        image = Image.open(checked_files.check_file(path) if content is None else io.BytesIO(content))
        frames = getattr(image, "n_frames", 1)
        image.load()
        image.getexif()
    except FileNotFoundError:
        raise raw.RawError(f"The photo {path} is missing.") from None
    except checked_files.DAMAGED as error:
        raise raw.RawError(f"{path} can't be read ({checked_files.reason(error)}).") from None
    if frames > 1 and image.format != "MPO":  # MPO: a phone's JPEG with a second image such as a depth map
        raise raw.RawError(f"{path} holds {frames} pictures: save the one that is meant.")
    return image


def save_photo(photo: Path, target: Path, content: bytes | None = None) -> tuple[int, int]:
    """Save a photo upright at `target`, copying upright JPEG files unchanged; returns (height, width)."""
    image = open_image(photo, content)
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    if image.format in ("JPEG", "MPO") and not turned:
        target.write_bytes(content) if content else shutil.copyfile(photo, target)
        return image.height, image.width
    seen = ImageOps.exif_transpose(image).convert("RGB")
    seen.save(target, quality=95, subsampling=0)
    return seen.height, seen.width
