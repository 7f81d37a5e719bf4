"""A model with initial weights, from a row of the table by way of MMSegmentation's config."""

import fashionlib.core.engine  # noqa: F401  (first: it keeps the engine quiet)

# isort: split
import copy
from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path

import mmseg
import torch
from mmengine import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.model.utils import revert_sync_batchnorm
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.utils import register_all_modules
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fashionlib.core.checked_files import reason
from fashionlib.core.classes import CLASSES, check_name
from fashionlib.core.files import explain_disk_errors, temporary_folder
from fashionlib.models import detail, fast, init_weights, losses, norms  # noqa: F401  (registers DetailViT, DetailHead)
from fashionlib.models.specs import check_norm, patch_size, spec, whole_patches
from fashionlib.models.zoo import MINI_CROP, PUP_AT_8, SCALES, ModelSpec

_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.arange}
CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs"


def config(
    name: str | ModelSpec,
    num_classes: int = 28,
    scale: str = "full",
    crop: tuple[int, int] | None = None,
    patch: int | None = None,
    loss: str = "cross_entropy",
    class_weights: list[float] | None = None,
) -> Config:
    """The MMSegmentation config (model, pipelines, optimiser) of a row, with our changes.

    `name`, here and below: of a row, or the path of a config file, or what `fashionlib.models.spec` returns.
    `crop` (height, width in pixels; None: the row's, in whole patches) sets the encoder's position grid, the
    padding of training batches and, for sliding-window inference, the window, with its stride in proportion.
    `patch` (8, 14 or 16 pixels; None: the row's) is for ViT rows at scale full; the number of PUP's stages
    follows it. `loss` and `class_weights` are the decode head's (`losses`). It requests no external weights.
    """
    row = spec(name)
    check_name(scale, SCALES, "scale")
    cfg = _shipped(row)
    changes = [row.change, row.mini] if scale == "mini" else [row.change]
    side = patch_size(row, scale, patch)
    if patch:
        stages = PUP_AT_8 if patch == 8 and row.decoder == "PUP" else {}
        changes.append(dict(backbone=dict(patch_size=patch)) | stages)
    for change in copy.deepcopy(changes):  # MMEngine takes `_delete_` out of what it merges
        change.pop("auxiliary_head", None)
        cfg.merge_from_dict({"model": change})
    model = cfg.model
    auxiliary = model.get("auxiliary_head") or []
    auxiliary = auxiliary if isinstance(auxiliary, list) else [auxiliary]
    for head, change in product(auxiliary, changes):
        head.update(change.get("auxiliary_head", {}))
    for head in [model.decode_head, *auxiliary]:
        head.num_classes = num_classes
        head.pop("out_channels", None)
    entropy = model.decode_head.get("loss_decode", dict(type="CrossEntropyLoss"))
    model.decode_head.loss_decode = losses.decode_loss(entropy, loss, class_weights)
    model.pretrained = None
    model.backbone.pop("init_cfg", None)
    own = MINI_CROP if scale == "mini" else row.crop or cfg.crop_size
    crop = tuple(crop or whole_patches(own, side))
    model.data_preprocessor.size = crop
    if row.patch:
        model.backbone.img_size = crop
    if model.test_cfg.mode == "slide":
        shipped, stride = model.test_cfg.crop_size, model.test_cfg.stride
        model.test_cfg.crop_size = crop
        model.test_cfg.stride = tuple(round(c * s / w) for c, s, w in zip(crop, stride, shipped, strict=True))
    return cfg


def shipped_crop(name: str | ModelSpec) -> tuple[int, int]:
    """(height, width) of the training crops in the row's shipped config."""
    return tuple(_shipped(spec(name)).crop_size)


def layers(name: str | ModelSpec, scale: str = "full") -> int:
    """Number of the encoder's transformer layers, 0 for the rows without a plain ViT."""
    row = spec(name)
    return config(row, scale=scale).model.backbone.get("num_layers", 12) if row.patch else 0


def freeze(model: EncoderDecoder, count: int) -> None:
    """Freeze the embeddings and first `count` layers of the encoder; autograd stops above them."""
    frozen = ("patch_embed.", "cls_token", "pos_embed", *(f"layers.{i}." for i in range(count)))
    for name, parameter in model.backbone.named_parameters():
        if name.startswith(frozen):
            parameter.requires_grad_(False)


def network(
    name: str | ModelSpec,
    num_classes: int,
    scale: str,
    crop: tuple[int, int] | None,
    patch: int | None = None,
    norm: str = "batch",
    **loss,
) -> EncoderDecoder:
    """MMSegmentation's network of a row, with torch's default weights; `loss` is as in `config`.

    `norm` replaces the batch norms of decode heads, necks and convolutional encoders (`norms`): ``batch`` (no
    change), ``frozen_batch``, or ``group`` (group norm of 32 groups, or fewer where 32 do not divide the
    channels). Rows without any, those with Segmenter's decoders, refuse all but ``batch``.
    """
    check_norm(name, norm)
    register_all_modules(init_default_scope=True)
    model = MMSEG_MODELS.build(config(name, num_classes, scale, crop, patch, **loss).model)
    norms.replace(model, norm)
    return model


class _NoValues(TorchFunctionMode):
    """New tensors have shapes but no values (torch's meta device); at most 100,000 of them."""

    left = 100_000

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """The function's result."""
        if function not in _FACTORIES:
            return function(*args, **(kwargs or {}))
        self.left -= 1
        if self.left < 0:
            raise ValueError("it has more than 100,000 tensors")
        return function(*args, **(kwargs or {}) | {"device": "meta"})


