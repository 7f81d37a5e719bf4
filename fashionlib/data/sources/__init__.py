"""Converters to ``raw/<data>``, the layout of Kaggle's iMaterialist (Fashion) 2020.

download       downloads of Clothing Co-Parsing and Fashionpedia from their official sources
ccp            Clothing Co-Parsing
fashionpedia   Fashionpedia
folder         your own photos with painted masks, and label maps as such a folder
coco           your own photos, annotated in CVAT or Label Studio
labelme        your own photos, annotated in LabelMe
own            what these three share

The sample is part of the package and unpacked by this module. It contains drawings of dressed figures and
flat-lays, made by ``tools/draw_sample``: 400 with annotation and 16 without. Test photos and photos without
annotation have full size; training and validation photos have a short side of 256 pixels. Scores on drawings
show that the pipeline learns; they say nothing about real garments.
"""

import re
import zipfile
from pathlib import Path

from fashionlib.core import outputs, paths
from fashionlib.data import raw

SAMPLE = paths.ASSETS / "sample.zip"


def require_raw(data: str, source: str | Path | None = None) -> Path:
    """The folder ``raw/<data>``; if missing, unpacks the sample or converts ccp from `source`.

    Raises FileNotFoundError, with the command that fills the folder, in all other cases.
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
    """Unpack the sample into the folder `out`, replacing an older sample; returns `out`.

    Raises FileExistsError if `out` contains anything but a sample, and `files.FolderLocked` while another
    process is unpacking there.
    """
    doing, kind = "unpacking the sample into", "a drawn sample"
    with (
        outputs.building(out, raw.CSV, doing, kind, ours=is_sample) as part,
        zipfile.ZipFile(archive) as archived,
    ):
        archived.extractall(part)
    return Path(out)


def is_sample(folder: Path) -> bool:
    """Whether `folder` contains a sample, and no other photos in the subfolders that a new one replaces."""
    names = [path.name for part in ("train", "test") for path in (folder / part).glob("*")]
    return "drawn_0000.jpg" in names and all(re.fullmatch(r"drawn_t?\d+\.jpg", name) for name in names)
