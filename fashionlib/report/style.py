"""One style for every figure, pictures of label maps, and a `save` that writes whole files.

Colour-blind safe, set in 7-8 pt at the width of a paper's column. Photos are uint8 RGB (H, W, 3),
label maps uint8 (H, W), as everywhere.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt

from fashionlib.core.classes import BACKGROUND, FULL_PALETTE, IDS, IGNORE, supercategory
from fashionlib.core.files import atomic_write
from fashionlib.core.pictures import checkerboard  # noqa: F401  (figures' pages take it from here)
from fashionlib.report.captions import class_title

COLUMN, PAGE = 3.4, 7.0  # inches: width of one column and of the text of a two-column paper
COLOURS = (  # seaborn's "colorblind", told apart under every common colour vision deficiency
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc",
    "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
)  # fmt: skip
_MODELS = ("segmenter_vit_t", "segmenter_vit_b", "setr_mla", "setr_pup", "segmenter_vit_s")
_MODELS += ("segmenter_vit_s_linear", "detail_vit_s", "setr_vit_s_naive", "setr_vit_s_pup", "setr_vit_s_mla")
OF_MODELS = dict(zip(_MODELS, COLOURS, strict=True))
_COARSE = {"upperbody": "upper body", "lowerbody": "lower body", "wholebody": "whole body"}
_GROUPS = ("background", *_COARSE.values(), "accessories")
GROUP_COLOURS = dict(zip(_GROUPS, ("#949494", *COLOURS[:4]), strict=True))
LINES = ("-", "--", "-.", ":")  # of several runs of one model
MARKERS = dict(zip(LINES, "osD^", strict=True))
STYLE = {
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": "0.88",
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,  # letters stay letters: searchable, and journals ask for it
    "image.interpolation": "nearest",
}
_GREY = (128, 128, 128)
OUTCOMES = {"right": "#56b4e9", "right pixels, wrong name": "#ece133", "missed or invented": "#e00000"}
_NAMED = 0.02  # of a picture: smaller masks have no room for a name
_WHITE = dict(color="white", path_effects=[withStroke(linewidth=1.3, foreground="0.1")])


def use_style() -> None:
    """Make the project's style matplotlib's current one; every figure function calls it."""
    plt.rcdefaults()  # keeps the backend
    plt.rcParams.update(STYLE)


def panels(
    width: float, height: float, rows: int = 1, columns: int = 1, **options
) -> tuple[Figure, np.ndarray]:
    """A styled figure of `width` x `height` inches and its axes, (rows, columns)."""
    use_style()
    return plt.subplots(
        rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **options
    )


def line_styles(models: Sequence[str]) -> list[dict]:
    """Colour and dash of each run of a figure: a model has one colour in the whole project.

    Runs of the same model differ by their dashes; models that are not in `OF_MODELS` get what is left.
    """
    models = list(models)
    used = {OF_MODELS.get(model) for model in models}
    others = [colour for colour in COLOURS if colour not in used] or COLOURS
    rest = sorted(set(models) - set(OF_MODELS))
    colours = OF_MODELS | {model: others[i % len(others)] for i, model in enumerate(rest)}
    return [
        dict(color=colours[model], linestyle=LINES[models[:i].count(model) % len(LINES)])
        for i, model in enumerate(models)
    ]


def class_heatmap(share: pd.DataFrame, counts: Sequence[int], label: str) -> tuple[Figure, Axes]:
    """A heatmap of percentages, class by class, and its axes; `counts` stands behind the name of each row.

    Lines lie between the groups of the ontology; numbers from 10 % on.
    """
    names = [class_title(name) for name in share]
    fig, axes = panels(PAGE, 6.2)
    axis = axes[0, 0]
    axis.set_facecolor("0.92")  # shows where there is no number
    numbers = share.map(lambda value: f"{value:.0f}" if value >= 9.5 else "")
    rows = [f"{name} ({n})" for name, n in zip(names, counts, strict=True)]
    looks = dict(cmap="Blues", vmin=0, vmax=100, cbar_kws=dict(shrink=0.6, label=label))
    looks |= dict(annot=numbers, fmt="", annot_kws=dict(fontsize=5))
    sns.heatmap(share, ax=axis, xticklabels=names, yticklabels=rows, **looks)
    for edge in group_edges(share):
        axis.axhline(edge, color="0.5", linewidth=0.5)
        axis.axvline(edge, color="0.5", linewidth=0.5)
    axis.tick_params(length=0, labelsize=6)
    return fig, axis


def colour_map(label_map: np.ndarray) -> np.ndarray:
    """RGB (H, W, 3) uint8 of a label map in the project's palette; ignored pixels are grey."""
    table = np.full((256, 3), _GREY, np.uint8)
    table[: len(FULL_PALETTE)] = FULL_PALETTE
    return table[label_map]


