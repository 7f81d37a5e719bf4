"""A full disk, a read-only folder, too little memory: one sentence, a failure, and what was there stays.

With the right to mount, a small tmpfs is filled up and then made read-only. Elsewhere (most containers) the
kernel's limit for the size of files stands for the full disk, and the read-only folder is skipped.
"""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from soak import WATCHDOG, kills, stages
from soak.inputs import DATA
from soak.stages import Stage

from fashionlib import cli
from fashionlib.cli import errors
from fashionlib.core import files, processes
from fashionlib.data import audit
from fashionlib.train.run import _explain_memory as explain_memory
from tools.cutout_model.__main__ import main as workshop


def said(work, *arguments) -> None:
    """Do `work` as the command line does: a foreseen error is a sentence on stderr and exit code 1."""
    try:
        work(*arguments)
    except Exception as error:
        sentence = errors.sentence(error)
        if sentence is None:
            raise
        print(f"Error: {sentence}", file=sys.stderr)
        sys.exit(1)


def train(root, workspace):
    said(stages.train, root, workspace)


def validate(root, workspace):
    said(stages.validate, root, workspace)


def convert(root, workspace):
    stages.command("convert", "folder", root / "painted", workspace / "out")


def export(root, workspace):
    stages.command("export", root / "model.safetensors", workspace / "out" / "model.onnx")


def pack(root, workspace):
    epochs = sorted((root / "trained").rglob("epoch_*.safetensors"))
    words = ["average", *epochs, workspace / "out" / "packed.safetensors"]
    workshop([str(word) for word in words])


