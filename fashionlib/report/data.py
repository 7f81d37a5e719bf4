"""Figures of the data: how often classes occur, how large they are, what label maps look like."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from fashionlib.core import paths
from fashionlib.core.classes import BACKGROUND, IMATERIALIST, MAIN, NAMES
from fashionlib.evaluate.split import Split
from fashionlib.report import style
from fashionlib.report.captions import class_title

_PATCH = 100 * 16**2 / 512**2  # percent of a crop
_OF_SPLITS = dict(train="#9dc6e0", val=style.COLOURS[0], test=style.COLOURS[1])


def fig_class_frequency(data: str, instances: pd.DataFrame, home: str | Path | None = None) -> Figure:
    """Photos and share of pixels of each main class in the raw data, both on a log scale.

    `instances` is what `fashionlib.data.raw.read` returns; garment parts, hair and skin are left out.
    """
    table = _main(instances)
    size = table.drop_duplicates("ImageId").eval("Height * Width").sum()
    groups = table.groupby("name")
    classes = pd.DataFrame({"photos": groups.ImageId.nunique(), "pixels": 100 * groups.pixels.sum() / size})
    classes["group"] = groups.ClassId.first().map(NAMES).map(style.group_of)
    classes = classes.sort_values(["photos", "pixels"], ascending=False).reset_index()
    fig, axes = style.panels(style.COLUMN, 0.8 + 0.125 * len(classes), columns=2, sharey=True)
    looks = dict(y="name", hue="group", palette=style.GROUP_COLOURS, jitter=False, size=4, legend=False)
    for axis, column, label in zip(
        axes[0], ("photos", "pixels"), ("photos", "share of pixels [%]"), strict=True
    ):
        sns.stripplot(classes, x=column, ax=axis, **looks)
        _log_axis(axis, label)
        axis.grid()
        axis.tick_params(axis="y", length=0, labelsize=6)
        axis.set_ylabel("")
    groups = {group: colour for group, colour in style.GROUP_COLOURS.items() if group != BACKGROUND}
    fig.legend(handles=style.patches_of(groups), loc="outside upper center", ncols=4, fontsize=6)
    left = len(instances) - len(table)
    shown = f"{instances.ImageId.nunique()} photos, {len(table)} instances of main classes"
    text = f"{data}: {shown}, before merging; {left} of garment parts, hair and skin left out."
    many, few = classes.iloc[0], classes.iloc[-1]
    message = f"From {many['name']} in {many.photos} photos to {few['name']} in {few.photos}; in pixels, "
    message += f"classes differ by a factor of up to {classes.pixels.max() / classes.pixels.min():.0f}."
    return style.save(fig, "fig_class_frequency", paths.figures_folder(data, home), text, message)


def fig_class_balance(data: str, instances: pd.DataFrame, home: str | Path | None = None) -> Figure:
    """Each main class's share of all instances, in the raw data and in the paper's iMaterialist (Fashion)."""
    names = [class_title(NAMES[i]) for i in range(MAIN)]
    ours = instances.ClassId.value_counts().reindex(range(MAIN), fill_value=0)
    counts = pd.DataFrame({"iMaterialist": IMATERIALIST, data: ours.to_numpy()}, index=names)
    counts = counts.sort_values("iMaterialist", ascending=False)
    share = 100 * counts / counts.sum()
    fig, axes = style.panels(style.COLUMN, 0.6 + 0.125 * MAIN)
    axis = axes[0, 0]
    for column, marker, colour in zip(share, "oD", style.COLOURS, strict=False):
        axis.plot(share[column].where(share[column] > 0), range(MAIN), marker, color=colour, markersize=4)
    axis.set_yticks(range(MAIN), counts.index, fontsize=6)
    _log_axis(axis, "share of the instances [%]")
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    axis.grid()
    fig.legend(axis.lines, list(share), loc="outside upper center", ncols=2)
    text = "; ".join(f"{name}: {n:,} instances of main classes" for name, n in counts.sum().items())
    paper, here = counts.max() / counts[counts > 0].min()
    message = f"In iMaterialist the most frequent class has {paper:.0f} times the instances of the rarest, "
    message += f"in {data} {here:.0f} times."
    return style.save(fig, "fig_class_balance", paths.figures_folder(data, home), text, message)


def fig_split(
    data: str,
    instances: pd.DataFrame,
    splits: Mapping[str, Mapping[str, Iterable[str]]],
    home: str | Path | None = None,
) -> Figure:
    """How photos of each main class are divided; `splits` maps titles of panels to splits of photos' ids."""
    table = instances[instances.ClassId < MAIN]
    there = pd.crosstab(table.ImageId, table.ClassId.map(NAMES).map(class_title)) > 0
    there = there[there.sum().sort_values(kind="stable").index]
    fig, axes = style.panels(style.PAGE, 0.8 + 0.125 * there.shape[1], columns=len(splits), sharey=True)
    tested = {}
    for axis, (title, parts) in zip(axes[0], splits.items(), strict=True):
        counts = pd.DataFrame({part: there[there.index.isin(parts[part])].sum() for part in _OF_SPLITS})
        share = 100 * counts.div(counts.sum(axis=1), axis=0)
        share.plot.barh(stacked=True, ax=axis, color=_OF_SPLITS, width=0.8, legend=False)
        sizes = np.cumsum([len(parts[part]) for part in _OF_SPLITS])
        for size in sizes[:2]:
            axis.axvline(100 * size / sizes[2], color="0.1", linewidth=0.8, linestyle="--")
        axis.set(title=title, xlabel="share of the class's photos [%]", xlim=(0, 100), ylabel="")
        tested[title] = f"from {share.test.min():.0f} to {share.test.max():.0f} %"
    axes[0, 0].set_yticks(range(there.shape[1]), [f"{n} ({there[n].sum()})" for n in there], fontsize=6)
    axes[0, 0].tick_params(axis="y", length=0)
    fig.legend(handles=style.patches_of(_OF_SPLITS), loc="outside upper center", ncols=3)
    shares = ", ".join(f"{title} {said}" for title, said in tested.items())
    text = f"{data}: {len(there)} photos, in brackets of each class. Dashed: the shares of all photos."
    message = f"The test photos' share of a class: {shares}."
    return style.save(fig, "fig_split", paths.figures_folder(data, home), text, message)


