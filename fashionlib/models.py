"""The models: a table, one row each, built from the configs that MMSegmentation ships.

A row states only what differs from its shipped config; `build` adds the number of classes and the
crop. So equality with the published architectures holds by construction. ``scale="mini"`` is the
same family with fewer, narrower layers, for drawn photos on a CPU; it is named wherever its
numbers appear.
"""

import copy
import json
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import fashionlib.engine  # noqa: F401, I001  (first: silences the imports below)
import mmcv
import mmseg
import numpy as np
import torch
import torch.nn.functional as F
from mmengine import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.model.utils import revert_sync_batchnorm
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.utils import register_all_modules
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fashionlib import attention, weights
from fashionlib.classes import CLASSES, check_name

CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs"
_WEIGHTS = "https://mmassets.onedl.ai/mmsegmentation/v0.5/"  # as in the package's metafile.yaml

# ViT-S as DINOv2 publishes it, the same under every decoder (DESIGN §3)
_VIT_S = dict(
    patch_size=14, embed_dims=384, num_layers=12, num_heads=6, drop_rate=0.0, patch_bias=True, final_norm=True,
    with_cls_token=True, norm_cfg=dict(type="LN", eps=1e-6), out_indices=(2, 5, 8, 11), interpolate_mode="bicubic",
)
_IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


@dataclass(frozen=True)
class ModelSpec:
    """One row of the table.

    `config` is relative to MMSegmentation's configs; `change` and `mini` are merged into its
    ``model``; `heads` is merged into every head (decode and auxiliary). `paper_batch` is the batch
    of the paper's §IV, None where it trained no such model.
    """

    name: str
    family: str
    encoder: str
    decoder: str
    config: str
    mini: dict
    patch: int | None = 16
    change: dict = field(default_factory=dict)
    crop: tuple[int, int] | None = None  # None: the config's
    ade20k: str | None = None
    dinov2: str | None = None
    paper_batch: int | None = None

    @property
    def ade20k_url(self) -> str | None:
        """MMSegmentation's ADE20K checkpoint, None where none is published for this row."""
        return self.ade20k and _WEIGHTS + self.ade20k


