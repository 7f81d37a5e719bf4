"""Run the notebooks in order, each in a process of its own.

A step is skipped when nothing changed since it last succeeded on this machine: its notebook, its
parameters, the library's code, the files it reads and the files it left (``runs/<data>/stamps``).
It succeeds when every cell of the executed copy (``runs/<data>/notebooks``) ran *and* its files
are there: papermill exits 0 when a flooded output is cut.

A stop (Ctrl-C, SIGTERM, SIGHUP) stops the notebook too, which saves what it has first.
"""

import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import psutil
from tqdm import tqdm

from fashionlib.core import paths
from fashionlib.core.classes import check_name
from fashionlib.core.files import write_text
from fashionlib.data.sources import require_raw
from fashionlib.reproduce.plan import FILES, Step, steps

QUIET = 30  # seconds between lines about a running notebook where there is no terminal
PATIENCE = 60  # seconds that a stopped notebook has to save what it is at
# The process of one notebook: many in one leak kernels. Its stdin ends when we end, even by SIGKILL.
_EXECUTE = """
import json, os, sys, threading, papermill
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
out = sys.stdout
papermill.execute_notebook(
    **json.loads(sys.argv[1]), progress_bar=False, stdout_file=out, stderr_file=out,
    start_timeout=600, iopub_timeout=600,  # on a busy machine papermill's 60 and 4 seconds are too few
)
"""
NOT_HASHED = {"cli", "reproduce", "doctor.py", "publish.py", "rendered.py"}  # code that no notebook runs


class StepFailed(RuntimeError):
    """A notebook stopped or did not write its files; the message names the notebook and the cell."""


@contextmanager
def _stoppable():
    """SIGTERM and SIGHUP (a closed terminal) stop as Ctrl-C does; an ignored one (nohup) stays ignored."""
    here = threading.current_thread() is threading.main_thread()
    caught = [s for s in (signal.SIGTERM, signal.SIGHUP) if here and signal.getsignal(s) is signal.SIG_DFL]
    for each in caught:
        signal.signal(each, signal.default_int_handler)
    try:
        yield
    finally:
        for each in caught:
            signal.signal(each, signal.SIG_DFL)


@_stoppable()
def reproduce(
    data: str, plan: dict, raw: str | Path | None = None, until: str | None = None, force: bool = False
) -> list[str]:
    """Run the steps of `plan` (see `plan.read`) on `data`; returns the names of those that ran.

    `raw` is what to convert where ``raw/ccp`` is missing; `until` ends after that notebook; `force` runs
    what is up to date too. Raises StepFailed at the first step that fails, FileNotFoundError without raw
    data, ValueError for a plan that can't be, KeyboardInterrupt when stopped.
    """
    last = check_name(until, FILES, "notebook") if until else max(FILES)
    todo = [step for step in steps(data, plan) if step.notebook <= last]
    require_raw(data, raw)
    done = []
    with tqdm(total=len(todo), unit="step", disable=not sys.stderr.isatty()) as bar:
        for number, step in enumerate(todo, 1):
            label = f"[{number}/{len(todo)}] {step.name}"
            bar.set_description(step.name)
            if not force and is_up_to_date(step, data):
                tqdm.write(f"{label}: up to date")
            else:
                begun = time.monotonic()
                tqdm.write(f"{label} …")
                run(step, data, bar)
                done.append(step.name)
                tqdm.write(f"{label}: done in {time.monotonic() - begun:.0f} s")
            bar.update()
    return done


def is_up_to_date(step: Step, data: str) -> bool:
    """Whether `step` succeeded here before with the same inputs, and its files are as it left them."""
    try:
        stamp = json.loads(_stamp(step, data).read_text())
    except (FileNotFoundError, ValueError):
        return False
    return stamp == {"inputs": inputs(step), "files": fingerprint(step.writes)}


def run(step: Step, data: str, bar: tqdm | None = None) -> None:
    """Execute one step in a process of its own and stamp it; StepFailed if it did not succeed."""
    before = inputs(step)  # what changes while it runs makes it stale
    executed = paths.runs_folder(data) / "notebooks" / f"{step.name}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    executed.unlink(missing_ok=True)
    problem = _execute(step, executed, bar)
    _check_cells(step, executed, problem)
    _check_files(step)
    stamp = {"inputs": before, "files": fingerprint(step.writes)}
    write_text(_stamp(step, data), json.dumps(stamp, indent=1))


def inputs(step: Step) -> dict[str, str]:
    """Everything that the outcome of `step` depends on -> a hash of it."""
    cells = nbformat.read(paths.NOTEBOOKS / f"{step.notebook}.ipynb", as_version=4).cells
    texts = [value for value in step.parameters.values() if isinstance(value, str)]
    named = [Path(text) for text in texts if Path(text).is_file()]  # a checkpoint as `init`
    return {
        "notebook": _hash(*(cell.source for cell in cells if cell.cell_type == "code")),
        "parameters": _hash(json.dumps(step.parameters, sort_keys=True)),
        "library": library(),
        "named files": _hash(*map(_look, named)),
        **fingerprint(step.reads),
    }


