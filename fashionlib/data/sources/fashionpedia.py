"""Converter from Fashionpedia (GitHub ``cvdfoundation/fashionpedia``) to the raw layout.

Contents of CVDF's zips once unpacked (``test/`` includes the validation photos)::

    instances_attributes_train2020.json     both JSON files may also be in annotations/
    instances_attributes_val2020.json       optional
    train/<id>.jpg   test/<id>.jpg

The JSON has COCO's format: "images" {id, file_name, width, height}, "categories" {id, name} and
"annotations" {image_id, category_id, attribute_ids, segmentation}, one per instance. A segmentation is
a list of polygons [x0, y0, x1, y1, …] or {"size": [height, width], "counts"}, where counts is a list
(uncompressed) or a string (compressed); one file may mix all three. Annotation ids are ignored because
they are not unique in early releases. Numbers may be strings.

The sizes in the JSON are those of CVDF's downscaled photos. Kaggle's originals have the same names but
other sizes, and every mask would be wrong on them.

M. Jia et al.: Fashionpedia: Ontology, Segmentation, and an Attribute Localization Dataset, ECCV 2020.
"""

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pycocotools import mask as coco

from fashionlib.core import checked_files, classes, files, outputs, processes
from fashionlib.data import raw, rle

SOURCE, URL = "Fashionpedia", "https://github.com/cvdfoundation/fashionpedia"
TRAIN, VAL = "instances_attributes_train2020.json", "instances_attributes_val2020.json"
_LONGEST = 60  # bits; limit for one number of a compressed code, so that a malformed one can't run on
SLACK = 1  # pixels; how far a polygon may extend beyond its photo before it is an error (clipped anyway)


@dataclass(frozen=True)
class Photo:
    """An entry of "images" with its instances: (category id, comma-separated attributes, segmentation)."""

    id: str
    path: Path
    height: int
    width: int
    instances: list[tuple[int, str, list | dict]]


@raw.fills_new_folder("converting to")
def convert(
    src: str | Path,
    out: str | Path,
    workers: int | None = None,
    progress: bool = True,
    max_bad: float = 0.01,
) -> Path:
    """Convert the data set at `src` to the raw layout in the new folder `out`; returns `out`.

    `src` is the folder described above, or one such JSON file with its photos in ``images/`` beside it.
    All annotated photos go to ``train/``. Those of the official validation split are also listed in
    ``official_val.txt``, and `prepare` keeps them out of its own splits. The other photos in ``test/``
    have no masks and are copied to ``test/``.

    Missing photos and photos with a defective mask are skipped and listed in ``left_out.csv``. Instances
    without a pixel are dropped. Raises `raw.RawError` if more than the fraction `max_bad` of the photos
    is skipped, and for errors that affect the whole data set: an unreadable JSON, an unknown category, an
    image id that points outside the folder, photos whose size differs from the JSON. Reading the training
    split's JSON (542 MB) takes a few GB of memory.
    """
    raw.check_max_bad(max_bad)
    outputs.lie_apart(Path(out).parent, [_root(Path(src))])  # if `src` is a JSON file: its data set's folder
    splits = {path.name: _read(path) for path in _json_files(Path(src))}
    annotated = [photo for split in splits.values() for photo in split]
    _check_unique(annotated)
    taken = {photo.path for photo in annotated}
    unlabelled = [path for path in sorted((_root(Path(src)) / "test").glob("*.jpg")) if path not in taken]
    raw.make_room(out, unlabelled + [path for path in taken if path.exists()])

    results = processes.in_parallel(partial(_convert_photo, out), annotated, workers, progress, SOURCE)
    rows, left_out = [], {}
    for photo, result in zip(annotated, results, strict=True):
        if isinstance(result, str):
            left_out[photo.id] = result
        else:
            rows += result
    if len(left_out) > max_bad * len(annotated):
        first = next(iter(left_out.values()))
        raise raw.RawError(
            f"{len(left_out)} of {len(annotated)} photos can't be converted. The first: {first}"
        )
    for path in unlabelled:
        shutil.copyfile(path, out / "test" / path.name)
    if VAL in splits:
        ids = [photo.id for photo in splits[VAL] if photo.id not in left_out]
        files.write_text(out / raw.OFFICIAL_VAL, "\n".join(ids) + "\n")
    if left_out:
        files.write_csv(out / "left_out.csv", pd.DataFrame(left_out.items(), columns=["ImageId", "problem"]))
    about = {"url": URL, "licence": "THIRD_PARTY.md"}
    raw.write(out, pd.DataFrame(rows, columns=list(raw.COLUMNS)), SOURCE, about)


