"""Figures of runs: training and validation curves, IoU by class, confusion matrix, predictions."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from fashionlib.core import paths
from fashionlib.core.classes import BACKGROUND
from fashionlib.data import prepared
from fashionlib.evaluate import areas
from fashionlib.evaluate.runs import find, read_picked, read_scores
from fashionlib.evaluate.split import Split
from fashionlib.report import style
from fashionlib.report.captions import as_trained, circumstances, class_title, labels, scored
from fashionlib.report.run_record import history

PAPER_PICKS = {"setr_mla": 8, "setr_pup": 9}  # the only picked epochs that the paper states
_SMOOTHED = 20  # a smoothed point is the mean over a 20th of the run
_NAMED = 4  # so many of the most frequent classes are named in a panel, and the rarest
_SIDE = 700  # pixels: more of a photo can't be seen in print


def fig4_train_accuracy(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Figure 4: pixel accuracy of the decode head on training crops (MMSegmentation's acc_seg)."""
    table, rows = _runs(data, runs, home), history(data, runs, home)
    fig, axes = style.panels(style.COLUMN, 2.1)
    _draw(axes[0, 0], table, rows, "acc")
    axes[0, 0].set(xlabel="epoch", ylabel="training pixel accuracy [%]", ylim=(rows.acc.quantile(0.01), 100))
    return _finish(fig, "fig4_train_accuracy", data, home, table, _how_smoothed())


