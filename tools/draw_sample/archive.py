"""The drawn sample -> ``fashionlib/assets/sample.zip``, the form in which it ships."""

import io
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fashionlib.core import files, outputs
from fashionlib.data import prepared, raw, rle
from fashionlib.data.prepare import prepare
from fashionlib.data.sources import SAMPLE, unpack_sample

SHORT = 256  # pixels of the short side of photos for training and validation
QUALITY = 90  # JPEG


def pack(drawn: str | Path, out: str | Path = SAMPLE, progress: bool = True) -> Path:
    """Write the sample in the raw folder `drawn` to the zip `out`; the same sample gives the same bytes.

    The photos of the test split (``prepare(stratify=True)``) and those without annotation keep their size.
    Raises AssertionError if shrinking the others changes the split, or the classes that a label map shows.
    """
    drawn = Path(drawn)
    outputs.claim_file(out, "a sample", [drawn], zipfile.is_zipfile)
    with tempfile.TemporaryDirectory() as scratch, files.atomic_write(out) as part:
        before = _prepared(drawn, Path(scratch) / "before", progress)
        _write(part, _members(drawn, Path(scratch), keep=before["test"].keys()))
        unpacked = unpack_sample(Path(scratch) / "raw", part)
        if _prepared(unpacked, Path(scratch) / "after", progress) != before:
            raise AssertionError(f"Shrunk to {SHORT} pixels, the photos of {drawn} show other classes.")
    return Path(out)


def shrunk(rgb: np.ndarray, masks: Collection[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """A photo uint8 (H, W, 3) and its masks bool (H, W), averaged down to a short side of `SHORT` pixels.

    A mask holds the pixels of which it covers at least half; one that covers half of none, the most covered.
    """
    height, width = rgb.shape[:2]
    size = tuple(round(side * SHORT / min(height, width)) for side in (width, height))
    small = []
    for mask in masks:
        covered = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        small.append(covered >= min(0.5, covered.max()))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), small


def jpeg(rgb: np.ndarray) -> bytes:
    """The bytes of a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "jpeg", quality=QUALITY)
    return file.getvalue()


def _prepared(folder: Path, out: Path, progress: bool) -> dict[str, dict[str, list[int]]]:
    """Split -> photo -> the label values that its label map shows."""
    prepare(folder, out, stratify=True, progress=progress)
    return {
        split: {i: np.unique(prepared.label_map(out, i)).tolist() for i in prepared.ids(out, split)}
        for split in prepared.split_names(out)
    }


def _members(drawn: Path, scratch: Path, keep: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of each file of the archive."""
    table, info = raw.read(drawn), raw.descriptions(drawn)["info"]
    for image_id, rows in table[~table.ImageId.isin(keep)].groupby("ImageId"):
        with Image.open(raw.image_path(drawn, image_id)) as photo:
            masks = [rle.decode(code, photo.height, photo.width) for code in rows.EncodedPixels]
            rgb, masks = shrunk(np.asarray(photo), masks)
        table.loc[rows.index, "EncodedPixels"] = [rle.encode(mask) for mask in masks]
        table.loc[rows.index, ["Height", "Width"]] = rgb.shape[:2]
        yield f"train/{image_id}.jpg", jpeg(rgb)
    raw.write(scratch, table, info.pop("source"), info | {"short_side": SHORT})
    kept = [raw.image_path(drawn, image_id) for image_id in keep]
    for path in [*kept, *(drawn / "test").glob("*.jpg")]:
        yield str(path.relative_to(drawn)), path.read_bytes()
    for name in (raw.CSV, raw.DESCRIPTIONS):
        yield name, (scratch / name).read_bytes()


def _write(path: Path, members: Iterator[tuple[str, bytes]]) -> None:
    """A zip in the order of the names, without times."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(members):
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
