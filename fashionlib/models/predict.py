"""Photos -> label maps or class probabilities, at each photo's own size.

Preprocessing (size, mean, std) and the kind of inference come from the checkpoint, never from the caller.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext

import cv2
import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models import EncoderDecoder

from fashionlib.classes import check_name
from fashionlib.models.build import patch_size

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
BATCH = 8  # photos, or windows of photos, that go through the model at once


def precision(device: torch.device | str = "cpu", ask: str = "auto") -> str:
    """What `ask` means on `device`: ``auto`` is what the hardware multiplies fast.

    bf16 on CPUs and GPUs that have it, fp16 on older GPUs, fp32 on older CPUs.
    """
    if check_name(ask, PRECISIONS, "precision") != "auto":
        return ask
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)() else "fp32"


def autocast(device: torch.device | str = "cpu", ask: str = "auto"):
    """The context that runs a model in `precision(device, ask)`."""
    kind = precision(device, ask)
    if kind == "fp32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16 if kind == "bf16" else torch.float16)


def logits(model: EncoderDecoder, image: np.ndarray, ask: str = "auto", zoom: float = 1.0) -> torch.Tensor:
    """Class logits of one photo at the model's test size.

    Args:
        image: uint8 RGB (H, W, 3).
        ask: one of `PRECISIONS`.
        zoom: show the photo so many times as large as the checkpoint says: more tokens (or windows).

    Returns:
        float32 (C, h, w). Sliding window or whole image, size and normalisation as `model.meta` says.
    """
    size = fitted_size(image.shape[:2], model.meta, zoom)
    return _resized(_scores(model, [image], size, ask), size)[0]


@torch.inference_mode()
def _scores(model: EncoderDecoder, images: list[np.ndarray], size: tuple[int, int], ask: str) -> torch.Tensor:
    """Logits float32 (N, C, ·, ·) of N photos that are shown to the model at `size` (h, w).

    At the decode head's resolution where the model sees the photo in one piece, else at `size`.
    """
    device = next(model.parameters()).device
    small = np.stack([mmcv.imresize(image, size[::-1], interpolation="bilinear") for image in images])
    x = torch.from_numpy(small).to(device).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(model.meta[key], device=device).view(1, 3, 1, 1) for key in ("mean", "std"))
    x = (x - mean) / std
    with autocast(device, ask):
        if model.test_cfg.mode == "slide" and np.any(np.greater(size, model.test_cfg.crop_size)):
            return _slide(model, x)
        return model.decode_head(model.extract_feat(x)).float()


def _resized(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(scores, size, mode="bilinear")  # as every decode head in the table does


def _slide(model: EncoderDecoder, x: torch.Tensor) -> torch.Tensor:
    """Logits (N, C, h, w) of normalised photos (N, 3, h, w): the mean of windows that overlap.

    The windows are mmseg's `slide_inference`'s, but go through the model together: they are all of
    one size, and a small model spends more on a call than on its answer.
    """
    size = [min(window, side) for window, side in zip(model.test_cfg.crop_size, x.shape[2:], strict=True)]
    rows, columns = (
        [slice(start, start + window) for start in _starts(side, window, stride)]
        for side, window, stride in zip(x.shape[2:], size, model.test_cfg.stride, strict=True)
    )
    places = [(..., row, column) for row in rows for column in columns]
    windows = torch.cat([x[place] for place in places])
    answers = torch.cat([model.encode_decode(part, [dict(img_shape=size)]) for part in windows.split(BATCH)])
    total = x.new_zeros((len(x), model.out_channels, *x.shape[2:]))
    count = x.new_zeros(x.shape[2:])
    for place, answer in zip(places, answers.split(len(x)), strict=True):
        total[place] += answer
        count[place] += 1
    return total.div_(count)


def _starts(side: int, window: int, stride: int) -> list[int]:
    """Where windows begin along a side of `side` pixels; the last one ends with it."""
    steps = -(-(side - window) // stride) + 1
    return [min(step * stride, side - window) for step in range(steps)]


def fitted_size(size: tuple[int, int], info: dict, zoom: float = 1.0) -> tuple[int, int]:
    """(h, w) at which a photo of `size` (H, W) is shown to the model.

    Fitted into `zoom` times ``info["resize"]`` with its aspect ratio kept. Whole-image inference rounds
    each side to whole patches: a partly padded last patch would shift the logits against the photo. The
    convolutional rows halve theirs up to four times, and U-Net takes no other sides than multiples of 16.
    """
    height, width = size
    long, short = info["resize"]
    factor = zoom * min(long / max(size), short / min(size))
    h, w = round(height * factor), round(width * factor)
    patch = patch_size(info["model"], info["scale"]) or 16
    if info["test_cfg"]["mode"] == "whole":
        h, w = (max(patch, round(side / patch) * patch) for side in (h, w))
    return h, w


def probabilities(
    model: EncoderDecoder, image: np.ndarray, ask: str = "auto", zoom: float = 1.0
) -> np.ndarray:
    """Class probabilities float32 (C, h, w) of a photo uint8 RGB (H, W, 3), no larger than the photo.

    They come at half the size at which the model sees the photo, or at the decode head's where that is finer:
    to enlarge all classes further takes as long as the network and says no more. On validation photos of
    Clothing Co-Parsing, masks enlarged from here and masks of classes enlarged first have the same IoU
    (0.921 apparel, 0.954 person) and boundary F (0.758 and 0.760, 0.842 and 0.843).
    """
    size = fitted_size(image.shape[:2], model.meta, zoom)
    scores = _scores(model, [image], size, ask)
    sides = zip(scores.shape[2:], size, image.shape[:2], strict=True)
    finer = tuple(min(max(head, -(-shown // 2)), own) for head, shown, own in sides)
    return _resized(scores, finer)[0].softmax(0).cpu().numpy()


def predict(model: EncoderDecoder, image: np.ndarray, ask: str = "auto", zoom: float = 1.0) -> np.ndarray:
    """Label map uint8 (H, W) of a uint8 RGB photo (H, W, 3), at the photo's own size."""
    return predict_batch(model, [image], ask, zoom)[0]


def predict_batch(
    model: EncoderDecoder, images: Sequence[np.ndarray], ask: str = "auto", zoom: float = 1.0
) -> list[np.ndarray]:
    """Label maps uint8 (H, W) of photos of any sizes, each at its own size, in their order.

    Photos that are shown to the model at one size go through it together, at most `BATCH` at once;
    `ask` and `zoom` are those of `logits`.
    """
    shown = defaultdict(list)
    for index, image in enumerate(images):
        shown[fitted_size(image.shape[:2], model.meta, zoom)].append(index)
    labels = [None] * len(images)
    for size, indices in shown.items():
        for start in range(0, len(indices), BATCH):
            part = indices[start : start + BATCH]
            for index, scores in zip(part, _scores(model, [images[i] for i in part], size, ask), strict=True):
                labels[index] = upsampled_argmax(scores, size, images[index].shape[:2])
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
