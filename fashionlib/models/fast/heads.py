"""SETR's heads classify first and enlarge then: the same logits from a tenth of the numbers.

SETR enlarges 256 feature maps (MLA: 4 x 128) bilinearly and puts a 1 x 1 convolution with one output a class
on them. The two commute: one mixes channels at a point, the other points within a channel, with weights
that sum to 1. In the order of MMSegmentation PUP's largest maps take 134 MB a photo and head in bf16, and
it has four such heads; in ours, 28 maps are enlarged.
"""

from types import MethodType

from mmseg.models.decode_heads import SETRMLAHead, SETRUPHead
from torch import Tensor, nn


def classify_first(model: nn.Module) -> nn.Module:
    """Swap the last enlargement and the classifier in every SETR head of `model`.

    An `Upsample` has no parameters, so state-dict keys stay.
    """
    for head in model.modules():
        if isinstance(head, SETRUPHead | SETRMLAHead) and "cls_seg" not in vars(head) and head.up_convs:
            last = head.up_convs if isinstance(head, SETRMLAHead) else head.up_convs[-1:]
            head.enlarge = last[0][-1]
            for block in last:
                block[-1] = nn.Identity()
            head.cls_seg = MethodType(_cls_seg, head)
    return model


def _cls_seg(head, feat: Tensor) -> Tensor:
    return head.enlarge(type(head).cls_seg(head, feat))
