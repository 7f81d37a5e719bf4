"""The classical ways: they solve what is easy, and the same photo gives the same mask."""

import numpy as np
import pytest

from fashionlib.cutout import baselines


@pytest.fixture
def easy() -> tuple[np.ndarray, np.ndarray]:
    """A red figure in the middle of a pale, slightly noisy ground, and its mask."""
    rgb = np.random.default_rng(0).normal((225, 230, 235), 3, (120, 90, 3))
    mask = np.zeros((120, 90), bool)
    mask[15:105, 30:60] = True
    rgb[mask] = np.random.default_rng(1).normal((180, 30, 40), 5, (mask.sum(), 3))
    return rgb.clip(0, 255).astype(np.uint8), mask


@pytest.mark.parametrize("function", [baselines.grabcut, baselines.threshold])
def test_classical_ways_solve_an_easy_photo(function, easy):
    rgb, mask = easy
    before = rgb.copy()
    found = function(rgb)
    assert found.dtype == bool
    assert (found & mask).sum() / (found | mask).sum() > 0.98
    assert np.array_equal(function(rgb), found), "the same photo, another mask"
    assert np.array_equal(rgb, before)


def test_a_photo_of_one_colour_has_nothing_that_differs_from_its_border():
    assert not baselines.threshold(np.full((30, 20, 3), 77, np.uint8)).any()
