"""Predicted quality: what lowers it, and that calibration brings it to the real IoU."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import expit

from fashionlib import models
from fashionlib.core.classes import CLASS_SETS
from fashionlib.cutout import one_photo, photos, quality, segment
from tools.cutout_model import calibrate

PERSON = list(CLASS_SETS["person"])
COAT, HAIR, SKIN = (PERSON.index(name) for name in ("coat", "hair", "skin"))


def figures(places=(40,), sure=0.95, width=20) -> np.ndarray:
    """Probabilities of coats 60 high, each under a face with hair on both its sides."""
    scores = np.zeros((len(PERSON), 120, 160), np.float32)
    for x in places:
        scores[COAT, 40:100, x : x + width] = sure
        scores[SKIN, 20:40, x + 6 : x + 14] = sure
        scores[HAIR, 20:40, x + 2 : x + 6] = scores[HAIR, 20:40, x + 14 : x + 18] = sure
    scores[0] = 1 - scores.sum(axis=0)
    return scores


def judged(scores, **changes) -> quality.Quality:
    return quality.of(scores, scores[COAT], PERSON, **changes)


def test_a_sure_cutout_is_good_and_has_no_reasons():
    assert judged(figures()).score > 0.93 and judged(figures()).reasons == ()


def test_what_is_doubtful_is_named_and_lowers_the_score():
    sure = judged(figures())
    unsure = judged(figures(sure=0.6))
    assert unsure.score < sure.score - 0.2 and "unsure inside" in unsure.reasons
    two = judged(figures((20, 100)))
    assert two.score < sure.score and two.reasons == ("more than one person",)
    touching = figures((40, 60))  # one connected region of coat and skin; still two heads
    assert judged(touching).reasons == ("more than one person",)
    assert "touches the frame" in judged(figures((0,), width=160)).reasons
    assert "small" in judged(figures(width=2)).reasons
    faint = figures()
    faint[COAT, 70:100] *= 0.4  # the lower half: more likely background, but hardly
    assert judged(faint).score < sure.score and "parts may be missing" in judged(faint).reasons


def test_nothing_is_the_worst():
    assert judged(figures(())) == quality.NOTHING and quality.NOTHING.score == 0


def test_features_do_not_depend_on_the_photos_size():
    scores = figures()
    big = np.kron(scores, np.ones((1, 4, 4), np.float32))
    small, large = (quality.features(p, p[COAT], PERSON) for p in (scores, big))
    assert small == pytest.approx(large, abs=0.05)


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of `n` photos, and an IoU that depends on two of them, not as `DEFAULT` thinks."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(quality.FEATURES)))
    features[:, quality.FEATURES.index("people")] = 0
    known = dict(zip(quality.FEATURES, features.T, strict=True))
    return features, expit(1.5 + 0.5 * known["expected"] - 0.4 * known["missed"] + 0.1 * rng.normal(size=n))


def test_calibration_predicts_photos_it_has_not_seen():
    fitted, held_out = calibrate.fit(*drawn(150, 0)), drawn(100, 1)
    before, after = (calibrate.tried(how, *held_out) for how in (quality.DEFAULT, fitted))
    assert after["spearman"] > max(0.9, before["spearman"]) and after["distance"] < before["distance"] / 3
    assert fitted["weights"] == pytest.approx(dict(bias=1.5, expected=0.5, missed=-0.4, people=-1), abs=0.05)
    assert fitted["weights"]["people"] == quality.DEFAULT["weights"]["people"]  # nothing to learn it from
    beyond = drawn(150, 0)[0][:, quality.FEATURES.index("edge")] < fitted["limits"]["edge"]
    assert beyond.mean() == pytest.approx(calibrate.DOUBTFUL, abs=0.01)


def test_a_weight_of_the_wrong_sign_is_none():
    features, iou = drawn(150, 0)
    features[:, quality.FEATURES.index("missed")] *= -1
    assert calibrate.fit(features, iou)["weights"]["missed"] == pytest.approx(0)


def test_tried_counts_how_many_of_the_worst_photos_are_rated_lowest():
    features, iou = np.zeros((20, len(quality.FEATURES))), np.linspace(0.05, 1, 20)  # the first two are worst
    features[:, 0] = range(20)
    features[0, 0], features[1, 0] = 4.5, 9.5  # the fourth and eighth from below
    found = calibrate.tried(quality.DEFAULT, features, iou)
    assert (found["worst"], found["in_lowest_10"], found["in_lowest_20"]) == (2, 0, 1)


def striped(names, model, rgb) -> np.ndarray:
    """Finds the skirt by its flat colours, and some of the background."""
    p = np.zeros((len(names), *rgb.shape[:2]), np.float32)
    p[names.index("skirt")] = 0.1 + 0.85 * (rgb.std(axis=2) < 12)
    p[0] = 1 - p.sum(axis=0)
    return p


def test_both_subjects_are_measured_where_the_model_has_both(prepared, monkeypatch):
    monkeypatch.setattr(calibrate, "LEAST", 2)
    monkeypatch.setattr(models, "probabilities", partial(striped, PERSON))
    model = SimpleNamespace(metadata={"classes": PERSON})
    found = calibrate.measured(model, prepared, "val")
    assert list(found) == ["apparel", "person"] and len(found["person"][1]) == 4
    for apparel, person in zip(*found.values(), strict=True):  # no photo shows hair or skin
        np.testing.assert_allclose(apparel, person, rtol=1e-6)


def test_calibrate_measures_a_split_and_keeps_the_result_in_the_checkpoint(prepared, tmp_path, monkeypatch):
    torch.manual_seed(0)
    names = CLASS_SETS["main"]
    model = models.build("segmenter_vit_t", len(names), scale="mini")
    path = models.save(
        model, tmp_path / "m.safetensors", models.metadata_for("segmenter_vit_t", names, "mini")
    )
    monkeypatch.setattr(calibrate, "LEAST", 2)
    monkeypatch.setattr(models, "probabilities", partial(striped, names))
    before = models.load(path)
    kept = calibrate.calibrate(path, prepared)
    after = models.load(path)
    assert after.metadata["quality"] == kept and kept["data"] == prepared.name
    assert kept["photos"] == 4 and list(kept["test"]) == ["apparel"]  # no class of hair or skin
    assert kept["test"]["apparel"]["photos"] == 2 and kept["test"]["apparel"]["distance"] < 0.3
    assert {key: value for key, value in after.metadata.items() if key != "quality"} == before.metadata
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_calibrate_can_judge_by_a_model_that_never_saw_the_validation_photos(tmp_path, monkeypatch):
    measured = {"seen": (drawn(50, 0)[0], np.full(50, 0.99)), "unseen": drawn(150, 1)}
    monkeypatch.setattr(segment, "load_model", lambda path: path)
    monkeypatch.setattr(calibrate, "attach", lambda path, fitted: None)
    monkeypatch.setattr(
        calibrate,
        "measured",
        lambda model, folder, split: {
            "apparel": measured[model] if split == "val" else {"seen": drawn(100, 2)}[model]
        },
    )  # tried: the model itself
    blind, fair = calibrate.calibrate("seen", tmp_path), calibrate.calibrate("seen", tmp_path, by="unseen")
    assert fair["photos"] == 150 and fair["weights"] == calibrate.fit(*measured["unseen"])["weights"]
    assert fair["test"]["apparel"]["distance"] < blind["test"]["apparel"]["distance"]


def test_a_cutout_carries_its_quality(monkeypatch):
    scores = figures()
    monkeypatch.setattr(models, "probabilities", lambda model, rgb: scores)
    stub = torch.nn.Module()
    stub.metadata = {
        "classes": PERSON,
        "quality": {"weights": {"bias": 0.0}, "limits": quality.DEFAULT["limits"] | {"area": 0.0}},
    }
    result = one_photo.cut(photos.Photo(np.zeros((120, 160, 3), np.uint8)), stub, segment.wanted(PERSON))
    assert result.quality == quality.Quality(0.5, ("small",))  # by its own calibration
