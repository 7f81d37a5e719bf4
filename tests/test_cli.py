"""The command line: help, exit codes, one sentence for an error, and what reaches the functions."""

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fashionlib import reproduce
from fashionlib.cli import main
from fashionlib.core import paths
from fashionlib.data import sources
from fashionlib.data.sources import folder
from fashionlib.report import publish
from fashionlib.reproduce import plan


def call(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize("name", main.commands)
def test_every_command_has_help(name):
    result = call(name, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


@pytest.mark.parametrize(("words", "to"), [
    ("--help", ">/dev/full"),
    ("cutout --help", ">/dev/full"),
    ("cutout --about", ">/dev/full"),
    ("--help", ">&-"),
])  # fmt: skip
def test_an_output_that_takes_nothing_is_one_sentence(words, to):
    command = f"{sys.executable} -c 'from fashionlib.cli import main; main()' {words} {to}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"Error: The output can't be written: [a-z ]+\.\n", done.stderr), done.stderr


def test_usage_errors_exit_with_2():
    assert call("prepare").exit_code == 2
    assert call("nothing").exit_code == 2


def test_sample_unpacks_and_prepares(raw_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    monkeypatch.setattr(sources, "unpack_sample", lambda out: raw_folder(20, folder=out))
    result = call("sample")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "raw/sample/train.csv").is_file() and (tmp_path / "data/sample/dataset.json").is_file()
    assert result.stdout.startswith("sample: 20 photos (") and "28 classes" in result.stdout


def test_prepare_and_audit(raw_folder, tmp_path):
    raw = raw_folder(20)
    result = call("prepare", raw, tmp_path / "data", "--fractions", 0.5, 0.3, 0.2, "--random", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "20 photos (10 train, 6 val, 4 test)" in result.output
    result = call("audit", raw, "--out", tmp_path / "page.md")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page.md").read_text() in result.output


def test_reproduce_passes_plan_and_overrides_on(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        reproduce, "reproduce", lambda data, plan, **more: seen.update(more, data=data, plan=plan)
    )
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    words = ("--models", "unet,setr_mla", "--preset", "paper", "-p", "epochs", 2, "-p", "seed", 1)
    result = call("reproduce", "--data", "mine", *words, "--until", "03_train", "--force")
    assert result.exit_code == 0, result.output
    more = {"preset": "paper", "epochs": 2, "seed": 1}
    assert seen["plan"] == {"03_train": [{"model": "unet", **more}, {"model": "setr_mla", **more}]}
    assert (seen["data"], seen["until"], seen["force"], seen["raw"]) == ("mine", "03_train", True, None)


def test_a_failed_step_ends_with_exit_code_1(monkeypatch):
    def fail(*_, **__):
        raise reproduce.StepFailed("05_test_metrics stopped in code cell 3 (`x`): no")

    monkeypatch.setattr(reproduce, "reproduce", fail)
    result = call("reproduce", "--data", "sample")
    assert result.exit_code == 1
    assert result.stderr == "Error: 05_test_metrics stopped in code cell 3 (`x`): no\n"


@pytest.mark.parametrize(("module", "name", "words", "how"), [
    (plan, "read", ("reproduce", "--data", "x"), "again to go on"),
    (folder, "convert", ("convert", "folder", ".", "x"), "to start again"),
])  # fmt: skip
def test_a_stop_says_how_to_go_on(monkeypatch, module, name, words, how):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, stop)
    result = call(*words)
    assert (result.exit_code, result.stderr) == (1, f"Error: Stopped. Run the same command {how}.\n")


def test_a_list_of_commands_that_fits_a_glance():
    assert len(main.commands) <= 13


def test_checking_results_fails_where_they_differ(monkeypatch):
    monkeypatch.setattr(publish, "summary", lambda data: f"scores of {data}")
    monkeypatch.setattr(publish, "compare", lambda data: [])
    agreed = call("publish", "--check", "sample")
    assert agreed.exit_code == 0 and agreed.output.startswith("scores of sample\nAs committed")
    monkeypatch.setattr(publish, "compare", lambda data: ["a.csv: 3 rows, committed are 4."])
    differs = call("publish", "--check", "sample")
    assert differs.exit_code == 1 and "a.csv: 3 rows, committed are 4." in differs.stderr


def test_cutout_counts_and_fails_with_its_photos(tmp_path, monkeypatch):
    from fashionlib.cutout import batch

    def run(photos, out, **options):
        assert (photos, options["keep"], options["edge"]) == (["a.jpg", "b"], "dress,shoe", "soft")
        return batch.Result(3, 1, 7, f"{out}/report.csv", tuple(f"photo {i} is torn." for i in range(7)))

    monkeypatch.setattr(batch, "run", run)
    result = call("cutout", "a.jpg", "b", "--out", tmp_path, "--keep", "dress,shoe", "--edge", "soft")
    assert result.exit_code == 1
    assert result.stdout == f"3 cut out, 1 up to date, 7 failed: {tmp_path}/report.csv\n"
    failed = [f"Failed: photo {i} is torn." for i in range(5)]
    assert result.stderr.splitlines() == [*failed, "and 2 more: report.csv has them."]


def test_cutout_that_makes_no_sense_ends_with_2(tmp_path):
    for words, sentence in [
        (["a.jpg"], "PHOTOS and --out say what to cut out"),
        (["a.jpg", "--out", tmp_path / "out"], "a.jpg does not exist"),
        (["a.jpg", "--out", tmp_path / "out", "--edge", "sof"], "Did you mean 'soft'"),
        (["--about", "--model", __file__], "can't be read as a checkpoint"),
    ]:
        result = call("cutout", *words)
        last = result.stderr.splitlines()[-1]
        assert result.exit_code == 2 and last.startswith("Error: ") and sentence in last, result.output
    assert not (tmp_path / "out").exists()


def test_cutout_tells_about_its_model_without_photos(monkeypatch):
    from fashionlib.cutout import about

    monkeypatch.setattr(about, "about", lambda model: f"about {model}")
    result = call("cutout", "--about")
    assert (result.exit_code, result.output) == (0, "about None\n")
