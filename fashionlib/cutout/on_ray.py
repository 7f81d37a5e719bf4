"""Batches on a Ray cluster, through Ray Data, for catalogues too large for one machine.

Photos are read from fsspec URLs (``s3://bucket/photos``, ``gs://…``, plain paths), and pictures are written
to one, as in `batch`. The job carries the model: the machines need fashionlib and ``[ray]``, but no shared
disk. Each actor loads the model once. RAY_ADDRESS names the cluster; without it Ray starts one on this
machine.
"""

import glob
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath

import fsspec

from fashionlib.core import files
from fashionlib.cutout import segment, tasks
from fashionlib.cutout.one_photo import CutoutPipeline
from fashionlib.cutout.report import REPORT, TAKEN, Report, Result, Row, on_sheets, write_preview
from fashionlib.cutout.tasks import Options, Task, key_of

SAVED = 30.0  # seconds between two uploads of the report: at most that is lost with the driver
RETRIES = 3  # of photos whose actor died
BLOCKS = 2000  # at most; Ray retries whole blocks


def run(
    inputs, out, model, options: Options, workers: int = 1, preview: bool = False, progress: bool = True
) -> Result:
    """`batch.run` with fsspec URLs for `inputs` and `out`, by `workers` actors; raises the same errors."""
    try:
        import ray.data  # noqa: F401  (needs pyarrow)
    except ImportError as error:
        raise ValueError(
            f"The engine ray needs the extra of that name ({error}): pip install 'fashionlib[ray]'."
        ) from None
    if segment.is_loaded(model):
        raise ValueError("The engine ray needs the model's path, not the model.")
    path = segment.checkpoint(model)
    loaded = segment.load_model(path, "torch")  # the job carries one file, and a cluster may have GPUs
    options.choice(loaded.metadata["classes"])  # raises for unknown classes before anything is written
    place, root = fsspec.core.url_to_fs(str(out))
    planned = _tasks(inputs, place.unstrip_protocol(root), options, options.digest(loaded))
    ground = Path(options.background).read_bytes() if Path(options.background).is_file() else None
    arguments = path.read_bytes(), ground, str(out), options
    # an object store has no locks: of two runs at once one report stays, and the other photos are made again
    here = files.folder_lock(root, "cutting out into") if "file" in place.protocol else nullcontext()
    with here, tempfile.TemporaryDirectory() as folder:
        target = f"{root}/{REPORT}"
        if place.exists(target):
            place.get_file(target, f"{folder}/{REPORT}")
        report = Report(Path(folder) / REPORT)

        def rows(to_do: list[Task]) -> Iterator[Row]:
            put(place, report.path, target)  # before the pictures: it marks them as this batch's
            uploaded = time.monotonic()
            for row in _rows(to_do, workers, arguments):
                yield row
                if time.monotonic() - uploaded > SAVED:
                    put(place, report.path, target)
                    uploaded = time.monotonic()

        try:
            result = report.make(planned, _names(place, root).__contains__, rows, progress)
        finally:
            if report.path.is_file():
                put(place, report.path, target)
        if preview:
            _preview(place, root, Path(folder), report)
    return result._replace(report=target)


def _tasks(inputs, out: str, options: Options, digest: str) -> list[Task]:
    """A task for every photo (URL, output's name below `out`); raises ValueError if names collide."""
    photos = {}
    for item in tasks.listed(inputs):
        photos |= _photos(item, out)
    pairs = [(url, PurePosixPath(relative).with_suffix(f".{options.format}")) for url, relative in photos]
    tasks.check_names(pairs, out, TAKEN, options.layers)
    if overwritten := {f"{out}/{output}" for _, output in pairs} & {url for url, _ in pairs}:
        raise ValueError(f"{min(overwritten)} is a photo and would be overwritten: take another folder.")
    keys = (key_of(digest, version) for version in photos.values())
    return [Task(url, str(output), key) for (url, output), key in zip(pairs, keys, strict=True)]


def _photos(item: str, out: str) -> dict[tuple[str, str], str]:
    """{(URL, path below the folder or the glob's first wildcard): version} of the photos of one input."""
    place, base = fsspec.core.url_to_fs(item)
    if place.isfile(base):
        return {(place.unstrip_protocol(base), PurePosixPath(base).name): _version(place.info(base))}
    if glob.has_magic(base):
        found, base = place.glob(base, detail=True), str(tasks.before_wildcard(PurePosixPath(base)))
    elif place.isdir(base):
        found = place.find(base, detail=True)
    else:
        raise FileNotFoundError(f"{item} does not exist.")
    photos = {}
    for path, info in sorted(found.items()):
        url, below = place.unstrip_protocol(path), PurePosixPath(path).relative_to(base)
        hidden = any(part.startswith(".") for part in below.parts) or url.startswith(f"{out}/")
        if info["type"] == "file" and below.suffix.lower() in tasks.SUFFIXES and not hidden:
            photos[url, str(below)] = _version(info)
    if not photos:
        raise ValueError(f"{item} holds no photo ({', '.join(sorted(tasks.SUFFIXES))}) outside {out}.")
    return photos


