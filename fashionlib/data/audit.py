"""The audit: one Markdown page about a raw data set, to be read before any training.

It says what is there (photos, instances, sizes, classes) and what would mislead a training run: bad rows,
photos that disagree with their rows, EXIF turns, photos with parts only, rows that stand twice, classes that
overlap, rare classes in a small split, and photos that look alike on both sides of a split.
"""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from fashionlib.core import checked_files, files, outputs, paths
from fashionlib.core.classes import CATEGORIES, MAIN, PERSON
from fashionlib.data import prepared, raw, rle

NEAR = 6  # of 64 bits: CCP's five true pairs are 4 to 6 apart, its first pair of different photos 10
OVERLAP_PHOTOS = 500  # overlaps are counted on at most this many photos
ROWS = 15  # a table that could be long shows this many rows and says how many there are
EXIF_ORIENTATION = 0x0112

_TITLE = "# Audit of `"
_NAMES = dict(enumerate(CATEGORIES)) | PERSON


def audit(raw_folder, out=None, data_folder=None, progress: bool = True) -> str:
    """One page of Markdown about `raw_folder` (iMaterialist layout), also written to `out` if given.

    `data_folder` is a prepared data set, whose splits are then audited too; by default the one of the
    same name, if it exists. Raises `raw.RawError` where the CSV can't be read at all; single bad rows
    and photos are counted on the page instead.
    """
    folder = Path(raw_folder).resolve()
    data_folder = Path(data_folder) if data_folder else paths.home() / "data" / folder.name
    if out:
        outputs.claim_file(out, "an audit page", [folder, data_folder], outputs.begins(_TITLE))
    instances, problems = raw.check(folder)
    photos = _look_at_all(folder, instances, progress)
    splits = _read_splits(data_folder)
    page = (
        "\n\n".join(
            [
                f"{_TITLE}{folder.name}`",
                _summary(instances, photos),
                _problems(problems, photos),
                _sizes(problems, photos),
                _repeats(instances),
                _overlaps(instances, progress),
                _classes(instances, splits),
                _near_duplicates(photos, splits),
            ]
        )
        + "\n"
    )
    if out:
        files.write_text(out, page)
    return page


# what is read from the photos ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Photo:
    """What one decoding of a photo tells; `error` is a sentence where it failed, and the rest is empty."""

    image_id: str
    size: tuple[int, int] = (0, 0)  # (width, height) as stored
    orientation: int = 1  # EXIF: 1 is upright
    hash: int = 0
    error: str = ""


def _look_at(folder: Path, image_id: str) -> _Photo:
    try:
        with Image.open(raw.image_path(folder, image_id)) as image:
            size, orientation = image.size, image.getexif().get(EXIF_ORIENTATION, 1)
            image.draft("L", (64, 64))  # JPEG decodes straight to a small size; the hash uses 32 x 32
            digest = imagehash.phash(ImageOps.exif_transpose(image))
    except checked_files.DAMAGED as error:
        return _Photo(image_id, error=checked_files.reason(error))
    return _Photo(image_id, size, orientation, int(str(digest), 16))


def _look_at_all(folder: Path, instances: pd.DataFrame, progress: bool) -> list[_Photo]:
    ids = instances["ImageId"].unique()
    return _each(lambda image_id: _look_at(folder, image_id), ids, "photos", progress)


