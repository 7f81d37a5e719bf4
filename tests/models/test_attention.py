"""Attention weights are those of the network's own layers; places, distances and class vectors by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fashionlib import models
from fashionlib.models import attention

PHOTO = np.random.default_rng(0).integers(0, 256, (120, 61, 3), np.uint8)  # no whole number of patches


@pytest.fixture(scope="module", params=["segmenter_vit_t", "setr_mla", "detail_vit_s"])
def looked(request):
    """(what a model saw, what each attention layer gave to the residual path)."""
    torch.manual_seed(0)
    model = models.build(request.param, scale="mini").eval()
    layers = [each for name, each in model.named_modules() if name.endswith(".attn.attn")]
    assert layers  # torch's own, which the quick attention goes past
    given = []
    blocks = [
        each for name, each in model.named_modules() if name.endswith(".attn") and hasattr(each, "attn")
    ]
    for block in blocks:
        block.register_forward_hook(
            lambda _, inputs, keywords, output: given.append((output - keywords["identity"])[0]),
            with_kwargs=True,
        )
    return attention.look(model, PHOTO), given, model


def by_hand(layer, tokens):
    """(weights (heads, L, L), weights times values through the last matrix (L, C)) as the formula has it."""
    own, heads = layer.attn, layer.num_heads
    qkv = F.linear(tokens, own.in_proj_weight, own.in_proj_bias)
    q, k, v = qkv.view(len(tokens), 3, heads, -1).permute(1, 2, 0, 3)
    weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).exp()
    weights = weights / weights.sum(-1, keepdim=True)
    return weights, own.out_proj((weights @ v).transpose(0, 1).flatten(1))


def test_weights_are_the_formulas_and_give_what_the_layer_gave(looked):
    seen, given, _ = looked
    found = [*seen.encoder, *seen.decoder]
    assert len(found) == len(given)
    for each, output in zip(found, given, strict=True):
        with torch.no_grad():
            expected, answer = by_hand(*each)
        weights = each.weights(range(len(each.tokens)))
        assert np.allclose(weights.sum(-1), 1, atol=1e-5)
        assert np.allclose(weights, expected, atol=1e-5)
        assert torch.allclose(answer, output, atol=1e-5)


def test_maps_leave_out_what_is_no_patch(looked):
    seen, _, model = looked
    rows, columns = seen.grid
    assert (rows, columns, seen.patch) == (16, 9, 8) and seen.photo.shape == (128, 65, 3)
    first = int(model.backbone.with_cls_token)  # SETR-MLA has no class token
    assert {len(each.tokens) for each in seen.encoder} == {first + rows * columns}
    assert len(seen.encoder) == len(model.backbone.layers)
    weights = seen.encoder[1].weights([first + 20])
    assert np.array_equal(seen.patch_attention(1, 20), weights[:, 0, first:].reshape(-1, rows, columns))
    assert bool(seen.decoder) == (model.metadata["model"] == "segmenter_vit_t")
    for layer, each in enumerate(seen.decoder):
        assert len(each.tokens) == rows * columns + 28
        whole = each.weights(range(len(each.tokens)))[:, rows * columns + 3, : rows * columns]
        assert np.allclose(seen.class_attention(layer, 3).reshape(whole.shape), whole, atol=1e-6)


def test_label_map_and_tokens_are_those_of_inference(looked):
    seen, _, model = looked
    logits = models.upsampled_logits(model, PHOTO, "fp32", seen.photo.shape[:2])
    assert torch.allclose(seen.logits, logits, atol=1e-5)
    assert np.array_equal(seen.label_map, logits.argmax(0).numpy())
    assert {each.shape for each in seen.tokens} == {(16 * 9, model.backbone.cls_token.shape[-1])}
    assert attention.class_vectors(model).shape[0] == 28
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.backbone.layers)


class Given:
    """An attention layer with weights of our own: a class token, then patches."""

    def __init__(self, weights):
        self.tokens, self._weights = range(len(weights)), np.array([weights], np.float32)

    def weights(self, queries):
        """Those of the queries."""
        return self._weights[:, list(queries)]


def test_distance_and_places_by_hand():
    toward_class = np.full((5, 5), 0.5) * (np.arange(5) == 0)
    itself = toward_class + 0.5 * np.eye(5)
    across = toward_class + 0.5 * np.eye(5)[:, [0, 2, 1, 4, 3]]
    even = np.full((5, 5), 0.2)
    layers = [Given(each) for each in (itself, across, even)]
    seen = attention.Inside(None, 8, (2, 2), [], None, [], layers, [])
    assert seen.distance(0) == pytest.approx([0]) and seen.distance(1) == pytest.approx([1])
    assert seen.distance(2) == pytest.approx([(0 + 1 + 1 + 2**0.5) / 4])
    assert seen.apart().mean() == pytest.approx((0 + 1 + 1 + 2**0.5) / 4)
    places = [(0, 0), (0.6, 0), (0.49, 0.5), (1, 1)]
    assert [seen.patch_at(*place) for place in places] == [0, 1, 2, 3]


def test_a_convolutional_model_has_no_patches():
    with pytest.raises(ValueError, match="unet is convolutional: it has no patches to show."):
        attention.look(models.build("unet", scale="mini").eval(), PHOTO)
