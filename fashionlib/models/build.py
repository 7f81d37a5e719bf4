"""A row of the table -> MMSegmentation's config with our changes in it -> a model with initial weights."""

import copy
from collections.abc import Sequence

from mmengine import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.model.utils import revert_sync_batchnorm
from mmseg.models import EncoderDecoder
from mmseg.models.backbones.vit import TransformerEncoderLayer
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.utils import register_all_modules

from fashionlib.core.classes import CLASSES, check_name
from fashionlib.core.files import explain_disk_errors, temporary_folder
from fashionlib.models import (
    detail,  # noqa: F401  (registers DetailViT and DetailHead)
    init_weights,
)
from fashionlib.models.fast import attention, heads, loss
from fashionlib.models.zoo import CONFIGS, MINI_CROP, MODELS, SCALES, ModelSpec


def config(
    name: str, num_classes: int = 28, scale: str = "full", crop: tuple[int, int] | None = None
) -> Config:
    """The row's MMSegmentation config, whole (model, pipelines, optimiser), with our changes in it.

    `crop` (height, width in pixels; None: the row's) sets the encoder's position grid, the padding
    of training batches and, for sliding-window inference, the window (its stride scaled alike).
    Every request for outside weights in the shipped config is cleared.
    """
    spec = MODELS[check_name(name, MODELS, "model")]
    check_name(scale, SCALES, "scale")
    cfg = _shipped(spec)
    model = cfg.model
    for change in (spec.change, spec.mini if scale == "mini" else {}):
        _merge(model, change)
    for head in _heads(model):
        head.num_classes = num_classes
    model.pretrained = None
    model.backbone.pop("init_cfg", None)
    crop = tuple(crop or (MINI_CROP if scale == "mini" else spec.crop or cfg.crop_size))
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


def patch_size(name: str, scale: str = "full") -> int | None:
    """Side of the encoder's patches in pixels, None for the convolutional rows."""
    spec = MODELS[check_name(name, MODELS, "model")]
    return spec.mini["backbone"].get("patch_size") if spec.patch and scale == "mini" else spec.patch


def layers(name: str, scale: str = "full") -> int:
    """Number of the encoder's transformer layers, 0 for the convolutional rows."""
    return config(name, scale=scale).model.backbone.num_layers if MODELS[name].patch else 0


def freeze(model: EncoderDecoder, count: int) -> None:
    """The embeddings and the first `count` transformer layers of the encoder get no gradients any more.

    Nothing below the first layer that learns is differentiated, so a step costs that much less.
    """
    frozen = ("patch_embed.", "cls_token", "pos_embed", *(f"layers.{i}." for i in range(count)))
    for name, parameter in model.backbone.named_parameters():
        if name.startswith(frozen):
            parameter.requires_grad_(False)


def build(
    name: str, num_classes: int = 28, scale: str = "full", init: str = "none",
    crop: tuple[int, int] | None = None, activation_checkpointing: bool = False, sync_bn: bool = False,
    trust_checkpoint: bool = False,
) -> EncoderDecoder:  # fmt: skip
    """A model of the table with initial weights, on the CPU, in training mode.

    Args:
        init: ``none``, ``ade20k``, ``dinov2`` or the path of a checkpoint (`fashionlib.models.init_weights`).
        activation_checkpointing: keep only the input of every transformer layer and compute the rest again in
            the backward pass: a fifth of the memory or less, the same answers, about a third more time.
        sync_bn: keep the configs' SyncBN (several GPUs); otherwise it is plain BatchNorm with the
            same parameters, which also runs on a CPU.
        trust_checkpoint: load a path also where it may run code: as you would a program of its maker.

    Returns:
        the model; `model.init_report` says what was loaded and what was left out.

    Raises:
        ValueError: unknown names, an init that this row does not have, or weights that do not fit.
    """
    register_all_modules(init_default_scope=True)
    cfg = config(name, num_classes, scale, crop)
    model = MMSEG_MODELS.build(copy.deepcopy(cfg.model))
    MMLogger.get_current_instance().setLevel("WARNING")  # else a line for every tensor
    model.init_weights()  # once and here: MMEngine's Runner asks again, and is then a no-op
    if not sync_bn:
        model = revert_sync_batchnorm(model)
    if activation_checkpointing:
        _recompute_layers(model)
    attention.install(model)
    loss.install(heads.classify_first(model))
    spec = MODELS[name]
    model.init_report = init_weights.load_into(model, init, spec=spec, scale=scale, trust=trust_checkpoint)
    known = num_classes <= len(CLASSES)
    model.metadata = metadata_for(name, CLASSES[:num_classes], scale, crop) if known else {}
    return model


def _recompute_layers(model: EncoderDecoder) -> None:
    """Activation checkpointing in every transformer layer, a Segmenter's decoder included.

    Not in convolutional blocks: running twice, their batch norms would count every batch twice.
    """
    for module in model.modules():
        if isinstance(module, TransformerEncoderLayer):
            module.with_cp = True


def metadata_for(name: str, classes: Sequence[str], scale: str, crop: tuple[int, int] | None = None) -> dict:
    """Metadata that every checkpoint carries: model, classes, preprocessing and kind of inference."""
    cfg = config(name, len(classes), scale, crop)
    pre = cfg.model.data_preprocessor
    return dict(
        model=name,
        scale=scale,
        classes=list(classes),
        crop=list(pre.size),
        mean=list(pre.mean),
        std=list(pre.std),
        test_cfg=cfg.model.test_cfg.to_dict(),
        resize=list(test_resize(cfg, scale, crop)),
    )


def test_resize(cfg: Config, scale: str, crop: tuple[int, int] | None = None) -> tuple[int, int]:
    """(long, short) side in pixels that a photo is fitted into for testing, aspect ratio kept.

    MMSegmentation's own (2048, 512) for a 512-pixel crop, in proportion for other crops.
    """
    short = min(cfg.model.data_preprocessor.size)
    long, shipped = next((t["scale"] for t in cfg.test_pipeline if t["type"] == "Resize"), (2048, 512))
    if (long, shipped) == (2048, 1024):  # Cityscapes' U-Net: wide photos; ours are not
        long, shipped = 2048, 512
    return (long * short // shipped, short)


def _shipped(spec: ModelSpec) -> Config:
    """The row's config as MMSegmentation ships it, which MMEngine reads by way of a temporary file."""
    with explain_disk_errors(temporary_folder()):
        return Config.fromfile(CONFIGS / spec.config)


def _heads(model: ConfigDict) -> list[ConfigDict]:
    auxiliary = model.get("auxiliary_head") or []
    return [model.decode_head, *(auxiliary if isinstance(auxiliary, list) else [auxiliary])]


def _merge(model: ConfigDict, change: dict) -> None:
    """Merge `change` into a model config; what is said of ``auxiliary_head`` goes to each of them.

    ``_delete_=True`` replaces what is there instead, as in MMEngine's configs.
    """
    for key, value in change.items():
        if value.get("_delete_"):
            model[key] = {name: item for name, item in value.items() if name != "_delete_"}
            continue
        if key == "auxiliary_head":
            for head in _heads(model)[1:]:
                head.update(value)
        else:
            model[key].update(value)
