"""Scores of cut-outs: known outlines, known masks, known intervals."""

import pickle
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from fake_runs import DATA, NAMES, make_data
from PIL import Image
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from fashionlib.core.classes import CLASS_SETS
from fashionlib.cutout import about, baselines, photos
from fashionlib.evaluate.split import Split
from tools.cutout_model import score
from tools.cutout_model.__main__ import main
from tools.cutout_model.score import measure, methods, page, timing
from tools.cutout_model.score.measure import boundary, boundary_f


def square(shift: int = 0) -> np.ndarray:
    """20 x 20 pixels in a photo of 40 x 60, `shift` pixels to the right."""
    mask = np.zeros((40, 60), bool)
    mask[10:30, 10 + shift : 30 + shift] = True
    return mask


# boundary F ------------------------------------------------------------------------------------------------


# Shifted by 4, of the left side's 20 pixels the 4 at either end are near the other's upper or lower side, of
# the right side's none; the upper and lower sides lie on each other but for what sticks out by over 3 pixels.
SHIFTED = {0: 1, 1: 1, 2: 1, 3: 1, 4: (76 - 12 - 20) / 76, 5: (76 - 12 - 20 - 2) / 76}


@pytest.mark.parametrize(("shift", "f"), SHIFTED.items())
def test_boundary_f_of_a_shifted_square(shift, f):
    assert boundary_f(square(shift), square()) == pytest.approx(f)
    assert boundary_f(square(), square(shift)) == pytest.approx(f)


def test_boundary_f_agrees_with_all_pairwise_distances():
    rng = np.random.default_rng(0)
    pred, truth = rng.random((2, 24, 30)) < 0.06

    def outline(mask):
        cross = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
        return np.argwhere(mask & ~binary_erosion(mask, cross, border_value=1))

    near = cdist(outline(pred), outline(truth)) <= 3
    precision, recall = near.any(axis=1).mean(), near.any(axis=0).mean()
    assert 0.3 < precision < 1
    assert boundary_f(pred, truth) == pytest.approx(2 * precision * recall / (precision + recall))


def test_the_photos_edge_is_no_boundary_and_nothing_has_none():
    everything, nothing = np.ones((2, 9, 9), bool), np.zeros((9, 9), bool)
    assert not boundary(everything[0]).any()
    half = everything[0].copy()
    half[5:] = False
    assert np.array_equal(np.argwhere(boundary(half))[:, 0], np.full(9, 4))
    assert boundary_f(nothing, nothing) == 1
    assert boundary_f(nothing, half) == boundary_f(half, nothing) == 0
    with pytest.raises(ValueError, match=r"\(9, 9\) and \(40, 60\)"):
        boundary_f(half, square())


# intervals -------------------------------------------------------------------------------------------------


def test_an_interval_is_that_of_redrawn_sums_and_holds_the_value():
    rng = np.random.default_rng(3)
    whole = rng.integers(50, 100, 30)
    part = rng.integers(0, 50, 30)
    drawn = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=1000)
    ratios = [np.repeat(part, times).sum() / np.repeat(whole, times).sum() for times in drawn]
    low, high = measure.interval(part, whole)
    assert (low, high) == pytest.approx((np.quantile(ratios, 0.025), np.quantile(ratios, 0.975)))
    assert low < part.sum() / whole.sum() < high
    assert measure.interval([3] * 8, [4] * 8) == (0.75, 0.75)
    assert np.isnan(measure.interval([0] * 8, [0] * 8)).all(), "a class that no photo shows"
    assert measure.interval([1, 0, 0], [2, 0, 0]) == (0.5, 0.5), "redraws without the class are left out"


# rows and scores -------------------------------------------------------------------------------------------


class Known:
    """Answers with each photo's own labels, which `fake_runs` paints, less the columns from 24 on."""

    name, subjects, calls = "known", ("apparel", "person"), 0
    tells_subjects = True

    def about(self):
        return {"model": "known", "edge": "hard"}

    def check(self, split):
        pass

    def label_map(self, rgb):
        label = np.round(rgb[..., 0] / 8).astype(np.uint8)
        label[:, 24:] = 0
        return label

    def cut(self, photo, picture, subject):
        self.calls += 1
        rgb = photos.read(photo).rgb
        mask = measure.is_subject(subject, NAMES)[self.label_map(rgb)]
        photos.write(picture, np.dstack([rgb, mask * np.uint8(255)]), "png")


@pytest.fixture
def toy(tmp_path) -> Split:
    make_data(tmp_path)
    return Split.read(DATA, "test", tmp_path)


def test_iou_of_known_masks(toy):
    done = list(measure.rows(Known(), toy))
    got = measure.summary(done)
    # garment: rows 8-39, columns 8-31; skin: rows 0-7, columns 16-23; the last row is ignored
    assert got["apparel_IoU"] == 16 / 24
    assert got["person_IoU"] == (32 * 16 + 8 * 8) / (32 * 24 + 8 * 8)
    assert got["aAcc"] == 1 - 32 * 8 / (47 * 40)
    ground = 47 * 40 - 32 * 24 - 8 * 8
    per_class = measure.per_class(done, NAMES).set_index("class").IoU.dropna()
    assert per_class["background"] == ground / (ground + 32 * 8) and per_class["skin"] == 1
    garments = per_class.drop(["background", "skin"])
    assert len(garments) == 5 and (garments == 16 / 24).all()
    assert got["mIoU"] == pytest.approx(per_class.mean()) and got["n_mIoU"] == 7
    assert got["mIoU_5"] == pytest.approx(per_class[["background", "skin"]].mean()) and got["n_mIoU_5"] == 2
    assert all(got[f"{name}_low"] <= got[name] <= got[f"{name}_high"] for name in ("person_IoU", "apparel_F"))
    assert got["apparel_IoU_low"] == got["apparel_IoU_high"] == 16 / 24