def _vit(dims: int, layers: int, **more) -> dict:
    return dict(embed_dims=dims, num_layers=layers, num_heads=dims // 32, patch_size=8, **more)


def _mini_segmenter(dims: int, layers: int = 4) -> dict:
    return dict(backbone=_vit(dims, layers), decode_head=dict(in_channels=dims, channels=dims, embed_dims=dims,
                                                              num_heads=dims // 32))


def _mini_linear(dims: int, layers: int = 4) -> dict:
    return dict(backbone=_vit(dims, layers), decode_head=dict(in_channels=dims, channels=dims))


def _mini_setr(decode: dict, dims: int = 160, layers: int = 6, aux: dict | None = None) -> dict:
    """Four outputs, all auxiliary heads, a quarter of the channels; PUP's three steps undo patch 8."""
    heads = dict(in_channels=dims, channels=64)
    return dict(backbone=_vit(dims, layers, out_indices=(2, 3, 4, 5)), decode_head=heads | decode,
                auxiliary_head=heads | (aux or {}))


_MINI_MLA = dict(
    backbone=_vit(160, 6, out_indices=(2, 3, 4, 5)),
    neck=dict(in_channels=[160] * 4, out_channels=64),
    decode_head=dict(in_channels=(64,) * 4, channels=128, mla_channels=32),
    auxiliary_head=dict(in_channels=64, channels=64),
)
_SEG_B = "segmenter/segmenter_vit-b_mask_8xb1-160k_ade20k-512x512.py"
_SEG_S = "segmenter/segmenter_vit-s_mask_8xb1-160k_ade20k-512x512.py"
_SEG_S_LINEAR = "segmenter/segmenter_vit-s_fcn_8xb1-160k_ade20k-512x512.py"
_SEG_T = "segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py"
_SEG_L = "segmenter/segmenter_vit-l_mask_8xb1-160k_ade20k-512x512.py"
_MLA = "setr/setr_vit-l-mla_8xb1-160k_ade20k-512x512.py"
_PUP = "setr/setr_vit-l_pup_8xb2-160k_ade20k-512x512.py"
_NAIVE = "setr/setr_vit-l_naive_8xb2-160k_ade20k-512x512.py"


def _s_heads(**more) -> dict:
    return dict(in_channels=384) | more


_ROWS = (
    # the paper's four
    ModelSpec("segmenter_vit_t", "Segmenter", "ViT-T", "mask transformer", _SEG_T, _mini_segmenter(128), paper_batch=8,
              ade20k="segmenter/segmenter_vit-t_mask_8x1_512x512_160k_ade20k/"
                     "segmenter_vit-t_mask_8x1_512x512_160k_ade20k_20220105_151706-ffcf7509.pth"),
    ModelSpec("segmenter_vit_b", "Segmenter", "ViT-B", "mask transformer", _SEG_B, _mini_segmenter(192, 6),
              paper_batch=4, dinov2="vit_b",
              ade20k="segmenter/segmenter_vit-b_mask_8x1_512x512_160k_ade20k/"
                     "segmenter_vit-b_mask_8x1_512x512_160k_ade20k_20220105_151706-bc533b08.pth"),
    ModelSpec("setr_mla", "SETR", "ViT-L", "MLA", _MLA, _MINI_MLA, paper_batch=2, dinov2="vit_l",
              ade20k="setr/setr_mla_512x512_160k_b8_ade20k/setr_mla_512x512_160k_b8_ade20k_20210619_191118-c6d21df0.pth"),
    ModelSpec("setr_pup", "SETR", "ViT-L", "PUP", _PUP,
              _mini_setr(dict(num_convs=3), aux=dict(num_convs=1)), paper_batch=2, dinov2="vit_l",
              ade20k="setr/setr_pup_512x512_160k_b16_ade20k/"
                     "setr_pup_512x512_160k_b16_ade20k_20210619_191343-7e0ce826.pth"),
    # decoders that the paper describes, and its future work
    ModelSpec("setr_naive", "SETR", "ViT-L", "naive", _NAIVE, _mini_setr({}, aux={}), dinov2="vit_l",
              ade20k="setr/setr_naive_512x512_160k_b16_ade20k/"
                     "setr_naive_512x512_160k_b16_ade20k_20210619_191258-061f24f5.pth"),
    ModelSpec("segmenter_vit_t_linear", "Segmenter", "ViT-T", "linear", _SEG_S_LINEAR, _mini_linear(128),
              change=dict(backbone=dict(embed_dims=192, num_heads=3), decode_head=dict(in_channels=192, channels=192))),
    ModelSpec("segmenter_vit_b_linear", "Segmenter", "ViT-B", "linear", _SEG_S_LINEAR, _mini_linear(192, 6),
              change=dict(backbone=dict(embed_dims=768, num_heads=12), decode_head=dict(in_channels=768, channels=768)),
              dinov2="vit_b"),
    ModelSpec("segmenter_vit_l", "Segmenter", "ViT-L", "mask transformer", _SEG_L, _mini_segmenter(256, 6),
              dinov2="vit_l",
              ade20k="segmenter/segmenter_vit-l_mask_8x1_512x512_160k_ade20k/"
                     "segmenter_vit-l_mask_8x1_512x512_160k_ade20k_20220105_162750-7ef345be.pth"),
    # one pretrained encoder, five decoders
    ModelSpec("segmenter_vit_s", "Segmenter", "ViT-S", "mask transformer", _SEG_S, _mini_segmenter(128), patch=14,
              change=dict(data_preprocessor=_IMAGENET, backbone=_VIT_S), crop=(518, 518), dinov2="vit_s"),
    ModelSpec("segmenter_vit_s_linear", "Segmenter", "ViT-S", "linear", _SEG_S_LINEAR, _mini_linear(128), patch=14,
              change=dict(data_preprocessor=_IMAGENET, backbone=_VIT_S), crop=(518, 518), dinov2="vit_s"),
    ModelSpec("setr_vit_s_naive", "SETR", "ViT-S", "naive", _NAIVE, _mini_setr({}, 128, aux={}), patch=14,
              change=dict(backbone=_VIT_S, decode_head=_s_heads(), auxiliary_head=_s_heads()),
              crop=(518, 518), dinov2="vit_s"),
    ModelSpec("setr_vit_s_pup", "SETR", "ViT-S", "PUP", _PUP,
              _mini_setr(dict(num_convs=3), 128, aux=dict(num_convs=1)), patch=14,
              change=dict(backbone=_VIT_S, decode_head=_s_heads(), auxiliary_head=_s_heads()),
              crop=(518, 518), dinov2="vit_s"),
    ModelSpec("setr_vit_s_mla", "SETR", "ViT-S", "MLA", _MLA, _MINI_MLA, patch=14,
              change=dict(backbone=_VIT_S, neck=dict(in_channels=[384] * 4)), crop=(518, 518), dinov2="vit_s"),
    # the convolutional predecessors
    ModelSpec("unet", "U-Net", "UNet-S5-D16", "FCN", "unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py", patch=None,
              mini=dict(backbone=dict(base_channels=16), decode_head=dict(in_channels=16, channels=16),
                        auxiliary_head=dict(in_channels=32, channels=16)), crop=(512, 512)),
    ModelSpec("deeplabv3plus_r50", "DeepLabV3+", "ResNet-50", "ASPP",
              "deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512.py", patch=None,
              mini=dict(backbone=dict(base_channels=16),
                        decode_head=dict(in_channels=512, channels=64, c1_in_channels=64, c1_channels=16),
                        auxiliary_head=dict(in_channels=256, channels=32)),
              ade20k="deeplabv3plus/deeplabv3plus_r50-d8_512x512_160k_ade20k/"
                     "deeplabv3plus_r50-d8_512x512_160k_ade20k_20200615_124504-6135c7e0.pth"),
)
MODELS: dict[str, ModelSpec] = {row.name: row for row in _ROWS}
PAPER = tuple(row.name for row in _ROWS if row.paper_batch)
SCALES = ("full", "mini")
MINI_CROP = (128, 128)


def config(name: str, num_classes: int = 28, scale: str = "full", crop: tuple[int, int] | None = None) -> Config:
    """The row's MMSegmentation config, whole (model, pipelines, optimiser), with our changes in it.

    `crop` (height, width in pixels; None: the row's) sets the encoder's position grid, the padding
    of training batches and, for sliding-window inference, the window (its stride scaled alike).
    Every request for outside weights in the shipped config is cleared.
    """
    spec = MODELS[check_name(name, MODELS, "model")]
    check_name(scale, SCALES, "scale")
    cfg = Config.fromfile(CONFIGS / spec.config)
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
    return tuple(Config.fromfile(CONFIGS / MODELS[check_name(name, MODELS, "model")].config).crop_size)


def patch_size(name: str, scale: str = "full") -> int | None:
    """Side of the encoder's patches in pixels, None for the convolutional rows."""
    spec = MODELS[check_name(name, MODELS, "model")]
    return spec.mini["backbone"].get("patch_size") if spec.patch and scale == "mini" else spec.patch


def build(name: str, num_classes: int = 28, scale: str = "full", init: str = "none",
          crop: tuple[int, int] | None = None, memory: str = "auto", sync_bn: bool = False) -> EncoderDecoder:
    """A model of the table with initial weights, on the CPU, in training mode.

    Args:
        init: ``none``, ``ade20k``, ``dinov2`` or the path of a checkpoint (`fashionlib.weights`).
        memory: ``lean`` recomputes activations in the backward pass and never stores attention
            matrices: less memory, the same answers, about a third more time.
        sync_bn: keep the configs' SyncBN (several GPUs); otherwise it is plain BatchNorm with the
            same parameters, which also runs on a CPU.

    Returns:
        the model; `model.init_report` says what was loaded and what was left out.

    Raises:
        ValueError: unknown names, an init that this row does not have, or weights that do not fit.
    """
    register_all_modules(init_default_scope=True)
    cfg = config(name, num_classes, scale, crop)
    if memory == "lean" and MODELS[name].patch:
        cfg.model.backbone.with_cp = True
    model = MMSEG_MODELS.build(copy.deepcopy(cfg.model))
    MMLogger.get_current_instance().setLevel("WARNING")  # else a line for every tensor
    model.init_weights()  # once and here: MMEngine's Runner asks again, and is then a no-op
    if not sync_bn:
        model = revert_sync_batchnorm(model)
    attention.install(model, "lean" if memory == "lean" else "auto")
    spec = MODELS[name]
    model.init_report = weights.load_into(model, init, spec=spec, scale=scale)
    model.meta = meta(name, CLASSES[:num_classes], scale, crop) if num_classes <= len(CLASSES) else {}
    return model


def meta(name: str, classes: list[str] | tuple[str, ...], scale: str, crop: tuple[int, int] | None = None) -> dict:
    """What a checkpoint must carry to be rebuilt and fed rightly: model, classes, preprocessing, test settings."""
    cfg = config(name, len(classes), scale, crop)
    pre = cfg.model.data_preprocessor
    return dict(
        model=name, scale=scale, classes=list(classes), crop=list(pre.size), mean=list(pre.mean), std=list(pre.std),
        test_cfg=cfg.model.test_cfg.to_dict(), resize=list(test_resize(cfg, scale, crop)),
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


# ---------------------------------------------------------------- checkpoints of ours


def save(model: EncoderDecoder, path: str | Path, info: dict) -> Path:
    """Write the weights and `info` (see `meta`) to one safetensors file, whole or not at all."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    save_file(state, temporary, metadata={"fashionlib": json.dumps(info)})
    temporary.replace(path)
    return path


def read_meta(path: str | Path) -> dict:
    """The `info` of a checkpoint of ours, without reading its weights; ValueError if it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {})["fashionlib"])
    except (KeyError, json.JSONDecodeError):
        raise ValueError(f"{path} is a safetensors file, but not one of ours: it does not say which model it holds.") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"No checkpoint at {path}.") from None
    except Exception as error:  # safetensors raises its own type for torn and foreign files
        raise ValueError(f"{path} can't be read as a checkpoint ({error}); it may be torn: make it again.") from None


def load(path: str | Path) -> EncoderDecoder:
    """The model of a checkpoint of ours in eval mode; `model.meta` is what `save` was given."""
    info = read_meta(path)
    register_all_modules(init_default_scope=True)
    cfg = config(info["model"], len(info["classes"]), info["scale"], tuple(info["crop"]))
    model = revert_sync_batchnorm(MMSEG_MODELS.build(cfg.model))
    model.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in load_file(path).items()})
    model.test_cfg = ConfigDict(info["test_cfg"])
    model.meta = info
    attention.install(model)
    model.eval()  # returns None in some mmseg modules, so not chained
    return model


