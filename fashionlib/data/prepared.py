"""Reader and writer of the files in a prepared folder, which `fashionlib.data.prepare` creates.

Photos are stored as ``images/<id>.jpg``, label maps as ``labels/<id>.png``, lists of ids as
``splits/<split>.txt``; ``dataset.json`` describes them.

Label maps are decoded by a PNG parser of our own. Pillow inflates a PNG row by row, which takes as long as
decoding the photo's JPEG; ISA-L (`isal`) inflates a whole label map (long runs of few values) at once, ten
times as fast. With Pillow alone a training photo 1024 pixels high takes 6.6 ms instead of 5.2, and the
loader's ratio falls to 2.3, below its target of 2.5.
"""

import io
import os
import struct
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from isal import isal_zlib
from PIL import ExifTags, Image, UnidentifiedImageError

from fashionlib.core import checked_files, classes
from fashionlib.core.files import atomic_write, link
from fashionlib.data import rle
from fashionlib.data.raw import OWN, RawError, image_path

INFO = "dataset.json"
AGAIN = "prepare the data again"
_KEYS = {"data": str, "class_set": str, "classes": list, "fingerprint": str, "counts": dict}

# EXIF's entry (tag 0x112, type 3, count 1) and its value for an upright photo, in both byte orders
_ORIENTATIONS = {
    b"\x12\x01\x03\x00\x01\x00\x00\x00": b"\x01\x00",
    b"\x01\x12\x00\x03\x00\x00\x00\x01": b"\x00\x01",
}
_Z_RLE = 3  # zlib's run-length strategy: 3 to 9 times as fast as the default on label maps

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_INDEXED = (8, 3, 0, 0, 0)  # supported IHDR: bit depth, palette colour, compression, filter, interlace
_CHUNKS = [b"IHDR", b"PLTE", b"IDAT", b"IEND"]  # the chunks of a PNG that `fashionlib prepare` wrote
_HEAD = struct.Struct(">IIBBBBB")
_MODES = ("1", "L", "P")  # Pillow's single-channel modes of 8 bits or less
_DEFLATE = 1032  # maximum expansion factor of deflate


class Photo(NamedTuple):
    """Input of a worker: a photo's id, CSV row and size, and the instances to paint."""

    id: str
    row: int  # CSV row of its first instance
    height: int
    width: int
    codes: tuple[str, ...]
    values: tuple[int, ...]  # label values


class Written(NamedTuple):
    """Result of a worker for one photo: `pixels` of each label value (256,), or the `problem`."""

    pixels: np.ndarray | None = None
    exif_turned: bool = False
    problem: str = ""


def write(photo: Photo, raw: Path, out: Path, max_side: int | None, order: str) -> Written:
    """Write a photo and then its label map; an existing label map therefore means that both exist."""
    source, target = image_path(raw, photo.id), out / "images" / f"{photo.id}.jpg"
    label_path = out / "labels" / f"{photo.id}.png"
    h, w = size = size_of(photo, max_side)
    shrunk = size != (photo.height, photo.width)
    done = label_path.exists()
    try:
        with Image.open(source) as image:
            turned = image.format == "JPEG" and image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            if not done:
                small = shrink(image, (w, h)) if shrunk else _whole(image)
    except checked_files.DAMAGED as error:
        return Written(problem=f"the photo {source} is damaged ({checked_files.reason(error)})")
    if done:
        label = Image.open(label_path)
    else:
        with atomic_write(target) as path:
            if shrunk:
                small.save(path, quality=95)
            elif turned:
                path.write_bytes(_unturned(source.read_bytes()))
            else:
                link(source, path)
        class_ids = [value - 1 for value in photo.values]
        label = _palette_image(rle.label_map(photo.codes, class_ids, photo.height, photo.width, size, order))
        with atomic_write(label_path) as path:
            label.save(path, compress_type=_Z_RLE)
    return Written(np.array(label.histogram()), turned)


