"""A checkpoint's metadata: read and validated before anything is built from it. A file may say anything."""

import json
from pathlib import Path

from jsonschema import Draft4Validator, validators
from safetensors import safe_open

from fashionlib.models.weight_files import WeightsError
from fashionlib.models.zoo import MODELS, SCALES

KEY = "fashionlib"  # of a safetensors file's header
LARGEST = 4096  # pixels a side of a crop or a photo as the model sees it: more would only exhaust memory
_OVERLAP = 8  # windows that may share a pixel along a side

_SIDE = dict(type="integer", minimum=1, maximum=LARGEST)
_SIDES = dict(
    type="array", items=_SIDE, minItems=2, maxItems=2, description=f"two sides of 1 to {LARGEST} pixels"
)
_TEXT, _OPTIONAL_TEXT = dict(type="string"), dict(type=["string", "null"], description="a text")
_TABLE = dict(type="object", additionalProperties=dict(type="number"))
_ABOVE_0 = dict(minimum=0, exclusiveMinimum=True)
_WINDOWS = dict(mode=dict(enum=["slide"]), crop_size=_SIDES, stride=_SIDES)


def _three(**number) -> dict:
    return dict(type="array", items=dict(type="number", **number), minItems=3, maxItems=3)


def _object(required: str, description: str, **properties) -> dict:
    return dict(
        type=["object", "null"], required=required.split(), description=description, properties=properties
    )


_FIELDS = dict(
    model=dict(enum=list(MODELS), description="a model that fashionlib knows"),
    scale=dict(enum=list(SCALES), description=f"one of {', '.join(SCALES)}"),
    classes=dict(
        type="array", items=_TEXT, minItems=1, maxItems=255, uniqueItems=True,
        description="1 to 255 different names",
    ),
    crop=_SIDES,
    resize=_SIDES,
    mean=_three() | dict(description="three numbers"),
    std=_three(**_ABOVE_0) | dict(description="three numbers above 0"),
    test_cfg=dict(
        type="object", required=["mode"],
        anyOf=[dict(properties=dict(mode=dict(enum=["whole"]))),
               dict(properties=_WINDOWS, required=["crop_size", "stride"])],
        description="mode='whole', or mode='slide' with windows and strides that cover a photo",
    ),
)  # fmt: skip
_SCHEMA = dict(
    type="object",
    required=list(_FIELDS),
    properties=_FIELDS
    | dict(
        closer=_object(
            "first margin pixels", "a first size, a margin, pixels and a share", first=_SIDES,
            margin=dict(type="number", minimum=0, maximum=1),
            pixels=dict(type="integer", minimum=1, maximum=LARGEST**2),
            share=dict(type="number", minimum=0, maximum=1, exclusiveMaximum=True),
        ),
        quality=_object("weights limits", "numbers", weights=_TABLE, limits=_TABLE),
        init_report=_object("", "an object of texts", source=_TEXT, licence=_TEXT, note=_TEXT),
        recipe=_object("", "an object"),
        epochs=dict(type=["array", "null"], description="a list"),
        run=_OPTIONAL_TEXT, data=_OPTIONAL_TEXT, class_set=_OPTIONAL_TEXT,
    ),
)  # fmt: skip
_TYPES = Draft4Validator.TYPE_CHECKER.redefine(  # JSON as Python reads it has NaN and infinity
    "number", lambda _, value: type(value) in (int, float) and abs(value) < 1e30
)
_VALIDATOR = validators.extend(Draft4Validator, type_checker=_TYPES)(_SCHEMA)
_BEYOND_SCHEMA = {
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
        return f"it does not say its {next(key for key in _FIELDS if key not in metadata)}"
    else:
        return f"it describes itself by {_shortened(metadata)}"
    return f"its {key} is {_shortened(metadata[key])}, not {_SCHEMA['properties'][key]['description']}"


def _shortened(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