# ---------------------------------------------------------------- inference


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
    shape = dict(ori_shape=(h, w), img_shape=(h, w), pad_shape=(h, w), padding_size=[0, 0, 0, 0])
    with autocast(device, ask):
        return model.inference((x - mean) / std, [shape])[0].float()


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

    One class at a time, so that a 24-megapixel photo needs two maps of floats, not C.
    """
    best = torch.full(size, -torch.inf, device=scores.device)
    label = torch.zeros(size, dtype=torch.uint8, device=scores.device)
    for value, score in enumerate(scores):
        full = F.interpolate(score[None, None], size, mode="bilinear")[0, 0]
        label.masked_fill_(full > best, value)
        torch.maximum(best, full, out=best)
    return label.cpu().numpy()


# ---------------------------------------------------------------- config surgery


def _heads(model: ConfigDict) -> list[ConfigDict]:
    auxiliary = model.get("auxiliary_head") or []
    return [model.decode_head, *(auxiliary if isinstance(auxiliary, list) else [auxiliary])]


def _merge(model: ConfigDict, change: dict) -> None:
    """Merge `change` into a model config; what is said of ``auxiliary_head`` goes to each of them."""
    for key, value in change.items():
        if key == "auxiliary_head":
            for head in _heads(model)[1:]:
                head.update(value)
        else:
            model[key].update(value)

