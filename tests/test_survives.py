"""Killed anywhere and started again, everything ends as if nothing had been (`make soak`: at length)."""

import functools
import itertools
import json
import os
import shutil
import signal
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import fake_runs
import psutil
import pytest
import torch
from cutout_stub import scene, stub_model
from PIL import Image
from soak import WATCHDOG, Line, deaths, kills, load, stages, twice
from soak.server import Server, archive

from fashionlib import evaluate, models
from fashionlib.core import files, processes
from fashionlib.core.classes import CLASS_SETS
from fashionlib.cutout import batch
from fashionlib.data import prepare, raw
from fashionlib.data.sources import download, unpack_sample
from fashionlib.train import run_folder, runner

# ------------------------------------------------------------------ at random moments


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Inputs of all stages, and a finished run to validate."""
    root = stages.make_inputs(tmp_path_factory.mktemp("kills") / "inputs", small=True)
    assert kills.run(stages.train, root, root / "trained") == 0, kills.log(root / "trained")
    served = stages.serve(root)
    yield root
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize("stage", stages.STAGES, ids=lambda stage: stage.name)
def test_killed_twice_and_started_again(stage, root, tmp_path):
    done = kills.survive(stage, root, tmp_path, kills=2, stepwise=True)
    assert not done.problems, "\n".join(done.problems)
    assert done.kills.total() == 2, done


def test_a_process_that_ends_just_before_it_is_killed_was_not_killed(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "end")

    def too_late(pid, how):
        monkeypatch.undo()
        (tmp_path / "end").write_text("")
        psutil.Process(pid).wait(WATCHDOG)
        os.kill(pid, how)

    monkeypatch.setattr(os, "kill", too_late)
    assert not kills.kill(_until_told, tmp_path, tmp_path, 0, signal.SIGTERM, stepwise=False)


def _until_told(_, workspace):
    (workspace / "end").read_text()


def test_what_is_compared_tells_outputs_apart(root, tmp_path):
    """The comparison above sees a lost byte, a missing file and a leftover, and no times."""
    training = stages.STAGES[0]
    shutil.copytree(root / "trained" / "runs", tmp_path / "runs")
    before = training.digests(tmp_path)
    assert len(before) >= 6
    history = next(tmp_path.rglob("history.csv"))
    lines = history.read_text().splitlines()
    history.write_text("\n".join([*lines[:-1], lines[-1].rpartition(",")[0] + ",12345"]) + "\n")
    assert training.digests(tmp_path) == before
    for spoil in (
        lambda run: (run / "history.csv").write_text("\n".join(lines[:-1])),
        lambda run: (run / "epoch_2.safetensors").write_bytes((run / "epoch_1.safetensors").read_bytes()),
        lambda run: (run / ".epoch_1.12.fashionlib.part.safetensors").touch(),
    ):
        before = training.digests(tmp_path)
        spoil(history.parent)
        assert training.digests(tmp_path) != before


# ------------------------------------------------------------------ before every change to the disk


def at_every_change(work, tmp_path, digests, given=None, stride=1):
    """Kill ``work(folder)`` before its changes to the disk, go on, and compare; returns how many there are.

    `given` is a folder that each `folder` begins as a copy of. With a `stride` that does not divide the
    number of changes a photo takes, each kind of change is met, if not of each photo.
    """
    begin = functools.partial(shutil.copytree, given) if given else Path.mkdir
    begin(tmp_path / "whole")
    work(tmp_path / "whole")
    expected = digests(tmp_path / "whole")
    assert expected

    def outlived(n: int) -> bool:
        folder = tmp_path / f"killed{n}"
        begin(folder)
        died = deaths.before_change(n, folder, lambda folder=folder: work(folder))
        if died:
            work(folder)
        assert digests(folder) == expected, f"killed before change {n}"
        shutil.rmtree(folder, ignore_errors=True)
        return not died

    last = next(n for n in itertools.count(0, stride) if outlived(n))
    return next(n for n in range(max(0, last - stride + 1), last + 1) if n == last or outlived(n))


def test_prepare_killed_before_every_change(raw_folder, tmp_path):
    root = raw_folder(10)
    stage = next(stage for stage in stages.STAGES if stage.name == "prepare")

    def work(folder):
        prepare.prepare(root, folder / "data", workers=1, progress=False)

    assert at_every_change(work, tmp_path, stage.digests, stride=7) > 40


def test_a_sample_unpacked_over_an_older_one_killed_before_every_change(tmp_path):
    """Who reads ``train.csv`` meanwhile finds it whole, with its own photos, or not at all."""

    def packed(text):
        with zipfile.ZipFile(tmp_path / f"{text}.zip", "w") as archive:
            for name in ("train/drawn_0000.jpg", "test/drawn_t00.jpg", raw.DESCRIPTIONS, raw.CSV):
                archive.writestr(name, text)
        return tmp_path / f"{text}.zip"

    def texts(folder):
        return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}

    def work(folder):
        if (folder / "raw" / raw.CSV).exists():
            assert {text for name, text in texts(folder / "raw").items() if name[0] == "t"} in (
                {"old"},
                {"new"},
            )
        unpack_sample(folder / "raw", new)

    new = packed("new")
    unpack_sample(tmp_path / "home" / "raw", packed("old"))
    assert at_every_change(work, tmp_path, texts, tmp_path / "home") > 15
    work(tmp_path / "home")
    assert len(texts(tmp_path / "home")) == 4 and {*texts(tmp_path / "home").values()} == {"new"}


def test_cutouts_killed_before_every_change(tmp_path, monkeypatch):
    model, photos = stub_model(monkeypatch), tmp_path / "photos"
    photos.mkdir()
    for name in ("a", "b"):
        Image.fromarray(scene()).save(photos / f"{name}.png")
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    stage = next(stage for stage in stages.STAGES if stage.name == "cut-outs")

    def work(folder):
        result = batch.run(photos, folder / "out", model, layers=True, preview=True, progress=False)
        assert result.failed == 1

    assert at_every_change(work, tmp_path, stage.digests, stride=3) > 20


def test_scores_killed_before_every_change(tmp_path, monkeypatch):
    fake_runs.fake_models(monkeypatch)
    fake_runs.make_data(tmp_path / "home")
    fake_runs.make_run(tmp_path / "home", qualities=(0.3, 0.6))

    def work(folder):
        evaluate.validate(fake_runs.DATA, home=folder, progress=False)
        evaluate.pick_epochs(fake_runs.DATA, home=folder, keep="picked")
        evaluate.test(fake_runs.DATA, home=folder, progress=False, bootstrap=20)

    stage = stages.Stage("scores", work, "runs")
    assert at_every_change(work, tmp_path, stage.digests, tmp_path / "home", stride=2) > 15


def test_download_killed_before_every_change(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server({"/f": b"x" * 5000, "/z": archive({"train/a.jpg": "a", "train/b.jpg": "b"})}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        archive_ = download.Item(f"{server.url}/z", "train", member="train")
        items = download.Item(f"{server.url}/f", "f"), archive_
        monkeypatch.setitem(download.SETS, "fashionpedia", items)
        stage = next(stage for stage in stages.STAGES if stage.name == "download")

        def work(folder):
            download.download("fashionpedia", folder, progress=False)

        assert at_every_change(work, tmp_path, stage.digests) > 8
        server.shutdown()


# ------------------------------------------------------------------ inside a checkpoint


def at_work(value: float):
    """A stand-in for MMEngine's runner whose one weight is `value`."""
    model = torch.nn.Linear(64, 64, bias=False)
    model.weight.data.fill_(value)
    return SimpleNamespace(
        model=model, optim_wrapper=torch.optim.SGD(model.parameters(), lr=0.1), param_schedulers=[]
    )


