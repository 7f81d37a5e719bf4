"""Converter from COCO JSON, as CVAT and Label Studio export it, to the raw layout.

::

    annotations/instances_default.json   images/<sub-folders>/<name>     CVAT's "COCO 1.0" with images
    result.json                          images/<name>                   Label Studio's "COCO with images"

"images" {id, file_name, width, height}, "categories" {id, name} and "annotations" {image_id, category_id,
segmentation}; ids begin at 1 in CVAT and at 0 in Label Studio. A segmentation is a list of polygons or a
run-length code, uncompressed (CVAT's masks, ``iscrowd`` 1) or compressed; all are drawn alike. A box, whose
segmentation is empty, is refused: its corners are background. All other fields are ignored, ``iscrowd`` and
attributes too. `file_name` is a path of the machine that exported: see `own.find_photo`.

CVAT: https://docs.cvat.ai; Label Studio: https://labelstud.io/guide/export.
"""

from pathlib import Path

import numpy as np

from fashionlib.core import checked_files, outputs
from fashionlib.data import raw
from fashionlib.data.sources import fashionpedia
from fashionlib.data.sources import own as shared

_AGAIN = "export it again, as COCO"
_NEEDED = {"images": list, "categories": list, "annotations": list}


@raw.fills_new_folder("converting to")
def convert(
    src: str | Path,
    out: str | Path,
    table: str | Path | None = None,
    own: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Convert the export `src` to the raw layout in the new folder `out`; returns `out`.

    `src` is a folder whose JSON files, there or in ``annotations/``, are all read, or one JSON file with its
    photos in or below its folder. `table` maps categories to classes (``label,class``); `own` takes the names
    as they are. Every shape becomes an instance, without what later ones cover. Photos without a shape go to
    ``test/``. Raises `raw.RawError` naming the file and the annotation.
    """
    src = Path(src)
    source = src.parent if src.is_file() else src
    source = source.parent if source.name == "annotations" else source
    outputs.lie_apart(Path(out).parent, [source])
    jsons = [src] if src.is_file() else sorted([*src.glob("*.json"), *src.glob("annotations/*.json")])
    if not jsons:
        raise raw.RawError(f"{src} holds no .json, nor does its annotations/: {_AGAIN}.")
    files = shared.files_by_name(source)
    read = [_read(path, source, files) for path in jsons]
    photos = [photo for _, found in read for photo in found]
    labels = [label for photo in photos for label, _ in photo.shapes]
    if own:  # also classes without a shape, so that every export of a project has the same list
        labels = [name for names, _ in read for name in names] + labels
    known = shared.known_classes(labels, str(jsons[0]), Path(table) if table else None, own)
    shared.write(out, photos, _mask, known, source, workers, progress)


def _read(path: Path, source: Path, files: dict[str, list[Path]]) -> tuple[list[str], list[shared.Photo]]:
    """The categories and the photos of one JSON file, in the file's order."""
    content = checked_files.json_object(path, _NEEDED, _AGAIN, raw.RawError)
    where = str(path)
    try:
        names = {entry["id"]: str(entry["name"]).strip() for entry in content["categories"]}
        photos = {}
        for number, entry in enumerate(content["images"]):
            where = f"{path}, image {number}"
            if entry["id"] in photos:
                raise raw.RawError(f"{where} has the id {entry['id']!r} of another: {_AGAIN}.")
            found = shared.find_photo(entry["file_name"], path.parent, source, files)
            photos[entry["id"]] = shared.Photo(found, where, (entry["height"], entry["width"]), [])
        for number, entry in enumerate(content["annotations"]):
            where = f"{path}, annotation {number}"
            if entry["image_id"] not in photos or entry["category_id"] not in names:
                ids = f"no image {entry['image_id']!r} or no category {entry['category_id']!r}"
                raise raw.RawError(f"{where}: there is {ids}.")
            shape = (where, entry["segmentation"])
            photos[entry["image_id"]].shapes.append((names[entry["category_id"]], shape))
    except raw.RawError:
        raise
    except checked_files.DAMAGED as error:
        said = f"{type(error).__name__}: {checked_files.shown(str(error))}"
        raise raw.RawError(f"{where} is not as COCO has it ({said}): {_AGAIN}.") from None
    return list(names.values()), list(photos.values())


def _mask(shape: tuple[str, list | dict], height: int, width: int) -> np.ndarray:
    where, segmentation = shape
    if segmentation == []:
        raise ValueError(f"a box has no outline: draw a polygon or a mask ({where})")
    try:
        return fashionpedia.mask(segmentation, height, width)
    except ValueError as error:
        raise ValueError(f"{error} ({where})") from None
