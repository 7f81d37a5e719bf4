"""Runs that go on from one checkpoint side by side, and the candidates that come of them, judged.

A ViT-S leaves most of an H200 idle, so several runs share it. Each times its first steps and takes as many
epochs as fit. Candidates are means of a run's late epochs, also with the start, and of all runs' last epochs
(model soups): packed in int8, as the shipped model is, and scored as they are packed.
"""

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fashionlib import train
from fashionlib.core import paths, processes
from fashionlib.core.files import write_text
from fashionlib.core.run_files import read_history
from fashionlib.data import prepared
from fashionlib.data.prepare import prepare
from fashionlib.evaluate.split import Split
from tools.cutout_model import flatlay
from tools.cutout_model.average import average_checkpoints
from tools.gpu import judge

START = "start"
LOOK = dict(resize=[1568, 392], closer=dict(first=[896, 224], margin=0.05, pixels=262000, share=0.3))
_CARD = dict(  # the stand-in's last command in fashionlib/assets/cutout.md, without its 4 epochs
    model="detail_vit_s", scale="full", batch=8, seed=1, lr=7e-5, layer_decay=0.75, head_lr_mult=5.0,
    freeze=6, oversample_thr=0.2, crop=(644, 294), resize_base=(2128, 532), resize_range=(0.65, 1.35),
    test_resize=(1568, 392),
)  # fmt: skip
# a window with the whole person, at sizes from the first look's to beyond the second's; all layers learn
_WHOLE = _CARD | dict(
    batch=16, lr=1.5e-4, freeze=None, crop=(770, 406), resize_range=(0.4, 1.4), cat_max_ratio=0.95
)
RUNS = {
    "card": _CARD,
    "whole": _WHOLE,
    "rare": _WHOLE | dict(oversample_thr=0.5, seed=2),
    "brisk": _WHOLE | dict(lr=3e-4, seed=3),
}
_TRIAL = dict(crop=(112, 56), resize_base=(448, 112), batch=2, photos=4)  # on a CPU
_PROBED = 25  # steps of the run that is timed
_SLACK = 1.12  # epochs may take this much longer than timed


def with_flat_lays(home: Path, data: str, count: int) -> str:
    """Name of a data set of `data` and `count` flat-lays of its training photos' garments, to train on."""
    source, flat, out = (home / "data" / name for name in (data, "flat-lays", f"{data}-and-flat-lays"))
    raw = flatlay.make(source, home / "raw" / "flat-lays", "train", count, progress=False)
    info = prepared.require(source)
    more = prepare(raw, flat, info["class_set"], fractions=(1.0, 0.0, 0.0), progress=False)
    for name in ("images", "labels"):
        (out / name).mkdir(parents=True)
        for file in [*(source / name).iterdir(), *(flat / name).iterdir()]:
            (out / name / file.name).symlink_to(file)
    shutil.copytree(source / "splits", out / "splits")
    ids = [*prepared.ids(source, "train"), *prepared.ids(flat, "train")]
    write_text(out / "splits" / "train.txt", "".join(f"{i}\n" for i in ids))
    info |= dict(data=out.name, fingerprint=more["fingerprint"], counts=info["counts"] | dict(train=len(ids)))
    write_text(out / prepared.INFO, json.dumps(info, indent=1))
    return out.name


