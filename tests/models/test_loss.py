"""The loss without large logits against MMSegmentation's, value for value and gradient for gradient."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.losses import accuracy
from mmseg.structures import SegDataSample

from fashionlib import models
from fashionlib.models.fast import loss

SIZES = [((4, 4), (64, 64)), ((7, 5), (30, 41)), ((16, 16), (16, 16)), ((20, 20), (9, 11)), ((1, 1), (8, 8))]


def case(small, large, n=2, dtype=torch.float32):
    g = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(n, 9, *small, generator=g)).to(dtype).requires_grad_()
    target = torch.randint(0, 9, (n, *large), generator=g)
    target[0, : large[0] // 3] = 255
    return logits, target


@pytest.mark.parametrize(("small", "large"), SIZES)
def test_same_loss_gradient_and_accuracy_as_resizing_first(small, large, monkeypatch):
    monkeypatch.setitem(loss._STRIP, "cpu", 9 * large[1] * 3)  # strips of three rows
    logits, target = case(small, large)
    resized = F.interpolate(logits, large, mode="bilinear")
    stock = F.cross_entropy(resized, target, reduction="none", ignore_index=255).mean()
    ours, right = loss.cross_entropy_upsampled(logits, target, 255)
    assert torch.allclose(ours, stock, rtol=1e-5)
    assert right.item() == pytest.approx(accuracy(resized, target, ignore_index=255).item(), abs=1e-3)
    wanted, given = (torch.autograd.grad(value, logits)[0] for value in (stock, ours))
    assert torch.allclose(given, wanted, rtol=1e-4, atol=1e-6)


def test_under_autocast_the_work_is_done_in_float32():
    logits, target = case((4, 4), (64, 64), dtype=torch.bfloat16)
    exact = loss.cross_entropy_upsampled(logits.detach().float(), target)[0]
    with torch.autocast("cpu", torch.bfloat16):
        ours = loss.cross_entropy_upsampled(logits, target)[0]
    assert ours.dtype == torch.float32 and torch.allclose(ours, exact, rtol=1e-6)
    ours.backward()
    assert logits.grad.dtype == torch.bfloat16 and logits.grad.abs().sum() > 0


def test_nothing_to_count_is_zero():
    logits, target = case((4, 4), (8, 8))
    value, right = loss.cross_entropy_upsampled(logits, torch.full_like(target, 255))
    value.backward()
    assert value == 0 and right == 0 and not logits.grad.any()


def test_only_the_coarse_gradient_is_kept():
    logits, target = case((4, 4), (64, 64))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda _: None):
        loss.cross_entropy_upsampled(logits, target)
    assert sum(kept) <= logits.numel()


def test_heads_with_another_loss_keep_mmsegmentations():
    head = models.build("segmenter_vit_t_linear", scale="mini").decode_head
    features = [torch.randn(1, 128, 16, 16)]
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 28, (1, 128, 128))))
    del head.loss_by_feat  # that of `build`
    head.loss_decode.avg_non_ignore = True
    assert "loss_by_feat" not in vars(loss.install(head))
    stock = head.loss(features, [sample], None)
    head.loss_decode.avg_non_ignore = False
    assert "loss_by_feat" in vars(loss.install(head))
    ours = head.loss(features, [sample], None)
    assert stock.keys() == ours.keys() and torch.allclose(stock["loss_ce"], ours["loss_ce"])
    assert ours["acc_seg"].shape == stock["acc_seg"].shape
