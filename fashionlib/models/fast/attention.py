"""Self-attention written out, in place of MMCV's weights-returning call.

MMCV's ``MultiheadAttention`` asks torch for the attention weights and throws them away, which makes
every layer store full (N, heads, L, L) matrices and rules out fused kernels. The same parameters,
multiplied on contiguous (N, L, C), give the same answers faster and in less memory. Two cores:

``math``  plain ``softmax(q k^T) v``: the quickest in bf16 on a CPU;
``sdpa``  `torch.nn.functional.scaled_dot_product_attention`: never stores the L x L matrix;
          the quickest in fp32 and on a GPU.
"""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import MultiheadAttention
from torch import Tensor, nn

CORES = ("auto", "math", "sdpa", "mmcv")
ROWS = 256  # queries at once where nothing is kept for a backward pass: their weights stay in the cache


class WrittenOutAttention(MultiheadAttention):
    """`MultiheadAttention` with the same parameters and answers; `core` chooses the kernel.

    Anything but plain batch-first self-attention (masks, position terms, another key or value,
    dropout on the weights) goes through MMCV's own path.
    """

    core = "auto"

    def forward(self, query: Tensor, key=None, value=None, identity=None, **kwargs) -> Tensor:
        """MMCV's answer: `identity` (None: `query`) plus the attention of (N, L, C) `query`."""
        plain = (
            key is None
            and value is None
            and self.batch_first
            and not any(extra is not None for extra in kwargs.values())
        )
        if not plain or (self.training and self.attn.dropout > 0):
            return super().forward(query, key, value, identity, **kwargs)
        out = self_attention(self.attn, query.contiguous(), self._fused(query))
        return (query if identity is None else identity) + self.dropout_layer(self.proj_drop(out))

    def _fused(self, x: Tensor) -> bool:
        if self.core != "auto":
            return self.core == "sdpa"
        # Measured on one core with AVX-512 bf16, 3 heads, 1025 tokens, forward: in bf16 plain products take
        # 4 ms and torch's flash kernel 26; in fp32 both take 16, and the kernel keeps no matrix.
        return x.is_cuda or not (torch.is_autocast_enabled("cpu") or x.dtype == torch.bfloat16)


def self_attention(attn: nn.MultiheadAttention, x: Tensor, fused: bool) -> Tensor:
    """Self-attention of (N, L, C) `x` with the parameters of `attn`, returned as (N, L, C)."""
    n, length, channels = x.shape
    heads = attn.num_heads
    qkv = F.linear(x, attn.in_proj_weight, attn.in_proj_bias)
    qkv = qkv.view(n, length, 3, heads, channels // heads).permute(2, 0, 3, 1, 4).contiguous()
    q, k, v = qkv.unbind(0)  # (N, heads, L, C / heads) each
    if fused:
        out = F.scaled_dot_product_attention(q, k, v)
    else:
        parts = (q * q.shape[-1] ** -0.5).split(length if torch.is_grad_enabled() else ROWS, dim=2)
        out = torch.cat([(part @ k.transpose(-2, -1)).softmax(-1).to(v.dtype) @ v for part in parts], dim=2)
    return attn.out_proj(out.transpose(1, 2).reshape(n, length, channels))


def install(model: nn.Module, core: str = "auto") -> nn.Module:
    """Give every MMCV attention of `model` the written-out forward (``mmcv`` puts MMCV's back).

    Only the class of the modules changes: parameters, state-dict keys and hooks stay.
    """
    if core not in CORES:
        raise ValueError(f"Unknown attention core {core!r}; known: {', '.join(CORES)}.")
    for module in model.modules():
        if type(module) in (MultiheadAttention, WrittenOutAttention):
            module.__class__ = MultiheadAttention if core == "mmcv" else WrittenOutAttention
            module.core = core
    return model
