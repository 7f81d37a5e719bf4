"""Figures of the test scores: IoU by class, and the confusion matrix."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fashionlib.core import paths
from fashionlib.core.classes import BACKGROUND
from fashionlib.report import style
from fashionlib.report.captions import circumstances, class_title, labels, scored

_NAMED = 4  # so many of the most frequent classes are named in a panel, and the rarest


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
    style.note(fig, f"{circumstances(table)}. {about}")
    style.save(fig, "fig_per_class_iou", paths.figures_folder(data, home))
    return fig


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
    style.note(fig, f"{who}. Test split, epoch {table.epoch[run]}; numbers from 10 % on.")
    style.save(fig, "fig_confusion", paths.figures_folder(data, home))
    return fig


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