def _root(src: Path) -> Path:
    """The data set's folder, which contains train/ and test/."""
    folder = src.parent if src.is_file() else src
    return folder.parent if folder.name == "annotations" else folder


def _json_files(src: Path) -> list[Path]:
    """The JSON files to read, training split first; RawError if there is none."""
    if src.is_file():
        return [src]
    found = [
        folder / name
        for name in (TRAIN, VAL)
        for folder in (src, src / "annotations")
        if (folder / name).is_file()
    ]
    if not found:
        raise raw.RawError(f"{src} holds neither {TRAIN} nor {VAL}: see `fashionlib download fashionpedia`.")
    return found


def _read(path: Path) -> list[Photo]:
    """The photos of one JSON file with their instances, in the file's order."""
    try:
        content = json.loads(path.read_bytes())
        names = {int(category["id"]): category["name"] for category in content["categories"]}
        images = {int(image["id"]): _photo(path, image) for image in content["images"]}
        for number, annotation in enumerate(content["annotations"]):
            _add(annotation, images, names, f"{path}, annotation {number}")
    except raw.RawError:
        raise
    except checked_files.DAMAGED + (RecursionError,) as error:
        said = f"{type(error).__name__}: {checked_files.shown(str(error))}"
        raise raw.RawError(f"{path} is not a whole Fashionpedia JSON ({said}): fetch it again.") from None
    return list(images.values())


def _add(annotation: dict, images: dict[int, Photo], names: dict[int, str], where: str) -> None:
    """Add an annotation to its photo. Categories are matched by name: their ids differ between releases."""
    image, category = int(annotation["image_id"]), int(annotation["category_id"])
    if image not in images or category not in names:
        raise raw.RawError(f"{where}: there is no image {image} or no category {category}.")
    if names[category] not in classes.CATEGORIES:
        name = checked_files.shown(str(names[category]))
        raise raw.RawError(f"{where}: {name} is none of Fashionpedia's 46 categories.")
    attributes = ",".join(map(str, annotation.get("attribute_ids") or []))
    images[image].instances.append((classes.IDS[names[category]], attributes, annotation["segmentation"]))


def _photo(json_path: Path, image: dict) -> Photo:
    """A `Photo` without instances from an entry of "images".

    Raises RawError for a file name that points outside the folder.
    """
    folders = ("test", "train", "images") if json_path.name == VAL else ("train", "images", "test")
    photo_id = image["file_name"].removesuffix(".jpg")
    try:
        name = raw.image_path("", photo_id).name
    except raw.RawError as error:
        raise raw.RawError(f"{json_path}: {error}") from None
    paths = [_root(json_path) / folder / name for folder in folders]
    path = next((path for path in paths if path.exists()), paths[0])
    return Photo(photo_id, path, int(image["height"]), int(image["width"]), [])


def _check_unique(annotated: list[Photo]) -> None:
    """Raise RawError if a photo occurs twice: one in both splits would be used for training and testing."""
    times = Counter(photo.id for photo in annotated)
    if twice := [photo_id for photo_id in times if times[photo_id] > 1]:
        raise raw.RawError(
            f"The photo {twice[0]!r} is listed twice in Fashionpedia's JSON: keep one of the two."
        )


