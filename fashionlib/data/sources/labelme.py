"""Converter from LabelMe's JSON files, one per photo, to the raw layout.

Fields that count: "imagePath", a path relative to the JSON file, in a Windows or POSIX spelling; "imageData",
the photo in base64 or null; "imageHeight", "imageWidth"; and "shapes" {label, points, shape_type, mask}:

polygon      [x, y] of its corners, the type of shapes without one
rectangle    two opposite corners
circle       its centre and a point of its edge
mask         two corners of a box, and a PNG of the box's size in base64

Points and lines have no area and are refused. `group_id` and flags are ignored: every shape is an instance.
LabelMe has no holes; one is drawn as a later shape with the label ``background``. Own classes are in the
order of their names.

LabelMe: https://github.com/wkentaro/labelme.
"""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from fashionlib.core import checked_files
from fashionlib.data import raw
from fashionlib.data.sources import fashionpedia
from fashionlib.data.sources import own as shared

_AGAIN = "save it again in LabelMe"
_NEEDED = {"shapes": list, "imagePath": str}


@raw.fills_new_folder("converting to")
def convert(
    src: str | Path,
    out: str | Path,
    table: str | Path | None = None,
    own: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Convert the LabelMe files in the folder `src` and its sub-folders to the raw layout; returns `out`.

    `table`, `own`, overlaps and photos without a shape are as in `coco.convert`; a photo that is missing is
    taken from "imageData". Raises `raw.RawError` naming the file and the shape.
    """
    src = Path(src)
    jsons = sorted(src.rglob("*.json"))
    if not jsons:
        raise raw.RawError(f"{src} holds no .json: give the folder in which LabelMe saved.")
    files = shared.files_by_name(src)
    photos = [_read(path, src, files) for path in jsons]
    labels = sorted({label for photo in photos for label, _ in photo.shapes})
    known = shared.known_classes(labels, str(src), Path(table) if table else None, own)
    shared.write(out, photos, _mask, known, src, workers, progress)


def _read(path: Path, source: Path, files: dict[str, list[Path]]) -> shared.Photo:
    content = checked_files.json_object(path, _NEEDED, _AGAIN, raw.RawError)
    photo = shared.find_photo(content["imagePath"], path.parent, source, files)
    try:
        shapes = [(str(shape["label"]).strip(), shape) for shape in content["shapes"]]
        data = None if photo.exists() else content.get("imageData")
        data = data and base64.b64decode(data)
        size = content["imageHeight"], content["imageWidth"]
    except checked_files.DAMAGED as error:
        said = f"{type(error).__name__}: {checked_files.shown(str(error))}"
        raise raw.RawError(f"{path} is not as LabelMe writes it ({said}): {_AGAIN}.") from None
    return shared.Photo(photo, str(path), size, shapes, data)


def _mask(shape: dict, height: int, width: int) -> np.ndarray:
    """Mask of one shape (H, W); raises ValueError with half a sentence."""
    kind = shape.get("shape_type") or "polygon"
    try:
        points = np.asarray(shape["points"], float).reshape(-1, 2)
    except (KeyError, ValueError, TypeError, OverflowError):
        raise ValueError("its points are no list of x, y pairs") from None
    if kind == "polygon":
        return fashionpedia.mask([points.ravel().tolist()], height, width)
    if kind not in ("rectangle", "circle", "mask"):
        raise ValueError(f"a {checked_files.shown(str(kind))} has no area: draw a polygon or a mask")
    if points.shape != (2, 2) or not np.isfinite(points).all():
        raise ValueError(f"a {kind} has 2 points, this one {len(points)} or none that is a number")
    (x0, y0), (x1, y1) = points
    if kind == "rectangle":
        return fashionpedia.mask([[x0, y0, x1, y0, x1, y1, x0, y1]], height, width)
    if kind == "circle":
        y, x = (axis + 0.5 for axis in np.ogrid[:height, :width])  # centres of the pixels
        return (x - x0) ** 2 + (y - y0) ** 2 <= (x1 - x0) ** 2 + (y1 - y0) ** 2
    return _pasted(shape.get("mask"), round(x0), round(y0), height, width)


def _pasted(text: str, left: int, top: int, height: int, width: int) -> np.ndarray:
    """The PNG `text` in base64 at (left, top) of an empty mask; what lies outside is cut off."""
    try:
        part = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L")) > 0
    except checked_files.DAMAGED as error:
        raise ValueError(f"its mask is no PNG in base64 ({checked_files.reason(error)})") from None
    mask = np.zeros((height, width), bool)
    rows = slice(max(top, 0), max(top + part.shape[0], 0))
    columns = slice(max(left, 0), max(left + part.shape[1], 0))
    room = mask[rows, columns]
    room |= part[max(-top, 0) :, max(-left, 0) :][: room.shape[0], : room.shape[1]]
    return mask
