"""Paired comparisons: known cases, coverage, and scipy's bootstrap on the same statistic."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fashionlib.core.classes import CLASSES
from fashionlib.evaluate import compare, metrics

NAMES = CLASSES[:4]


def draw(rng, seeds=4, photos=40, gap=0.0, seed_sd=0.0) -> np.ndarray:
    """(2, S, P, 3, C) counts; A finds `gap` more of each class than B, some photos are hard for both."""
    truth = rng.poisson(rng.choice([0, 50, 400], (photos, 4)) + [500, 0, 0, 0])
    share = np.linspace(0.9, 0.5, 4) + np.array([gap, 0]).reshape(2, 1, 1, 1)
    share = share + rng.normal(0, seed_sd, (2, seeds, 1, 1)) + rng.normal(0, 0.1, (photos, 4))
    share = share + rng.normal(0, 0.1, (2, 1, photos, 4))
    found = np.round(truth * share.clip(0, 1)).astype(int)
    predicted = found + np.roll(truth - found, 1, axis=-1)
    return np.stack([found, np.broadcast_to(truth, found.shape), predicted], axis=-2)


def frame(table: np.ndarray) -> pd.DataFrame:
    """Rows, as `areas.put` writes them, of counts (P, 3, C)."""
    photo, value = np.nonzero(table.any(axis=1))
    columns = dict(zip(("intersection", "truth", "prediction"), table[photo, :, value].T, strict=True))
    names = np.array(NAMES, object)[value]
    return pd.DataFrame({"photo": [f"{i:04d}" for i in photo], "class": names} | columns)


def arms(table: np.ndarray) -> list[compare.Arm]:
    return [{seed: frame(run) for seed, run in enumerate(arm)} for arm in table]


def difference(table, measure="mIoU", n=500, **more):
    return compare.difference(*arms(table), measure, NAMES, n=n, **more)


def test_counts_come_back_in_any_order_of_rows():
    table = draw(np.random.default_rng(0))
    a, b = arms(table)
    a = {seed: rows.sample(frac=1, random_state=seed) for seed, rows in reversed(a.items())}
    np.testing.assert_array_equal(compare.paired(a, b, NAMES), table)
    assert compare.paired(a, b | {9: b[0]}, NAMES).shape[1] == 4  # a seed that only one arm has is left out


@pytest.mark.parametrize("measure", compare.MEASURES)
def test_identical_arms_are_a_tie(measure):
    table = draw(np.random.default_rng(1), seed_sd=0.05)
    found = difference(table[[0, 0]], measure)
    assert found.verdict == "tie" and found.p == 1 and found.p_better == 0.5
    assert found.a == found.b and found.difference == found.low == found.high == found.se == 0


def test_a_plain_difference_is_told():
    found = difference(draw(np.random.default_rng(2), seeds=6, gap=0.2))
    assert found.verdict == "A better" and 0 < found.low < found.difference < found.high
    assert found.p == found.p_floor == 2 / 64 and found.p_better == 1
    assert (found.seeds, found.photos) == (6, 40)
    assert math.isclose(found.detectable, 2.8016 * found.se, rel_tol=1e-4) and found.detectable < 0.2
    assert found.row()["verdict"] == "A better"


def test_scores_are_the_means_over_seeds_of_table_1s():
    table = draw(np.random.default_rng(3), seed_sd=0.05)
    found = difference(table)
    of_seeds = [metrics.iou_of(run.sum(axis=0)).mean() for run in table[0]]
    assert math.isclose(found.a, np.mean(of_seeds)) and math.isclose(found.difference, found.a - found.b)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from(compare.MEASURES))
def test_swapped_arms_negate_everything(seed, seeds, measure):
    table = draw(np.random.default_rng(seed), seeds, gap=0.03, seed_sd=0.03)
    ab, ba = difference(table, measure), difference(table[::-1], measure)
    opposite = {"A better": "B better", "B better": "A better", "tie": "tie"}
    assert ab.verdict == opposite[ba.verdict] and ab.p == ba.p and (ab.a, ab.b) == (ba.b, ba.a)
    of_ab = [ab.difference, ab.low, ab.high, ab.p_better, ab.se]
    of_ba = [-ba.difference, -ba.high, -ba.low, 1 - ba.p_better, ba.se]
    np.testing.assert_allclose(of_ab, of_ba, atol=1e-9)


def test_measures_from_counts_equal_those_of_the_confusion_matrix():
    cm = np.random.default_rng(4).integers(0, 99, (28, 28))
    total = metrics.class_counts(cm)
    expected = metrics.miou(cm), metrics.miou(cm, False), metrics.aacc(cm), metrics.apparel_iou(cm, CLASSES)
    np.testing.assert_allclose([compare.score(total, name) for name in compare.MEASURES], expected)
    some = [CLASSES[3], CLASSES[20]]
    np.testing.assert_allclose(
        compare.score(total, "two", groups={"two": some}), metrics.iou(cm)[[3, 20]].mean()
    )


def test_thirds_by_pixels_without_background_and_unseen_classes():
    pixels = pd.Series({name: 100 - i for i, name in enumerate(CLASSES)}).drop(CLASSES[1])
    thirds = compare.thirds(pixels)
    assert [len(part) for part in thirds.values()] == [9, 9, 8]
    assert thirds["mIoU common"] == list(CLASSES[9:1:-1]) and thirds["mIoU rare"][0] == CLASSES[27]


@pytest.mark.parametrize("seed_sd", [0, 0.02])
def test_the_interval_covers_the_truth(seed_sd):
    rng = np.random.default_rng(5)
    large = draw(rng, seeds=40, photos=4000, gap=0.05)
    truth = -np.diff(compare.score(large.sum(axis=2), "mIoU", NAMES).mean(axis=1))[0]
    told = [difference(draw(rng, 4, 40, 0.05, seed_sd), n=400, rng=i) for i in range(200)]
    assert 0.88 <= np.mean([found.low <= truth <= found.high for found in told]) <= 0.99
    spread = np.std([found.difference for found in told])
    assert math.isclose(np.mean([found.se for found in told]), spread, rel_tol=0.2)


def test_one_seed_equals_scipys_bootstrap_of_photos():
    table = draw(np.random.default_rng(6), seeds=1, gap=0.03)

    def statistic(photos, axis):
        total = table[:, 0, photos].sum(axis=-3)
        return np.subtract(*compare.score(total, "mIoU", NAMES))

    theirs = stats.bootstrap((np.arange(40),), statistic, n_resamples=8000, method="BCa", rng=1)
    ours = difference(table, n=8000)
    interval = theirs.confidence_interval
    np.testing.assert_allclose([ours.low, ours.high], interval, atol=0.1 * ours.se)
    assert math.isclose(ours.se, theirs.standard_error, rel_tol=0.05) and ours.p == 1 == ours.p_floor


def test_levels_equal_scipys_for_two_skewed_samples():
    rng = np.random.default_rng(7)
    x, y = rng.exponential(1, 12), rng.exponential(3, 5)
    theirs = stats.bootstrap(
        (x, y), lambda x, y, axis: x.mean(axis) - y.mean(axis), n_resamples=999, method="BCa", rng=1
    )
    left_out = [(x.sum() - x) / 11 - y.mean(), x.mean() - (y.sum() - y) / 4]
    redraws = theirs.bootstrap_distribution
    levels = compare._bca_levels(x.mean() - y.mean(), redraws, left_out)
    np.testing.assert_allclose(np.quantile(redraws, levels), theirs.confidence_interval)


@settings(deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=2, max_size=7))
def test_sign_flips_equal_scipys_permutations(differences):
    values = np.array(differences) / 64
    theirs = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert math.isclose(compare.sign_flip(values), theirs.pvalue)
    assert compare.sign_flip(values[:1]) == 1
    assert compare.sign_flip(values) >= 2 / 2 ** len(values)


def test_sums_that_differ_by_rounding_are_ties():
    assert compare.sign_flip(np.array([0.1, 0.2, -0.3])) == 1


def test_irregularity_and_its_difference():
    assert math.isclose(compare.irregularity([0.1, 0.3, 0.2]), 0.15)
    smooth = {seed: np.linspace(0, 0.4, 8) + 0.001 * seed for seed in range(6)}
    rough = {seed: curve + (0.05 + 0.01 * seed) * (np.arange(8) % 2) for seed, curve in smooth.items()}
    found = compare.curves(rough, smooth)
    assert found.verdict == "A rougher" and found.p == 2 / 64 and found.photos == 0
    apart = [compare.irregularity(rough[seed]) - compare.irregularity(smooth[seed]) for seed in range(6)]
    interval = stats.ttest_1samp(apart, 0).confidence_interval()
    np.testing.assert_allclose([found.low, found.high], interval, rtol=1e-2)
    assert compare.curves(smooth, smooth).verdict == "tie"
    one = compare.curves({0: rough[0]}, smooth)
    assert one.verdict == "untested" and (one.seeds, one.p) == (1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: ({0: a[0]}, {1: b[1]}), "No seed in common"),
        (lambda a, b: (a, {0: b[0][b[0].photo != "0003"]}), "Arm B, seed 0: photo 0003 is missing"),
        (lambda a, b: (a, {0: b[0].assign(truth=b[0].truth + 1)}), "its true pixels are not"),
        (lambda a, b: (a, {0: pd.concat([b[0], b[0]])}), "rows of one epoch"),
        (lambda a, b: (a, {0: b[0].replace("0003", "9999")}), "Photo 9999 or class 'background'"),
    ],
)
def test_arms_that_cannot_be_paired(change, message):
    a, b = change(*arms(draw(np.random.default_rng(8), seeds=2)))
    with pytest.raises(ValueError, match=message):
        compare.difference(a, b, classes=NAMES)


def test_measures_that_cannot_be_told():
    table = draw(np.random.default_rng(9), seeds=1)
    with pytest.raises(ValueError, match="Did you mean 'mIoU'"):
        difference(table, "mIou")
    with pytest.raises(ValueError, match="No class of the measure 'none'"):
        difference(table, "none", groups={"none": []})
    with pytest.raises(ValueError, match="hair and skin"):
        compare.score(table.sum(axis=2), "apparel IoU", ("background", "top", "hair", "skin"))


def test_a_class_of_one_photo_may_be_missing_from_redraws():
    table = draw(np.random.default_rng(10), seeds=2)
    table[:, :, :, :, 3] = 0
    table[:, :, 0, :, 3] = [5, 9, 9]  # intersection, truth, prediction
    table[0, :, 0, 0, 3] = 7
    found = difference(table, "one", groups={"one": [NAMES[3]]})
    assert found.verdict == "A better"
    assert all(math.isfinite(value) for value in dataclasses.astuple(found)[1:])
