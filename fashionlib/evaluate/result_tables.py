"""CSV tables that grow a row at a time and are rewritten whole after each."""

import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from fashionlib.core.files import write_csv
from fashionlib.evaluate import areas
from fashionlib.evaluate.runs import read_scores
from fashionlib.evaluate.split import Split


def read(path: Path) -> pd.DataFrame:
    """The table at `path`; an empty one where there is none yet."""
    if not path.is_file():
        return pd.DataFrame(columns=["run", "epoch"])
    return read_scores(path, ("run",), "04" if path.name in ("validation.csv", "picked_epochs.csv") else "05")


def drop_other_photos(path: Path, split: Split) -> None:
    """Drop the rows, and their areas, that were scored on other photos than those of `split`."""
    table = read(path)
    if table.empty or (same := table.split == split.fingerprint).all():
        return
    for run in table[~same].run:
        areas.drop(areas.path(path.parent, run), split.name)
    write_csv(path, table[same])


def put(
    path: Path, new: pd.DataFrame, key: list[str], order: list[str] | None = None, read: Callable = read
) -> pd.DataFrame:
    """Put rows into the table at `path`, in place of those with the same `key`; returns it.

    `read` reads the table that is there. The result is sorted by the columns `order` (None: `key`); rows
    alike in them keep their order.
    """
    table = read(path)
    kept = table if table.empty else table[~table.set_index(key).index.isin(new.set_index(key).index)]
    table = (pd.concat([kept, new]) if len(kept) else new).sort_values(order or key, kind="stable")
    table = table[[*new, *(column for column in table if column not in new)]]  # an older table lacks some
    write_csv(path, table)
    return table


def progress_bar(total: int, what: str, show: bool) -> tqdm:
    """A bar in photos; off a terminal a line every half minute, since papermill cuts a flooded output."""
    every = 0.5 if sys.stderr.isatty() else 30  # seconds
    return tqdm(total=total, desc=what, unit="photo", disable=not show, mininterval=every, maxinterval=every)
