"""What models cost: parameters, arithmetic, seconds, memory, and an estimate of energy."""

import json
from functools import cache
from math import prod
from pathlib import Path

import pandas as pd
from torch.utils.flop_counter import FlopCounterMode

from fashionlib import models
from fashionlib.core import paths
from fashionlib.core.classes import CLASSES
from fashionlib.core.files import write_csv, write_text
from fashionlib.core.run_files import read_history
from fashionlib.evaluate.runs import find
from fashionlib.models.inference import window_starts
from fashionlib.models.network import logits_without_values, without_values
from fashionlib.report.captions import number, scored
from fashionlib.report.table1 import markdown
from fashionlib.train import Recipe
from fashionlib.train.allowed import today

WATTS = 20  # of a core at work: an estimate, not a measurement
PHOTO = (960, 640)  # (h, w) of the photo whose prediction is counted: portrait, 3:2
_NOTE = f"""GFLOPs, at 28 classes: a forward pass of a training crop, and the prediction of a photo of 3:2;
convolutions and matrix products, a multiply-add counted as two operations. Seconds a photo: measured, with
loading, perhaps beside other programs; in training its share of the median step. MB: the process at its
fullest, on a GPU what was allocated there. Wh: an estimate for all steps of training on a CPU, core-seconds
x {WATTS} W."""
_COLUMNS = {  # -> (heading, unit, digits)
    "parameters": ("parameters [M]", 1e6, 1),
    "crop_flops": ("a crop [GFLOPs]", 1e9, 1),
    "photo_flops": ("a photo [GFLOPs]", 1e9, 1),
    "train_seconds_per_photo": ("training [s]", 1, 3),
    "seconds_per_photo": ("prediction [s]", 1, 3),
    "peak_memory_mb": ("memory [MB]", 1, 0),
    "train_wh": ("energy [Wh]", 1, 1),
}


def flops(recipe: Recipe, tested: bool = False) -> int:
    """Floating-point operations of a forward pass of one crop or, `tested`, of the prediction of a `PHOTO`.

    Convolutions and matrix products at 28 classes; a multiply-add counts as two.
    """
    size, windows = recipe.crop, 1
    if tested:
        metadata = models.metadata_for(recipe.model, CLASSES, **recipe.architecture)
        cfg = metadata["test_cfg"] | dict(mode=recipe.test_mode)
        size = models.fitted_size(PHOTO, metadata | dict(resize=recipe.test_resize, test_cfg=cfg))
        if recipe.test_mode == "slide":
            whole, size = size, tuple(map(min, size, cfg["crop_size"]))
            windows = prod(len(window_starts(*side)) for side in zip(whole, size, cfg["stride"], strict=True))
    return windows * _forward(recipe.model, recipe.scale, recipe.crop, recipe.patch, size)


@cache
def _forward(model: str, scale: str, crop: tuple[int, int], patch: int | None, size: tuple[int, int]) -> int:
    network = without_values(model, len(CLASSES), scale, crop, patch)
    with FlopCounterMode(display=False) as counter:
        logits_without_values(network, size)
    return counter.get_total_flops()


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """The costs of runs, from the ``runs.csv`` of studies or a table with its columns.

    There is no energy of runs on a GPU, and no arithmetic where a config file is gone.
    """
    recipes, counted = [Recipe.from_dict(today(json.loads(recipe))) for recipe in rows.recipe], []
    for recipe in recipes:
        try:
            counted.append((flops(recipe), flops(recipe, tested=True)))
        except ValueError:
            counted.append((None, None))
    seconds = rows.seconds_per_step / [recipe.photos_per_step for recipe in recipes]
    threads = rows.device.str.extract(r", (\d+) threads$")[0].astype(float)
    rows = rows.assign(
        **pd.DataFrame(counted, columns=["crop_flops", "photo_flops"], index=rows.index),
        train_seconds_per_photo=seconds,
        train_wh=seconds * rows.epochs * rows.train_photos * threads * WATTS / 3600,
    )
    return rows[["run", "device", "precision", *_COLUMNS]]


def costs(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> pd.DataFrame:
    """Write costs.csv and costs.md of the tested runs on `data` (or of those named); returns the CSV."""
    test, about = scored(data, "test.csv", ("parameters", "seconds_per_photo"), runs, home), []
    for run in find(data, list(test.run), home):
        history, versions = read_history(run.folder), run.card["versions"]
        spent = dict(seconds_per_step=history.seconds.median(), peak_memory_mb=history.memory_mb.max())
        made = dict(recipe=json.dumps(run.card["recipe"]), epochs=history.epoch.max())
        about.append(dict(run=run.name, **made, **spent, **{k: versions[k] for k in ("device", "precision")}))
    found = table(test.drop(columns="epochs").merge(pd.DataFrame(about), on="run"))
    cells = {"run": found.run} | {
        heading: [number(value / unit, digits, factor=1) for value in found[column]]
        for column, (heading, unit, digits) in _COLUMNS.items()
    }
    page = markdown(pd.DataFrame(cells | {"on": found.device}))
    folder = paths.results_folder(data, home)
    write_csv(folder / "costs.csv", found)
    write_text(folder / "costs.md", f"# What the runs on {data} cost\n\n{_NOTE}\n\n{page}\n")
    return found
