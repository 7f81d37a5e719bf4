"""A model with initial weights, from a row of the table by way of MMSegmentation's config."""

import copy
from collections.abc import Sequence
from pathlib import Path

import mmseg
from mmengine import Config
from mmengine.logging import MMLogger
from mmengine.model.utils import revert_sync_batchnorm
from mmseg.models import EncoderDecoder
from mmseg.models.backbones.vit import TransformerEncoderLayer
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.utils import register_all_modules
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fashionlib.core.classes import CLASSES, check_name
from fashionlib.core.files import explain_disk_errors, temporary_folder
from fashionlib.models import detail, fast, init_weights, losses  # noqa: F401  (registers DetailViT, DetailHead)
from fashionlib.models.zoo import (
    MINI_CROP,
    MODELS,
    PUP_AT_8,
    SCALES,
    ModelSpec,
    check_norm,
    patch_size,
    whole_patches,
)

CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs"


def config(
    name: str, num_classes: int = 28, scale: str = "full", crop: tuple[int, int] | None = None,
    patch: int | None = None, loss: str = "cross_entropy", class_weights: list[float] | None = None,
) -> Config:  # fmt: skip
    """The row's MMSegmentation config (model, pipelines, optimiser) with our changes.

    `crop` (height, width in pixels; None: the row's, in whole patches) sets the encoder's position grid, the
    padding of training batches and, for sliding-window inference, the window, with its stride in proportion.
    `patch` (8, 14 or 16 pixels; None: the row's) is for ViT rows at scale full; the number of PUP's stages
    follows it. `loss` and `class_weights` are the decode head's (`fashionlib.models.losses`). The config
    requests no external weights.
    """
    spec = MODELS[check_name(name, MODELS, "model")]
    check_name(scale, SCALES, "scale")
    cfg = _shipped(spec)
    changes = [spec.change, spec.mini] if scale == "mini" else [spec.change]
    side = patch_size(name, scale, patch)
    if patch:
        stages = PUP_AT_8 if patch == 8 and spec.decoder == "PUP" else {}
        changes.append(dict(backbone=dict(patch_size=patch)) | stages)
    for change in copy.deepcopy(changes):  # MMEngine takes `_delete_` out of what it merges
        change.pop("auxiliary_head", None)
        cfg.merge_from_dict({"model": change})
    model = cfg.model
    auxiliary = model.get("auxiliary_head") or []
    auxiliary = auxiliary if isinstance(auxiliary, list) else [auxiliary]
    for head in auxiliary:
        for change in changes:
            head.update(change.get("auxiliary_head", {}))
    for head in [model.decode_head, *auxiliary]:
        head.num_classes = num_classes
    model.decode_head.loss_decode = losses.decode_loss(model.decode_head.loss_decode, loss, class_weights)
    model.pretrained = None
    model.backbone.pop("init_cfg", None)
    own = MINI_CROP if scale == "mini" else spec.crop or cfg.crop_size
    crop = tuple(crop or whole_patches(own, side))
    model.data_preprocessor.size = crop
    if spec.patch:
        model.backbone.img_size = crop
    if model.test_cfg.mode == "slide":
        shipped, stride = model.test_cfg.crop_size, model.test_cfg.stride
        model.test_cfg.crop_size = crop
        model.test_cfg.stride = tuple(round(c * s / w) for c, s, w in zip(crop, stride, shipped, strict=True))
    return cfg


def shipped_crop(name: str) -> tuple[int, int]:
    """(height, width) of the training crops in the row's shipped config."""
    return tuple(_shipped(MODELS[check_name(name, MODELS, "model")]).crop_size)


def layers(name: str, scale: str = "full") -> int:
    """Number of the encoder's transformer layers, 0 for the convolutional rows."""
    return config(name, scale=scale).model.backbone.num_layers if MODELS[name].patch else 0


def freeze(model: EncoderDecoder, count: int) -> None:
    """Freeze the embeddings and the first `count` transformer layers of the encoder.

    Autograd stops at the lowest trainable layer, which shortens a step.
    """
    frozen = ("patch_embed.", "cls_token", "pos_embed", *(f"layers.{i}." for i in range(count)))
    for name, parameter in model.backbone.named_parameters():
        if name.startswith(frozen):
            parameter.requires_grad_(False)


