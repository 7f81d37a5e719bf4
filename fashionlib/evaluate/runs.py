"""Run folders after training: recipe, checkpoints, progress, picked epochs."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fashionlib.core import checked_files, paths
from fashionlib.core.classes import check_name
from fashionlib.core.run_files import CARD, read_history

_RECIPE = dict(model=str, data=str, scale=str, init=str, preset=str, epochs=int, batch=int, seed=int)
_WORDS = {  # the columns of tables of scores that are no numbers
    *("run", "data", "class_set", "model", "scale", "init", "preset", "init_source", "class", "photo"),
    *("checkpoint", "split", "scored_on", "rule", "title", "note"),
    *("device", "torch", "precision", "commit", "recipe", "fingerprint"),
}


@dataclass(frozen=True)
class Run:
    """One folder ``runs/<data>/<run>``; `card` is its recipe.json: recipe, classes, command, …"""

    name: str
    folder: Path
    card: dict

    def checkpoints(self) -> dict[int, Path]:
        """Epoch -> weight file, in order; epochs whose file was removed are missing."""
        found = {file: re.fullmatch(r"epoch_(\d+)", file.stem) for file in self.folder.glob("*.safetensors")}
        return dict(sorted((int(number[1]), file) for file, number in found.items() if number))

    @property
    def finished(self) -> bool:
        """Whether all its epochs are trained."""
        return (self.folder / "done.json").is_file()

    def progress(self) -> str:
        """Number of epochs trained: ``10 epochs``, or ``2 of 10 epochs`` if it stopped in the second."""
        total = f"{self.card['recipe']['epochs']} epochs"
        if self.finished:
            return total
        rows = read_history(self.folder) if (self.folder / "history.csv").is_file() else None
        return f"{max([0, *self.checkpoints(), *(() if rows is None else rows.epoch)]):.0f} of {total}"

    def identity(self, dataset: dict) -> dict:
        """The columns that every table of scores carries, so that no number is read without them.

        `dataset` is the prepared data's dataset.json.
        """
        recipe = self.card["recipe"]
        plain = {key: recipe[key] for key in ("model", "scale", "init", "preset", "epochs", "batch", "seed")}
        return {
            "run": self.name,
            "data": recipe["data"],
            "class_set": dataset["class_set"],
            **plain,
            "train_photos": recipe["photos"] or dataset["counts"]["train"],
            "init_source": self.init_source(),
        }

    def init_source(self) -> str:
        """Source of the initial weights, with its notes, as a checkpoint states it."""
        from fashionlib import models  # here: the engine takes seconds to import

        files = self.checkpoints().values()
        report = models.read_metadata(next(iter(files))).get("init_report") if files else None
        return "; ".join(text for text in (report["source"], report["note"]) if text) if report else ""


def find(data: str, names=None, home: str | Path | None = None) -> list[Run]:
    """The runs on `data` that have begun (``recipe.json`` is there), by name; all, or those in `names`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: one of `names` is no run; the message lists them.
    """
    folder = paths.runs_folder(data, home)
    cards = {path.parent.name: path for path in sorted(folder.glob("*/recipe.json"))}
    if not cards:
        raise FileNotFoundError(
            f"No runs in {folder}: train one, `papermill notebooks/03_train.ipynb 03.ipynb -p data {data}`."
        )
    chosen = sorted(cards) if names is None else [check_name(name, cards, f"run on {data}") for name in names]
    return [Run(name, cards[name].parent, _card(cards[name])) for name in chosen]


def _card(path: Path) -> dict:
    again = "train it again"
    card = checked_files.json_object(path, CARD | {"command": str}, again)
    for name, kind in _RECIPE.items():
        if not isinstance(card["recipe"].get(name), kind):
            raise ValueError(f"{path}: its recipe has no {kind.__name__} as {name!r}: {again}.")
    return card


def progress(data: str, home: str | Path | None = None) -> dict[str, str]:
    """Run -> number of epochs trained (`Run.progress`), for all runs on `data`."""
    return {run.name: run.progress() for run in find(data, None, home)}


def read_scores(path: Path, columns: tuple[str, ...], notebook: str) -> pd.DataFrame:
    """A table of scores that `notebook` ("04") writes, with at least `columns`.

    Raises FileNotFoundError and ValueError that name the file and the notebook to run.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}: run notebook {notebook} first.")
    words = _WORDS - {"precision"} if path.name == "per_class.csv" else _WORDS  # there it is a score
    return checked_files.numbers(path, columns, f"delete it and run notebook {notebook} again", words)


def read_picked(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> pd.DataFrame:
    """``picked_epochs.csv``, all rows or those of `runs`, the highest validation mIoU first.

    The column `trained` says how long a run was trained: ``2 of 10 epochs`` for an unfinished one.

    Raises:
        FileNotFoundError: nothing was picked yet.
        ValueError: one of `runs` has no picked epoch, or the file is not one of ours.
    """
    path = paths.results_folder(data, home) / "picked_epochs.csv"
    if not path.is_file():
        raise FileNotFoundError(f"No run on {data} has a picked epoch ({path}): run notebook 04 first.")
    table = read_scores(path, ("run", "epoch", "epochs", "mIoU", "checkpoint"), "04")
    known = progress(data, home)
    table["trained"] = [known.get(row.run, f"{row.epochs} epochs") for row in table.itertuples()]
    for name in runs or ():
        check_name(name, list(table.run), "run with a picked epoch")
    chosen = table if runs is None else table[table.run.isin(runs)]
    return chosen.sort_values("mIoU", ascending=False, kind="stable", ignore_index=True)
