"""Figure 7: predictions on test photos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from fashionlib.core import paths
from fashionlib.evaluate.runs import find
from fashionlib.evaluate.split import Split
from fashionlib.report import style
from fashionlib.report.captions import circumstances, class_title, labels, scored

_SIDE = 700  # pixels: more of a photo can't be seen in print


def fig7_inference(
    data: str, runs: list[str] | None = None, home: str | Path | None = None, name: str = "fig7_inference"
) -> Figure:
    """Photo, ground truth and the prediction of each run: the best, the median and the worst test photo.

    Ranked by the photo's mean IoU, averaged over the runs shown: for one model's own best and
    worst photo name it alone in `runs`, and give the files another `name`.
    """
    split, table = Split.read(data, "test", home), scored(data, "test.csv", (), runs, home)
    names = [class_title(name) for name in split.classes]
    chosen = _best_median_worst(paths.results_folder(data, home), list(table.run))
    photos, truths = zip(*map(split.load, chosen.values()), strict=True)
    files = {run.name: run.checkpoints() for run in find(data, list(table.run), home)}
    predictions = [
        _predict(files[run][epoch], photos) for run, epoch in zip(table.run, table.epoch, strict=True)
    ]
    by_photo = [list(maps) for maps in zip(truths, *predictions, strict=True)]
    rows = [
        [_small(picture) for picture in (photo, *(style.overlay(photo, label, names) for label in maps))]
        for photo, maps in zip(photos, by_photo, strict=True)
    ]
    fig = style.picture_grid(
        rows,
        titles=["photo", "ground truth", *(label.replace(" (", "\n(") for label in labels(table).values())],
        row_labels=list(chosen),
        patches=style.legend([label for maps in by_photo for label in maps], names),
        text=f"{circumstances(table)}. Test photos {', '.join(chosen.values())}.",
        width=style.COLUMN if len(table) == 1 else style.PAGE,
    )
    style.save(fig, name, paths.pictures_folder(data, home))
    return fig


def _best_median_worst(results: Path, runs: list[str]) -> dict[str, str]:
    """Photo ids by mean IoU, averaged over the runs."""
    tables = [pd.read_csv(results / "photos" / f"{run}.csv", dtype={"photo": str}) for run in runs]
    ranked = (
        pd.concat(tables).groupby("photo").mean_IoU.mean().sort_values(ascending=False, kind="stable").index
    )
    return {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}


def _predict(checkpoint: Path, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
    from fashionlib import models  # here: the engine takes seconds, and no other figure needs it

    model = models.load(checkpoint)
    return [models.predict(model, photo) for photo in photos]


def _small(picture: np.ndarray) -> np.ndarray:
    """The picture with its longer side at most `_SIDE` pixels."""
    image = Image.fromarray(picture)
    image.thumbnail((_SIDE, _SIDE))
    return np.asarray(image)
