"""MMSegmentation's answers in less time and memory: attention, SETR's heads, and the loss of plain heads.

Attention
    MMCV's ``MultiheadAttention`` asks torch for the attention weights and throws them away: every layer
    stores full (N, heads, L, L) matrices, and no fused kernel can run. Here the same parameters multiply
    contiguous (N, L, C) in one of two ways. Plain ``softmax(q k^T) v`` is the quickest in bf16 on a CPU;
    `torch.nn.functional.scaled_dot_product_attention` never stores the L x L matrix and is the quickest in
    fp32 and on a GPU.

SETR's heads
    SETR enlarges 256 feature maps (MLA: 4 x 128) bilinearly and puts a 1 x 1 convolution with one output a
    class on them. The two commute: one mixes channels at a point, the other points within a channel, with
    weights that sum to 1. In MMSegmentation's order, PUP's largest maps take 134 MB a photo and head in bf16,
    and it has four such heads; classified first, 28 maps are enlarged.

Loss
    A head answers coarsely (a Segmenter's logits are 32 x 32 for a crop of 512), and MMSegmentation resizes
    the answer to the label map before it compares the two. With 28 classes that is 29 MB a photo and head,
    four times over: logits, log-probabilities, and the gradients of both. On a CPU it takes longer than a
    small encoder's layers. Bilinear interpolation is linear along rows and along columns, so a strip of rows
    at a time is interpolated, compared and differentiated; only the gradient of the coarse logits is kept.
"""

from collections.abc import Sequence
from functools import cache
from types import MethodType

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmseg.models.backbones.vit import TransformerEncoderLayer
from mmseg.models.decode_heads import SETRMLAHead, SETRUPHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.losses.cross_entropy_loss import cross_entropy
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ROWS = 256  # queries at once where nothing is kept for a backward pass: their weights stay in the cache
_STRIP = dict(cpu=2**18, cuda=2**26)  # logits at once: on a CPU what the cache holds


def install(model: nn.Module, fused: bool | None = None) -> nn.Module:
    """`model`, its attention, SETR heads and plain cross-entropy losses replaced by those of this module.

    `fused` chooses the attention's kernel (None: by device and precision). Only classes and methods change:
    parameters, state-dict keys and hooks stay. A second call changes no more than `fused`.
    """
    for module in model.modules():
        if type(module) in (MultiheadAttention, WrittenOutAttention):
            module.__class__, module.fused = WrittenOutAttention, fused
        if isinstance(module, SETRUPHead | SETRMLAHead):
            _classify_first(module)
        if isinstance(module, BaseDecodeHead) and type(module).loss_by_feat is BaseDecodeHead.loss_by_feat:
            module.loss_by_feat = MethodType(_loss_by_feat if _is_plain(module) else _in_float32, module)
    return model


def recompute_layers(model: nn.Module) -> None:
    """Keep only the input of every transformer layer, and compute the rest again in the backward pass.

    Not of convolutional blocks, whose batch norms would count a batch twice.
    """
    for module in model.modules():
        if isinstance(module, TransformerEncoderLayer):
            module.with_cp = True


