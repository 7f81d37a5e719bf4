"""How good are the labels? Photos to judge by eye; `scores` leaves out those with wrong label maps.

Verdicts are a table with a row a photo: ``group`` (of `GROUPS`), ``truth`` (of `TRUTHS`), ``cause`` (of
`CAUSES`) and a note.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fashionlib.core import paths
from fashionlib.evaluate import areas
from fashionlib.evaluate.split import Split
from fashionlib.report import style
from fashionlib.report.captions import class_title

GROUPS = ("largest disagreement", "random")
TRUTHS = ("right", "doubtful", "wrong")
CAUSES = ("model", "truth", "both", "none")
SPLITS = ("val", "test")
PER_SHEET = 2


def choose(results: Path, count: int = 30, seed: int = 0) -> pd.DataFrame:
    """`count` validation and test photos a group, shuffled: columns photo and group.

    Disagreement is a photo's mean IoU, averaged over the runs at their picked epochs. Runs from random values
    are left out: what predicts little more than background ranks photos by the number of classes in them.
    """
    picked = pd.read_csv(results / "picked_epochs.csv")
    of_runs = [
        pd.concat([areas.mean_iou(areas.path(results, row.run), split, row.epoch) for split in SPLITS])
        for row in picked[picked.init != "none"].itertuples()
    ]
    agreement = pd.concat(of_runs, axis=1).mean(axis=1).sort_values(kind="stable")
    rng = np.random.default_rng(seed)
    photos = [*agreement.index[:count], *rng.choice(agreement.index[count:], count, replace=False)]
    table = pd.DataFrame({"photo": photos, "group": np.repeat(GROUPS, count)})
    return table.iloc[rng.permutation(len(table))].reset_index(drop=True)


def read_verdicts(file: Path) -> pd.DataFrame:
    """The verdicts of `file`; ValueError names the first photo without a valid one."""
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    for column, known in (("group", GROUPS), ("truth", TRUTHS), ("cause", CAUSES)):
        unknown = table[~table[column].isin(known)]
        if len(unknown):
            photo, given = unknown.iloc[0][["photo", column]]
            raise ValueError(
                f"{file}: {column} of photo {photo} is {given!r}, not one of {', '.join(known)}."
            )
    return table


def best_prediction(data: str, home: Path | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """Photo -> label map by the run with the highest validation mIoU, at its picked epoch."""
    from fashionlib import models  # here: the engine takes seconds to import

    picked = pd.read_csv(paths.published_results(data) / "picked_epochs.csv")
    best = picked.loc[picked.mIoU.idxmax()]
    model = models.load(paths.run_folder(data, best.run, home) / f"epoch_{best.epoch}.safetensors")
    return partial(models.predict, model)


def sheets(photos: list[str], data: str, out: Path, home: Path | None = None, predict=None) -> int:
    """Write sheets of photos and their label maps to `out`, and what `predict` makes of a photo if given.

    Returns their number. Beneath a label map stand the classes and their percent of the photo.
    """
    split = Split.read(data, "test", home)  # loads any photo of the data
    names = [class_title(name) for name in split.classes]
    out.mkdir(parents=True, exist_ok=True)
    parts = [photos[first : first + PER_SHEET] for first in range(0, len(photos), PER_SHEET)]
    for number, part in enumerate(parts, 1):
        rows, marks, notes, seen = [], [], [], []
        for photo in part:
            image, truth = split.load(photo)
            maps = [truth, predict(image)] if predict else [truth]
            rows.append([image, *(style.overlay(image, each, names) for each in maps)])
            marks.append([(), *(style.names_on(each, names) for each in maps)])
            notes.append([f"photo {photo}", *(_shares(each, names) for each in maps)])
            seen += maps
        fig = style.picture_grid(rows, patches=style.legend(seen, names), width=5, names=marks, notes=notes)
        fig.savefig(out / f"{'prediction' if predict else 'truth'}_{number:02d}.png", dpi=180)
        plt.close(fig)
    return len(parts)


def _shares(label_map: np.ndarray, names: list[str], a_line: int = 3) -> str:
    """``dress 12.3, shoe 0.4``: percent of the photo, the largest class first."""
    share = 100 * np.bincount(label_map.ravel(), minlength=256)[1 : len(names)] / label_map.size
    said = [f"{names[i + 1]} {share[i]:.1f}" for i in np.argsort(-share) if share[i]]
    return "\n".join(", ".join(said[i : i + a_line]) for i in range(0, len(said), a_line))
