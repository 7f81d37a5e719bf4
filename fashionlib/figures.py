"""One style for every figure, pictures of label maps, and a `save` that writes whole files.

Colour-blind safe, set in 7-8 pt at the width of a paper's column. Photos are uint8 RGB (H, W, 3),
label maps uint8 (H, W), as everywhere.
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fashionlib.classes import FULL_PALETTE, IGNORE
from fashionlib.files import whole

COLUMN, PAGE = 3.4, 7.0  # inches: width of one column and of the text of a two-column paper
COLOURS = (  # seaborn's "colorblind", told apart under every common colour vision deficiency
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc",
    "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
)  # fmt: skip
LINES = ("-", "--", "-.", ":")  # a second cue beside the colour, for greyscale print
STYLE = {
    "figure.dpi": 150,
    "figure.constrained_layout.use": True,
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


def line_style(i: int) -> dict:
    """Colour and dash of the i-th run of a figure, the same in every figure of a data set."""
    return dict(color=COLOURS[i % len(COLOURS)], linestyle=LINES[i // 4 % len(LINES)])


def note(fig: Figure, text: str) -> None:
    """Small print under the figure: data, scale, initialisation, rule; wrapped to its width."""
    letters = int(fig.get_figwidth() * 23)  # about 23 letters of 6 pt an inch
    fig.supxlabel("\n".join(textwrap.wrap(text, letters)), fontsize=6, color="0.3", x=0.01, ha="left")


def colour_map(label_map: np.ndarray) -> np.ndarray:
    """RGB (H, W, 3) uint8 of a label map in the project's palette; ignored pixels are grey."""
    table = np.full((256, 3), _GREY, np.uint8)
    table[: len(FULL_PALETTE)] = FULL_PALETTE
    return table[label_map]


def overlay(photo: np.ndarray, label_map: np.ndarray, classes, alpha: float = 0.6) -> np.ndarray:
    """`photo` with its classes in colour and background left as it is; uint8 RGB (H, W, 3).

    Ignored pixels turn grey. ValueError if sizes differ or a value is none of `classes` (names).
    """
    if photo.shape[:2] != label_map.shape:
        raise ValueError(f"The photo is {photo.shape[:2]} but its label map {label_map.shape}.")
    _present(label_map, classes)
    blended = (1 - alpha) * photo + alpha * colour_map(label_map)
    return np.where(label_map[..., None] == 0, photo, blended.round().astype(np.uint8))


def checkerboard(rgba: np.ndarray, square: int = 16) -> np.ndarray:
    """A cut-out (H, W, 4) over a grey and white checkerboard; uint8 RGB (H, W, 3). `square` in pixels."""
    rows, columns = np.indices(rgba.shape[:2]) // square
    board = np.where((rows + columns) % 2, 255, 204)[..., None]
    alpha = rgba[..., 3:] / 255
    return (alpha * rgba[..., :3] + (1 - alpha) * board).round().astype(np.uint8)


def legend(fig: Figure, label_maps, classes, columns: int = 4) -> None:
    """Legend under the figure of the classes that occur in `label_maps`, in class order."""
    present = sorted(set().union(*(_present(label_map, classes) for label_map in label_maps)))
    handles = [Patch(color=np.array(FULL_PALETTE[v]) / 255, label=classes[v]) for v in present if v]
    fig.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=1, fontsize=6)


def triptych(photo: np.ndarray, truth: np.ndarray, prediction: np.ndarray, classes) -> Figure:
    """Photo, ground truth and prediction side by side, with a legend of the classes present."""
    pictures = [photo, overlay(photo, truth, classes), overlay(photo, prediction, classes)]
    fig = picture_grid([pictures], ["photo", "ground truth", "prediction"])
    legend(fig, [truth, prediction], classes)
    return fig


def picture_grid(rows, titles=(), row_labels=(), width: float = COLUMN) -> Figure:
    """Pictures in rows and columns, titles above the first row, labels left of the first column.

    Args:
        rows: list of rows of uint8 RGB pictures, each row equally long.
        width: of the figure, in inches; its height follows from the pictures.
    """
    use_style()
    across = len(rows[0])
    heights = [max(p.shape[0] / p.shape[1] for p in row) for row in rows]
    side = width / across
    fig, axes = plt.subplots(
        len(rows), across, squeeze=False, figsize=(width, side * sum(heights) + 0.9), height_ratios=heights
    )
    for row, line in zip(axes, rows, strict=True):
        for axis, picture in zip(row, line, strict=True):
            axis.imshow(picture, interpolation="antialiased")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    for axis, title in zip(axes[0], titles, strict=False):
        axis.set_title(title, fontsize=7)
    for axis, label in zip(axes[:, 0], row_labels, strict=False):
        axis.set_ylabel(label, fontsize=7)
    return fig


def save(fig: Figure, name: str, folder) -> list:
    """Write ``<folder>/<name>.png`` and ``.pdf``, whole, and close the figure; returns both paths.

    The same figure gives the same bytes: no dates and no versions in the files.
    """
    paths = [folder / f"{name}{suffix}" for suffix in (".png", ".pdf")]
    nothing = ({"Software": None}, {"Creator": None, "Producer": None, "CreationDate": None})
    for path, metadata in zip(paths, nothing, strict=True):
        with whole(path) as part:
            fig.savefig(part, metadata=metadata)
    plt.close(fig)
    return paths


def _present(label_map: np.ndarray, classes) -> set[int]:
    """Label values that occur, ignored ones left out; ValueError for a value that is no class."""
    values = set(np.flatnonzero(np.bincount(label_map.ravel())).tolist()) - {IGNORE}
    if values and max(values) >= len(classes):
        last = len(classes) - 1
        raise ValueError(f"The label map has the value {max(values)}, but the classes are 0 … {last}.")
    return values
