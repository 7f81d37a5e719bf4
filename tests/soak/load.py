"""Much at once: a catalogue of cut-outs, and a table of a million rows.

Of the catalogue every good photo comes out, every bad one is told, and memory stays bounded. Of the table
the one bad row is named.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.bad_inputs import of_raw, write

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
    places = root / "photos", workspace / "out", root / "model.safetensors"
    result = batch.run(*places, workers=workers, engine=engine, progress=False)
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


def one_bad_line(rows: int, folder: Path) -> Line:
    """A ``train.csv`` of `rows` good rows and a bad one before the last, on the command line."""
    write(of_raw.one_bad_line_in(rows), folder / "raw")
    command = [Path(sys.executable).with_name("fashionlib"), "prepare", folder / "raw", folder / "out"]
    begun = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    tried = f"{rows:,} rows in {time.monotonic() - begun:.1f} s, memory {used.ru_maxrss / 1024:.0f} MB"
    held = process.returncode == 1 and said.startswith("Error: ") and said.count("\n") == 1
    held = held and f"row {rows + 1} " in said and not (folder / "out").exists()  # row 1 is the header
    promise = f"of a train.csv of {rows:,} rows the one bad row is named in a sentence"
    return Line(promise, tried, held, "" if held else said[-300:])


def run_section(small: bool) -> Iterator[Line]:
    """A line for the table, and one for each engine."""
    with tempfile.TemporaryDirectory() as folder:
        yield one_bad_line(200_000 if small else 1_000_000, Path(folder))
    photos = 200 if small else 5000
    for engine in ENGINES:
        promise = f"cut-outs of {photos:,} photos, 1 % broken, engine {engine}"
        if engine == "ray" and not find_spec("ray"):
            yield Line(promise, "", None, "the extra [ray] is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            done = carry(photos, Path(folder), engine, workers=1 if small else 2)
            killed = (Path(folder) / "work" / "killed").exists()
        tried = f"{done.photos:,} photos in {done.seconds:.0f} s; memory {done.first:.0f} MB in the first"
        tried += f" tenth, {done.last:.0f} MB in the last" + ("; a worker killed half-way" if killed else "")
        held = not done.problems and (killed or engine == "local")
        yield Line(f"{promise}: all good ones out, all bad ones told", tried, held, "; ".join(done.problems))
