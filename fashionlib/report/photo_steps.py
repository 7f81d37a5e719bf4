"""One photo on its way through a model: pixels, patches, tokens, class masks, label map."""

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fashionlib.core import paths
from fashionlib.models import attention
from fashionlib.report import style
from fashionlib.report.captions import class_title


def fig_one_photo(data: str, model, photo: np.ndarray, home: str | Path | None = None) -> Figure:
    """A photo, uint8 RGB (H, W, 3), on its way through a loaded ViT `model`: tokens, masks, label map.

    The model sees the photo in one piece, no larger than its training crop. Tokens are coloured by their
    first three principal components: similar tokens have similar colours. ValueError for a convolutional
    model.
    """
    inside = attention.look(model, photo)
    names = [class_title(name) for name in inside.classes]
    seen, grid = inside.photo, inside.grid
    size = seen.shape[:2]
    scores = inside.logits.softmax(0).cpu().numpy()
    cut = seen.copy()
    cut[:: inside.patch], cut[:, :: inside.patch] = 255, 255
    colours = [principal_colours(inside.tokens[layer]).reshape(*grid, 3) for layer in (0, -1)]
    label_map = scores.argmax(0).astype(np.uint8)
    largest = scores.mean((1, 2)).argsort()[::-1][:3]  # background is one of them
    masks = [np.repeat((255 * scores[value]).astype(np.uint8)[..., None], 3, axis=2) for value in largest]
    overlay = style.overlay(seen, label_map, names)
    notes = ["1. {} × {} pixels".format(*size), "2. {} × {} patches".format(*grid)]
    notes += ["3. tokens after layer 1", f"4. tokens after layer {len(inside.tokens)}"]
    notes += [*(f"5. mask of {names[value]}" for value in largest), "6. label map: the highest mask"]
    figure = style.picture_grid(
        [[seen, cut, *colours], [*masks, overlay]],
        notes=[notes[:4], notes[4:]],
        names=[[()] * 4, [(), (), (), style.names_on(label_map, names)]],
        width=style.PAGE,
    )
    found = len(np.unique(label_map)) - 1
    message = f"{math.prod(size):,} pixels become {math.prod(grid):,} tokens, the tokens {len(names)} masks, "
    message += f"and the masks one label map, here with {found} classes beside background."
    return style.save(figure, "fig_one_photo", paths.pictures_folder(data, home), message=message)


def principal_colours(tokens: np.ndarray) -> np.ndarray:
    """RGB uint8 (tokens, 3) of tokens (·, C): their first three principal components."""
    centred = tokens - tokens.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:3]
    axes *= np.sign(axes[[0, 1, 2], np.abs(axes).argmax(1)])[:, None]  # a component's sign is arbitrary
    values = centred @ axes.T
    low, high = np.percentile(values, [2, 98], axis=0)
    return (255 * np.clip((values - low) / (high - low), 0, 1)).round().astype(np.uint8)
