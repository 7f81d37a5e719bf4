"""What every source does with photos: make room in the raw folder, read sizes, use all cores."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from fashionlib import processes, raw, reading
from fashionlib.files import LOCK

SUBFOLDERS = ("train", "test")
CHUNK = 8  # photos that a process is given at once
CSV_BYTES = 5  # a photo's rows seldom exceed a fifth of its file


def new_folder(out: str | Path, photos: Iterable[Path]) -> Path:
    """`out` with empty ``train/`` and ``test/`` and room for copies of `photos`.

    What an interrupted conversion left in the two is removed. A folder that has its ``train.csv`` is
    complete, since every source writes that file last, and refused: raw data is never changed.
    """
    out = Path(out)
    if (out / raw.CSV).exists():
        raise raw.RawError(f"{out} already holds converted data: delete it or choose another folder.")
    known = {LOCK, *SUBFOLDERS, raw.DESCRIPTIONS, raw.OFFICIAL_VAL, raw.TAGS, raw.TRAIN_ONLY, "left_out.csv"}
    foreign = sorted(path.name for path in out.glob("*") if path.name not in known)
    if foreign:
        raise raw.RawError(f"{out} holds {foreign[0]!r}, which no conversion wrote: choose another folder.")
    for name in SUBFOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
    needed = sum(photo.stat().st_size for photo in photos) * (CSV_BYTES + 1) // CSV_BYTES
    free = shutil.disk_usage(out).free
    if needed > free:
        raise raw.RawError(
            f"{out} needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: choose another disk."
        )
    return out


def size(photo: Path) -> tuple[int, int]:
    """(height, width) of the pixels as stored, read from the file's head; an EXIF turn is not applied."""
    try:
        with Image.open(photo) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise raw.RawError(f"The photo {photo} is missing.") from None
    except reading.DAMAGED as error:
        raise raw.RawError(f"The photo {photo} can't be read ({reading.reason(error)}).") from None


def in_parallel(
    function: Callable, items: Sequence, workers: int | None = None, progress: bool = True, what: str = ""
) -> Iterator:
    """``function(item)`` for each item, in order, on `workers` processes (default: one a core)."""
    workers = min(workers or os.cpu_count() or 1, -(-len(items) // CHUNK) or 1)  # none that has nothing to do
    bar = {"total": len(items), "desc": what, "unit": "photo", "disable": not progress, "mininterval": 1}
    if workers == 1:
        yield from tqdm(map(function, items), **bar)
        return
    with processes.pool(workers) as pool:
        yield from tqdm(pool.map(function, items, chunksize=CHUNK), **bar)
