"""Cross-entropy at the label map's size, without the logits of that size.

A head answers coarsely (a Segmenter's logits are 32 x 32 for a crop of 512), and MMSegmentation resizes the
answer to the label map before it compares. With 28 classes that is 29 MB a photo and head, made four times
over: logits, log-probabilities, and the gradients of both. On a CPU it takes longer than a small encoder's
layers. Bilinear interpolation is linear along rows and along columns, so here a strip of rows is
interpolated, compared, differentiated and forgotten; what stays is the gradient of the coarse logits.
Same loss, same gradients, same accuracy.
"""

from functools import cache
from types import MethodType

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.losses.cross_entropy_loss import cross_entropy
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_STRIP = dict(cpu=2**18, cuda=2**26)  # logits at once: on a CPU what the cache holds


def install(model: nn.Module, stock: bool = False) -> nn.Module:
    """Give the heads of `model` this loss where theirs is plain cross-entropy (`stock` takes it away)."""
    for head in model.modules():
        if isinstance(head, BaseDecodeHead):
            vars(head).pop("loss_by_feat", None)
            if not stock and _is_plain(head):
                head.loss_by_feat = MethodType(_loss_by_feat, head)
    return model


def _is_plain(head: BaseDecodeHead) -> bool:
    loss = head.loss_decode
    return (
        type(head).loss_by_feat is BaseDecodeHead.loss_by_feat
        and head.sampler is None
        and isinstance(loss, CrossEntropyLoss)
        and loss.cls_criterion is cross_entropy
        and loss.reduction == "mean"
        and loss.class_weight is None
        and not loss.avg_non_ignore
    )


def _loss_by_feat(head: BaseDecodeHead, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
    """What `BaseDecodeHead.loss_by_feat` returns: the loss by its name, and the accuracy in percent."""
    target = head._stack_batch_gt(batch_data_samples).squeeze(1)
    loss, accuracy = cross_entropy_upsampled(seg_logits, target, head.ignore_index, head.align_corners)
    return {head.loss_decode.loss_name: head.loss_decode.loss_weight * loss, "acc_seg": accuracy}


def cross_entropy_upsampled(
    logits: Tensor, target: Tensor, ignore_index: int = 255, align_corners: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of `logits` resized bilinearly to `target`, over all its pixels, and accuracy.

    Args:
        logits: (N, C, h, w), any floating type; the work is done in float32.
        target: int64 (N, H, W); pixels of `ignore_index` add nothing to the loss but count in its
            divisor, as in the configs that MMSegmentation ships.

    Returns:
        the loss, a float32 scalar, and the percentage of counted pixels whose class has the
        greatest logit, float32 (1,), which carries no gradient.
    """
    total, right = _CrossEntropy.apply(logits, target, ignore_index, align_corners)
    counted = (target != ignore_index).sum().clamp(min=1)
    return total / target.numel(), (100 * right / counted).reshape(1)


class _CrossEntropy(torch.autograd.Function):
    """(sum of the losses, number of right pixels); the gradient is found on the way."""

    @staticmethod
    def forward(ctx, logits: Tensor, target: Tensor, ignore_index: int, align_corners: bool):
        with torch.autocast(logits.device.type, enabled=False):
            *sums, gradient = _strip_by_strip(logits.float(), target, ignore_index, align_corners)
        ctx.save_for_backward(gradient.to(logits.dtype))
        ctx.mark_non_differentiable(sums[1])
        return tuple(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx, of_total: Tensor, _):
        (gradient,) = ctx.saved_tensors
        return gradient * of_total, None, None, None


def _strip_by_strip(logits: Tensor, target: Tensor, ignore_index: int, align_corners: bool):
    """Sum of the losses, right pixels, and the sum's gradient (N, C, h, w)."""
    classes, h, w = logits.shape[1:]
    height, width = target.shape[1:]
    across = _weights(w, width, align_corners).to(logits.device)
    wide = logits.permute(0, 2, 1, 3)  # rows first: a strip is then one piece of memory
    wide = (wide if w == width else wide @ across.T).contiguous()  # (N, h, C, W)
    gradient = torch.zeros_like(wide)
    total, right = logits.new_zeros(()), target.new_zeros(())
    rows = max(1, _STRIP[logits.device.type] // (classes * width))
    for top, first, weights in _strips(h, height, align_corners, rows):
        weights = weights.to(logits.device)
        here, there = slice(top, top + len(weights)), slice(first, first + weights.shape[1])
        for source, slope, wanted in zip(wide[:, there], gradient[:, there], target[:, here], strict=True):
            logp = (weights @ source.flatten(1)).view(-1, classes, width).log_softmax(1)
            counted = (wanted != ignore_index)[:, None]
            wanted = wanted[:, None].where(counted, 0)
            picked = logp.gather(1, wanted)
            total -= (picked * counted).sum()
            right += ((picked == logp.amax(1, keepdim=True)) & counted).sum()
            off = logp.exp_().scatter_add_(1, wanted, torch.full_like(picked, -1.0)).mul_(counted)
            slope += (weights.T @ off.flatten(1)).view_as(slope)
    gradient = gradient if w == width else gradient @ across
    return total, right, gradient.permute(0, 2, 1, 3)


@cache
def _weights(source: int, size: int, align_corners: bool) -> Tensor:
    """(size, source): what linear interpolation from `source` to `size` points multiplies by."""
    points = torch.eye(source)[None]
    return F.interpolate(points, size, mode="linear", align_corners=align_corners)[0].T.contiguous()


@cache
def _strips(source: int, size: int, align_corners: bool, rows: int) -> list[tuple[int, int, Tensor]]:
    """`size` rows in strips of `rows`: its first row, the first of `source` that it needs, their weights."""
    strips = []
    for i, weights in enumerate(_weights(source, size, align_corners).split(rows)):
        needed = weights.any(0).nonzero()
        first, last = int(needed[0]), int(needed[-1])
        strips.append((i * rows, first, weights[:, first : last + 1].contiguous()))
    return strips
