"""Inputs that nobody should be able to do harm with, by the door through which they come.

A case writes its input into a folder and knocks; the library has to answer with one sentence.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

Build = Callable[[Path], object]


class Case(NamedTuple):
    """`door` gets a folder, empty but for what `build` wrote, and a path where its output may lie."""

    id: str
    build: Build
    door: Callable[[Path, Path], object]
    sentence: str  # a pattern that the sentence has to match


def cases(door: Callable, *rows: tuple[str, Callable, str], prefix: str = "") -> list[Case]:
    """A case for each (id, build, sentence) at one door."""
    return [Case(f"{prefix}{name}", build, door, sentence) for name, build, sentence in rows]


def file(name: str, content: str | bytes) -> Build:
    """A build that writes one file."""

    def build(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return build


def change(base: Build, name: str, content: str | bytes | None) -> Build:
    """`base`, where then the file `name` gets another content, or None: a folder takes its place."""

    def build(folder: Path) -> None:
        base(folder)
        (folder / name).unlink(missing_ok=True)
        if content is None:
            (folder / name).mkdir(parents=True)
        else:
            file(name, content)(folder)

    return build


def pipe(base: Build, name: str) -> Build:
    """`base`, where then a named pipe takes the place of the file `name`: who reads it waits for ever."""

    def build(folder: Path) -> None:
        base(folder)
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return build


def without(base: Build, name: str) -> Build:
    """`base` less one file."""

    def build(folder: Path) -> None:
        base(folder)
        (folder / name).unlink()

    return build


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
