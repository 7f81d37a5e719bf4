"""Maps of classes: probabilities and argmax at another size, a crop's in the whole photo. Without torch."""

import cv2
import numpy as np

from fashionlib.models.two_stage import Crop


def probabilities(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Softmax over C of logits float32 (C, ·, ·) resized bilinearly to `size` (h, w): float32 (C, h, w)."""
    p = np.stack([cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR) for one in logits])
    p -= p.max(axis=0)
    np.exp(p, out=p)  # in place: a third of scipy's time
    p /= p.sum(axis=0)
    return p


def paste(part: np.ndarray, crop: Crop, shape: tuple[int, int]) -> np.ndarray:
    """Probabilities of a whole photo of `shape`, from those (C, h, w) of its `crop`."""
    scale = [n / (side.stop - side.start) for n, side in zip(part.shape[1:], crop[:2], strict=True)]
    size = [round(side * n) for side, n in zip(shape, scale, strict=True)]
    if list(part.shape[1:]) == size:
        return part
    top, left = (round(side.start * n) for side, n in zip(crop[:2], scale, strict=True))
    whole = np.zeros((len(part), *size), np.float32)
    whole[0] = 1
    whole[:, top : top + part.shape[1], left : left + part.shape[2]] = part
    return whole


def upsampled_argmax(maps, *sizes: tuple[int, int]) -> np.ndarray:
    """Argmax over C of logits (C, h, w) resized bilinearly to each of `sizes` in turn, as uint8 (H, W).

    Logits are an array, or a tensor on the CPU.
    One class at a time: a 24-megapixel photo needs two maps of floats, not C. Classes that can win nowhere,
    in a trained model most of them, are not resized at all.
    """
    maps = np.asarray(maps, np.float32)
    label, best = np.zeros(sizes[-1], np.uint8), np.full(sizes[-1], -np.inf, np.float32)
    for value in _contenders(maps):
        full = maps[value]
        for size in sizes:
            full = cv2.resize(full, size[::-1], interpolation=cv2.INTER_LINEAR)  # half-pixel centres
        np.copyto(label, value, where=full > best)
        np.maximum(best, full, out=best)
    return label


def _contenders(maps: np.ndarray) -> list[int]:
    """Classes of (C, h, w) that bilinear enlargement, once or twice, lets win anywhere.

    Every enlarged pixel is a mean of pixels of one 3 x 3 neighbourhood. A class is out if, in every
    neighbourhood, its greatest value is below the least of some other class.
    """
    around = np.ones((3, 3), np.uint8)
    least = np.maximum.reduce([cv2.erode(one, around) for one in maps])
    return [value for value, one in enumerate(maps) if (cv2.dilate(one, around) >= least).any()]