def small_maps(maps: Mapping[str, np.ndarray], numbers: np.ndarray | None = None) -> Figure:
    """Label maps (H, W) of a few pixels side by side, pixels in their classes' colours with their values.

    Args:
        maps: title -> label map; background is white.
        numbers: (H, W), stand in the pixels instead of the label values.
    """
    sizes = np.array([small.shape for small in maps.values()])
    fig, axes = style.panels(0.4 * sizes[:, 1].sum(), 0.4 * sizes[:, 0].max() + 0.3, columns=len(maps))
    for axis, (title, small) in zip(axes[0], maps.items(), strict=True):
        axis.imshow(np.where(small[..., None] == 0, 255, style.colour_map(small.astype(np.uint8))))
        for (y, x), number in np.ndenumerate(small if numbers is None else numbers):
            axis.text(x, y, int(number), ha="center", va="center")
        axis.set_xticks(np.arange(small.shape[1] + 1) - 0.5, [])
        axis.set_yticks(np.arange(small.shape[0] + 1) - 0.5, [])
        axis.set_title(title)
        axis.grid(color="0.6", linewidth=0.8)
        axis.tick_params(length=0)
    return fig


def fig_mask_areas(data: str, instances: pd.DataFrame, home: str | Path | None = None) -> Figure:
    """How much of its photo an instance of each class covers, beside one patch of a network's crop."""
    table = _main(instances)
    table["share"] = 100 * table.pixels / (table.Height * table.Width)
    medians = table.groupby("name").share.median().sort_values(ascending=False)
    order = medians.index
    counts = table.name.value_counts()
    fig, axes = style.panels(style.COLUMN, 0.6 + 0.125 * len(order))
    axis = axes[0, 0]
    options = dict(color="#9dc6e0", linewidth=0.4, width=0.7, showfliers=False)
    sns.boxenplot(table, x="share", y="name", order=order, log_scale=(True, False), ax=axis, **options)
    axis.axvline(_PATCH, color=style.COLOURS[3], linewidth=0.8)
    _log_axis(axis, "instance's share of its photo [%]")
    axis.set_yticks(range(len(order)), [f"{name} ({counts[name]})" for name in order], fontsize=6)
    axis.set_ylabel("")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    about = "Line: median; boxes: half of the rest each. Red: one patch of 16 pixels in a crop of 512."
    text = f"{data}: {len(table)} instances of main classes, in brackets of each. {about}"
    message = f"The median {order[0]} covers {medians.iloc[0]:.1f} % of its photo, "
    message += f"the median {order[-1]} {medians.iloc[-1]:.1g} %."
    return style.save(fig, "fig_mask_areas", paths.figures_folder(data, home), text, message)


