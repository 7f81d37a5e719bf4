"""Comparing this machine's results with the committed ones, and copying them over."""

import json
import subprocess

import pandas as pd
import pytest

from fashionlib.core import paths
from fashionlib.core.files import write_text
from fashionlib.report import publish

SCORES = pd.DataFrame(
    {"run": ["a", "a", "b"], "epoch": [1, 2, 1], "mIoU": [0.20, 0.30, 0.40], "seconds": [1.0, 1.0, 1.0]}
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A home with results of a sample, also committed, with a plan beside them; returns both folders."""
    monkeypatch.setenv("FASHION_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(paths, "PROJECT", tmp_path / "project")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "project" / "notebooks")  # none: see test_rendered.py
    here, committed = paths.results_folder("sample"), paths.published_results("sample")
    for folder in (here, committed):
        (folder / "history").mkdir(parents=True)
        SCORES.to_csv(folder / "validation.csv", index=False)
        SCORES.iloc[1:].to_csv(folder / "picked_epochs.csv", index=False)
        SCORES.to_csv(folder / "history" / "a.csv", index=False)
        (folder / "run.json").write_text(json.dumps({"runs": [], "versions": {}}))
    (committed / "plan.yaml").write_text("03_train: [{model: a}]")
    write_text(committed / "labels" / "verdicts.csv", "photo")
    return here, committed


def change(path, **columns):
    pd.read_csv(path).assign(**columns).to_csv(path, index=False)


def test_the_same_results_agree(project):
    assert publish.compare("sample") == []


def test_seconds_and_small_changes_of_a_score_agree(project):
    here, _ = project
    change(here / "validation.csv", seconds=9.0, mIoU=[0.225, 0.28, 0.4])
    change(here / "picked_epochs.csv", epoch=[1, 1])  # another epoch of the same curve
    assert publish.compare("sample") == []


@pytest.mark.parametrize(
    "columns, sentence",
    [
        ({"mIoU": [0.2, 0.3, 0.44]}, "validation.csv: mIoU of run b, epoch 1 is 0.4400, committed is 0.4000"),
        ({"mIoU": [0.2, None, 0.4]}, "validation.csv: mIoU of run a, epoch 2 is nan, committed is 0.3000"),
        ({"epoch": [1, 3, 1]}, "validation.csv: 3 rows, committed are 3; they differ by run, epoch."),
        ({"extra": 1}, "validation.csv: the columns are ['run', 'epoch', 'mIoU', 'seconds', 'extra'], comm"),
    ],
)
def test_a_disagreement_is_named(project, columns, sentence):
    here, _ = project
    change(here / "validation.csv", **columns)
    (found,) = publish.compare("sample")
    assert found.startswith(sentence)


def test_missing_files_and_rows_are_named_but_runs_beside_the_plan_are_not(project):
    here, committed = project
    (here / "history" / "a.csv").unlink()
    (committed / "run.json").unlink()
    SCORES.iloc[:2].to_csv(here / "validation.csv", index=False)
    assert publish.compare("sample") == [
        "history/a.csv is committed, but no run here wrote it.",
        "run.json was written here, but is not committed.",
        "validation.csv: 2 rows, committed are 3; they differ by run, epoch.",
    ]


def test_runs_of_one_s_own_do_not_disturb_the_comparison(project):
    here, _ = project
    mine = SCORES.assign(run="mine")
    (paths.runs_folder("sample") / "mine").mkdir()
    pd.concat([SCORES, mine]).to_csv(here / "validation.csv", index=False)
    mine.to_csv(here / "history" / "mine.csv", index=False)
    (here / "areas").mkdir()
    (here / "areas" / "predictions-theirs.csv.gz").touch()
    SCORES.iloc[:1].assign(run="predictions-theirs").to_csv(here / "others.csv", index=False)
    assert publish.compare("sample") == []


def test_publishing_makes_them_agree_and_keeps_the_plan(project):
    here, committed = project
    change(here / "validation.csv", mIoU=0.9)
    (committed / "old.csv").write_text("x\n1\n")
    publish.publish("sample")
    assert publish.compare("sample") == []
    assert (committed / "labels" / "verdicts.csv").is_file()  # judged by hand
    assert (committed / "plan.yaml").is_file() and not (committed / "old.csv").exists()


def test_the_summary_puts_both_beside_each_other(project):
    assert publish.summary("sample") == ""
    for folder, score in zip(project, (0.2, 0.25), strict=True):
        pd.DataFrame({"run": ["a"], "mIoU": [score], "aAcc": [0.9]}).to_csv(folder / "test.csv", index=False)
    head, _, row = publish.summary("sample").splitlines()
    assert head.split() == [
        "mIoU",
        "[%]",
        "aAcc",
        "[%]",
        "mIoU",
        "committed",
        "[%]",
        "aAcc",
        "committed",
        "[%]",
    ]
    assert row.split() == ["a", "20.0", "90.0", "25.0", "90.0"]


def test_only_the_sample_publishes_pictures(project):
    for data, published in (
        ("sample", {"fig5_train_loss.png", "cutouts.png"}),
        ("ccp", {"fig5_train_loss.png"}),
    ):
        figure, picture = paths.figures_folder(data) / "fig5_train_loss.png", paths.pictures_folder(data)
        for path in (figure, picture / "cutouts.png", paths.results_folder(data) / "run.json"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"{}")
        publish.publish(data)
        assert {path.name for path in paths.published_figures(data).iterdir()} == published


def test_what_cannot_be_published_is_said(project):
    with pytest.raises(FileNotFoundError, match="run `fashionlib reproduce` first"):
        publish.publish("ccp")
    for path in (
        paths.figures_folder("ccp") / "fig7_inference.png",
        paths.results_folder("ccp") / "run.json",
    ):
        path.parent.mkdir(parents=True)
        path.touch()
    with pytest.raises(ValueError, match="fig7_inference.png is not one of the curves"):
        publish.publish("ccp")


def test_git_tracks_no_photo_and_no_executed_notebook_of_another_data_set():
    listed = subprocess.run(["git", "ls-files"], cwd=paths.PROJECT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    tracked = [paths.PROJECT / name for name in listed.stdout.splitlines()]
    pictures = [path for path in tracked if path.suffix in (".png", ".jpg", ".jpeg", ".pdf", ".webp")]
    figures = paths.PROJECT / "figures"
    allowed = {figures / "sample", *figures.glob("*/studies")}  # drawings; curves and dots of studies
    left = [path for path in pictures if not allowed & {*path.parents}]
    assert not [path for path in left if path.stem not in publish.CURVES]
    notebooks = {path.parent for path in tracked if path.suffix == ".ipynb"}
    assert notebooks <= {paths.NOTEBOOKS, paths.published_results("sample") / "notebooks"}
    assert not [path for path in tracked if "runs" in path.relative_to(paths.PROJECT).parts[:1]]


def test_publishing_renews_the_readmes_table_and_nothing_else(project):
    _, committed = project
    (committed / "table1.md").write_text("# Table I on a\n\n| 1 |\n\nsaid\n\nMade by:\n\n- x\n")
    readme = f"before\n<!-- table: {committed.name} -->\nold\nolder\n<!-- end -->\nafter\n"
    renewed = publish.with_table(readme, committed.name)
    assert renewed == f"before\n<!-- table: {committed.name} -->\n| 1 |\n\nsaid\n<!-- end -->\nafter\n"
    assert publish.with_table(renewed, committed.name) == renewed
    assert publish.with_table("no marks", committed.name) == "no marks"
