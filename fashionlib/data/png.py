"""Label maps out of their PNGs, as quickly as they inflate.

Pillow inflates a PNG row by row, which takes as long as decoding the JPEG beside it; a label map,
long runs of few values, inflates ten times as fast in one piece with ISA-L (`isal`).
"""

import io
import struct
from pathlib import Path

import numpy as np
from isal import isal_zlib
from PIL import Image, UnidentifiedImageError

from fashionlib.core import checked_files
from fashionlib.core.classes import IGNORE

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_INDEXED = (8, 3, 0, 0, 0)  # bits, palette, and the only compression, filtering and order we read
_CHUNKS = [b"IHDR", b"PLTE", b"IDAT", b"IEND"]  # the parts of a PNG that `fashionlib prepare` wrote
_HEAD = struct.Struct(">IIBBBBB")
_MODES = ("1", "L", "P")  # Pillow's names of one channel of 8 bits or less
_DEFLATE = 1032  # the most bytes that a byte can inflate to


def read(content: bytes, name: str | Path = "The label map") -> np.ndarray:
    """The numbers that the PNG `content` stores, uint8 (H, W): palette indices, not colours.

    A PNG of another kind than `fashionlib prepare` writes is left to Pillow.

    Raises:
        ValueError: `content` is damaged, or no image of one channel of 8 bits. The sentence begins with
            `name`, the file's path.
    """
    try:
        return _read(content)
    except ValueError as error:
        raise ValueError(f"{name} can't be decoded ({error}): prepare the data again.") from None


def checked(labels: np.ndarray, classes: int, name: str | Path) -> np.ndarray:
    """`labels`, uint8, if all are below `classes` or to be ignored; else a ValueError naming the file."""
    if (labels + np.uint8(1)).max() > classes:  # 255, to be ignored, becomes 0
        worst = int(labels[labels != IGNORE].max())
        raise ValueError(
            f"{name} holds the label {worst}, but there are {classes} classes: prepare the data again."
        )
    return labels


def _read(content: bytes) -> np.ndarray:
    """As `read`, whose sentence the ValueError's text is to be in the middle of."""
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
    """The pixels of an 8-bit palette PNG with unfiltered rows; None for any other."""
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
    return None if rows[:, 0].any() else rows[:, 1:]  # each row begins with its filter's number


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """Name -> data; chunks of one name are joined, as IDAT's are meant to be. {} for what is no PNG."""
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
