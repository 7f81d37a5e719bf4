"""Less memory, the same gradients: counted and compared."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from fashionlib import models, train
from fashionlib.train.memory import SavedTensors, fixed_bytes


def batch(n, size=128):
    g = torch.Generator().manual_seed(0)
    label = torch.randint(0, 28, (n, 1, size, size), generator=g)
    label[0, :, : size // 2] = 255  # one photo is half ignored: a divisor of counted pixels would differ
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in label]
    return torch.randn(n, 3, size, size, generator=g), samples


def gradients(model, micro, x, samples):
    """Gradients of a step in micro-batches of `micro`, as the optimiser wrapper accumulates them."""
    model.zero_grad()
    for i in range(0, len(x), micro):
        loss, _ = model.parse_losses(model.loss(x[i : i + micro], samples[i : i + micro]))
        (loss * micro / len(x)).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def without_drop_path(model):
    for module in model.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    return model


def test_saved_tensors_are_counted_once_and_let_go():
    layer = torch.nn.Linear(8, 8, bias=False)
    x = torch.randn(4, 8, requires_grad=True)
    with SavedTensors(layer) as saved:
        y = layer(x)  # keeps x (128 bytes) and its own weight
        z = y * y  # keeps y once though twice named
        w = z.sum() + layer(x).sum()  # keeps x again
    assert saved.live == saved.peak == 2 * 128
    w.backward()
    assert saved.live == 0 and saved.peak == 2 * 128


def test_recomputed_layers_count_while_they_are_there():
    peaks, lives = {}, {}
    x, samples = batch(1)
    for memory in ("auto", "lean"):
        model = models.build("segmenter_vit_t", scale="mini", activation_checkpointing=memory == "lean")
        with SavedTensors(model) as saved:
            loss, _ = model.parse_losses(model.loss(x, samples))
            lives[memory] = saved.live
            loss.backward()
        peaks[memory] = saved.peak
    assert peaks["auto"] == lives["auto"]
    assert lives["lean"] < peaks["lean"] < lives["auto"] / 2  # one layer comes back at a time


def test_fixed_bytes():
    layer = torch.nn.Linear(10, 10)
    assert fixed_bytes(layer, "SGD") == 110 * 4 * 3 and fixed_bytes(layer, "AdamW") == 110 * 4 * 4


@pytest.mark.parametrize("name", ["segmenter_vit_t", "setr_pup"])
def test_lean_gradients_are_the_same_with_drop_path_drawn_alike(name):
    x, samples = batch(2)
    found = []
    for memory in ("auto", "lean"):
        torch.manual_seed(0)
        model = models.build(name, scale="mini", activation_checkpointing=memory == "lean")
        torch.manual_seed(1)
        found.append(gradients(model, 2, x, samples))
    assert found[0].keys() == found[1].keys()
    assert all(torch.allclose(found[0][key], found[1][key], rtol=1e-4, atol=1e-6) for key in found[0])


@pytest.mark.parametrize("micro", [1, 2])
def test_micro_batches_add_up_to_the_large_batchs_gradients(micro):
    """No batch norm in a Segmenter; ignored pixels are spread unevenly and the divisor is all pixels."""
    x, samples = batch(4)
    model = without_drop_path(models.build("segmenter_vit_t", scale="mini"))
    large, small = gradients(model, 4, x, samples), gradients(model, micro, x, samples)
    assert all(torch.allclose(small[key], large[key], rtol=1e-4, atol=1e-7) for key in large)


def test_batch_norm_is_the_exception():
    """SETR's heads normalise over a micro-batch: that alone differs, and is gone with fixed statistics."""
    x, samples = batch(2)
    torch.manual_seed(0)
    model = without_drop_path(models.build("setr_naive", scale="mini"))
    key = "decode_head.up_convs.0.0.conv.weight"
    training = [gradients(model, micro, x, samples)[key] for micro in (2, 1)]
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    still = [gradients(model, micro, x, samples)[key] for micro in (2, 1)]
    assert not torch.allclose(*training, rtol=1e-2) and torch.allclose(*still, rtol=1e-3, atol=1e-6)


def test_augmentation_does_not_know_the_micro_batch(prepared):
    """The same photos, cropped and flipped alike, whether a step's photos come in one batch or in four."""
    from mmengine.runner import Runner

    seen = []
    for accumulate in (1, 4):
        recipe = train.Recipe.from_preset(
            "quick", model="segmenter_vit_t", data="tiny", scale="mini", batch=4, workers=0,
            accumulate=accumulate,
        )  # fmt: skip
        loader = Runner.build_dataloader(train.job.loader(recipe, str(prepared)))
        seen.append([photo for some in loader for photo in some["inputs"]][:8])
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))