def saved(folder) -> int | None:
    found = run_folder.newest_state(folder)
    assert found is None or (found["model"]["weight"] == found["iter"]).all()
    return found and found["iter"]


def save(folder, n: int) -> None:
    run_folder.save_state(at_work(n), folder, 0, n)


def test_a_state_killed_before_any_of_its_steps_leaves_the_one_before(tmp_path):
    """Twice at the same step too."""
    for n in itertools.count():
        folder = tmp_path / str(n)
        folder.mkdir()
        save(folder, 1)
        save(folder, 2)
        died = [deaths.before_change(n, folder, lambda f=folder, i=i: save(f, i)) for i in (3, 4)]
        assert saved(folder) in ((2, 3) if all(died) else (4,)), f"killed before change {n}"
        save(folder, 5)
        assert saved(folder) == 5
        files.sweep(folder)
        assert [path.name for path in folder.iterdir()] == [run_folder.LAST]
        if not any(died):
            break
    assert n >= 2


def test_a_state_killed_inside_its_write_leaves_the_one_before(tmp_path):
    save(tmp_path, 1)
    size = (tmp_path / run_folder.LAST).stat().st_size
    assert deaths.inside_write(size // 2, lambda: save(tmp_path, 2))
    assert saved(tmp_path) == 1
    part = next(tmp_path.glob(".last.*.fashionlib.part.pth"))
    assert part.stat().st_size == size // 2
    with files.folder_lock(tmp_path):
        assert not part.exists()


DAMAGES = (lambda file: file[:-9], lambda file: file[:-9000] + b"\1" + file[-8999:])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_torn_state_is_noticed_by_its_checksum_and_named(tmp_path, damage):
    """It can't take the place of a whole one: a state is on the disk before it gets its name."""
    save(tmp_path, 1)
    last = tmp_path / run_folder.LAST
    last.write_bytes(damage(last.read_bytes()))
    with pytest.raises(ValueError, match=rf"{last} is torn: remove last\.pth .* begin the run again"):
        saved(tmp_path)


def test_a_state_is_on_the_disk_before_it_takes_the_last_ones_place(tmp_path, monkeypatch):
    save(tmp_path, 1)
    before = (tmp_path / run_folder.LAST).read_bytes()
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda _: flushed.append((tmp_path / run_folder.LAST).read_bytes()))
    save(tmp_path, 2)
    assert flushed == [before] and saved(tmp_path) == 2


