"""Figures of runs: training and validation curves, IoU by class, confusion matrix, predictions."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
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
    axes[0, 0].set(xlabel="epoch", ylabel="training pixel accuracy [%]", ylim=(rows.acc.min() - 1, 100))
    return _finish(fig, "fig4_train_accuracy", data, home, table, _how_smoothed())


def fig5_train_loss(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Figure 5: the decode head's loss. SETR's total has auxiliary losses that the others lack."""
    table, rows = _runs(data, runs, home), history(data, runs, home)
    fig, axes = style.panels(style.COLUMN, 2.1)
    _draw(axes[0, 0], table, rows, "loss_decode")
    axes[0, 0].set(xlabel="epoch", ylabel="decode head's loss", ylim=(0, 1.02 * rows.loss_decode.max()))
    about = "Without SETR's auxiliary losses. " + _how_smoothed()
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
    looks = style.line_styles(table.model)
    for run, model, look in zip(table.run, table.model, looks, strict=True):
        mine = rows[rows.run == run]
        axis.plot(mine.epoch, 100 * mine.mIoU, marker=".", markersize=4, label=names[run], **look)
        if run in picked.index:
            at, circle = (picked.epoch[run], 100 * picked.mIoU[run]), dict(markersize=8, fillstyle="none")
            axis.plot(*at, "o", color=look["color"], **circle)
        if PAPER_PICKS.get(model, math.inf) <= mine.epoch.max():
            on_axis = dict(transform=axis.get_xaxis_transform(), clip_on=False)
            axis.plot(PAPER_PICKS[model], 0.05, "^", color=look["color"], **on_axis)
    floor = 100 * areas.background_miou(areas.path(path.parent, table.run.iloc[0]), "val")
    axis.axhline(floor, color="0.5", linewidth=0.8, linestyle=":", label="all background")
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
    for run, look in zip(table.run, style.line_styles(table.model), strict=True):
        mine = rows[rows.run == run]
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
    columns = 2 if max(map(len, names)) < 32 else 1
    text = f"{circumstances(table)}. {about}"
    lines = len(style.wrapped(text, style.COLUMN))
    fig.set_figheight(fig.get_figheight() + 0.15 * -(-len(names) // columns) + 0.1 * lines)  # inches
    fig.legend(handles, names, loc="outside upper center", ncols=columns, fontsize=6, columnspacing=1)
    return style.save(fig, name, paths.figures_folder(data, home), text)


def fig_per_class_iou(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Test IoU of each class against its share of pixels, a panel a run.

    Why mIoU is low where aAcc is high: in the mean a rare class counts as much as background. Each
    panel says which part of the lost IoU and of the wrong pixels the rarer half of the classes has.
    """
    rows = scored(data, "per_class.csv", ("class", "IoU", "photos"), runs, home)
    table = rows.drop_duplicates("run")
    columns = min(2, len(table))
    lines = -(-len(table) // columns)
    width = style.COLUMN * columns
    fig, axes = style.panels(width, 2.2 * lines + 0.5, lines, columns, sharex=True, sharey=True)
    for axis, (run, name) in zip(axes.flat, labels(table).items(), strict=False):
        mine = rows[(rows.run == run) & (rows.pixels > 0)].sort_values("pixels")
        _scatter(axis, mine)
        axis.set_title(f"{name}\n{_cost_of_rare_classes(mine)}", fontsize=6)
    for axis in axes.flat[len(table) :]:
        axis.set_visible(False)
    for axis in axes.flat[max(0, len(table) - columns) : len(table)]:
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("share of test pixels [%]")
    plt.setp(axes[:, 0], ylabel="IoU [%]")
    fig.legend(handles=style.group_legend(), loc="outside upper center", ncols=5, fontsize=6)
    about = "Test split, picked epochs; larger dots: more photos. Lost IoU: 1 - IoU, summed over classes."
    text = f"{circumstances(table)}. {about}"
    return style.save(fig, "fig_per_class_iou", paths.figures_folder(data, home), text)


def fig_per_photo_iou(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Share of the test photos whose own mean IoU is below a value, a curve a run."""
    table = scored(data, "test.csv", ("epoch", "photos"), runs, home)
    results, looks, names = paths.results_folder(data, home), style.line_styles(table.model), labels(table)
    fig, axes = style.panels(style.COLUMN, 2.1)
    for run, epoch, look in zip(table.run, table.epoch, looks, strict=True):
        values = 100 * areas.mean_iou(areas.path(results, run), "test", epoch)
        sns.ecdfplot(values, stat="percent", ax=axes[0, 0], label=names[run], **look)
    axes[0, 0].set(
        xlabel="mean IoU of a test photo [%]", ylabel="photos below [%]", xlim=(0, 100), ylim=(0, 100)
    )
    axes[0, 0].grid()
    about = f"{table.photos.iloc[0]} test photos; means over the classes that a photo has or is said to have."
    return _finish(fig, "fig_per_photo_iou", data, home, table, about)


def fig_confusion(data: str, run: str | None = None, home: str | Path | None = None) -> Figure:
    """Confusion matrix of a run (None: that of the highest test mIoU), each true class scaled to 100 %."""
    table = scored(data, "test.csv", ("mIoU",), None, home).set_index("run", drop=False)
    run = run or table.mIoU.idxmax()
    matrix = pd.read_csv(paths.results_folder(data, home) / "confusion" / f"{run}.csv", index_col="truth")
    present = (matrix.sum(axis=1) + matrix.sum(axis=0)).to_numpy() > 0
    matrix = matrix.loc[present, present]
    share = 100 * matrix.div(matrix.sum(axis=1).where(lambda n: n > 0), axis=0)
    photos = scored(data, "per_class.csv", ("class", "photos"), [run], home).set_index("class").photos
    names = [class_title(name) for name in matrix]
    fig, axes = style.panels(style.PAGE, 6.2)
    axis = axes[0, 0]
    axis.set_facecolor("0.92")  # shows in the rows of classes that no test photo has
    sns.heatmap(
        share,
        ax=axis,
        cmap="Blues",
        vmin=0,
        vmax=100,
        annot=share.map(lambda value: f"{value:.0f}" if value >= 9.5 else ""),
        fmt="",
        annot_kws=dict(fontsize=5),
        xticklabels=names,
        yticklabels=[f"{name} ({photos[of]})" for name, of in zip(names, matrix, strict=True)],
        cbar_kws=dict(shrink=0.6, label="share of the class's true pixels [%]"),
    )
    for edge in style.group_edges(matrix):
        axis.axhline(edge, color="0.5", linewidth=0.5)
        axis.axvline(edge, color="0.5", linewidth=0.5)
    axis.tick_params(length=0, labelsize=6)
    axis.set(xlabel="prediction", ylabel="truth (test photos with the class)")
    who = f"{labels(table.loc[[run]])[run]} · {circumstances(table.loc[[run]])}"
    text = f"{who}. Test split, epoch {table.epoch[run]}; numbers from 10 % on."
    return style.save(fig, "fig_confusion", paths.figures_folder(data, home), text)


def _scatter(axis, rows: pd.DataFrame) -> None:
    """A dot a class, coloured by group, some of them named; `rows` by rising pixels."""
    share, iou = 100 * rows.pixels / rows.pixels.sum(), 100 * rows.IoU
    looks = dict(
        hue=rows["class"].map(style.group_of), palette=style.GROUP_COLOURS, sizes=(8, 50), linewidth=0
    )
    sns.scatterplot(x=share, y=iou, size=rows.photos, legend=False, ax=axis, **looks)
    axis.set(xscale="log", xlim=(share.min() / 2, 200), ylim=(-4, 104), xlabel="", ylabel="")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.grid()
    ends = {0, *range(max(0, len(rows) - _NAMED), len(rows))}  # the rarest and the most frequent …
    best = set(np.argsort(iou.to_numpy())[-_NAMED:])  # … and the best
    taken: list[tuple[float, float]] = []
    for i in sorted(ends | best, reverse=True):
        x, y = np.log10(share.iloc[i]), iou.iloc[i]
        if any(abs(x - a) < 0.75 and abs(y - b) < 7 for a, b in taken):
            continue  # its name would lie on another one
        taken.append((x, y))
        side = "right" if share.iloc[i] > 5 else "left"
        options = dict(textcoords="offset points", fontsize=5, ha=side, color="0.25")
        axis.annotate(class_title(rows["class"].iloc[i]), (share.iloc[i], y), (0, 4), **options)


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
    rows = []
    for photo, (truth, *predicted) in zip(photos, by_photo, strict=True):
        shown = [style.outline(style.overlay(photo, label, names), truth) for label in predicted]
        rows.append([_small(picture) for picture in (photo, style.overlay(photo, truth, names), *shown)])
    fig = style.picture_grid(
        rows,
        titles=["photo", "ground truth", *(label.replace(" (", "\n(") for label in labels(table).values())],
        row_labels=list(chosen),
        patches=style.legend([label for maps in by_photo for label in maps], names),
        text=f"{circumstances(table)}. White: the truth's outlines. Photos {', '.join(chosen.values())}.",
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
