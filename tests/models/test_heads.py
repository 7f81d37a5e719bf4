"""The models as we build them against MMSegmentation's own build of the same config."""

import copy

import pytest
import torch
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from fashionlib import models
from fashionlib.models.fast import heads


def step(model, x, samples):
    torch.manual_seed(0)  # drop-path draws
    model.train()
    losses = model.loss(x, samples)
    total, _ = model.parse_losses(losses)
    total.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return total.detach(), losses["decode.acc_seg"], gradients


ROWS = (  # every head, and every encoder's kind
    "segmenter_vit_t", "segmenter_vit_t_linear", "setr_mla", "setr_pup", "setr_naive", "setr_vit_s_mla",
    "unet",
)  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_one_step_is_that_of_mmsegmentations_own_build(name):
    torch.manual_seed(0)
    ours = models.build(name, scale="mini")
    stock = revert_sync_batchnorm(MODELS.build(copy.deepcopy(models.config(name, scale="mini").model)))
    stock.load_state_dict(ours.state_dict(), strict=True)
    assert list(stock.state_dict()) == list(ours.state_dict())
    g = torch.Generator().manual_seed(0)
    x, label = torch.randn(2, 3, 128, 128, generator=g), torch.randint(0, 28, (2, 1, 128, 128), generator=g)
    label[0, :, :30] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in label]
    (loss, acc, wanted), (our_loss, our_acc, given) = step(stock, x, samples), step(ours, x, samples)
    assert torch.allclose(our_loss, loss, atol=1e-5) and torch.allclose(our_acc, acc, atol=0.01)
    assert given.keys() == wanted.keys()
    assert all(torch.allclose(given[key], wanted[key], rtol=1e-3, atol=1e-5) for key in wanted)


@pytest.mark.parametrize("name", ["setr_mla", "setr_pup", "setr_naive"])
def test_setr_enlarges_classes_not_features(name):
    head = models.build(name, scale="mini").decode_head
    seen = []
    head.enlarge.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1]))
    dims = 64 if name == "setr_mla" else 160
    with torch.no_grad():
        logits = head([torch.randn(1, dims, 16, 16)] * 4)
    assert seen == [28] and logits.shape[1] == 28
    heads.classify_first(head)  # a second time changes nothing
    assert not isinstance(head.enlarge, torch.nn.Identity)
