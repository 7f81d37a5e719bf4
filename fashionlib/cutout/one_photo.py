"""One photo: its cut-out in memory, and its files (the picture and, with layers, a PNG for each class)."""

import functools
import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fashionlib.core import files
from fashionlib.core.processes import out_of_memory
from fashionlib.cutout import compose, edges, photos, quality, segment
from fashionlib.cutout.report import Row
from fashionlib.cutout.tasks import Options, Task

ASPECT = 0.01  # relative tolerance between the aspect ratios of a shot's renditions
ENLARGED = 1.05  # pixels of the picture to one of the photo from which report.csv says so
LARGE = 20_000_000  # pixels: photos with more are in memory one at a time


@dataclass(frozen=True)
class Cutout:
    """A cut-out: `rgba` uint8 (H, W, 4), straight alpha; `scores` float32 (C, h, w) or None.

    `scores` are class probabilities, `notes` sentences on problems, such as an empty cut-out.
    """

    rgba: np.ndarray
    scores: np.ndarray | None
    notes: tuple[str, ...]
    quality: quality.Quality


def cut(photo: photos.Photo, model, choice: segment.Choice, edge: str = "hard", grow: int = 0) -> Cutout:
    """The cut-out of `photo` with the classes of `choice`, from validated arguments."""
    scores = segment.probabilities(_on_white(photo), model)
    p = segment.keep_probability(scores, choice, scores.shape[1:])
    judged = quality.of(scores, p, model.metadata["classes"], model.metadata.get("quality"))
    p = segment.resized(p, photo.rgb.shape[:2])
    return _finished(photo, *edges.alpha_of(photo.rgb, p, edge), grow, scores, judged)


def from_mask(
    photo: photos.Photo, mask: np.ndarray, edge: str | None = None, grow: int = 0, model=None
) -> Cutout:
    """The cut-out of `photo` by an external mask, or by that of another rendition of the shot.

    `mask` is uint8 (h, w), 255 where opaque, and is resized to the photo. `edge` refines its edge (at 128);
    None leaves the mask as it is. A `model` adds the class probabilities that layers need. Raises
    ValueError if mask and photo differ in aspect ratio (by more than ASPECT and a pixel).
    """
    size, (height, width) = photo.rgb.shape[:2], mask.shape[:2]
    if mask.ndim != 2 or abs(height - width * size[0] / size[1]) > 1 + ASPECT * height:
        raise ValueError(
            f"The mask is {width} x {height}, the photo {size[1]} x {size[0]} pixels:"
            " they must have the same shape."
        )
    way = cv2.INTER_AREA if size[0] < height else cv2.INTER_LINEAR
    p = cv2.resize(mask.astype(np.float32) / 255, size[::-1], interpolation=way)
    alpha, note = edges.alpha_of(photo.rgb, p, edge) if edge else (np.round(p * 255).astype(np.uint8), "")
    scores = None if model is None else segment.probabilities(_on_white(photo), model)
    return _finished(photo, alpha, note, grow, scores, quality.GIVEN)


def _finished(photo: photos.Photo, alpha, note: str, grow: int, scores, judged) -> Cutout:
    alpha = edges.dilate(alpha, grow)
    if photo.alpha is not None:
        alpha = np.minimum(alpha, photo.alpha)  # transparent pixels of the photo stay transparent
    empty = "" if (alpha >= 128).any() else "nothing to keep was found in it"
    rgba = edges.estimate_foreground(photo.rgb, alpha)
    return Cutout(rgba, scores, tuple(filter(None, [note, empty])), judged)


def remove_background(
    image, model, subject: str = "apparel", keep=None, drop=None, edge: str = "hard", grow: int = 0, *,
    crop: bool = False, margin: float = 0.0, size: int | None = None, canvas: str | None = None,
    fill: float = compose.FILL, background: str = "none", shadow: str = "none",
) -> np.ndarray:  # fmt: skip
    """The cut-out of a photo: RGBA uint8 (H, W, 4), straight alpha, at the photo's own size.

    Args:
        image: uint8 RGB (H, W, 3), grey (H, W) or RGBA (H, W, 4); or a path, or a Pillow image, whose EXIF
            orientation is applied. It is not changed.
        model: from `load_model`.
        subject: the foreground, ``apparel`` or the whole ``person``.
        keep: classes or groups to use instead of `subject`, as in `segment.wanted`: ``"dress, shoe"``.
        drop: classes or groups to leave out: ``["bag", "umbrella"]``.
        edge: ``hard`` (alpha 0 or 255), ``soft`` or ``matting`` (see `edges`). A pixel's colour is the
            photo's own where alpha is 255, black where it is 0, and the estimated foreground's in between.
        grow: pixels by which the cut-out is dilated, or eroded where negative.
        crop, margin, size, canvas, fill, background, shadow: as in `tasks.Options`. They make the picture
            that a batch writes, of its size, and RGB uint8 (h, w, 3) over a background.

    Raises ValueError with one sentence for unknown names, ``person`` on a model without hair and skin,
    and an invalid `image`.
    """
    framing = {"crop": crop, "margin": margin, "size": size, "canvas": canvas, "fill": fill}
    options = Options(subject, keep, drop, edge, grow, background=background, shadow=shadow, **framing)
    photo = photos.as_photo(image)
    rgba = cut(photo, model, options.choice(model.metadata["classes"]), options.edge or "hard", grow).rgba
    return compose.picture(rgba, photo.rgb, options.frame(rgba[..., 3]), options.background, options.shadow)


