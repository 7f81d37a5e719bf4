"""Kinds of wrong pixels by hand, and label maps from outside scored as ours are."""

import io

import fake_runs
import numpy as np
import pandas as pd
import pytest
from fake_runs import DATA, HEIGHT, NAMES, WIDTH, make_data, make_run
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from fashionlib import evaluate
from fashionlib.core.classes import IGNORE
from fashionlib.evaluate import areas
from fashionlib.evaluate.score import ERRORS, error_split
from fashionlib.evaluate.split import Split

PHOTOS = [f"{i:04}" for i in range(10, 15)]
# a boundary between the third and the fourth column: at 6 x 6 those two are the edge band
TRUTH = np.repeat([[0, 0, 0, 1, 1, 1]], 6, axis=0).astype(np.uint8)


def split_of(pred: dict, truth=TRUTH) -> dict:
    """`error_split` of the truth with other answers {(row, column): value}, by name."""
    answer = truth.copy()
    for at, value in pred.items():
        answer[at] = value
    return dict(zip(ERRORS, error_split(answer, truth).tolist(), strict=True))


def test_errors_by_hand():
    nothing = dict.fromkeys(ERRORS, 0)
    assert split_of({}) == nothing
    assert split_of({(3, 2): 1, (4, 3): 0, (5, 3): 2}) == nothing | {"edge": 3}
    assert split_of({(0, 0): 1, (5, 1): 2}) == nothing | {"invented": 2}
    assert split_of({(1, 5): 0}) == nothing | {"missed": 1}
    assert split_of({(2, 4): 2, (2, 5): 27}) == nothing | {"wrong_class": 2}
    together = {(0, 2): 2, (0, 0): 1, (1, 5): 0, (2, 5): 2}
    assert split_of(together) == {"edge": 1, "wrong_class": 1, "missed": 1, "invented": 1}


def test_diagonal_neighbours_are_an_edge_and_ignored_pixels_are_no_errors():
    spot = np.zeros((6, 6), np.uint8)
    spot[0, 0] = IGNORE
    assert split_of({(0, 0): 1, (1, 1): 1, (2, 2): 1}, spot) == dict(zip(ERRORS, (1, 0, 0, 1), strict=True))


@pytest.mark.parametrize("side, band", [(6, 1), (149, 1), (150, 2), (550, 6)])
def test_the_band_is_a_share_of_the_short_side(side, band):
    truth = np.zeros((side, 600), np.uint8)
    truth[:, 300:] = 1
    missed_everywhere = error_split(np.zeros_like(truth), truth)
    assert missed_everywhere.tolist() == [side * band, 0, side * (300 - band), 0]


maps = arrays(np.uint8, (6, 6), elements=st.integers(0, 3))


@given(maps, maps, arrays(bool, (6, 6)))
def test_every_wrong_pixel_is_of_one_kind(pred, truth, ignored):
    truth = np.where(ignored, IGNORE, truth).astype(np.uint8)
    assert error_split(pred, truth).sum() == np.count_nonzero((pred != truth) & ~ignored)


@pytest.fixture
def home(tmp_path, monkeypatch):
    make_data(tmp_path)
    make_run(tmp_path, qualities=(0.3, 0.6))
    fake_runs.fake_models(monkeypatch)
    evaluate.validate(DATA, home=tmp_path, progress=False)
    evaluate.pick_epochs(DATA, home=tmp_path)
    return tmp_path


