"""The written-out attention against MMCV's, value for value and gradient for gradient."""

import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention

from fashionlib import models
from fashionlib.models.fast import attention


def outputs(core: str, x: torch.Tensor):
    torch.manual_seed(0)
    layer = attention.install(MultiheadAttention(64, 4, batch_first=True), core)
    y = layer(x, identity=2 * x)
    y.square().sum().backward()
    return y.detach(), [p.grad for p in layer.parameters()]


@pytest.mark.parametrize("core", ["math", "sdpa", "auto"])
@pytest.mark.parametrize("shape", [(1, 5, 64), (3, 17, 64)])
def test_same_answers_and_gradients_as_mmcv(core, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    stock, stock_grads = outputs("mmcv", x)
    ours, grads = outputs(core, x)
    assert torch.allclose(ours, stock, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-3, rtol=1e-4) for a, b in zip(grads, stock_grads, strict=True))


def test_not_self_attention_goes_mmcvs_way():
    layer = attention.install(MultiheadAttention(64, 4, batch_first=True), "math")
    x, key = torch.randn(2, 5, 64), torch.randn(2, 7, 64)
    mask = torch.zeros(5, 5, dtype=torch.bool).fill_diagonal_(True)
    before = [layer(x, key, key).detach(), layer(x, attn_mask=mask).detach()]
    attention.install(layer, "mmcv")
    assert torch.allclose(before[0], layer(x, key, key), atol=1e-6)
    assert torch.allclose(before[1], layer(x, attn_mask=mask), atol=1e-6)


@pytest.mark.parametrize("core", ["math", "sdpa"])
@pytest.mark.parametrize("name", ["segmenter_vit_t", "setr_mla"])
def test_whole_models_agree(name, core):
    torch.manual_seed(0)
    model = models.build(name, scale="mini")
    model.eval()
    x = torch.randn(1, 3, 128, 128)
    keys = list(model.state_dict())
    with torch.no_grad():
        stock = attention.install(model, "mmcv").encode_decode(x, [dict(img_shape=(128, 128))])
        ours = attention.install(model, core).encode_decode(x, [dict(img_shape=(128, 128))])
    assert torch.allclose(ours, stock, atol=1e-5)
    assert list(model.state_dict()) == keys


def test_every_attention_of_a_segmenter_is_replaced_decoder_included():
    model = models.build("segmenter_vit_t", scale="mini")
    kinds = [type(m) for m in model.modules() if isinstance(m, MultiheadAttention)]
    assert kinds == [attention.WrittenOutAttention] * (4 + 2)


def test_unknown_core():
    with pytest.raises(ValueError, match="auto, math, sdpa, mmcv"):
        attention.install(torch.nn.Identity(), "flash")


def test_without_gradients_queries_go_in_rows_to_the_same_answers():
    """In bf16 as on a CPU that multiplies it: 2 whole rows of queries and a rest."""
    layer = attention.install(MultiheadAttention(64, 4, batch_first=True), "math")
    x = torch.randn((1, 2 * attention.ROWS + 7, 64), generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        at_once = layer(x, identity=x).detach()
        with torch.inference_mode():
            in_rows = layer(x, identity=x)
    assert torch.allclose(in_rows, at_once, atol=1e-2)
