"""Label maps out of their PNGs, as quickly as they inflate.

Pillow inflates a PNG row by row, which takes as long as decoding the JPEG beside it; a label map,
long runs of few values, inflates ten times as fast in one piece with ISA-L (`isal`).
"""

import io
import struct

import numpy as np
from isal import isal_zlib
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_INDEXED = (8, 3, 0, 0, 0)  # bits, palette, and the only compression, filtering and order we read


def read(content: bytes) -> np.ndarray:
    """The numbers that the PNG `content` stores, uint8 (H, W): palette indices, not colours.

    A PNG of another kind than `fashionlib prepare` writes is left to Pillow.

    Raises:
        ValueError, OSError: `content` is damaged, or no PNG.
    """
    stored = _indexed(content)
    if stored is None:
        with Image.open(io.BytesIO(content)) as image:
            stored = np.array(image).astype(np.uint8)
    if stored.ndim != 2:
        raise ValueError(f"An image of shape {stored.shape} is no label map: it must have one channel.")
    return stored


def _indexed(content: bytes) -> np.ndarray | None:
    """The pixels of an 8-bit palette PNG with unfiltered rows; None for any other."""
    chunks = _chunks(content)
    width, height, *kind = struct.unpack(">IIBBBBB", chunks.get(b"IHDR", bytes(13)))
    if tuple(kind) != _INDEXED:
        return None
    try:
        inflated = isal_zlib.decompress(chunks.get(b"IDAT", b""), bufsize=height * (width + 1))
    except isal_zlib.error as error:
        raise ValueError(f"The PNG's pixels can't be inflated ({error}).") from None
    rows = np.frombuffer(inflated, np.uint8).reshape(height, width + 1)
    return None if rows[:, 0].any() else rows[:, 1:]  # each row begins with its filter's number


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """Name -> data; chunks of one name are joined, as IDAT's are meant to be."""
    found, at = {}, len(_SIGNATURE)
    while content.startswith(_SIGNATURE) and at + 12 <= len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        found[name] = found.get(name, b"") + content[at + 8 : at + 8 + size]
        at += 12 + size
    return found
