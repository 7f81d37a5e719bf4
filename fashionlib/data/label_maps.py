"""One photo and its label map: what `prepare` writes of them, a job that runs in many processes."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image

from fashionlib.core import checked_files, classes
from fashionlib.core.files import atomic_write, link
from fashionlib.data import rle
from fashionlib.data.raw import image_path

# EXIF's entry (tag 0x112, type 3, count 1) and its value for an upright photo, in both byte orders
_ORIENTATIONS = {
    b"\x12\x01\x03\x00\x01\x00\x00\x00": b"\x01\x00",
    b"\x01\x12\x00\x03\x00\x00\x00\x01": b"\x00\x01",
}
_Z_RLE = 3  # zlib's strategy for runs, which label maps are made of: 3 to 9 times the default's speed


class Photo(NamedTuple):
    """What a worker needs of a photo; only the instances to paint."""

    id: str
    row: int  # of its first instance in the CSV
    height: int
    width: int
    codes: tuple[str, ...]
    values: tuple[int, ...]  # label values


class Written(NamedTuple):
    """What a worker says about a photo: `pixels` of each label value (256,) or the `problem`."""

    pixels: np.ndarray | None = None
    exif_turned: bool = False
    problem: str = ""


def write(photo: Photo, raw: Path, out: Path, max_side: int | None, order: str) -> Written:
    """Write a photo and then its label map, whose presence means that both are there."""
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
    """(height, width) that the photo gets: its own, or with `max_side` as the longer side."""
    scale = min(1, (max_side or np.inf) / max(photo.height, photo.width))
    return max(1, round(photo.height * scale)), max(1, round(photo.width * scale))


def shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The photo at `size` (width, height).

    A JPEG is decoded at the smallest of its own scales (1/2, 1/4, 1/8) that is not below `size`. This spares
    most of the resampling and some of the decoding, and changes values by 0.4 of 255 on average: half of
    what storing the answer as JPEG does.
    """
    scaled = image.draft(None, size)  # what of the decoded picture is the photo; None if it is no JPEG
    box = scaled[1] if scaled else None
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, box)


def _whole(image: Image.Image) -> None:
    """Read a photo that stays as it is, at 1/8, only to find damage."""
    image.draft(None, (1, 1))
    image.load()


def _unturned(jpeg: bytes) -> bytes:
    """The file with EXIF's orientation set to 1; masks follow the pixels as stored, OpenCV turns photos."""
    for entry, upright in _ORIENTATIONS.items():
        head, found, tail = jpeg.partition(entry)
        if found and len(head) < 1 << 16:  # EXIF lies at the file's beginning
            return head + entry + upright + tail[2:]
    return jpeg


def _palette_image(label: np.ndarray) -> Image.Image:
    """The label map as a palette image; all 256 entries, or Pillow would store fewer bits a pixel."""
    palette = np.full((256, 3), 255, np.uint8)  # 255 (ignore) is white
    palette[: len(classes.FULL_PALETTE)] = classes.FULL_PALETTE
    image = Image.fromarray(cv2.transpose(label.T))  # column-major to row-major, far quicker than numpy
    image.putpalette(palette.tobytes())
    return image