def _version(info: dict) -> str:
    """Version of a file, from the metadata that disks and object stores give for it."""
    return " ".join(str(info.get(name, "")) for name in ("size", "mtime", "ETag", "LastModified", "created"))


def _names(place, root: str) -> set[str]:
    """Relative names of the files below `root`."""
    root = root.rstrip("/")
    return {path.removeprefix(f"{root}/") for path in place.find(root)} if place.exists(root) else set()


def _preview(place, root: str, folder: Path, report: Report) -> None:
    """Make the page and the sheets on this machine, from downloaded pictures, and upload them."""
    rows = report.rows(_names(place, root).__contains__)
    for output in set().union(*on_sheets(rows)):
        (folder / output).parent.mkdir(parents=True, exist_ok=True)
        place.get_file(f"{root}/{output}", str(folder / output))
    for path in write_preview(folder, rows):
        put(place, path, f"{root}/{path.name}")


# on the cluster --------------------------------------------------------------------------------------------


class _Actor:
    """Loads the model once; called with a photo's URL, makes and uploads its files and returns its row."""

    def __init__(self, weights, ground: bytes | None, out: str, options: Options):
        import ray

        self._own = tempfile.TemporaryDirectory()
        folder = Path(self._own.name)
        (folder / "model.safetensors").write_bytes(ray.get(weights))
        if ground:
            (folder / "ground").write_bytes(ground)
            options = replace(options, background=str(folder / "ground"))
        self.out, self.made = out, folder / "made"
        model = segment.load_model(folder / "model.safetensors", "torch")
        self.pipeline = CutoutPipeline(self.made, model, options)

    def __call__(self, item: dict[str, str]) -> dict:
        url, photo = item["photo"], self.made.parent / PurePosixPath(item["photo"]).name
        row = Row(item["output"], url, key=item["key"])
        try:
            place, path = fsspec.core.url_to_fs(url)
            place.get_file(path, str(photo))
            made = self.pipeline(Task(photo, Path(item["output"]), item["key"]))
            self._upload(*fsspec.core.url_to_fs(self.out))
            row = replace(made, source=url, note=made.note.replace(str(photo), url))
        except Exception as error:  # of the network, of rights, of a full disk
            row.fail(f"{url}: {type(error).__name__}: {error}")
        photo.unlink(missing_ok=True)
        return asdict(row)

    def _upload(self, place, root: str) -> None:
        """Move all finished files to `root`, the picture last."""
        made = [path for path in self.made.rglob("*") if path.is_file()]
        for path in sorted(made, key=lambda path: path.parent.suffix != ".layers"):
            put(place, path, f"{root}/{path.relative_to(self.made).as_posix()}")
            path.unlink()


def put(place, path: Path, target: str) -> None:
    """Copy a local file to `target` atomically: object stores do so by themselves, disks by a rename."""
    part = target
    if "file" in place.protocol:
        place.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
        part = str(PurePosixPath(target).with_name(files.part_name(path)))
    place.put_file(str(path), part)
    if part != target:
        os.replace(part, target)


def _rows(tasks: list[Task], workers: int, arguments: tuple) -> Iterator[Row]:
    """Yield the rows as they arrive. A dead actor is restarted, and its photo retried."""
    import ray

    if started := not ray.is_initialized():
        here = {"address": "local", "include_dashboard": False}
        ray.init(log_to_driver=False, **({} if os.environ.get("RAY_ADDRESS") else here))
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours counts photos
    context.max_errored_blocks = -1  # photos whose actors keep dying stop no other
    weights, *others = arguments
    held = ray.put(weights)  # owned by the driver: a restarted actor finds it
    lost = {task.output: {"photo": task.photo, "output": task.output, "key": task.key} for task in tasks}
    photos = ray.data.from_items([*lost.values()], override_num_blocks=min(len(tasks), BLOCKS))
    # max_task_retries has no other way in; Ray 2.64 is to name one (pyproject.toml ends below it)
    done = photos.map(
        _Actor,
        fn_constructor_args=(held, *others),
        num_cpus=1,
        num_gpus=min(1, ray.cluster_resources().get("GPU", 0) / workers),
        compute=ray.data.ActorPoolStrategy(size=workers),
        ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": RETRIES},
    )
    try:
        for item in done.iter_rows():
            del lost[item["output"]]
            yield Row(**item)
    finally:
        if started:
            ray.shutdown()
    for task in lost.values():
        row = Row(task["output"], task["photo"], key=task["key"])
        row.fail(f"{task['photo']}: its actor died {RETRIES + 1} times: out of memory?")
        yield row
