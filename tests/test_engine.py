"""What we put in the engine's place says the same as the engine."""

import pytest
import torch
from mmseg.models.decode_heads import decode_head
from mmseg.models.losses import accuracy

from fashionlib import engine


@pytest.mark.parametrize("seed", range(5))
def test_pixel_accuracy_is_mmsegs(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 28, 17, 13, generator=generator)
    target = torch.randint(0, 28, (2, 17, 13), generator=generator)
    target[0, :5] = 255
    target[1, 3:9] = logits.argmax(1)[1, 3:9]  # some right
    ours, theirs = (
        engine.pixel_accuracy(logits, target, ignore_index=255),
        accuracy(logits, target, ignore_index=255),
    )
    assert torch.allclose(ours, theirs) and ours.shape == theirs.shape


def test_nothing_to_count_is_zero():
    nothing = engine.pixel_accuracy(torch.randn(1, 3, 2, 2), torch.full((1, 2, 2), 255))
    assert nothing.item() == 0


def test_every_head_uses_it():
    assert decode_head.accuracy is engine.pixel_accuracy
