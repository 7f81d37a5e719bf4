"""The five stages that are killed: each a function of (inputs, workspace), run in a process of its own."""

import hashlib
import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from . import WATCHDOG, inputs, server

# what says how long something took or when it was, as a column of a CSV or a key of a JSON
_TIMES = {"seconds", "seconds_per_photo", "memory_mb", "peak_memory_mb"}
_TIMES |= {"created", "finished", "date", "commit"}
# what only says how something came about: MMEngine's logs, executed notebooks, times of files
_SAID = {"mmengine", "notebooks", "stamps", "log.txt"}


@dataclass(frozen=True)
class Stage:
    """What is run, killed, and run again.

    Args:
        work: a function of a module, called with inputs and workspace.
        outputs: the folder below the workspace where everything must be as if nobody had killed it.
        exit_code: of an uninterrupted run.
    """

    name: str
    work: Callable[[Path, Path], None]
    outputs: str
    exit_code: int = 0

    def digests(self, workspace: Path) -> dict[str, str]:
        """Name -> digest of every file of the outputs, times and the workspace's own name aside."""
        root = workspace / self.outputs
        names = {path.relative_to(root): path for path in root.rglob("*") if path.is_file()}
        content = {
            str(name): _timeless(path, workspace) for name, path in names.items() if not _SAID & {*name.parts}
        }
        return {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}


def _timeless(path: Path, workspace: Path) -> bytes:
    if path.suffix == ".csv":
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        data = frame.drop(columns=_TIMES, errors="ignore").to_csv(index=False).encode()
    elif path.suffix == ".json":
        data = json.dumps(json.loads(path.read_text(), object_hook=_without_times)).encode()
    else:
        data = path.read_bytes()
    data = data.replace(os.fsencode(workspace), b"WORKSPACE")
    # yapf breaks lines by the length of the workspace's name
    return b"".join(data.split()) if path.suffix == ".py" else data


def _without_times(values: dict) -> dict:
    return {key: value for key, value in values.items() if key not in _TIMES}


def make_inputs(root: Path, small: bool) -> Path:
    """What all stages read, made once; returns `root`."""
    inputs.home(root, 20)
    inputs.raw_folder(root / "many", 60 if small else 400)
    inputs.checkpoint(root / "model.safetensors")
    inputs.catalogue(root / "photos", root / "raw" / inputs.DATA / "train", 16 if small else 60, 10)
    (root / "settings.json").write_text(json.dumps(dict(small=small)))
    return root


def _is_small(root: Path) -> bool:
    return json.loads((root / "settings.json").read_text())["small"]


def command(*words) -> None:
    from fashionlib.cli import main

    main([str(word) for word in words])


def prepare(root: Path, workspace: Path) -> None:
    command("prepare", root / "many", workspace / "data", "--workers", 1 if _is_small(root) else 2)


def train(root: Path, workspace: Path) -> None:
    from fashionlib.train import Recipe, runner, train

    link(root / "data", workspace / "data")
    # a clock that moves when it is looked at: a state is saved at every second iteration, on any machine
    runner.time = SimpleNamespace(monotonic=itertools.count().__next__, perf_counter=time.perf_counter)
    runner.StateHook.__init__.__defaults__ = (1,)
    recipe = dict(model="segmenter_vit_t", data=inputs.DATA, scale="mini", batch=4, precision="fp32")
    recipe |= dict(epochs=2, workers=0) if _is_small(root) else dict(epochs=4, workers=2)
    train(Recipe.from_preset("quick", **recipe), home=workspace, progress=False)


def validate(root: Path, workspace: Path) -> None:
    """The whole of notebooks 04 and 05's numbers: every epoch, the pick, the test."""
    from fashionlib import evaluate

    link(root / "data", workspace / "data")
    for run in (root / "trained" / "runs" / inputs.DATA).glob("*/recipe.json"):
        link(run.parent, workspace / "runs" / inputs.DATA / run.parent.name)
    evaluate.validate(inputs.DATA, home=workspace, progress=False)
    evaluate.pick_epochs(inputs.DATA, home=workspace)
    evaluate.test(inputs.DATA, home=workspace, progress=False)


def cutouts(root: Path, workspace: Path) -> None:
    how = ["--model", root / "model.safetensors", "--edge", "soft", "--layers", "--preview"]
    workers = 1 if _is_small(root) else 2
    command("cutout", root / "photos", "--out", workspace / "out", "--workers", workers, *how)


def download(root: Path, workspace: Path) -> None:
    from fashionlib.data.sources import download

    os.environ |= {"FASHION_HOME": str(workspace), "NO_PROXY": "127.0.0.1"}
    url = (root / "server.txt").read_text()
    download.BLOCK, download.TIMEOUT = 4096, WATCHDOG
    download.SETS["fashionpedia"] = (
        download.Item(f"{url}/noise.bin", "noise.bin"),
        download.Item(f"{url}/train.zip", "train", member="train"),
    )
    command("download", "fashionpedia")


def serve(root: Path) -> server.Server:
    """What `download` fetches until ``shutdown``; slowly, where kills are timed."""
    noise = hashlib.shake_256(b"seed").digest(300_000)
    pause = 0 if _is_small(root) else 0.01
    photos = {f"train/{i}.jpg": noise[i * 4000 : i * 4000 + 4000] for i in range(50)}
    served = server.Server({"/noise.bin": noise, "/train.zip": server.archive(photos)}, 8192, pause)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    (root / "server.txt").write_text(served.url)
    return served


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        os.symlink(source, target, target_is_directory=True)


STAGES = (
    Stage("training", train, "runs"),
    Stage("validation", validate, f"runs/{inputs.DATA}/results"),
    Stage("prepare", prepare, "data"),
    Stage("download", download, "cache"),
    Stage("cut-outs", cutouts, "out", exit_code=1),  # a photo in ten is broken
)
