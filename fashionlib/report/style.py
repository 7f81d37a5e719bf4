"""One style for every figure, pictures of label maps, and a `save` that writes whole files.

Colour-blind safe, set in 7-8 pt at the width of a paper's column. Photos are uint8 RGB (H, W, 3),
label maps uint8 (H, W), as everywhere.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import binary_dilation

from fashionlib.core.classes import BACKGROUND, FULL_PALETTE, IDS, IGNORE, supercategory
from fashionlib.core.files import atomic_write
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


def note(fig: Figure, text: str) -> None:
    """Small print under the figure: data, scale, initialisation, rule; wrapped to its width."""
    fig.supxlabel("\n".join(wrapped(text, fig.get_figwidth())), fontsize=6, color="0.3", x=0.01, ha="left")


def wrapped(text: str, width: float) -> list[str]:
    """`text` in lines that fit `width` inches at 6 pt (22 letters an inch)."""
    return textwrap.wrap(text, int(width * 22))


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


def outline(picture: np.ndarray, label_map: np.ndarray) -> np.ndarray:
    """`picture` with the borders of a label map drawn in white on black; uint8 RGB (H, W, 3)."""
    border = np.zeros(label_map.shape, bool)
    border[1:] |= label_map[1:] != label_map[:-1]
    border[:, 1:] |= label_map[:, 1:] != label_map[:, :-1]
    width = max(1, round(max(label_map.shape) / 400))  # as wide in print whatever the photo's size
    inner, outer = (binary_dilation(border, iterations=n) for n in (width, 2 * width))
    return np.where(inner[..., None], 255, np.where(outer[..., None], 0, picture)).astype(np.uint8)


def checkerboard(rgba: np.ndarray, square: int = 16) -> np.ndarray:
    """A cut-out (H, W, 4) over a grey and white checkerboard; uint8 RGB (H, W, 3). `square` in pixels."""
    rows, columns = np.indices(rgba.shape[:2]) // square
    board = np.where((rows + columns) % 2, 255, 204)[..., None]
    alpha = rgba[..., 3:] / 255
    return (alpha * rgba[..., :3] + (1 - alpha) * board).round().astype(np.uint8)


def group_of(name: str) -> str:
    """The group of a class name that figures colour by: a key of `GROUP_COLOURS`."""
    return name if name == BACKGROUND else _COARSE.get(supercategory(IDS[name]), "accessories")


def group_legend() -> list[Patch]:
    """A patch for each group."""
    return [Patch(color=colour, label=group) for group, colour in GROUP_COLOURS.items()]


def group_edges(names) -> list[int]:
    """Positions in the class `names` at which a group of the ontology begins."""
    groups = [name if name == BACKGROUND else supercategory(IDS[name]) for name in names]
    return [i for i in range(1, len(groups)) if groups[i] != groups[i - 1]]


def legend(label_maps, classes) -> list[Patch]:
    """A patch for each class that occurs in `label_maps`, background left out, in class order."""
    present = sorted(set().union(*(_present(label_map, classes) for label_map in label_maps)) - {0})
    return [Patch(color=np.array(FULL_PALETTE[v]) / 255, label=class_title(classes[v])) for v in present]


def picture_grid(rows, titles=(), row_labels=(), patches=(), text: str = "", width: float = COLUMN) -> Figure:
    """Pictures in rows and columns at their own aspect ratio; beneath, a legend and small print.

    Args:
        rows: list of rows of uint8 RGB pictures (H, W, 3), each row equally long.
        titles, row_labels: above the columns, left of the rows.
        patches: what `legend` returned.
        text: the note under the figure.
        width: of the figure, in inches; its height follows from what is in it.
    """
    use_style()
    gap = 0.04  # inches, as all lengths here
    ratios = [max(picture.shape[0] / picture.shape[1] for picture in row) for row in rows]
    narrow = width / len(rows[0]) - 0.2  # a little less than a picture's width
    row_labels = [  # each fits the height of its row
        textwrap.fill(text, max(8, int(narrow * ratio * 17)))
        for text, ratio in zip(row_labels, ratios, strict=bool(row_labels))
    ]
    left = max((0.13 * text.count("\n") + 0.16 for text in row_labels), default=0.0)
    side = (width - left) / len(rows[0]) - gap
    titles = ["\n".join(textwrap.fill(line, int(side * 17)) for line in t.split("\n")) for t in titles]
    top = max((0.13 * title.count("\n") + 0.17 for title in titles), default=0.0)
    heights = [side * ratio for ratio in ratios]
    longest = max((len(patch.get_label()) for patch in patches), default=1)
    columns = max(1, int(width / (0.3 + 0.06 * longest)))  # of 6 pt names, each with its patch
    lines = wrapped(text, width)
    bottom = 0.13 * -(-len(patches) // columns) + 0.1 * len(lines) + 0.06
    total = top + sum(heights) + gap * len(rows) + bottom
    fig = plt.figure(figsize=(width, total))
    y = total - top
    for r, (row, height) in enumerate(zip(rows, heights, strict=True)):
        y -= height + gap
        for c, picture in enumerate(row):
            x = left + c * (side + gap) + gap / 2
            axis = fig.add_axes((x / width, y / total, side / width, height / total))
            axis.imshow(picture, interpolation="antialiased", interpolation_stage="rgba")
            axis.set_axis_off()
            if r == 0 and titles:
                axis.set_title(titles[c], fontsize=7, pad=3)
        if row_labels:
            at = (left / 2 / width, (y + height / 2) / total)
            fig.text(*at, row_labels[r], rotation=90, fontsize=7, va="center", ha="center")
    if patches:
        options = dict(handlelength=1, fontsize=6, borderpad=0.2, labelspacing=0.3, ncols=columns)
        fig.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, y / total), **options)
    fig.text(0.01, 0.03 / total, "\n".join(lines), fontsize=6, color="0.3", va="bottom")
    return fig


def save(fig: Figure, name: str, folder: Path, text: str = "") -> Figure:
    """`fig` with the small print `text`, written whole as ``<folder>/<name>.png`` and ``.pdf``, and closed.

    The same figure gives the same bytes: no dates and no versions in the files.
    """
    if text:
        note(fig, text)
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
