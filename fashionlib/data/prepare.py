"""Raw layout -> photos, label maps and splits as MMSegmentation expects them.

    data/<data>/images/<id>.jpg      the raw photos (linked or copied), shrunk if asked for, EXIF turns undone
    data/<data>/labels/<id>.png      8-bit palette PNG: number in the class set, 0 = background, 255 = ignore
    data/<data>/splits/<split>.txt   one id a line: train, val, test (and official_val, if the source has one)
    data/<data>/dataset.json         written last: source, options, counts, fingerprint of the inputs
    data/<data>/left_out.csv         ImageId, row, reason (bad, part_only, unlabelled), problem

`prepare` goes on where an interrupted one stopped, in the hidden folder that `outputs.building` moves from at
the end, and does nothing when the fingerprint is unchanged and all files are there.
"""

import functools
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fashionlib.core import checked_files, classes, files, outputs, processes
from fashionlib.core.files import atomic_write
from fashionlib.data import label_maps, prepared, rle
from fashionlib.data.label_maps import Photo, Written
from fashionlib.data.prepared import INFO
from fashionlib.data.raw import (
    CSV,
    DESCRIPTIONS,
    OFFICIAL_VAL,
    TRAIN_ONLY,
    RawError,
    check,
    check_max_bad,
    descriptions,
    image_path,
    listed,
)
from fashionlib.data.splits import SPLITS, split

FOLDERS = ("images", "labels", "splits")
PART_ONLY = ("leave_out", "ignore", "keep")
_VERSIONS = {"whole": 1, "shrunk": 2}  # raise them when the same input and options give other pixels
_KIND = "prepared data"
_LABEL_BYTES = 0.05  # of PNG a pixel, generously: Clothing Co-Parsing's label maps take 0.01


def prepare(
    raw: str | Path,
    out: str | Path,
    class_set: str = "main",
    part_only: str = "leave_out",
    fractions: tuple[float, float, float] = (0.7, 0.2, 0.1),
    seed: int = 0,
    stratify: bool = False,
    max_side: int | None = None,
    order: str = "area",
    max_bad: float = 0.01,
    workers: int | None = None,
    progress: bool = True,
) -> dict:
    """Prepare the raw folder `raw` in the folder `out` and return the contents of its dataset.json.

    Parameters
    ----------
    class_set
        ``"main"`` (the paper's 28), ``"person"`` (with hair and skin) or ``"all"`` (with the garment parts).
    part_only
        What to do with photos that carry garment parts but no class of the set, so that the garment itself
        would be labelled background: ``"leave_out"``, ``"ignore"`` (the parts' pixels get 255) or ``"keep"``.
    fractions, seed, stratify
        Shares of train, val and test, how photos are drawn, whether rare classes are spread: `splits.split`.
    max_side
        Shrink photos whose longer side has more pixels, and their label maps with them. None: no shrinking.
    order
        Painting order of overlapping instances: see `rle.label_map`.
    max_bad
        Share of the photos that may be unusable; they are left out and listed. Part-only photos are not bad.
    workers
        Processes: None takes all cores, 1 works in this one. They are spawned: a script that wants more than
        one calls this under ``if __name__ == "__main__":``.

    Raises RawError if more than `max_bad` of the photos are unusable, ValueError for a bad option,
    FileExistsError if `out` holds something else, OSError if the disk has too little room, `files.FolderLocked`
    while another process prepares it.
    """
    raw, out = Path(raw), Path(out)
    processes.count(workers)
    check_max_bad(max_bad)
    options = {
        "class_set": classes.check_name(class_set, classes.CLASS_SETS, "class set"),
        "part_only": classes.check_name(part_only, PART_ONLY, "treatment of part-only photos"),
        "fractions": [float(fraction) for fraction in fractions],
        "seed": int(seed),
        "stratify": bool(stratify),
        "max_side": max_side,
        "order": classes.check_name(order, rle.ORDERS, "painting order"),
    }
    if max_side is not None and max_side < 1:
        raise ValueError(f"max_side={max_side} must be a number of pixels, or None to keep the photos' size.")
    outputs.claim(out, _KIND, [raw], _is_ours, INFO)
    fingerprint = make_fingerprint(raw, options)
    if any(out.glob(f"{outputs.UNFINISHED}*")) or (out / files.LOCK).exists():
        with files.folder_lock(out, "preparing"):
            outputs.recover(out, INFO, keep=outputs.unfinished(out, fingerprint))
    done = _finished(out)
    if done and done["fingerprint"] == fingerprint and _is_whole(out, done):
        return done

    photos, left_out = _choose(raw, class_set, part_only)
    n_photos = len(photos) + left_out.ImageId.nunique()
    _refuse_if_bad(left_out, n_photos, max_bad)
    _split(raw, photos, options)  # before the work, for what it refuses
    _check_room(raw, out, photos, max_side)
    with outputs.building(out, INFO, "preparing", _KIND, [raw], _is_ours, key=fingerprint) as part:
        return _prepare(raw, part, options, max_bad, fingerprint, photos, left_out, workers, progress)


