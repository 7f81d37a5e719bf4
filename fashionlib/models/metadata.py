"""Metadata of our checkpoints, validated: what a network is built from, and how photos are prepared for it.

Files are untrusted, so metadata are validated against ``assets/metadata.schema.json`` before anything is
built from them. Nothing here imports torch.
"""

import json
from functools import cache
from pathlib import Path

from safetensors import safe_open

from fashionlib.core import paths
from fashionlib.models.specs import problem, spec_of
from fashionlib.models.zoo import MODELS

KEY = "fashionlib"  # of a safetensors file's header
_OVERLAP = 8  # windows that may share a pixel along a side

_SCHEMA = json.loads((paths.ASSETS / "metadata.schema.json").read_text())
SHIPPED = paths.ASSETS / "cutout.safetensors"  # part of the package, so not validated: that takes a second


@cache
def _validator():
    from jsonschema import Draft4Validator, validators  # here: with Jupyter beside it, it takes seconds

    types = Draft4Validator.TYPE_CHECKER.redefine(  # JSON as Python reads it has NaN and infinity
        "number", lambda _, value: type(value) in (int, float) and abs(value) < 1e30
    )
    return validators.extend(Draft4Validator, type_checker=types)(_SCHEMA)


_BEYOND_SCHEMA = {
    "model": lambda own: "config" in own or own["model"] in MODELS,
    "config": lambda own: "config" not in own or (own["scale"] == "full" and not problem(own["config"])),
    "classes": lambda own: all(map(str.isprintable, own["classes"])),
    "patch": lambda own: not own.get("patch") or (spec_of(own).patch and own["scale"] == "full"),
    "norm": lambda own: own.get("norm", "batch") == "batch" or spec_of(own).batch_norm,
    "closer": lambda own: "least" not in (own.get("closer") or {}) or _leaves_out_tokens(own),
    "test_cfg": lambda own: own["test_cfg"]["mode"] == "whole" or _cover(**own["test_cfg"]),
}


def _leaves_out_tokens(own: dict) -> bool:
    """Whether the encoder can leave out tokens; by group norm, the others would depend on which."""
    whole = own["test_cfg"]["mode"] == "whole"
    return own["model"] == "detail_vit_s" and whole and own.get("norm", "batch") != "group"


def _cover(crop_size: list[int], stride: list[int], **_) -> bool:
    """Whether windows of `crop_size` leave no gap, and share a pixel with few others."""
    return all(w <= _OVERLAP * s and s <= w for w, s in zip(crop_size, stride, strict=True))


class WeightsError(ValueError):
    """Weights that are missing, unsafe or do not fit; the message says which and what to do."""


def read_metadata(path: str | Path, foreign: bool = False) -> dict:
    """Metadata of a checkpoint of ours, validated, without reading its weights.

    Every field that determines the network or its preprocessing is checked. With `foreign`, a safetensors
    file without metadata of ours gives {}.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: a ValueError that names the file and, where one is bad, the field.
    """
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(KEY, "{}" if foreign else "")
        metadata = json.loads(text)
    except json.JSONDecodeError:
        raise WeightsError(
            f"{path} is a safetensors file, but not one of ours: it does not say which model it holds."
        ) from None
    except FileNotFoundError:
        raise FileNotFoundError(f"No checkpoint at {path}.") from None
    except Exception as error:  # safetensors raises its own type for torn and foreign files
        raise WeightsError(
            f"{path} can't be read as a checkpoint ({error}); it may be torn: make it again."
        ) from None
    checked = Path(path) != SHIPPED and not (foreign and metadata == {})
    if problem := metadata_problem(metadata) if checked else "":
        raise WeightsError(f"{path} can't be used: {problem}. Take a checkpoint as fashionlib wrote it.")
    return metadata


def metadata_problem(metadata) -> str:
    """What is wrong with a checkpoint's `metadata`, as a clause; empty if nothing is."""
    error = next(_validator().iter_errors(metadata), None)
    if error is None:
        key = next((key for key, holds in _BEYOND_SCHEMA.items() if not holds(metadata)), None)
        if key is None:
            return ""
    elif error.path:
        key = error.path[0]
    elif error.validator == "required":
        missing = next(key for key in _SCHEMA["required"] if key not in metadata)
        return f"it does not say its {missing}"
    else:
        return f"it describes itself by {_shortened(metadata)}"
    return f"its {key} is {_shortened(metadata[key])}, not {_SCHEMA['properties'][key]['description']}"


def _shortened(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