def size_of(photo: Photo, max_side: int | None) -> tuple[int, int]:
    """(height, width) of the prepared photo: its own, or with the longer side reduced to `max_side`."""
    scale = min(1, (max_side or np.inf) / max(photo.height, photo.width))
    return max(1, round(photo.height * scale)), max(1, round(photo.width * scale))


def shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The photo resized to `size` (width, height).

    A JPEG is decoded at the smallest of its built-in scales (1/2, 1/4, 1/8) that is not below `size`. This
    saves most of the resampling and some of the decoding, and changes values by 0.4 of 255 on average: half
    the change from storing the result as JPEG.
    """
    scaled = image.draft(None, size)  # (mode, box of the photo in the decoded image); None if not a JPEG
    box = scaled[1] if scaled else None
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, box)


def _whole(image: Image.Image) -> None:
    """Decode a photo that is not shrunk, at 1/8 scale, only to detect damage."""
    image.draft(None, (1, 1))
    image.load()


def _unturned(jpeg: bytes) -> bytes:
    """The file with EXIF orientation 1: OpenCV would rotate the photo, but masks fit the stored pixels."""
    for entry, upright in _ORIENTATIONS.items():
        head, found, tail = jpeg.partition(entry)
        if found and len(head) < 1 << 16:  # EXIF is stored at the beginning of the file
            return head + entry + upright + tail[2:]
    return jpeg


def _palette_image(label: np.ndarray) -> Image.Image:
    """The label map as a palette image, with all 256 entries: Pillow stores fewer bits per pixel for less."""
    palette = np.full((256, 3), 255, np.uint8)  # 255 (ignore) is white
    palette[: len(classes.FULL_PALETTE)] = classes.FULL_PALETTE
    image = Image.fromarray(cv2.transpose(label.T))  # column-major to row-major, much faster than numpy
    image.putpalette(palette.tobytes())
    return image


def decode(content: bytes, name: str | Path = "The label map", advice: str = AGAIN) -> np.ndarray:
    """Label values stored in the PNG `content`, uint8 (H, W): palette indices, not colours.

    Files in another PNG variant than `fashionlib prepare` writes are decoded by Pillow.

    Raises:
        ValueError: `content` is damaged or not a single-channel 8-bit image. The message begins with `name`,
            the file's path, and ends in `advice`.
    """
    try:
        return _read(content)
    except ValueError as error:
        raise ValueError(f"{name} can't be decoded ({error}): {advice}.") from None


def check_labels(labels: np.ndarray, n_classes: int, name: str | Path) -> np.ndarray:
    """Return `labels`, uint8, if each is below `n_classes` or 255 (ignore); else ValueError with `name`."""
    if (labels + np.uint8(1)).max() > n_classes:  # 255 (ignore) wraps to 0
        worst = int(labels[labels != classes.IGNORE].max())
        raise ValueError(
            f"{name} holds the label {worst}, but there are {n_classes} classes: prepare the data again."
        )
    return labels


def _read(content: bytes) -> np.ndarray:
    """Label values as in `decode`; the ValueError's text is a fragment for the message of `decode`."""
    stored = _indexed(content)
    if stored is not None:
        return stored
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode, stored = image.mode, np.array(image)
    except UnidentifiedImageError:
        raise ValueError("it is no image") from None
    except checked_files.DAMAGED as error:
        raise ValueError(checked_files.reason(error)) from None
    if mode not in _MODES:
        raise ValueError(f"it is an image of the kind {mode!r}, and a label map has one channel of 8 bits")
    return stored.astype(np.uint8)


