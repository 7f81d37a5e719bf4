"""Files that are whole or not there: a kill while writing leaves what was there before."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pandas as pd


@contextmanager
def whole(path: str | Path):
    """A temporary path beside `path` to write to; moved into place if nothing was raised."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: writers like matplotlib choose the format by it.
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def link(source: str | Path, target: str | Path) -> None:
    """`target` with the bytes of `source`: a hard link costs nothing; where there can be none, a copy."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another disk
        shutil.copyfile(source, target)


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 `text` whole; returns the path."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)


def write_csv(path: str | Path, frame: pd.DataFrame) -> Path:
    """Write `frame` whole, without its index, floats to 6 decimals that count; returns the path."""
    return write_text(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