def library() -> str:
    """A hash of the code that notebooks run."""
    root = paths.PROJECT / "fashionlib"
    files = sorted(path for path in root.rglob("*.py") if not NOT_HASHED & set(path.relative_to(root).parts))
    return _hash(*(path.read_text(encoding="utf-8") for path in files))


def fingerprint(patterns: Iterable[str]) -> dict[str, str]:
    """Path below the home -> hash, of every file that fits one of the patterns."""
    found = {path for pattern in patterns for path in paths.home().glob(pattern) if path.is_file()}
    return {str(path.relative_to(paths.home())): _look(path) for path in sorted(found)}


def _execute(step: Step, executed: Path, bar: tqdm | None) -> str:
    """Run the notebook through papermill in a new process, passing on what it prints; "" or what failed."""
    source = str(paths.NOTEBOOKS / f"{step.notebook}.ipynb")
    job = dict(input_path=source, output_path=str(executed), parameters=step.parameters)
    command = [sys.executable, "-c", _EXECUTE, json.dumps(job)]
    log = executed.with_suffix(".log")  # of papermill and the kernel
    options = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with log.open("w") as errors, subprocess.Popen(command, stderr=errors, **options) as child:
        try:
            _pass_on(child.stdout, bar)
        except BaseException:
            _stop(psutil.Process(child.pid))
            raise
    if not child.returncode:
        return ""
    said = log.read_text().strip() or "without a word"
    return f"exit code {child.returncode}, {said.splitlines()[-1]}"


def _stop(papermill: psutil.Process) -> None:
    """Press the notebook's stop button until it has ended; kill what is left of it after PATIENCE seconds.

    More than once: a kernel between two cells does not hear it. Not papermill's own end: that would
    terminate the loader's workers before the training has saved.
    """
    alive, deadline = {papermill}, time.monotonic() + PATIENCE
    try:
        while alive and time.monotonic() < deadline:
            kernels = []
            with suppress(psutil.NoSuchProcess):
                kernels = papermill.children()
                alive.update(papermill.children(recursive=True))
            for process in kernels or [papermill]:
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGINT)
            alive = set(psutil.wait_procs(alive, timeout=2)[1])
    finally:  # also when Ctrl-C comes again
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _pass_on(lines: Iterable[str], bar: tqdm | None) -> None:
    """Show what the notebook prints: the first line, then the newest every second or every QUIET seconds."""
    live = bar is not None and not bar.disable
    due = -math.inf
    for line in filter(None, map(str.strip, lines)):
        if (now := time.monotonic()) <= due:
            continue
        if live and due > 0:
            bar.set_postfix_str(line[-50:])
        else:
            tqdm.write(f"      {line}")
        due = now + (1 if live else QUIET)


def _check_cells(step: Step, executed: Path, problem: str) -> None:
    """StepFailed, naming the cell, unless every code cell of the executed copy ran without an error."""
    cells = nbformat.read(executed, as_version=4).cells if executed.is_file() else []
    code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(code, 1):
        error = next((out for out in cell.outputs if out.output_type == "error"), None)
        replied = "shell.execute_reply" in cell.metadata.get("execution", {})  # a kernel that died has not
        if error or not replied:
            reason = f"{error.ename}: {error.evalue}" if error else problem or "it did not end"
            where = _where(cell, number, "\n".join(error.traceback) if error else "")
            raise StepFailed(f"{step.name} stopped in {where}: {reason}\nSee {executed}")
    if problem or not code:
        raise StepFailed(f"{step.name} did not run: {problem or 'papermill left no notebook'}")


def _where(cell, number: int, traceback: str) -> str:
    """The cell as JupyterLab numbers it, how it begins, and the line of it that failed."""
    lines = cell.source.splitlines()
    begins = next((line for line in lines if line.strip() and not line.startswith("#")), lines[0])
    number = cell.execution_count or number  # a kernel that died has told none
    plain = re.sub(r"\x1b\[[\d;]*m", "", traceback)
    failed = re.findall(rf"In ?\[{number}\], line (\d+)", plain)
    line = f" at line {failed[-1]}, `{lines[int(failed[-1]) - 1].strip()}`" if failed else ""
    return f"cell [{number}] (`{begins}`){line}"


def _check_files(step: Step) -> None:
    """StepFailed unless each pattern of `step.writes` finds a file and none of them is empty."""
    for pattern in step.writes:
        found = list(paths.home().glob(pattern))
        if not found or not all(path.stat().st_size for path in found):
            what = "is empty" if found else "is missing"
            raise StepFailed(f"{step.name} ran without an error, but {paths.home() / pattern} {what}.")


def _look(path: Path) -> str:
    """A hash of a small file's bytes, or of a big file's size and time of change."""
    stat = path.stat()
    return _hash(path.read_bytes().hex() if stat.st_size < 1e6 else f"{stat.st_size} {stat.st_mtime_ns}")


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _stamp(step: Step, data: str) -> Path:
    return paths.runs_folder(data) / "stamps" / f"{step.name}.json"
