"""Figures of what happens inside a vision transformer: attention, tokens, class vectors, a run's epochs.

Attention is drawn as light over the photo in grey. Every map has a scale of its own, since one strong weight
would darken all the others.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import normalize

from fashionlib import models
from fashionlib.core import paths
from fashionlib.core.classes import IGNORE
from fashionlib.evaluate.runs import Run
from fashionlib.models.attention import Inside
from fashionlib.report import style
from fashionlib.report.captions import class_title
from fashionlib.report.photo_steps import principal_colours

_LIGHT = 0.75  # share of a picture's colour that is attention; the rest is the photo
_STRIP = 6  # pictures of a film strip beside each other
_BOX = (960, 588)  # pixels: width and height that `picture` fills


def lit(seen: Inside, weights: np.ndarray) -> np.ndarray:
    """`weights` (rows, columns) as light over the photo in grey; RGB uint8 (h, w, 3)."""
    height, width = seen.photo.shape[:2]
    bright = np.clip(weights / max(np.percentile(weights, 99.5), 1e-30), 0, 1)
    large = np.kron(bright, np.ones((seen.patch, seen.patch)))[:height, :width]
    mixed = _LIGHT * 255 * mpl.colormaps["inferno"](large)[..., :3]
    mixed += (1 - _LIGHT) * seen.photo.mean(2, keepdims=True)
    return mixed.round().astype(np.uint8)


def outlined(seen: Inside, picture: np.ndarray, patch: int) -> np.ndarray:
    """A copy of a `picture` uint8 RGB (h, w, 3) of the photo, with a blue border around `patch`."""
    top, left = (seen.patch * place for place in divmod(patch, seen.grid[1]))
    corners = (left - 1, top - 1), (left + seen.patch, top + seen.patch)
    return cv2.rectangle(picture.copy(), *corners, (86, 180, 233), max(1, len(picture) // 200))


def picture(seen: Inside, across: float, down: float, layer: int, head: int) -> Image.Image:
    """The photo with a patch outlined, beside what that patch attends to.

    `across` and `down` are fractions of the photo, layers and heads are counted from 1; head 0 is the mean.
    """
    patch = seen.patch_at(across, down)
    maps = seen.patch_attention(layer - 1, patch)
    pictures = seen.photo, lit(seen, maps[head - 1] if head else maps.mean(0))
    both = np.hstack([outlined(seen, each, patch) for each in pictures])
    return ImageOps.contain(Image.fromarray(both), _BOX)


def panel(seen: Inside, across: float, down: float) -> dict:
    """Show sliders for a patch, a layer and a head (0: mean of all), below them the `picture` of the choice.

    An ordinary output, which the sliders replace: shown without a kernel too. (With the Output widget that
    ipywidgets' `interact` makes, papermill now and then waits for ever.) Returns the controls by name.
    """
    from IPython.display import display  # here and below: only notebooks have a use for them
    from ipywidgets import FloatSlider, IntSlider, VBox

    layers, heads, place = len(seen.encoder), seen.encoder[0].layer.num_heads, dict(min=0, max=1, step=0.02)
    controls = dict(across=FloatSlider(across, **place), down=FloatSlider(down, **place))
    controls |= dict(layer=IntSlider(layers, 1, layers), head=IntSlider(0, 0, heads))
    for name, control in controls.items():
        control.description = name
        control.observe(lambda _: shown.update(chosen()), names="value")

    def chosen() -> Image.Image:
        return picture(seen, **{name: control.value for name, control in controls.items()})

    display(VBox([*controls.values()]))
    shown = display(chosen(), display_id=True)
    return controls


def some_layers(seen: Inside, count: int = 4) -> list[int]:
    """At most `count` layers of the encoder, counted from 0, from the first to the last."""
    return np.unique(np.linspace(0, len(seen.encoder) - 1, count).round().astype(int)).tolist()


def fig_attention(data: str, seen: Inside, patch: int, home: str | Path | None = None) -> Figure:
    """What a patch attends to in some layers: by the head that looks closest, and by the farthest-looking."""
    layers, answer = some_layers(seen), style.overlay(seen.photo, seen.label_map, seen.classes)
    rows = [[outlined(seen, image, patch)] for image in (seen.photo, answer)]
    notes = [["photo"], ["label map"]]
    for layer in layers:
        distances, maps = seen.distance(layer), seen.patch_attention(layer, patch)
        for row, note, head in zip(rows, notes, (distances.argmin(), distances.argmax()), strict=True):
            row.append(outlined(seen, lit(seen, maps[head]), patch))
            note.append(f"head {head + 1}: {distances[head]:.1f} patches")
    titles = ["", *(f"layer {layer + 1}" for layer in layers)]
    figure = style.picture_grid(rows, titles, ["closest", "farthest"], notes=notes, width=style.PAGE)
    message = "What the outlined patch attends to, by the heads of a layer that look closest and farthest."
    text = f"Distance: mean of all {len(seen.tokens[0])} patches of the photo. A layer has {len(maps)} heads."
    return style.save(figure, "fig_attention", paths.pictures_folder(data, home), text, message)


def fig_attention_distance(data: str, seen: Inside, home: str | Path | None = None) -> Figure:
    """How far each head looks, in patches, layer by layer; dashed: even attention to all patches."""
    distances, even = [seen.distance(layer) for layer in range(len(seen.encoder))], seen.apart().mean()
    figure, axes = style.panels(style.COLUMN, 2.0)
    axis, numbers = axes[0, 0], range(1, len(distances) + 1)
    axis.plot(numbers, distances, "o", color=style.COLOURS[0], markersize=3)
    axis.axhline(even, color="0.5", linestyle="--", linewidth=0.8)
    axis.set(xlabel="layer of the encoder", ylabel="mean distance [patches]", xticks=numbers, ylim=(0, None))
    closest = np.min(distances, axis=1)
    message = f"The head that looks closest, {closest.min():.1f} patches away, is in layer "
    message += f"{closest.argmin() + 1}. In layer {len(distances)} none looks closer than {closest[-1]:.1f}."
    text = f"A dot is a head. Dashed: even attention to all patches, {even:.1f}."
    return style.save(figure, "fig_attention_distance", paths.figures_folder(data, home), text, message)


def fig_tokens(data: str, seen: Sequence[Inside], home: str | Path | None = None) -> Figure:
    """Tokens of photos after some layers, coloured by the principal components of them all."""
    layers, rows = some_layers(seen[0]), [[each.photo] for each in seen]
    for layer in layers:
        tokens = [each.tokens[layer] for each in seen]
        colours = np.split(principal_colours(np.concatenate(tokens)), np.cumsum([*map(len, tokens)])[:-1])
        for row, each, part in zip(rows, seen, colours, strict=True):
            row.append(part.reshape(*each.grid, 3))
    titles = ["photo", *(f"tokens after layer {layer + 1}" for layer in layers)]
    figure = style.picture_grid(rows, titles, width=style.PAGE)
    message = "Tokens of several photos in one set of colours: do like things have like colours?"
    return style.save(figure, "fig_tokens", paths.pictures_folder(data, home), message=message)


def fig_class_tokens(data: str, seen: Inside, count: int = 3, home: str | Path | None = None) -> Figure:
    """Attention of class tokens in each layer of Segmenter's decoder, for the classes with most pixels."""
    values, layers = range(len(seen.classes)), range(len(seen.decoder))
    maps = np.array([[seen.class_attention(layer, value).mean(0) for value in values] for layer in layers])
    masks = (255 * seen.logits.softmax(0).cpu().numpy()).astype(np.uint8)
    answer = style.overlay(seen.photo, seen.label_map, seen.classes)
    largest = np.bincount(seen.label_map.ravel(), minlength=len(values)).argsort(kind="stable")[::-1][:count]
    rows = []
    for value in largest:
        lights = [lit(seen, maps[layer, value]) for layer in layers]
        rows.append([seen.photo, *lights, np.dstack([masks[value]] * 3), answer])
    titles = ["photo", *(f"attention in layer {layer + 1}" for layer in layers), "mask", "label map"]
    names = [class_title(seen.classes[value]) for value in largest]
    figure = style.picture_grid(rows, titles, names, width=style.PAGE)
    alike = [_mean_of_pairs(np.corrcoef(each.reshape(len(values), -1))) for each in maps]
    said = ", ".join(f"{value:z.2f} in layer {layer}" for layer, value in enumerate(alike, 1))
    message = f"Do class tokens look at different places? Mean correlation of their maps: {said}."
    text = f"Attention: mean of the heads. Correlation: mean over all pairs of {len(values)} classes. Mask: "
    text += "the probability of the class, white is 1."
    return style.save(figure, "fig_class_tokens", paths.pictures_folder(data, home), text, message)


def cosines(vectors: Tensor) -> np.ndarray:
    """Cosine of the angle between any two class vectors (classes, channels): (classes, classes)."""
    rows = normalize(vectors.detach().cpu())
    return (rows @ rows.T).numpy()


def fig_class_similarity(data: str, vectors: Mapping, home: str | Path | None = None) -> Figure:
    """Cosines between class vectors of models: title -> (tensor (classes, channels), class names)."""
    figure, axes = style.panels(style.PAGE / 2 * len(vectors), 3.2, 1, len(vectors))
    said = []
    for axis, (title, (tensor, names)) in zip(axes[0], vectors.items(), strict=True):
        short, values = [class_title(name) for name in names], cosines(tensor)
        looks = dict(cmap="RdBu_r", vmin=-1, vmax=1, square=True, cbar_kws=dict(shrink=0.7, label="cosine"))
        looks |= dict(xticklabels=short, yticklabels=short, cbar=axis is axes[0, -1])
        sns.heatmap(values, ax=axis, **looks)
        axis.tick_params(length=0, labelsize=4.5)
        axis.set_title(title)
        said.append(f"{title} {_mean_of_pairs(values):z.2f}")
    message = f"Mean cosine between the vectors of two classes: {', '.join(said)}."
    return style.save(figure, "fig_class_similarity", paths.figures_folder(data, home), message=message)


def fig_film_strip(
    data: str, run: Run, photo: np.ndarray, truth: np.ndarray, home: str | Path | None = None
) -> Figure:
    """The answer of every epoch of a `run` to a photo uint8 RGB (H, W, 3), with the share that is right.

    Pixels that the `truth`, a label map (H, W), ignores do not count.
    """
    answers, right, model = [], {}, None
    for epoch, file in run.checkpoints().items():
        model = models.load(file, model)
        answers.append(models.predict(model, photo))
        right[epoch] = 100 * (answers[-1] == truth)[truth != IGNORE].mean()
    names = model.metadata["classes"]
    pictures = [photo, *(style.overlay(photo, each, names) for each in (truth, *answers))]
    notes = ["photo", "truth", *(f"epoch {epoch}: {share:.0f} %" for epoch, share in right.items())]
    missing = -len(pictures) % _STRIP
    pictures, notes = pictures + [np.full_like(photo, 255)] * missing, notes + [""] * missing
    lines = [slice(start, start + _STRIP) for start in range(0, len(pictures), _STRIP)]
    rows, under = [pictures[line] for line in lines], [notes[line] for line in lines]
    patches = style.legend([truth, *answers], names)
    figure = style.picture_grid(rows, notes=under, patches=patches, width=style.PAGE)
    best = max(right, key=right.get)
    message = f"One photo by {run.name}: best after epoch {best} ({right[best]:.0f} % of pixels right), "
    message += f"{right[epoch]:.0f} % after the last, epoch {epoch}."
    return style.save(figure, "fig_film_strip", paths.pictures_folder(data, home), message=message)


def _mean_of_pairs(symmetric: np.ndarray) -> float:
    """Mean of a matrix without its diagonal."""
    return symmetric[~np.eye(len(symmetric), dtype=bool)].mean()