@dataclass(frozen=True)
class Job:
    """What all runs have in common."""

    home: Path
    data: str
    start: Path  # a run is named after the stem of its initial weights
    until: float  # Unix time at which training should end
    late: float  # and at which it is stopped
    workers: int
    trial: bool

    def run(self, name: str) -> dict:
        """Train the run `name`: its folder and what it took, or its ``error``: the others go on."""
        try:
            return self._run(name)
        except Exception as error:
            return dict(error=f"{type(error).__name__}: {error}")

    def _run(self, name: str) -> dict:
        own = RUNS[name] | dict(init=str(self.start), variant=name, workers=self.workers, data=self.data)
        own |= _TRIAL if self.trial else {}
        recipe = train.Recipe.from_preset("finetune", **own)
        step, around = self._timed(recipe)
        photos = recipe.photos or prepared.require(self.home / "data" / self.data)["counts"]["train"]
        epoch = train.config.steps(replace(recipe, epochs=1), photos) * step * _SLACK + 1  # 1 s: saving
        recipe = replace(recipe, epochs=max(2, int((self.until - time.time() - around) / epoch)))
        with suppress(KeyboardInterrupt):  # of _stop_late: the epochs so far stand
            train.train(recipe, home=self.home, progress=False, on_iteration=self._stop_late)
        folder = paths.run_folder(self.data, recipe.name, self.home)
        history = read_history(folder)
        return dict(
            folder=str(folder),
            planned=recipe.epochs,
            epochs=len(epochs(folder)),
            step_probed=round(step, 4),
            step=round(float(history.seconds.median()), 4),
            loss=[round(float(part.loss.mean()), 4) for _, part in history.groupby("epoch")],
            memory_mb=float(history.memory_mb.max()),
        )

    def _timed(self, recipe: train.Recipe) -> tuple[float, float]:
        """Seconds of a step beside the other runs, and of all that is around a run's steps."""
        photos = recipe.photos or _PROBED * recipe.batch
        recipe = replace(recipe, epochs=1, photos=photos, variant=f"{recipe.variant}-probe")
        begun = time.time()
        folder = train.train(recipe, home=self.home, progress=False)
        seconds = read_history(folder).seconds
        shutil.rmtree(folder)
        return float(seconds[len(seconds) // 3 :].median()), time.time() - begun - float(seconds.sum())

    def _stop_late(self, row: dict) -> None:
        if time.time() > self.late and row["epoch"] > 2:
            raise KeyboardInterrupt


def epochs(folder: Path) -> list[Path]:
    """Weight files of a run, the first epoch first."""
    return sorted(folder.glob("epoch_*.safetensors"), key=lambda path: int(path.stem.split("_")[1]))


def side_by_side(names: list[str], job: Job) -> dict[str, dict]:
    """The runs `names`, a process each."""
    with processes.executor(len(names)) as pool:
        return dict(zip(names, pool.map(job.run, names), strict=True))


def candidates(folders: dict[str, Path], start: Path, out: Path) -> dict[str, Path]:
    """Packed checkpoints to choose among, by name; the start, unchanged in all but how it looks, is one."""
    late = {name: epochs(folder)[-max(2, len(epochs(folder)) // 4) :] for name, folder in folders.items()}
    chosen = {START: [start]} | late | {f"{name}+{START}": [*files, start] for name, files in late.items()}
    if len(late) > 1:
        last = [files[-1] for files in late.values()]
        chosen |= {"all": last, f"all+{START}": [*last, start]}
    out.mkdir()
    pack = partial(average_checkpoints, across_runs=True, **LOOK)
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(pack, chosen.values(), [out / f"{name}.safetensors" for name in chosen])
        return dict(zip(chosen, made, strict=True))


def judged(made: dict[str, Path], home: Path, data: str) -> dict[str, judge.Counts]:
    """Counts of each candidate on the validation photos, in as many processes as there are cores."""
    cores = os.cpu_count() or 1
    parts = max(1, cores // len(made))
    jobs = [(path, home, data, i, parts) for path in made.values() for i in range(parts)]
    with processes.executor(min(len(jobs), cores)) as pool:
        found = list(pool.map(_judged, jobs))
    return {name: _joined(found[i * parts : (i + 1) * parts]) for i, name in enumerate(made)}


def _judged(job: tuple[Path, Path, str, int, int]) -> judge.Counts:
    path, home, data, part, parts = job
    torch.set_num_threads(1)
    split = Split.read(data, "val", home)
    return judge.counts(path, replace(split, ids=split.ids[part::parts]))


def _joined(parts: list[judge.Counts]) -> judge.Counts:
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    order = whole["photos"].argsort()
    return {key: value[order] for key, value in whole.items()}
