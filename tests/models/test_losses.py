"""The decode head's losses by name: MMSegmentation's own, and a focal loss equal to MMSegmentation's."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.structures import PixelData
from mmseg.models.losses.focal_loss import FocalLoss, py_sigmoid_focal_loss
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from fashionlib import models
from fashionlib.models.losses import SigmoidFocalLoss


@pytest.fixture
def pixels():
    g = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(2, 5, 7, 6, generator=g)).requires_grad_()
    target = torch.randint(0, 5, (2, 7, 6), generator=g)
    target[0, :2] = 255
    return logits, target


def test_focal_is_mmsegmentations_value_and_gradient(pixels):
    """Its `FocalLoss` takes no label map on a CPU, only one-hot targets; this function does the rest."""
    logits, target = pixels
    counted = target != 255
    flat = logits.movedim(1, -1).reshape(-1, 5)
    one_hot = F.one_hot(target.where(counted, 0), 5).reshape(-1, 5)
    theirs = py_sigmoid_focal_loss(flat, one_hot, valid_mask=counted.reshape(-1, 1))
    ours = SigmoidFocalLoss()(logits, target, ignore_index=255)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    wanted, given = (torch.autograd.grad(value, logits)[0] for value in (theirs, ours))
    assert torch.allclose(given, wanted, rtol=0, atol=1e-6) and not given[0, :, :2].any()


@pytest.mark.skipif(torch.cuda.is_available(), reason="MMSegmentation's refuses machines with a GPU")
def test_focal_is_the_default_of_mmsegmentations_module(pixels):
    logits, target = pixels
    target = target.where(target != 255, 3)
    theirs = FocalLoss()(logits, F.one_hot(target, 5).movedim(-1, 1))
    assert SigmoidFocalLoss()(logits, target).item() == pytest.approx(theirs.item(), abs=1e-6)


def test_focal_by_its_formula():
    logits = torch.tensor([0.7, -1.2]).reshape(1, 2, 1, 1)
    right, other = torch.tensor(0.7).sigmoid(), torch.tensor(-1.2).sigmoid()
    wanted = -(0.5 * (1 - right) ** 2 * right.log() + 0.5 * other**2 * (1 - other).log()) / 2
    assert SigmoidFocalLoss()(logits, torch.zeros(1, 1, 1, dtype=torch.long)).item() == pytest.approx(
        wanted.item()
    )


NAMES = dict(
    cross_entropy=["loss_ce"],
    focal=["loss_focal"],
    lovasz=["loss_ce", "loss_lovasz"],
    dice=["loss_ce", "loss_dice"],
)


@pytest.mark.parametrize("loss", models.LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_is_that_of_mmsegmentations_own_build(loss, weighted):
    if loss == "focal" and weighted:
        return
    weights = [0.1, *[2.0] * 27] if weighted else None
    spec = dict(scale="mini", loss=loss, class_weights=weights)
    torch.manual_seed(0)
    ours = models.build("setr_naive", **spec).eval()
    stock = revert_sync_batchnorm(
        MODELS.build(copy.deepcopy(models.config("setr_naive", **spec).model))
    ).eval()
    stock.load_state_dict(ours.state_dict(), strict=True)
    assert ours.state_dict().keys() == models.build("setr_naive", scale="mini").state_dict().keys()
    g = torch.Generator().manual_seed(0)
    x, label = torch.randn(2, 3, 128, 128, generator=g), torch.randint(0, 28, (2, 1, 128, 128), generator=g)
    label[0, :, :30] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in label]
    given, wanted = ours.loss(x, samples), stock.loss(x, samples)
    assert [name for name in given if name.startswith("decode.loss")] == [f"decode.{n}" for n in NAMES[loss]]
    assert given.keys() == wanted.keys() and {"aux_0.loss_ce"} < given.keys()
    assert all(torch.allclose(given[name], wanted[name], atol=1e-5) for name in given)
    for losses in (given, wanted):
        sum(value for name, value in losses.items() if "loss" in name).backward()
    theirs = dict(stock.named_parameters())
    assert all(
        torch.allclose(p.grad, theirs[name].grad, rtol=1e-3, atol=1e-5)
        for name, p in ours.named_parameters()
        if p.grad is not None
    )


def test_every_row_takes_every_loss():
    for name in models.MODELS:
        plain = models.config(name).model.decode_head.loss_decode
        assert plain.type == "CrossEntropyLoss" and plain.loss_weight == 1
        assert models.config(name, loss="lovasz").model.decode_head.loss_decode[0] == plain
    with pytest.raises(ValueError, match="Unknown loss 'lovas'. Did you mean 'lovasz'"):
        models.config("unet", loss="lovas")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("loss", models.LOSSES)
def test_a_gpu_has_the_losses_of_the_cpu(loss):
    weights = None if loss == "focal" else [0.1, *[2.0] * 27]
    model = models.build("segmenter_vit_t_linear", scale="mini", loss=loss, class_weights=weights).eval()
    logits, label = torch.randn(2, 28, 16, 16), torch.randint(0, 28, (2, 1, 128, 128))
    label[0, :, :30] = 255
    found = []
    for device in ("cpu", "cuda"):
        samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in label.to(device)]
        found.append(model.decode_head.loss_by_feat(logits.to(device), samples))
    on_cpu, on_gpu = found
    assert all(torch.allclose(on_gpu[name].cpu(), value, rtol=1e-4) for name, value in on_cpu.items())