def fig5_train_loss(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Figure 5: the decode head's loss, comparable between models; below, the total with auxiliary losses."""
    table, rows = _runs(data, runs, home), history(data, runs, home)
    fig, axes = style.panels(style.COLUMN, 3.3, rows=2, sharex=True)
    panels = {"loss_decode": "decode head's loss", "loss": "total loss"}
    for axis, (column, label) in zip(axes[:, 0], panels.items(), strict=True):
        _draw(axis, table, rows, column)
        axis.set(ylabel=label, ylim=(0, rows[column].quantile(0.99) * 1.05))
    axes[1, 0].set(xlabel="epoch")
    about = "Total loss: with the auxiliary heads' losses, which only SETR has. " + _how_smoothed()
    return _finish(fig, "fig5_train_loss", data, home, table, about)


def fig6_validation_miou(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Figure 6: validation mIoU after every epoch; the picked epoch is marked."""
    path = paths.results_folder(data, home) / "validation.csv"
    rows = read_scores(path, ("run", "model", "epoch", "epochs", "mIoU"), "04")
    picked = read_picked(data, home=home).set_index("run")
    if runs is not None:
        rows = rows[rows.run.isin(runs)]
    table = as_trained(rows.drop_duplicates("run"), data, home)
    fig, axes = style.panels(style.COLUMN, 2.1)
    axis, names = axes[0, 0], labels(table)
    for i, (run, model) in enumerate(zip(table.run, table.model, strict=True)):
        mine, look = rows[rows.run == run], style.line_style(i)
        axis.plot(mine.epoch, 100 * mine.mIoU, marker=".", markersize=4, label=names[run], **look)
        if run in picked.index:
            at, circle = (picked.epoch[run], 100 * picked.mIoU[run]), dict(markersize=8, fillstyle="none")
            axis.plot(*at, "o", color=look["color"], **circle)
        if PAPER_PICKS.get(model, math.inf) <= rows.epoch.max():
            on_axis = dict(transform=axis.get_xaxis_transform(), clip_on=False)
            axis.plot(PAPER_PICKS[model], 0.05, "^", color=look["color"], **on_axis)
    axis.set(xlabel="epoch", ylabel="validation mIoU [%]", ylim=(0, 108 * rows.mIoU.max()))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    about = (
        f"mIoU with background, {rows.photos.iloc[0]} validation photos. Circle: picked epoch "
        "(highest mIoU, the earlier on ties). Triangle: the paper's pick where it states one, "
        "epoch 8 (SETR MLA) and 9 (SETR PUP)."
    )
    return _finish(fig, "fig6_validation_miou", data, home, table, about)


def _runs(data: str, runs: list[str] | None, home: str | Path | None) -> pd.DataFrame:
    """A row a run: its identity."""
    dataset = prepared.require(paths.data_folder(data, home))
    found = pd.DataFrame([run.identity(dataset) for run in find(data, runs, home)])
    return as_trained(found, data, home)


def _draw(axis, table: pd.DataFrame, rows: pd.DataFrame, column: str) -> None:
    """The column of every run over epochs: faint as logged (thinned), bold as a rolling mean."""
    names = labels(table)
    for i, run in enumerate(table.run):
        mine, look = rows[rows.run == run], style.line_style(i)
        epochs = mine.iter / _iterations_an_epoch(mine)
        window = max(1, len(mine) // _SMOOTHED)
        smooth = mine[column].rolling(window, center=True, min_periods=1).mean()
        axis.plot(epochs, mine[column], linewidth=0.4, alpha=0.3, color=look["color"])
        axis.plot(epochs, smooth, label=names[run], **look)
    axis.grid(axis="y")


def _iterations_an_epoch(rows: pd.DataFrame) -> float:
    """Of the last row: exact for a finished run, and off by less than an epoch in an unfinished one."""
    return rows.iter.max() / rows.epoch.max()  # of no rows at all: not a number, and nothing is drawn


def _how_smoothed() -> str:
    return f"Bold: mean over 1/{_SMOOTHED} of the run; faint: as logged, thinned to at most 500 means."


def _finish(fig: Figure, name: str, data: str, home, table: pd.DataFrame, about: str) -> Figure:
    """Legend above and small print below, the figure made higher by as much, and the files."""
    handles, names = fig.axes[0].get_legend_handles_labels()
    columns = 2 if max(map(len, names)) < 26 else 1
    text = f"{circumstances(table)}. {about}"
    lines = len(style.wrapped(text, style.COLUMN))
    fig.set_figheight(fig.get_figheight() + 0.15 * -(-len(names) // columns) + 0.1 * lines)  # inches
    fig.legend(handles, names, loc="outside upper center", ncols=columns)
    return style.save(fig, name, paths.figures_folder(data, home), text)


def fig_per_class_iou(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Test IoU of each class against its share of pixels, a panel a run.

    Why mIoU is low where aAcc is high: in the mean a rare class counts as much as background. Each
    panel says which part of the lost IoU and of the wrong pixels the rarer half of the classes has.
    """
    rows = scored(data, "per_class.csv", ("class", "IoU"), runs, home)
    table = rows.drop_duplicates("run")
    columns = min(3, len(table))
    lines = -(-len(table) // columns)
    width = style.COLUMN if columns == 1 else style.PAGE
    fig, axes = style.panels(width, 2.2 * lines + 0.3, lines, columns, sharex=True, sharey=True)
    for axis, (run, name) in zip(axes.flat, labels(table).items(), strict=False):
        mine = rows[(rows.run == run) & (rows.pixels > 0)].sort_values("pixels")
        _scatter(axis, mine)
        axis.set_title(name.replace(" (", "\n("), fontsize=7)
        axis.text(0.03, 0.98, _cost_of_rare_classes(mine), transform=axis.transAxes, va="top", fontsize=6)
    for axis in axes.flat[len(table) :]:
        axis.set_visible(False)
    plt.setp(axes[-1], xlabel="share of test pixels [%]")
    plt.setp(axes[:, 0], ylabel="IoU [%]")
    about = "Test split, picked epochs. Lost IoU: 1 - IoU, summed over classes."
    text = f"{circumstances(table)}. {about}"
    return style.save(fig, "fig_per_class_iou", paths.figures_folder(data, home), text)


def fig_confusion(data: str, run: str | None = None, home: str | Path | None = None) -> Figure:
    """Confusion matrix of a run (None: that of the highest test mIoU), each true class scaled to 100 %."""
    table = scored(data, "test.csv", ("mIoU",), None, home).set_index("run", drop=False)
    run = run or table.mIoU.idxmax()
    matrix = pd.read_csv(paths.results_folder(data, home) / "confusion" / f"{run}.csv", index_col="truth")
    present = (matrix.sum(axis=1) + matrix.sum(axis=0)).to_numpy() > 0
    matrix = matrix.loc[present, present]
    share = 100 * matrix.div(matrix.sum(axis=1).where(lambda n: n > 0), axis=0)
    names = [class_title(name) for name in matrix]
    fig, axes = style.panels(style.PAGE, 6.2)
    axis = axes[0, 0]
    axis.set_facecolor("0.92")  # shows in the rows of classes that no test photo has
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(share.to_numpy()):
        if value >= 9.5:
            colour = "w" if value > 55 else "k"
            axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=5, color=colour)
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    axis.set_yticks(range(len(names)), names, fontsize=6)
    axis.tick_params(length=0)
    axis.set(xlabel="prediction", ylabel="truth")
    axis.spines[:].set_visible(False)
    fig.colorbar(image, ax=axis, shrink=0.6, label="share of the class's true pixels [%]")
    who = f"{labels(table.loc[[run]])[run]} · {circumstances(table.loc[[run]])}"
    text = f"{who}. Test split, epoch {table.epoch[run]}; numbers from 10 % on."
    return style.save(fig, "fig_confusion", paths.figures_folder(data, home), text)


def _scatter(axis, rows: pd.DataFrame) -> None:
    """A dot a class, the rarest and the most frequent named; `rows` by rising pixels."""
    share = (100 * rows.pixels / rows.pixels.sum()).to_numpy()
    axis.scatter(share, 100 * rows.IoU, s=9, color=style.COLOURS[0], linewidth=0)
    axis.set(xscale="log", xlim=(share[0] / 2, 200), ylim=(-3, 125), yticks=range(0, 101, 20))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.grid()
    for i in sorted({0, *range(max(0, len(rows) - _NAMED), len(rows))}):
        side = "right" if share[i] > 5 else "left"
        point = (share[i], 100 * rows.IoU.iloc[i])
        name = class_title(rows["class"].iloc[i])
        axis.annotate(name, point, (0, 3), textcoords="offset points", fontsize=5, ha=side, color="0.25")


def _cost_of_rare_classes(rows: pd.DataFrame) -> str:
    """What the rarer half of the garment classes has of the pixels, the lost IoU and the wrong pixels."""
    rare = (rows["class"] != BACKGROUND) & (np.arange(len(rows)) < len(rows) // 2)
    wrong = rows.pixels * (1 - rows.accuracy)
    whole = {"pixels": rows.pixels, "lost IoU": 1 - rows.IoU, "wrong pixels": wrong}
    parts = [f"{100 * x[rare].sum() / (x.sum() or 1):.1f} % of {what}" for what, x in whole.items()]
    return f"the {rare.sum()} rarest classes: {parts[0]},\n{parts[1]}, {parts[2]}"


def fig7_inference(
    data: str, runs: list[str] | None = None, home: str | Path | None = None, name: str = "fig7_inference"
) -> Figure:
    """Photo, ground truth and the prediction of each run: the best, the median and the worst test photo.

    Ranked by the photo's mean IoU, averaged over the runs shown: for one model's own best and
    worst photo name it alone in `runs`, and give the files another `name`.
    """
    split, table = Split.read(data, "test", home), scored(data, "test.csv", (), runs, home)
    names = [class_title(name) for name in split.classes]
    epochs = dict(zip(table.run, table.epoch, strict=True))
    chosen = _best_median_worst(paths.results_folder(data, home), epochs)
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
    return style.save(fig, name, paths.pictures_folder(data, home))


def _best_median_worst(results: Path, runs: dict[str, int]) -> dict[str, str]:
    """Photo ids by mean IoU, averaged over the runs, each at its picked epoch."""
    of_runs = [areas.mean_iou(areas.path(results, run), "test", epoch) for run, epoch in runs.items()]
    by_photo = pd.concat(of_runs).groupby(level=0).mean()
    ranked = by_photo.sort_values(ascending=False, kind="stable").index
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