def test_an_epoch_file_killed_inside_its_write_is_not_there(tmp_path):
    model = torch.nn.Linear(64, 64)
    assert deaths.inside_write(5000, lambda: models.save(model, tmp_path / "epoch_1.safetensors", {}))
    assert [path.name.split(".")[1] for path in tmp_path.iterdir()] == ["epoch_1"]
    assert not list(tmp_path.glob("epoch_*.safetensors"))  # what runs.Run looks for


def test_a_torn_epoch_is_named_before_it_is_scored(root, tmp_path):
    for name in ("data", "trained/runs"):
        shutil.copytree(root / name, tmp_path / name.split("/")[-1])
    torn = next(tmp_path.rglob("epoch_2.safetensors"))
    torn.write_bytes(torn.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=rf"{torn} can't be read as a checkpoint .* torn: make it again"):
        evaluate.validate("tiny", home=tmp_path, progress=False)


def test_a_whole_file_is_the_old_or_the_new_one(tmp_path):
    path = tmp_path / "a.txt"
    for n in itertools.count():
        files.write_text(path, "old")
        died = deaths.before_change(n, tmp_path, lambda: files.write_text(path, "new"))
        assert path.read_text() in (("old",) if died else ("new",))
        if not died:
            break
    assert n == 3  # make the folder, open, rename
    files.write_text(path, "old")
    assert deaths.inside_write(10, lambda: files.write_text(path, "n" * 20)) and path.read_text() == "old"


def test_only_what_a_kill_left_is_swept(tmp_path):
    mine = [".bashrc", "a.part", ".a.part.png", "x.12.part.png", ".x.12.partial", ".x.1.part.d/kept"]
    mine += [".x.part.mov", ".IMG_1.0001.part.mov", "sub/.x.12.part"]  # parts of somebody's film
    left = [".x.12.fashionlib.part", ".x y.1.fashionlib.part.png", "sub/.manifest.7.fashionlib.part.json"]
    for name in mine + left:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with files.folder_lock(tmp_path):
        pass
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == sorted(mine)


# ------------------------------------------------------------------ load


def test_a_catalogue_comes_out_whole_at_bounded_memory(tmp_path):
    done = load.carry(200, tmp_path)
    assert not done.problems, "\n".join(done.problems)
    assert 0 < done.last <= load.GROWTH * done.first


# ------------------------------------------------------------------ the same again