def _each(work, items, unit: str, progress: bool) -> list:
    """`work` on every item in threads, one a core: decoding and numpy both let go of Python's lock."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(tqdm(pool.map(work, items), total=len(items), unit=f" {unit}", disable=not progress))


def _read_splits(data_folder: Path) -> dict[str, set[str]]:
    """Split name -> photo ids, in the order train, val, test, others; empty where nothing is prepared."""
    order = ["train", "val", "test"]
    names = sorted(
        prepared.split_names(data_folder),
        key=lambda name: (order.index(name) if name in order else len(order), name),
    )
    return {name: set(prepared.ids(data_folder, name)) for name in names}


# the sections ----------------------------------------------------------------------------------------------


def _summary(instances: pd.DataFrame, photos: list[_Photo]) -> str:
    ids = instances["ClassId"]
    parts = ids.between(MAIN, len(CATEGORIES) - 1)
    part_only = int(parts.groupby(instances["ImageId"]).all().sum())
    turned = [p.image_id for p in photos if p.orientation > 1]
    return _table(
        ["", "count"],
        [
            ["photos with good rows", len(photos)],
            ["instances", len(instances)],
            ["… of main apparel", int((ids < MAIN).sum())],
            ["… of garment parts", int(parts.sum())],
            ["… of hair and skin", int(ids.isin(list(PERSON)).sum())],
            ["photos with parts only (`part_only` decides what happens to them)", part_only],
            [f"photos that EXIF turns{_some(turned)}; masks are taken as drawn before the turn", len(turned)],
        ],
    )


def _problems(problems: pd.DataFrame, photos: list[_Photo]) -> str:
    broken = pd.DataFrame([{"ImageId": p.image_id, "row": "", "problem": p.error} for p in photos if p.error])
    everything = pd.concat([problems, broken]) if len(broken) else problems
    if not len(everything):
        return "## Bad rows and photos\n\nNone: every row can be decoded, every photo read."
    rows = everything.head(ROWS)[["ImageId", "row", "problem"]].astype(str).to_numpy().tolist()
    counted = f"{len(everything)} in {everything['ImageId'].nunique()} photos{_shown(len(everything))}"
    return f"## Bad rows and photos\n\n{counted}:\n\n{_table(['photo', 'row', 'problem'], rows)}"


def _sizes(problems: pd.DataFrame, photos: list[_Photo]) -> str:
    read = [p for p in photos if not p.error]
    if not read:
        return "## Sizes\n\nNo photo could be read."
    sides = np.array([p.size for p in read])  # (n, 2): width, height
    differ = [p.ImageId for p in problems.itertuples() if "differ from the photo" in p.problem]
    table = _table(
        ["", "least", "median", "most"],
        [
            [name, *(f"{value:,.{digits}f}" for value in np.percentile(values, [0, 50, 100]))]
            for name, values, digits in [
                ("width, px", sides[:, 0], 0),
                ("height, px", sides[:, 1], 0),
                ("megapixels", sides.prod(axis=1) / 1e6, 2),
                ("height / width", sides[:, 1] / sides[:, 0], 2),
            ]
        ],
    )
    (width, height), photos_of_it = Counter(p.size for p in read).most_common(1)[0]
    return (
        f"## Sizes\n\n{table}\n\n{len({p.size for p in read})} distinct sizes; the commonest is"
        f" {width} × {height} ({photos_of_it / len(read):.0%} of the photos). Files that differ from the"
        f" CSV's Width × Height: {len(differ)}{_some(differ)}."
    )


def _repeats(instances: pd.DataFrame) -> str:
    """Rows that repeat an earlier one wholly, or its mask under another class."""
    mask_again = instances.duplicated(["ImageId", "EncodedPixels"])
    row_again = instances.duplicated(["ImageId", "EncodedPixels", "ClassId"])
    return "## Rows that stand twice\n\n" + _table(
        ["", "rows", "photos"],
        [
            [what, int(again.sum()), instances[again]["ImageId"].nunique()]
            for what, again in [
                ("the same photo, class and mask as an earlier row", row_again),
                ("the same photo and mask, another class", mask_again & ~row_again),
            ]
        ],
    )


def _overlaps(instances: pd.DataFrame, progress: bool) -> str:
    """Parts lie on garments by design, so only the classes that compete for a pixel are compared."""
    competing = instances[~instances["ClassId"].between(MAIN, len(CATEGORIES) - 1)]
    groups = [group for _, group in competing.groupby("ImageId")]
    chosen = np.random.default_rng(0).permutation(len(groups))[:OVERLAP_PHOTOS]
    found = _each(_overlap, [groups[i] for i in chosen], "photos' overlaps", progress)
    columns = ["a", "b", "pixels", "of_a", "of_b"]
    pairs = pd.DataFrame([row for rows in found for row in rows], columns=columns)
    sampled = " (drawn with seed 0)" if len(chosen) < len(groups) else ""
    head = (
        f"## Which classes overlap\n\nOn {len(chosen)} of {len(groups)} photos{sampled}, garment parts"
        " left out. The painting rule decides who gets a shared pixel (default: the smaller instance)."
    )
    if not len(pairs):
        return f"{head}\n\nNo pixel belongs to two classes."
    total = pairs.groupby(["a", "b"])[columns[2:]].sum().sort_values("pixels", ascending=False)
    photos = pairs.groupby(["a", "b"]).size()
    rows = [
        [_NAMES[a], _NAMES[b], photos[a, b], f"{both:,}", f"{both / of_a:.1%}", f"{both / of_b:.1%}"]
        for (a, b), (both, of_a, of_b) in total.head(ROWS).iterrows()
    ]
    table = _table(["class", "and class", "photos", "shared pixels", "of the first", "of the second"], rows)
    return (
        f"{head} {len(total)} pairs of classes share pixels{_shown(len(total))}; the shares are of the"
        f" two classes' pixels in the photos where they meet.\n\n{table}"
    )


def _overlap(rows: pd.DataFrame) -> list[tuple[int, int, int, int, int]]:
    """(class, class, shared pixels, pixels of the first, of the second) of one photo's classes that meet."""
    masks: dict[int, np.ndarray] = {}
    for row in rows.itertuples():
        mask = rle.decode(row.EncodedPixels, row.Height, row.Width)
        masks[row.ClassId] = masks[row.ClassId] | mask if row.ClassId in masks else mask
    areas = {class_id: int(np.count_nonzero(mask)) for class_id, mask in masks.items()}
    shared = [(a, b, int(np.count_nonzero(masks[a] & masks[b]))) for a, b in combinations(sorted(masks), 2)]
    return [(a, b, pixels, areas[a], areas[b]) for a, b, pixels in shared if pixels]


