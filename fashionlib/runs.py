"""Run folders as `fashionlib.train` leaves them, for the stages that come after it."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from fashionlib import paths, prepared, reading
from fashionlib.classes import check_name


@dataclass(frozen=True)
class Run:
    """One folder ``runs/<data>/<run>``; `card` is its recipe.json: recipe, classes, command, …"""

    name: str
    folder: Path
    card: dict

    def checkpoints(self) -> dict[int, Path]:
        """Epoch -> weight file, in order; epochs whose file was removed are missing."""
        files = {int(re.sub(r"\D", "", file.stem)): file for file in self.folder.glob("epoch_*.safetensors")}
        return dict(sorted(files.items()))

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
        """Where the initial weights came from, with what must be said of them, as a checkpoint states it."""
        from fashionlib import models  # here: the engine takes seconds to import

        files = self.checkpoints().values()
        report = models.read_meta(next(iter(files))).get("init_report") if files else None
        return "; ".join(text for text in (report["source"], report["note"]) if text) if report else ""


def find(data: str, names=None, home: str | Path | None = None) -> list[Run]:
    """The runs on `data` that have begun (``recipe.json`` is there), by name; all, or those in `names`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: one of `names` is no run; the sentence lists them.
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
    return reading.json_object(path, {"recipe": dict, "classes": list, "fingerprint": str}, "train it again")


def read_dataset(data: str, home: str | Path | None = None) -> dict:
    """``data/<data>/dataset.json``, checked; FileNotFoundError says how to make it."""
    folder = paths.data_folder(data, home)
    if not (folder / prepared.INFO).exists():
        raise FileNotFoundError(
            f"No {folder / prepared.INFO}: prepare the data first (notebooks/02_prepare.ipynb, or "
            "`fashionlib prepare`)."
        )
    return prepared.info(folder)


def digest(path: str | Path) -> str:
    """The first 16 hex digits of a file's SHA-256: the same file anywhere, whatever its date."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