class WrittenOutAttention(MultiheadAttention):
    """`MultiheadAttention` with the same parameters and answers; `fused` chooses the kernel.

    Anything but plain batch-first self-attention (masks, position terms, another key or value,
    dropout on the weights) goes through MMCV's own path.
    """

    fused: bool | None = None

    def forward(self, query: Tensor, key=None, value=None, identity=None, **kwargs) -> Tensor:
        """MMCV's answer: `identity` (None: `query`) plus the attention of (N, L, C) `query`."""
        plain = self.batch_first and all(extra is None for extra in (key, value, *kwargs.values()))
        if not plain or (self.training and self.attn.dropout > 0):
            return super().forward(query, key, value, identity, **kwargs)
        out = self._self_attention(query.contiguous())
        return (query if identity is None else identity) + self.dropout_layer(self.proj_drop(out))

    def _self_attention(self, x: Tensor) -> Tensor:
        n, length, channels = x.shape
        heads = self.attn.num_heads
        qkv = F.linear(x, self.attn.in_proj_weight, self.attn.in_proj_bias)
        qkv = qkv.view(n, length, 3, heads, channels // heads).permute(2, 0, 3, 1, 4).contiguous()
        q, k, v = qkv.unbind(0)  # (N, heads, L, C / heads) each
        if self._is_fused(x):
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            parts = (q * q.shape[-1] ** -0.5).split(length if torch.is_grad_enabled() else ROWS, dim=2)
            out = [(part @ k.transpose(-2, -1)).softmax(-1).to(v.dtype) @ v for part in parts]
            out = torch.cat(out, dim=2)
        return self.attn.out_proj(out.transpose(1, 2).reshape(n, length, channels))

    def _is_fused(self, x: Tensor) -> bool:
        if self.fused is not None:
            return self.fused
        # Measured on one core with AVX-512 bf16, 3 heads, 1025 tokens, forward: in bf16 plain products take
        # 4 ms and torch's flash kernel 26; in fp32 both take 16, and the kernel keeps no matrix.
        return x.is_cuda or not (torch.is_autocast_enabled("cpu") or x.dtype == torch.bfloat16)


def _classify_first(head: SETRUPHead | SETRMLAHead) -> None:
    """Swap the last enlargement and the classifier of `head`; an `Upsample` has no parameters to move."""
    if "cls_seg" in vars(head) or not head.up_convs:
        return
    last = head.up_convs if isinstance(head, SETRMLAHead) else head.up_convs[-1:]
    head.enlarge = last[0][-1]
    for block in last:
        block[-1] = nn.Identity()
    head.cls_seg = MethodType(_cls_seg, head)


def _cls_seg(head, feat: Tensor) -> Tensor:
    return head.enlarge(type(head).cls_seg(head, feat))


def _is_plain(head: BaseDecodeHead) -> bool:
    """Whether `head` has the loss that `_loss_by_feat` computes: the mean cross-entropy."""
    loss = head.loss_decode
    return (
        head.sampler is None
        and isinstance(loss, CrossEntropyLoss)
        and loss.cls_criterion is cross_entropy
        and loss.reduction == "mean"
        and not loss.avg_non_ignore
        and not head.align_corners
    )


def _loss_by_feat(head: BaseDecodeHead, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
    """The loss under its name, and the accuracy in percent, as `BaseDecodeHead.loss_by_feat` returns them."""
    target = head._stack_batch_gt(batch_data_samples).squeeze(1)
    loss, accuracy = cross_entropy_upsampled(
        seg_logits, target, head.ignore_index, head.loss_decode.class_weight
    )
    return {head.loss_decode.loss_name: head.loss_decode.loss_weight * loss, "acc_seg": accuracy}


def _in_float32(head: BaseDecodeHead, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
    """MMSegmentation's other losses; in bf16 Lovász's sorted errors would tie and Dice's sums be rounded."""
    with torch.autocast(seg_logits.device.type, enabled=False):
        return BaseDecodeHead.loss_by_feat(head, seg_logits.float(), batch_data_samples)


def cross_entropy_upsampled(
    logits: Tensor, target: Tensor, ignore_index: int = 255, class_weights: Sequence[float] | None = None
) -> tuple[Tensor, Tensor]:
    """(mean cross-entropy, accuracy in percent) of `logits` resized bilinearly to `target`.

    Args:
        logits: (N, C, h, w), any floating type; computed in float32.
        target: int64 (N, H, W); pixels of `ignore_index` add nothing to the loss but count in its
            divisor, as in the configs that MMSegmentation ships.
        class_weights: weight of each class. The divisor is then the sum of the weights of the pixels that are
            not ignored, MMSegmentation's too: a factor common to all weights changes nothing.

    Returns:
        the loss, a float32 scalar, and the accuracy over the pixels that are not ignored, float32 (1,),
        without a gradient.
    """
    counted = target != ignore_index
    weights, divisor = None, target.numel()
    if class_weights is not None:
        weights = torch.tensor(class_weights, dtype=torch.float32, device=logits.device)
        divisor = weights[target[counted]].sum() + torch.finfo(torch.float32).eps
    total, right = _CrossEntropy.apply(logits, target, ignore_index, weights)
    return total / divisor, (100 * right / counted.sum().clamp(min=1)).reshape(1)


class _CrossEntropy(torch.autograd.Function):
    """(sum of the losses, number of right pixels); `forward` computes the gradient too."""

    @staticmethod
    def forward(ctx, logits: Tensor, target: Tensor, ignore_index: int, class_weights: Tensor | None):
        """The two sums; `ctx` keeps the gradient of the first."""
        with torch.autocast(logits.device.type, enabled=False):
            *sums, gradient = _strip_by_strip(logits.float(), target, ignore_index, class_weights)
        ctx.save_for_backward(gradient.to(logits.dtype))
        ctx.mark_non_differentiable(sums[1])
        return tuple(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx, of_total: Tensor, _):
        """The gradient from `forward`, times the gradient of the loss."""
        (gradient,) = ctx.saved_tensors
        return gradient * of_total, None, None, None


def _strip_by_strip(logits: Tensor, target: Tensor, ignore_index: int, class_weights: Tensor | None):
    """(sum of the losses, number of right pixels, the sum's gradient (N, C, h, w))."""
    classes, h, w = logits.shape[1:]
    height, width = target.shape[1:]
    across = _weights(w, width).to(logits.device)
    wide = logits.permute(0, 2, 1, 3)  # rows first: a strip is then one piece of memory
    wide = (wide if w == width else wide @ across.T).contiguous()  # (N, h, C, W)
    gradient = torch.zeros_like(wide)
    total, right = logits.new_zeros(()), target.new_zeros(())
    rows = max(1, _STRIP[logits.device.type] // (classes * width))
    for strip, weights in enumerate(_weights(h, height).split(rows)):
        needed = weights.any(0).nonzero()
        here = slice(strip * rows, strip * rows + len(weights))
        there = slice(int(needed[0]), int(needed[-1]) + 1)
        weights = weights[:, there].contiguous().to(logits.device)
        for source, slope, wanted in zip(wide[:, there], gradient[:, there], target[:, here], strict=True):
            logp = (weights @ source.flatten(1)).view(-1, classes, width).log_softmax(1)
            counted = (wanted != ignore_index)[:, None]
            wanted = wanted[:, None].where(counted, 0)
            picked = logp.gather(1, wanted)
            pixels = counted if class_weights is None else class_weights[wanted] * counted  # their weights
            total -= (picked * pixels).sum()
            right += ((picked == logp.amax(1, keepdim=True)) & counted).sum()
            off = logp.exp_().scatter_add_(1, wanted, torch.full_like(picked, -1.0)).mul_(pixels)
            slope += (weights.T @ off.flatten(1)).view_as(slope)
    gradient = gradient if w == width else gradient @ across
    return total, right, gradient.permute(0, 2, 1, 3)


@cache
def _weights(source: int, size: int) -> Tensor:
    """Matrix (size, source) of linear interpolation from `source` to `size` points."""
    points = torch.eye(source)[None]
    return F.interpolate(points, size, mode="linear")[0].T.contiguous()
