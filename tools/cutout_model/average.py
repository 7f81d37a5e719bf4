"""A checkpoint small enough to ship: the weights of several averaged, and rounded to int8."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from fashionlib.core.files import write_tensors
from fashionlib.core.outputs import claim_file
from fashionlib.models.metadata import metadata_problem, read_metadata
from fashionlib.models.network import build
from fashionlib.models.specs import spec_of
from fashionlib.models.weight_files import SCALE, check_finite, safe_load

State = dict[str, torch.Tensor]
_SAME = ("model", "scale", "classes", "mean", "std")  # what checkpoints must have in common to be averaged


def average_checkpoints(
    paths: Sequence[str | Path], out: str | Path, across_runs: bool = False, **more
) -> Path:
    """Write the `mean` of the checkpoints `paths` to `out`, in int8; `more` is added to its metadata.

    Raises ValueError unless they can be averaged and the metadata is valid.
    """
    claim_file(out, "a packed checkpoint", paths, _is_packed)
    state, metadata = mean(paths, across_runs)
    metadata |= dict(packed="int8") | more
    if problem := metadata_problem(metadata):
        raise ValueError(f"{out} is not written: {problem}.")
    return write_tensors(out, packed(state), {"fashionlib": json.dumps(metadata)})


def _is_packed(path: Path) -> bool:
    """Whether the file is an average: not an epoch that was given last, with OUT forgotten."""
    try:
        return "packed" in read_metadata(path)
    except (ValueError, OSError):
        return False


def mean(paths: Sequence[str | Path], across_runs: bool = False) -> tuple[State, dict]:
    """Mean weights of several checkpoints, and the first one's metadata with all their ``epochs``.

    The mean of late epochs lies deeper in the basin than any of them (Izmailov et al.: Averaging Weights
    Leads to Wider Optima and Better Generalization, arXiv 1803.05407). So may the mean across runs that
    began from the same weights or from one another (Wortsman et al.: Model soups, ICML 2022, arXiv
    2203.05482); that of unrelated runs is noise. Position embeddings are resized to the first checkpoint's
    crop.

    Raises ValueError unless all are epochs of one run or, `across_runs`, of the same architecture.
    """
    metadata = [read_metadata(path) for path in paths]
    first = metadata[0]
    for path, own in zip(paths, metadata, strict=True):
        if not {"run", "epoch"} <= own.keys():
            raise ValueError(f"{path} does not say its run and epoch: take epochs of a run.")
        if own["run"] != first["run"] and not across_runs:
            raise ValueError(
                f"{path} is of another run than {paths[0]}: average the epochs of one or, if one run began"
                " from the other or both from the same weights, say so (--across-runs)."
            )
        if differs := [key for key in _SAME if own[key] != first[key]]:
            raise ValueError(f"{path} has another {differs[0]} than {paths[0]}: they have no average.")
    states = [_weights(path, own, first) for path, own in zip(paths, metadata, strict=True)]
    for path, state in zip(paths, states, strict=True):
        if {name: t.shape for name, t in state.items()} != {name: t.shape for name, t in states[0].items()}:
            raise ValueError(f"{path} holds other weights than {paths[0]}: average the epochs of one run.")
    averaged = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        for name, tensor in states[0].items()
    }
    several = len({own["run"] for own in metadata}) > 1
    epochs = [f"{own['run']}/{own['epoch']}" if several else own["epoch"] for own in metadata]
    return averaged, first | dict(epochs=sorted(epochs))


def _weights(path: str | Path, own: dict, first: dict) -> State:
    """All weights of a checkpoint, its position embeddings resized to the `first` one's crop."""
    if own["crop"] == first["crop"]:
        state = safe_load(path)
        check_finite(path, state)
        return state
    size = dict(num_classes=len(own["classes"]), scale=own["scale"], crop=tuple(first["crop"]))
    size |= dict(patch=own.get("patch"), norm=own.get("norm", "batch"))
    return build(spec_of(own), init=str(path), **size).state_dict()


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
