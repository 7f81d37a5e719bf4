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
import tarfile
import time
import traceback
from dataclasses import replace
from pathlib import Path

import click
import torch

from fashionlib import study
from fashionlib.train import Recipe

PACK_EVERY = 30  # seconds


def queue(data: str, wanted: list[tuple[str, int]]) -> list[Recipe]:
    """The runs of (study, number of seeds) after (study, number of seeds), seed by seed, each run once."""
    found: dict[str, Recipe] = {}
    for name, seeds in wanted:
        for recipe in study.Study.read(data, name).recipes():
            if recipe.seed < seeds:
                found.setdefault(recipe.name, recipe)
    return list(found.values())


def work(tasks, done) -> None:
    """A worker: measure recipes until there are none; a failed run is reported and left out."""
    torch.set_num_threads(1)
    while (recipe := tasks.get()) is not None:
        began = time.monotonic()
        try:
            measured = study.measure(replace(recipe, workers=0), progress=False)  # a core a run
            study.drop_weights(recipe)
            gc.collect()  # MMEngine's runner is full of cycles
            done.put((recipe.name, time.monotonic() - began, pickle.dumps(measured)))
        except Exception:
            done.put((recipe.name, time.monotonic() - began, traceback.format_exc()))


def pack(folder: Path, out: Path) -> None:
    """One archive of the results folder, written whole."""
    part = out.with_suffix(".part")
    with tarfile.open(part, "w:gz", compresslevel=1) as archive:
        archive.add(folder, folder.name)
    part.replace(out)


@click.command()
@click.argument("studies", nargs=-1, required=True, metavar="STUDY:SEEDS ...")
@click.option("--data", default="ccp")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The archive of results.")
@click.option("--seconds", default=480.0, help="Time for all of it.")
@click.option("--workers", default=os.cpu_count() - 1)
@click.option("--commit", default="", help="Of the code that runs here, for the rows.")
def main(studies, data, out, seconds, workers, commit) -> None:
    """Run the first SEEDS seeds of each STUDY, one study after the other, and pack the results."""
    end, context = time.monotonic() + seconds, multiprocessing.get_context("spawn")
    wanted = [(name, int(seeds)) for name, _, seeds in (text.partition(":") for text in studies)]
    where = study.folder(data)
    todo = study.missing(queue(data, wanted), where)
    tasks, done = context.Queue(), context.Queue()
    for recipe in todo:
        tasks.put(recipe)
    processes = [context.Process(target=work, args=(tasks, done), daemon=True) for _ in range(workers)]
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
