"""Scores: values by hand, properties, and two other implementations on the same predictions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fashionlib.core.classes import IGNORE
from fashionlib.evaluate import metrics

TRUTH = np.array([[0, 0, 1], [1, 1, 2]], np.uint8)
PRED = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
MATRIX = np.array([[1, 1, 0], [1, 2, 0], [1, 0, 0]])  # rows = truth

label_maps = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 4))


def random_maps(shape=(40, 50), classes=6, ignored=0.1, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes - 1, shape).astype(np.uint8)  # the last class is only ever predicted
    pred = np.where(rng.random(shape) < 0.6, truth, rng.integers(0, classes, shape)).astype(np.uint8)
    truth[rng.random(shape) < ignored] = IGNORE
    return pred, truth


def test_matrix_by_hand():
    cm = metrics.confusion_matrix(PRED, TRUTH, 3)
    assert cm.dtype == np.int64
    np.testing.assert_array_equal(cm, MATRIX)


def test_scores_by_hand():
    assert metrics.aacc(MATRIX) == 3 / 6
    np.testing.assert_allclose(metrics.iou(MATRIX), [1 / 4, 2 / 4, 0])
    np.testing.assert_allclose(metrics.accuracy(MATRIX), [1 / 2, 2 / 3, 0])
    np.testing.assert_allclose(metrics.precision(MATRIX), [1 / 3, 2 / 3, np.nan])
    np.testing.assert_allclose(metrics.f1(MATRIX), [2 / 5, 4 / 6, 0])
    assert metrics.miou(MATRIX) == 0.25 == metrics.miou(MATRIX, background=False)
    # equation 1 by hand: right about class 0, 1, 2 on 3, 4 and 5 of 6 pixels
    assert math.isclose(metrics.eq1_accuracy(MATRIX), (3 + 4 + 5) / 18)


def test_absent_class_is_nan_and_left_out():
    cm = np.pad(MATRIX, (0, 2))
    np.testing.assert_array_equal(np.isnan(metrics.iou(cm)), [False, False, False, True, True])
    assert metrics.miou(cm) == metrics.miou(MATRIX)
    assert metrics.n_classes(cm) == 3
    assert math.isnan(metrics.miou(np.zeros((3, 3), int))) and math.isnan(metrics.aacc(np.zeros((3, 3), int)))


def test_ignored_pixels_are_not_counted():
    cm = metrics.confusion_matrix(np.array([0, 1, 1]), np.array([0, IGNORE, 1]), 2)
    np.testing.assert_array_equal(cm, [[1, 0], [0, 1]])
    assert metrics.confusion_matrix(np.array([0, 1]), np.array([0, 1]), 2, ignore_index=0).sum() == 1


@given(label_maps, st.integers(0, 2**32 - 1))
def test_identity_of_equation_1(target, seed):
    pred = np.random.default_rng(seed).integers(0, 5, target.shape)
    cm = metrics.confusion_matrix(pred, target, 5)
    assert cm.sum() == target.size
    assert math.isclose(metrics.eq1_accuracy(cm), 1 - 2 * (1 - metrics.aacc(cm)) / 5, abs_tol=1e-12)


@given(label_maps, label_maps)
def test_matrices_add_up_and_transpose(a, b):
    a, b = a.ravel()[: b.size], b.ravel()[: a.size]
    whole = metrics.confusion_matrix(a, b, 5)
    half = len(a) // 2
    halves = metrics.confusion_matrix(a[:half], b[:half], 5) + metrics.confusion_matrix(a[half:], b[half:], 5)
    np.testing.assert_array_equal(whole, halves)
    np.testing.assert_array_equal(whole.T, metrics.confusion_matrix(b, a, 5))
    np.testing.assert_array_equal(metrics.iou(whole), metrics.iou(whole.T))


@given(label_maps)
def test_perfect_prediction(target):
    cm = metrics.confusion_matrix(target, target, 5)
    assert metrics.aacc(cm) == metrics.miou(cm) == metrics.eq1_accuracy(cm) == 1


def test_shifted_square_has_known_iou():
    target = np.zeros((40, 40), np.uint8)
    target[10:20, 10:20] = 1
    iou = metrics.iou(metrics.confusion_matrix(np.roll(target, 5, axis=1), target, 2))[1]
    assert iou == 50 / 150


def test_exact_on_24_megapixels():
    """More pixels of one class than float32 can count (2^24)."""
    target = np.zeros((4000, 6000), np.uint8)
    pred = target.copy()
    pred[0, :7] = 1
    cm = metrics.confusion_matrix(pred, target, 28)
    assert cm[0, 0] == 24_000_000 - 7 and cm[0, 1] == 7 and cm.sum() == target.size


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 60)), max_size=30))
def test_runs_are_counted_as_their_pixels_are(runs):
    """Whatever the lengths, from noise to one value: against a count that goes pixel by pixel."""
    target, pred = (np.array([run[i] for run in runs for _ in range(run[2])], np.uint8) for i in (0, 1))
    expected = np.zeros((5, 5), int)
    np.add.at(expected, (target, pred), 1)
    np.testing.assert_array_equal(metrics.confusion_matrix(pred, target, 5), expected)


def on_gpu(labels, torch):
    """A tensor that says it lies on a GPU."""
    pretended = type("Pretended", (torch.Tensor,), {"is_cuda": True})
    return torch.as_tensor(labels).as_subclass(pretended)


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_tensors_on_a_gpu_are_counted_there(kind):
    torch = pytest.importorskip("torch")
    pred, target = random_maps()
    expected = metrics.confusion_matrix(pred, target, 6)
    for truth in (target, torch.as_tensor(target.astype(int))):
        cm = metrics.confusion_matrix(on_gpu(pred.astype(kind), torch), truth, 6)
        assert cm.dtype == np.int64
        np.testing.assert_array_equal(cm, expected)


def test_agrees_with_mmsegmentation():
    torch = pytest.importorskip("torch")
    IoUMetric = pytest.importorskip("mmseg.evaluation.metrics.iou_metric").IoUMetric
    pred, target = random_maps()
    intersect, union, predicted, truth = (
        area.numpy().astype(float)
        for area in IoUMetric.intersect_and_union(torch.tensor(pred), torch.tensor(target), 6, IGNORE)
    )
    cm = metrics.confusion_matrix(pred, target, 6)
    np.testing.assert_array_equal(metrics.class_counts(cm), [intersect, truth, predicted])
    np.testing.assert_allclose(metrics.iou(cm), intersect / union, atol=1e-6)
    assert abs(metrics.aacc(cm) - intersect.sum() / truth.sum()) < 1e-6
    assert abs(metrics.miou(cm) - np.mean(intersect / union)) < 1e-6
    assert abs(metrics.macc(cm) - np.nanmean(intersect / truth)) < 1e-6


def test_agrees_with_torchmetrics():
    torch = pytest.importorskip("torch")
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    pred, target = random_maps(classes=5, seed=1)
    both = torch.tensor(pred).long(), torch.tensor(target).long()
    cm = metrics.confusion_matrix(pred, target, 5)
    options = dict(num_classes=5, ignore_index=IGNORE)
    np.testing.assert_array_equal(cm, torchmetrics.multiclass_confusion_matrix(*both, **options))
    iou = torchmetrics.multiclass_jaccard_index(*both, average=None, **options)
    np.testing.assert_allclose(metrics.iou(cm), iou, atol=1e-6)
    assert abs(metrics.miou(cm) - float(iou.mean())) < 1e-6
    micro = torchmetrics.multiclass_accuracy(*both, average="micro", **options)
    assert abs(metrics.aacc(cm) - float(micro)) < 1e-6
    f1 = torchmetrics.multiclass_f1_score(*both, average=None, **options)
    np.testing.assert_allclose(metrics.f1(cm), f1, atol=1e-6)


def test_bootstrap_interval():
    photos = [metrics.confusion_matrix(*random_maps((12, 12), seed=s), 6) for s in range(30)]
    counts = np.stack([metrics.class_counts(cm) for cm in photos])
    low, high = metrics.bootstrap_miou(counts, seed=3)
    assert (low, high) == metrics.bootstrap_miou(counts, seed=3)
    assert low < metrics.miou(sum(photos)) < high
    narrow = metrics.bootstrap_miou(counts, level=0.5, seed=3)
    assert low < narrow[0] < narrow[1] < high
    # redrawing the same photo again and again changes nothing
    assert metrics.bootstrap_miou(counts[:1]) == pytest.approx([metrics.miou(photos[0])] * 2)


# ---------------------------------------------------------------- what mutants lived through

SENTENCES = [
    ([[0]], [[0, 1]], "The prediction is (1, 1) and the label map (1, 2): predict at the photo's size."),
    ([3], [0], "The prediction has 1 pixels of value 3, but the 3 classes are 0 … 2."),
    ([0], [7], "The label map has 1 pixels of value 7, but the 3 classes are 0 … 2 (and 255: ignored)."),
    ([0], [-1], "The label map has values -1 … -1: label values lie in 0 … 255."),
    ([256], [0], "The prediction has values 256 … 256: label values lie in 0 … 255."),
    ([0.5], [0], "The prediction is {}float64: give whole class numbers, not scores or a mask."),
    ([0], [0.5], "The label map is {}float64: give whole class numbers, not scores or a mask."),
]


@pytest.mark.parametrize("where", ["cpu", "gpu"])
@pytest.mark.parametrize(("pred", "target", "sentence"), SENTENCES)
def test_sentences_to_the_letter(pred, target, sentence, where):
    torch, pred = pytest.importorskip("torch"), np.array(pred)
    with pytest.raises(ValueError) as error:
        metrics.confusion_matrix(on_gpu(pred, torch) if where == "gpu" else pred, np.array(target), 3)
    assert str(error.value) == sentence.format("torch." if where == "gpu" else "")


def test_what_lies_on_a_gpu_is_counted_by_nobody_else(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(metrics, "_counts", lambda *_: pytest.fail("counted on the CPU"))
    assert metrics.confusion_matrix(on_gpu([0, 1], torch), np.array([0, 1]), 2).tolist() == [[1, 0], [0, 1]]


def test_one_map_may_change_at_every_pixel_while_the_other_stays():
    stripes, plain = np.array([0, 1] * 50), np.zeros(100, int)
    assert metrics.confusion_matrix(plain, stripes, 2).tolist() == [[50, 0], [50, 0]]
    assert metrics.confusion_matrix(stripes, plain, 2).tolist() == [[50, 50], [0, 0]]


def test_background_everywhere_and_means_without_it():
    floor = metrics.background_everywhere(MATRIX)
    assert floor.tolist() == [[2, 0, 0], [3, 0, 0], [1, 0, 0]]
    assert metrics.aacc(floor) == 2 / 6 and metrics.miou(floor) == (2 / 6 + 0 + 0) / 3
    cm = np.array([[3, 1], [0, 2]])
    assert metrics.miou(cm) == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert metrics.miou(cm, background=False) == pytest.approx(2 / 3)


def test_apparel_and_person_by_hand():
    names = ["background", "hair", "skin", "dress"]
    cm = np.array([[5, 2, 0, 1], [0, 3, 0, 0], [0, 0, 4, 0], [2, 0, 0, 6]])
    assert metrics.apparel_iou(cm, names) == 6 / (6 + 1 + 2)
    assert metrics.person_iou(cm, names) == (3 + 4 + 6) / (3 + 4 + 6 + 2 + 1 + 2)
    assert metrics.person_iou(np.array([[1, 0], [1, 2]]), ["hair", "skin"]) == 2 / 3  # nothing but a person
    assert metrics.binary_iou(cm, [3]) == metrics.iou(cm)[3]
    assert math.isnan(metrics.person_iou(cm, ["background", "hat", "shoe", "dress"]))


def test_empty_classes_divide_nothing():
    with np.errstate(all="raise"):
        assert np.isnan(metrics.iou(np.zeros((2, 2), int))).all()


def test_bootstrap_takes_the_quantiles_of_redraws():
    maps = [random_maps((6, 6), seed=seed) for seed in range(20)]
    photos = np.stack([metrics.class_counts(metrics.confusion_matrix(*pair, 6)) for pair in maps])
    assert metrics.bootstrap_miou(photos) == metrics.bootstrap_miou(photos, n=1000, seed=0, level=0.95)
    rng = np.random.default_rng(9)
    redrawn = photos[rng.integers(0, 20, (4000, 20))].sum(axis=1)  # (4000, 3, 6)
    intersect, truth, predicted = np.moveaxis(redrawn, 1, 0).astype(float)
    mious = np.nanmean(intersect / (truth + predicted - intersect), axis=1)
    low, high = metrics.bootstrap_miou(photos, n=4000, level=0.5)
    assert abs(np.mean(mious < low) - 0.25) < 0.04 and abs(np.mean(mious < high) - 0.75) < 0.04
