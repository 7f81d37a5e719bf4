"""Other normalisations in place of batch norm, of which a batch of few photos gives noisy statistics."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class FrozenBatchNorm(nn.BatchNorm2d):
    """Batch norm with the initial weights' statistics, in training too; weight and bias are trained.

    Random weights have mean 0 and variance 1, which leaves a plain affine layer.
    """

    def train(self, mode: bool = True) -> "FrozenBatchNorm":
        """Stays in eval mode, whatever `mode` is."""
        return super().train(False)


def replace(model: nn.Module, kind: str) -> None:
    """Put ``frozen_batch`` or ``group`` norm in place of every batch norm; ``batch`` changes nothing.

    Not by MMSegmentation's `norm_cfg`: it has one number of groups for layers of 48 channels and of 256.
    Raises ValueError if there is none to replace.
    """
    if kind == "batch":
        return
    found = [
        (module, key, child)
        for module in model.modules()
        for key, child in module.named_children()
        if isinstance(child, _BatchNorm)
    ]
    if not found:  # someone's own
        raise ValueError(f"norm={kind!r}: it has no batch norm that could be replaced")
    for module, key, child in found:
        setattr(module, key, _replaced(child, kind))


def _replaced(norm: _BatchNorm, kind: str) -> nn.Module:
    """The layer of `kind` in place of a batch norm; group norm has the most groups that fit, 32 at most."""
    channels = norm.num_features
    if kind == "frozen_batch":
        return FrozenBatchNorm(channels, norm.eps).eval()
    groups = max(n for n in range(1, 33) if channels % n == 0)
    return nn.GroupNorm(groups, channels, norm.eps)
