"""What every source does with photos: make room in the raw folder, read sizes, use all cores."""

import functools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from fashionlib.core import checked_files, outputs, processes
from fashionlib.data import raw

SUBFOLDERS = ("train", "test")
CHUNK = 8  # photos that a process is given at once
CSV_BYTES = 5  # a photo's rows seldom exceed a fifth of its file


def writes_raw(doing: str) -> Callable[[Callable], Callable]:
    """A decorator: a function ``(source, out, …)`` fills a folder that becomes `out` when it returns.

    It is refused where `out` is not new (`outputs.building`): raw data is never changed.
    """

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def into_new_folder(source, out: str | Path, *args, **options) -> Path:
            refuse_complete(out)
            with outputs.building(out, raw.CSV, doing, "raw data", [source]) as part:
                refuse_complete(out)  # what another process did meanwhile, or before it was killed
                function(source, part, *args, **options)
            return Path(out)

        return into_new_folder

    return decorate


def refuse_complete(out: str | Path) -> None:
    """Raise RawError where `out` has its ``train.csv``, which every source writes last."""
    if (Path(out) / raw.CSV).exists():
        raise raw.RawError(f"{out} already holds raw data: delete it or choose another folder.")


def make_room(part: Path, photos: Iterable[Path]) -> None:
    """``train/`` and ``test/`` in `part` (`writes_raw`), if there is room for copies of `photos`."""
    photos = list(photos)
    for path in photos:
        raw.image_path(
            "", checked_files.check_file(path, raw.RawError).stem
        )  # a name that a list of ids can hold
    for name in SUBFOLDERS:
        (part / name).mkdir()
    needed = sum(photo.stat().st_size for photo in photos) * (CSV_BYTES + 1) // CSV_BYTES
    if needed > (free := shutil.disk_usage(part).free):
        needs, has = (tqdm.format_sizeof(size, "B") for size in (needed, free))
        raise raw.RawError(f"{part.parent} needs {needs}, {has} are free: choose another disk.")


def size(photo: Path) -> tuple[int, int]:
    """(height, width) of the pixels as stored, read from the file's head; an EXIF turn is not applied."""
    try:
        with Image.open(checked_files.check_file(photo)) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise raw.RawError(f"The photo {photo} is missing.") from None
    except checked_files.DAMAGED as error:
        raise raw.RawError(f"The photo {photo} can't be read ({checked_files.reason(error)}).") from None


def in_parallel(
    function: Callable, items: Sequence, workers: int | None = None, progress: bool = True, what: str = ""
) -> Iterator:
    """``function(item)`` for each item, in order, on `workers` processes (default: one a core)."""
    workers = min(processes.count(workers), -(-len(items) // CHUNK) or 1)  # none that has nothing to do
    bar = {"total": len(items), "desc": what, "unit": "photo", "disable": not progress, "mininterval": 1}
    if workers == 1:
        with tqdm(map(function, items), **bar) as results:
            yield from results
        return
    with processes.pool(workers) as pool, tqdm(pool.map(function, items, chunksize=CHUNK), **bar) as results:
        yield from results
