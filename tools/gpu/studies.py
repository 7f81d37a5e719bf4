"""Runs of several studies at once in worker processes, within a time limit.

A run of a small ViT leaves most of a GPU idle and keeps one CPU core busy, so a GPU machine takes as many
as it has cores. Runs begin in order of priority, all arms of a seed before the next seed; what is not
finished at the limit is given up. Results are packed into one archive, again and again, so that a machine
that is taken away loses a minute at most.
"""

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


def queue(data: str, names: list[str], most_seeds: int) -> list[Recipe]:
    """Runs of the studies `names`: seed by seed, within a seed study by study, each run once."""
    studies = [study.Study.read(data, name) for name in names]
    found: dict[str, Recipe] = {}
    for seed in range(most_seeds):
        for each in studies:
            arms = [runs[seed] for runs in each.arms.values() if seed < len(runs)]
            found |= {recipe.name: recipe for recipe in arms if recipe.name not in found}
    return list(found.values())


def work(tasks, done) -> None:
    """A worker: measure recipes until there are none; a failed run is reported and left out."""
    torch.set_num_threads(1)
    while (recipe := tasks.get()) is not None:
        began = time.monotonic()
        try:
            measured = study.measure(replace(recipe, workers=0), progress=False)  # a core a run
            study.drop_weights(recipe)
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
@click.argument("names", nargs=-1, required=True)
@click.option("--data", default="ccp")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The archive of results.")
@click.option("--seconds", default=480.0, help="Time for all of it.")
@click.option("--workers", default=os.cpu_count() - 1)
@click.option("--seeds", default=6, help="At most so many.")
@click.option("--commit", default="", help="Of the code that runs here, for the rows.")
def main(names, data, out, seconds, workers, seeds, commit) -> None:
    """Run the studies NAMES and pack their results into OUT."""
    end, context = time.monotonic() + seconds, multiprocessing.get_context("spawn")
    todo = study.missing(queue(data, names, seeds))
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
            study.store(data, measured)
            click.echo(f"{name}: {took:.0f} s, mIoU {measured.row['mIoU']:.4f} ({finished}/{len(todo)})")
        if time.monotonic() - packed > PACK_EVERY:
            pack(study.folder(data), out)
            packed = time.monotonic()
    for process in processes:
        process.kill()
    pack(study.folder(data), out)
    click.echo(f"{finished} of {len(todo)} runs in {seconds - (end - time.monotonic()):.0f} s")


if __name__ == "__main__":
    main()
