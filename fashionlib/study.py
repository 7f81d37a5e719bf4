"""Studies: small tables of runs that differ in what a question asks about, on several seeds.

``results/<data>/studies/<name>.yaml`` says what a study asks, which comparison its headline rests on (written
before the first run) and how its *arms* differ::

    question: Does a batch of 2 make SETR's curve irregular?
    headline: {arms: ["PUP, batch 2", "PUP, batch 8"], by: irregularity}
    settings: {preset: study, init: dinov2}       # of every arm
    seeds: 3                                      # from 0 on, or a list of them
    arms:
      PUP, batch 8: {model: setr_vit_s_pup}
      PUP, batch 2: {model: setr_vit_s_pup, batch: 2, seeds: [0, 1, 2, 3]}

Nothing is picked: the last epoch is scored, on validation and test photos together. Arms of equal settings
are one run, also across studies, and are compared on the seeds that ran on one kind of device. Beside the
yaml files lie ``runs.csv`` (a row a run: scores, cost, machine), ``epochs.csv`` (a row an epoch),
``areas/<run>.csv.gz`` and ``confusion/<run>.csv``, written as each run ends.
"""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from tqdm import tqdm

from fashionlib.core import checked_files, paths
from fashionlib.core.classes import check_name
from fashionlib.core.files import folder_lock, write_csv
from fashionlib.core.run_files import read_history
from fashionlib.data import prepared
from fashionlib.evaluate import areas, metrics, result_tables
from fashionlib.evaluate.runs import Run, find
from fashionlib.evaluate.score import Counts, Scorer, summary
from fashionlib.evaluate.split import Split
from fashionlib.report import reproduction, run_record, studies
from fashionlib.train import Recipe, estimate, run_folder, train

SPLITS = ("val", "test")  # together the photos of a study: nothing is picked on either
POOLED = "val+test"
POINTS = {"mIoU": 2, "irregularity": 8}  # on a validation curve, by what the headline is about
_KEYS = {"question": str, "headline": dict, "settings": dict, "seeds": int | list, "arms": dict}
# what a run's name already says, or what would make it long
_UNSAID = (
    *("model", "scale", "init", "preset", "data", "seed", "resize_base", "test_resize"),
    *("workers", "gpus", "precision"),
)


@dataclass(frozen=True)
class Study:
    """One question; `arms` maps an arm's title to its recipes, one a seed, from seed 0 on."""

    name: str
    data: str
    question: str
    headline: dict
    arms: dict[str, list[Recipe]]

    @classmethod
    def read(cls, data: str, name: str) -> "Study":
        """The study ``results/<data>/studies/<name>.yaml``; ValueError for one that can't be run."""
        names = sorted(path.stem for path in folder(data).glob("*.yaml"))
        path = folder(data) / f"{check_name(name, names, 'study')}.yaml"
        values = yaml.safe_load(checked_files.text(path))
        if not isinstance(values, dict) or any(
            not isinstance(values.get(key), kind) for key, kind in _KEYS.items()
        ):
            raise ValueError(f"{path}: a study has {', '.join(_KEYS)}; see fashionlib/study.py.")
        arms = {
            title: _recipes(data, values["settings"] | given, given.get("seeds", values["seeds"]))
            for title, given in values["arms"].items()
        }
        headline = values["headline"]
        for arm in headline.get("arms", [None]):
            check_name(arm, arms, f"arm in the headline of {path.name}")
        check_name(headline.get("by"), POINTS, f"measure in the headline of {path.name}")
        return cls(name, data, values["question"], headline, arms)

    def results(self, where: Path | None = None) -> studies.Results:
        """What is stored of it so far, in the folder `where`, that of its yaml file by default."""
        arms = {title: [recipe.name for recipe in recipes] for title, recipes in self.arms.items()}
        where = where or folder(self.data)
        return studies.Results(self.data, self.name, self.question, self.headline, arms, where)

    @property
    def points(self) -> int:
        """How many epochs of a run are validated."""
        return POINTS[self.headline["by"]]

    def recipes(self) -> list[Recipe]:
        """Every run once, all arms of a seed before the next seed: arms are compared within a seed."""
        found = sorted((r for runs in self.arms.values() for r in runs), key=lambda recipe: recipe.seed)
        return list({recipe.name: recipe for recipe in found}.values())


@dataclass(frozen=True)
class Measured:
    """What is kept of a run: its row, a row an epoch, and the last epoch's areas and confusion matrix."""

    row: dict
    epochs: pd.DataFrame
    areas: pd.DataFrame
    confusion: pd.DataFrame


