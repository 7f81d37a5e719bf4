"""Photo -> label map or class probabilities, at the photo's own size.

Preprocessing (size, mean, std) and the kind of inference come from the checkpoint, never from the caller.
"""

from contextlib import nullcontext

import cv2
import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models import EncoderDecoder

from fashionlib.classes import check_name
from fashionlib.models.build import patch_size

WINDOWS = 8  # of a sliding-window inference that go through the model at once


def precision(device: torch.device | str = "cpu", ask: str = "auto") -> str:
    """``fp32`` or ``bf16``: what ``auto`` means on `device` (bf16 where the hardware multiplies it)."""
    check_name(ask, ("auto", "fp32", "bf16"), "precision")
    if ask != "auto":
        return ask
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)() else "fp32"


def autocast(device: torch.device | str = "cpu", ask: str = "auto"):
    """The context that runs a model in `precision(device, ask)`."""
    if precision(device, ask) == "fp32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16)


@torch.inference_mode()
def logits(model: EncoderDecoder, image: np.ndarray, ask: str = "auto") -> torch.Tensor:
    """Class logits of one photo at the model's test size.

    Args:
        image: uint8 RGB (H, W, 3).
        ask: precision: ``auto``, ``fp32`` or ``bf16``.

    Returns:
        float32 (C, h, w). Sliding window or whole image, size and normalisation as `model.meta` says.
    """
    info = model.meta
    device = next(model.parameters()).device
    h, w = fitted_size(image.shape[:2], info)
    small = mmcv.imresize(image, (w, h), interpolation="bilinear")
    x = torch.from_numpy(small).to(device).permute(2, 0, 1)[None].float()
    mean, std = (torch.tensor(info[key], device=device).view(1, 3, 1, 1) for key in ("mean", "std"))
    with autocast(device, ask):
        return _infer(model, (x - mean) / std)[0].float()


def _infer(model: EncoderDecoder, x: torch.Tensor) -> torch.Tensor:
    """Logits (1, C, h, w) of a normalised photo (1, 3, h, w): the whole of it, or windows and their mean.

    The windows are mmseg's `slide_inference`'s, but go through the model together: they are all of
    one size, and a small model spends more on a call than on its answer.
    """
    if model.test_cfg.mode == "whole":
        return model.encode_decode(x, [dict(img_shape=x.shape[2:])])
    size = [min(window, side) for window, side in zip(model.test_cfg.crop_size, x.shape[2:], strict=True)]
    starts = [
        _starts(side, window, stride)
        for side, window, stride in zip(x.shape[2:], size, model.test_cfg.stride, strict=True)
    ]
    places = [
        (slice(top, top + size[0]), slice(left, left + size[1])) for top in starts[0] for left in starts[1]
    ]
    windows = torch.cat([x[:, :, rows, columns] for rows, columns in places])
    answers = [model.encode_decode(part, [dict(img_shape=size)]) for part in windows.split(WINDOWS)]
    total = x.new_zeros((1, model.out_channels, *x.shape[2:]))
    count = x.new_zeros((1, 1, *x.shape[2:]))
    for (rows, columns), answer in zip(places, torch.cat(answers), strict=True):
        total[:, :, rows, columns] += answer
        count[:, :, rows, columns] += 1
    return total / count


def _starts(side: int, window: int, stride: int) -> list[int]:
    """Where windows begin along a side of `side` pixels; the last one ends with it."""
    steps = -(-(side - window) // stride) + 1
    return [min(step * stride, side - window) for step in range(steps)]


def fitted_size(size: tuple[int, int], info: dict) -> tuple[int, int]:
    """(h, w) at which a photo of `size` (H, W) is shown to the model.

    Fitted into ``info["resize"]`` with its aspect ratio kept. Whole-image inference rounds each side
    to whole patches, because a partly padded last patch would shift the logits against the photo.
    """
    height, width = size
    long, short = info["resize"]
    factor = min(long / max(size), short / min(size))
    h, w = round(height * factor), round(width * factor)
    patch = patch_size(info["model"], info["scale"]) or 1
    if info["test_cfg"]["mode"] == "whole":
        h, w = (max(patch, round(side / patch) * patch) for side in (h, w))
    return h, w


def probabilities(model: EncoderDecoder, image: np.ndarray, ask: str = "auto") -> np.ndarray:
    """Class probabilities float32 (C, H, W) at the photo's own size; `image` uint8 RGB (H, W, 3)."""
    at_size = F.interpolate(logits(model, image, ask)[None], image.shape[:2], mode="bilinear")[0]
    return at_size.softmax(0).cpu().numpy()


def predict(model: EncoderDecoder, image: np.ndarray, ask: str = "auto") -> np.ndarray:
    """Label map uint8 (H, W) of a uint8 RGB photo (H, W, 3), at the photo's own size."""
    return upsampled_argmax(logits(model, image, ask), image.shape[:2])


def upsampled_argmax(scores: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """argmax over C of (C, h, w) `scores` resized bilinearly to `size`, as uint8 (H, W).

    One class at a time, so that a 24-megapixel photo needs two maps of floats, not C; and only classes
    that can win somewhere, which in a trained model are few.
    """
    maps = scores.float().cpu().numpy()
    label = np.zeros(size, np.uint8)
    best = np.full(size, -np.inf, np.float32)
    for value in _contenders(maps):
        full = cv2.resize(maps[value], size[::-1], interpolation=cv2.INTER_LINEAR)  # half-pixel centres
        label[full > best] = value
        np.maximum(best, full, out=best)
    return label


def _contenders(maps: np.ndarray) -> np.ndarray:
    """Classes of (C, h, w) that bilinear interpolation lets win anywhere.

    Between four pixels a class lies between its least and its greatest value there: it is out if its
    greatest is below the least of another class, in every such cell.
    """
    padded = np.pad(maps, ((0, 0), (0, 1), (0, 1)), mode="edge")
    corners = [padded[:, y : y + maps.shape[1], x : x + maps.shape[2]] for y in (0, 1) for x in (0, 1)]
    greatest, least = np.maximum.reduce(corners), np.minimum.reduce(corners)
    return np.flatnonzero((greatest >= least.max(axis=0)).any(axis=(1, 2)))
