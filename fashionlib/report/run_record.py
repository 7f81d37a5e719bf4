"""Thinned histories and ``run.json``: how the runs behind committed results were made."""

import json
import math
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from fashionlib.core import checked_files, paths
from fashionlib.core.files import write_csv, write_text
from fashionlib.core.run_files import read_history
from fashionlib.data import prepared
from fashionlib.evaluate.runs import Run, find

POINTS = 500  # at most this many rows a run are committed
_PACKAGES = ("torch", "onedl-mmsegmentation", "onedl-mmcv", "onedl-mmengine", "numpy")


def history(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> pd.DataFrame:
    """Write ``results/history/<run>.csv`` of each run, and ``run.json``; returns the rows of all runs.

    A row is the mean of consecutive iterations, so that nothing is picked and noise is not hidden
    unevenly; `epoch` and `iter` are those of its last iteration, `memory_mb` the highest.
    """
    folder = paths.results_folder(data, home)
    run_json(data, home)
    thinned = []
    for run in find(data, runs, home):
        if (run.folder / "history.csv").is_file():
            thinned.append(thin(read_history(run.folder)))
            write_csv(folder / "history" / f"{run.name}.csv", thinned[-1])
            thinned[-1].insert(0, "run", run.name)
    if not thinned:
        raise FileNotFoundError(f"No run on {data} has a history.csv yet: train one (notebook 03).")
    return pd.concat(thinned, ignore_index=True)


def thin(rows: pd.DataFrame, points: int = POINTS) -> pd.DataFrame:
    """At most `points` rows of a history: means over equally many consecutive iterations."""
    size = max(1, math.ceil(len(rows) / points))
    how = {column: "mean" for column in rows} | {"epoch": "last", "iter": "last", "memory_mb": "max"}
    return rows.groupby(rows.index // size).agg(how).reset_index(drop=True)


def run_json(data: str, home: str | Path | None = None) -> dict:
    """Write ``results/run.json``: data, machine and versions, and every run's recipe and command."""
    dataset = prepared.require(paths.data_folder(data, home))
    kept = ("data", "source", "class_set", "classes", "fingerprint", "options", "left_out")
    what = {key: dataset[key] for key in kept if key in dataset}
    what["photos"] = {key: n for key, n in dataset["counts"].items() if isinstance(n, int)}
    what["reported"] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }
    what["runs"] = {run.name: _about(run, dataset) for run in find(data, None, home)}
    write_text(
        paths.results_folder(data, home) / "run.json", json.dumps(what, indent=1, ensure_ascii=False) + "\n"
    )
    return what


def _about(run: Run, dataset: dict) -> dict:
    """A run's recipe.json, with when it was finished; classes and fingerprint are the data's."""
    about = run.identity(dataset) | {
        key: run.card[key] for key in run.card if key not in ("classes", "fingerprint")
    }
    done = run.folder / "done.json"
    again = "remove it, and the run goes on"
    if (run.folder / "history.csv").is_file():
        rows = read_history(run.folder)
        if len(rows):
            about |= {"seconds": round(rows.seconds.sum()), "peak_memory_mb": round(rows.memory_mb.max())}
    return about | {"done": checked_files.json_object(done, {}, again) if done.is_file() else None}


def commit() -> str | None:
    """The repository's commit, with ``+changes`` where files differ from it; None outside a checkout."""
    git = ["git", "-C", paths.PROJECT]
    if not paths.CHECKOUT:
        return None
    try:
        head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True, stderr=subprocess.DEVNULL)
        changed = subprocess.check_output([*git, "status", "--porcelain", "-uno"])
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.strip() + ("+changes" if changed else "")
