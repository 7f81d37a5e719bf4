"""Kill it anywhere: a stage is killed at random moments, started again with the same command, and compared.

SIGKILL and SIGTERM go to the process alone, as the kernel and a supervisor send them; SIGINT to all of its
group, as Ctrl-C at a terminal does. The children of a killed process must end by themselves.
"""

import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from . import Line, stages
from .stages import Stage

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 20  # seconds that the children of a killed process may take to end
# imported once, by the process that all others are forked from
_ENGINE = ["fashionlib.cli", "fashionlib.train", "fashionlib.evaluate.score", "fashionlib.models"]
_ENGINE += ["fashionlib.cutout.batch", "fashionlib.sources.download", "fashionlib.prepare"]


@dataclass
class Survival:
    """What became of a stage: kills by signal, runs that they fell on, and what differed in the end."""

    stage: str
    seconds: float  # of an uninterrupted run
    kills: Counter = field(default_factory=Counter)
    runs: int = 0
    problems: list[str] = field(default_factory=list)


def survive(stage: Stage, root: Path, folder: Path, kills: int, seed: int = 0) -> Survival:
    """Kill `stage` at `kills` moments, two in a run, drawn uniformly over its uninterrupted duration.

    `root` holds the inputs (`stages.make_inputs`); workspaces are made in `folder`.
    """
    workspace = folder / "uninterrupted"
    code, seconds = timed(stage.work, root, workspace)
    survival = Survival(stage.name, seconds)
    if code != stage.exit_code:
        survival.problems.append(f"an uninterrupted run ends with {code}: {log(workspace)}")
        return survival
    expected = stage.digests(workspace)
    rng, duration = random.Random(f"{stage.name} {seed}"), seconds
    order = list(SIGNALS) * (kills // len(SIGNALS) + 1)
    rng.shuffle(order)
    while survival.kills.total() < kills and survival.runs < 10 * kills:
        survival.runs += 1
        workspace, left = folder / f"run{survival.runs}", duration
        for again in range(min(2, kills - survival.kills.total())):
            moment, how = rng.uniform(0, left), order[survival.kills.total()]
            ended = kill(stage.work, root, workspace, moment, how)
            if ended is not None:
                if not again:
                    duration = ended  # the machine was busier when it was timed
                break
            survival.kills[how.name] += 1
            left = max(left - moment, 0.2)
        code = run(stage.work, root, workspace)
        found = stage.digests(workspace)
        differing = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        if code != stage.exit_code or differing:
            survival.problems.append(f"{workspace}: exit {code}, differing: {differing}; {log(workspace)}")
        else:
            shutil.rmtree(workspace)
    return survival


def start(work: Callable, root: Path, workspace: Path) -> multiprocessing.Process:
    """``work(root, workspace)`` in a process, and group, of its own; what it says goes to log.txt.

    Returns when it begins. How long a process takes to come up is no part of what is timed: the first one of
    a session waits for the imports of _ENGINE, and moments drawn over that time would miss all later ones.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_ENGINE)
    begins, tell = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(tell, work, root, workspace))
    process.start()
    tell.close()
    with begins:
        begins.recv()
    return process


def timed(work: Callable, root: Path, workspace: Path) -> tuple[int, float]:
    """The exit code of ``work(root, workspace)``, undisturbed, and the seconds that it took."""
    process, begun = start(work, root, workspace), time.monotonic()
    process.join()
    return process.exitcode, time.monotonic() - begun


def run(work: Callable, root: Path, workspace: Path) -> int:
    """The exit code of ``work(root, workspace)``, undisturbed."""
    return timed(work, root, workspace)[0]


def kill(work: Callable, root: Path, workspace: Path, moment: float, how: signal.Signals) -> float | None:
    """Kill `work` after `moment` seconds; returns when all of it is gone.

    Returns None, or the seconds after which it had ended by itself. Raises AssertionError if a child
    outlives its parent.
    """
    process, begun = start(work, root, workspace), time.monotonic()
    process.join(moment)
    if process.exitcode is not None:
        return time.monotonic() - begun
    if how is signal.SIGINT:
        os.killpg(process.pid, how)
    else:
        os.kill(process.pid, how)
    process.join(120)
    deadline = time.monotonic() + PATIENCE
    while children := group(process.pid):
        assert time.monotonic() < deadline, f"{work.__name__}: {children} outlive a {how.name}"
        time.sleep(0.05)
    return None if process.exitcode else moment


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


def _child(tell: Connection, work: Callable, root: Path, workspace: Path) -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts with & ignores it
    log = os.open(workspace / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # wherever 1 leads
    tell.send("begun")
    tell.close()
    work(root, workspace)


def run_section(small: bool) -> Iterator[Line]:
    """A line for each stage."""
    kills = 3 if small else 20
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        root = stages.make_inputs(folder / "inputs", small)
        served = stages.serve(root)
        run(stages.train, root, root / "trained")
        for stage in stages.STAGES:
            done = survive(stage, root, folder / stage.name, kills)
            signals = ", ".join(f"{count} {name}" for name, count in sorted(done.kills.items()))
            tried = f"{done.kills.total()} kills in {done.runs} runs of {done.seconds:.1f} s: {signals}"
            held = not done.problems and done.kills.total() >= kills
            yield Line(f"{stage.name} killed and started again ends as if nothing had been", tried, held,
                       "; ".join(done.problems))  # fmt: skip
            shutil.rmtree(folder / stage.name, ignore_errors=True)
        served.shutdown()
        served.server_close()
