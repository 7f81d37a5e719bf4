"""How good are the labels? Photos to judge by eye, and Table I without those whose label map is plainly wrong.

Verdicts are a table with a row a photo: ``group`` (one of `GROUPS`), ``truth`` (`TRUTHS`), ``cause`` (`CAUSES`)
and a note. Counts of a run are int64 (P, 3, C), as in `metrics.class_counts`.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

from fashionlib.core import paths
from fashionlib.core.classes import BACKGROUND, check_name
from fashionlib.evaluate import areas, compare
from fashionlib.evaluate.split import Split
from fashionlib.report import style
from fashionlib.report.captions import class_title

GROUPS = ("largest disagreement", "random")
TRUTHS = ("right", "doubtful", "wrong")
CAUSES = ("model", "truth", "both", "none")
MEASURES = ("mIoU", "aAcc", "apparel IoU")
SHIPPED, FLOOR = "shipped cut-out model", "background everywhere"
SPLITS = ("val", "test")
PER_SHEET = 2


def choose(results: Path, count: int = 30, seed: int = 0) -> pd.DataFrame:
    """`count` validation and test photos a group, shuffled: columns photo and group.

    Disagreement is a photo's mean IoU, averaged over the picked epochs of the runs. Runs from random values are
    left out: what predicts little more than background ranks photos by the number of classes in them.
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
        for row in table[~table[column].isin(known)].itertuples():
            raise ValueError(
                f"{file}: photo {row.photo} has {getattr(row, column)!r} as its {column}, "
                f"which is none of {', '.join(known)}."
            )
    return table


def sheets(photos: list[str], data: str, out: Path, home: Path | None = None, model=None) -> int:
    """Write sheets of photos and their label maps to `out`, with `model`'s prediction where one is given.

    Returns their number. Beneath a label map stands the share of the photo that each class has.
    """
    split = Split.read(data, "test", home)
    names = [class_title(name) for name in split.classes]
    out.mkdir(parents=True, exist_ok=True)
    for number, first in enumerate(range(0, len(photos), PER_SHEET), 1):
        rows, marks, notes, seen = [], [], [], []
        for photo in photos[first : first + PER_SHEET]:
            image, truth = split.load(photo)
            maps = [truth, *([_predict(model, image)] if model else [])]
            rows.append([image, *(style.overlay(image, each, names) for each in maps)])
            marks.append([(), *(style.names_on(each, names) for each in maps)])
            notes.append([f"photo {photo}", *(_shares(each, names) for each in maps)])
            seen += maps
        fig = style.picture_grid(rows, patches=style.legend(seen, names), width=5, names=marks, notes=notes)
        fig.savefig(out / f"{'prediction' if model else 'truth'}_{number:02d}.png", dpi=180)
        plt.close(fig)
    return number


def _predict(model, image: np.ndarray) -> np.ndarray:
    from fashionlib import models  # here: the engine takes seconds to import

    return models.predict(model, image)


def _shares(label_map: np.ndarray, names: list[str], a_line: int = 3) -> str:
    """``dress 12.3, shoe 0.4``: percent of the photo, the largest class first."""
    share = 100 * np.bincount(label_map.ravel(), minlength=256)[1 : len(names)] / label_map.size
    said = [f"{names[i + 1]} {share[i]:.1f}" for i in np.argsort(-share) if share[i]]
    return "\n".join(", ".join(said[i : i + a_line]) for i in range(0, len(said), a_line))


def counts(results: Path, splits: tuple[str, ...], shipped: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Photos of `splits`, and the counts of each row of Table I on them; shipped model: where it is in `shipped`."""
    picked = pd.read_csv(results / "picked_epochs.csv")
    picked = picked.set_index("run").epoch.reindex(pd.read_csv(results / "test.csv").run)  # Table I's runs
    tables = {run: _rows(areas.path(results, run), splits, epoch) for run, epoch in picked.items()}
    if SPLITS[0] not in splits and shipped.is_file():
        tables[SHIPPED] = _rows(shipped, splits, 0)
    photos = sorted(set(next(iter(tables.values())).photo))
    found = {run: compare.counts(rows, compare.CLASSES, photos) for run, rows in tables.items()}
    truth = next(iter(found.values()))[:, 1]
    floor = np.stack([np.zeros_like(truth), truth, np.zeros_like(truth)], axis=1)
    background = compare.CLASSES.index(BACKGROUND)
    floor[:, 0, background], floor[:, 2, background] = truth[:, background], truth.sum(axis=1)
    return photos, found | {FLOOR: floor}


def _rows(file: Path, splits: tuple[str, ...], epoch: int) -> pd.DataFrame:
    rows = areas.read(file)
    return rows[rows.split.isin(splits) & (rows.epoch == epoch)]


def without(found: np.ndarray, wrong: np.ndarray, measure: str, redraws: int = 2000) -> dict[str, float]:
    """A score with all photos and without those in `wrong`, (P,) bool, with a 95 % interval of the change.

    The interval is a BCa bootstrap over photos: the same redraw gives both scores.
    """

    def change(index: np.ndarray, axis: int = -1) -> np.ndarray:
        drawn = found[index].astype(float)  # (…, P, 3, C)
        left = (drawn * ~wrong[index][..., None, None]).sum(axis=-3)
        return compare.score(left, measure) - compare.score(drawn.sum(axis=-3), measure)

    everything = np.arange(len(found))
    official, changed = compare.score(found.sum(axis=0), measure), change(everything)
    row = {"official": official, "without": official + changed, "change": changed}
    if not wrong.any() or measure == MEASURES[2] and not found[:, 0, 1:].any():
        return row | {"low": np.nan, "high": np.nan}
    options = dict(n_resamples=redraws, batch=100, rng=np.random.default_rng(0), method="BCa")
    interval = stats.bootstrap((everything,), change, **options).confidence_interval
    return row | {"low": interval.low, "high": interval.high}


def best_model(data: str, home: Path | None = None):
    """The model of the run with the highest validation mIoU, at its picked epoch."""
    from fashionlib import models  # here: the engine takes seconds to import

    picked = pd.read_csv(paths.published_results(data) / "picked_epochs.csv")
    best = picked.loc[picked.mIoU.idxmax()]
    return models.load(paths.run_folder(data, best.run, home) / f"epoch_{best.epoch}.safetensors")
