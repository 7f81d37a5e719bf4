"""One photo on its way through a model: pixels, patches, tokens, class masks, label map."""

import math
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from fashionlib.core import paths
from fashionlib.models import fitted_size, inference, patch_size
from fashionlib.report import style
from fashionlib.report.captions import class_title


def fig_one_photo(data: str, model, photo: np.ndarray, home: str | Path | None = None) -> Figure:
    """A photo, uint8 RGB (H, W, 3), on its way through a loaded ViT `model`: tokens, masks, label map.

    The model sees the photo in one piece, no larger than its training crop. Tokens are coloured by their
    first three principal components: similar tokens have similar colours. ValueError for a convolutional
    model.
    """
    metadata = model.metadata
    patch = patch_size(metadata["model"], metadata["scale"], metadata.get("patch"))
    if not patch:
        raise ValueError(f"{metadata['model']} is convolutional: it has no patches to show.")
    names = [class_title(name) for name in metadata["classes"]]
    size = fitted_size(photo.shape[:2], metadata | dict(resize=sorted(metadata["crop"], reverse=True)))
    grid = [math.ceil(side / patch) for side in size]
    layers, tokens = model.backbone.layers, []
    hooks = [layers[i].register_forward_hook(lambda *call: tokens.append(call[2][0])) for i in (0, -1)]
    try:
        scores = inference.upsampled_logits(model, photo, size=size).softmax(0).cpu().numpy()
    finally:
        for hook in hooks:
            hook.remove()
    seen = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA)
    cut = seen.copy()
    cut[::patch], cut[:, ::patch] = 255, 255
    patches = [each[-math.prod(grid) :].float().cpu().numpy() for each in tokens]  # without a class token
    colours = [_principal_colours(each, grid) for each in patches]
    label_map = scores.argmax(0).astype(np.uint8)
    largest = scores.mean((1, 2)).argsort()[::-1][:3]  # background is one of them
    masks = [np.repeat((255 * scores[value]).astype(np.uint8)[..., None], 3, axis=2) for value in largest]
    overlay = style.overlay(seen, label_map, names)
    notes = ["1. {} × {} pixels".format(*size), "2. {} × {} patches".format(*grid)]
    notes += ["3. tokens after layer 1", f"4. tokens after layer {len(layers)}"]
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


def _principal_colours(tokens: np.ndarray, grid: list[int]) -> np.ndarray:
    """RGB uint8 (rows, columns, 3) of tokens (rows * columns, C): their first three principal components."""
    centred = tokens - tokens.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:3]
    axes *= np.sign(axes[[0, 1, 2], np.abs(axes).argmax(1)])[:, None]  # a component's sign is arbitrary
    values = centred @ axes.T
    low, high = np.percentile(values, [2, 98], axis=0)
    return (255 * np.clip((values - low) / (high - low), 0, 1)).round().astype(np.uint8).reshape(*grid, 3)