def overlay(photo: np.ndarray, label_map: np.ndarray, classes, alpha: float = 0.65) -> np.ndarray:
    """`photo` with its classes in colour and background left as it is; uint8 RGB (H, W, 3).

    Under a class the photo's greys alone remain, so that red cloth does not change the colour that
    the legend shows. Ignored pixels turn grey. ValueError if sizes differ or a value is none of
    `classes` (names).
    """
    if photo.shape[:2] != label_map.shape:
        raise ValueError(f"The photo is {photo.shape[:2]} but its label map {label_map.shape}.")
    _present(label_map, classes)
    greys = photo.mean(axis=2, keepdims=True)
    blended = (1 - alpha) * greys + alpha * colour_map(label_map)
    return np.where(label_map[..., None] == 0, photo, blended.round().astype(np.uint8))


def mistakes(photo: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """`photo` in pale grey; what `predicted` has right and wrong of it in the colours of `OUTCOMES`.

    Background that is right, and pixels that `truth` ignores, stay grey. uint8 RGB (H, W, 3).
    """
    found, there = predicted > 0, truth > 0
    kinds = np.select([truth == IGNORE, found != there, predicted != truth, there], [0, 3, 2, 1], 0)
    colours = 255 * np.array([to_rgb("w"), *map(to_rgb, OUTCOMES.values())])
    alpha = np.array([0.4, 0.55, 0.85, 0.85])[kinds, None]
    return ((1 - alpha) * photo.mean(axis=2, keepdims=True) + alpha * colours[kinds]).round().astype(np.uint8)


def names_on(label_map: np.ndarray, classes) -> list[tuple[float, float, str]]:
    """(x, y, name) of each class on more than `_NAMED` of a label map, background left out.

    It stands where the class is widest, unless a larger class's name is there. x and y are shares of the
    picture, from its lower left corner.
    """
    label_map = label_map[:: max(1, len(label_map) // 200), :: max(1, len(label_map) // 200)]
    found: list[tuple[float, float, str]] = []
    for value in sorted(_present(label_map, classes) - {0}, key=lambda value: -(label_map == value).sum()):
        mask = label_map == value
        depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        y, x = (np.argwhere(depth == depth.max())[0] + 0.5) / mask.shape
        free = all(abs(x - right) > 0.3 or abs(1 - y - up) > 0.07 for right, up, _ in found)
        if mask.mean() > _NAMED and free:
            found.append((x, 1 - y, class_title(classes[value])))
    return found


def group_of(name: str) -> str:
    """The group of a class name that figures colour by: a key of `GROUP_COLOURS`."""
    return name if name == BACKGROUND else _COARSE.get(_supercategory(name), "accessories")


def _supercategory(name: str) -> str:
    """The ontology's group of a class name; a class of one's own is a group by itself."""
    return supercategory(IDS[name]) if name in IDS else name


def patches_of(colours: dict[str, str]) -> list[Patch]:
    """A patch for each name, for a legend."""
    return [Patch(color=colour, label=name) for name, colour in colours.items()]


def group_edges(names) -> list[int]:
    """Positions in the class `names` at which a group of the ontology begins."""
    groups = [name if name == BACKGROUND else _supercategory(name) for name in names]
    return [i for i in range(1, len(groups)) if groups[i] != groups[i - 1]]


def legend(label_maps, classes) -> list[Patch]:
    """A patch for each class that occurs in `label_maps`, background left out, in class order."""
    present = sorted(set().union(*(_present(label_map, classes) for label_map in label_maps)) - {0})
    return [Patch(color=np.array(FULL_PALETTE[v]) / 255, label=class_title(classes[v])) for v in present]


def picture_grid(
    rows, titles=(), row_labels=(), patches=(), width: float = COLUMN, names=(), notes=()
) -> Figure:
    """Pictures in rows and columns at their own aspect ratio, under a legend.

    Args:
        rows: list of rows of uint8 RGB pictures (H, W, 3), each row equally long.
        titles, row_labels: above the columns, left of the rows.
        patches: what `legend` returned.
        width: of the figure, in inches; its height follows from what is in it.
        names: what `names_on` returned, for each picture.
        notes: a text for each picture, beneath it.
    """
    ratios = [max(picture.shape[0] / picture.shape[1] for picture in row) for row in rows]
    side = (width - 0.3 * bool(row_labels)) / len(rows[0])  # inches, as all lengths here
    titles = [
        "\n".join(textwrap.fill(line, int(side * 16), break_on_hyphens=False) for line in t.split("\n"))
        for t in titles
    ]
    longest = max((len(patch.get_label()) for patch in patches), default=1)
    columns = max(1, int(width / (0.3 + 0.06 * longest)))  # of 6 pt names, each with its patch
    height = side * sum(ratios) + 0.12 * -(-len(patches) // columns)
    height += _height(titles, 0.14) + len(rows) * _height(sum(map(list, notes), []), 0.13)
    fig, axes = panels(width, height, len(rows), len(rows[0]), height_ratios=ratios)
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for (r, c), axis in np.ndenumerate(axes):
        axis.imshow(rows[r][c], interpolation="antialiased", interpolation_stage="rgba")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if titles and r == 0:
            axis.set_title(titles[c], fontsize=7, pad=3)
        if row_labels and c == 0:  # each fits the height of its row
            axis.set_ylabel(textwrap.fill(row_labels[r], max(8, int(side * ratios[r] * 16))), fontsize=7)
        if notes:
            axis.set_xlabel(notes[r][c], fontsize=6, labelpad=2)
        for x, y, name in names[r][c] if names else ():
            at = dict(x=np.clip(x, 0.15, 0.85), y=np.clip(y, 0.03, 0.97), ha="center", va="center")
            axis.text(s=name, transform=axis.transAxes, fontsize=6, **at, **_WHITE)
    if patches:
        options = dict(handlelength=1, fontsize=6, borderpad=0.2, labelspacing=0.3, ncols=columns)
        fig.legend(handles=patches, loc="outside upper center", **options)
    return fig


def _height(texts: Sequence[str], line: float) -> float:
    """Height of the highest of some texts, `line` inches a line."""
    return line * max((text.count("\n") + 1 for text in texts), default=0)


def save(fig: Figure, name: str, folder: Path, text: str = "", message: str = "") -> Figure:
    """`fig`, written whole as ``<folder>/<name>.png`` and ``.pdf``, and closed.

    It grows by what it says, `message`, above its panels and legend, and by the small print `text` below.
    The same figure gives the same bytes: no dates and no versions in the files.
    """
    width = fig.get_figwidth()
    above, below = textwrap.wrap(message, int(15 * width)), textwrap.wrap(text, int(22 * width))  # letters
    fig.set_figheight(fig.get_figheight() + 0.15 * len(above) + 0.1 * len(below))
    if below:
        fig.supxlabel("\n".join(below), fontsize=6, color="0.3", x=0.01, ha="left")
    if fig.legends:  # a legend at the top would lie on the figure's own title
        fig.legends[0].set_title("\n".join(above), prop=dict(size=8, weight="bold"))
        fig.legends[0].set_alignment("left")
    elif above:
        fig.suptitle("\n".join(above), x=0.01, ha="left", fontsize=8, fontweight="bold")
    nothing = {".png": {"Software": None}, ".pdf": {"Creator": None, "Producer": None, "CreationDate": None}}
    for suffix, metadata in nothing.items():
        with atomic_write(folder / f"{name}{suffix}") as part:
            fig.savefig(part, metadata=metadata)
    plt.close(fig)
    return fig


def _present(label_map: np.ndarray, classes) -> set[int]:
    """Label values that occur, ignored ones left out; ValueError for a value that is no class."""
    values = set(np.flatnonzero(np.bincount(label_map.ravel())).tolist()) - {IGNORE}
    if values and max(values) >= len(classes):
        last = len(classes) - 1
        raise ValueError(f"The label map has the value {max(values)}, but the classes are 0 … {last}.")
    return values
