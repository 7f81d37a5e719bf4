"""Conversion between run-length codes and masks, and from run-length codes to label maps.

A code is a string of space-separated ``start length`` pairs. Pixels are numbered from 1, *down the
columns* (column-major), as in Kaggle's iMaterialist (Fashion) 2020. In a photo 3 high and 4 wide

    1  4  7 10           . # . .
    2  5  8 11           . # # .
    3  6  9 12           . . # .

the mask on the right has the code ``"4 2 8 2"``: two pixels from number 4 on, two from number 8 on.

Painting rule: the instances of a photo overlap (a belt on a dress), so `label_map` paints larger instances
first and later ones cover earlier ones; instances of equal area are painted in the given order.

Masks and label maps are returned as transposed (Fortran-ordered) arrays, since runs follow the columns.
"""

import re
from collections.abc import Sequence

import numpy as np

from fashionlib.core.checked_files import shown

ORDERS = ("area", "csv")
_LONE_SIGN = re.compile(r"[+-]\s")  # NumPy joins it with the number that follows


def runs(code: str, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts (0-based) and ends (exclusive) of a code's runs, int64, in a photo of `pixels` pixels.

    Runs may overlap and come in any order. Raises ValueError unless the code consists of pairs of positive
    integers that lie inside the photo.
    """
    try:
        numbers = np.fromstring(code, dtype=np.int64, sep=" ") if code.strip() else np.empty(0, np.int64)
        lone = ("+" in code or "-" in code) and _LONE_SIGN.search(code)
    except ValueError:
        lone = True
    if lone:
        raise ValueError(f"the run-length code {shown(code)} holds something other than integers")
    if len(numbers) % 2:
        raise ValueError(
            f"the run-length code {shown(code)} has an odd number of integers ({len(numbers)}), "
            "but it is made of 'start length' pairs"
        )
    starts, lengths = numbers[::2], numbers[1::2]
    bad = (starts < 1) | (lengths < 1)
    if bad.any():
        raise ValueError(f"the run {_run(code, bad)} is not a start and a length of at least 1")
    bad = lengths > pixels + 1 - starts  # written so that huge numbers can't overflow
    if bad.any():
        raise ValueError(f"the run {_run(code, bad)} goes past the photo's {pixels} pixels")
    return starts - 1, starts - 1 + lengths


def decode(code: str, height: int, width: int) -> np.ndarray:
    """Mask of a code, bool (H, W); an empty code gives an empty mask. Raises ValueError like `runs`."""
    flat = np.zeros(height * width, bool)
    _paint(flat, *runs(code, height * width), True)
    return flat.reshape(width, height).T


def encode(mask: np.ndarray) -> str:
    """Run-length code of a mask (H, W), where nonzero means inside; an empty mask gives ``""``."""
    if np.ndim(mask) != 2:
        raise ValueError(f"A mask has two dimensions (height, width), not the shape {np.shape(mask)}.")
    flat = np.asarray(mask, bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=False))  # alternately starts and ends of runs
    starts, ends = edges[::2], edges[1::2]
    return " ".join(map(str, np.column_stack((starts + 1, ends - starts)).ravel().tolist()))


def label_map(
    codes: Sequence[str],
    class_ids: Sequence[int],
    height: int,
    width: int,
    size: tuple[int, int] | None = None,
    order: str = "area",
) -> np.ndarray:
    """Label map of a photo's instances, uint8 (H, W): 0 = background, elsewhere class id + 1.

    Parameters
    ----------
    codes, class_ids
        One run-length code and one class id (0-254) for each instance.
    height, width
        The photo's size in pixels, which the codes refer to.
    size
        (h, w), at most (height, width): output size, by nearest-neighbour sampling. Row i is row
        ``floor((i + 0.5) * height / h)`` of the full map, columns likewise; the full map is never built.
    order
        ``"area"`` paints larger instances first (equal areas in the given order), ``"csv"`` as given.

    Raises ValueError for a bad code (like `runs`), class id, size or order.
    """
    if order not in ORDERS:
        raise ValueError(f"Unknown painting order {order!r}. Known: {', '.join(map(repr, ORDERS))}.")
    if len(codes) != len(class_ids):
        raise ValueError(f"There are {len(codes)} codes but {len(class_ids)} class ids.")
    if any(not 0 <= i <= 254 for i in class_ids):
        raise ValueError(f"Class ids lie between 0 and 254 (a label value is id + 1): {list(class_ids)}.")
    h, w = size or (height, width)
    if not (0 < h <= height and 0 < w <= width):
        raise ValueError(f"size={size} must lie between (1, 1) and the photo's own ({height}, {width}).")

    instances = [runs(code, height * width) for code in codes]
    painting = range(len(instances))
    if order == "area":
        areas = [int((ends - starts).sum()) for starts, ends in instances]
        painting = sorted(painting, key=lambda i: -areas[i])  # sorted() is stable: ties keep their order
    shrink = _sampler(height, width, h, w) if (h, w) != (height, width) else None
    flat = np.zeros(h * w, np.uint8)
    for i in painting:
        starts, ends = instances[i]
        if shrink:
            starts, ends = shrink(starts), shrink(ends)
        _paint(flat, starts, ends, class_ids[i] + 1)
    return flat.reshape(w, h).T


def _paint(flat: np.ndarray, starts: np.ndarray, ends: np.ndarray, value: int) -> None:
    """Fill the runs [start, end) of a flat map; far cheaper than a pass over all its pixels."""
    kept = ends > starts  # shrinking can empty a run
    for start, end in zip(starts[kept].tolist(), ends[kept].tolist(), strict=True):
        flat[start:end] = value


def _sampler(height: int, width: int, h: int, w: int):
    """Function that maps a 0-based pixel number of the full map to the number of sampled pixels before it.

    Applied to both ends of a run it gives the run in the h x w map, because sampling preserves the order.
    """

    def before(n: int, full: int) -> np.ndarray:  # (full + 1,): how many of n sampled lines precede a line
        sampled = (2 * np.arange(n) + 1) * full // (2 * n)  # floor((i + 0.5) * full / n), in integers
        return np.searchsorted(sampled, np.arange(full + 1))

    rows, columns = before(h, height), before(w, width)
    taken = np.diff(columns, append=w) > 0  # (width + 1,): whether a column is sampled

    def shrink(positions: np.ndarray) -> np.ndarray:
        column, row = np.divmod(positions, height)
        return columns[column] * h + taken[column] * rows[row]

    return shrink


def _run(code: str, bad: np.ndarray) -> str:
    """The first bad run, quoted from the code, with the number of its pair."""
    i = int(bad.argmax())
    return f"{shown(' '.join(code.split()[2 * i : 2 * i + 2]))} (pair {i + 1})"
