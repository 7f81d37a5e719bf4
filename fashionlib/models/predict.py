"""Photos -> label maps or class probabilities, at each photo's own size.

Where a photo is looked at, how large, and how (`closer`, `forward`) is the checkpoint's to say.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmseg.models import EncoderDecoder

from fashionlib.models.inference import resized, scores, scores_each
from fashionlib.models.two_stage import View, cells, views


def probabilities(model: EncoderDecoder, image: np.ndarray, ask: str = "auto") -> np.ndarray:
    """Class probabilities float32 (C, h, w) of a photo uint8 RGB (H, W, 3), no larger than the photo.

    They come at half the size at which the model sees the photo, or at the decode head's where that is finer:
    to enlarge all classes further takes as long as the network and says no more. On validation photos of
    Clothing Co-Parsing, masks enlarged from here and masks of classes enlarged first have the same IoU
    (0.921 apparel, 0.954 person) and boundary F (0.758 and 0.760, 0.842 and 0.843).
    Outside of what the model looked at closer, all is background.
    """
    view = views(model, [image], ask)[0]
    part = view.cut(image)
    answer = view.answer(scores(model, [part], view.size, ask)[0], image.shape[:2])
    finer = tuple(map(cells, view.size, part.shape[:2], answer.shape[1:]))
    return _in_whole(resized(answer[None], finer)[0].softmax(0).cpu().numpy(), view, image.shape[:2])


def _in_whole(part: np.ndarray, view: View, shape: tuple[int, int]) -> np.ndarray:
    """Probabilities of the whole photo, from those (C, h, w) of its `view`."""
    scale = [n / (side.stop - side.start) for n, side in zip(part.shape[1:], view[:2], strict=True)]
    size = [round(side * n) for side, n in zip(shape, scale, strict=True)]
    if list(part.shape[1:]) == size:
        return part
    top, left = (round(side.start * n) for side, n in zip(view[:2], scale, strict=True))
    whole = np.zeros((len(part), *size), np.float32)
    whole[0] = 1
    whole[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    return whole


def predict(model: EncoderDecoder, image: np.ndarray, ask: str = "auto") -> np.ndarray:
    """Label map uint8 (H, W) of a uint8 RGB photo (H, W, 3), at the photo's own size."""
    return predict_batch(model, [image], ask)[0]


def predict_batch(model: EncoderDecoder, images: Sequence[np.ndarray], ask: str = "auto") -> list[np.ndarray]:
    """Label maps uint8 (H, W) of photos of any sizes, each at its own size, in their order.

    Photos that are shown to the model at one size go through it together; `ask` is one of `PRECISIONS`.
    """
    looks = views(model, images, ask)
    parts = [view.cut(image) for view, image in zip(looks, images, strict=True)]
    labels = [None] * len(images)
    for index, answer in scores_each(model, parts, [view.size for view in looks], ask):
        view, shape = looks[index], images[index].shape[:2]
        label = upsampled_argmax(view.answer(answer, shape), view.size, parts[index].shape[:2])
        labels[index] = view.in_whole(label, shape)
    return labels


def upsampled_argmax(scores: torch.Tensor, *sizes: tuple[int, int]) -> np.ndarray:
    """argmax over C of (C, h, w) `scores` resized bilinearly to each of `sizes` in turn, as uint8 (H, W).

    One class at a time, so that a 24-megapixel photo needs two maps of floats, not C; and only classes
    that can win somewhere, which in a trained model are few: no other is resized at all.
    """
    maps = scores.float().cpu().numpy()
    label, best = np.zeros(sizes[-1], np.uint8), np.full(sizes[-1], -np.inf, np.float32)
    for value in _contenders(maps):
        full = maps[value]
        for size in sizes:
            full = cv2.resize(full, size[::-1], interpolation=cv2.INTER_LINEAR)  # half-pixel centres
        np.copyto(label, value, where=full > best)
        np.maximum(best, full, out=best)
    return label


def _contenders(maps: np.ndarray) -> list[int]:
    """Classes of (C, h, w) that enlarging bilinearly, once or twice, lets win anywhere.

    Every enlarged pixel is a mean of pixels of one 3 x 3 neighbourhood. A class is out if, in every
    neighbourhood, its greatest value is below the least of some other class.
    """
    around = np.ones((3, 3), np.uint8)
    least = np.maximum.reduce([cv2.erode(one, around) for one in maps])
    return [value for value, one in enumerate(maps) if (cv2.dilate(one, around) >= least).any()]
