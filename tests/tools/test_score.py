"""Scores of cut-outs: known outlines, known masks, known intervals, and rows that are kept."""

import pickle
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from fake_runs import DATA, NAMES, SPLITS, make_data
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from fashionlib.cli import main
from fashionlib.core.classes import CLASS_SETS
from fashionlib.cutout import baselines, photos
from fashionlib.evaluate import metrics
from fashionlib.evaluate.split import Split
from tools.cutout_model import score
from tools.cutout_model.score import methods, page, scores, timing
from tools.cutout_model.score.boundary import boundary, boundary_f
from tools.cutout_model.score.measure import rows, values_of


def square(shift: int = 0) -> np.ndarray:
    """20 x 20 pixels in a photo of 40 x 60, `shift` pixels to the right."""
    mask = np.zeros((40, 60), bool)
    mask[10:30, 10 + shift : 30 + shift] = True
    return mask


# boundary F ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "f"), [
    (0, 1), (1, 1), (2, 1), (3, 1),
    # of the left side's 20 pixels the 4 at either end are near the other's upper or lower side, of the right
    # side's none; the upper and lower sides lie on each other but for what sticks out by more than 3 pixels
    (4, (76 - 12 - 20) / 76), (5, (76 - 12 - 20 - 2) / 76),
])  # fmt: skip
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


def test_photos_that_are_alike_leave_no_doubt():
    assert scores.interval([3] * 8, [4] * 8) == (0.75, 0.75)


def test_an_interval_is_that_of_redrawn_sums_and_holds_the_value():
    rng = np.random.default_rng(3)
    whole = rng.integers(50, 100, 30)
    part = rng.integers(0, 50, 30)
    drawn = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=1000)
    ratios = [np.repeat(part, times).sum() / np.repeat(whole, times).sum() for times in drawn]
    low, high = scores.interval(part, whole)
    assert (low, high) == pytest.approx((np.quantile(ratios, 0.025), np.quantile(ratios, 0.975)))
    assert low < part.sum() / whole.sum() < high


def test_the_interval_of_one_class_is_that_of_the_mean_over_it():
    areas = np.random.default_rng(1).integers(10, 30, (12, 3, 1)) + np.array([0, 40, 40])[:, None]
    intersect, truth, predicted = areas[..., 0].T
    ours = scores.interval(intersect, truth + predicted - intersect)
    assert ours == pytest.approx(metrics.bootstrap_miou(areas))


# classical ways --------------------------------------------------------------------------------------------


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


# rows and scores -------------------------------------------------------------------------------------------


class Known:
    """Answers with each photo's own labels, which `fake_runs` paints, less the columns from 24 on."""

    name, key, subjects, calls = "known", "k1", ("apparel", "person"), 0
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
        mask = values_of(subject, NAMES)[self.label_map(rgb)]
        photos.write(picture, np.dstack([rgb, mask * np.uint8(255)]), "png")


@pytest.fixture
def toy(tmp_path) -> Split:
    make_data(tmp_path)
    return Split.read(DATA, "test", tmp_path)


def test_iou_of_known_masks(toy, tmp_path):
    done = list(rows(Known(), toy, tmp_path / "rows"))
    got = scores.summary(done)
    # garment: rows 8-39, columns 8-31; skin: rows 0-7, columns 16-23; the last row is ignored
    assert got["apparel_IoU"] == 16 / 24
    assert got["person_IoU"] == (32 * 16 + 8 * 8) / (32 * 24 + 8 * 8)
    assert got["aAcc"] == 1 - 32 * 8 / (47 * 40)
    ground = 47 * 40 - 32 * 24 - 8 * 8
    per_class = scores.per_class(done, NAMES).set_index("class").IoU.dropna()
    assert per_class["background"] == ground / (ground + 32 * 8) and per_class["skin"] == 1
    garments = per_class.drop(["background", "skin"])
    assert len(garments) == 5 and (garments == 16 / 24).all()
    assert got["mIoU"] == pytest.approx(per_class.mean()) and got["n_mIoU"] == 7
    assert got["mIoU_5"] == pytest.approx(per_class[["background", "skin"]].mean()) and got["n_mIoU_5"] == 2
    assert all(got[f"{name}_low"] <= got[name] <= got[f"{name}_high"] for name in ("person_IoU", "apparel_F"))
    assert got["apparel_IoU_low"] == got["apparel_IoU_high"] == 16 / 24


def test_what_knows_no_subjects_cuts_a_photo_out_once(toy, tmp_path):
    once = Known()
    once.tells_subjects = False
    row = next(rows(once, toy, tmp_path / "rows"))
    assert once.calls == 1, "one mask, held against two truths"
    assert row["person"] != row["apparel"]


def test_a_class_that_is_only_predicted_is_counted_but_not_averaged():
    areas = np.zeros((4, 3, 3), int)
    areas[:, :, 0] = 10
    areas[:, 2, 2] = 5
    got = scores.summary([{"areas": photo.tolist()} for photo in areas])
    assert (got["mIoU"], got["n_mIoU"], got["n_only_predicted"]) == (1, 1, 1)


def test_a_stopped_run_goes_on_with_the_photo_it_lacks(toy, tmp_path):
    method, folder = Known(), tmp_path / "rows"
    whole = list(rows(method, toy, folder))
    (kept,) = folder.iterdir()
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text("".join(lines[:3]) + lines[3][:20])  # killed while it wrote the fourth
    method.calls = 0
    assert list(rows(method, toy, folder)) == whole
    assert method.calls == 2 * (SPLITS["test"] - 3)
    assert kept.read_text() == "".join(lines)
    method.key = "k2"  # other weights or code
    assert list(rows(method, toy, folder)) == whole and method.calls == 2 * (2 * SPLITS["test"] - 3)


def test_the_page_and_the_tables_carry_what_they_rest_on(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(score, "ModelCutouts", lambda path, edge: Known())
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    out = tmp_path / "out"
    words = ["--data", DATA, "--model", str(tmp_path), "--out", str(out), "--timed", "0"]
    for _ in range(2):  # the second time takes the rows' place
        result = CliRunner().invoke(main, ["score-cutouts", *words])
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
    assert score.spread("abcdefghi", 3) == ("a", "e", "i")
    assert score.spread(toy.ids, 99) == toy.ids
    with pytest.raises(ValueError, match="at least 1"):
        score.spread("abc", 0)


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


def test_a_loaded_model_stays_in_its_process():
    method = methods.ModelCutouts("weights.safetensors", "soft")
    vars(method)["model"] = lambda: "can't be pickled"
    other = pickle.loads(pickle.dumps(method))
    assert other == method and "model" not in vars(other)


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
    assert page._value(row, "mIoU", 100, 1) == "50.0 (40.0–60.0) of 7"
    assert page._value(row, "aAcc", 100, 1) == "–"
