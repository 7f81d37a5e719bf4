"""Converter from your own photos with painted masks to the raw layout.

::

    classes.csv                class of each colour or value
    photos/<id>.jpg            also .jpeg, .png, .webp
    masks/<id>.png             the same size as the photo when displayed (EXIF orientation applied)

The table has one row per class: either ``colour,class`` with colours as ``#rrggbb`` for painted masks, or
``value,class`` with whole numbers for masks that store class numbers (greyscale or palette PNG)::

    colour,class
    #ff0000,dress
    #00ff00,"bag, wallet"
    #ffffff,background

A class is one of Fashionpedia's 46, ``hair``, ``skin`` or ``background``; several colours may map to the
same class. Colour #000000 or value 0 is background unless listed; transparent pixels of an RGBA mask
count as black. Photos without a mask go to ``test/``.
"""

import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import ExifTags, Image, ImageOps

from fashionlib.core import checked_files, classes, processes
from fashionlib.data import raw, rle

TABLE = "classes.csv"
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_BACKGROUND = -1
_SHOWN = 5  # maximum number of unknown colours listed in an error message


@raw.fills_new_folder("converting to")
def convert(
    src: str | Path,
    out: str | Path,
    table: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Convert the photos and masks at `src` to the raw layout in the new folder `out`; returns `out`.

    `table` is the class table, by default ``classes.csv`` in `src`. Each class present in a mask becomes
    one instance. JPEG photos are copied unchanged; other formats, and photos with an EXIF rotation, are
    saved upright as JPEG of quality 95. Raises `raw.RawError` naming the bad file, row or colour.
    """
    src = Path(src)
    class_ids, by_colour = _read_table(Path(table) if table else src / TABLE)
    found = _pictures(src / "photos", _SUFFIXES, "photo")
    masks = _pictures(src / "masks", (".png",), "mask")
    if not masks:
        raise raw.RawError(
            f"{src / 'masks'} holds no .png: put a painted mask <id>.png there for photos/<id>.jpg."
        )
    stray = next((path for photo_id, path in masks.items() if photo_id not in found), None)
    if stray:
        raise raw.RawError(f"{stray} has no photo of the same name in {src / 'photos'}.")

    raw.make_room(out, found.values())
    pairs = [(found[photo_id], path) for photo_id, path in masks.items()]
    convert_pair = partial(_convert_pair, out, class_ids, by_colour)
    rows = sum(processes.in_parallel(convert_pair, pairs, workers, progress, "masks"), [])
    for photo_id, path in found.items():
        if photo_id not in masks:
            _save_photo(path, out / "test" / f"{photo_id}.jpg")
    raw.write(out, pd.DataFrame(rows, columns=list(raw.COLUMNS)), f"folder {src.resolve().name}")


def _pictures(folder: Path, suffixes: tuple[str, ...], what: str) -> dict[str, Path]:
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


def _read_table(path: Path) -> tuple[dict[int, int], bool]:
    """Mapping from colour (0xrrggbb) or value to class id, and whether the keys are colours."""
    try:
        checked_files.check_file(path, raw.RawError)
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError:
        raise raw.RawError(
            f"{path} is missing: it says which colour is which class, as in '#ff0000,dress'."
        ) from None
    except raw.RawError:
        raise
    except UnicodeDecodeError:
        raise raw.RawError(f"{path} is no UTF-8 text: save it with the encoding UTF-8.") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise raw.RawError(
            f'{path} can\'t be read ({str(error).strip()}): quote names with commas, as in "bag, wallet".'
        ) from None
    key = next((name for name in ("colour", "value") if list(table.columns) == [name, "class"]), None)
    if key is None or table.empty:
        raise raw.RawError(f"{path} must have the columns 'colour,class' or 'value,class' and a row a class.")
    class_ids = {}
    for row, (text, name) in enumerate(table.itertuples(index=False), start=2):
        if not text and not name:
            continue  # a blank line
        try:
            value, class_id = _colour(text) if key == "colour" else _value(text), _class_id(name.strip())
            if class_ids.setdefault(value, class_id) != class_id:
                raise ValueError(f"The {key} {text!r} means another class further up: keep one of the two.")
        except ValueError as error:
            raise raw.RawError(f"{path}, row {row}: {error}") from None
    return {0: _BACKGROUND} | class_ids, key == "colour"


def _class_id(name: str) -> int:
    known = {classes.BACKGROUND: _BACKGROUND, **classes.IDS}
    return known[classes.check_name(name, known, "class")]


def _colour(text: str) -> int:
    """``#rrggbb`` as 0xrrggbb."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", text.strip()):
        raise ValueError(f"The colour {checked_files.shown(text)} is not of the form #rrggbb.")
    return int(text.strip()[1:], 16)


def _value(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text.strip()):
        raise ValueError(f"The value {checked_files.shown(text)} is not a whole number.")
    return int(text)


def _convert_pair(
    out: Path, class_ids: dict[int, int], by_colour: bool, pair: tuple[Path, Path]
) -> list[tuple]:
    """Save one photo and return its CSV rows, one per class."""
    photo, mask = pair
    keys = _colours(mask) if by_colour else _values(mask)
    size = _save_photo(photo, out / "train" / f"{photo.stem}.jpg")
    if keys.shape != size:
        raise raw.RawError(
            f"{mask} is {keys.shape[0]} high and {keys.shape[1]} wide, "
            f"its photo as it is seen {size[0]} high and {size[1]} wide."
        )
    ids = _label(mask, keys, class_ids, by_colour)
    return [
        (photo.stem, rle.encode(ids == class_id), *size, class_id, "")
        for class_id in np.unique(ids).tolist()
        if class_id != _BACKGROUND
    ]


def _label(mask: Path, keys: np.ndarray, class_ids: dict[int, int], by_colour: bool) -> np.ndarray:
    """Class ids of a mask, (H, W); raises RawError for a colour or value missing from the table."""
    values, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    counts = dict(zip(values.tolist(), counts.tolist(), strict=True))
    unknown = sorted(counts.keys() - class_ids.keys(), key=counts.get, reverse=True)
    if unknown:
        shown = ", ".join(
            f"{f'#{key:06x}' if by_colour else key} ({counts[key]})" for key in unknown[:_SHOWN]
        )
        raise raw.RawError(
            f"{mask} has {'colours' if by_colour else 'values'} that {TABLE} lacks, on "
            f"{sum(counts[key] for key in unknown)} pixels: {shown}{', …' if len(unknown) > _SHOWN else ''}; "
            "list them or paint without soft edges."
        )
    return np.array([class_ids[key] for key in counts])[inverse].reshape(keys.shape)


def _colours(path: Path) -> np.ndarray:
    """Colours of a mask as 0xrrggbb, int32 (H, W); transparent pixels count as black."""
    rgba = np.asarray(_open(path).convert("RGBA")).astype(np.int32)
    return (rgba[..., 0] << 16 | rgba[..., 1] << 8 | rgba[..., 2]) * (rgba[..., 3] > 0)


def _values(path: Path) -> np.ndarray:
    """Values of a mask, (H, W): palette indices or grey values, including grey values saved as RGB."""
    image = _open(path)
    values = np.asarray(image.convert("L") if image.mode in ("1", "LA") else image)
    if values.ndim == 2:
        return values
    if (values[..., :3] != values[..., :1]).any():
        raise raw.RawError(
            f"{path} is a colour image, but {TABLE} lists values: give it 'colour,class' instead."
        )
    return values[..., 0]


def _open(path: Path) -> Image.Image:
    """Decode an image file; raises RawError if that fails or the file contains several images."""
    try:
        image = Image.open(checked_files.check_file(path))
        frames = getattr(image, "n_frames", 1)
        image.load()
        image.getexif()
    except checked_files.DAMAGED as error:
        raise raw.RawError(f"{path} can't be read ({checked_files.reason(error)}).") from None
    if frames > 1 and image.format != "MPO":  # MPO: a phone's JPEG with a second image such as a depth map
        raise raw.RawError(f"{path} holds {frames} pictures: save the one that is meant.")
    return image


def _save_photo(photo: Path, target: Path) -> tuple[int, int]:
    """Save a photo upright at `target`, copying upright JPEG files unchanged; returns (height, width)."""
    image = _open(photo)
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    if image.format in ("JPEG", "MPO") and not turned:
        shutil.copyfile(photo, target)
        return image.height, image.width
    seen = ImageOps.exif_transpose(image).convert("RGB")
    seen.save(target, quality=95, subsampling=0)
    return seen.height, seen.width
