"""The drawn sample: photos of dressed figures and flat-lays in iMaterialist's raw layout, from a seed.

It makes every command of this project work offline and in minutes. It is drawn, not photographed:
numbers measured on it say that the pipeline learns, nothing about real garments.
"""

import os
import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from fashionlib import processes, raw, rle
from fashionlib.files import LOCK, alone

from .plan import Scene, plan
from .scenes import draw

TEST_PHOTOS = 16  # without annotation, for the cut-outs
QUALITY = 90  # JPEG
_PART = ".drawing"  # what is there so far, within the folder


def make(
    out: str | Path,
    photos: int = 400,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Draw `photos` annotated photos and 16 without annotation into the folder `out`; returns `out`.

    The same `photos` and `seed` give the same bytes whatever `workers` is (default: one a core). A folder
    that has its ``train.csv`` is complete, and stays as it is until a new sample is; one that holds something
    else than a drawn sample is refused (FileExistsError). Raises ValueError for less than one photo, and
    `files.Busy` while another process draws there.
    """
    if photos < 1:
        raise ValueError(f"photos={photos} is not a number of photos to draw: give at least 1.")
    out = Path(out)
    with alone(out, "drawing the sample into"):
        _refuse_foreign(out)
        _draw(out / _PART, photos, seed, workers, progress)
        _put(out / _PART, out)
    return out


def _draw(part: Path, photos: int, seed: int, workers: int | None, progress: bool) -> None:
    """The whole sample in the new folder `part`."""
    shutil.rmtree(part, ignore_errors=True)
    jobs = [(f"train/drawn_{i:04d}", scene, (seed, 1, i)) for i, scene in enumerate(plan(photos, seed))]
    jobs += [
        (f"test/drawn_t{i:02d}", scene, (seed, 2, i)) for i, scene in enumerate(plan(TEST_PHOTOS, seed + 1))
    ]
    for name in ("train", "test"):
        (part / name).mkdir(parents=True)
    rows = [row for rows in _run(partial(_photo, part), jobs, workers, progress) for row in rows]
    frame = pd.DataFrame(
        rows, columns=["ImageId", "EncodedPixels", "Height", "Width", "ClassId", "AttributesIds"]
    )
    raw.write(part, frame, source="sample", info={"photos": photos, "seed": seed})


def _put(part: Path, out: Path) -> None:
    """Move the sample in `part` over what is in `out`, train.csv last: it says that all is there."""
    (out / raw.CSV).unlink(missing_ok=True)
    for path in sorted(part.iterdir(), key=lambda path: path.name == raw.CSV):
        if (out / path.name).is_dir():
            shutil.rmtree(out / path.name)
        path.rename(out / path.name)
    part.rmdir()


def _refuse_foreign(out: Path) -> None:
    ours = (out / _PART).exists() or (out / "train" / "drawn_0000.jpg").exists()
    if not ours and any(path.name != LOCK for path in out.iterdir()):
        raise FileExistsError(
            f"{out} holds something else than a drawn sample: give another folder or remove it."
        )


def _run(function, jobs, workers: int | None, progress: bool):
    workers = workers or os.cpu_count() or 1
    bar = partial(tqdm, total=len(jobs), desc="Drawing", unit="photo", disable=not progress)
    if workers == 1:
        return list(bar(map(function, jobs)))
    with processes.pool(workers) as pool:
        return list(bar(pool.map(function, jobs, chunksize=8)))


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
