"""Inference: photos -> logits, label maps or class probabilities.

Preprocessing (size, mean, std), the kind of inference (whole image or sliding window) and the crop
(`two_stage`) come from the checkpoint's metadata, never from the caller.
"""

import fashionlib.core.engine  # noqa: F401  (first: it keeps the engine quiet)

# isort: split
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models import EncoderDecoder

from fashionlib.core.classes import check_name
from fashionlib.models import detail, maps, two_stage
from fashionlib.models.maps import upsampled_argmax
from fashionlib.models.two_stage import Crop, cells, fitted_size

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
BATCH = 8  # photos, or windows of photos, that go through the model at once


def resolve_precision(device: torch.device | str = "cpu", precision: str = "auto") -> str:
    """The precision to use on `device`: ``auto`` resolves to one that the hardware multiplies fast.

    That is bf16 on CPUs and GPUs that have it, fp16 on older GPUs, fp32 on older CPUs.
    """
    if check_name(precision, PRECISIONS, "precision") != "auto":
        return precision
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)() else "fp32"


def autocast(device: torch.device | str = "cpu", precision: str = "auto"):
    """The context that runs a model in `resolve_precision(device, precision)`."""
    kind = resolve_precision(device, precision)
    if kind == "fp32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16 if kind == "bf16" else torch.float16)


def predict(model: EncoderDecoder, image: np.ndarray, precision: str = "auto") -> np.ndarray:
    """Label map uint8 (H, W) of a uint8 RGB photo (H, W, 3), at the photo's own size."""
    return predict_batch(model, [image], precision)[0]


def predict_batch(
    model: EncoderDecoder, images: Sequence[np.ndarray], precision: str = "auto"
) -> list[np.ndarray]:
    """Label maps uint8 (H, W) of photos of any sizes, each at its own size, in their order."""
    found = crops(model, images, precision)
    labels = [None] * len(images)
    for index, answer, _ in looks(model, images, found, precision):
        crop, shape = found[index], images[index].shape[:2]
        own = crop.cut(images[index]).shape[:2]
        labels[index] = crop.paste(upsampled_argmax(crop.blend(answer, shape).cpu(), crop.size, own), shape)
    return labels


def probabilities(model: EncoderDecoder, image: np.ndarray, precision: str = "auto") -> np.ndarray:
    """Class probabilities float32 (C, h, w) of a photo uint8 RGB (H, W, 3), no larger than the photo.

    The map has half the size of the model's input, or the decode head's size where that is finer:
    enlarging all classes further takes as long as the network and adds nothing. On validation photos of
    Clothing Co-Parsing, masks enlarged from here and masks of classes enlarged first have the same IoU
    (0.921 apparel, 0.954 person) and boundary F (0.758 and 0.760, 0.842 and 0.843).
    Outside of the second stage's crop, all is background.
    """
    crop = crops(model, [image], precision)[0]
    ((_, answer, _),) = looks(model, [image], [crop], precision)
    answer = crop.blend(answer, image.shape[:2])
    finer = tuple(map(cells, crop.size, crop.cut(image).shape[:2], answer.shape[1:]))
    return maps.paste(maps.probabilities(answer.cpu().numpy(), finer), crop, image.shape[:2])


def upsampled_logits(
    model: EncoderDecoder, image: np.ndarray, precision: str = "auto", size: tuple[int, int] | None = None
) -> torch.Tensor:
    """Logits float32 (C, h, w) of a whole photo uint8 RGB (H, W, 3) at `size` (None: the checkpoint's)."""
    size = size or fitted_size(image.shape[:2], model.metadata)
    return upsample(logits(model, [image], size, precision), size)[0]


def crops(model: EncoderDecoder, images: Sequence[np.ndarray], precision: str = "auto") -> list[Crop]:
    """The crop of each photo, uint8 RGB (H, W, 3), for `model`: the whole photo or its subject."""
    shapes, metadata = [image.shape[:2] for image in images], model.metadata
    found = [two_stage.whole_photo(shape, metadata) for shape in shapes]
    if metadata.get("closer"):
        first = [two_stage.first_look(shape, metadata) for shape in shapes]
        for index, answer, tokens in looks(model, images, first, precision):
            found[index] = two_stage.subject(answer.cpu(), shapes[index], metadata, tokens) or found[index]
    return found