STAGES = [
    Stage("train", train, f"runs/{DATA}"),
    Stage("validate", validate, f"runs/{DATA}/results"),
    Stage("prepare", stages.prepare, "data"),
    Stage("download", stages.download, "cache"),
    Stage("cutout", stages.cutouts, "out", exit_code=1),
    Stage("convert", convert, "out"),
    Stage("export", export, "out"),
    Stage("pack", pack, "out"),
]
every_stage = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Inputs of all stages: those of the kills, a finished run, and painted masks."""
    root = stages.make_inputs(tmp_path_factory.mktemp("disk") / "inputs", small=True)
    assert kills.run(stages.train, root, root / "trained") == 0, kills.log(root / "trained")
    for folder in ("photos", "masks"):
        (root / "painted" / folder).mkdir(parents=True)
    (root / "painted" / "classes.csv").write_text("value,class\n1,dress\n")
    for i in range(20):
        shutil.copy(root / "raw" / DATA / "train" / f"t{i:02}.jpg", root / "painted" / "photos")
        mask = np.ones((96, 72), np.uint8)
        Image.fromarray(mask).save(root / "painted" / "masks" / f"t{i:02}.png")
    served = stages.serve(root)
    yield root
    served.shutdown()
    served.server_close()


@pytest.fixture(scope="module")
def uninterrupted(root, tmp_path_factory):
    """A function: the digests of a stage's outputs, and the bytes that they take."""
    known = {}

    def get(stage):
        if stage.name not in known:
            folder = tmp_path_factory.mktemp(stage.name)
            assert kills.run(stage.work, root, folder) == stage.exit_code, kills.log(folder)
            taken = sum(path.stat().st_size for path in (folder / stage.outputs).rglob("*") if path.is_file())
            known[stage.name] = stage.digests(folder), taken
        return known[stage.name]

    return get


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 64 MB; skipped where this process may not mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    asked = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(asked, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    if done.returncode:
        pytest.skip(f"may not mount here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder, leave: int):
    """A file on the disk of `folder` that leaves `leave` bytes of it."""
    disk = os.statvfs(folder)
    filler = folder / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_bsize - leave)
    return filler


def one_sentence(workspace) -> str:
    """The error that was told; no traceback, and nothing after it."""
    text = kills.log(workspace)
    errors = re.findall(r"^Error: .*$", text, re.MULTILINE)
    assert len(errors) == 1 and text.endswith(f"{errors[0]}\n") and "Traceback" not in text, text
    return errors[0]


@every_stage
def test_a_full_disk_is_told_and_with_room_the_same_command_ends_well(
    stage, root, uninterrupted, small_disk, tmp_path
):
    expected, taken = uninterrupted(stage)
    filler = fill(small_disk, taken // 2)
    assert kills.run(_elsewhere, (stage, root, small_disk), tmp_path / "said") == 1
    sentence = one_sentence(tmp_path / "said")
    assert re.search(r"/disk/.*(no space left on device: make room|make room|free)", sentence)
    assert not stage.digests(small_disk) or stage.digests(small_disk).items() != expected.items()
    filler.unlink()
    assert kills.run(stage.work, root, small_disk) == stage.exit_code, kills.log(small_disk)
    assert stage.digests(small_disk) == expected


@every_stage
def test_a_read_only_disk_is_told_and_keeps_what_it_has(stage, root, small_disk, tmp_path):
    (small_disk / "kept").write_text("kept")
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    assert kills.run(_elsewhere, (stage, root, small_disk), tmp_path / "said") == 1
    assert re.search(r"/disk/\S+: read-only file system: choose a folder", one_sentence(tmp_path / "said"))
    assert [path.name for path in small_disk.iterdir()] == ["kept"]


def _elsewhere(asked, _):
    """A stage in a workspace that can't take its log."""
    stage, root, workspace = asked
    stage.work(root, workspace)


@pytest.mark.parametrize("name", ["convert", "prepare", "pack"])  # the engine itself writes some KB
def test_files_that_may_not_grow_are_told(name, root, uninterrupted, tmp_path):
    """Without a mount: the limit hits inside a write, as a full disk does."""
    stage = next(stage for stage in STAGES if stage.name == name)
    expected, _ = uninterrupted(stage)
    assert kills.run(_limited, (stage, root, resource.RLIMIT_FSIZE, 1000), tmp_path) == 1
    assert re.search(rf"{tmp_path}/.*: file too large: raise the limit", one_sentence(tmp_path))
    assert kills.run(stage.work, root, tmp_path) == stage.exit_code
    assert stage.digests(tmp_path) == expected


SMALLER = {  # stage -> limit in bytes, and what is named: not a file of the outputs
    "prepare": (10, "{out}/data: file too large: raise the limit"),
    "convert": (10, "/dev/shm (semaphores of worker processes): file too large: raise the limit"),
    "export": (10, "{temporary}: file too large: raise the limit"),
    "cutout": (0, "No usable temporary directory found in"),
}


@pytest.mark.parametrize("name", SMALLER)
def test_what_is_too_large_before_any_output_is_told_too(name, root, tmp_path):
    stage = next(stage for stage in STAGES if stage.name == name)
    limit, words = SMALLER[name]
    assert kills.run(_limited, (stage, root, resource.RLIMIT_FSIZE, limit), tmp_path) == 1
    expected = words.format(out=tmp_path, temporary=tempfile.gettempdir())
    assert one_sentence(tmp_path).startswith(f"Error: {expected}")


def _limited(asked, workspace):
    """A stage with less to be had of `what`; what it says goes through a process that has no limit."""
    stage, root, what, limit = asked
    told = os.dup(1)
    if what == resource.RLIMIT_AS:  # beyond what is in use, by the engine mostly
        limit += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    log = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    for stream in (1, 2):
        os.dup2(log.stdin.fileno(), stream)
    resource.setrlimit(what, (limit, resource.RLIM_INFINITY))
    try:
        said(stage.work, root, workspace)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        resource.setrlimit(what, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for stream in (1, 2):
            os.dup2(told, stream)
        log.stdin.close()
        try:
            log.wait(WATCHDOG)
        except subprocess.TimeoutExpired:  # it ends when nobody can write to it any more
            log.kill()
            raise AssertionError(f"{kills.group(os.getpid())} outlive what they work for") from None


# ------------------------------------------------------------------ too little memory


def test_training_without_memory_names_the_settings_that_need_less(root, tmp_path):
    asked = Stage("train", stages.train, ""), root, resource.RLIMIT_AS, 40 << 20
    assert kills.run(_limited, asked, tmp_path) == 1
    assert re.search("Out of memory with 4 photos of .* raise accumulate", one_sentence(tmp_path))
    assert kills.run(stages.train, root, tmp_path) == 0


def test_a_photo_too_large_for_the_memory_is_told_and_the_others_come_out(root, tmp_path):
    (tmp_path / "photos").mkdir()
    shutil.copy(root / "raw" / DATA / "train" / "t00.jpg", tmp_path / "photos" / "a.jpg")
    Image.new("RGB", (8000, 6000)).save(tmp_path / "photos" / "large.png", compress_level=1)
    shutil.copy(root / "model.safetensors", tmp_path)
    asked = Stage("cutout", stages.cutouts, ""), tmp_path, resource.RLIMIT_AS, 400 << 20
    (tmp_path / "settings.json").write_text('{"small": true}')
    assert kills.run(_limited, asked, tmp_path / "work") == 1, kills.log(tmp_path / "work")
    report = (tmp_path / "work" / "out" / "report.csv").read_text()
    assert re.search(r"^large.png,\S+,failed,.*large.png.*memory", report, re.MULTILINE), report
    assert (tmp_path / "work" / "out" / "a.png").is_file() and "Traceback" not in kills.log(tmp_path / "work")


def test_a_worker_that_dies_ends_its_pool_with_a_sentence():
    words = "killed for want of memory: take fewer workers"
    with pytest.raises(processes.WorkerLost, match=words), processes.pool(1) as pool:
        pool.submit(os._exit, 9).result()


@pytest.mark.parametrize(
    "error, sentence",
    [
        (MemoryError(), "Out of memory (no more to be had): close other programs"),
        (MemoryError("Unable to allocate 9 GiB"), "Out of memory (Unable to allocate 9 GiB): close"),
        (MemoryError("Out of memory with 4 photos: raise accumulate."), "Out of memory with 4 photos: raise"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "Out of memory (DefaultCPU"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Out of memory ([Errno 12]"),
        (processes.WorkerLost("A worker process ended."), "A worker process ended."),
        (OSError(errno.ENOSPC, "No space left", "/d/x"), "/d/x: no space left on device: make room"),
        (PermissionError(errno.EACCES, "Permission denied", "/d/x"), "/d/x: permission denied: ask for the"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_command_line_says_it_in_a_sentence(monkeypatch, error, sentence):
    def fail(*_):
        raise error

    monkeypatch.setattr(audit, "audit", fail)
    result = CliRunner().invoke(cli.main, ["audit", "raw"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith(f"Error: {sentence}"), result.stderr


def test_an_unforeseen_error_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(audit, "audit", lambda *_: 1 / 0)
    assert isinstance(CliRunner().invoke(cli.main, ["audit", "raw"]).exception, ZeroDivisionError)


def test_a_training_whose_loader_died_says_so():
    error = RuntimeError("DataLoader worker (pid 77) is killed by signal: Killed. ")
    with pytest.raises(MemoryError, match=r"Out of memory\? A DataLoader worker \(pid 77\) .* lower workers"):
        explain_memory(error, SimpleNamespace(workers=2))


@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_what_the_disk_refuses_names_the_target_whatever_library_says_it(tmp_path, kind):
    words = "I/O error: No space left on device (os error 28)"
    error = kind(errno.ENOSPC, "No space left on device", "the source") if kind is OSError else kind(words)
    said = f"^{tmp_path}/sub/a.txt: no space left on device"
    with pytest.raises(files.DiskError, match=said), files.atomic_write(tmp_path / "sub" / "a.txt"):
        raise error
    assert not list((tmp_path / "sub").iterdir())
