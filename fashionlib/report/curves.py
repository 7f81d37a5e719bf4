"""Figures 4, 5 and 6: how training went, and which epoch was picked."""

import math
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fashionlib.core import paths
from fashionlib.data import prepared
from fashionlib.evaluate.runs import find, read_picked, read_scores
from fashionlib.report import style
from fashionlib.report.captions import as_trained, circumstances, labels
from fashionlib.report.run_record import history

PAPER_PICKS = {"setr_mla": 8, "setr_pup": 9}  # the only picked epochs that the paper states
_SMOOTHED = 20  # a smoothed point is the mean over a 20th of the run


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
    style.note(fig, text)
    style.save(fig, name, paths.figures_folder(data, home))
    return fig
