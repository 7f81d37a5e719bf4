"""Figures of runs: training and validation curves, IoU by class, confusion matrix, predictions."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from fashionlib.core import paths
from fashionlib.core.classes import BACKGROUND
from fashionlib.data import prepared
from fashionlib.evaluate import areas, metrics
from fashionlib.evaluate.runs import find, read_picked, read_scores
from fashionlib.evaluate.score import EDGE
from fashionlib.evaluate.split import Split
from fashionlib.report import style
from fashionlib.report.captions import as_trained, circumstances, class_title, labels, outside, scored
from fashionlib.report.run_record import history

PAPER_PICKS = {"setr_mla": 8, "setr_pup": 9}  # the only picked epochs that the paper states
_SMOOTHED = 20  # a smoothed point is the mean over a 20th of the run
_HOW_SMOOTHED = f"Bold: mean over 1/{_SMOOTHED} of the run; faint: as logged, thinned to at most 500 means."
_ERRORS = {  # column of errors.csv -> what a figure calls it
    "edge": "at an edge",
    "wrong_class": "a class called another",
    "missed": "a class called background",
    "invented": "background called a class",
}
_SIDE = 700  # pixels: more of a photo can't be seen in print


def fig4_train_accuracy(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Figure 4: pixel accuracy of the decode head on training crops (MMSegmentation's acc_seg)."""
    fig, table, rows, last = _training_curves("acc", data, runs, home)
    fig.axes[0].set(ylabel="training pixel accuracy [%]", ylim=(rows.acc.min() - 1, 100))
    message = f"{last.index[-1]} ends with the highest training accuracy: {last.iloc[-1]:.1f} %."
    return _finish(fig, "fig4_train_accuracy", data, home, table, _HOW_SMOOTHED, message)


