"""Two at once: a folder belongs to one process at a time, and to nobody when that process has died."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import fake_runs
import pytest
from click.testing import CliRunner
from cutout_stub import scene, stub_model
from PIL import Image
from soak import WATCHDOG

from fashionlib import cli, evaluate
from fashionlib.core import files
from fashionlib.cutout import batch
from fashionlib.data import prepare
from fashionlib.data.sources import ccp, coco, download, fashionpedia, folder, labelme, unpack_sample
from fashionlib.train import RunRefused, run_folder
from tools.cutout_model import flatlay, pseudo_labels

HOLDER = """
import os, sys
from fashionlib.core import files
with files.folder_lock(sys.argv[1]):
    if len(sys.argv) == 2 or os.fork() == 0:  # a child that lives on, as a loader's worker does for a while
        print("held", flush=True)
    sys.stdin.read()  # until it is killed, or who started it is gone
"""


@contextmanager
def held(folder, *more):
    """Another process that has `folder` for itself."""
    command = [sys.executable, "-c", HOLDER, str(folder), *more]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, **pipes, start_new_session=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A folder that another process works in."""
    folder = tmp_path_factory.mktemp("busy")
    with held(folder):
        yield folder


@pytest.fixture
def two(busy, tmp_path, monkeypatch):
    """A function that makes of `folder` one that another process works in: the same lock, by a hard link."""

    def make(folder):
        folder.mkdir(parents=True, exist_ok=True)
        os.link(busy / files.LOCK, folder / files.LOCK)
        return folder

    return make


def test_the_lock_of_a_killed_process_is_free_at_once_though_its_child_lives(tmp_path):
    with held(tmp_path, "with a child") as process:
        with (
            pytest.raises(files.FolderLocked, match=f"Another process is at work in {tmp_path}: wait for it"),
            files.folder_lock(tmp_path),
        ):
            pass
        with (
            pytest.raises(
                files.FolderLocked, match=rf"\(process {process.pid}, at work since 20[\d-]+ [\d:]+\)"
            ),
            files.folder_lock(tmp_path),
        ):  # the first refusal has left the lock as it was
            pass
        process.kill()
        process.wait()
        with files.folder_lock(tmp_path):
            assert (tmp_path / files.LOCK).exists()
    assert not list(tmp_path.iterdir())


def test_a_lock_leaves_nothing_and_is_one_for_threads_too(tmp_path):
    folder, refused = tmp_path / "new" / "er", []

    def second():
        try:
            with files.folder_lock(folder):
                pass
        except files.FolderLocked:
            refused.append(1)

    with files.folder_lock(folder):
        (thread := threading.Thread(target=second)).start()
        thread.join()
    assert refused == [1] and not folder.exists()


def test_many_who_want_it_have_it_one_after_the_other(tmp_path):
    """The lock file is removed while it is held: nobody may be left with a lock on a file that is gone."""
    inside, most, refused, stop = [], [], [], time.monotonic() + WATCHDOG

    def work():
        rounds = 0
        while rounds < 25 and time.monotonic() < stop:
            try:
                with files.folder_lock(tmp_path):
                    inside.append(1)
                    most.append(len(inside))
                    time.sleep(0.001)  # lets the others try
                    inside.pop()
                    rounds += 1
            except files.FolderLocked:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 4 * 25 * [1] and refused


def test_a_second_training_is_refused(two, tmp_path):
    folder = two(tmp_path / "run")
    words = rf"Another process is training in {folder}: .* \(process \d+, .*, or .* own \(variant=…\)"
    with pytest.raises(RunRefused, match=words), run_folder.locked(folder):
        pass


def test_a_second_prepare_is_refused(two, tmp_path, raw_folder):
    with pytest.raises(files.FolderLocked, match="Another process is preparing .*/out: wait"):
        prepare.prepare(raw_folder(10), two(tmp_path / "out"), workers=1, progress=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [files.LOCK]


def test_second_cutouts_are_refused(two, tmp_path, monkeypatch):
    Image.fromarray(scene()).save(tmp_path / "a.png")
    with pytest.raises(files.FolderLocked, match="Another process is cutting out into .*/out"):
        batch.run(tmp_path / "a.png", two(tmp_path / "out"), stub_model(monkeypatch), progress=False)
    words = ["cutout", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli.main, [*words, "--mask-in", str(tmp_path / "a.png")])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "Error: Another process is cutting out" in result.stderr


def test_a_second_download_is_refused(two, tmp_path):
    two(tmp_path / "cache" / "ccp")
    with pytest.raises(files.FolderLocked, match="Another process is downloading to .*/cache/ccp"):
        download.download("ccp", tmp_path, progress=False)


RAW_FOLDERS = {  # who writes one -> the call with an unused source and its folder, and how it is said
    "convert ccp": (ccp.convert, "converting to"),
    "convert fashionpedia": (fashionpedia.convert, "converting to"),
    "convert folder": (folder.convert, "converting to"),
    "convert coco": (coco.convert, "converting to"),
    "convert labelme": (labelme.convert, "converting to"),
    "flatlay": (flatlay.make, "laying garments into"),
    "pseudo-labels": (pseudo_labels.add, "adding pseudo-labels to"),
    "sample": (lambda _, out, progress: unpack_sample(out), "unpacking the sample into"),
}


@pytest.mark.parametrize("command", RAW_FOLDERS)
def test_a_second_process_that_writes_a_raw_folder_is_refused(command, two, tmp_path):
    write, words = RAW_FOLDERS[command]
    with pytest.raises(files.FolderLocked, match=f"Another process is {words} .*/raw: wait"):
        write(tmp_path / "source", two(tmp_path / "raw"), progress=False)
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [files.LOCK]


def test_second_scores_are_refused(two, tmp_path, monkeypatch):
    fake_runs.fake_models(monkeypatch)
    fake_runs.make_data(tmp_path)
    fake_runs.make_run(tmp_path)
    quiet = dict(home=tmp_path, progress=False)
    evaluate.validate(fake_runs.DATA, **quiet)
    evaluate.pick_epochs(fake_runs.DATA, home=tmp_path)
    two(tmp_path / "runs" / fake_runs.DATA / "results")
    again = lambda: evaluate.pick_epochs(fake_runs.DATA, home=tmp_path)  # noqa: E731
    for work in (
        lambda: evaluate.validate(fake_runs.DATA, **quiet),
        again,
        lambda: evaluate.test(fake_runs.DATA, **quiet),
    ):
        with pytest.raises(files.FolderLocked, match="Another process is scoring into"):
            work()
