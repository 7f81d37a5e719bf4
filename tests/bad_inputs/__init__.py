"""Inputs that nobody should be able to do harm with, by the door through which they come.

A case's files are written into a folder, and its door is knocked at; the library answers with one sentence.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

FOLDER, PIPE = "a folder", "a named pipe: who reads it waits for ever"  # what may take a file's place
Files = dict[str, str | bytes | None]  # name -> content, FOLDER, PIPE, or None: it is not there


class Case(NamedTuple):
    """`door` gets a folder with `files` and nothing else, and a path where its output may lie."""

    id: str
    files: Files
    door: Callable[[Path, Path], object]
    sentence: str  # a pattern that the sentence has to match


def cases(prefix: str, door: Callable, make: Callable, says: str, rows: Iterable[tuple]) -> list[Case]:
    """A case for each (id, change, part of the sentence) at one door.

    Args:
        make: returns the files for a change (``dict``, where the change is all the files).
        says: the pattern of every sentence, with ``{}`` for the row's part.
    """
    return [Case(f"{prefix}-{id}", make(change), door, says.replace("{}", part)) for id, change, part in rows]


def changed(base: Files, name: str | None = None) -> Callable[..., Files]:
    """A function of changes to `base`, or of another content of its file `name`, that returns the files."""
    return lambda change: base | ({name: change} if name else change)


def write(files: Files, folder: Path) -> None:
    """Put the files into `folder`."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is FOLDER:
            path.mkdir()
        elif content is PIPE:
            os.mkfifo(path)
        elif content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(kind: str = "JPEG", size: tuple[int, int] = (4, 3), mode: str = "RGB", **options) -> bytes:
    """An image of noise, encoded; `size` is (width, height)."""
    shape = (size[1], size[0], 4) if mode in ("RGBA", "CMYK") else (size[1], size[0], 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    image = Image.fromarray(noise, mode) if mode == "CMYK" else Image.fromarray(noise).convert(mode)
    return encoded(image, kind, **options)


def huge_jpeg() -> bytes:
    """A JPEG of a few bytes whose head promises four gigapixels."""
    content = picture()
    at = content.index(b"\xff\xc0") + 5  # start of frame: two bytes of length, one of precision
    return content[:at] + struct.pack(">HH", 65500, 65500) + content[at + 4 :]


def huge_png(sides: int = 60_000, kind: tuple[int, int] = (8, 3)) -> bytes:
    """A PNG of a few bytes whose head promises gigapixels; `kind` is bits a pixel and type of colour."""
    head = struct.pack(">IIBBBBB", sides, sides, *kind, 0, 0, 0)
    parts = (b"IHDR", head), (b"PLTE", bytes(768)), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, *zip(*parts, strict=True)))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def palette_png(labels: np.ndarray) -> bytes:
    """A label map as `fashionlib prepare` writes them, but for its palette, which is black throughout."""
    image = Image.fromarray(labels)
    image.putpalette(bytes(768))
    return encoded(image)
