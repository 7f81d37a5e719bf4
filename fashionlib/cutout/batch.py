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
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch

from fashionlib.core import files, outputs
from fashionlib.core.classes import check_name
from fashionlib.cutout import executors, segment, sources
from fashionlib.cutout.cache_key import digest_of, key_of, version_of
from fashionlib.cutout.one_photo import CutoutPipeline, Task
from fashionlib.cutout.options import Options
from fashionlib.cutout.report import REPORT, TAKEN, Report, Result, Row, write_preview

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
    items = *sources.listed(inputs), *sources.listed(apply_to)
    read = [place for item in items for place in sources.places(item)]
    outputs.claim(out, "cut-outs", [*read, *others], _is_ours)
    tasks = _tasks(inputs, out, chosen, mask_in, apply_to)
    by_model = chosen.layers or not all(task.mask for task in tasks)
    loaded = choice = None
    if by_model:
        loaded = model if isinstance(model, torch.nn.Module) else segment.load_model(model)
        choice = chosen.choice(loaded.metadata["classes"])
    digest = digest_of(loaded, chosen)
    versions = ([version_of(path) for path in (task.photo, task.mask, task.reference)] for task in tasks)
    tasks = [task._replace(key=key_of(digest, *each)) for task, each in zip(tasks, versions, strict=True)]

    def rows(to_do: list[Task]) -> Iterator[Row]:
        if workers > 1:
            return _in_processes(to_do, workers, by_model, model, out, choice, chosen)
        pipeline = CutoutPipeline(out, loaded, choice, chosen)
        return executors.in_threads(to_do, pipeline.read, pipeline.cut, pipeline.write)

    def there(output: str) -> bool:
        return os.path.lexists(out / output) and not (out / output).is_dir()

    with files.folder_lock(out, "cutting out into"):
        report = Report(out / REPORT)
        result = report.make(tasks, there, rows, progress)
        if preview:
            write_preview(out, report.rows(lambda output: (out / output).is_file()))
        return result


def _is_ours(out: Path) -> bool:
    """Whether a folder holds cut-outs of ours; ValueError for a report.csv that is not of ours."""
    return (out / REPORT).is_file() and bool(Report(out / REPORT))


def _tasks(inputs, out: Path, options: Options, mask_in, apply_to) -> list[Task]:
    """The tasks of a batch, without their keys."""

    def pairs(photos) -> list[tuple[Path, Path]]:
        return sources.outputs(photos, out, options.format, TAKEN, options.layers)

    found = pairs(inputs)
    masks = sources.masks(mask_in, found) if mask_in else {}
    tasks = [Task(photo, output, mask=masks.get(photo)) for photo, output in found]
    renditions = sources.listed(apply_to)
    if not renditions:
        return tasks
    if len(tasks) != 1:
        raise ValueError(f"One photo's matte is applied to others, but there are {len(tasks)}: give one.")
    (first,) = tasks
    others = pairs([first.photo, *renditions])[1:]
    return [first, *(Task(photo, output, mask=first.mask, reference=first.photo) for photo, output in others)]


# several processes -----------------------------------------------------------------------------------------

_pipeline = None  # of a worker process


def _start(threads: int, by_model: bool, path, out: Path, *how) -> None:
    global _pipeline
    os.environ["NUMBA_NUM_THREADS"] = str(threads)  # read when pymatting is first imported
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    _pipeline = CutoutPipeline(out, segment.load_model(path) if by_model else None, *how)


def _make(task: Task) -> Row:
    return _pipeline(task)


def _lost(task: Task) -> Row:
    row = Row(str(task.output), str(task.photo), key=task.key)
    row.fail(f"{task.photo}: the process that worked on it ended: out of memory? Try fewer workers.")
    return row


def _in_processes(tasks: list[Task], workers: int, *arguments) -> Iterator[Row]:
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    return executors.in_processes(tasks, _make, workers, _start, (threads, *arguments), _lost)
