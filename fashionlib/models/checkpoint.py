"""Checkpoints: safetensors files of weights, with metadata for the architecture and preprocessing."""

import json
from pathlib import Path

import torch
from mmengine import ConfigDict
from mmengine.model.utils import revert_sync_batchnorm
from mmseg.models import EncoderDecoder
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fashionlib.core.files import write_tensors
from fashionlib.models import fast
from fashionlib.models.metadata import KEY, read_metadata
from fashionlib.models.network import network, tried_out
from fashionlib.models.specs import spec_of
from fashionlib.models.weight_files import check_finite, unpacked

_ARCHITECTURE = (
    "model",
    "scale",
    "classes",
    "crop",
    "patch",
    "norm",
    "config",
)  # metadata that determine the network


def save(model: EncoderDecoder, path: str | Path, metadata: dict) -> Path:
    """Write the weights and `metadata` (see `metadata_for`) to one safetensors file, atomically."""
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    return write_tensors(path, state, {KEY: json.dumps(metadata)})


def load(path: str | Path, reuse: EncoderDecoder | None = None) -> EncoderDecoder:
    """The model of a checkpoint of ours in eval mode; `model.metadata` is what `save` was given.

    `reuse`, a model of an earlier call, gets the weights and is returned if it has the same architecture:
    the epochs of a run need one network. Raises what `read_metadata` raises, and ValueError for weights
    that do not fit.
    """
    metadata = read_metadata(path)
    same = reuse is not None and all(reuse.metadata.get(key) == metadata.get(key) for key in _ARCHITECTURE)
    state = _weights(path)
    if not same and "config" in metadata:  # which may claim to be of any size
        _check_fits(tried_out(str(path), *_architecture(metadata)), state, path, metadata)
    model = reuse if same else _network(metadata)
    _check_fits(model, state, path, metadata)
    model.load_state_dict(state)
    model.test_cfg = ConfigDict(metadata["test_cfg"])
    model.metadata = metadata
    fast.install(model)
    model.eval()  # returns None in some mmseg modules, so not chained
    return model


def _network(metadata: dict) -> EncoderDecoder:
    """The network of a checkpoint on the CPU, with torch's default weights.

    Channels last in memory make convolutions a tenth to a fifth quicker, except DeepLabV3+'s depthwise ones,
    which they slow down. Not in training: a step of U-Net was then no longer MMSegmentation's within 1e-5.
    """
    model = revert_sync_batchnorm(network(*_architecture(metadata)))
    depthwise = any(getattr(module, "groups", 1) > 1 for module in model.modules())
    return model if depthwise else model.to(memory_format=torch.channels_last)


def _architecture(metadata: dict) -> tuple:
    """Arguments of `network`, from a checkpoint's metadata."""
    later = metadata.get("patch"), metadata.get("norm", "batch")  # not in checkpoints of older versions
    return spec_of(metadata), len(metadata["classes"]), metadata["scale"], tuple(metadata["crop"]), *later


def _weights(path: str | Path) -> dict[str, Tensor]:
    """The file's weights, all of them finite."""
    try:
        state = unpacked(load_file(path))
    except (RuntimeError, SafetensorError) as error:  # scales that fit no weights; a file changed meanwhile
        raise ValueError(f"{path} can't be read as a checkpoint ({error}); make it again.") from None
    check_finite(path, state)
    return state


def _check_fits(model: EncoderDecoder, state: dict[str, Tensor], path: str | Path, metadata: dict) -> None:
    """Raise ValueError that names the first tensor of `state` that `model` has not, or in another shape."""
    own = model.state_dict()
    for name in [*own, *state]:
        ours, theirs = ("missing" if name not in s else tuple(s[name].shape) for s in (own, state))
        if ours != theirs:
            raise ValueError(
                f"{path} says that it is {metadata['model']} at scale {metadata['scale']} with"
                f" {len(metadata['classes'])} classes, but its {name} is {theirs}, not {ours}: take a"
                " checkpoint as fashionlib wrote it."
            )