def _classes(instances: pd.DataFrame, splits: dict[str, set[str]]) -> str:
    seen = instances[["ImageId", "ClassId"]].drop_duplicates()
    counts = {name: seen[seen["ImageId"].isin(ids)]["ClassId"].value_counts() for name, ids in splits.items()}
    rows = [
        [
            _NAMES[i],
            int((instances["ClassId"] == i).sum()),
            int((seen["ClassId"] == i).sum()),
            *(int(count.get(i, 0)) for count in counts.values()),
        ]
        for i in sorted(seen["ClassId"].unique())
    ]
    missing = [name for i, name in enumerate(CATEGORIES[:MAIN]) if not (seen["ClassId"] == i).any()]
    notes = []
    if not splits:
        notes.append("Not prepared yet: no splits to count.")
    if unknown := set().union(*splits.values()) - set(seen["ImageId"]):
        notes.append(f"{len(unknown)} photos of the splits have no good row here{_some(sorted(unknown))}.")
    if missing:
        notes.append(f"Main classes that never occur: {'; '.join(missing)}.")
    return "\n\n".join(
        [
            "## Photos per class",
            *notes,
            _table(["class", "instances", "photos", *(f"in {name}" for name in splits)], rows),
        ]
    )


def _near_duplicates(photos: list[_Photo], splits: dict[str, set[str]]) -> str:
    read = [p for p in photos if not p.error]
    split_of = {image_id: name for name, ids in splits.items() for image_id in ids}

    def crosses(a, b, _distance):
        return len({split_of.get(a), split_of.get(b)} - {None}) == 2

    pairs = [
        (read[i].image_id, read[j].image_id, distance)
        for i, j, distance in near_pairs([p.hash for p in read])
    ]
    across = [pair for pair in pairs if crosses(*pair)]
    listed = across if splits else pairs
    head = (
        f"## Photos that look alike\n\n{len(pairs)} pairs differ in at most {NEAR} of the 64 bits of"
        " their perceptual hashes (`imagehash.phash`). "
    )
    head += f"{len(across)} of them lie across two splits" if splits else "There are no splits yet to cross"
    if not listed:
        return f"{head}."
    rows = [[a, split_of.get(a, "–"), b, split_of.get(b, "–"), bits] for a, b, bits in listed[:ROWS]]
    table = _table(["photo", "split", "photo", "split", "bits apart"], rows)
    return f"{head}{_shown(len(listed))}:\n\n{table}"


def near_pairs(hashes, most: int = NEAR) -> list[tuple[int, int, int]]:
    """(i, j, distance), i < j, of all pairs of 64-bit hashes at most `most` bits apart, the nearest first.

    Every pair is compared, in blocks: exact, and 4 s for 45,623 hashes on one core.
    """
    hashes = np.asarray(hashes, np.uint64)
    found = []
    for start in range(0, len(hashes), 256):
        distance = np.bitwise_count(hashes[start : start + 256, None] ^ hashes[None, start:])
        i, j = np.nonzero(distance <= most)
        later = i < j
        i, j = i[later], j[later]
        found += zip((i + start).tolist(), (j + start).tolist(), distance[i, j].tolist(), strict=True)
    return sorted(found, key=lambda pair: (pair[2], pair[0], pair[1]))


# Markdown --------------------------------------------------------------------------------------------------


def _table(head: list, rows: list[list]) -> str:
    def line(cells):
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def _some(ids: list[str]) -> str:
    return f" ({', '.join(ids[:5])}{', …' if len(ids) > 5 else ''})" if ids else ""


def _shown(n: int) -> str:
    return f", the first {ROWS} shown" if n > ROWS else ""
