"""Our checkpoints: a safetensors file that says what it holds; weights never travel without their recipe."""

import json
from pathlib import Path

import torch
from mmengine import ConfigDict
from mmengine.model.utils import revert_sync_batchnorm
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.utils import register_all_modules
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from fashionlib.core.files import write_tensors
from fashionlib.models import metadata
from fashionlib.models.build import config
from fashionlib.models.fast import attention, heads
from fashionlib.models.init_weights import check_finite
from fashionlib.models.int8 import unpacked


def save(model: EncoderDecoder, path: str | Path, info: dict) -> Path:
    """Write the weights and `info` (see `meta`) to one safetensors file, whole or not at all."""
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    return write_tensors(path, state, {"fashionlib": json.dumps(info)})


def read_meta(path: str | Path) -> dict:
    """The `info` of a checkpoint of ours, without reading its weights; ValueError if it is none.

    What a model is built from and fed by is checked, whoever wrote it, and the error says what is wrong.
    """
    try:
        with safe_open(path, framework="pt") as file:
            info = json.loads((file.metadata() or {})["fashionlib"])
    except (KeyError, json.JSONDecodeError):
        raise ValueError(
            f"{path} is a safetensors file, but not one of ours: it does not say which model it holds."
        ) from None
    except FileNotFoundError:
        raise FileNotFoundError(f"No checkpoint at {path}.") from None
    except Exception as error:  # safetensors raises its own type for torn and foreign files
        raise ValueError(
            f"{path} can't be read as a checkpoint ({error}); it may be torn: make it again."
        ) from None
    if wrong := metadata.wrong(info):
        raise ValueError(f"{path} can't be used: {wrong}. Take a checkpoint as fashionlib wrote it.")
    return info


def load(path: str | Path, kept: EncoderDecoder | None = None) -> EncoderDecoder:
    """The model of a checkpoint of ours in eval mode; `model.meta` is what `save` was given.

    `kept`, a model of an earlier call, gets the weights and is returned if it is of the same make: the
    epochs of a run need one network.
    """
    info = read_meta(path)
    model = kept if kept is not None and _make(kept.meta) == _make(info) else _network(info)
    _fill(model, path, info)
    model.test_cfg = ConfigDict(info["test_cfg"])
    model.meta = info
    attention.install(heads.classify_first(model))
    model.eval()  # returns None in some mmseg modules, so not chained
    return model


def _fill(model: EncoderDecoder, path: str | Path, info: dict) -> None:
    """The weights of the file into `model`; ValueError in one sentence if they are not of its make."""
    try:
        state = unpacked(load_file(path))
    except (RuntimeError, SafetensorError) as error:  # scales that fit no weights; a file changed meanwhile
        raise ValueError(f"{path} can't be read as a checkpoint ({error}); make it again.") from None
    own = model.state_dict()
    for name in [*own, *state]:
        ours, theirs = ("missing" if name not in s else tuple(s[name].shape) for s in (own, state))
        if ours != theirs:
            raise ValueError(
                f"{path} says that it is {info['model']} at scale {info['scale']} with {len(info['classes'])}"
                f" classes, but its {name} is {theirs}, not {ours}: take a checkpoint as fashionlib wrote it."
            )
    check_finite(path, state)
    model.load_state_dict(state)


def _make(info: dict) -> list:
    """What of a checkpoint's `info` decides on the network, but for its weights."""
    return [info[key] for key in ("model", "scale", "classes", "crop")]


def _network(info: dict) -> EncoderDecoder:
    """The network of a checkpoint on the CPU, its weights as torch's layers come.

    Channels are last in memory, as they are in a photo: a tenth to a fifth quicker where it convolves, but
    for DeepLabV3+, whose depthwise convolutions take longer so.
    """
    register_all_modules(init_default_scope=True)
    cfg = config(info["model"], len(info["classes"]), info["scale"], tuple(info["crop"]))
    model = revert_sync_batchnorm(MMSEG_MODELS.build(cfg.model))
    depthwise = any(getattr(module, "groups", 1) > 1 for module in model.modules())
    return model if depthwise else model.to(memory_format=torch.channels_last)
