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
from fashionlib.report.captions import in_order, scored
from fashionlib.report.table1 import markdown
from fashionlib.train import Recipe
from fashionlib.train.allowed import today

WATTS = 20  # of a core at work: an estimate, not a measurement
PHOTO = (960, 640)  # (h, w) of the photo whose prediction is counted: portrait, 3:2
_NOTE = (
    "Arithmetic (28 classes): a forward pass of a training crop, and the prediction of a portrait photo, 3:2;"
    " convolutions and matrix products, a multiply-add counted as two operations. Seconds a photo: measured,"
    " with loading; in training a forward and a backward pass. Memory: the process at its fullest, on a GPU"
    " what was allocated there. Energy: an estimate for the whole training on a CPU, core-seconds x "
    f"{WATTS} W."
)
_TITLES = {  # column -> (heading, digits)
    "parameters": ("parameters [M]", 1),
    "crop_flops": ("a crop [GFLOPs]", 1),
    "photo_flops": ("a photo [GFLOPs]", 1),
    "train_seconds_per_photo": ("training [s a photo]", 3),
    "seconds_per_photo": ("prediction [s a photo]", 3),
    "peak_memory_mb": ("memory [MB]", 0),
    "train_wh": ("energy [Wh]", 1),
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
            window = tuple(map(min, size, cfg["crop_size"]))
            windows = prod(
                len(window_starts(*sides)) for sides in zip(size, window, cfg["stride"], strict=True)
            )
            size = window
    return windows * _forward(recipe.model, recipe.scale, recipe.crop, recipe.patch, size)


@cache
def _forward(model: str, scale: str, crop: tuple[int, int], patch: int | None, size: tuple[int, int]) -> int:
    network = models.without_values(model, len(CLASSES), scale, crop, patch)
    with FlopCounterMode(display=False) as counter:
        models.logits_without_values(network, size)
    return counter.get_total_flops()


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """The costs of runs: the columns of `rows` that matter, arithmetic and energy added.

    `rows` is the ``runs.csv`` of studies, or has its columns. Energy is missing for runs on a GPU, arithmetic
    where a config file is gone.
    """
    recipes = [Recipe.from_dict(today(json.loads(recipe))) for recipe in rows.recipe]
    threads = rows.device.str.extract(r", (\d+) threads$")[0].astype(float)
    added = dict(
        crop_flops=[_known_flops(recipe) for recipe in recipes],
        photo_flops=[_known_flops(recipe, tested=True) for recipe in recipes],
        train_seconds_per_photo=rows.train_seconds / (rows.epochs * rows.train_photos),
        train_wh=rows.train_seconds * threads * WATTS / 3600,
    )
    return rows.assign(**added)[["run", "device", "precision", *_TITLES]]


def _known_flops(recipe: Recipe, tested: bool = False) -> float:
    try:
        return flops(recipe, tested)
    except ValueError:
        return float("nan")


def costs(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> pd.DataFrame:
    """Write costs.csv and costs.md of the tested runs on `data` (or of those named); returns the CSV."""
    test, about = scored(data, "test.csv", ("parameters", "seconds_per_photo"), runs, home), []
    for run in find(data, list(test.run), home):
        history = read_history(run.folder)
        versions = {name: run.card["versions"][name] for name in ("device", "precision")}
        spent = dict(train_seconds=history.seconds.sum(), peak_memory_mb=history.memory_mb.max())
        recipe = dict(recipe=json.dumps(run.card["recipe"]), epochs=history.epoch.max())
        about.append(dict(run=run.name) | recipe | versions | spent)
    rows = in_order(test.drop(columns="epochs").merge(pd.DataFrame(about), on="run"))
    found, folder = table(rows), paths.results_folder(data, home)
    write_csv(folder / "costs.csv", found)
    write_text(
        folder / "costs.md", f"# What the runs on {data} cost\n\n{_NOTE}\n\n{markdown(_cells(found))}\n"
    )
    return found


def _cells(found: pd.DataFrame) -> pd.DataFrame:
    """The table as texts, in millions and billions where that is what the heading says."""
    units = {"[M]": 1e6, "[GFLOPs]": 1e9}
    cells = {"run": found.run}
    for column, (title, digits) in _TITLES.items():
        values = found[column] / units.get(title.split()[-1], 1)
        cells[title] = ["–" if pd.isna(value) else f"{value:.{digits}f}" for value in values]
    return pd.DataFrame(cells | {"on": found.device})
