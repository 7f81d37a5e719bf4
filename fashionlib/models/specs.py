"""Specification of a model: a row of the table, someone's own config file, or a checkpoint's metadata.

Of an MMSegmentation config file only ``model`` is used, and ``crop_size`` as the default crop; the recipe
gives everything else, and weights begin as the layers' classes have it. Reading the file executes it, and its
``_base_`` files, as Python with your rights, as MMSegmentation does. What is kept is JSON. It travels in the
metadata of checkpoints, and nothing is executed when one is loaded: `problem` admits numbers, words, and
layers of MMSegmentation, MMCV and torch, and no paths, addresses or names of other programs.
"""

import json
import re
from functools import cache
from pathlib import Path

from fashionlib.core.checked_files import reason, shown
from fashionlib.core.classes import check_name
from fashionlib.models.zoo import IMAGENET, MODELS, NORMS, PATCHES, ModelSpec

_LAYERS = ("mmcv.cnn.", "torch.nn.", "mmengine.utils.dl_utils.parrots_wrapper", "fashionlib.models.")
_LAYERS += tuple(
    f"mmseg.models.{room}." for room in ("backbones", "decode_heads", "necks", "losses", "utils")
)
_LOADERS = {"TIMMBackbone", "VPD"}  # download or unpickle weights while they are built
# weights from elsewhere, and those of another data set's classes
_DROPPED = {"pretrained", "init_cfg", "class_weight"}
_LARGEST = 8192  # any number, channels above all
_PLAIN = dict(type="SegDataPreProcessor", bgr_to_rgb=True, pad_val=0, seg_pad_val=255)


def spec(model: str | ModelSpec) -> ModelSpec:
    """The row of a name in the table, or of the path of an MMSegmentation config file (``….py``).

    Raises ValueError for an unknown name, and for a config file that can't be used.
    """
    if isinstance(model, ModelSpec):
        return model
    return _read(Path(model)) if model.endswith(".py") else MODELS[check_name(model, MODELS, "model")]


def spec_of(metadata: dict) -> ModelSpec:
    """The row of a checkpoint's model, from its validated metadata."""
    own = metadata.get("config")
    return _own(metadata["model"], own) if own else MODELS[metadata["model"]]


def patch_size(model: str | ModelSpec, scale: str = "full", patch: int | None = None) -> int | None:
    """Side length of the encoder's patches in pixels: `patch` or, by default, the row's own.

    None for the convolutional rows. Raises ValueError for a `patch` that the row or scale can't have.
    """
    row = spec(model)
    if patch is None:
        return row.mini["backbone"].get("patch_size") if row.patch and scale == "mini" else row.patch
    if not row.patch:
        raise ValueError(f"patch={patch}: {row.name} is convolutional, or its patches can't be changed.")
    if scale == "mini":
        raise ValueError(f"patch={patch}: models at scale mini always have patches of 8.")
    if patch not in PATCHES:
        raise ValueError(f"patch={patch}: must be 8, 14 or 16.")
    return patch


def whole_patches(crop: tuple[int, int], patch: int | None) -> tuple[int, int]:
    """`crop` (height, width) with each side rounded to a multiple of `patch` (None: as it is)."""
    return tuple(round(side / patch) * patch for side in crop) if patch else crop


def check_norm(model: str | ModelSpec, norm: str) -> None:
    """Raise ValueError for a `norm` that is unknown, or not ``batch`` for a row without batch norm."""
    check_name(norm, NORMS, "norm")
    if norm != "batch" and not (row := spec(model)).batch_norm:
        raise ValueError(f"norm={norm!r}: {row.name} has no batch norm that could be replaced.")