def folder(data: str) -> Path:
    """``results/<data>/studies``."""
    return paths.published_results(data) / "studies"


def run(
    data: str, name: str, home: str | Path | None = None, progress: bool = True, where: Path | None = None
) -> str:
    """Train and score the missing runs of a study and write its table and figure; returns its headline.

    Results are kept in the folder `where`, by default ``results/<data>/studies``.

    Raises ValueError for a study that can't be run, FileNotFoundError without prepared data.
    """
    study, where = Study.read(data, name), where or folder(data)
    todo, scorers = missing(study.recipes(), where, home), scorers_of(data, home)
    if progress and todo:
        needed = _time(study, todo, where, home).hours.sum()
        print(f"{len(todo)} runs, about {needed:.1f} hours on this machine")
    for recipe in tqdm(todo, desc=name, unit="run", disable=not progress):
        trained_before = run_folder.is_finished(paths.run_folder(data, recipe.name, home))
        store(where, measure(recipe, scorers, study.points, home, progress))
        if not trained_before:  # else they are someone's, of Table I say
            drop_run(recipe, home)
    return studies.write(study.results(where))


def hours(data: str, name: str, home: str | Path | None = None, where: Path | None = None) -> pd.DataFrame:
    """A row an arm of a study that lacks runs: how many, and the hours of all of them on this machine.

    Measured on five training steps of each arm, so validation is left out; written to ``<name>.hours.csv``.
    """
    study, where = Study.read(data, name), where or folder(data)
    return _time(study, missing(study.recipes(), where, home), where, home)


def _time(study: Study, todo: list[Recipe], where: Path, home: str | Path | None) -> pd.DataFrame:
    """`hours` of the runs `todo` of a study."""
    lacking, rows = set(todo), []
    for arm, recipes in study.arms.items():
        if runs_left := [recipe for recipe in recipes if recipe in lacking]:
            lacking -= set(runs_left)  # another arm may have the same runs
            cost = estimate(replace(runs_left[0], workers=0), home=home)
            row = {"arm": arm, "runs": len(runs_left), "seconds_per_step": cost["seconds_per_iteration"]}
            rows.append(
                row | {"steps": cost["iterations"], "hours": round(len(runs_left) * cost["hours"], 2)}
            )
    table = pd.DataFrame(rows, columns=["arm", "runs", "seconds_per_step", "steps", "hours"])
    if rows:
        table["device"] = run_folder.device_name()
        write_csv(where / f"{study.name}.hours.csv", table)
    return table


def write_all(data: str) -> dict[str, str]:
    """Write the pages of all studies of which a run is stored, and REPRODUCTION.md; study -> its headline."""
    known = set(runs(folder(data)).run)
    read = [Study.read(data, path.stem) for path in sorted(folder(data).glob("*.yaml"))]
    found = {study.name: study.results() for study in read if known & {r.name for r in study.recipes()}}
    headlines = {name: studies.write(results) for name, results in found.items()}
    if data == reproduction.HERE:
        reproduction.write(found)
    return headlines


def runs(where: Path) -> pd.DataFrame:
    """``runs.csv``: a row for each run of any study."""
    return result_tables.read(where / "runs.csv")


def missing(recipes: list[Recipe], where: Path, home: str | Path | None = None) -> list[Recipe]:
    """The recipes without a row; ValueError where a row of that name has other settings or data."""
    known = runs(where).set_index("run")
    fingerprint = prepared.require(paths.data_folder(recipes[0].data, home))["fingerprint"]
    for recipe in recipes:
        if recipe.name in known.index:
            row = known.loc[recipe.name]
            if (row.recipe, row.fingerprint) != (_settings(recipe), fingerprint):
                file = where / "runs.csv"
                raise ValueError(f"{file} has a {recipe.name} of other settings or data: give it a variant.")
    return [recipe for recipe in recipes if recipe.name not in known.index]


def scorers_of(data: str, home: str | Path | None = None) -> list[Scorer]:
    """Scorers on the validation and the test photos; they keep decoded photos from one run to the next."""
    return [Scorer(Split.read(data, name, home)) for name in SPLITS]


