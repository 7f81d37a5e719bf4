"""Folders of photos to cut-outs, with a row of report.csv for every photo, the failed ones too.

    out/<sub-folder>/<name>.png          the cut-outs, in the tree of the sources
    out/<sub-folder>/<name>.layers/      with layers: a PNG a class and manifest.json
    out/report.csv                       a row a photo: failures first, then by rising predicted quality
    out/preview.html, preview.png        with preview: the cut-outs over a checkerboard
    out/worst.png                        with preview: those with the lowest predicted quality

Every file is written atomically, so a run that was stopped or killed can be started again. Pictures that
exist already, from the same photo by the same model with the same options, are skipped.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import torch

from fashionlib.core import files, outputs
from fashionlib.core.classes import check_name
from fashionlib.core.processes import executor
from fashionlib.cutout import segment, tasks
from fashionlib.cutout.one_photo import CutoutPipeline
from fashionlib.cutout.report import REPORT, TAKEN, Report, Result, Row, write_preview
from fashionlib.cutout.tasks import Options, Task

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

    Args:
        model: a checkpoint's path (None: the shipped model) or a loaded model.
        mask_in: a mask made elsewhere, of the only photo, or a folder of masks named as the outputs are. It
            replaces the model's; edge, layers and crop follow.
        apply_to: other renditions of the only photo's shot (files, folders, globs): the matte found on that
            photo is resized to theirs, and they are cut out by it with their own colours.
        workers: processes; each loads the model, so several need its path.
        engine: ``local``, or ``ray`` with fsspec URLs for `inputs` and `out` (see `on_ray`).
        options: the fields of `Options`.

    Raises ValueError or FileNotFoundError, before anything is written, for wrong options, unknown classes,
    inputs without photos, and photos that would become the same file; `files.FolderLocked` while another
    process fills `out`; `files.DiskError` where `out` can't be written to. A photo that can't be cut out is
    counted and has its reason in report.csv.
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
    return _run(inputs, Path(out), model, chosen, mask_in, apply_to, workers, preview, progress)


def _run(
    inputs, out: Path, model, chosen: Options, mask_in, apply_to, workers: int, preview: bool, progress: bool
) -> Result:
    others = [path for path in (mask_in, chosen.background) if path and os.path.lexists(path)]
    items = *tasks.listed(inputs), *tasks.listed(apply_to)
    read = [place for item in items for place in tasks.places(item)]
    outputs.claim(out, "cut-outs", [*read, *others], _is_ours)
    plain = _tasks(inputs, out, chosen, mask_in, apply_to)
    needs_model = chosen.layers or not all(task.mask for task in plain)
    if needs_model and not isinstance(model, torch.nn.Module):
        loaded = segment.load_model(model)
    else:
        loaded = model if needs_model else None
    pipeline, digest = CutoutPipeline(out, loaded, chosen), chosen.digest(loaded)

    def rows(to_do: list[Task]) -> Iterator[Row]:
        if workers > 1:
            return _in_processes(to_do, workers, needs_model, model, out, chosen)
        return in_threads(to_do, pipeline.read, pipeline.cut, pipeline.write)

    def there(output: str) -> bool:
        return os.path.lexists(out / output) and not (out / output).is_dir()

    with files.folder_lock(out, "cutting out into"):
        report = Report(out / REPORT)
        result = report.make([task.with_key(digest) for task in plain], there, rows, progress)
        if preview:
            write_preview(out, report.rows(lambda output: (out / output).is_file()))
        return result


def _is_ours(out: Path) -> bool:
    """Whether a folder holds cut-outs of ours; ValueError for a report.csv that is not of ours."""
    return (out / REPORT).is_file() and bool(Report(out / REPORT))


def _tasks(inputs, out: Path, options: Options, mask_in, apply_to) -> list[Task]:
    """The tasks of a batch, without their keys."""

    def pairs(photos) -> list[tuple[Path, Path]]:
        return tasks.outputs(photos, out, options.format, TAKEN, options.layers)

    found = pairs(inputs)
    masks = tasks.masks(mask_in, found) if mask_in else {}
    made = [Task(photo, output, mask=masks.get(photo)) for photo, output in found]
    renditions = tasks.listed(apply_to)
    if not renditions:
        return made
    if len(made) != 1:
        raise ValueError(f"One photo's matte is applied to others, but there are {len(made)}: give one.")
    (first,) = made
    others = pairs([first.photo, *renditions])[1:]
    return [first, *(Task(photo, output, mask=first.mask, reference=first.photo) for photo, output in others)]


# several photos at once ----------------------------------------------------------------------------------


def in_threads(items: Iterable, read: Callable, cut: Callable, write: Callable) -> Iterator:
    """``write(cut(read(item)))`` for each item, in order: the steps of neighbours run at the same time.

    While the caller's thread has `cut` (the model), the next photo is decoded and the last one encoded;
    Pillow and OpenCV release the interpreter for that. So at most four photos are in memory.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        yield from _ahead(writer, write, map(cut, _ahead(reader, read, items)))


def _ahead(pool: Executor, work: Callable, items: Iterable) -> Iterator:
    """``work(item)`` for each item, in order, where `pool` is one item ahead of who asks."""
    waiting = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
    except KeyboardInterrupt:  # what is made already is still handed over, to be remembered
        yield from (future.result() for future in waiting)
        raise
    yield from (future.result() for future in waiting)


def in_processes(
    tasks: Iterable, work: Callable, workers: int, start: Callable, arguments: tuple, lost: Callable
) -> Iterator:
    """``work(task)`` for each task as they come, in `workers` processes that ``start(*arguments)`` prepares.

    While one process decodes or encodes, another has the model's arithmetic. Where a process dies (of too
    little memory, by a fault in a decoder), the tasks that it may have died of are tried alone, each in a
    process of its own; one that kills this one too becomes ``lost(task)``, and the others go on.
    """
    tasks, running = deque(tasks), {}
    while tasks:
        try:
            with executor(workers, start, arguments) as pool:
                while tasks or running:
                    while tasks and len(running) <= workers:  # one more than work at once, so that none waits
                        future = pool.submit(work, tasks[0])
                        running[future] = tasks.popleft()  # not before it is accepted: a dead pool refuses
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        yield future.result()
                        del running[future]
            return
        except BrokenProcessPool:
            suspects, running = list(running.values()), {}
        if len(suspects) == 1 and workers == 1:
            yield lost(suspects[0])
        else:
            for task in suspects:
                yield from in_processes([task], work, 1, start, arguments, lost)


_pipeline = None  # of a worker process


def _start(threads: int, needs_model: bool, path, out: Path, *how) -> None:
    global _pipeline
    os.environ["NUMBA_NUM_THREADS"] = str(threads)  # read when pymatting is first imported
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    _pipeline = CutoutPipeline(out, segment.load_model(path) if needs_model else None, *how)


def _make(task: Task) -> Row:
    return _pipeline(task)


def _lost(task: Task) -> Row:
    row = Row(str(task.output), str(task.photo), key=task.key)
    row.fail(f"{task.photo}: the process that worked on it ended: out of memory? Try fewer workers.")
    return row


def _in_processes(tasks: list[Task], workers: int, *arguments) -> Iterator[Row]:
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    return in_processes(tasks, _make, workers, _start, (threads, *arguments), _lost)
