"""Other data sets -> ``raw/<data>`` in the layout of Kaggle's iMaterialist (Fashion) 2020.

download       Clothing Co-Parsing and Fashionpedia from their official places
ccp            Clothing Co-Parsing
fashionpedia   Fashionpedia
folder         your own photos with painted masks

The sample ships with the package and is unpacked here. It holds drawings of dressed figures and flat-lays,
made by ``tools/draw_sample``: 400 with annotation and 16 without. The test photos and those without
annotation have their full size, photos for training and validation a short side of 256 pixels. Scores on
drawings show that the pipeline learns; they say nothing about real garments.
"""

import re
import zipfile
from pathlib import Path

from fashionlib.core import outputs, paths
from fashionlib.data import raw

SAMPLE = paths.ASSETS / "sample.zip"


def require_raw(data: str, source: str | Path | None = None) -> Path:
    """The folder ``raw/<data>``; where it is missing, the sample is unpacked and ccp converted from `source`.

    Raises FileNotFoundError with the command that fills the folder where this function can't.
    """
    folder = paths.raw_folder(data)
    if not (folder / raw.CSV).is_file():
        if data == "sample":
            return unpack_sample(folder)
        if data == "ccp" and source:
            from fashionlib.data.sources import ccp  # here: scipy

            return ccp.convert(source, folder)
    return raw.require(folder)


def unpack_sample(out: str | Path, archive: str | Path = SAMPLE) -> Path:
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
