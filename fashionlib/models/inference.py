"""Photos through the network: at which size, in which precision, whole or in windows.

Preprocessing (size, mean, std) and the kind of inference come from the checkpoint, never from the caller.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models import EncoderDecoder

from fashionlib.core.classes import check_name
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


def fitted_size(size: tuple[int, int], info: dict) -> tuple[int, int]:
    """(h, w) at which a whole photo of `size` (H, W) is shown to the model.

    Fitted into ``info["resize"]`` with its aspect ratio kept. Whole-image inference rounds each side to
    whole patches: a partly padded last patch would shift the logits against the photo. The convolutional
    rows halve theirs up to four times, and U-Net takes no other sides than multiples of 16.
    """
    long, short = info["resize"]
    factor = min(long / max(size), short / min(size))
    return scaled_size(size, factor, info)


def scaled_size(size: tuple[int, int], factor: float, info: dict) -> tuple[int, int]:
    """`size` (H, W) times `factor`, in whole pixels, or patches for whole-image inference."""
    patch = (patch_size(info["model"], info["scale"]) or 16) if info["test_cfg"]["mode"] == "whole" else 1
    h, w = (max(patch, round(side * factor / patch) * patch) for side in size)
    return h, w


def logits(
    model: EncoderDecoder, image: np.ndarray, ask: str = "auto", size: tuple[int, int] | None = None
) -> torch.Tensor:
    """Class logits of one photo, shown whole.

    Args:
        image: uint8 RGB (H, W, 3).
        ask: one of `PRECISIONS`.
        size: (h, w) at which it is shown; None: the checkpoint's.

    Returns:
        float32 (C, h, w). Sliding window or whole image and normalisation as `model.meta` says.
    """
    size = size or fitted_size(image.shape[:2], model.meta)
    return resized(scores(model, [image], size, ask), size)[0]


@torch.inference_mode()
def scores(model: EncoderDecoder, images: list[np.ndarray], size: tuple[int, int], ask: str) -> torch.Tensor:
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


def scores_each(
    model: EncoderDecoder, images: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]], ask: str
) -> Iterator[tuple[int, torch.Tensor]]:
    """(index, `scores` of that photo) for photos that are each shown at a size of their own.

    Those of one size go through the model together, at most `BATCH` at once, so not in their order.
    """
    shown = defaultdict(list)
    for index, size in enumerate(sizes):
        shown[size].append(index)
    for size, indices in shown.items():
        for start in range(0, len(indices), BATCH):
            part = indices[start : start + BATCH]
            yield from zip(part, scores(model, [images[i] for i in part], size, ask), strict=True)


def resized(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(N, C, ·, ·) to `size` (h, w), as every decode head in the table does."""
    return F.interpolate(scores, size, mode="bilinear")


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