class FrozenBatchNorm(nn.BatchNorm2d):
    """Batch norm with fixed statistics, in training too; weight and bias are trained.

    The statistics are those of the initial weights. Random weights have mean 0 and variance 1, which leaves
    a plain affine layer.
    """

    def train(self, mode: bool = True) -> "FrozenBatchNorm":
        """Stays in eval mode, whatever `mode` is."""
        return super().train(False)


def _replaced(norm: _BatchNorm, kind: str) -> nn.Module:
    """The layer of `kind` in place of a batch norm; group norm has the most groups that fit, 32 at most."""
    channels = norm.num_features
    if kind == "frozen_batch":
        return FrozenBatchNorm(channels, norm.eps).eval()
    groups = max(n for n in range(1, 33) if channels % n == 0)
    return nn.GroupNorm(groups, channels, norm.eps)


def network(
    name: str, num_classes: int, scale: str, crop: tuple[int, int] | None, patch: int | None = None,
    norm: str = "batch", **loss,
) -> EncoderDecoder:  # fmt: skip
    """MMSegmentation's network of a row, with torch's default weights; `loss` is as in `config`.

    `norm` replaces the batch norms of decode heads, necks and convolutional encoders: ``batch`` (no change),
    ``frozen_batch`` (`FrozenBatchNorm`), or ``group`` (group norm of 32 groups, or fewer where 32 do not
    divide the channels). Rows without any, those with Segmenter's decoders, refuse all but ``batch``.
    """
    check_norm(name, norm)
    register_all_modules(init_default_scope=True)
    model = MMSEG_MODELS.build(config(name, num_classes, scale, crop, patch, **loss).model)
    # not by `norm_cfg`: it has one number of groups for layers of 48 channels and of 256
    for module in list(model.modules()) if norm != "batch" else ():
        for key, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, key, _replaced(child, norm))
    return model


def build(
    name: str, num_classes: int = 28, scale: str = "full", init: str = "none",
    crop: tuple[int, int] | None = None, patch: int | None = None, norm: str = "batch",
    activation_checkpointing: bool = False, sync_bn: bool = False, trust_checkpoint: bool = False,
    loss: str = "cross_entropy", class_weights: list[float] | None = None,
) -> EncoderDecoder:  # fmt: skip
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
        ValueError: unknown names, a patch, norm or init that this row does not have, or weights that do not
            fit.
    """
    model = network(name, num_classes, scale, crop, patch, norm, loss=loss, class_weights=class_weights)
    MMLogger.get_current_instance().setLevel("WARNING")  # else a line for every tensor
    model.init_weights()  # once and here: MMEngine's Runner calls it again, which then does nothing
    if not sync_bn:
        model = revert_sync_batchnorm(model)
    if activation_checkpointing:  # not in convolutional blocks: their batch norms would count a batch twice
        for module in model.modules():
            if isinstance(module, TransformerEncoderLayer):
                module.with_cp = True
    fast.install(model)
    model.init_report = init_weights.load_into(
        model, init, spec=MODELS[name], scale=scale, trust=trust_checkpoint
    )
    known = num_classes <= len(CLASSES)
    classes = CLASSES[:num_classes]
    model.metadata = metadata_for(name, classes, scale, crop, patch, norm) if known else {}
    return model


def metadata_for(
    name: str, classes: Sequence[str], scale: str, crop: tuple[int, int] | None = None,
    patch: int | None = None, norm: str = "batch",
) -> dict:  # fmt: skip
    """Metadata of every checkpoint: model, classes, preprocessing and kind of inference."""
    cfg = config(name, len(classes), scale, crop, patch)
    pre = cfg.model.data_preprocessor
    return dict(
        model=name,
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


def _shipped(spec: ModelSpec) -> Config:
    """The row's config as MMSegmentation ships it; MMEngine reads it through a temporary file."""
    with explain_disk_errors(temporary_folder()):
        return Config.fromfile(CONFIGS / spec.config)
