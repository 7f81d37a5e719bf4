"""Weights rounded to int8: off by at most half a step."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from fashionlib.models.weight_files import SCALE, unpacked
from tools.cutout_model.average import packed


@given(st.integers(0, 2**32 - 1), st.sampled_from([(7, 5), (4, 3, 3, 3), (1, 9, 6), (8,), (6, 1, 1, 1)]))
def test_a_packed_tensor_is_off_by_at_most_half_a_step(seed, shape):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    stored = packed({"w": tensor})
    step = tensor.abs().flatten(1).amax(1) / 127 if "w" + SCALE in stored else torch.full(shape[:1], 2e-3)
    error = (unpacked(stored)["w"] - tensor).abs().reshape(shape[0], -1).amax(1)
    # half a step, and what fp16 rounds of the scale, which grows to 127 times 2^-11 of a step
    assert (error <= 0.57 * step + 1e-8).all()
    assert unpacked(stored)["w"].dtype == torch.float32


def test_zeros_and_counters_survive_packing():
    state = {"w": torch.zeros(3, 4), "n": torch.tensor(7)}
    restored = unpacked(packed(state))
    assert torch.equal(restored["w"], state["w"]) and torch.equal(restored["n"], state["n"])
