"""Weights rounded to int8 to travel light: what is stored of a tensor, and the tensor again.

Matrices and kernels become int8 with one fp16 scale for each output channel, beside them under
``<name>:scale``; everything else stays as it is. Rounding so moves a weight by at most 1/254 of its
channel's largest.
"""

import torch
from torch import Tensor

SCALE = ":scale"
State = dict[str, Tensor]


def packed(state: State) -> State:
    """`state` with its matrices and kernels in int8; position embeddings, one row for all, go in fp16."""
    stored = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.squeeze().ndim < 2:
            stored[name] = tensor
        elif len(tensor) == 1:
            stored[name] = tensor.half()
        else:
            stored |= _rounded(name, tensor)
    return stored


def _rounded(name: str, tensor: Tensor) -> State:
    largest = tensor.abs().flatten(1).amax(1).float()
    scale = (largest / 127).half().clamp(min=torch.finfo(torch.half).smallest_normal)
    steps = (tensor.float() / _beside(scale, tensor)).round().clamp(-127, 127)
    return {name: steps.to(torch.int8), name + SCALE: scale}


def unpacked(state: State) -> State:
    """float32 weights of stored tensors, which may be int8 and scales, fp16, or plain."""
    weights = {name: tensor for name, tensor in state.items() if not name.endswith(SCALE)}
    return {name: _restored(tensor, state.get(name + SCALE)) for name, tensor in weights.items()}


def _restored(tensor: Tensor, scale: Tensor | None) -> Tensor:
    if scale is not None:
        return tensor.float() * _beside(scale, tensor)
    return tensor.float() if tensor.is_floating_point() else tensor


def _beside(scale: Tensor, tensor: Tensor) -> Tensor:
    """`scale` (out,) in the shape that multiplies `tensor` (out, ...)."""
    return scale.float().view(-1, *[1] * (tensor.ndim - 1))
