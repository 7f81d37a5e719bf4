"""Batch cut-outs of folders of photos, with a row in report.csv for every photo, failed ones included.

    out/<sub-folder>/<name>.png          the cut-outs, in the folder tree of the sources
    out/<sub-folder>/<name>.layers/      with layers: a PNG for each class and manifest.json
    out/report.csv                       a row per photo: failures first, then by rising predicted quality
    out/preview.html, preview.png        with preview: the cut-outs over a checkerboard
    out/worst.png                        with preview: those with the lowest predicted quality

Every file is written atomically, and a run that was stopped or killed can be started again. It skips pictures
that exist already, made from the same photo by the same model with the same options.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2

from fashionlib.core import files, outputs
from fashionlib.core.classes import check_name
from fashionlib.core.processes import cores, executor
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
    runtime: str = "auto",
    **options,
) -> Result:
    """Cut out every photo of `inputs` (files, folders, globs; one or a list) into the folder `out`.

    Args:
        model: a checkpoint's path (None: the shipped model) or a loaded model.
        mask_in: an external mask for a single photo, or a folder of masks with the outputs' names. It
            replaces the model's mask; edge, layers and crop are applied to it.
        apply_to: other renditions of a single photo's shot (files, folders, globs): that photo's matte is
            resized and applied to them, with their own colours.
        workers: number of processes; each loads the model, so more than one needs the model as a path.
        engine: ``local``, or ``ray`` with fsspec URLs for `inputs` and `out` (see `on_ray`).
        runtime: ``auto``, ``openvino`` or ``torch``, as in `segment.load_model`.
        options: the fields of `Options`.

    Raises ValueError or FileNotFoundError, before anything is written, for wrong options, unknown classes,
    inputs without photos, and photos that would become the same file; `files.FolderLocked` while another
    process fills `out`; `files.DiskError` where `out` can't be written to. A photo that can't be cut out is
    counted and has its reason in report.csv.
    """
    chosen = Options(**options)
    if workers < 1:
        raise ValueError(f"workers={workers}: there must be at least 1.")
    if workers > 1 and segment.is_loaded(model):
        raise ValueError(f"workers={workers}: several need the model's path, not the model.")
    if check_name(engine, ENGINES, "engine") == "ray":
        if mask_in or apply_to:
            raise ValueError("A mask and other renditions are for the engine local.")
        from fashionlib.cutout import on_ray

        return on_ray.run(inputs, out, model, chosen, workers, preview, progress)
    return _run(inputs, Path(out), model, runtime, chosen, mask_in, apply_to, workers, preview, progress)


def _run(
    inputs, out: Path, model, runtime: str, chosen: Options, mask_in, apply_to, workers: int, preview: bool,
    progress: bool,
) -> Result:  # fmt: skip
    others = [path for path in (mask_in, chosen.background) if path and os.path.lexists(path)]
    items = *tasks.listed(inputs), *tasks.listed(apply_to)
    read = [place for item in items for place in tasks.places(item)]
    outputs.claim(out, "cut-outs", [*read, *others], _is_ours)
    plain = _tasks(inputs, out, chosen, mask_in, apply_to)
    needs_model = chosen.layers or not all(task.mask for task in plain)
    if needs_model and not segment.is_loaded(model):
        loaded = segment.load_model(model, runtime)
    else:
        loaded = model if needs_model else None
    pipeline, digest = CutoutPipeline(out, loaded, chosen), chosen.digest(loaded)

    def rows(to_do: list[Task]) -> Iterator[Row]:
        if workers > 1:
            return _in_processes(to_do, workers, needs_model, (model, runtime), out, chosen)
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
    """Whether a folder is an earlier batch's output; ValueError for a report.csv that no batch wrote."""
    return (out / REPORT).is_file() and bool(Report(out / REPORT))


def _tasks(inputs, out: Path, options: Options, mask_in, apply_to) -> list[Task]:
    """The tasks of a batch, without cache keys."""

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
    """Yield ``write(cut(read(item)))`` for each item, in order, as a pipeline of threads.

    While the caller's thread runs `cut` (the model), other threads decode the next photo and encode the last
    one; Pillow and OpenCV release the GIL for that. At most four photos are in memory.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        yield from _ahead(writer, write, map(cut, _ahead(reader, read, items)))


def _ahead(pool: Executor, work: Callable, items: Iterable) -> Iterator:
    """Yield ``work(item)`` for each item, in order; `pool` works one item ahead of the consumer."""
    waiting = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
    except KeyboardInterrupt:  # finished results are still yielded, to be reported
        yield from (future.result() for future in waiting)
        raise
    yield from (future.result() for future in waiting)


def in_processes(
    tasks: Iterable, work: Callable, workers: int, start: Callable, arguments: tuple, lost: Callable
) -> Iterator:
    """Yield ``work(task)`` in order of completion, from `workers` processes set up by ``start(*arguments)``.

    While one process decodes or encodes, another runs the model. If a process dies (out of memory, a fault in
    a decoder), each task that may be the cause is retried alone in a process of its own. A task that kills
    that process too yields ``lost(task)``, and the others go on.
    """
    tasks, running = deque(tasks), {}
    while tasks:
        try:
            with executor(workers, start, arguments) as pool:
                while tasks or running:
                    while tasks and len(running) <= workers:  # one more than there are workers: none is idle
                        future = pool.submit(work, tasks[0])
                        running[future] = tasks.popleft()  # only once accepted: a dead pool raises
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


def _start(threads: int, needs_model: bool, which: tuple, out: Path, *how) -> None:
    global _pipeline
    os.environ["NUMBA_NUM_THREADS"] = str(threads)  # read when pymatting is first imported
    cv2.setNumThreads(threads)
    _pipeline = CutoutPipeline(out, segment.load_model(*which, threads) if needs_model else None, *how)


def _make(task: Task) -> Row:
    return _pipeline(task)


def _lost(task: Task) -> Row:
    row = Row(str(task.output), str(task.photo), key=task.key)
    row.fail(f"{task.photo}: the process that worked on it ended: out of memory? Try fewer workers.")
    return row


def _in_processes(tasks: list[Task], workers: int, *arguments) -> Iterator[Row]:
    threads = max(1, cores() // workers)
    return in_processes(tasks, _make, workers, _start, (threads, *arguments), _lost)