def test_what_knows_no_subjects_cuts_a_photo_out_once(toy):
    once = Known()
    once.tells_subjects = False
    row = next(measure.rows(once, toy))
    assert once.calls == 1, "one mask, held against two truths"
    assert row["person"] != row["apparel"]


def test_a_class_that_is_only_predicted_is_counted_but_not_averaged():
    got = measure.summary([{"confusion": np.array([[10, 0, 5], [0, 0, 0], [0, 0, 0]])}] * 4)
    assert (got["mIoU"], got["n_mIoU"], got["n_only_predicted"]) == (pytest.approx(2 / 3), 1, 1)


def test_the_page_and_the_tables_carry_what_they_rest_on(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(score, "ModelCutouts", lambda path, edge: Known())
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    out = tmp_path / "out"
    words = ["--data", DATA, "--model", str(tmp_path), "--out", str(out), "--timed", "0"]
    for _ in range(2):  # the second time takes the rows' place
        result = CliRunner().invoke(main, ["score", *words])
        assert result.exit_code == 0, result.output
    table = pd.read_csv(out / "scores.csv").set_index("method")
    assert list(table.index) == ["known", "GrabCut", "colour threshold"]
    assert (table.photos == 5).all() and table.command.str.contains(f"--data={DATA}").all()
    assert table.commit.str.match("[0-9a-f]{40}").all()
    assert np.isnan(table.mIoU["GrabCut"]) and table.apparel_IoU["known"] == pytest.approx(16 / 24)
    text = (out / "scores.md").read_text()
    assert f"## {DATA}, split test, 5 photos" in text and "66.7 (66.7–66.7)" in text and "ISNet" in text
    classes = pd.read_csv(out / "per_class.csv")
    assert list(classes["class"]) == NAMES and set(classes.method) == {"known"}


def test_a_trial_takes_evenly_spread_photos(toy):
    assert score.evenly_spaced("abcdefghi", 3) == ("a", "e", "i")
    assert score.evenly_spaced(toy.ids, 99) == toy.ids
    with pytest.raises(ValueError, match="at least 1"):
        score.evenly_spaced("abc", 0)


def checkpoint(monkeypatch, **changes) -> methods.ModelCutouts:
    meta = {"classes": NAMES, "model": "m", "scale": "mini", "data": DATA, "fingerprint": "abc"} | changes
    monkeypatch.setattr(methods.models, "read_metadata", lambda path: meta)
    return methods.ModelCutouts("weights.safetensors")


def test_a_model_that_may_know_the_photos_is_refused(toy, monkeypatch):
    checkpoint(monkeypatch).check(toy)
    checkpoint(monkeypatch, data="elsewhere", fingerprint="xyz").check(toy)
    with pytest.raises(ValueError, match="xyz, now abc.* may know these photos"):
        checkpoint(monkeypatch, fingerprint="xyz").check(toy)
    with pytest.raises(ValueError, match="28 classes that are not the 30 of toy"):
        checkpoint(monkeypatch, classes=list(CLASS_SETS["main"])).check(toy)


def test_the_shipped_model_keeps_what_its_label_map_shows(tmp_path):
    sample = Split.read("sample", "test")
    method, (rgb, _) = methods.ModelCutouts(about.DEFAULT_MODEL), sample.load(sample.ids[0])
    method.infer(rgb)
    method.cut(sample.folder / "images" / f"{sample.ids[0]}.jpg", tmp_path / "cut.png", "person")
    kept = np.asarray(Image.open(tmp_path / "cut.png"))[..., 3] > 127
    shown = method.label_map(rgb) > 0
    assert shown.shape == kept.shape and shown.mean() > 0.05
    assert kept[shown].mean() > 0.99  # and more where no class alone beats the background


def test_a_loaded_model_stays_in_its_process(monkeypatch):
    method = methods.ModelCutouts("weights.safetensors", "soft")
    vars(method)["model"] = lambda: "can't be pickled"
    sent = []
    monkeypatch.setattr(timing, "executor", lambda workers, start, arguments: sent.append(arguments[0]))
    with pytest.raises(TypeError):  # no context
        next(timing.seconds(method, ["a.jpg"], cores=1))
    assert pickle.loads(pickle.dumps(sent[0])) == method and "model" not in vars(sent[0])


def test_seconds_are_measured_on_the_cores_asked_for_and_no_others(toy):
    method = methods.ClassicalCutouts("spy", _takes_a_tenth_on_one_core)
    files = [toy.folder / "images" / f"{photo}.jpg" for photo in toy.ids[:2]]
    assert list(timing.seconds(method, files, cores=1)) == [pytest.approx((0.1, 0.1))] * 2


def _takes_a_tenth_on_one_core(rgb):
    """By a clock that stands still else; the first call, which is not timed, sets it up."""
    assert len(timing.cores_here()) == 1
    if timing.time is time:
        timing.time = SimpleNamespace(now=0.0, perf_counter=lambda: timing.time.now)
    timing.time.now += 0.1
    return baselines.threshold(rgb)


def test_what_is_unknown_stands_as_a_dash():
    row = pd.Series({"mIoU": 0.5, "mIoU_low": 0.4, "mIoU_high": 0.6, "n_mIoU": 7.0})
    assert page.cell(row, "mIoU", 100) == "50.0 (40.0–60.0) of 7"
    assert page.cell(row, "aAcc", 100) == "–"