def fig_cooccurrence(data: str, instances: pd.DataFrame, home: str | Path | None = None) -> Figure:
    """Share of the photos with the row's class in which the column's class occurs too."""
    table = instances[instances.ClassId < MAIN]
    there = (pd.crosstab(table.ImageId, table.ClassId.map(NAMES)) > 0).astype(int)
    there = there[[name for name in NAMES.values() if name in there]]
    both, counts = there.T @ there, there.sum()
    label = "share of the photos with the row's class [%]"
    fig, axis = style.class_heatmap(100 * both.div(counts, axis=0), counts, label)
    axis.set(xlabel="also in the photo", ylabel="class (photos with it)")
    often = both.where((both >= len(there) / 100) & ~np.eye(len(both), dtype=bool), 0)
    lift = (often * len(there)).div(counts, axis=0).div(counts, axis=1)  # 1: as often as by chance
    pair = lift.stack().idxmax()
    names = " and ".join(map(class_title, pair)).capitalize()
    message = (
        f"{names} are together {lift.loc[pair]:.1f} times as often as by chance, more than any other pair."
    )
    text = f"{data}: {len(there)} photos with main classes, before merging; pairs in 1 % of them or more."
    return style.save(fig, "fig_cooccurrence", paths.figures_folder(data, home), text, message)


def fig_label_maps(data: str, photos: int = 4, seed: int = 0, home: str | Path | None = None) -> Figure:
    """Training photos and their label maps laid over them; the photos are drawn by `seed`."""
    split = Split.read(data, "train", home)
    chosen = np.random.default_rng(seed).permutation(split.ids)[:photos]
    images, maps = zip(*map(split.load, chosen), strict=True)
    names = [class_title(name) for name in split.classes]
    overlays = [style.overlay(image, label, names) for image, label in zip(images, maps, strict=True)]
    marks = [[()] * photos, [style.names_on(label, names) for label in maps]]
    legend, labels = style.legend(maps, names), ["photo", "label map"]
    fig = style.picture_grid(
        [images, overlays], row_labels=labels, patches=legend, width=style.PAGE, names=marks
    )
    text = f"{data} · class set {split.dataset['class_set']} · training photos {', '.join(chosen)}"
    message = "What a network learns from: a class for each pixel; what has no colour is background."
    return style.save(fig, "fig_label_maps", paths.pictures_folder(data, home), text, message)


def _main(instances: pd.DataFrame) -> pd.DataFrame:
    """Instances of main classes with `name` and `pixels`, counted from their codes."""
    table = instances[instances.ClassId < MAIN]
    pixels = [sum(map(int, code.split()[1::2])) for code in table.EncodedPixels]
    return table.assign(name=table.ClassId.map(NAMES).map(class_title), pixels=pixels)


def _log_axis(axis: Axes, label: str) -> None:
    """A logarithmic x axis with plain numbers on it, however few decades it spans."""
    axis.set(xscale="log", xlabel=label)
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if high < 20 * low else (1, 3) if high < 300 * low else (1,))
    )
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
