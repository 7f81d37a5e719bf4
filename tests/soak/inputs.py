"""What the stages are tried on: photos of a striped skirt, their label maps, a model of random weights."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from fashionlib.core.classes import CLASS_SETS
from fashionlib.data import prepare, raw, rle

DATA = "tiny"


def raw_folder(root: Path, photos: int) -> Path:
    """A raw folder of photos ``t00``, …, 96 high and 72 wide: a striped skirt on noise; returns `root`."""
    rng, rows = np.random.default_rng(1), []
    (root / "train").mkdir(parents=True)
    for i in range(photos):
        photo = rng.integers(0, 256, (96, 72, 3), np.uint8)
        skirt = np.zeros((96, 72), bool)
        top, left = rng.integers(10, 40, 2)
        skirt[top : top + 45, left : left + 30] = True
        photo[skirt] = np.where(np.indices(skirt.shape)[0][skirt, None] // 4 % 2, 40, 220)
        Image.fromarray(photo).save(root / "train" / f"t{i:02}.jpg")
        rows.append([f"t{i:02}", rle.encode(skirt), 96, 72, 8])
    raw.write(root, pd.DataFrame(rows, columns=list(raw.COLUMNS[:5])), "drawn for a test")
    return root


def home(root: Path, photos: int) -> Path:
    """A home folder with ``raw/tiny`` and ``data/tiny``; returns `root`."""
    made = raw_folder(root / "raw" / DATA, photos)
    prepare.prepare(made, root / "data" / DATA, progress=False, workers=1)
    return root


def checkpoint(path: Path) -> Path:
    """A mini Segmenter of the class set person with random weights."""
    import torch

    from fashionlib import models

    torch.manual_seed(0)
    names = list(CLASS_SETS["person"])
    model = models.build("segmenter_vit_t", len(names), scale="mini")
    return models.save(model, path, models.metadata_for("segmenter_vit_t", names, "mini"))


def catalogue(folder: Path, source: Path, photos: int, broken_each: int = 100) -> list[str]:
    """`photos` photos in `folder`, copies of those in `source`; one in `broken_each` is cut short.

    Returns:
        the names of the broken ones.
    """
    folder.mkdir(parents=True)
    drawn, broken = sorted(source.glob("*.jpg")), []
    for i in range(photos):
        target = folder / f"c{i:05}.jpg"
        shutil.copyfile(drawn[i % len(drawn)], target)
        if i % broken_each == broken_each // 2:
            target.write_bytes(target.read_bytes()[: 300 * (i % 2)])  # cut short, or empty
            broken.append(target.name)
    return broken
