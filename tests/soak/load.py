"""A catalogue of cut-outs: every good photo comes out, every bad one is told, and memory stays bounded."""

import csv
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import psutil

from . import Line, inputs, kills

GROWTH = 1.1  # of resident memory, from the first tenth of the photos to the last
ENGINES = ("local", "ray")


class Load(NamedTuple):
    """What became of a catalogue. Memory in MB: the most while the first and the last tenth were made."""

    photos: int
    first: float
    last: float
    seconds: float
    problems: list[str]


def carry(photos: int, folder: Path, engine: str = "local", workers: int = 1) -> Load:
    """Cut out `photos` drawn photos, one in a hundred of them broken, below `folder`.

    With the engine ray a worker is killed when half of the photos are made.
    """
    root, workspace = folder / "inputs", folder / "work"
    inputs.raw_folder(root / "raw", 20)
    broken = inputs.catalogue(root / "photos", root / "raw" / "train", photos)
    inputs.checkpoint(root / "model.safetensors")
    (root / "load.json").write_text(json.dumps([engine, workers, photos]))
    begun = time.monotonic()
    code = kills.run(_cut, root, workspace)
    seconds, problems = time.monotonic() - begun, []
    if code != 1 or not (workspace / "memory.json").is_file():  # 1: some photos failed
        return Load(photos, 0, 0, seconds, [f"exit code {code}: {kills.log(workspace)}"])
    memory = json.loads((workspace / "memory.json").read_text())
    tenth = max(1, len(memory) // 10)
    first, last = max(memory[:tenth]), max(memory[-tenth:])
    with (workspace / "out" / "report.csv").open(newline="") as file:
        rows = {Path(row["source"]).name: row for row in csv.DictReader(file)}
    failed = sorted(name for name, row in rows.items() if row["status"] == "failed")
    made = {path.stem for path in (workspace / "out").glob("*.png")}
    good = {path.stem for path in (root / "photos").iterdir() if path.name not in broken}
    if failed != sorted(broken):
        problems.append(f"failed: {failed[:5]}, broken: {broken[:5]}")
    if made != good or len(rows) != photos:
        problems.append(f"{len(good - made)} good photos did not come out; {len(rows)} are in report.csv")
    if silent := [name for name in failed if name not in rows[name]["note"]]:
        problems.append(f"report.csv does not say what is wrong with {silent[:5]}")
    if last > GROWTH * first and engine == "local":  # Ray's own store is part of its workers
        problems.append(f"memory grew from {first:.0f} to {last:.0f} MB")
    return Load(photos, first, last, seconds, problems)


def _cut(root: Path, workspace: Path) -> None:
    """The batch, with the memory of this process and its workers noted after each photo."""
    from fashionlib.cutout import batch
    from fashionlib.cutout.report import Report

    engine, workers, photos = json.loads((root / "load.json").read_text())
    memory, add = [], Report.add

    def noted(self, row) -> None:
        add(self, row)
        memory.append(_resident_mb())

    Report.add = noted
    if engine == "ray":
        threading.Thread(target=_kill_half_way, args=(workspace / "out", photos), daemon=True).start()
    result = batch.run(root / "photos", workspace / "out", root / "model.safetensors", workers=workers,
                       engine=engine, progress=False)  # fmt: skip
    (workspace / "memory.json").write_text(json.dumps(memory))
    raise SystemExit(result.exit_code)


def _resident_mb() -> float:
    me, total = psutil.Process(), 0
    for process in (me, *me.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it ended meanwhile
            continue
    return total / 2**20


def _kill_half_way(out: Path, photos: int) -> None:
    while len(list(out.glob("*.png"))) < photos // 2:
        time.sleep(0.2)
    for process in psutil.Process().children(recursive=True):
        if "MapWorker" in " ".join(process.cmdline()):
            print(f"killing {process.cmdline()[0]}")
            process.kill()
            (out.parent / "killed").touch()
            return


def run_section(small: bool) -> Iterator[Line]:
    """A line for each engine."""
    photos = 200 if small else 5000
    for engine in ENGINES:
        promise = f"cut-outs of {photos:,} photos, 1 % broken, engine {engine}"
        if engine == "ray" and not find_spec("ray"):
            yield Line(promise, "not tried", True, "the extra [ray] is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            done = carry(photos, Path(folder), engine, workers=1 if small else 2)
            killed = (Path(folder) / "work" / "killed").exists()
        tried = f"{done.photos:,} photos in {done.seconds:.0f} s; memory {done.first:.0f} MB in the first"
        tried += f" tenth, {done.last:.0f} MB in the last" + ("; a worker killed half-way" if killed else "")
        held = not done.problems and (killed or engine == "local")
        yield Line(f"{promise}: all good ones out, all bad ones told", tried, held, "; ".join(done.problems))
