"""A study: its arms, what is kept of a run, and that nothing is trained twice."""

import numpy as np
import pandas as pd
import pytest
import tiny
import yaml

from fashionlib import study
from fashionlib.core import paths
from fashionlib.evaluate import areas, metrics
from fashionlib.train import config, train

SETTINGS = {name: value for name, value in tiny.TINY.items() if name != "data"} | {"preset": "quick"}
STUDY = dict(
    question="Does a larger batch help?",
    headline={"arms": ["small", "large"], "by": "mIoU"},
    settings=SETTINGS | {"epochs": 1},
    seeds=2,
    arms={"small": {"batch": 2}, "large": {"batch": 4}, "large again": {"batch": 4, "seeds": 1}},
)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A function that writes a study of the given values and returns it as read."""
    monkeypatch.setattr(paths, "PROJECT", tmp_path)

    def write(**changes) -> study.Study:
        file = study.folder("tiny") / "batch.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(STUDY | changes, sort_keys=False))
        return study.Study.read("tiny", "batch")

    return write


def test_all_arms_of_a_seed_come_before_the_next_seed_and_equal_arms_are_one_run(asked):
    names = [recipe.name for recipe in asked().recipes()]
    assert names == [
        f"segmenter_vit_t-mini-none-batch{batch}-epochs1{seed}" for seed in ("", "-s1") for batch in (2, 4)
    ]


def test_a_run_is_trained_once_and_what_it_measured_is_kept(asked, prepared_home, monkeypatch):
    asked()
    sentence = study.run("tiny", "batch", prepared_home, progress=False)
    assert sentence.startswith('In mIoU, "small" has ')
    rows = study.runs(study.folder("tiny"))
    assert list(rows.seed) == [0, 1, 0, 1] and (rows.scored_on == "val+test").all()
    for row in rows.itertuples():
        pixels = areas.read(areas.path(study.folder("tiny"), row.run))
        sums = pixels.groupby("class")[["intersection", "truth", "prediction"]].sum()
        assert np.isclose(metrics.iou_of(sums.to_numpy().T).mean(), row.mIoU, atol=1e-5)
        assert set(pixels.split) == {"val", "test"} and pixels.photo.nunique() == row.photos == 6
        matrix = pd.read_csv(study.folder("tiny") / "confusion" / f"{row.run}.csv", index_col="truth")
        assert np.trace(matrix) / matrix.to_numpy().sum() == pytest.approx(row.aAcc, abs=1e-5)
    assert sentence in (study.folder("tiny") / "batch.md").read_text()
    assert (paths.published_figures("tiny") / "studies" / "batch.png").is_file()
    table = pd.read_csv(study.folder("tiny") / "batch.csv").set_index("arm")
    assert table.mIoU["large"] == pytest.approx(rows[rows.batch == 4].mIoU.mean(), abs=1e-5)
    assert table.difference["small"] == pytest.approx(table.mIoU["small"] - table.mIoU["large"], abs=1e-5)
    curve = pd.read_csv(study.folder("tiny") / "epochs.csv")
    assert len(curve) == 4 and curve.notna().all(axis=None)
    assert not list(paths.runs_folder("tiny", prepared_home).glob("*batch*"))
    monkeypatch.setattr(study, "measure", lambda *_: pytest.fail("trained again"))
    study.run("tiny", "batch", prepared_home, progress=False)


def test_hours_are_measured_of_what_is_missing(asked, prepared_home):
    asked()
    table = study.hours("tiny", "batch", prepared_home)
    assert table.arm.tolist() == ["small", "large"]  # "large again" has the runs of "large"
    assert (table.runs == 2).all() and (table.seconds_per_step > 0).all()
    assert table.steps.tolist() == [config.steps(recipe, 14) for recipe in asked().recipes()[:2]]
    stored = pd.read_csv(study.folder("tiny") / "batch.hours.csv")
    pd.testing.assert_frame_equal(stored, table, check_dtype=False)  # 0.0 hours are stored as 0
    assert not list(paths.runs_folder("tiny", prepared_home).glob("*batch*"))  # nothing was trained


def test_weights_of_a_run_trained_before_stay(asked, prepared_home):
    asked(arms={"small": {"batch": 7}, "large": {"batch": 7}}, seeds=1)
    (recipe,) = study.Study.read("tiny", "batch").recipes()
    run = train(recipe, home=prepared_home, progress=False)
    study.run("tiny", "batch", prepared_home, progress=False)
    assert [file.name for file in run.glob("epoch_*")] == ["epoch_1.safetensors"]


def test_a_row_of_other_settings_under_the_same_name_is_refused(asked, prepared_home):
    (recipe, *_) = asked().recipes()
    row = {"run": recipe.name, "epoch": 1, "recipe": "{}", "fingerprint": "other"}
    pd.DataFrame([row]).to_csv(study.folder("tiny") / "runs.csv", index=False)
    with pytest.raises(ValueError, match=r"runs.csv has a segmenter.*of other settings or data"):
        study.run("tiny", "batch", prepared_home, progress=False)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"arms": None}, "a study has question, headline, settings, seeds, arms"),
        ({"headline": {"arms": ["small", "huge"], "by": "mIoU"}}, "'huge'"),
        ({"headline": {"arms": ["small", "large"], "by": "beauty"}}, "'beauty'"),
        ({"arms": {"small": {"batc": 2}}}, "batc"),
    ],
)
def test_a_study_that_cannot_be_run_is_refused(asked, change, message):
    with pytest.raises(ValueError, match=message):
        asked(**change)


def test_long_runs_are_validated_as_often_as_short_ones(asked):
    (recipe,) = asked(settings=SETTINGS | {"epochs": 32}, seeds=1).arms["small"]
    assert study.validated(recipe, 8) == [4, 8, 12, 16, 20, 24, 28, 32]
    assert study.validated(recipe, 2) == [16, 32]
