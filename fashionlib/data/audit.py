"""Audit of a raw data set: one Markdown page to read before training.

It counts photos, instances, sizes and classes, and lists what would mislead a training run: bad rows, photos
that disagree with their rows, EXIF rotations, photos with garment parts only, duplicate rows, overlapping
classes, rare classes in a small split, and near-duplicate photos in different splits.
"""

import functools
from collections import Counter
from itertools import combinations
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from fashionlib.core import checked_files, files, outputs, paths, processes
from fashionlib.core.classes import CATEGORIES, MAIN, NAMES, PERSON
from fashionlib.data import prepared, raw, rle
from fashionlib.data.splits import SPLITS

NEAR = 6  # of 64 bits: CCP's five true pairs are 4 to 6 apart, its first pair of different photos 10
OVERLAP_PHOTOS = 500  # maximum number of photos on which overlaps are counted
ROWS = 15  # maximum number of rows of a long table
EXIF_ORIENTATION = 0x0112

_TITLE = "# Audit of `"
# size in pixels as stored; EXIF orientation, 1 is upright; perceptual hash; why it can't be decoded, or ""
_PHOTO = ["ImageId", "width", "height", "orientation", "hash", "problem"]
_each = functools.partial(processes.in_parallel, threads=True)  # decoding and numpy release the GIL


def audit(raw_folder, out=None, data_folder=None, progress: bool = True) -> str:
    """Markdown page about `raw_folder` (iMaterialist layout), also written to `out` if given.

    `data_folder` is a prepared data set whose splits are audited too; by default the one of the same name,
    if it exists. Raises `raw.RawError` if the CSV as a whole can't be read; individual bad rows and photos
    are listed on the page instead.
    """
    folder = Path(raw_folder).resolve()
    data_folder = Path(data_folder) if data_folder else paths.home() / "data" / folder.name
    if out:
        outputs.claim_file(out, "an audit page", [folder, data_folder], outputs.begins(_TITLE))
    instances, problems = raw.check(folder)
    own = raw.own_classes(folder)
    names = dict(enumerate(own)) if own else NAMES
    look = functools.partial(_look_at, folder)
    seen = _each(look, instances["ImageId"].unique(), progress=progress, unit=" photos")
    photos, splits = pd.DataFrame(seen, columns=_PHOTO), _read_splits(data_folder)
    read = photos[photos.problem == ""]
    sections = [
        _summary(instances, photos, names),
        _problems(problems, photos),
        _sizes(problems, read),
        _repeats(instances),
        _overlaps(instances, names, progress),
        _classes(instances, names, splits),
        _near_duplicates(read, splits),
    ]
    page = "\n\n".join([f"{_TITLE}{folder.name}`", *sections]) + "\n"
    if out:
        files.write_text(out, page)
    return page


def _look_at(folder: Path, image_id: str) -> tuple[str, int, int, int, int, str]:
    """The row _PHOTO of a photo; of one that can't be decoded only the problem."""
    try:
        with Image.open(raw.image_path(folder, image_id)) as image:
            size, orientation = image.size, image.getexif().get(EXIF_ORIENTATION, 1)
            image.draft("L", (64, 64))  # JPEG decodes straight to a small size; the hash uses 32 x 32
            digest = imagehash.phash(ImageOps.exif_transpose(image))
    except checked_files.DAMAGED as error:
        return image_id, 0, 0, 1, 0, checked_files.reason(error)
    return image_id, *size, orientation, int(str(digest), 16), ""


def _read_splits(data_folder: Path) -> dict[str, set[str]]:
    """Photo ids of each split, in the order train, val, test, others; empty if the data are not prepared."""
    names = prepared.split_names(data_folder)
    names = [*(name for name in SPLITS if name in names), *(name for name in names if name not in SPLITS)]
    return {name: set(prepared.ids(data_folder, name)) for name in names}


def _is_part(ids: pd.Series, names: dict[int, str]) -> pd.Series:
    """Whether each class id is a garment part; own classes have none."""
    return ids.between(MAIN, len(CATEGORIES) - 1) & (names is NAMES)


def _summary(instances: pd.DataFrame, photos: pd.DataFrame, names: dict[int, str]) -> str:
    ids = instances["ClassId"]
    parts = _is_part(ids, names)
    part_only = parts.groupby(instances["ImageId"]).all().sum()
    turned = photos.ImageId[photos.orientation > 1].tolist()
    rows = {
        "photos with good rows": len(photos),
        "instances": len(instances),
        "… of main apparel": (ids < MAIN).sum(),
        "… of garment parts": parts.sum(),
        "… of hair and skin": ids.isin(list(PERSON)).sum(),
        "photos with parts only (`part_only` decides what happens to them)": part_only,
    }
    rows = rows if names is NAMES else {"photos with good rows": len(photos), "instances": len(instances)}
    rows |= {
        f"photos that EXIF turns{_some(turned)}; masks are taken as drawn before the turn": len(turned),
    }
    return _table(["", "count"], list(rows.items()))


def _problems(problems: pd.DataFrame, photos: pd.DataFrame) -> str:
    columns = ["ImageId", "row", "problem"]
    everything = pd.concat([problems, photos[photos.problem != ""].assign(row="")])[columns].astype(str)
    if everything.empty:
        return "## Bad rows and photos\n\nNone: every row can be decoded, every photo read."
    rows = everything.head(ROWS).to_numpy().tolist()
    counted = f"{len(everything)} in {everything['ImageId'].nunique()} photos{_shown(len(everything))}"
    return f"## Bad rows and photos\n\n{counted}:\n\n{_table(['photo', 'row', 'problem'], rows)}"