def looks(
    model: EncoderDecoder, images: Sequence[np.ndarray], found: Sequence[Crop], precision: str
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor | None]]:
    """(index, logits (C, ·, ·), joined token maps (D, h, w) or None) of the crops `found` in `images`.

    Crops of one size go through the model together, at most `BATCH` at once, so not in their order; not
    where the second stage keeps some tokens only (`two_stage`): then each has its own.
    """
    parts = [crop.cut(image) for crop, image in zip(found, images, strict=True)]
    if two_stage.keeps_tokens(model.metadata):
        for index, crop in enumerate(found):
            yield index, *_look(model, parts[index], crop, images[index].shape[:2], precision)
        return
    by_size = defaultdict(list)
    for index, crop in enumerate(found):
        by_size[crop.size].append(index)
    for size, indices in by_size.items():
        for start in range(0, len(indices), BATCH):
            some = indices[start : start + BATCH]
            answers = logits(model, [parts[i] for i in some], size, precision)
            yield from ((index, answer, None) for index, answer in zip(some, answers, strict=True))


@torch.inference_mode()
def _look(
    model: EncoderDecoder, part: np.ndarray, crop: Crop, shape: tuple[int, int], precision: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and joined token maps of a `part` cut out of a photo of `shape` by `crop` (`detail.look`)."""
    x, which = _normalised(model, [part], crop.size), ()
    if crop.kept:
        grid = two_stage.patches(crop.size, model.metadata)
        around = crop.resample(crop.kept.tokens, shape, grid)
        which = torch.from_numpy(crop.kept.patches).to(x.device), around
    with autocast(x.device, precision):
        return detail.look(model.backbone, model.decode_head, x, *which)


@torch.inference_mode()
def logits(
    model: EncoderDecoder, images: list[np.ndarray], size: tuple[int, int], precision: str
) -> torch.Tensor:
    """Logits float32 (N, C, ·, ·) of N photos that the model sees at `size` (h, w).

    At the decode head's resolution where the model sees the photo in one piece, else at `size`.
    """
    x = _normalised(model, images, size)
    with autocast(x.device, precision):
        if model.test_cfg.mode == "slide" and np.any(np.greater(size, model.test_cfg.crop_size)):
            return _slide(model, x)
        return model.decode_head(model.extract_feat(x)).float()


def _normalised(model: EncoderDecoder, images: list[np.ndarray], size: tuple[int, int]) -> torch.Tensor:
    """Photos as the network sees them, float32 (N, 3, h, w) on its device."""
    device = next(model.parameters()).device
    small = np.stack([mmcv.imresize(image, size[::-1], interpolation="bilinear") for image in images])
    x = torch.from_numpy(small).to(device).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(model.metadata[key], device=device).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (x - mean) / std


def upsample(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(N, C, ·, ·) bilinearly at `size` (h, w), as every decode head in the table does."""
    return F.interpolate(logits, size, mode="bilinear")


def _slide(model: EncoderDecoder, x: torch.Tensor) -> torch.Tensor:
    """Logits (N, C, h, w) of normalised photos (N, 3, h, w): the mean of windows that overlap.

    The windows are mmseg's `slide_inference`'s, but go through the model together: they are all of
    one size, and a small model spends more on a call than on its answer.
    """
    size = [min(window, side) for window, side in zip(model.test_cfg.crop_size, x.shape[2:], strict=True)]
    rows, columns = (
        [slice(start, start + window) for start in window_starts(side, window, stride)]
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


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """Where windows begin along a side of `side` pixels; the last one ends with it."""
    steps = -(-(side - window) // stride) + 1
    return [min(step * stride, side - window) for step in range(steps)]
