"""Run-length codes: four bytes are the sides of a photo and of a smaller map, each line then is a code.

Whatever the text, `rle.runs` accepts it exactly if it is pairs of integers inside the photo, and says so in
one sentence if not; masks and label maps are those that painting pixel by pixel gives.
"""

import re

import numpy as np

from fashionlib.data import rle


def one(content: bytes) -> None:
    height, width, h, w = (1 + byte % 16 for byte in content[:4].ljust(4, b"0"))
    codes = content[4:].decode("utf-8", "surrogateescape").split("\n")
    good = [code for code in codes if _accepted(code, height, width)]
    for code in good:
        mask = rle.decode(code, height, width)
        assert (mask == _painted([code], [0], height, width)).all()
        assert (rle.decode(rle.encode(mask), height, width) == mask).all()
    values = [i % 255 for i in range(len(good))]
    full = rle.label_map(good, values, height, width, order="csv")
    assert (full == _painted(good, values, height, width)).all()
    h, w = min(h, height), min(w, width)
    rows, columns = ((2 * np.arange(n) + 1) * side // (2 * n) for n, side in ((h, height), (w, width)))
    small = rle.label_map(good, values, height, width, (h, w), "csv")
    assert (small == full[np.ix_(rows, columns)]).all()


def _accepted(code: str, height: int, width: int) -> bool:
    """Whether `runs` takes the code; it has to agree with a plain reading of it."""
    try:
        rle.runs(code, height * width)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 200, str(error)
        accepted = False
    else:
        accepted = True
    assert accepted == (_pairs(code, height * width) is not None), code
    return accepted


def _pairs(code: str, pixels: int) -> list[tuple[int, int]] | None:
    words = re.split(r"[ \t\n\v\f\r]+", code.strip(" \t\n\v\f\r")) if code.strip() else []
    if len(words) % 2 or not all(re.fullmatch(r"[+-]?[0-9]+", word) for word in words):
        return None
    pairs = list(zip(map(int, words[::2]), map(int, words[1::2]), strict=True))
    inside = (start >= 1 and length >= 1 and start + length - 1 <= pixels for start, length in pairs)
    return pairs if all(inside) else None


def _painted(codes: list[str], values: list[int], height: int, width: int) -> np.ndarray:
    flat = np.zeros(height * width, np.uint8)
    for code, value in zip(codes, values, strict=True):
        for start, length in _pairs(code, height * width):
            for pixel in range(start, start + length):
                flat[pixel - 1] = value + 1
    return flat.reshape(width, height).T
