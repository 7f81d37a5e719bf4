"""Label maps: whatever the bytes, `prepared.decode` gives what Pillow does or says what is wrong."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from fashionlib.data import prepared


def one(content: bytes) -> None:
    _try(content)
    _try(_with_checksums(content))  # or hardly an input would come past them


def _try(content: bytes) -> None:
    try:
        labels = prepared.decode(content)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 200, repr(error)
        return
    assert labels.dtype == np.uint8 and labels.ndim == 2 and labels.size
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(labels, np.asarray(image))


def _with_checksums(content: bytes) -> bytes:
    mended, at = content[:8], 8
    while at + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, at)
        part = content[at + 4 : at + 8 + size]
        mended += content[at : at + 4] + part + zlib.crc32(part).to_bytes(4, "big")
        at += 12 + size
    return mended
