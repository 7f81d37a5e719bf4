"""Runs of several studies at once in worker processes, within a time limit.

A run of a small ViT leaves most of a GPU idle and keeps one CPU core busy, so a GPU machine takes as many
as it has cores. Runs begin in order of priority, all arms of a seed before the next seed; what is not
finished at the limit is given up. Results are packed into one archive, again and again, so that a machine
that is taken away loses a minute at most.
"""

import gc
import multiprocessing
import os
import pickle
import re
import tarfile
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path

import click
import pandas as pd
import torch

from fashionlib import study
from fashionlib.evaluate import areas
from fashionlib.train import Recipe

PACK_EVERY = 30  # seconds


def queue(data: str, wanted: list[tuple[str, int]]) -> list[tuple[Recipe, int]]:
    """Runs, with the points of their curves, of (study, highest seed), one study after the other."""
    found: dict[str, tuple[Recipe, int]] = {}
    for name, highest in wanted:
        each = study.Study.read(data, name)
        for recipe in each.recipes():
            if recipe.seed <= highest:
                found.setdefault(recipe.name, (recipe, each.points))
    return list(found.values())


def work(data: str, tasks, done) -> None:
    """A worker: measure recipes until there are none; a failed run is reported and left out."""
    torch.set_num_threads(1)
    scorers = study.scorers_of(data)
    while (task := tasks.get()) is not None:
        recipe, points = task
        began = time.monotonic()
        try:
            measured = study.measure(replace(recipe, workers=0), scorers, points, progress=False)
            study.drop_run(recipe)
            gc.collect()  # MMEngine's runner is full of cycles
            done.put((recipe.name, time.monotonic() - began, pickle.dumps(measured)))
        except Exception:
            done.put((recipe.name, time.monotonic() - began, traceback.format_exc()))


def pack(folder: Path, out: Path | None) -> None:
    """One archive of the results folder, written whole."""
    if out is None:
        return
    part = out.with_suffix(".part")
    with tarfile.open(part, "w:gz", compresslevel=1) as archive:
        archive.add(folder, folder.name)
    part.replace(out)


@click.group(context_settings={"show_default": True})
def main() -> None:
    """Run studies in several processes; collect what another machine has packed."""


@main.command()
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--data", default="ccp")
def collect(archives, data) -> None:
    """Add the runs in ARCHIVES to results/DATA/studies."""
    where = study.folder(data)
    for archive in archives:
        with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
            there = Path(folder, where.name)
            epochs = pd.read_csv(there / "epochs.csv")
            for row in pd.read_csv(there / "runs.csv").to_dict("records"):
                mine = epochs[epochs.run == row["run"]].drop(columns="run")
                matrix = pd.read_csv(there / "confusion" / f"{row['run']}.csv")
                pixels = areas.read(areas.path(there, row["run"]))
                study.store(where, study.Measured(row, mine, pixels, matrix))
                click.echo(row["run"])


@main.command()
@click.argument("studies", nargs=-1, required=True, metavar="STUDY:SEED ...")
@click.option("--data", default="ccp")
@click.option("--match", default="", help="Only runs whose name fits this regular expression.")
@click.option("--out", type=click.Path(path_type=Path), help="Pack the results into this archive.")
@click.option("--seconds", default=480.0, help="Time for all of it.")
@click.option("--workers", default=os.cpu_count() - 1)
@click.option("--commit", default="", help="Of the code that runs here, for the rows.")
def run(studies, data, match, out, seconds, workers, commit) -> None:
    """Run the seeds up to SEED of each STUDY, one study after the other, and pack the results."""
    end, context = time.monotonic() + seconds, multiprocessing.get_context("spawn")
    wanted = [(name, int(seed)) for name, _, seed in (text.partition(":") for text in studies)]
    where = study.folder(data)
    points = dict(queue(data, wanted))
    todo = study.missing([recipe for recipe in points if re.search(match, recipe.name)], where)
    tasks, done = context.Queue(), context.Queue()
    for recipe in todo:
        tasks.put((recipe, points[recipe]))
    processes = [context.Process(target=work, args=(data, tasks, done), daemon=True) for _ in range(workers)]
    for process in processes:
        tasks.put(None)
        process.start()
    packed, finished = time.monotonic(), 0
    while finished < len(todo) and (left := end - time.monotonic()) > 0:
        try:
            name, took, result = done.get(timeout=min(left, 5))
        except multiprocessing.queues.Empty:
            continue
        finished += 1
        if isinstance(result, str):
            click.echo(f"FAILED {name} after {took:.0f} s: {result.strip().splitlines()[-1]}")
        else:
            measured = pickle.loads(result)
            measured.row["commit"] = commit or measured.row["commit"]
            study.store(where, measured)
            click.echo(f"{name}: {took:.0f} s, mIoU {measured.row['mIoU']:.4f} ({finished}/{len(todo)})")
        if time.monotonic() - packed > PACK_EVERY:
            pack(where, out)
            packed = time.monotonic()
    for process in processes:
        process.kill()
    pack(where, out)
    click.echo(f"{finished} of {len(todo)} runs in {seconds - (end - time.monotonic()):.0f} s")


if __name__ == "__main__":
    main()
