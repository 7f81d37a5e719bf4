"""The run folder: whose it is, that nobody else is at work in it, and when it is finished."""

import json
import os
import time
from collections.abc import Collection
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from mmengine.dist import is_main_process

from fashionlib.core import checked_files
from fashionlib.core.checked_files import shown
from fashionlib.core.files import LOCK, folder_lock, write_text
from fashionlib.train import provenance, resume
from fashionlib.train.recipe import Recipe

CARD = {"recipe": dict, "classes": list, "fingerprint": str}  # what every recipe.json holds
HISTORY = ("epoch", "iter", "loss", "loss_decode", "acc", "lr", "seconds", "memory_mb")
_INSTEAD = "give this run a name of its own (variant=…) or replace that one (overwrite=True)"


class RunRefused(ValueError):
    """The run folder belongs to another recipe or another process; the sentence says what to do."""


def claim(folder: Path, recipe: Recipe, info: dict, overwrite: bool) -> None:
    """Write ``recipe.json`` into a new run folder, or make sure that the one there is the same."""
    path = folder / "recipe.json"
    mine = dict(
        recipe=recipe.to_dict(),
        classes=info["classes"],
        fingerprint=info["fingerprint"],
        origin=recipe.origin,
        versions=provenance.versions(),
        command=provenance.command(recipe),
    )
    if path.exists():
        try:
            theirs = checked_files.json_object(path, CARD, _INSTEAD, RunRefused)
            if not (difference := _first_difference(theirs, mine)):
                return
            raise RunRefused(f"{folder} holds another run: {difference}; {_INSTEAD}.")
        except RunRefused:
            if not overwrite:
                raise
        for old in folder.iterdir():  # recipe.json is replaced, last: until then they are another run's
            if old.is_file() and old.name not in (LOCK, path.name):
                old.unlink()
    if is_main_process():
        write_text(path, json.dumps(mine, indent=1) + "\n")


# how a run is computed, not what: may change on resuming
_FREE = ("workers", "gpus", "precision", "compile", "trust_checkpoint")


def _first_difference(theirs: dict, mine: dict) -> str | None:
    for name, value in mine["recipe"].items():
        if name not in _FREE and theirs["recipe"].get(name) != value:
            return f"its {name} is {theirs['recipe'].get(name)!r}, not {value!r}"
    for name, what in (
        ("classes", "its class list differs"),
        ("fingerprint", "its data were prepared differently"),
    ):
        if theirs[name] != mine[name]:
            return what
    return None


@contextmanager
def locked(folder: Path):
    """One process (the first of a torchrun) at a time; the kernel frees the lock of a dead one."""
    if int(os.environ.get("RANK", 0)):
        yield
        return
    otherwise = ", or give this run a name of its own (variant=…)"
    with folder_lock(folder, "training in", RunRefused, otherwise):
        yield


def is_finished(folder: Path) -> bool:
    """Whether there is nothing left to train; what `finish` was kept from removing is removed."""
    done = (folder / "done.json").is_file()
    if done:
        _drop_states(folder)
    return done


def finish(folder: Path, recipe: Recipe) -> None:
    """Mark the run as finished, so that training it again is a no-op, and drop what only resuming needs."""
    note = dict(epochs=recipe.epochs, finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    write_text(folder / "done.json", json.dumps(note, indent=1) + "\n")
    _drop_states(folder)


def _drop_states(folder: Path) -> None:
    for name in (resume.LAST, resume.PREVIOUS, resume.DIGESTS):  # of use only to go on
        (folder / name).unlink(missing_ok=True)


def read_history(folder: Path) -> pd.DataFrame:
    """``history.csv`` of a run folder, a row an iteration, without a last line that a kill tore.

    Raises ValueError naming the file and the row for what training did not write, FileNotFoundError.
    """
    path, header = folder / "history.csv", ",".join(HISTORY).encode()
    with path.open("rb") as file:
        if header.startswith(file.read(len(header) + 1)):  # torn within its first line
            return pd.DataFrame(columns=HISTORY, dtype=float)
    rows = read_numbers(path, HISTORY, "remove it (the curve is lost, the weights are not)")
    return rows[rows.memory_mb.notna()]


def read_numbers(
    path: Path, columns: tuple[str, ...], remedy: str, texts: Collection[str] = ()
) -> pd.DataFrame:
    """A CSV file of ours with at least `columns`: numbers or empty cells, except in the columns `texts`.

    Raises ValueError naming file, row and column, and ending in `remedy`.
    """
    try:
        table = checked_files.table(path, columns)
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')}; {remedy}.") from None
    for name in table.columns.difference(texts, sort=False):
        cells = table[name]
        table[name] = pd.to_numeric(cells, errors="coerce")
        if (wrong := table[name].isna() & ~cells.isin(["", "nan"])).any():
            row = wrong.idxmax()
            raise ValueError(
                f"{path}, row {row + 2}: {name} is {shown(cells[row])}, which is no number; {remedy}."
            )
    return table
