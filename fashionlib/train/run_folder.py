"""The run folder: its recipe, its lock, its history, and whether the run is finished."""

import json
import os
import time
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import is_main_process

from fashionlib import models
from fashionlib.core import checked_files
from fashionlib.core.files import LOCK, folder_lock, write_text
from fashionlib.core.run_files import CARD
from fashionlib.train import provenance, resume
from fashionlib.train.allowed import today
from fashionlib.train.recipe import Recipe

_INSTEAD = "give this run a name of its own (variant=…) or replace that one (overwrite=True)"


class RunRefused(ValueError):
    """The run folder belongs to another recipe or another process; the message gives the remedy."""


def claim(folder: Path, recipe: Recipe, info: dict, overwrite: bool) -> None:
    """Write ``recipe.json`` into a new run folder, or check that the existing one is the same."""
    path = folder / "recipe.json"
    mine = dict(
        recipe=recipe.to_dict(),
        classes=info["classes"],
        fingerprint=info["fingerprint"],
        origin=recipe.origin,
        versions=provenance.versions() | dict(precision=provenance.precision(recipe)),
        command=provenance.command(recipe),
        **({"config": own} if (own := models.spec(recipe.model).own) else {}),
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
        for old in folder.iterdir():  # recipe.json is replaced last: it marks whose files these are
            if old.is_file() and old.name not in (LOCK, path.name):
                old.unlink()
    if is_main_process():
        write_text(path, json.dumps(mine, indent=1) + "\n")


# settings that do not change the result: may differ on resuming
_FREE = ("workers", "gpus", "precision", "compile", "trust_checkpoint")


def _first_difference(theirs: dict, mine: dict) -> str | None:
    before = today(theirs["recipe"])
    for name, value in mine["recipe"].items():
        was = before.get(name, getattr(Recipe, name, None))  # the default: older versions lack new settings
        if name not in _FREE and was != value:
            return f"its {name} is {was!r}, not {value!r}"
    if theirs.get("config") != mine.get("config"):
        return "its config file's model differs"
    if theirs["classes"] != mine["classes"]:
        return "its class list differs"
    return None if theirs["fingerprint"] == mine["fingerprint"] else "its data were prepared differently"


@contextmanager
def locked(folder: Path):
    """Lock of a run folder for one process (the first of a torchrun); the kernel releases it at exit."""
    if int(os.environ.get("RANK", 0)):
        yield
        return
    otherwise = ", or give this run a name of its own (variant=…)"
    with folder_lock(folder, "training in", RunRefused, otherwise):
        yield


def is_finished(folder: Path) -> bool:
    """Whether the run is finished; removes the training state if a kill interrupted `finish`."""
    done = (folder / "done.json").is_file()
    if done:
        _drop_states(folder)
    return done


def finish(folder: Path, recipe: Recipe) -> None:
    """Mark the run as finished (training it again is a no-op) and delete the files needed only to resume."""
    note = dict(epochs=recipe.epochs, finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    write_text(folder / "done.json", json.dumps(note, indent=1) + "\n")
    _drop_states(folder)


def _drop_states(folder: Path) -> None:
    for name in resume.FILES:  # needed only to resume
        (folder / name).unlink(missing_ok=True)
