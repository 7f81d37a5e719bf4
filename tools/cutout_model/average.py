"""A checkpoint small enough to ship: several epochs averaged, weights rounded to int8."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from fashionlib.core.files import write_tensors
from fashionlib.core.outputs import claim_file
from fashionlib.models.build import build
from fashionlib.models.metadata import read as read_metadata
from fashionlib.models.metadata import wrong
from fashionlib.models.weight_files import SCALE, check_finite, safe_load

State = dict[str, torch.Tensor]
_MAKE = ("model", "scale", "classes", "mean", "std")  # in these, checkpoints that are averaged agree


def pack(paths: Sequence[str | Path], out: str | Path, soup: bool = False, **more) -> Path:
    """Write the `average` of the checkpoints `paths` to `out`, in int8; `more` is added to its card.

    Raises ValueError unless they can be averaged, and `more` makes sense on a card.
    """
    claim_file(out, "a packed checkpoint", paths, _is_packed)
    state, info = average(paths, soup)
    info |= dict(packed="int8") | more
    if problem := wrong(info):
        raise ValueError(f"{out} is not written: {problem}.")
    return write_tensors(out, packed(state), {"fashionlib": json.dumps(info)})


def _is_packed(path: Path) -> bool:
    """Whether `pack` wrote the file: not an epoch that was given last, with OUT forgotten."""
    try:
        return "packed" in read_metadata(path)
    except (ValueError, OSError):
        return False


def average(paths: Sequence[str | Path], soup: bool = False) -> tuple[State, dict]:
    """Mean of the weights of several checkpoints, and the first one's card with all their ``epochs``.

    The mean of late epochs lies deeper in the basin than any of them (Izmailov et al., arXiv 1803.05407).
    So may that of runs which began from the same weights or from one another (a *soup*: Wortsman et al.,
    arXiv 2203.05482); of others it is noise. Where a run had another crop, its position embeddings are fitted
    to the first one's. Raises ValueError unless all are checkpoints of one run or, for a `soup`, of one make.
    """
    cards = [read_metadata(path) for path in paths]
    for path, card in zip(paths, cards, strict=True):
        if not {"run", "epoch"} <= card.keys():
            raise ValueError(f"{path} does not say its run and epoch: take epochs of a run.")
        if card["run"] != cards[0]["run"] and not soup:
            raise ValueError(
                f"{path} is of another run than {paths[0]}: average the epochs of one or, if one run began"
                " from the other or both from the same weights, say that a soup is meant (--soup)."
            )
        if differs := [key for key in _MAKE if card[key] != cards[0][key]]:
            raise ValueError(f"{path} has another {differs[0]} than {paths[0]}: they have no average.")
    states = [_weights(path, card, cards[0]) for path, card in zip(paths, cards, strict=True)]
    for path, state in zip(paths, states, strict=True):
        if {name: t.shape for name, t in state.items()} != {name: t.shape for name, t in states[0].items()}:
            raise ValueError(f"{path} holds other weights than {paths[0]}: average the epochs of one run.")
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        for name, tensor in states[0].items()
    }
    several = len({card["run"] for card in cards}) > 1
    epochs = [f"{card['run']}/{card['epoch']}" if several else card["epoch"] for card in cards]
    return mean, cards[0] | dict(epochs=sorted(epochs))


def _weights(path: str | Path, card: dict, first: dict) -> State:
    """All weights of a file and its `card`, their position embeddings as the `first` card's crop has them."""
    if card["crop"] == first["crop"]:
        state = safe_load(path)
        check_finite(path, state)
        return state
    size = dict(num_classes=len(card["classes"]), scale=card["scale"], crop=tuple(first["crop"]))
    return build(card["model"], init=str(path), **size).state_dict()


def packed(state: State) -> State:
    """`state` with its matrices and kernels in int8; position embeddings, one row for all, go in fp16.

    One fp16 scale an output channel lies beside them, under ``<name>:scale`` (read by
    `fashionlib.models.weight_files.unpacked`). A weight moves by at most 1/254 of its channel's largest.
    """
    stored = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.squeeze().ndim < 2:
            stored[name] = tensor
        elif len(tensor) == 1:
            stored[name] = tensor.half()
        else:
            largest = tensor.abs().flatten(1).amax(1).float()
            scale = (largest / 127).half().clamp(min=torch.finfo(torch.half).smallest_normal)
            steps = tensor.float() / scale.float().view(-1, *[1] * (tensor.ndim - 1))
            stored |= {name: steps.round().clamp(-127, 127).to(torch.int8), name + SCALE: scale}
    return stored
