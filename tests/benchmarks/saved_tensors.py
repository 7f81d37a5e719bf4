"""What a training step holds between forward and backward pass, counted."""

from collections import Counter

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


class SavedTensors(saved_tensors_hooks):
    """A context that counts the bytes that autograd keeps: now (`live`) and at the worst moment (`peak`).

    Every storage counts once, parameters of `model` not at all. Put the backward pass under it too
    if layers are recomputed: they are then counted while they are there.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(self._pack, _unpack)
        self._own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self._uses: Counter[int] = Counter()
        self.live = self.peak = 0

    def __enter__(self) -> "SavedTensors":
        super().__enter__()
        return self

    def _pack(self, tensor: Tensor) -> "Tensor | _Kept":
        if tensor.untyped_storage().data_ptr() in self._own:
            return tensor
        return _Kept(self, tensor)

    def add(self, storage: torch.UntypedStorage, uses: int) -> None:
        """`uses` more (or fewer) tensors on `storage` are kept."""
        before = self._uses[storage.data_ptr()]
        self._uses[storage.data_ptr()] += uses
        if bool(before) != bool(before + uses):
            self.live += uses * storage.nbytes()
            self.peak = max(self.peak, self.live)


class _Kept:
    """A saved tensor, counted for as long as the graph holds it."""

    def __init__(self, counter: SavedTensors, tensor: Tensor) -> None:
        self.counter, self.tensor = counter, tensor
        counter.add(tensor.untyped_storage(), 1)

    def __del__(self) -> None:
        self.counter.add(self.tensor.untyped_storage(), -1)


def _unpack(kept: "Tensor | _Kept") -> Tensor:
    return kept.tensor if isinstance(kept, _Kept) else kept


def fixed_bytes(model: nn.Module, optimizer: str) -> int:
    """Parameters, their gradients and the optimiser's moments (SGD one, AdamW two)."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return weights * (4 if optimizer == "AdamW" else 3)