def as_png(labels) -> bytes:
    """A label map as another tool saves it."""
    stream = io.BytesIO()
    Image.fromarray(labels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def predictions(home):
    """What the fake checkpoint of quality 0.6 says of the test photos, saved as PNGs."""
    folder = home / "theirs"
    folder.mkdir()
    for photo in PHOTOS:
        label = fake_runs.label_map(int(photo))
        label[label == IGNORE] = 0
        label[:, round(0.6 * WIDTH) :] = 0
        (folder / f"{photo}.png").write_bytes(as_png(label))
    return folder


def test_a_checkpoints_own_answers_from_outside_have_its_scores(home, predictions):
    mine = evaluate.test(DATA, home=home, progress=False).iloc[0]
    row = evaluate.test_predictions(DATA, predictions, home).iloc[0]
    assert (row.run, row.title) == ("predictions-theirs", "your predictions: theirs")
    scores = [name for name in mine.index.intersection(row.index) if mine[name] != ""]
    scores = [name for name in scores if name not in ("run", "epoch", "parameters", "seconds_per_photo")]
    assert {"aAcc", "mAcc", "mIoU", "mIoU_low", "mIoU_high", "apparel_IoU", "eq1_accuracy"} <= set(scores)
    pd.testing.assert_series_equal(row[scores].astype(object), mine[scores].astype(object), check_names=False)
    results = home / "runs" / DATA / "results"
    errors = pd.read_csv(results / "errors.csv").iloc[0]
    same = [*ERRORS, "IoU_rare", "IoU_middle", "IoU_common"]
    assert row[same].astype(float).tolist() == pytest.approx(errors[same].astype(float).tolist(), rel=1e-5)
    pixels = [
        areas.of_epoch(areas.path(results, run), "test", epoch).drop(columns="epoch").reset_index(drop=True)
        for run, epoch in ((row.run, 0), (mine.run, 2))
    ]
    pd.testing.assert_frame_equal(*pixels)


def test_errors_are_those_of_all_photos_and_are_made_again_where_they_are_missing(home):
    evaluate.test(DATA, home=home, progress=False)
    file = home / "runs" / DATA / "results" / "errors.csv"
    written, expected = file.read_text(), np.zeros(len(ERRORS), int)
    for photo in PHOTOS:
        truth = Split.read(DATA, "test", home).load(photo)[1]
        pred = np.where(truth == IGNORE, 0, truth).astype(np.uint8)
        pred[:, round(0.6 * WIDTH) :] = 0
        expected += error_split(pred, truth)
    assert pd.read_csv(file)[list(ERRORS)].iloc[0].tolist() == expected.tolist()
    file.unlink()  # results of an older version
    evaluate.test(DATA, home=home, progress=False)
    assert file.read_text() == written


GOOD = np.zeros((HEIGHT, WIDTH), np.uint8)
REFUSED = [
    (None, FileNotFoundError, r"is missing: give a label map, <photo>\.png, for each of the 5 photos\.$"),
    (
        b"",
        ValueError,
        r"can't be decoded \(it is no image\): save it as a PNG whose pixels are class numbers\.$",
    ),
    (as_png(GOOD)[:60], ValueError, r"can't be decoded \(.*\): save it"),
    (as_png(np.zeros((HEIGHT, WIDTH, 3), np.uint8)), ValueError, r"image of the kind 'RGB', and a label map"),
    (as_png(GOOD.astype(np.uint16)), ValueError, r"image of the kind 'I;16"),
    (as_png(GOOD[:-1]), ValueError, r"The prediction is \(47, 40\) and the label map \(48, 40\)"),
    (
        as_png(GOOD + np.uint8(len(NAMES))),
        ValueError,
        r"The prediction has 1920 pixels of value 30, but the 30",
    ),
    (as_png(GOOD + np.uint8(IGNORE)), ValueError, "The prediction has 1920 pixels of value 255"),
]


OF_WHAT = ("missing", "empty", "torn", "colours", "16 bits", "size", "no class", "ignored")


@pytest.mark.parametrize("content, kind, sentence", REFUSED, ids=OF_WHAT)
def test_predictions_that_cannot_be_scored_are_named(home, predictions, content, kind, sentence):
    file = predictions / "0013.png"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(kind, match=sentence) as refused:
        evaluate.test_predictions(DATA, predictions, home)
    assert str(refused.value).startswith(str(file)) and "\n" not in str(refused.value)
    assert not (home / "runs" / DATA / "results" / "others.csv").exists()
    with pytest.raises(FileNotFoundError, match=r"nowhere/0010\.png is missing"):
        evaluate.test_predictions(DATA, home / "nowhere", home)