def without_values(name: str | ModelSpec, *architecture) -> EncoderDecoder:
    """`network` in eval mode on torch's meta device: shapes without values, which take no memory."""
    with _NoValues():
        model = revert_sync_batchnorm(network(name, *architecture))
    model.eval()  # returns None in some mmseg modules, so not chained
    return model


def logits_without_values(model: EncoderDecoder, size: tuple[int, int]) -> Tensor:
    """Shape of the logits (1, C, ·, ·) that a network `without_values` gives of a photo of `size` (h, w)."""
    with _NoValues(), torch.no_grad():
        return model.decode_head(model.extract_feat(torch.empty(1, 3, *size)))


def tried_out(called: str, row: ModelSpec, num_classes: int, *architecture) -> EncoderDecoder:
    """The network of someone's own config, `without_values`.

    Raises ValueError, about what is `called`, for one that can't be built or gives no logits of the classes.
    """
    try:
        model = without_values(row, num_classes, *architecture)
        height, width = config(row, num_classes, *architecture[:3]).model.data_preprocessor.size
        logits = logits_without_values(model, (height, width + 32))  # photos have other sizes than crops
        if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[1] != num_classes:
            raise ValueError(f"its decode head gives no logits of {num_classes} classes")
    except Exception as error:  # layers refuse what does not fit in many ways
        raise ValueError(f"{called} can't be built by MMSegmentation: {reason(error)}.") from None
    return model


def build(
    name: str | ModelSpec,
    num_classes: int = 28,
    scale: str = "full",
    init: str = "none",
    crop: tuple[int, int] | None = None,
    patch: int | None = None,
    norm: str = "batch",
    activation_checkpointing: bool = False,
    sync_bn: bool = False,
    trust_checkpoint: bool = False,
    loss: str = "cross_entropy",
    class_weights: list[float] | None = None,
) -> EncoderDecoder:
    """A model of the table with initial weights, on the CPU, in training mode.

    Args:
        init: ``none``, ``ade20k``, ``dinov2`` or the path of a checkpoint (`fashionlib.models.init_weights`).
        patch: side length of the patches in pixels, None for the row's own (`config`).
        norm: ``batch``, ``frozen_batch`` or ``group`` (`network`).
        activation_checkpointing: keep only the input of every transformer layer and compute the rest again in
            the backward pass: a fifth of the memory or less, the same answers, about a third more time.
        sync_bn: keep the configs' SyncBN (several GPUs); False: plain BatchNorm with the same parameters,
            which also runs on a CPU.
        trust_checkpoint: load the path even if it may run code. Only for a maker that you would trust with
            a program.
        loss, class_weights: of the decode head (`fashionlib.models.losses.decode_loss`).

    Returns:
        the model, with a `fashionlib.models.init_weights.LoadReport` as `model.init_report`.

    Raises:
        ValueError: unknown names, a patch, norm or init that the row lacks, or weights that do not fit.
    """
    row = spec(name)
    if row.own:
        tried_out(name if isinstance(name, str) else row.name, row, num_classes, scale, crop, patch, norm)
    model = network(row, num_classes, scale, crop, patch, norm, loss=loss, class_weights=class_weights)
    MMLogger.get_current_instance().setLevel("WARNING")  # else a line for every tensor
    model.init_weights()  # once and here: MMEngine's Runner calls it again, which then does nothing
    if not sync_bn:
        model = revert_sync_batchnorm(model)
    if activation_checkpointing:
        fast.recompute_layers(model)
    fast.install(model)
    model.init_report = init_weights.load_into(model, init, spec=row, scale=scale, trust=trust_checkpoint)
    known = num_classes <= len(CLASSES)
    classes = CLASSES[:num_classes]
    model.metadata = metadata_for(row, classes, scale, crop, patch, norm) if known else {}
    return model


def metadata_for(
    name: str | ModelSpec,
    classes: Sequence[str],
    scale: str,
    crop: tuple[int, int] | None = None,
    patch: int | None = None,
    norm: str = "batch",
) -> dict:
    """Metadata of every checkpoint: model, classes, preprocessing and kind of inference."""
    row = spec(name)
    cfg = config(row, len(classes), scale, crop, patch)
    pre = cfg.model.data_preprocessor
    return dict(
        model=row.name,
        **(dict(config=row.own) if row.own else {}),
        scale=scale,
        classes=list(classes),
        crop=list(pre.size),
        patch=patch,
        norm=norm,
        mean=list(pre.mean),
        std=list(pre.std),
        test_cfg=cfg.model.test_cfg.to_dict(),
        resize=list(test_resize(cfg, scale, crop)),
    )


def test_resize(cfg: Config, scale: str, crop: tuple[int, int] | None = None) -> tuple[int, int]:
    """(long, short) side in pixels into which a test photo is fitted with its aspect ratio kept.

    MMSegmentation's own (2048, 512) for a 512-pixel crop, in proportion for other crops.
    """
    short = min(cfg.model.data_preprocessor.size)
    long, shipped = next((t["scale"] for t in cfg.test_pipeline if t["type"] == "Resize"), (2048, 512))
    if (long, shipped) == (2048, 1024):  # Cityscapes' U-Net: wide photos; ours are not
        long, shipped = 2048, 512
    return (long * short // shipped, short)


def _shipped(row: ModelSpec) -> Config:
    """The row's config as MMSegmentation ships it, to be changed."""
    cfg = copy.deepcopy(_from_file(row.config))
    if row.own:
        cfg.model = ConfigDict(copy.deepcopy(row.own))
    return cfg


@cache
def _from_file(name: str) -> Config:
    """A config below `CONFIGS`, read once: MMEngine executes it and its bases through a temporary file."""
    with explain_disk_errors(temporary_folder()):
        return Config.fromfile(CONFIGS / name)
