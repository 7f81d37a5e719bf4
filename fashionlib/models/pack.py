"""A checkpoint small enough to ship: several epochs averaged, weights rounded to int8."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from fashionlib.files import write_tensors
from fashionlib.models.card import wrong
from fashionlib.models.checkpoint import read_meta
from fashionlib.weights import safe_load
from fashionlib.weights.packed import State, packed


def pack(paths: Sequence[str | Path], out: str | Path, **more) -> Path:
    """Write the average of the checkpoints `paths` to `out`, in int8; `more` is added to its card.

    Raises ValueError unless all of them are checkpoints of one run, and `more` makes sense on a card.
    """
    state, info = average(paths)
    info |= dict(packed="int8") | more
    if problem := wrong(info):
        raise ValueError(f"{out} is not written: {problem}.")
    return write_tensors(out, packed(state), {"fashionlib": json.dumps(info)})


def average(paths: Sequence[str | Path]) -> tuple[State, dict]:
    """Mean of the weights of several checkpoints of one run, and its card with their ``epochs``.

    The mean of late epochs lies deeper in the basin than any of them (Izmailov et al., arXiv 1803.05407).
    Raises ValueError unless all of them are checkpoints of one run.
    """
    cards = [read_meta(path) for path in paths]
    for path, card in zip(paths, cards, strict=True):
        if not {"run", "epoch"} <= card.keys():
            raise ValueError(f"{path} does not say its run and epoch: take epochs of a run.")
        if card["run"] != cards[0]["run"]:
            raise ValueError(f"{path} is of another run than {paths[0]}: average the epochs of one.")
    states = [safe_load(path) for path in paths]
    for path, state in zip(paths, states, strict=True):
        if {name: t.shape for name, t in state.items()} != {name: t.shape for name, t in states[0].items()}:
            raise ValueError(f"{path} holds other weights than {paths[0]}: average the epochs of one run.")
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        for name, tensor in states[0].items()
    }
    return mean, cards[0] | dict(epochs=sorted(card["epoch"] for card in cards))
