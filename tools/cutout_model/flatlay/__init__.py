"""Flat-lays: single garments of a prepared data set, alone and large on other backgrounds -> raw layout.

Models that have seen worn clothes only fail on product photos. Here a garment's own pixels, cut out along its
label, stand for the product. One split's photos alone are used, so that composites of the training photos
may be trained on and those of the test photos may test.

    pieces    which garments of a photo are whole enough, and their pixels
    scene     a piece on a background: the composite and its mask
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from fashionlib.core import processes
from fashionlib.data import raw, rle
from fashionlib.data.prepared import ids, label_map, require
from tools.cutout_model.flatlay import pieces, scene


@raw.fills_new_folder("laying garments into")
def make(
    prepared: str | Path,
    out: str | Path,
    split: str = "train",
    count: int = 400,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write `count` composites from the photos of one split of `prepared` to `out`; returns `out`.

    Ids are ``flat-<split>-0000`` and so on; label_descriptions.json tells which photo each one's garment is
    from ("info", "origins"). The same arguments give the same bytes, whatever `workers` is. Classes are drawn
    in proportion to the square root of their garments: the rare ones more often than they are worn.

    Raises FileNotFoundError where `prepared` is no prepared data set, ValueError for an unknown split, one
    without a whole garment, or less than one composite, `raw.RawError` for an `out` that is taken, and
    `files.FolderLocked` while another process writes it.
    """
    if count < 1:
        raise ValueError(f"{count} is not a number of composites: ask for at least 1.")
    if seed < 0:
        raise ValueError(f"seed={seed} is negative: give 0 or more.")
    prepared = Path(prepared)
    dataset = require(prepared)
    find = partial(_find, prepared, pieces.class_ids(dataset["class_set"]))
    found = sum(processes.in_parallel(find, ids(prepared, split), workers, progress, "garments"), [])
    if not found:
        raise ValueError(f"No photo of {prepared}'s split {split!r} shows a garment that is whole.")
    drawn = _draw(found, count, np.random.default_rng((seed, 0)))
    jobs = [(f"flat-{split}-{i:04}", piece, (seed, 1, i)) for i, piece in enumerate(drawn)]
    raw.make_room(out, [])
    rows = list(processes.in_parallel(partial(_compose, prepared, out), jobs, workers, progress, "flat-lays"))
    frame = pd.DataFrame(rows, columns=list(raw.COLUMNS[:5]))
    origins = {name: piece.photo for name, piece, _ in jobs}
    more = {"split": split, "seed": seed, "origins": origins}
    raw.write(out, frame, f"flat-lays of {dataset['source']}", more)


def _find(prepared: Path, class_ids: dict[int, int], photo: str) -> list[pieces.Piece]:
    return pieces.find(label_map(prepared, photo), photo, class_ids)


def _draw(found: Sequence[pieces.Piece], count: int, rng: np.random.Generator) -> list[pieces.Piece]:
    """`count` pieces: first a class, then one of its pieces, none twice before all were drawn."""
    by_class = {i: [piece for piece in found if piece.class_id == i] for i in {p.class_id for p in found}}
    names = sorted(by_class)
    weights = np.sqrt([len(by_class[i]) for i in names])
    decks = {i: [] for i in names}
    drawn = []
    for i in rng.choice(names, count, p=weights / weights.sum()).tolist():
        decks[i] = decks[i] or [by_class[i][k] for k in rng.permutation(len(by_class[i]))]
        drawn.append(decks[i].pop())
    return drawn


def _compose(prepared: Path, out: Path, job: tuple[str, pieces.Piece, tuple[int, ...]]) -> tuple:
    """Write one composite; its row of train.csv."""
    name, piece, seed = job
    rng = np.random.default_rng(seed)
    with Image.open(prepared / "images" / f"{piece.photo}.jpg") as image:
        rgb = np.asarray(image.convert("RGB"))
    cloth, mask = pieces.cut(rgb, label_map(prepared, piece.photo), piece)
    picture, mask = scene.lay(cloth, mask, rng)
    path = out / "train" / f"{name}.jpg"
    Image.fromarray(picture).save(path, quality=int(rng.integers(85, 96)), subsampling=0)
    return name, rle.encode(mask), *mask.shape, piece.class_id
