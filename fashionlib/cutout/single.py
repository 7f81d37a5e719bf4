"""One photo's files: the picture and, if asked for, a PNG a class."""

import json
import re
from pathlib import Path

from fashionlib import files
from fashionlib.cutout import compose, photos
from fashionlib.cutout.cut import Cutout, cut, layers
from fashionlib.cutout.options import Options
from fashionlib.cutout.report import Row
from fashionlib.cutout.segment import Choice


def make(source: Path, output: Path, model, choice: Choice, options: Options, row: Row) -> None:
    """Cut the photo `source` out into the file `output` and note on `row` what came of it.

    The picture is written last: where it stands, its layers are complete.
    """
    photo = photos.read(source, options.max_pixels)
    result = cut(photo, model, choice, options.edge, options.grow)
    alpha = result.rgba[..., 3]
    place = compose.frame(alpha, options.crop, options.margin, options.size)
    if options.layers:
        _write_layers(output.with_suffix(".layers"), result, place, model.meta["classes"], choice.kept, photo)
    if options.mask:
        photos.write(output, place(result.rgba)[..., 3], options.format)
    else:
        picture = compose.picture(result.rgba, photo.rgb, place, options.background)
        photos.write(output, picture, options.format, photo, options.strip)
    row.height, row.width = alpha.shape
    row.kept = round(float((alpha >= 128).mean()), 4)
    row.note = "; ".join(result.notes)


def _write_layers(folder: Path, result: Cutout, place: compose.Frame, classes, values: list[int],
                  photo: photos.Photo) -> None:
    """A PNG for each class present, in the picture's frame, then manifest.json; an earlier run's go.

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
