"""Rival garments: a dress, or a top and a skirt, never both in one place."""

import numpy as np

from fashionlib.core.classes import CLASSES
from fashionlib.cutout import conflicts, segment

DRESS, SKIRT, PANTS = (CLASSES.index(name) for name in ("dress", "skirt", "pants"))
TOP = CLASSES.index("top, t-shirt, sweatshirt")


def scores(upper: dict, lower: dict, size=(60, 40)) -> np.ndarray:
    """Background everywhere but in two halves of a garment, with these probabilities."""
    p = np.zeros((len(CLASSES), *size), np.float32)
    for rows, known in ((slice(10, 30), upper), (slice(30, 50), lower)):
        for value, share in known.items():
            p[value, rows, 10:30] = share
    p[0] = 1 - p.sum(axis=0)
    return p


def labels(p) -> set[int]:
    return set(np.unique(p.argmax(axis=0))) - {0}


def test_half_a_dress_is_a_dress():
    before = scores({DRESS: 0.4, TOP: 0.5}, {DRESS: 0.8, SKIRT: 0.1})
    before[SKIRT, 40:50, 10:30], before[DRESS, 40:50, 10:30] = 0.5, 0.4  # the hem looks like a skirt
    original = before.copy()
    after, count = conflicts.resolve_conflicts(before, CLASSES)
    assert count == 1 and labels(before) == {DRESS, SKIRT, TOP} and labels(after) == {DRESS}
    assert np.array_equal(before, original)  # left as it was
    np.testing.assert_allclose(after.sum(axis=0), before.sum(axis=0), atol=1e-6)
    choice = segment.wanted(CLASSES)
    assert np.array_equal(*(segment.keep_probability(p, choice, (60, 40)) >= 0.5 for p in (before, after)))


def test_top_and_skirt_take_a_patch_of_dress():
    before = scores({TOP: 0.8, DRESS: 0.1}, {SKIRT: 0.7, DRESS: 0.2})
    before[:, 25:30, 10:30] = scores({DRESS: 0.6, TOP: 0.3}, {})[:, 25:30, 10:30]
    after, count = conflicts.resolve_conflicts(before, CLASSES)
    assert count == 1 and labels(after) == {TOP, SKIRT}
    assert (after[TOP, 25:30, 10:30] > 0.85).all()


def test_what_is_no_conflict_stays():
    for upper, lower in [
        ({DRESS: 0.9}, {DRESS: 0.9}),
        ({TOP: 0.9}, {SKIRT: 0.9}),
        ({TOP: 0.9}, {DRESS: 0.9}),
        ({TOP: 0.9}, {PANTS: 0.6, SKIRT: 0.3}),
    ]:
        p = scores(upper, lower)
        after, count = conflicts.resolve_conflicts(p, CLASSES)
        assert count == 0 and after is p
    assert (
        conflicts.resolve_conflicts(scores({TOP: 0.9}, {SKIRT: 0.9})[:SKIRT], CLASSES[:SKIRT])[1] == 0
    )  # knows no dress


def test_two_people_are_two_regions():
    left = scores({TOP: 0.5, DRESS: 0.4}, {DRESS: 0.5, SKIRT: 0.4})
    left[:, 40:50] = scores({}, {SKIRT: 0.5, DRESS: 0.45})[:, 40:50]
    right = scores({TOP: 0.9}, {SKIRT: 0.9})
    after, count = conflicts.resolve_conflicts(np.concatenate([left, right], axis=2), CLASSES)
    assert count == 1 and labels(after[..., 40:]) == {TOP, SKIRT}