def _prepare(
    raw: Path, out: Path, options: dict, max_bad: float, fingerprint: str, photos: list[Photo],
    left_out: pd.DataFrame, workers: int | None, progress: bool,
) -> dict:  # fmt: skip
    """What `prepare` writes and returns, once it knows that it can; `out` is what `outputs.building` gives."""
    n_photos = len(photos) + left_out.ImageId.nunique()
    for name in FOLDERS:
        (out / name).mkdir(exist_ok=True)
    max_side, order = options["max_side"], options["order"]
    work = functools.partial(label_maps.write, raw=raw, out=out, max_side=max_side, order=order)
    written = {photo.id: result for photo, result in _in_parallel(work, photos, workers, progress)}
    damaged = [(p.id, p.row, "bad", written[p.id].problem) for p in photos if written[p.id].problem]
    left_out = pd.concat([left_out, pd.DataFrame(damaged, columns=left_out.columns)]).sort_values("row")
    with atomic_write(out / "left_out.csv") as path:
        left_out.to_csv(path, index=False, errors="backslashreplace")  # a file's name may be anything
    _refuse_if_bad(left_out, n_photos, max_bad)

    splits = _split(raw, [photo for photo in photos if not written[photo.id].problem], options)
    for name, ids in splits.items():
        with atomic_write(out / "splits" / f"{name}.txt") as path:
            path.write_text("".join(f"{i}\n" for i in ids), encoding="utf-8")
    names = classes.CLASS_SETS[options["class_set"]]
    summary = {
        "data": out.parent.resolve().name,
        "source": descriptions(raw).get("info", {}).get("source", raw.resolve().name),
        "class_set": options["class_set"],
        "classes": list(names),
        "fingerprint": fingerprint,
        "options": options,
        "counts": _counts(photos, written, splits, names),
        "left_out": {reason: int(n) for reason, n in left_out.groupby("reason").ImageId.nunique().items()},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    files.write_text(out / INFO, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def make_fingerprint(raw: Path, options: dict) -> str:
    """A hash of the raw text files' bytes, the photos' names and sizes, and the options; reads no photo."""
    version = _VERSIONS["shrunk" if options.get("max_side") else "whole"]
    total = hashlib.sha256(json.dumps([version, options]).encode())
    for path in (raw / CSV, raw / DESCRIPTIONS, raw / OFFICIAL_VAL, raw / TRAIN_ONLY):
        if path.exists():
            with checked_files.check_file(path, RawError).open("rb") as file:
                total.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    if (raw / "train").is_dir():
        with os.scandir(raw / "train") as entries:
            total.update(repr(sorted((entry.name, entry.stat().st_size) for entry in entries)).encode())
    return total.hexdigest()[:16]


def _finished(out: Path) -> dict | None:
    """The dataset.json of a finished `prepare`, if there is one."""
    path = out / INFO
    advice = "delete it to prepare anew, or choose another folder"
    return (
        checked_files.json_object(path, {"fingerprint": str, "counts": dict}, advice)
        if path.exists()
        else None
    )


def _is_ours(out: Path) -> bool:
    """Whether `prepare` made the folder `out`; what stands in its dataset.json is checked when it is read."""
    return (out / INFO).exists()


def _is_whole(out: Path, done: dict) -> bool:
    """Whether the lists of photos, the photos and the label maps are all there; reads none of the latter."""
    names = prepared.split_names(out)
    try:
        ids = {i for name in names for i in prepared.ids(out, name)}
        prepared.check_files(out, ids)
    except ValueError:
        return False
    return {*SPLITS} <= {*names} and len(ids) == done["counts"].get("photos")


def _choose(raw: Path, class_set: str, part_only: str) -> tuple[list[Photo], pd.DataFrame]:
    """The photos to prepare, in the CSV's order, and those left out: ImageId, row, reason, problem."""
    instances, problems = check(raw)
    left_out = problems.assign(reason="bad")[["ImageId", "row", "reason", "problem"]]
    listed = {*instances.ImageId, *problems.ImageId}
    unlabelled = sorted({path.stem for path in (raw / "train").glob("*.jpg")} - listed)
    unlabelled = [(i, 0, "unlabelled", f"{CSV} has no row for this photo") for i in unlabelled]
    left_out = pd.concat([left_out, pd.DataFrame(unlabelled, columns=left_out.columns)])
    value = instances.ClassId.map(classes.label_values(class_set)).fillna(0).astype(int)
    is_part = instances.ClassId.between(classes.MAIN, len(classes.CATEGORIES) - 1)
    photo = instances.ImageId
    parts_only = is_part.groupby(photo).transform("any") & (value == 0).groupby(photo).transform("all")
    if part_only == "ignore":
        value[parts_only & is_part] = classes.IGNORE
    instances = instances.assign(value=value)
    if part_only == "leave_out":
        dropped = instances[parts_only].drop_duplicates("ImageId")[["ImageId", "row"]]
        dropped = dropped.assign(reason="part_only", problem=f"no class of {class_set!r}, only garment parts")
        left_out = pd.concat([left_out, dropped])
        instances = instances[~parts_only]
    photos = []
    for image_id, rows in instances.groupby("ImageId", sort=False):
        first, painted = rows.iloc[0], rows[rows.value > 0]
        codes, values = tuple(painted.EncodedPixels), tuple(painted.value)
        photos.append(Photo(image_id, int(first.row), int(first.Height), int(first.Width), codes, values))
    return photos, left_out


def _refuse_if_bad(left_out: pd.DataFrame, n_photos: int, max_bad: float) -> None:
    """Raise RawError if more than `max_bad` of `n_photos` are bad (part-only photos are not)."""
    bad = left_out[left_out.reason == "bad"]
    n, first = bad.ImageId.nunique(), bad[:5].itertuples()
    if n > max_bad * n_photos:
        listed = "; ".join(
            f"row {line.row} ({checked_files.shown(line.ImageId)}): {line.problem}" for line in first
        )
        raise RawError(
            f"{n} of {n_photos} photos ({n / n_photos:.1%}) are bad, more than max_bad={max_bad:.1%} allows: "
            f"{listed}{'; ...' if len(bad) > 5 else ''}. Repair them, or raise max_bad to go on without them."
        )


def _split(raw: Path, photos: list[Photo], options: dict) -> dict[str, list[str]]:
    """The ids of each split. Photos that the source set aside, for a split or for training, are not drawn."""
    official, train_only = listed(raw, OFFICIAL_VAL), listed(raw, TRAIN_ONLY)
    ids = {photo.id for photo in photos}
    aside = official | train_only
    ours = {photo.id: set(photo.values) - {classes.IGNORE} for photo in photos if photo.id not in aside}
    splits = split(ours, options["fractions"], options["seed"], ours if options["stratify"] else None)
    splits["train"] = sorted([*splits["train"], *(train_only & ids)])
    return splits | ({"official_val": sorted(official & ids)} if official & ids else {})


def _check_room(raw: Path, out: Path, photos: list[Photo], max_side: int | None) -> None:
    """Raise OSError if `out`'s disk has fewer free bytes than label maps and (unless linked) photos need."""
    disk = next(path for path in (out, *out.resolve().parents) if path.exists())
    needed = sum(_LABEL_BYTES * np.prod(label_maps.size_of(photo, max_side)) for photo in photos)
    if max_side or disk.stat().st_dev != (raw / "train").stat().st_dev:
        needed += sum(image_path(raw, photo.id).stat().st_size for photo in photos)
    free = shutil.disk_usage(disk).free
    if needed > free:
        needs, has = (tqdm.format_sizeof(size, "B") for size in (needed, free))
        raise OSError(
            f"{out} needs about {needs} but its disk has {has} free: "
            "make room, set FASHION_HOME to another disk, or shrink the photos with max_side."
        )


def _in_parallel(
    work: Callable[[Photo], Written], photos: list[Photo], workers: int | None, progress: bool
) -> Iterator[tuple[Photo, Written]]:
    """Every photo with `work`'s result, in order, under a progress bar."""
    interval = 0.5 if sys.stderr.isatty() else 2  # seconds; notebooks and log files get few lines
    with tqdm(photos, desc="prepare", unit="photo", mininterval=interval, disable=not progress) as bar:
        if workers == 1:
            yield from ((photo, work(photo)) for photo in bar)
            return
        with processes.pool(workers) as pool:
            results = pool.map(work, photos, chunksize=8)
            yield from ((photo, next(results)) for photo in bar)


def _counts(photos: list[Photo], written: dict[str, Written], splits: dict, names: tuple[str, ...]) -> dict:
    """dataset.json's counts: photos, photos of each split, instances, photos and pixels of each class."""
    tables = {part: np.array([written[i].pixels for i in ids]) for part, ids in splits.items() if ids}
    kept = {i for ids in splits.values() for i in ids}
    per_class = {}
    for value, name in enumerate(names):
        in_split = {part: int((table[:, value] > 0).sum()) for part, table in tables.items()}
        pixels = sum(int(table[:, value].sum()) for table in tables.values())
        per_class[name] = {"photos": sum(in_split.values()), "pixels": pixels, **in_split}
    return {
        "photos": len(kept),
        **{part: len(ids) for part, ids in splits.items()},
        "instances": sum(len(photo.values) for photo in photos if photo.id in kept),
        "exif_turned": sum(written[i].exif_turned for i in kept),
        "per_class": per_class,
    }
