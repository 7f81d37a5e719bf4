"""Kill it anywhere: a stage is killed at random moments, started again with the same command, and compared.

In `make test` a moment is a step: a change to the disk or the move of a progress bar, before which the stage
waits until it may go on. So kills fall on the same places on any machine. In `make soak` a moment is a time:
it may also fall between two steps, or into a worker.

SIGKILL and SIGTERM go to the process alone, as the kernel and a supervisor send them; SIGINT to all of its
group, as Ctrl-C at a terminal does. The children of a killed process must end by themselves.
"""

import itertools
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
from tqdm import tqdm

from . import WATCHDOG, Line, deaths, stages
from .stages import Stage

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# imported once, by the process that all others are forked from
_ENGINE = ["fashionlib.cli", "fashionlib.train", "fashionlib.evaluate.score", "fashionlib.models"]
_ENGINE += ["fashionlib.cutout.batch", "fashionlib.data.sources.download", "fashionlib.data.prepare"]
_ENGINE += [
    "matplotlib.figure"
]  # by MMEngine's visualizer, which would need memory that a test may have taken away


@dataclass
class Survival:
    """What became of a stage: kills by signal, runs that they fell on, and what differed in the end."""

    stage: str
    length: str = ""  # of an uninterrupted run
    kills: Counter = field(default_factory=Counter)
    runs: int = 0
    problems: list[str] = field(default_factory=list)