def _indexed(content: bytes) -> np.ndarray | None:
    """Pixels of an 8-bit palette PNG with unfiltered rows; None for any other PNG."""
    chunks = _chunks(content)
    head, data = chunks.get(b"IHDR", b""), chunks.get(b"IDAT", b"")
    if list(chunks) != _CHUNKS or len(head) != _HEAD.size or (kind := _HEAD.unpack(head))[2:] != _INDEXED:
        return None
    width, height = kind[:2]
    size = height * (width + 1)
    if not 0 < width * height <= _DEFLATE * len(data):
        raise ValueError(f"its head promises {width} x {height} pixels, more than its {len(data)} bytes hold")
    try:
        inflated = isal_zlib.decompress(data, bufsize=size)
    except isal_zlib.error as error:
        raise ValueError(f"its pixels can't be inflated: {checked_files.reason(error)}") from None
    if len(inflated) != size:
        raise ValueError(f"its head promises {width} x {height} pixels, but {len(inflated)} bytes follow")
    rows = np.frombuffer(inflated, np.uint8).reshape(height, width + 1)
    return None if rows[:, 0].any() else rows[:, 1:]  # each row begins with its filter type


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """Data of each chunk by name; chunks of one name are joined, as PNG does with IDAT. {} if not a PNG."""
    found, at = {}, len(_SIGNATURE)
    while content.startswith(_SIGNATURE) and at + 12 <= len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        data, checksum = content[at + 8 : at + 8 + size], content[at + 8 + size : at + 12 + size]
        if len(checksum) < 4:
            raise ValueError("it is cut short")
        if isal_zlib.crc32(name + data).to_bytes(4, "big") != checksum:
            raise ValueError(f"the checksum of its part {name.decode('ascii', 'replace')!r} is wrong")
        found[name] = found.get(name, b"") + data
        at += 12 + size
    return found


def require(folder: str | Path) -> dict:
    """Validated content of the ``dataset.json`` of a prepared folder.

    Raises FileNotFoundError, with the command that prepares the data, if the file is missing, and ValueError
    if it is incomplete or from another version. "classes" must equal the list of its class set: label values
    are positions in it, and another list would name them all wrongly. Own classes (`raw.OWN`) have no list.
    """
    path = Path(folder) / INFO
    if not path.exists():
        name = path.parent.name
        command = "sample" if name == "sample" else f"prepare raw/{name} data/{name}"
        raise FileNotFoundError(f"No prepared data in {folder}: make it with `fashionlib {command}`.")
    found = checked_files.json_object(path, _KEYS, AGAIN)
    own = found["class_set"] == OWN and classes.is_class_set(found["classes"])
    if not own and found["classes"] != list(classes.CLASS_SETS.get(found["class_set"], ())):
        raise ValueError(f"{path}: its classes are not those of a class set {found['class_set']!r}: {AGAIN}.")
    return found


def split_names(folder: str | Path) -> list[str]:
    """Names of the available splits: train, val, test and, for some data sets, official_val."""
    return sorted(path.stem for path in (Path(folder) / "splits").glob("*.txt"))


def ids(folder: str | Path, split: str) -> list[str]:
    """Photo ids of a split. Raises ValueError for an unknown split or an invalid id."""
    path = Path(folder) / "splits" / f"{classes.check_name(split, split_names(folder), 'split')}.txt"
    found = checked_files.lines(path)
    for name in found:
        try:
            image_path(folder, name)
        except RawError as error:
            raise ValueError(f"{path}: {str(error).rstrip('.')}; {AGAIN}.") from None
    return found


def check_files(folder: str | Path, ids: Collection[str]) -> None:
    """Raise ValueError, naming the file, if a photo or its label map is missing; opens no file."""
    for name, suffix in (("images", ".jpg"), ("labels", ".png")):
        where = Path(folder) / name
        there = set(os.listdir(where)) if where.is_dir() else set()
        if missing := next((i for i in ids if f"{i}{suffix}" not in there), None):
            raise ValueError(f"{where / missing}{suffix} is missing: {AGAIN}.")


def label_map(folder: str | Path, photo: str, n_classes: int = 255) -> np.ndarray:
    """Label map of a photo, uint8 (H, W). Raises ValueError if it is damaged or contains invalid labels."""
    path = Path(folder) / "labels" / f"{photo}.png"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} can't be read ({checked_files.reason(error)}): {AGAIN}.") from None
    return check_labels(decode(content, path), n_classes, path)
