"""Tokens and pixels: a ViT with a small convolutional stem beside it, and the decode head that joins the two.

A ViT's label map is as coarse as its patches. Here the tokens give the class, and two feature maps of a
convolutional stem give the exact place, as the detail branch of ViTMatte (Yao et al., arXiv 2305.15272,
section 3.3) does for matting. Ours, not the paper's: the model behind the shipped cut-outs.
"""

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.backbones import VisionTransformer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses.lovasz_loss import flatten_probs, lovasz_softmax_flat
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from fashionlib.models.fast import cross_entropy_upsampled

_NORM = dict(type="BN")


@MODELS.register_module()
class DetailViT(VisionTransformer):
    """`VisionTransformer`, whose outputs are followed by the stem's maps: a half and a quarter of the photo.

    Args:
        detail: channels of the two maps. The other arguments are `VisionTransformer`'s.
    """

    def __init__(self, detail: tuple[int, int] = (32, 64), **kwargs) -> None:
        super().__init__(**kwargs)
        half, quarter = detail
        shape = dict(kernel_size=3, stride=2, padding=1, norm_cfg=_NORM)
        self.detail = nn.ModuleList([ConvModule(3, half, **shape), ConvModule(half, quarter, **shape)])

    def forward(self, inputs: Tensor, kept: Tensor | None = None) -> tuple[Tensor, ...]:
        """Token maps (N, ·, h, w), then the stem's maps, of photos (N, 3, H, W).

        Of one photo, `kept` int64 (K,) may name the tokens that the layers see; their maps are (1, ·, K, 1).
        """
        half = self.detail[0](inputs)
        tokens = super().forward(inputs) if kept is None else self._encoded(inputs, kept)
        return (*tokens, half, self.detail[1](half))

    def _encoded(self, inputs: Tensor, kept: Tensor) -> list[Tensor]:
        x, grid = self.patch_embed(inputs)
        x = self._pos_embeding(torch.cat((self.cls_token, x), dim=1), grid, self.pos_embed)
        x, found = x[:, torch.cat((kept.new_zeros(1), kept + 1))], []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index == len(self.layers) - 1 and self.final_norm:
                x = self.norm1(x)
            if index in self.out_indices:
                found.append(x[:, 1:, :, None].transpose(1, 2))
        return found


@MODELS.register_module()
class DetailHead(BaseDecodeHead):
    """Logits at four times the resolution of the tokens.

    The token maps are joined and doubled in size twice; after each doubling the stem's map of about that size
    joins in. `in_channels` lists the token maps, then the stem's two; `widths` are the channels of the three
    steps, the last of them `channels`.

    The loss is cross-entropy, which background pixels dominate, plus `lovasz` times the Lovász-softmax loss
    (Berman et al., CVPR 2018): a smooth form of the IoU, in which a belt weighs as much as a coat.
    """

    def __init__(
        self, in_channels, channels: int, widths: tuple[int, int] = (256, 128), lovasz: float = 0.5, **kwargs
    ) -> None:
        in_channels = list(in_channels)
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            input_transform="multiple_select",
            in_index=list(range(len(in_channels))),
            norm_cfg=_NORM,
            **kwargs,
        )
        self.lovasz = lovasz
        *tokens, half, quarter = in_channels
        wide, middle = widths
        conv = dict(kernel_size=3, padding=1, norm_cfg=_NORM)
        self.tokens = nn.Sequential(
            ConvModule(sum(tokens), wide, 1, norm_cfg=_NORM), ConvModule(wide, wide, **conv)
        )
        self.steps = nn.ModuleList(
            [ConvModule(wide + quarter, middle, **conv), ConvModule(middle + half, channels, **conv)]
        )

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (N, C, 4 h, 4 w) of token maps (N, ·, h, w) and the stem's maps."""
        *tokens, half, quarter = self._transform_inputs(inputs)
        return self.finished(self.joined(tokens), half, quarter)

    def joined(self, tokens: list[Tensor]) -> Tensor:
        """Token maps (N, ·, h, w) as one (N, D, h, w), before its activation: linear in each token."""
        first = self.tokens[0]
        return first.norm(first.conv(torch.cat(tokens, dim=1)))

    def finished(self, joined: Tensor, half: Tensor, quarter: Tensor) -> Tensor:
        """Logits (N, C, 4 h, 4 w) of the `joined` token maps and the stem's maps."""
        x = self.tokens[1](joined.relu())  # its own activation would change `joined` itself
        for step, detail in zip(self.steps, (quarter, half), strict=True):
            x = resize(x, scale_factor=2, mode="bilinear", align_corners=False)
            detail = resize(detail, size=x.shape[2:], mode="bilinear", align_corners=False)
            x = step(torch.cat([x, detail], dim=1))
        return self.cls_seg(x)

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """Cross-entropy at the label map's size, Lovász-softmax at the logits' own: it sorts every pixel."""
        target = self._stack_batch_gt(batch_data_samples).squeeze(1)
        entropy, accuracy = cross_entropy_upsampled(seg_logits, target, self.ignore_index)
        coarse = F.interpolate(target[:, None].float(), seg_logits.shape[2:], mode="nearest-exact").long()
        pixels = flatten_probs(seg_logits.float().softmax(1), coarse[:, 0], self.ignore_index)
        overlap = lovasz_softmax_flat(*pixels)
        return {"loss_ce": entropy, "loss_lovasz": self.lovasz * overlap, "acc_seg": accuracy}


def look(
    backbone: DetailViT,
    head: DetailHead,
    photo: Tensor,
    kept: Tensor | None = None,
    around: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Logits (C, 4 h, 4 w) and joined token maps (D, h, w) of one normalised photo (1, 3, H, W).

    The encoder's layers see only the tokens `kept`, int64 (K,) in the order of rows; the others are those of
    `around` (D, h, w), joined token maps of an earlier look at the same place.
    """
    *tokens, half, quarter = backbone(photo, kept)
    joined = head.joined(tokens)
    if kept is not None:
        rows = around.flatten(1).T.to(joined.dtype)
        rows = rows.index_put((kept,), joined[0, :, :, 0].T)
        joined = rows.T.reshape(1, *around.shape)
    return head.finished(joined, half, quarter)[0].float(), joined[0].float()
