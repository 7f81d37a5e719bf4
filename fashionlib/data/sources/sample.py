"""The sample that ships with the package -> ``raw/sample``.

Drawings of dressed figures and flat-lays, made by ``tools/draw_sample``: 400 with annotation and 16 without.
The test photos and those without annotation have their full size, photos for training and validation a short
side of 256 pixels. Scores on drawings show that the pipeline learns; they say nothing about real garments.
"""

import re
import zipfile
from pathlib import Path

from fashionlib.core import outputs, paths
from fashionlib.data import raw

ARCHIVE = paths.ASSETS / "sample.zip"


def unpack(out: str | Path, archive: str | Path = ARCHIVE) -> Path:
    """Unpack the sample into the folder `out`, over an older sample; returns `out`.

    Raises FileExistsError where `out` holds anything but a sample, and `files.FolderLocked` while another
    process unpacks there.
    """
    doing, kind = "unpacking the sample into", "a drawn sample"
    with (
        outputs.building(out, raw.CSV, doing, kind, ours=is_sample) as part,
        zipfile.ZipFile(archive) as archived,
    ):
        archived.extractall(part)
    return Path(out)


def is_sample(folder: Path) -> bool:
    """Whether `folder` holds a sample, and no other photos in the folders that another sample replaces."""
    names = [path.name for part in ("train", "test") for path in (folder / part).glob("*")]
    return "drawn_0000.jpg" in names and all(re.fullmatch(r"drawn_t?\d+\.jpg", name) for name in names)