def layers(result: Cutout, classes, values: list[int]) -> tuple[np.ndarray, list[dict]]:
    """(label values uint8 (H, W) of the classes `values`, a description of each class present).

    Every pixel of the cut-out belongs to the most probable of the classes `values`, so the layers' alphas add
    up to the cut-out's. A description holds the class, its value, the number of pixels with alpha >= 128,
    their box (left, top, right, bottom; exclusive) and the confidence (their mean probability).
    """
    alpha = result.rgba[..., 3]
    label = segment.strongest(result.scores, values, alpha.shape)
    found = []
    for value in values:
        mask = (label == value) & (alpha >= 128)
        if box := edges.bounding_box(mask):
            top, left, bottom, right = box
            confidence = segment.resized(result.scores[value], alpha.shape)[mask].mean()
            entry = {"class": classes[value], "value": value, "pixels": int(mask.sum())}
            entry |= {"box": [left, top, right, bottom], "confidence": round(float(confidence), 4)}
            found.append(entry)
    return label, found


def _on_white(photo: photos.Photo) -> np.ndarray:
    """The photo over white, as input to the model: RGB behind alpha 0 is arbitrary."""
    return photo.rgb if photo.alpha is None else compose.over(np.dstack([photo.rgb, photo.alpha]), (255,) * 3)


# files ---------------------------------------------------------------------------------------------------


@dataclass
class Job:
    """A task in progress: intermediate results of the steps, and the row of report.csv."""

    task: Task
    row: Row
    photo: photos.Photo | None = None
    mask: np.ndarray | None = None
    result: Cutout | None = None
    waits: bool = False  # a LARGE photo: decoded in the step `cut`


def _step(work):
    """Run a step of a job and time it, unless an earlier step failed; errors are recorded on the row."""

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
        except Exception as error:  # one photo's error must not stop the others
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            advice = ": out of memory? Try fewer workers." if out_of_memory(error) else ""
            job.row.fail(f"{job.task.photo}: {kind}{error}{advice}")
        job.row.seconds = round(job.row.seconds + time.monotonic() - begun, 3)
        return job

    return step


class CutoutPipeline:
    """Reads photos, cuts them out and writes their files below the folder `out`.

    Three steps, which batches overlap. The `model` may be None where a mask is given and no layers are
    wanted. Raises ValueError for classes that the model does not know.
    """

    def __init__(self, out: Path, model, options: Options):
        self.out, self.model, self.options = out, model, options
        self.choice = None if model is None else options.choice(model.metadata["classes"])
        self._master: tuple[Path | None, Cutout | None] = None, None  # the last reference's cut-out

    def __call__(self, task: Task) -> Row:
        """Run all three steps."""
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
        """Make the cut-out by the model, the external mask, or the matte of the reference.

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
        """Write the files and return the row; the picture comes last, and its layers exist before it."""
        return (self._write(job) if job.photo else job).row

    @_step
    def _write(self, job: Job) -> None:
        options, photo, result, output = self.options, job.photo, job.result, self.out / job.task.output
        alpha = result.rgba[..., 3]
        place = options.frame(alpha)
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
            picture = compose.picture(result.rgba, photo.rgb, place, options.background, options.shadow)
            photos.write(output, picture, options.format, photo, options.strip)
        row = job.row
        row.height, row.width = alpha.shape
        row.kept = round(float((alpha >= 128).mean()), 4)
        enlarged = [f"enlarged {place.scale:.1f} times"] if place.scale >= ENLARGED else []
        row.quality = round(result.quality.score, 3)
        row.reasons = "; ".join([*result.quality.reasons, *enlarged])
        first = [f"the first of {photo.frames} pictures in the file"] if photo.frames > 1 else []
        row.note = "; ".join([*first, *result.notes])
        job.photo = job.mask = job.result = None  # frees the memory even while the job is referenced


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
    frame = {side: round(getattr(place, side), 2) for side in ("left", "top", "right", "bottom")}
    size = {"width": place.size[1], "height": place.size[0]}
    text = {"frame": frame, "size": size, "layers": found}
    files.write_text(manifest, json.dumps(text, indent=1, ensure_ascii=False) + "\n")
