"""What every source does with photos: put them into the raw folder, and use all cores on the way."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from fashionlib import raw

SUBFOLDERS = ("train", "test")


def new_folder(out: str | Path) -> Path:
    """`out` with empty ``train/`` and ``test/``, once what an interrupted conversion left there is gone.

    A folder that has its ``train.csv`` is complete, since every source writes that file last: it is
    refused, for raw data is never changed.
    """
    out = Path(out)
    if (out / "train.csv").exists():
        raise FileExistsError(f"{out} already holds converted data: delete it or choose another folder.")
    foreign = sorted(p.name for p in out.glob("*") if p.name not in SUBFOLDERS) if out.exists() else []
    if foreign:
        raise FileExistsError(f"{out} is not empty (it holds {foreign[0]}): choose another folder.")
    for name in SUBFOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
    return out


def size(photo: Path) -> tuple[int, int]:
    """(height, width) of the pixels as stored, read from the file's head; an EXIF turn is not applied."""
    try:
        with Image.open(photo) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise raw.RawError(f"The photo {photo} is missing.") from None
    except (OSError, Image.DecompressionBombError) as error:
        raise raw.RawError(f"The photo {photo} can't be read: {error}.") from None


def in_parallel(
    function: Callable, items: Sequence, workers: int | None = None, progress: bool = True, what: str = ""
) -> Iterator:
    """``function(item)`` for each item, in order, on `workers` processes (default: one a core)."""
    workers = min(workers or os.cpu_count() or 1, len(items) or 1)
    bar = {"total": len(items), "desc": what, "unit": "photo", "disable": not progress, "mininterval": 1}
    if workers == 1:
        yield from tqdm(map(function, items), **bar)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from tqdm(pool.map(function, items, chunksize=8), **bar)