def fig5_train_loss(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Figure 5: the decode head's loss. SETR's total has auxiliary losses that the others lack."""
    fig, table, rows, last = _training_curves("loss_decode", data, runs, home)
    fig.axes[0].set(ylabel="decode head's loss", ylim=(0, 1.02 * rows.loss_decode.max()))
    message = f"{last.index[0]} ends with the lowest training loss: {last.iloc[0]:.2f}."
    about = f"Without SETR's auxiliary losses. {_HOW_SMOOTHED}"
    return _finish(fig, "fig5_train_loss", data, home, table, about, message)


def _training_curves(column: str, data: str, runs: list[str] | None, home) -> tuple:
    """The column of every run over epochs: faint as logged (thinned), bold as a rolling mean.

    Returns the figure, the runs, their histories, and the last means by name, rising.
    """
    dataset, rows = prepared.require(paths.data_folder(data, home)), history(data, runs, home)
    found = pd.DataFrame([run.identity(dataset) for run in find(data, runs, home)])
    table = as_trained(found, data, home)
    fig, axes = style.panels(style.COLUMN, 2.1)
    axis, names, last = axes[0, 0], labels(table), {}
    for run, look in zip(table.run, style.line_styles(table.model), strict=True):
        mine = rows[rows.run == run]
        epochs = mine.iter * mine.epoch.max() / mine.iter.max()  # off by less than one in an unfinished run
        window = max(1, len(mine) // _SMOOTHED)
        smooth = mine[column].rolling(window, center=True, min_periods=1).mean()
        axis.plot(epochs, mine[column], linewidth=0.4, alpha=0.3, color=look["color"])
        axis.plot(epochs, smooth, label=names[run], **look)
        last[names[run]] = smooth.iloc[-1:].max()  # not a number before the first iteration
    axis.grid(axis="y")
    axis.set_xlabel("epoch")
    return fig, table, rows, pd.Series(last).sort_values(na_position="last" if column != "acc" else "first")


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
    looks, triangles = style.line_styles(table.model), []
    for run, model, look in zip(table.run, table.model, looks, strict=True):
        mine = rows[rows.run == run]
        axis.plot(mine.epoch, 100 * mine.mIoU, marker=".", markersize=4, label=names[run], **look)
        if run in picked.index:
            at, circle = (picked.epoch[run], 100 * picked.mIoU[run]), dict(markersize=8, fillstyle="none")
            axis.plot(*at, "o", color=look["color"], **circle)
        if PAPER_PICKS.get(model, math.inf) <= mine.epoch.max():
            triangles.append(f"{PAPER_PICKS[model]} of {names[run]}")
            on_axis = dict(transform=axis.get_xaxis_transform(), clip_on=False)
            axis.plot(PAPER_PICKS[model], 0.05, "^", color=look["color"], **on_axis)
    floor = 100 * areas.background_miou(areas.path(path.parent, table.run.iloc[0]), "val")
    axis.axhline(floor, color="0.5", linewidth=0.8, linestyle=":", label="all background")
    axis.set(xlabel="epoch", ylabel="validation mIoU [%]", ylim=(0, 108 * rows.mIoU.max()))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    about = (
        f"mIoU with background, {rows.photos.iloc[0]} validation photos. Circle: picked epoch "
        "(highest mIoU, the earlier on ties)."
    )
    if triangles:
        about += (
            f" Triangle: the epoch that the paper picked for its larger model: {' and '.join(triangles)}."
        )
    return _finish(fig, "fig6_validation_miou", data, home, table, about, _leader(rows, names))


def _leader(rows: pd.DataFrame, names: dict[str, str]) -> str:
    """Which run leads in validation mIoU at the end, from which epoch on, and how far it gets."""
    curves = rows.pivot(index="epoch", columns="run", values="mIoU")
    ahead = curves.ffill().idxmax(axis=1)  # a run that has ended stays where it is
    first, others = ahead.iloc[-1], ahead.index[ahead != ahead.iloc[-1]]
    since = ahead.index[ahead.index > max(others, default=0)][0]
    return f"{names[first]} is best from epoch {since} on and reaches {100 * curves[first].max():.1f} %."


def _finish(fig: Figure, name: str, data: str, home, table: pd.DataFrame, about: str, message: str) -> Figure:
    """Legend above, the figure made higher by as much, and the files."""
    handles, names = fig.axes[0].get_legend_handles_labels()
    columns = 2 if max(map(len, names)) < 32 else 1
    fig.set_figheight(fig.get_figheight() + 0.15 * -(-len(names) // columns))  # inches
    fig.legend(handles, names, loc="outside upper center", ncols=columns, fontsize=6, columnspacing=1)
    text = f"{circumstances(table)}. {about}"
    return style.save(fig, name, paths.figures_folder(data, home), text, message)


def fig_per_class_iou(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Test IoU of each class by each run, beside its share of pixels; the most frequent class comes first.

    Why mIoU is low where aAcc is high: in the mean a rare class counts as much as background.
    """
    rows = scored(data, "per_class.csv", ("class", "IoU", "photos"), runs, home)
    rows = rows[rows.pixels > 0].sort_values("pixels", kind="stable")
    table, names = rows.drop_duplicates("run"), labels(rows.drop_duplicates("run"))
    classes = rows.drop_duplicates("class")
    fig, axes = style.panels(
        style.COLUMN, 0.6 + 0.125 * len(classes), columns=2, sharey=True, width_ratios=(2, 1)
    )
    iou, share = axes[0]
    places = [f"{class_title(name)} ({n})" for name, n in zip(classes["class"], classes.photos, strict=True)]
    spread = 100 * rows.groupby("class").IoU.agg(["min", "max"]).loc[classes["class"]]
    iou.hlines(places, spread["min"], spread["max"], color="0.8", linewidth=0.8)
    for run, look in zip(names, style.line_styles(table.model), strict=True):
        dots = dict(color=look["color"], marker=style.MARKERS[look["linestyle"]], label=names[run])
        iou.plot(100 * rows[rows.run == run].IoU, places, linestyle="none", markersize=3.5, **dots)
    share.plot(100 * classes.pixels / classes.pixels.sum(), places, "o", color="0.4", markersize=3.5)
    share.set(xscale="log", xlabel="pixels [%]")
    share.xaxis.set_major_formatter("{x:g}")
    iou.set(xlabel="test IoU [%]", xlim=(-3, 103))
    for axis in axes[0]:
        axis.grid()
        axis.tick_params(axis="y", length=0, labelsize=6)
    costs = pd.DataFrame({run: _cost_of_rare_classes(mine) for run, mine in rows.groupby("run")})
    pixels, lost = costs.min(axis=1).round(1)
    message = (
        f"The rarer half of the classes has {pixels} % of the pixels, but {lost} % or more of the lost IoU."
    )
    about = "In brackets: test photos with the class. Lost IoU: 1 - IoU, summed over classes."
    return _finish(fig, "fig_per_class_iou", data, home, table, about, message)


def fig_per_photo_iou(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Share of the test photos whose own mean IoU is below a value, a curve a run."""
    table = scored(data, "test.csv", ("epoch", "photos"), runs, home)
    results, looks, names = paths.results_folder(data, home), style.line_styles(table.model), labels(table)
    fig, axes = style.panels(style.COLUMN, 2.1)
    medians = pd.Series(dtype=float)
    for run, epoch, look in zip(table.run, table.epoch, looks, strict=True):
        values = 100 * areas.mean_iou(areas.path(results, run), "test", epoch)
        medians[names[run]] = values.median()
        sns.ecdfplot(values, stat="percent", ax=axes[0, 0], label=names[run], **look)
    axes[0, 0].set(
        xlabel="mean IoU of a test photo [%]", ylabel="photos below [%]", xlim=(0, 100), ylim=(0, 100)
    )
    axes[0, 0].grid()
    about = f"{table.photos.iloc[0]} test photos; means over the classes that a photo has or is said to have."
    message = f"Even with {medians.idxmax()}, half of the photos have a mean IoU below {medians.max():.1f} %."
    return _finish(fig, "fig_per_photo_iou", data, home, table, about, message)


def fig_confusion(data: str, run: str | None = None, home: str | Path | None = None) -> Figure:
    """Confusion matrix of a run (None: that of the highest test mIoU), each true class scaled to 100 %."""
    table = scored(data, "test.csv", ("mIoU",), None, home).set_index("run", drop=False)
    run = run or table.mIoU.idxmax()
    matrix = pd.read_csv(paths.results_folder(data, home) / "confusion" / f"{run}.csv", index_col="truth")
    present = (matrix.sum(axis=1) + matrix.sum(axis=0)).to_numpy() > 0
    matrix = matrix.loc[present, present]
    share = 100 * matrix.div(matrix.sum(axis=1).where(lambda n: n > 0), axis=0)
    photos = scored(data, "per_class.csv", ("class", "photos"), [run], home).set_index("class").photos
    fig, axis = style.class_heatmap(share, photos[share.columns], "share of the class's true pixels [%]")
    axis.set(xlabel="prediction", ylabel="truth (test photos with the class)")
    wrong = matrix.to_numpy() * (1 - np.eye(len(matrix)))  # background comes first
    parts = [f"{100 * part.sum() / wrong.sum():.0f} %" for part in (wrong[1:, :1], wrong[1:, 1:])]
    message = (
        f"Of the wrong pixels, {parts[0]} are a garment called background, {parts[1]} one called another."
    )
    who = f"{labels(table.loc[[run]])[run]} · {circumstances(table.loc[[run]])}"
    text = f"{who}. Test split, epoch {table.epoch[run]}; numbers from 10 % on."
    return style.save(fig, "fig_confusion", paths.figures_folder(data, home), text, message)


def fig_errors(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> Figure:
    """Kinds of wrong pixels in the test photos, a bar a run, in percent of its wrong pixels."""
    table, others = scored(data, "errors.csv", tuple(_ERRORS), runs, home), outside(data, home)
    counts = pd.concat([table.assign(title=table.run.map(labels(table))), others]).set_index("title")
    counts = counts[[*_ERRORS]].rename(columns=_ERRORS)
    share = 100 * counts.div(counts.sum(axis=1), axis=0)
    fig, axes = style.panels(style.PAGE, 0.5 + 0.2 * len(share))
    rows = share.melt(ignore_index=False, var_name="kind", value_name="share").reset_index()
    colours = dict(zip(share, (style.COLOURS[i] for i in (7, 1, 3, 0)), strict=True))
    looks = dict(hue="kind", hue_order=[*share][::-1], palette=colours, multiple="stack", legend=False)
    sns.histplot(rows, y="title", weights="share", shrink=0.8, linewidth=0, ax=axes[0, 0], **looks)
    for bars in axes[0, 0].containers:
        axes[0, 0].bar_label(bars, fmt="%.0f", label_type="center", fontsize=6)
    axes[0, 0].set(xlabel="share of the wrong pixels [%]", ylabel="", xlim=(0, 100))
    fig.legend(handles=style.patches_of(colours), loc="outside upper center", ncols=4, fontsize=6)
    means = share.iloc[: len(table)].mean()
    message = (
        f"The largest part of the wrong pixels, {means.max():.0f} % (mean of the runs), is {means.idxmax()}."
    )
    about = f"At an edge: at most {100 * EDGE:.0f} % of the photo's short side from another true class"
    text = f"{circumstances(table)}. Test split. {about}; the other three: elsewhere."
    return style.save(fig, "fig_errors", paths.figures_folder(data, home), text, message)


def _cost_of_rare_classes(rows: pd.DataFrame) -> dict[str, float]:
    """Percent of the pixels and of the lost IoU that the rarer half of the garment classes has."""
    rare = (rows["class"] != BACKGROUND) & (np.arange(len(rows)) < len(rows) // 2)
    whole = {"pixels": rows.pixels, "lost IoU": 1 - rows.IoU}
    return {what: 100 * x[rare].sum() / (x.sum() or 1) for what, x in whole.items()}


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
    rows, marks, notes, means = [], [], [], []
    for identity, photo, truth, *maps in zip(chosen.values(), photos, truths, *predictions, strict=True):
        wrong = [style.mistakes(photo, truth, label) for label in maps]
        rows.append([_small(picture) for picture in (photo, style.overlay(photo, truth, names), *wrong)])
        marks.append([(), *(style.names_on(label, names) for label in (truth, *maps))])
        matrices = [metrics.confusion_matrix(label, truth, len(names)) for label in maps]
        mean, apparel = (
            100 * np.array([(metrics.miou(m), metrics.apparel_iou(m, split.classes)) for m in matrices]).T
        )
        notes.append([identity, "", *map("mIoU {:.1f} %\napparel {:.1f} %".format, mean, apparel)])
        means.append(mean.mean())
    titles = ["photo", "ground truth", *(label.replace(" (", "\n(") for label in labels(table).values())]
    patches = [*style.legend(truths, names), *style.patches_of(style.OUTCOMES)]
    width = style.COLUMN if len(table) == 1 else style.PAGE
    fig = style.picture_grid(rows, titles, list(chosen), patches, width, marks, notes)
    text = f"{circumstances(table)}. mIoU: over the classes in a photo's truth or prediction."
    message = (
        f"From the best test photo to the worst, the mean IoU falls from {means[0]:.1f} to {means[-1]:.1f} %."
    )
    return style.save(fig, name, paths.pictures_folder(data, home), text, message)


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
