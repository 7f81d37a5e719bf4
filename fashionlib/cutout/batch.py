"""Folders of photos: every photo once, whatever happens to one of them.

    out/<sub-folder>/<name>.png          the cut-outs, in the tree of the sources
    out/<sub-folder>/<name>.layers/      with layers: a PNG a class and manifest.json
    out/report.csv                       a row a photo: what became of it, failures first, then the doubtful
    out/preview.html, preview.png        with preview: the cut-outs over a checkerboard
    out/worst.png                        with preview: those with the lowest predicted quality

Everything is written whole, so a run that is stopped or killed can simply be started again: what is there
already, from the same photo by the same model with the same options, is skipped.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch

from fashionlib.core import files, outputs
from fashionlib.core.classes import check_name
from fashionlib.cutout import executors, segment, sources
from fashionlib.cutout import preview as previews
from fashionlib.cutout.cache_key import digest_of, key_of, version_of
from fashionlib.cutout.one_photo import CutoutPipeline, Task
from fashionlib.cutout.options import Options
from fashionlib.cutout.report import REPORT, TAKEN, Report, Result, Row

ENGINES = ("local", "ray")


def run(
    inputs,
    out,
    model=None,
    *,
    mask_in=None,
    apply_to=(),
    workers: int = 1,
    preview: bool = False,
    progress: bool = True,
    engine: str = "local",
    **options,
) -> Result:
    """Cut out every photo of `inputs` (files, folders, globs; one or a list) into the folder `out`.

    `model` is a checkpoint's path (None: the shipped default) or a loaded model; `options` are the fields of
    `Options`. Each of several `workers` is a process that loads the model, so they need its path.

    mask_in
        A mask made or corrected elsewhere, of the only photo, or a folder of masks named as the outputs are:
        it takes the model's place, and edge, layers and crop follow.
    apply_to
        Other renditions of the only photo's shot (files, folders, globs): the matte found on that photo is
        brought to their size, and cut out of them with their own colours.
    engine
        ``local``, or ``ray``: on a Ray cluster, with fsspec URLs for `inputs` and `out` (see `on_ray`).

    Raises ValueError or FileNotFoundError, before anything is written, for wrong options, names that the
    model does not know, inputs without photos, and photos that would become the same file;
    `files.FolderLocked` while another process fills `out`. A photo that can't be cut out is named in
    report.csv and counted, and the others go on; `files.DiskError`, where `out` can't be written to, ends all.
    """
    chosen = Options(**options)
    if workers < 1:
        raise ValueError(f"workers={workers}: there must be at least 1.")
    if workers > 1 and isinstance(model, torch.nn.Module):
        raise ValueError(f"workers={workers}: several need the model's path, not the model.")
    if check_name(engine, ENGINES, "engine") == "ray":
        if mask_in or apply_to:
            raise ValueError("A mask and other renditions are for the engine local.")
        from fashionlib.cutout import on_ray

        return on_ray.run(inputs, out, model, chosen, workers, preview, progress)
    out = Path(out)
    others = [path for path in (mask_in, chosen.background) if path and os.path.lexists(path)]
    read = [
        place
        for item in (*sources.listed(inputs), *sources.listed(apply_to))
        for place in sources.places(item)
    ]
    outputs.claim(out, "cut-outs", [*read, *others], _is_ours)
    tasks = _tasks(inputs, out, chosen, mask_in, apply_to)
    by_model = chosen.layers or not all(task.mask for task in tasks)
    loaded, choice = _loaded(model, chosen) if by_model else (None, None)
    digest = digest_of(loaded, chosen)
    tasks = [
        task._replace(key=key_of(digest, *map(version_of, (task.photo, task.mask, task.reference))))
        for task in tasks
    ]
    with files.folder_lock(out, "cutting out into"):
        report = Report(out / REPORT)
        to_do = [
            task
            for task in tasks
            if not (report.is_done(task.output, task.key) and (out / task.output).is_file())
        ]
        report.expect(
            [(str(task.output), str(task.photo)) for task in to_do],
            lambda output: os.path.lexists(out / output) and not (out / output).is_dir(),
        )
        if workers > 1:
            rows = _in_processes(to_do, workers, by_model, model, out, choice, chosen)
        else:
            maker = CutoutPipeline(out, loaded, choice, chosen)
            rows = executors.in_threads(to_do, maker.read, maker.cut, maker.write)
        with report:
            failed = report.add_all(rows, len(to_do), progress)
        if preview:
            previews.write(out, report.rows(lambda output: (out / output).is_file()))
        return Result(len(to_do) - len(failed), len(tasks) - len(to_do), len(failed), report.path, failed)


def _is_ours(out: Path) -> bool:
    """Whether a folder holds cut-outs of ours; ValueError for a report.csv that is not of ours."""
    return (out / REPORT).is_file() and bool(Report(out / REPORT))


def _loaded(model, options: Options) -> tuple[torch.nn.Module, segment.Choice]:
    loaded = model if isinstance(model, torch.nn.Module) else segment.load_model(model)
    return loaded, segment.wanted(loaded.meta["classes"], options.subject, options.keep, options.drop)


def _tasks(inputs, out: Path, options: Options, mask_in, apply_to) -> list[Task]:
    """What is to be made of which photo; the keys are still missing."""

    def outputs(photos) -> list[tuple[Path, Path]]:
        return sources.outputs(photos, out, options.format, TAKEN, options.layers)

    pairs = outputs(inputs)
    masks = sources.masks(mask_in, pairs) if mask_in else {}
    tasks = [Task(photo, output, mask=masks.get(photo)) for photo, output in pairs]
    renditions = sources.listed(apply_to)
    if not renditions:
        return tasks
    if len(tasks) != 1:
        raise ValueError(f"One photo's matte is applied to others, but there are {len(tasks)}: give one.")
    (first,) = tasks
    others = outputs([first.photo, *renditions])[1:]
    return [first, *(Task(photo, output, mask=first.mask, reference=first.photo) for photo, output in others)]


# several processes -----------------------------------------------------------------------------------------

_maker = None  # of a worker process


def _start(threads: int, by_model: bool, path, *arguments) -> None:
    global _maker
    os.environ["NUMBA_NUM_THREADS"] = str(threads)  # read when pymatting is first imported
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    out, *how = arguments
    _maker = CutoutPipeline(out, segment.load_model(path) if by_model else None, *how)


def _make(task: Task) -> Row:
    return _maker(task)


def _lost(task: Task) -> Row:
    row = Row(str(task.output), str(task.photo), key=task.key)
    row.fail(f"{task.photo}: the process that worked on it ended: out of memory? Try fewer workers.")
    return row


def _in_processes(tasks: list[Task], workers: int, *arguments) -> Iterator[Row]:
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    return executors.in_processes(tasks, _make, workers, _start, (threads, *arguments), _lost)