def _sizes(problems: pd.DataFrame, read: pd.DataFrame) -> str:
    if read.empty:
        return "## Sizes\n\nNo photo could be read."
    width, height = read.width, read.height
    differ = [row.ImageId for row in problems.itertuples() if "differ from the photo" in row.problem]
    measures = [
        ("width, px", width, 0),
        ("height, px", height, 0),
        ("megapixels", width * height / 1e6, 2),
        ("height / width", height / width, 2),
    ]
    rows = [
        [name, *(f"{value:,.{digits}f}" for value in values.quantile([0, 0.5, 1]))]
        for name, values, digits in measures
    ]
    sizes = Counter(zip(width, height, strict=True))
    ((w, h), photos_of_it), *_ = sizes.most_common(1)
    return (
        f"## Sizes\n\n{_table(['', 'least', 'median', 'most'], rows)}\n\n{len(sizes)} distinct sizes;"
        f" the commonest is {w} × {h} ({photos_of_it / len(read):.0%} of the photos)."
        f" Files that differ from the CSV's Width × Height: {len(differ)}{_some(differ)}."
    )


def _repeats(instances: pd.DataFrame) -> str:
    """Section on rows that repeat an earlier row entirely, or its mask under another class."""
    mask_again = instances.duplicated(["ImageId", "EncodedPixels"])
    row_again = instances.duplicated(["ImageId", "EncodedPixels", "ClassId"])
    found = {
        "the same photo, class and mask as an earlier row": row_again,
        "the same photo and mask, another class": mask_again & ~row_again,
    }
    rows = [[what, again.sum(), instances[again]["ImageId"].nunique()] for what, again in found.items()]
    return "## Rows that stand twice\n\n" + _table(["", "rows", "photos"], rows)


def _overlaps(instances: pd.DataFrame, names: dict[int, str], progress: bool) -> str:
    """Section on overlapping classes; excludes garment parts, which lie on garments by design."""
    competing = instances[~_is_part(instances["ClassId"], names)]
    groups = [group for _, group in competing.groupby("ImageId")]
    chosen = np.random.default_rng(0).permutation(len(groups))[:OVERLAP_PHOTOS]
    found = _each(_overlap, [groups[i] for i in chosen], progress=progress, unit=" photos' overlaps")
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
        [names[a], names[b], photos[a, b], f"{both:,}", f"{both / of_a:.1%}", f"{both / of_b:.1%}"]
        for (a, b), (both, of_a, of_b) in total.head(ROWS).iterrows()
    ]
    table = _table(["class", "and class", "photos", "shared pixels", "of the first", "of the second"], rows)
    return (
        f"{head} {len(total)} pairs of classes share pixels{_shown(len(total))}; the shares are of the"
        f" two classes' pixels in the photos where they meet.\n\n{table}"
    )


def _overlap(rows: pd.DataFrame) -> list[tuple[int, int, int, int, int]]:
    """Overlapping class pairs of one photo: (class a, class b, shared pixels, pixels of a, pixels of b)."""
    masks: dict[int, np.ndarray] = {}
    for row in rows.itertuples():
        mask = rle.decode(row.EncodedPixels, row.Height, row.Width)
        masks[row.ClassId] = masks[row.ClassId] | mask if row.ClassId in masks else mask
    areas = {class_id: int(np.count_nonzero(mask)) for class_id, mask in masks.items()}
    shared = [(a, b, int(np.count_nonzero(masks[a] & masks[b]))) for a, b in combinations(sorted(masks), 2)]
    return [(a, b, pixels, areas[a], areas[b]) for a, b, pixels in shared if pixels]


def _classes(instances: pd.DataFrame, names: dict[int, str], splits: dict[str, set[str]]) -> str:
    seen = instances[["ImageId", "ClassId"]].drop_duplicates()
    ids = sorted(seen["ClassId"].unique())
    columns = [instances["ClassId"], seen["ClassId"]]
    columns += [seen["ClassId"][seen["ImageId"].isin(photos)] for photos in splits.values()]
    counts = [column.value_counts() for column in columns]
    rows = [[names[i], *(int(count.get(i, 0)) for count in counts)] for i in ids]
    main = dict(enumerate(CATEGORIES[:MAIN])) if names is NAMES else names
    missing = [name for i, name in main.items() if i not in ids]
    notes = []
    if not splits:
        notes.append("Not prepared yet: no splits to count.")
    if unknown := set().union(*splits.values()) - set(seen["ImageId"]):
        notes.append(f"{len(unknown)} photos of the splits have no good row here{_some(sorted(unknown))}.")
    if missing:
        notes.append(f"Main classes that never occur: {'; '.join(missing)}.")
    table = _table(["class", "instances", "photos", *(f"in {name}" for name in splits)], rows)
    return "\n\n".join(["## Photos per class", *notes, table])


def _near_duplicates(read: pd.DataFrame, splits: dict[str, set[str]]) -> str:
    names = read.ImageId.tolist()
    split_of = {image_id: name for name, ids in splits.items() for image_id in ids}
    pairs = [(names[i], names[j], bits) for i, j, bits in near_pairs(read.hash)]
    across = [pair for pair in pairs if len({split_of.get(name) for name in pair[:2]} - {None}) == 2]
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
    """All pairs of 64-bit hashes at most `most` bits apart: (i, j, distance) with i < j, nearest first.

    Exact: compares every pair, in blocks; 4 s for 45,623 hashes on one core.
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


def _table(head: list, rows: list[list]) -> str:
    def line(cells):
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def _some(ids: list[str]) -> str:
    return f" ({', '.join(ids[:5])}{', …' if len(ids) > 5 else ''})" if ids else ""


def _shown(n: int) -> str:
    return f", the first {ROWS} shown" if n > ROWS else ""
