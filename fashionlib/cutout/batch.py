"""Folders of photos: every photo once, whatever happens to one of them.

    out/<sub-folder>/<name>.png          the cut-outs, in the tree of the sources
    out/<sub-folder>/<name>.layers/      with layers: a PNG a class and manifest.json
    out/report.csv                       a row a photo: what became of it, failures first
    out/preview.png                      with preview: the first cut-outs over a checkerboard

Everything is written whole, so a run that is stopped or killed can simply be started again: what is there
already, from the same photo by the same model with the same options, is skipped.
"""

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import cv2
import torch
from tqdm.auto import tqdm

from fashionlib.cutout import compose, photos, segment, sources
from fashionlib.cutout.options import Options
from fashionlib.cutout.report import Report, Row
from fashionlib.cutout.single import make

REPORT, PREVIEW = "report.csv", "preview.png"
PREVIEW_PHOTOS = 48


class Task(NamedTuple):
    """A photo, the picture to make of it, and a digest of everything that the picture depends on."""

    photo: Path
    output: Path  # relative to the batch's folder
    key: str


class Result(NamedTuple):
    """How many photos were cut out now, skipped as done before, and failed; `report` is report.csv's path."""

    done: int
    skipped: int
    failed: int
    report: Path

    @property
    def exit_code(self) -> int:
        """0, or 1 if a photo failed."""
        return int(self.failed > 0)


def run(inputs, out, model=None, *, workers: int = 1, preview: bool = False, progress: bool = True,
        **options) -> Result:
    """Cut out every photo of `inputs` (files, folders, globs; one or a list) into the folder `out`.

    `model` is a checkpoint's path (None: the shipped default) or a loaded model; `options` are the fields of
    `Options`. Each of several `workers` is a process that loads the model, so they need its path.

    Raises ValueError or FileNotFoundError, before anything is written, for wrong options, names that the
    model does not know, inputs without photos, and photos that would become the same file. A photo that
    can't be cut out is named in report.csv and counted, and the others go on.
    """
    chosen, out = Options(**options), Path(out)
    if workers < 1 or (workers > 1 and isinstance(model, torch.nn.Module)):
        raise ValueError(f"workers={workers}: at least 1; several need the model's path, not the model.")
    pairs = sources.outputs(inputs, out, chosen.format, reserved=(REPORT, PREVIEW))
    loaded = model if isinstance(model, torch.nn.Module) else segment.load_model(model)
    choice = segment.wanted(loaded.meta["classes"], chosen.subject, chosen.keep, chosen.drop)
    everything = _digest(loaded, chosen)
    tasks = [Task(photo, output, _key(everything, photo)) for photo, output in pairs]
    report = Report(out / REPORT)
    to_do = [task for task in tasks
             if not (report.is_done(task.output, task.key) and (out / task.output).is_file())]
    if workers > 1:
        rows = _in_processes(to_do, out, chosen, choice, model, workers)
    else:
        rows = (_one(task, out, chosen, choice, loaded) for task in to_do)
    failed = 0
    with report, tqdm(rows, total=len(to_do), unit=" photos", mininterval=1, disable=not progress) as bar:
        for row in bar:
            report.add(row)
            failed += row.status == "failed"
    if preview:
        _write_preview(out, [task.output for task in tasks])
    return Result(len(to_do) - failed, len(tasks) - len(to_do), failed, report.path)


def _one(task: Task, out: Path, options: Options, choice: segment.Choice, model) -> Row:
    begun = time.monotonic()
    row = Row(str(task.output), str(task.photo), key=task.key)
    try:
        make(task.photo, out / task.output, model, choice, options, row)
    except photos.PhotoError as error:
        row.status, row.note = "failed", str(error)
    except Exception as error:  # whatever it is, it must not stop the other photos
        row.status, row.note = "failed", f"{task.photo}: {type(error).__name__}: {error}"
    row.seconds = round(time.monotonic() - begun, 3)
    return row


# several processes -----------------------------------------------------------------------------------------

_model = None  # of a worker process


def _start(path, threads: int) -> None:
    global _model
    os.environ["NUMBA_NUM_THREADS"] = str(threads)  # read when pymatting is first imported
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    _model = segment.load_model(path)


def _one_in_worker(task: Task, *arguments) -> Row:
    return _one(task, *arguments, _model)


def _in_processes(tasks: list[Task], out: Path, options: Options, choice: segment.Choice, path,
                  workers: int) -> Iterator[Row]:
    """The rows as they come. While one worker decodes or encodes, another has the model's arithmetic."""
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (path, threads))
    try:
        waiting = {pool.submit(_one_in_worker, task, out, options, choice): task for task in tasks}
        for future in as_completed(waiting):
            task = waiting[future]
            if error := future.exception():  # a worker died, by the kernel's hand for instance
                note = f"{task.photo}: a worker process ended ({error}): out of memory? Try fewer workers."
                yield Row(str(task.output), str(task.photo), status="failed", note=note, key=task.key)
            else:
                yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


# what a picture depends on ---------------------------------------------------------------------------------


def _digest(model, options: Options) -> str:
    """A digest of the model (description and weights) and of the options that change a picture."""
    changing = asdict(options) | {"max_pixels": None}
    digest = hashlib.sha256(json.dumps([model.meta, changing], sort_keys=True, default=str).encode())
    if Path(options.background).is_file():
        digest.update(Path(options.background).read_bytes())
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _key(everything: str, photo: Path) -> str:
    stat = photo.stat()
    return hashlib.sha256(f"{everything} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]


def _write_preview(out: Path, outputs: Iterable[Path]) -> None:
    written = [out / output for output in outputs if (out / output).is_file()][:PREVIEW_PHOTOS]
    if written:
        photos.write(out / PREVIEW, compose.contact_sheet(written), "png")
