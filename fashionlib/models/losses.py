"""Losses of a decode head, by name; the auxiliary heads keep the cross-entropy of their row's config."""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import Tensor, nn

from fashionlib.core.classes import check_name

_LOVASZ = dict(
    type="LovaszLoss", loss_type="multi_class", classes="present", per_image=False, reduction="none"
)
# What is added to cross-entropy, both of weight 1: alone, these two start badly from a random head. Dice is
# MMSegmentation's: over all classes of a photo together, its ignored pixels in the denominator.
_ADDED = dict(cross_entropy=[], lovasz=[_LOVASZ], dice=[dict(type="DiceLoss", use_sigmoid=False)])
LOSSES = (*_ADDED, "focal")


def decode_loss(entropy: dict, loss: str, class_weights: list[float] | None) -> dict | list[dict]:
    """The config `loss_decode` of `loss`, a name in `LOSSES`.

    ``lovasz`` and ``dice`` are cross-entropy plus MMSegmentation's loss of that name; ``focal`` replaces it.

    Args:
        entropy: the config of the row's cross-entropy.
        class_weights: weight of each class in the cross-entropy, None for equal ones.
    """
    if check_name(loss, LOSSES, "loss") == "focal":
        return dict(type="SigmoidFocalLoss")
    if class_weights is not None:
        entropy = dict(entropy, class_weight=class_weights)
    return [entropy, *_ADDED[loss]] if _ADDED[loss] else entropy


@MMSEG_MODELS.register_module()
class SigmoidFocalLoss(nn.Module):
    """Sigmoid focal loss, gamma 2 and alpha 0.5 (Lin et al. 2017, https://arxiv.org/abs/1708.02002).

    The mean over all pixels and classes, as MMSegmentation's ``FocalLoss`` has it, which refuses CUDA without
    MMCV's compiled operators, and label maps on a CPU. A small number, 0.09 at logits of 0: AdamW does not
    mind, SGD wants a larger learning rate.
    """

    loss_name = "loss_focal"

    def forward(self, logits: Tensor, target: Tensor, weight=None, ignore_index: int = 255) -> Tensor:
        """The loss of (N, C, H, W) `logits`; pixels of `ignore_index` add nothing but count in the mean."""
        counted = target != ignore_index
        truth = torch.zeros_like(logits).scatter_(1, target.where(counted, 0)[:, None], 1.0)
        off = (logits.sigmoid() - truth).abs()  # 1 - the probability of what is true
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return (0.5 * off**2 * entropy * counted[:, None]).mean()
