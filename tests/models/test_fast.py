"""Attention, SETR's heads and the loss against MMCV's and MMSegmentation's, values and gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.structures import PixelData
from mmseg.models.losses import accuracy
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from fashionlib import models
from fashionlib.models import fast


def outputs(layer, x: torch.Tensor):
    y = layer(x, identity=2 * x)
    y.square().sum().backward()
    return y.detach(), [p.grad for p in layer.parameters()]


def attention(**options) -> MultiheadAttention:
    """The same layer at every call, ours if there are `options` of `fast.install`."""
    torch.manual_seed(0)
    layer = MultiheadAttention(64, 4, batch_first=True)
    return fast.install(layer, **options) if options else layer


@pytest.mark.parametrize("fused", [False, True, None])
@pytest.mark.parametrize("shape", [(1, 5, 64), (3, 17, 64)])
def test_same_answers_and_gradients_as_mmcv(fused, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    (stock, stock_grads), (ours, grads) = outputs(attention(), x), outputs(attention(fused=fused), x)
    assert torch.allclose(ours, stock, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-3, rtol=1e-4) for a, b in zip(grads, stock_grads, strict=True))


def test_not_self_attention_goes_mmcvs_way():
    stock, ours = attention(), attention(fused=False)
    x, key = torch.randn(2, 5, 64), torch.randn(2, 7, 64)
    mask = torch.zeros(5, 5, dtype=torch.bool).fill_diagonal_(True)
    assert torch.allclose(ours(x, key, key), stock(x, key, key), atol=1e-6)
    assert torch.allclose(ours(x, attn_mask=mask), stock(x, attn_mask=mask), atol=1e-6)


def test_every_attention_of_a_segmenter_is_replaced_decoder_included():
    model = models.build("segmenter_vit_t", scale="mini")
    kinds = [type(m) for m in model.modules() if isinstance(m, MultiheadAttention)]
    assert kinds == [fast.WrittenOutAttention] * (4 + 2)


def test_without_gradients_queries_go_in_rows_to_the_same_answers():
    """In bf16 as on a CPU that multiplies it: 2 whole rows of queries and a rest."""
    layer = attention(fused=False)
    x = torch.randn((1, 2 * fast.ROWS + 7, 64), generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        at_once = layer(x, identity=x).detach()
        with torch.inference_mode():
            in_rows = layer(x, identity=x)
    assert torch.allclose(in_rows, at_once, atol=1e-2)


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
    fast.install(head)  # a second time changes nothing
    assert not isinstance(head.enlarge, torch.nn.Identity)


SIZES = [((4, 4), (64, 64)), ((7, 5), (30, 41)), ((16, 16), (16, 16)), ((20, 20), (9, 11)), ((1, 1), (8, 8))]


def case(small, large, n=2, dtype=torch.float32):
    g = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(n, 9, *small, generator=g)).to(dtype).requires_grad_()
    target = torch.randint(0, 9, (n, *large), generator=g)
    target[0, : large[0] // 3] = 255
    return logits, target


@pytest.mark.parametrize(("small", "large"), SIZES)
def test_same_loss_gradient_and_accuracy_as_resizing_first(small, large, monkeypatch):
    monkeypatch.setitem(fast._STRIP, "cpu", 9 * large[1] * 3)  # strips of three rows
    logits, target = case(small, large)
    resized = F.interpolate(logits, large, mode="bilinear")
    stock = F.cross_entropy(resized, target, reduction="none", ignore_index=255).mean()
    ours, right = fast.cross_entropy_upsampled(logits, target, 255)
    assert torch.allclose(ours, stock, rtol=1e-5)
    assert right.item() == pytest.approx(accuracy(resized, target, ignore_index=255).item(), abs=1e-3)
    wanted, given = (torch.autograd.grad(value, logits)[0] for value in (stock, ours))
    assert torch.allclose(given, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("small", "large"), SIZES)
def test_class_weights_are_mmsegmentations(small, large):
    """Its divisor is the sum of the weights of the pixels that are not ignored: so is PyTorch's mean."""
    logits, target = case(small, large)
    weights = torch.rand(9, generator=torch.Generator().manual_seed(2)) + 0.1
    resized = F.interpolate(logits, large, mode="bilinear")
    stock = MODELS.build(dict(type="CrossEntropyLoss", class_weight=weights.tolist()))
    theirs = stock(resized, target, ignore_index=255)
    ours, right = fast.cross_entropy_upsampled(logits, target, 255, weights.tolist())
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    assert torch.allclose(theirs, F.cross_entropy(resized, target, weights, ignore_index=255))
    wanted, given = (torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (theirs, ours))
    assert torch.allclose(given, wanted, rtol=0, atol=1e-6)
    assert torch.equal(right, fast.cross_entropy_upsampled(logits, target)[1])
    again = fast.cross_entropy_upsampled(logits, target, 255, (1000 * weights).tolist())[0]
    assert again.item() == pytest.approx(ours.item(), rel=1e-5)  # a common factor changes nothing
    assert fast.cross_entropy_upsampled(logits, torch.full_like(target, 255), 255, [1.0] * 9)[0] == 0


def test_under_autocast_the_work_is_done_in_float32():
    logits, target = case((4, 4), (64, 64), dtype=torch.bfloat16)
    exact = fast.cross_entropy_upsampled(logits.detach().float(), target)[0]
    with torch.autocast("cpu", torch.bfloat16):
        ours = fast.cross_entropy_upsampled(logits, target)[0]
    assert ours.dtype == torch.float32 and torch.allclose(ours, exact, rtol=1e-6)
    ours.backward()
    assert logits.grad.dtype == torch.bfloat16 and logits.grad.abs().sum() > 0


def test_nothing_to_count_is_zero():
    logits, target = case((4, 4), (8, 8))
    value, right = fast.cross_entropy_upsampled(logits, torch.full_like(target, 255))
    value.backward()
    assert value == 0 and right == 0 and not logits.grad.any()


def test_only_the_coarse_gradient_is_kept():
    logits, target = case((4, 4), (64, 64))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda _: None):
        fast.cross_entropy_upsampled(logits, target)
    assert sum(kept) <= logits.numel()


def test_heads_with_another_loss_keep_mmsegmentations_in_float32():
    head = models.build("segmenter_vit_t_linear", scale="mini").decode_head
    features = [torch.randn(1, 128, 16, 16)]
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 28, (1, 128, 128))))
    del head.loss_by_feat  # that of `build`
    head.loss_decode.avg_non_ignore = True
    stock = head.eval().loss(features, [sample], None)
    fast.install(head)
    with torch.autocast("cpu", torch.bfloat16):
        assert head.loss_by_feat(features[0][:, :28].bfloat16(), [sample])["loss_ce"].dtype == torch.float32
    assert torch.equal(head.loss(features, [sample], None)["loss_ce"], stock["loss_ce"])
    head.loss_decode.avg_non_ignore = False
    fast.install(head)
    ours = head.loss(features, [sample], None)
    assert stock.keys() == ours.keys() and torch.allclose(stock["loss_ce"], ours["loss_ce"])
    assert ours["acc_seg"].shape == stock["acc_seg"].shape
