"""Converter from Clothing Co-Parsing (GitHub ``bearpaw/clothing-co-parsing``, Apache-2.0) to the raw layout.

Contents of the unpacked release::

    label_list.mat                       59 names; position = value in the label maps, 0 is 'null'
    annotations/pixel-level/<id>.mat     'groundtruth': uint8 (H, W), one label value per pixel
    annotations/image-level/<id>.mat     'tags': labels of a photo without their location; go to tags.csv
    photos/<id>.jpg

The label maps have no instances, so each of the 59 labels present in a photo becomes one instance (a pair
of shoes is one instance, a shirt over a t-shirt two). Instances never overlap. A photo with an empty label
map (0536) gets no row.

W. Yang, P. Luo, L. Lin: Clothing Co-Parsing by Joint Image Segmentation and Labeling, CVPR 2014.
"""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.io

from fashionlib.core import checked_files, classes, files, processes
from fashionlib.data import raw, rle

SOURCE, URL = "Clothing Co-Parsing", "https://github.com/bearpaw/clothing-co-parsing"
# Fashionpedia category -> label names in Clothing Co-Parsing
_CATEGORY_NAMES = {
    "shirt, blouse": "shirt blouse",
    "top, t-shirt, sweatshirt": "top t-shirt sweatshirt hoodie",
    "sweater": "sweater jumper",
    "cardigan": "cardigan",
    "jacket": "jacket blazer suit",
    "vest": "vest",
    "pants": "pants jeans leggings",
    "shorts": "shorts",
    "skirt": "skirt",
    "coat": "coat",
    "dress": "dress",
    "jumpsuit": "bodysuit romper",
    "cape": "cape",
    "glasses": "glasses sunglasses",
    "hat": "hat",
    "tie": "tie",
    "glove": "gloves",
    "watch": "watch",
    "belt": "belt",
    "tights, stockings": "stockings tights",
    "sock": "socks",
    "shoe": "shoes boots heels pumps sandals sneakers flats loafers clogs wedges",
    "bag, wallet": "bag purse wallet",
    "scarf": "scarf",
}
CATEGORY_IDS = {
    name: classes.IDS[category] for category, names in _CATEGORY_NAMES.items() for name in names.split()
} | {name: classes.IDS[name] for name in classes.PERSON.values()}
# labels mapped to background: jewellery, underwear, swimwear, and labels that name no garment
_BACKGROUND = (
    *("null", "accessories", "bracelet", "earrings", "necklace", "ring"),
    *("bra", "intimate", "panties", "swimwear"),
)


@raw.fills_new_folder("converting to")
def convert(src: str | Path, out: str | Path, workers: int | None = None, progress: bool = True) -> Path:
    """Convert the data set at `src` to the raw layout in the new folder `out`; returns `out`.

    The 900 photos with a label map go to ``train/``, the 1,094 with tags only to ``test/``. Hair and
    skin become the categories 46 and 47. Raises `raw.RawError` for a missing or unreadable file, a label
    map whose size differs from its photo, or a label outside the label list; the message names the file.
    """
    src = Path(src)
    category_ids = _read_categories(src / "label_list.mat")
    labelled = sorted((src / "annotations" / "pixel-level").glob("*.mat"))
    if not labelled:
        raise raw.RawError(f"{src} holds no annotations/pixel-level/*.mat: give the unpacked archive.")
    all_photos = sorted((src / "photos").glob("*.jpg"))
    raw.make_room(out, all_photos)
    rows = processes.in_parallel(
        partial(_convert_photo, src, out, category_ids), labelled, workers, progress, "Clothing Co-Parsing"
    )
    instances = pd.DataFrame([row for photo_rows in rows for row in photo_rows], columns=list(raw.COLUMNS))
    ids = {path.stem for path in labelled}
    for photo in all_photos:
        if photo.stem not in ids:
            shutil.copyfile(photo, out / "test" / photo.name)
    tags = pd.DataFrame(_tags(src, category_ids), columns=["ImageId", "ClassId"])
    files.write_csv(out / raw.TAGS, tags)
    raw.write(out, instances, SOURCE, {"url": URL, "licence": "Apache-2.0 (labels and release)"})


def _tags(src: Path, category_ids: list[int | None]) -> list[tuple[str, int]]:
    """Unique (photo id, category id) pairs of all tags, sorted; tags of one category are merged."""
    found = set()
    for path in sorted((src / "annotations" / "image-level").glob("*.mat")):
        tags = _read_mat(path, "tags")
        _check_values(path, tags, "tag", len(category_ids))
        tags = tags.ravel().tolist()
        found |= {(path.stem, category_ids[tag]) for tag in tags if category_ids[tag] is not None}
    return sorted(found)


def _read_categories(path: Path) -> list[int | None]:
    """Category id of each label value (the list index); None for labels that map to background."""
    names = [_name(entry) for entry in _read_mat(path, "label_list").ravel()]
    unknown = [name for name in names if name not in CATEGORY_IDS and name not in _BACKGROUND]
    if unknown:
        raise raw.RawError(
            f"{path} lists the label {checked_files.shown(unknown[0])}, which {SOURCE} does not have."
        )
    return [CATEGORY_IDS.get(name) for name in names]


def _name(entry) -> str:
    """Text of a cell in a MATLAB cell array of strings; any other content as its ``str``."""
    return str(entry.item() if getattr(entry, "size", 0) == 1 else entry)


def _convert_photo(src: Path, out: Path, category_ids: list[int | None], annotation: Path) -> list[tuple]:
    """Copy one annotated photo and return its CSV rows, one per label."""
    photo = src / "photos" / f"{annotation.stem}.jpg"
    labels = _read_mat(annotation, "groundtruth")
    _check(annotation, labels, photo, len(category_ids))
    shutil.copyfile(photo, raw.image_path(out, annotation.stem))
    return [
        (annotation.stem, rle.encode(labels == value), *labels.shape, category_ids[value], "")
        for value in np.unique(labels).tolist()
        if category_ids[value] is not None
    ]


def _check(annotation: Path, labels: np.ndarray, photo: Path, n_labels: int) -> None:
    """Raise RawError unless `labels` has its photo's size and only values from the label list."""
    height, width = raw.photo_size(photo)
    if labels.shape != (height, width):
        raise raw.RawError(f"{annotation} has the shape {labels.shape}, its photo {(height, width)}.")
    _check_values(annotation, labels, "label", n_labels)


def _check_values(path: Path, values: np.ndarray, what: str, n_labels: int) -> None:
    """Raise RawError unless `values` are integers from 0 to `n_labels` - 1."""
    if values.dtype.kind not in "ui":
        kind = values.dtype
        raise raw.RawError(f"{path} holds {what}s that are {kind}, not whole numbers: fetch it again.")
    for worst in (values.min(initial=0), values.max(initial=0)):
        if not 0 <= worst < n_labels:
            raise raw.RawError(f"{path} holds the {what} {worst}, label_list.mat ends at {n_labels - 1}.")


def _read_mat(path: Path, name: str) -> np.ndarray:
    """The array `name` of a MATLAB file; raises RawError if the file or the array can't be read."""
    if not path.exists():
        raise raw.RawError(f"{path} is missing: give the unpacked Clothing Co-Parsing archive.")
    try:
        return np.asarray(scipy.io.loadmat(checked_files.check_file(path), variable_names=[name])[name])
    except Exception as error:  # scipy raises many exception types on a damaged file
        said = checked_files.reason(error)
        raise raw.RawError(f"{path} holds no readable {name!r} ({said}): fetch it again.") from None
