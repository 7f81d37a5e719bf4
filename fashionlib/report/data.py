"""Figures of the data: how often classes occur, how large they are, what label maps look like."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from fashionlib.core import paths
from fashionlib.core.classes import MAIN, NAMES, PERSON
from fashionlib.evaluate.split import Split
from fashionlib.report import style
from fashionlib.report.captions import class_title


def fig_class_frequency(data: str, instances: pd.DataFrame, home: str | Path | None = None) -> Figure:
    """Photos and share of pixels of each main class in the raw data, both on a log scale.

    `instances` is what `fashionlib.data.raw.read` returns; garment parts are left out.
    """
    table = _main(instances)
    groups = table.groupby("name")
    photos = groups.ImageId.nunique().sort_values()
    size = table.drop_duplicates("ImageId").eval("Height * Width").sum()
    share = 100 * groups.pixels.sum()[photos.index] / size
    fig, axes = style.panels(style.COLUMN, 0.6 + 0.125 * len(photos), columns=2, sharey=True)
    for axis, values, label, i in (
        (axes[0, 0], photos, "photos", 0),
        (axes[0, 1], share, "share of pixels [%]", 1),
    ):
        axis.barh(photos.index, values, color=style.COLOURS[i], height=0.7)
        _log_axis(axis, label)
        axis.set_xlim(values.min() / 2, None)
        axis.grid(axis="x")
        axis.margins(y=0.01)
        axis.tick_params(axis="y", length=0, labelsize=6)
    parts = len(instances) - len(table)
    shown = f"{instances.ImageId.nunique()} photos, {len(table)} instances of main classes"
    text = f"{data}: {shown}, before merging; {parts} garment parts left out."
    return style.save(fig, "fig_class_frequency", paths.figures_folder(data, home), text)


def fig_mask_areas(data: str, instances: pd.DataFrame, home: str | Path | None = None) -> Figure:
    """How much of its photo an instance of each class covers: median, quartiles, 5 and 95 %."""
    table = _main(instances)
    share = (100 * table.pixels / (table.Height * table.Width)).groupby(table.name)
    order = share.median().sort_values().index
    fig, axes = style.panels(style.COLUMN, 0.6 + 0.125 * len(order))
    axis, thin = axes[0, 0], dict(linewidth=0.6)
    axis.boxplot(
        [share.get_group(name) for name in order],
        orientation="horizontal",
        tick_labels=list(order),
        whis=(5, 95),
        showfliers=False,
        widths=0.6,
        patch_artist=True,
        boxprops=thin | dict(facecolor="#9dc6e0"),
        whiskerprops=thin,
        capprops=thin,
        medianprops=dict(color=style.COLOURS[3], linewidth=1.2),
    )
    _log_axis(axis, "instance's share of its photo [%]")
    axis.tick_params(axis="y", length=0, labelsize=6)
    axis.grid(axis="x")
    text = f"{data}: {len(table)} instances of main classes. Box: quartiles; whiskers: 5 and 95 %."
    return style.save(fig, "fig_mask_areas", paths.figures_folder(data, home), text)


def fig_label_maps(data: str, photos: int = 4, seed: int = 0, home: str | Path | None = None) -> Figure:
    """Training photos and their label maps laid over them; the photos are drawn by `seed`."""
    split = Split.read(data, "train", home)
    chosen = np.random.default_rng(seed).permutation(split.ids)[:photos]
    images, maps = zip(*map(split.load, chosen), strict=True)
    names = [class_title(name) for name in split.classes]
    overlays = [style.overlay(image, label, names) for image, label in zip(images, maps, strict=True)]
    text = f"{data} · class set {split.dataset['class_set']} · training photos {', '.join(chosen)}"
    legend, labels = style.legend(maps, names), ["photo", "label map"]
    fig = style.picture_grid([images, overlays], row_labels=labels, text=text, patches=legend)
    return style.save(fig, "fig_label_maps", paths.pictures_folder(data, home))


def _main(instances: pd.DataFrame) -> pd.DataFrame:
    """Instances of main classes (and hair and skin) with `name` and `pixels`, counted from their codes."""
    table = instances[(instances.ClassId < MAIN) | instances.ClassId.isin(PERSON)]
    pixels = [sum(map(int, code.split()[1::2])) for code in table.EncodedPixels]
    return table.assign(name=table.ClassId.map(NAMES).map(class_title), pixels=pixels)


def _log_axis(axis: Axes, label: str) -> None:
    """A logarithmic x axis with plain numbers on it, however few decades it spans."""
    axis.set(xscale="log", xlabel=label)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
