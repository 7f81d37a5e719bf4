"""Names, types and ranges of a recipe's settings."""

import re
from sys import float_info
from types import NoneType, UnionType
from typing import Any, get_args

_WORDS = {int: "whole number", float: "number", str: "text", bool: "True or False"}
# Numbers are 0 or more; these are above 0, and those have an upper bound.
_ABOVE_0 = {
    *("epochs", "batch", "accumulate", "gpus", "lr", "clip_grad", "layer_decay", "photos", "oversample_thr"),
    *("patch", "crop", "resize_base", "resize_range", "test_resize", "cat_max_ratio"),
}
_AT_MOST = dict.fromkeys(("momentum", "warmup", "flip", "cat_max_ratio", "layer_decay", "oversample_thr"), 1)
_AT_MOST["seed"] = 2**32 - 1  # numpy's


# settings in recipe.json files of older versions -> their names now, and how to say it now
RENAMED = {"balance": "oversample_thr", "memory": "activation_checkpointing"}
_NOW = {"balance": "the same number", "memory": 'True for "lean", False for "auto"'}


def today(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of a recipe.json under the names and values that they have now."""
    new = {RENAMED.get(name, name): value for name, value in values.items()}
    return new | ({"activation_checkpointing": values["memory"] == "lean"} if "memory" in values else {})


def refuse_old_name(name: str) -> None:
    """Raise ValueError, with the new spelling, for a setting that has been renamed."""
    if name in RENAMED:
        raise ValueError(f"The setting {name} is called {RENAMED[name]} now: {_NOW[name]}.")


def check(name: str, value: Any, kind: type | UnionType) -> None:
    """Raise ValueError, with what is allowed, for a setting out of range or not of the type `kind`."""
    optional = False
    if isinstance(kind, UnionType):
        optional, (kind, *_) = NoneType in get_args(kind), get_args(kind)
    if value is None and optional:
        return
    several = get_args(kind)  # (int, int) of tuple[int, int]
    one, parts = (several[0], value) if several else (kind, [value])
    right = len(parts) == (len(several) or 1) if isinstance(parts, list | tuple) else False
    if right and all(_fits(name, part, one) for part in parts):
        return
    what = f"two {_WORDS[one]}s" if several else _WORDS[one] if one is bool else f"a {_WORDS[one]}"
    if one in (int, float):
        what += " above 0" if name in _ABOVE_0 else " of 0 or more"
        what += f", at most {_AT_MOST[name]}" if name in _AT_MOST else ""
    raise ValueError(f"{name}={value!r}: must be {what}{', or None' if optional else ''}.{_hint(value, one)}")


def _hint(value: Any, kind: type) -> str:
    """Hint on the YAML spelling of a number: YAML reads 1e-4, without a point, as text."""
    if kind is not float or not isinstance(value, str) or not re.fullmatch(r"\d+e[+-]?\d+", value):
        return ""
    digits, power = value.split("e")
    return f" In YAML write {digits}.0e{power}."


def _fits(name: str, value: Any, kind: type) -> bool:
    """Whether a value has its type (an int is a float too, a bool is no int) and is in range."""
    if kind in (str, bool) or isinstance(value, bool) or not isinstance(value, (int, kind)):
        return isinstance(value, kind) and kind in (str, bool)
    above = value > 0 or (value == 0 and name not in _ABOVE_0)
    return above and value <= _AT_MOST.get(name, float_info.max)
