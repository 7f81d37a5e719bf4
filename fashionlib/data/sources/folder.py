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

A class is one of Fashionpedia's 46, ``hair``, ``skin`` or ``background``, or with `own` any name; several
colours may map to the same class. Colour #000000 or value 0 is background unless listed; transparent pixels
of an RGBA mask count as black. Photos without a mask go to ``test/``. `write` is the way back: label maps as
such a folder.
"""

import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from fashionlib.core import checked_files, classes, files, outputs, processes
from fashionlib.data import raw, rle
from fashionlib.data.sources import own as shared

TABLE = "classes.csv"
_SHOWN = 5  # maximum number of unknown colours listed in an error message


@raw.fills_new_folder("converting to")
def convert(
    src: str | Path,
    out: str | Path,
    table: str | Path | None = None,
    own: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Convert the photos and masks at `src` to the raw layout in the new folder `out`; returns `out`.

    `table` is the class table, by default ``classes.csv`` in `src`; `own` takes its names as they are. Each
    class present in a mask becomes one instance. JPEG photos are copied unchanged; other formats, and photos
    with an EXIF rotation, are saved upright as JPEG of quality 95. Raises `raw.RawError` naming the bad file,
    row or colour.
    """
    src = Path(src)
    keys = {"colour": _colour, "value": _value}
    class_ids, names, key = shared.read_table(Path(table) if table else src / TABLE, keys, own)
    found = shared.pictures(src / "photos", shared.SUFFIXES, "photo")
    masks = shared.pictures(src / "masks", (".png",), "mask")
    if not masks:
        raise raw.RawError(
            f"{src / 'masks'} holds no .png: put a painted mask <id>.png there for photos/<id>.jpg."
        )
    stray = next((path for photo_id, path in masks.items() if photo_id not in found), None)
    if stray:
        raise raw.RawError(f"{stray} has no photo of the same name in {src / 'photos'}.")

    raw.make_room(out, found.values())
    pairs = [(found[photo_id], path) for photo_id, path in masks.items()]
    convert_pair = partial(_convert_pair, out, {0: shared.BACKGROUND} | class_ids, key == "colour")
    rows = sum(processes.in_parallel(convert_pair, pairs, workers, progress, "masks"), [])
    for photo_id, path in found.items():
        if photo_id not in masks:
            shared.save_photo(path, out / "test" / f"{photo_id}.jpg")
    raw.write(out, pd.DataFrame(rows, columns=list(raw.COLUMNS)), f"folder {src.resolve().name}", own=names)


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
    size = shared.save_photo(photo, out / "train" / f"{photo.stem}.jpg")
    if keys.shape != size:
        raise raw.RawError(
            f"{mask} is {keys.shape[0]} high and {keys.shape[1]} wide, "
            f"its photo as it is seen {size[0]} high and {size[1]} wide."
        )
    ids = _label(mask, keys, class_ids, by_colour)
    return [
        (photo.stem, rle.encode(ids == class_id), *size, class_id, "")
        for class_id in np.unique(ids).tolist()
        if class_id != shared.BACKGROUND
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
    rgba = np.asarray(shared.open_image(path).convert("RGBA")).astype(np.int32)
    return (rgba[..., 0] << 16 | rgba[..., 1] << 8 | rgba[..., 2]) * (rgba[..., 3] > 0)


def _values(path: Path) -> np.ndarray:
    """Values of a mask, (H, W): palette indices or grey values, including grey values saved as RGB."""
    image = shared.open_image(path)
    values = np.asarray(image.convert("L") if image.mode in ("1", "LA") else image)
    if values.ndim == 2:
        return values
    if (values[..., :3] != values[..., :1]).any():
        raise raw.RawError(
            f"{path} is a colour image, but {TABLE} lists values: give it 'colour,class' instead."
        )
    return values[..., 0]


def write(out: str | Path, labelled: Iterable[tuple[Path, np.ndarray]], names: Sequence[str]) -> Path:
    """Write photos and their label maps as a folder that `convert` reads; returns `out`, a new folder.

    `labelled` yields (photo, label map (H, W) of the photo as it is seen); `names` are the classes,
    position = label value. Masks are painted in the colours of `classes.palette`, to be corrected in any
    editor that saves PNG without soft edges.
    """
    palette = np.array(classes.palette(len(names)), np.uint8)
    with outputs.building(out, TABLE, "writing", "photos with masks") as part:
        for name in ("photos", "masks"):
            (part / name).mkdir()
        for photo, label_map in labelled:
            raw.image_path("", photo.stem)
            if (part / "masks" / f"{photo.stem}.png").exists():
                raise raw.RawError(f"{photo} has the name of another photo: rename one of the two.")
            shared.save_photo(photo, part / "photos" / f"{photo.stem}.jpg")
            Image.fromarray(palette[label_map]).save(part / "masks" / f"{photo.stem}.png")
        colours = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in palette.tolist()]
        files.write_csv(part / TABLE, pd.DataFrame({"colour": colours, "class": list(names)}))
    return Path(out)
