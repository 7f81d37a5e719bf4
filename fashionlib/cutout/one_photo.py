"""The files of one photo: the picture and, with layers, a PNG a class. Three steps that batches overlap."""

import functools
import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fashionlib.core import files
from fashionlib.core.processes import out_of_memory
from fashionlib.cutout import compose, photos
from fashionlib.cutout.cut import Cutout, cut, from_mask, layers
from fashionlib.cutout.options import Options
from fashionlib.cutout.report import Row
from fashionlib.cutout.segment import Choice

LARGE = 20_000_000  # pixels: of photos that have more, one is in memory at once


class Task(NamedTuple):
    """A photo, the output to make of it, and its cache key.

    A `mask` made elsewhere replaces the model's; `reference` is the photo whose matte this one takes over.
    """

    photo: Path
    output: Path  # relative to the batch's folder
    key: str = ""
    mask: Path | None = None
    reference: Path | None = None


@dataclass
class Job:
    """A task in progress: what the steps hand to each other, and the row that they fill in."""

    task: Task
    row: Row
    photo: photos.Photo | None = None
    mask: np.ndarray | None = None
    result: Cutout | None = None
    waits: bool = False  # large: decoded only when the step `cut` has it


def _step(work):
    """A step of a job: timed, skipped where an earlier one failed; errors are noted on the row."""

    @functools.wraps(work)
    def step(self, job: Job) -> Job:
        begun = time.monotonic()
        try:
            if job.row.status != "failed":
                work(self, job)
        except photos.PhotoError as error:
            job.row.fail(str(error))
        except files.DiskError:  # the other photos would fail as well
            raise
        except Exception as error:  # it must not stop the other photos
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            advice = ": out of memory? Try fewer workers." if out_of_memory(error) else ""
            job.row.fail(f"{job.task.photo}: {kind}{error}{advice}")
        job.row.seconds = round(job.row.seconds + time.monotonic() - begun, 3)
        return job

    return step


class CutoutPipeline:
    """Reads photos, cuts them out and writes their files below the folder `out`."""

    def __init__(self, out: Path, model, choice: Choice | None, options: Options):
        self.out, self.model, self.choice, self.options = out, model, choice, options
        self._master: tuple[Path | None, Cutout | None] = None, None  # the last reference's cut-out

    def __call__(self, task: Task) -> Row:
        """All three steps."""
        return self.write(self.cut(self.read(task)))

    def read(self, task: Task) -> Job:
        """Decode the photo and its mask, unless it is LARGE."""
        return self._read(Job(task, Row(str(task.output), str(task.photo), key=task.key)))

    @_step
    def _read(self, job: Job) -> None:
        def decoded(image: Image.Image) -> photos.Photo | None:
            job.waits = not job.waits and image.width * image.height > LARGE
            return None if job.waits else photos.from_pil(image)

        job.photo = photos.read(job.task.photo, self.options.max_pixels, decoded)
        if job.task.mask and not job.waits:
            job.mask = photos.read_mask(job.task.mask, self.options.max_pixels)

    def cut(self, job: Job) -> Job:
        """Cut out by the model, by the mask, or by the matte of the reference.

        A LARGE photo goes through all three steps here, so that only one is in memory at a time.
        """
        return self._write(self._cut_out(self._read(job))) if job.waits else self._cut_out(job)

    @_step
    def _cut_out(self, job: Job) -> None:
        job.result = self._cut(job.photo, job.mask, job.task.reference)

    def _cut(self, photo: photos.Photo, mask: np.ndarray | None, reference: Path | None) -> Cutout:
        edge, grow = self.options.edge, self.options.grow
        scored = self.model if self.options.layers else None
        if reference:
            if self._master[0] != reference:
                first = photos.read(reference, self.options.max_pixels)
                self._master = reference, self._cut(first, mask, None)
            master = self._master[1]  # its edge is final, so nothing is refined or grown again
            return replace(from_mask(photo, master.rgba[..., 3], model=scored), quality=master.quality)
        if mask is not None:
            return from_mask(photo, mask, edge, grow, model=scored)
        return cut(photo, self.model, self.choice, edge or "hard", grow)

    def write(self, job: Job) -> Row:
        """Write the files and return the row. The picture comes last: where it exists, its layers do."""
        return (self._write(job) if job.photo else job).row

    @_step
    def _write(self, job: Job) -> None:
        options, photo, result, output = self.options, job.photo, job.result, self.out / job.task.output
        alpha = result.rgba[..., 3]
        place = compose.frame(alpha, options.crop, options.margin, options.size)
        height, width = place.size
        if height * width > options.max_pixels:
            raise ValueError(
                f"its picture would have {width} x {height} pixels, more than"
                f" {options.max_pixels / 1e6:g} megapixels: take a smaller size or margin."
            )
        if options.layers:
            classes = self.model.metadata["classes"]
            _write_layers(output.with_suffix(".layers"), result, place, classes, self.choice.kept, photo)
        if options.mask:
            photos.write(output, place(result.rgba)[..., 3], options.format)
        else:
            picture = compose.picture(result.rgba, photo.rgb, place, options.background)
            photos.write(output, picture, options.format, photo, options.strip)
        row = job.row
        row.height, row.width = alpha.shape
        row.kept = round(float((alpha >= 128).mean()), 4)
        row.quality, row.reasons = round(result.quality.score, 3), "; ".join(result.quality.reasons)
        first = [f"the first of {photo.frames} pictures in the file"] if photo.frames > 1 else []
        row.votes, row.note = result.votes, "; ".join([*first, *result.notes])
        job.photo = job.mask = job.result = None  # whoever still holds the job


def _write_layers(
    folder: Path, result: Cutout, place: compose.Frame, classes, values: list[int], photo: photos.Photo
) -> None:
    """Write a PNG for each class present, in the picture's frame, and manifest.json; remove an earlier run's.

    The manifest's frame and boxes are in the photo's pixels.
    """
    label, found = layers(result, classes, values)
    manifest = folder / "manifest.json"
    if manifest.is_file():
        for entry in json.loads(manifest.read_text(encoding="utf-8"))["layers"]:
            (folder / Path(entry["file"]).name).unlink(missing_ok=True)
    for entry in found:
        entry["file"] = re.sub(r"[^a-z0-9]+", "-", entry["class"]) + ".png"
        layer = result.rgba * (label == entry["value"])[..., None]
        photos.write(folder / entry["file"], place(layer), "png", photo, strip=True)
    frame = {"left": place.left, "top": place.top, "right": place.right, "bottom": place.bottom}
    size = {"width": place.size[1], "height": place.size[0]}
    text = {"frame": frame, "size": size, "layers": found}
    files.write_text(manifest, json.dumps(text, indent=1, ensure_ascii=False) + "\n")