def _convert_photo(out: Path, photo: Photo) -> list[tuple] | str:
    """Copy a photo and return its CSV rows, one per instance, or the reason why it is skipped."""
    try:
        size = raw.photo_size(photo.path)
    except raw.RawError as error:
        return str(error)
    if size != (photo.height, photo.width):
        raise raw.RawError(
            f"The photo {photo.path} is {size[0]} high and {size[1]} wide, the JSON says {photo.height} and "
            f"{photo.width}: the JSON fits CVDF's copies only (train2020.zip, val_test2020.zip), and "
            "Kaggle's originals go with Kaggle's train.csv."
        )
    rows = []
    for number, (category_id, attributes, segmentation) in enumerate(photo.instances):
        try:
            code = rle.encode(mask(segmentation, *size))
        except ValueError as error:
            return f"The photo {photo.path}, instance {number} of {len(photo.instances)}: {error}."
        if code:
            rows.append((photo.id, code, *size, category_id, attributes))
    shutil.copyfile(photo.path, out / "train" / f"{photo.id}.jpg")
    return rows


def mask(segmentation: list | dict, height: int, width: int) -> np.ndarray:
    """Binary mask of a COCO segmentation, uint8 (H, W) of 0 and 1; pycocotools rasterises polygons.

    Raises ValueError, with half a sentence, for a segmentation that is malformed or has the wrong size.
    """
    if isinstance(segmentation, dict):
        counts = _counts(segmentation, height, width)
        inside = np.arange(len(counts), dtype=np.uint8) % 2  # outside comes first
        return np.repeat(inside, counts).reshape(width, height).T
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("its segmentation is neither polygons nor a run-length code")
    polygons = [_polygon(polygon, height, width) for polygon in segmentation]
    return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width)))


def _polygon(polygon: list, height: int, width: int) -> list[float]:
    """Validated coordinates x0, y0, x1, y1, … of a polygon."""
    try:
        points = np.asarray(polygon, float).reshape(-1, 2)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("a polygon is not a list of x, y pairs") from None
    if len(points) < 3:  # pycocotools interprets two points as a box
        raise ValueError(f"a polygon has {len(points)} points, it takes at least 3")
    inside = (points >= -SLACK) & (points <= np.array((width, height)) + SLACK)
    if not inside.all():  # NaN counts as outside
        x, y = points[~inside.all(axis=1)][0]
        raise ValueError(f"a polygon leaves the {width} x {height} photo at x = {x:g}, y = {y:g}")
    return points.ravel().tolist()


def _counts(code: dict, height: int, width: int) -> list[int]:
    """Run lengths of a COCO run-length code, alternately outside and inside, in column-major order."""
    try:
        size, counts = [int(side) for side in code["size"]], code["counts"]
        counts = _decompress(counts) if isinstance(counts, str) else [int(count) for count in counts]
    except (KeyError, IndexError, ValueError, TypeError, OverflowError):
        raise ValueError("its run-length code lacks a proper 'size' or 'counts'") from None
    if size != [height, width]:
        raise ValueError(f"its run-length code is for {size} pixels, not for {[height, width]}")
    # Checked here because pycocotools returns uninitialised memory for a code that ends early.
    if min(counts, default=0) < 0 or sum(counts) != height * width:
        raise ValueError(f"its run-length code does not cover the photo's {height * width} pixels exactly")
    return counts


def _decompress(text: str) -> list[int]:
    """Counts of a compressed code, decoded like cocoapi's ``maskApi.c: rleFrString``.

    Each character minus 48 carries 5 bits of a number, lowest first; 0x20 is the continuation flag and
    0x10 in the last character is the sign. From the fourth number on, each is stored as the difference
    from the count two positions earlier.
    """
    counts: list[int] = []
    number = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > _LONGEST:
            raise ValueError("no such number")
        number |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    return counts