def test_a_sample_made_twice_is_the_same(root, tmp_path):
    found, problems = twice.twice(twice.few, root, tmp_path)
    assert not problems
    assert found == {"histories": 2, "epoch files": 2, "tables": 15, "figures": 6, "pictures": 2}


def test_a_sample_made_otherwise_is_not_the_same(tmp_path):
    found, problems = twice.twice(_otherwise, tmp_path, tmp_path)
    assert problems[0].endswith("differ: tiny/a/history.csv")
    assert found["histories"] == 1 and "there are no figures" in problems


def _otherwise(_, home):
    files.write_text(home / "runs/tiny/a/history.csv", f"iter,loss,seconds\n1,{os.getpid()},2\n")
    files.write_text(home / "runs/tiny/a/recipe.json", json.dumps(dict(lr=1, created=os.getpid())))


def test_what_could_not_be_tried_is_not_called_kept():
    said = [Line("", "", held).cells[2] for held in (True, False, None)]
    assert said == ["yes", "**no**", "not tried"]


# ------------------------------------------------------------------ what kills between steps left before


def test_overwriting_a_run_killed_half_way_never_mixes_two(tmp_path):
    """recipe.json stays the other run's until nothing of that run is left."""
    info = dict(classes=list(CLASS_SETS["person"]), fingerprint="f")
    model = "segmenter_vit_t"
    recipe = SimpleNamespace(to_dict=lambda: dict(lr=2), origin={}, gpus=1, precision="fp32", model=model)
    card = dict(recipe=dict(lr=1), classes=info["classes"], fingerprint="f")
    for n in itertools.count():
        folder = tmp_path / str(n)
        folder.mkdir()
        for name in ("a.pth", "last.pth", "z.csv"):
            (folder / name).touch()
        (folder / "recipe.json").write_text(json.dumps(card))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run_folder, "command", lambda _: "")
            patch.setattr(run_folder, "versions", lambda _: {})
            died = deaths.before_change(n, folder, lambda f=folder: run_folder.claim(f, recipe, info, True))
        lr = json.loads((folder / "recipe.json").read_text())["recipe"]["lr"]
        assert lr == 1 or not (folder / "last.pth").exists()
        if not died:
            break
    assert lr == 2 and n >= 4


def test_a_torn_header_of_the_history_is_written_anew(tmp_path):
    path, header = tmp_path / "history.csv", ",".join(runner.HISTORY)
    row = "1,1,2.0,2.0,3.0,0.1,0.5,900"
    for text in (header[:20], f"{header}\n{row}\n1,2,2.0,2.0,3.0,0.1,0.5,9", f"{header}\n{row}\n1,2,2."):
        path.write_text(text)
        runner._keep_until(path, 1)
        assert path.read_text() == (f"{header}\n{row}\n" if row in text else f"{header}\n")


def test_a_finished_run_drops_the_states_that_a_kill_kept(tmp_path):
    for name in ("done.json", *run_folder.STATES):
        (tmp_path / name).touch()
    assert run_folder.is_finished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["done.json"]


def test_a_worker_that_does_not_hear_of_the_end_is_ended(monkeypatch):
    monkeypatch.setattr(processes, "_PATIENCE", 0.5)
    with pytest.raises(KeyboardInterrupt), processes.pool(1) as pool:
        worker = psutil.Process(pool.submit(os.getpid).result())
        asleep = pool.submit(time.sleep, 10 * WATCHDOG)
        while not asleep.running():  # what waits in the pool is cancelled, and the worker hears of the end
            time.sleep(0.01)
        raise KeyboardInterrupt
    # not multiprocessing's is_alive(): it stays True if the pool's thread was the first to hear of the end
    assert psutil.wait_procs([worker], WATCHDOG)[0] == [worker]


def test_workers_end_with_a_killed_parent(tmp_path):
    """A SIGKILL gives it no time to tell them; this kind of pool would wait for work forever."""
    folder = tmp_path / "pool"
    assert kills.kill(_with_a_worker, tmp_path, folder, 1, signal.SIGKILL, stepwise=True)
    worker = int((folder / "worker.txt").read_text())
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE


def _with_a_worker(_, workspace):
    from fashionlib.core import processes

    with processes.pool(1) as pool:
        (workspace / "worker.txt").write_text(str(pool.submit(os.getpid).result()))
        (workspace / "here it is killed").touch()
