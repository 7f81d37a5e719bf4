"""A checkpoint's metadata: read and validated before anything is built from it. A file may say anything.

The fields are those of ``assets/metadata.schema.json``.
"""

import json
from pathlib import Path

from jsonschema import Draft4Validator, validators
from safetensors import safe_open

from fashionlib.core import paths
from fashionlib.models.weight_files import WeightsError
from fashionlib.models.zoo import MODELS

KEY = "fashionlib"  # of a safetensors file's header
_OVERLAP = 8  # windows that may share a pixel along a side

_SCHEMA = json.loads((paths.ASSETS / "metadata.schema.json").read_text())
_TYPES = Draft4Validator.TYPE_CHECKER.redefine(  # JSON as Python reads it has NaN and infinity
    "number", lambda _, value: type(value) in (int, float) and abs(value) < 1e30
)
_VALIDATOR = validators.extend(Draft4Validator, type_checker=_TYPES)(_SCHEMA)
_BEYOND_SCHEMA = {
    "model": lambda name: name in MODELS,
    "classes": lambda names: all(map(str.isprintable, names)),
    "test_cfg": lambda test: (
        test["mode"] == "whole"
        or all(w <= _OVERLAP * s and s <= w for w, s in zip(test["crop_size"], test["stride"], strict=True))
    ),
}


def read(path: str | Path, foreign: bool = False) -> dict:
    """Metadata of a checkpoint of ours, validated, without reading its weights.

    Every field that determines the network or its preprocessing is checked. With `foreign`, a safetensors
    file without metadata of ours gives {}.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: a ValueError that names the file and, where one is bad, the field.
    """
    try:
        with safe_open(path, framework="pt") as file:
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
    if problem := "" if foreign and metadata == {} else wrong(metadata):
        raise WeightsError(f"{path} can't be used: {problem}. Take a checkpoint as fashionlib wrote it.")
    return metadata


def wrong(metadata) -> str:
    """What is wrong with a checkpoint's `metadata`, as a clause; empty if nothing is."""
    error = next(_VALIDATOR.iter_errors(metadata), None)
    if error is None:
        key = next((key for key, holds in _BEYOND_SCHEMA.items() if not holds(metadata[key])), None)
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