def measure(
    recipe: Recipe,
    scorers: list[Scorer],
    points: int,
    home: str | Path | None = None,
    progress: bool = True,
) -> Measured:
    """Train a run, score `points` of its epochs on the validation photos and the last on the test photos.

    `scorers`, of the two splits, are shared by runs: see `scorers_of`.
    """
    scored = validated(recipe, points)

    def drop_last_epoch(row: dict) -> None:  # the weights of many epochs fill a disk
        if (epoch := row["epoch"] - 1) not in scored:
            file = f"epoch_{epoch}.safetensors"
            (paths.run_folder(recipe.data, recipe.name, home) / file).unlink(missing_ok=True)

    train(recipe, home=home, progress=progress, on_iteration=drop_last_epoch)
    (found,) = find(recipe.data, [recipe.name], home)
    history = read_history(found.folder)
    epochs = history.groupby("epoch").agg(loss=("loss_decode", "mean"), accuracy=("acc", "mean"))
    files = found.checkpoints()
    with tqdm(disable=True) as bar:
        curve = {epoch: scorers[0].score(files[epoch], bar) for epoch in scored}
        test = scorers[1].score(files[recipe.epochs], bar)
    epochs["mIoU"] = pd.Series({epoch: metrics.miou(counts.cm) for epoch, counts in curve.items()})
    splits, last = [each.photos.split for each in scorers], [curve[recipe.epochs], test]
    parts = [areas.table(split, recipe.epochs, c.per_photo) for split, c in zip(splits, last, strict=True)]
    pooled = Counts(
        sum(counts.cm for counts in last),
        np.concatenate([counts.per_photo for counts in last]),
        sum(counts.errors for counts in last),
        test.parameters,
        test.seconds,
    )
    row = _row(found, recipe, pooled, splits[0], history)
    return Measured(row, epochs.reset_index(), pd.concat(parts), pooled.matrix(splits[0].classes))


def drop_run(recipe: Recipe, home: str | Path | None = None) -> None:
    """Delete the folder of a run that `measure` trained: a study keeps what it measured."""
    shutil.rmtree(paths.run_folder(recipe.data, recipe.name, home))


def store(where: Path, measured: Measured) -> None:
    """Add a run to the results of studies; its row last, since that marks it as complete."""
    name = measured.row["run"]
    with folder_lock(where, "storing in", wait=True):
        areas.write(areas.path(where, name), measured.areas)
        write_csv(where / "confusion" / f"{name}.csv", measured.confusion)
        measured.epochs.insert(0, "run", name)
        result_tables.put(where / "epochs.csv", measured.epochs, ["run", "epoch"])
        result_tables.put(where / "runs.csv", pd.DataFrame([measured.row]), ["run"])


def _recipes(data: str, settings: dict, seeds: int | list[int]) -> list[Recipe]:
    settings = {name: value for name, value in settings.items() if name != "seeds"}
    said = [f"{name}{_short(settings[name])}" for name in sorted(settings) if name not in _UNSAID]
    return [
        Recipe.from_preset(
            **settings, data=data, seed=seed, variant="-".join([*said, f"s{seed}"] if seed else said)
        )
        for seed in (range(seeds) if isinstance(seeds, int) else seeds)
    ]


def _short(value) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def validated(recipe: Recipe, points: int) -> list[int]:
    """The epochs that are validated: `points` of them, or one more, in equal steps up to the last."""
    return list(range(recipe.epochs, 0, -max(1, recipe.epochs // points)))[::-1]


def _settings(recipe: Recipe) -> str:
    """The recipe's settings as JSON, without those that change no result."""
    free = ("workers", "gpus", "compile", "trust_checkpoint")
    return json.dumps({name: value for name, value in recipe.to_dict().items() if name not in free})


def _row(found: Run, recipe: Recipe, pooled: Counts, split: Split, history: pd.DataFrame) -> dict:
    """Identity, scores, cost and machine of a run, and all its settings."""
    versions = found.card["versions"]
    cost = {
        "train_seconds": round(history.seconds.sum(), 1),
        "seconds_per_step": round(history.seconds.median(), 4),
        "peak_memory_mb": round(history.memory_mb.max()),
        "device": versions["device"],
        "torch": versions["torch"],
        "precision": versions["precision"],
        "commit": run_record.commit(),
    }
    scores = summary(pooled, split) | {"photos": len(pooled.per_photo)}
    scored = {"epoch": recipe.epochs, "scored_on": POOLED}
    max_side = split.dataset["options"].get("max_side")
    where = {"max_side": max_side, "fingerprint": split.dataset["fingerprint"], "recipe": _settings(recipe)}
    return found.identity(split.dataset) | scored | scores | cost | where
