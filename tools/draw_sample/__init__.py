"""The drawn sample: photos of dressed figures and flat-lays in iMaterialist's raw layout, from a seed.

It makes every command of this project work offline and in minutes. It is drawn, not photographed:
numbers measured on it say that the pipeline learns, nothing about real garments.
"""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from fashionlib.core import outputs
from fashionlib.core.processes import in_parallel
from fashionlib.data import raw, rle
from fashionlib.data.sources import is_sample
from tools.draw_sample.plan import Scene, plan
from tools.draw_sample.scenes import draw

TEST_PHOTOS = 16  # without annotation, for the cut-outs
QUALITY = 90  # JPEG


def make(
    out: str | Path, photos: int = 400, seed: int = 0, workers: int | None = None, progress: bool = True
) -> Path:
    """Draw `photos` annotated photos and 16 without annotation into the folder `out`; returns `out`.

    The same `photos` and `seed` give the same bytes whatever `workers` is (default: one a core). A folder
    that has its ``train.csv`` is complete, and stays as it is until a new sample is; one that holds something
    else than a drawn sample is refused (FileExistsError). Raises ValueError for less than one photo, and
    `files.FolderLocked` while another process draws there.
    """
    if photos < 1:
        raise ValueError(f"photos={photos} is not a number of photos to draw: give at least 1.")
    if seed < 0:
        raise ValueError(f"seed={seed} is negative: give 0 or more.")
    with outputs.building(out, raw.CSV, "drawing the sample into", "a drawn sample", ours=is_sample) as part:
        _draw(part, photos, seed, workers, progress)
    return Path(out)


def _draw(part: Path, photos: int, seed: int, workers: int | None, progress: bool) -> None:
    """The whole sample in the new folder `part`."""
    jobs = [(f"train/drawn_{i:04d}", scene, (seed, 1, i)) for i, scene in enumerate(plan(photos, seed))]
    jobs += [
        (f"test/drawn_t{i:02d}", scene, (seed, 2, i)) for i, scene in enumerate(plan(TEST_PHOTOS, seed + 1))
    ]
    for name in ("train", "test"):
        (part / name).mkdir(parents=True)
    rows = sum(in_parallel(partial(_photo, part), jobs, workers, progress, "Drawing"), [])
    frame = pd.DataFrame(rows, columns=list(raw.COLUMNS))
    raw.write(part, frame, source="sample", info={"photos": photos, "seed": seed})


def _photo(folder: Path, job: tuple[str, Scene, tuple[int, ...]]) -> list[tuple]:
    """Draw and write one photo; its rows of train.csv."""
    name, scene, seed = job
    cv2.setNumThreads(1)
    picture, instances = draw(scene, np.random.default_rng(seed))
    Image.fromarray(picture).save(folder / f"{name}.jpg", quality=QUALITY)
    if name.startswith("test/"):
        return []
    size = picture.shape[:2]
    return [(name.split("/")[1], rle.encode(mask), *size, class_id, "") for class_id, mask in instances]