def survive(stage: Stage, root: Path, folder: Path, kills: int, stepwise: bool, seed: int = 0) -> Survival:
    """Kill `stage` at `kills` moments, two in a run, drawn uniformly over its uninterrupted run.

    `root` holds the inputs (`stages.make_inputs`); workspaces are made in `folder`. Moments are steps if
    `stepwise`, else seconds. A run that ends before its moment has come is no kill, and another one is made.
    """
    workspace, survival = folder / "uninterrupted", Survival(stage.name)
    code, length = measured(stage.work, root, workspace, stepwise)
    survival.length = f"{length} steps" if stepwise else f"{length:.1f} s"
    if code != stage.exit_code:
        survival.problems.append(f"an uninterrupted run ends with {code}: {log(workspace)}")
        return survival
    expected = stage.digests(workspace)
    rng = random.Random(f"{stage.name} {seed}")
    order = list(SIGNALS) * (kills // len(SIGNALS) + 1)
    rng.shuffle(order)
    while survival.kills.total() < kills and survival.runs < 10 * kills:
        survival.runs += 1
        workspace, left = folder / f"run{survival.runs}", length
        for _ in range(min(2, kills - survival.kills.total())):
            moment, how = rng.uniform(0, left), order[survival.kills.total()]
            moment = int(moment) if stepwise else moment
            if not kill(stage.work, root, workspace, moment, how, stepwise):
                break
            survival.kills[how.name] += 1
            left = max(left - moment, 1 if stepwise else 0.2)
        code = run(stage.work, root, workspace)
        found = stage.digests(workspace)
        differing = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        if code != stage.exit_code or differing:
            survival.problems.append(f"{workspace}: exit {code}, differing: {differing}; {log(workspace)}")
        else:
            shutil.rmtree(workspace)
    return survival


def start(work: Callable, root: Path, workspace: Path, stepwise: bool) -> tuple[BaseProcess, Iterator[int]]:
    """``work(root, workspace)`` in a process, and group, of its own, and its steps (`_steps`).

    What it says goes to log.txt. Returns when it begins: how long a process takes to come up (the first one
    waits for the imports of _ENGINE) is no part of what is timed.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_ENGINE)
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, work, root, workspace, stepwise))
    process.start()
    theirs.close()
    ours.recv()
    return process, _steps(ours)


def _steps(line: Connection) -> Iterator[int]:
    """0, 1, … for the steps of a process, which waits at each until the next one is asked for.

    Ends with the process; at once if it is not stepwise. Single bytes, because Ctrl-C may cut a message.
    """
    with line, suppress(ConnectionError):  # it has ended
        for n in itertools.count():
            assert line.poll(WATCHDOG), "a process neither comes to its next step nor ends"
            if not os.read(line.fileno(), 1):
                return
            yield n
            os.write(line.fileno(), b".")


def measured(work: Callable, root: Path, workspace: Path, stepwise: bool) -> tuple[int, float]:
    """The exit code of ``work(root, workspace)``, undisturbed, and its steps or the seconds that it took."""
    (process, steps), begun = start(work, root, workspace, stepwise), time.monotonic()
    count = sum(1 for _ in steps)
    process.join()
    return process.exitcode, count if stepwise else time.monotonic() - begun


def run(work: Callable, root: Path, workspace: Path) -> int:
    """The exit code of ``work(root, workspace)``, undisturbed."""
    return measured(work, root, workspace, stepwise=False)[0]


def kill(
    work: Callable, root: Path, workspace: Path, moment: float, how: signal.Signals, stepwise: bool
) -> bool:
    """Kill `work` before its step `moment` or after so many seconds; returns when all of it is gone.

    Returns whether it died of it: it may have ended before. Raises AssertionError if a child outlives it.
    """
    process, steps = start(work, root, workspace, stepwise)
    if stepwise:
        met = any(step == moment for step in steps)
    else:
        process.join(moment)
        met = process.exitcode is None
    if met:
        with suppress(ProcessLookupError):  # a process that does not wait may have ended since
            (os.killpg if how is signal.SIGINT else os.kill)(process.pid, how)
    for _ in steps:  # Ctrl-C leaves it something to do
        pass
    process.join(WATCHDOG)
    assert process.exitcode is not None, f"{work.__name__} outlives a {how.name}: {log(workspace)}"
    deadline = time.monotonic() + WATCHDOG
    while children := group(process.pid):
        assert time.monotonic() < deadline, f"{work.__name__}: {children} outlive a {how.name}"
        time.sleep(0.05)
    return met and process.exitcode != 0


def log(workspace: Path) -> str:
    """The end of what the processes of a workspace said."""
    path = workspace / "log.txt"
    return path.read_text()[-1500:] if path.is_file() else ""


def group(leader: int) -> list[str]:
    """The processes of a group that are alive."""
    found = []
    for process in psutil.process_iter(["pid", "status", "cmdline"]):
        try:
            if os.getpgid(process.pid) == leader and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.info['cmdline'] or [])[:80]}")
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def _child(line: Connection, work: Callable, root: Path, workspace: Path, stepwise: bool) -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts with & ignores it
    log = os.open(workspace / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115  (wherever 1 leads)
    line.send("begun")
    _wait_at_steps(line, workspace) if stepwise else line.close()
    work(root, workspace)


def _wait_at_steps(line: Connection, workspace: Path) -> None:
    """Tell of each step of this process, in any of its threads, and wait until it may go on."""
    one_at_a_time, move = threading.RLock(), tqdm.update

    def wait() -> None:
        with one_at_a_time:
            os.write(line.fileno(), b".")
            os.read(line.fileno(), 1)

    def waiting_move(bar: tqdm, n: float = 1):
        if bar.iterable is None:  # else it moves now and then, by the clock
            wait()
        return move(bar, n)

    tqdm.update = waiting_move
    deaths.call_before_changes(workspace, wait)


def run_section(small: bool) -> Iterator[Line]:
    """A line for each stage."""
    kills = 3 if small else 20
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        root = stages.make_inputs(folder / "inputs", small)
        served = stages.serve(root)
        run(stages.train, root, root / "trained")
        for stage in stages.STAGES:
            done = survive(stage, root, folder / stage.name, kills, stepwise=small)
            signals = ", ".join(f"{count} {name}" for name, count in sorted(done.kills.items()))
            tried = f"{done.kills.total()} kills in {done.runs} runs of {done.length}: {signals}"
            held = not done.problems and done.kills.total() >= kills
            promise = f"{stage.name} killed and started again ends as if nothing had been"
            yield Line(promise, tried, held, "; ".join(done.problems))
            shutil.rmtree(folder / stage.name, ignore_errors=True)
        served.shutdown()
        served.server_close()