def problem(model: dict) -> str:
    """Why a config's ``model`` can't be used, as a clause; empty if nothing is wrong with it."""
    parts = [model.get(name) for name in ("backbone", "decode_head")]
    if model.get("type") != "EncoderDecoder" or not all(isinstance(part, dict) for part in parts):
        return "its model is no EncoderDecoder of one backbone and one decode_head"
    if not all("type" in part for part in parts):
        return "its backbone or its decode_head has no type"
    if parts[1].get("align_corners"):
        return "align_corners=True is not supported, as no head of the table has it"
    nodes = [model]
    for node in nodes:  # grows: every value, however deep
        nodes += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if wrong := _wrong(node):
            return wrong
    return ""


def _wrong(node) -> str:
    """What is wrong with one value of a config, those inside it aside."""
    if isinstance(node, dict):
        kind = node.get("type")
        if "type" in node and (not isinstance(kind, str) or kind not in _layers()):
            return f"{shown(str(kind))} is no layer, head or loss of MMSegmentation"
        bad = [key for key in node if key in _DROPPED or not re.fullmatch(r"[a-zA-Z]\w*", key)]
        return f"it holds {shown(bad[0])}" if bad else ""
    if isinstance(node, str) and not re.fullmatch(r"[\w-]*", node):
        return f"it holds the text {shown(node)}"
    if isinstance(node, int | float) and not abs(node) <= _LARGEST:
        return f"it holds the number {shown(str(node))}"
    return ""


@cache
def _layers() -> frozenset[str]:
    """Names of what a network may consist of; names that are not registered would be imported."""
    import fashionlib.core.engine  # noqa: F401  (fills the registries; here: rows of the table need no torch)

    # isort: split
    from mmengine.registry import MODELS as ENGINE_MODELS
    from mmseg.registry import MODELS as MMSEG_MODELS

    from fashionlib.models import detail, losses  # noqa: F401

    found = ENGINE_MODELS.module_dict | MMSEG_MODELS.module_dict
    layers = {name for name, part in found.items() if part.__module__.startswith(_LAYERS)}
    return frozenset(layers - _LOADERS | {"EncoderDecoder", "SegDataPreProcessor"})


def _read(path: Path) -> ModelSpec:
    """The row of a config file."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such config file.")
    from mmengine import Config

    try:
        config = Config.fromfile(path, import_custom_modules=False, lazy_import=False).to_dict()
        model = json.loads(json.dumps(_own_values(config.get("model", {}))))
    except Exception as error:  # a config is a program
        raise ValueError(f"{path} is no config of MMSegmentation: {reason(error)}.") from None
    if "custom_imports" in config:
        raise ValueError(f"{path}: custom_imports are not supported, only MMSegmentation's own parts.")
    pixels = model.get("data_preprocessor") or {}
    colours = {key: pixels.get(key) or IMAGENET[key] for key in IMAGENET}
    model |= dict(data_preprocessor=_PLAIN | colours, train_cfg={})
    model["test_cfg"] = model.get("test_cfg") or dict(mode="whole")
    if wrong := problem(model):
        raise ValueError(f"{path} can't be trained: {wrong}.")
    return _own(path.stem, model, config.get("crop_size") or pixels.get("size"))


def _own_values(node):
    """`node` without the entries that are `_DROPPED`."""
    if isinstance(node, dict):
        return {key: _own_values(value) for key, value in node.items() if key not in _DROPPED}
    return [_own_values(value) for value in node] if isinstance(node, list | tuple) else node


def _own(name: str, model: dict, crop=None) -> ModelSpec:
    """The row of a config's ``model``; pipelines and optimiser are those of Segmenter ViT-B's config."""
    backbone, like = model["backbone"], MODELS["segmenter_vit_b"].config
    patch = backbone.get("patch_size", 16) if backbone["type"] == "VisionTransformer" else None
    patch = patch if type(patch) is int and patch > 0 else None
    crop = tuple(crop) if isinstance(crop, list | tuple) else (512, 512)
    kinds = backbone["type"], model["decode_head"]["type"]
    return ModelSpec(name, "config file", *kinds, like, {}, patch=patch, crop=crop, own=model)
