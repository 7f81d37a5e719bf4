"""What a checkpoint says of itself, checked before anything is built from it: a file may say anything."""

import math

from fashionlib.models.zoo import MODELS, SCALES

LARGEST = 4096  # pixels a side that a photo is cropped to or shown at: more would only exhaust memory
_FINEST = 8  # windows that may share a pixel along a side


def wrong(info) -> str:
    """What is wrong with a checkpoint's `info`, as a clause; empty if nothing is."""
    if not isinstance(info, dict):
        return f"it describes itself by {_shown(info)}"
    for key, (fits, what) in _FACTS.items():
        if key not in info:
            return f"it does not say its {key}"
        if not fits(info[key]):
            return f"its {key} is {_shown(info[key])}, not {what}"
    for key, kind in _OPTIONAL.items():
        if not isinstance(info.get(key), kind | None):
            return f"its {key} is {_shown(info[key])}, not a {kind.__name__}"
    if not _closer(info.get("closer")):
        return f"its closer look is {_shown(info['closer'])}, not a first size, a margin, pixels and a share"
    return "" if _quality(info.get("quality")) else f"its quality is {_shown(info['quality'])}, not numbers"


def _classes(value) -> bool:
    if not (isinstance(value, list) and 0 < len(value) <= 255):
        return False
    names = {name for name in value if isinstance(name, str) and name.isprintable()}
    return len(names) == len(value)


def _sides(value) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(side) is int and 0 < side <= LARGEST for side in value)
    )


def _numbers(value) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(number) in (int, float) and math.isfinite(number) for number in value)
    )


def _closer(value) -> bool:
    """Whether it is what `models.closer` reads; None where photos are shown whole."""
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and _sides(value.get("first"))
        and type(value.get("margin")) in (int, float)
        and 0 <= value["margin"] <= 1
        and type(value.get("pixels")) is int
        and 0 < value["pixels"] <= LARGEST**2
        and type(value.get("share", 0)) in (int, float)
        and 0 <= value.get("share", 0) < 1
    )


def _quality(value) -> bool:
    """Whether it is what `cutout.calibrate` keeps; None where nothing was calibrated."""
    if value is None:
        return True
    tables = [value.get(kind) for kind in ("weights", "limits")] if isinstance(value, dict) else [None]
    return all(
        isinstance(table, dict) and all(type(n) in (int, float) and math.isfinite(n) for n in table.values())
        for table in tables
    )


def _testing(value) -> bool:
    if not isinstance(value, dict) or value.get("mode") not in ("slide", "whole"):
        return False
    if value["mode"] == "whole":
        return True
    window, stride = value.get("crop_size"), value.get("stride")
    return (
        _sides(window)
        and _sides(stride)
        and all(w <= _FINEST * s and s <= w for w, s in zip(window, stride, strict=True))
    )


def _shown(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_FACTS = {
    "model": (lambda value: isinstance(value, str) and value in MODELS, "a model that fashionlib knows"),
    "scale": (lambda value: value in SCALES, f"one of {', '.join(SCALES)}"),
    "classes": (_classes, "1 to 255 different names"),
    "crop": (_sides, f"two sides of 1 to {LARGEST} pixels"),
    "resize": (_sides, f"two sides of 1 to {LARGEST} pixels"),
    "mean": (_numbers, "three numbers"),
    "std": (lambda value: _numbers(value) and min(value) > 0, "three numbers above 0"),
    "test_cfg": (_testing, "mode='whole', or mode='slide' with windows and strides that cover a photo"),
}
_OPTIONAL = {"recipe": dict, "init_report": dict, "epochs": list, "run": str, "data": str, "class_set": str}
