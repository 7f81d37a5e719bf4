"""Preparation of raw data: photos, label maps and splits as MMSegmentation expects them.

    data/<data>/images/<id>.jpg      raw photos (linked or copied), optionally shrunk, EXIF rotation removed
    data/<data>/labels/<id>.png      8-bit palette PNG: number in the class set, 0 = background, 255 = ignore
    data/<data>/splits/<split>.txt   one id per line: train, val, test (and official_val, if in the source)
    data/<data>/dataset.json         written last: source, options, counts, fingerprint of the inputs
    data/<data>/left_out.csv         ImageId, row, reason (bad, part_only, unlabelled), problem

`prepare` resumes an interrupted call in the hidden folder of `outputs.building`, and does nothing if the
fingerprint is unchanged and all files exist.
"""

import functools
import hashlib
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fashionlib.core import checked_files, classes, files, outputs, processes
from fashionlib.core.files import atomic_write
from fashionlib.data import prepared, rle
from fashionlib.data import raw as layout
from fashionlib.data.prepared import INFO, Photo, Written
from fashionlib.data.splits import SPLITS, split

PART_ONLY = ("leave_out", "ignore", "keep")
_VERSIONS = {"whole": 1, "shrunk": 2}  # increment when the same input and options give other pixels
_KIND = "prepared data"
_LABEL_BYTES = 0.05  # PNG bytes per pixel, a generous estimate: Clothing Co-Parsing's label maps take 0.01


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
    shuffle: bool = True,
    max_bad: float = 0.01,
    workers: int | None = None,
    progress: bool = True,
) -> dict:
    """Prepare the raw folder `raw` in the folder `out` and return the contents of its dataset.json.

    Args:
        class_set: ``main`` (the paper's 28), ``person`` (with hair and skin) or ``all`` (with garment parts).
            A raw folder with classes of its own has one set, ``own``, which ``main`` means there too.
        part_only: treatment of photos with garment parts but no class of the set (their garments would become
            background): ``leave_out``, ``ignore`` (the parts' pixels get 255) or ``keep``.
        fractions, seed, stratify, shuffle: fractions of train, val and test, and how to draw: `splits.split`.
        max_side: shrink photos whose longer side has more pixels, and their label maps; None: no shrinking.
        order: painting order of overlapping instances, see `rle.label_map`.
        max_bad: allowed fraction of unusable photos, which are skipped and listed; excludes part-only photos.
        workers: number of processes; None: one per core, 1: only this process. Several are spawned, so a
            script must call this under ``if __name__ == "__main__":``.

    Raises RawError for too many unusable photos, ValueError for a bad option, FileExistsError for other files
    in `out`, OSError for too little room on the disk, `files.FolderLocked` while another process prepares it.
    """
    raw, out = Path(raw), Path(out)
    processes.count(workers)
    layout.check_max_bad(max_bad)
    own = layout.own_classes(raw)
    class_set = layout.OWN if own and class_set == "main" else class_set
    sets = {layout.OWN: (classes.BACKGROUND, *own)} if own else classes.CLASS_SETS
    options = _check_options(sets, class_set, part_only, fractions, seed, stratify, max_side, order, shuffle)
    outputs.claim(out, _KIND, [raw], _is_ours, INFO)
    fingerprint = make_fingerprint(raw, options)
    if done := _finished(out, fingerprint):
        return done
    names = sets[class_set]
    photos, left_out = _choose(raw, class_set, part_only, names)
    _refuse_if_bad(photos, left_out, max_bad)
    _split(raw, photos, options)  # raises its errors before the work starts
    _check_room(raw, out, photos, max_side)
    with outputs.building(out, INFO, "preparing", _KIND, [raw], _is_ours, key=fingerprint) as part:
        return _prepare(raw, part, options, names, max_bad, fingerprint, photos, left_out, workers, progress)


def _check_options(sets, class_set, part_only, fractions, seed, stratify, max_side, order, shuffle) -> dict:
    """Validated options that determine the output, as stored in dataset.json; ValueError for a bad one.

    `shuffle` is stored where it is False only, so that data prepared before it existed stays up to date.
    """
    if max_side is not None and max_side < 1:
        raise ValueError(f"max_side={max_side} must be a number of pixels, or None to keep the photos' size.")
    return {
        "class_set": classes.check_name(class_set, sets, "class set"),
        "part_only": classes.check_name(part_only, PART_ONLY, "treatment of part-only photos"),
        "fractions": [float(fraction) for fraction in fractions],
        "seed": int(seed),
        "stratify": bool(stratify),
        "max_side": max_side,
        "order": classes.check_name(order, rle.ORDERS, "painting order"),
        **({} if shuffle else {"shuffle": False}),
    }


def _prepare(
    raw: Path,
    out: Path,
    options: dict,
    names: tuple[str, ...],
    max_bad: float,
    fingerprint: str,
    photos: list[Photo],
    left_out: pd.DataFrame,
    workers: int | None,
    progress: bool,
) -> dict:
    """Write all files to `out`, the folder of `outputs.building`; returns the content of dataset.json."""
    for name in ("images", "labels", "splits"):
        (out / name).mkdir(exist_ok=True)
    how = {name: options[name] for name in ("max_side", "order")}
    work = functools.partial(prepared.write, raw=raw, out=out, **how)
    results = processes.in_parallel(work, photos, workers, progress, "prepare")
    written = {photo.id: result for photo, result in zip(photos, results, strict=True)}
    damaged = [(p.id, p.row, "bad", written[p.id].problem) for p in photos if written[p.id].problem]
    photos = [photo for photo in photos if not written[photo.id].problem]
    left_out = pd.concat([left_out, pd.DataFrame(damaged, columns=left_out.columns)]).sort_values("row")
    with atomic_write(out / "left_out.csv") as path:
        left_out.to_csv(path, index=False, errors="backslashreplace")  # file names may not be valid UTF-8
    _refuse_if_bad(photos, left_out, max_bad)
    splits = _split(raw, photos, options)
    for name, ids in splits.items():
        files.write_text(out / "splits" / f"{name}.txt", "".join(f"{i}\n" for i in ids))
    summary = {
        "data": out.parent.resolve().name,
        "source": layout.descriptions(raw).get("info", {}).get("source", raw.resolve().name),
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
    """Hash of the raw text files' bytes, the photos' names and sizes, and the options; reads no photo."""
    version = _VERSIONS["shrunk" if options.get("max_side") else "whole"]
    total = hashlib.sha256(json.dumps([version, options]).encode())
    for path in (
        raw / layout.CSV,
        raw / layout.DESCRIPTIONS,
        raw / layout.OFFICIAL_VAL,
        raw / layout.TRAIN_ONLY,
    ):
        if path.exists():
            total.update(
                f"{path.name}:{files.sha256(checked_files.check_file(path, layout.RawError))}".encode()
            )
    if (raw / "train").is_dir():
        with os.scandir(raw / "train") as entries:
            total.update(repr(sorted((entry.name, entry.stat().st_size) for entry in entries)).encode())
    return total.hexdigest()[:16]


def _finished(out: Path, fingerprint: str) -> dict | None:
    """dataset.json of a complete `out` with this fingerprint, else None; finishes a killed call's moves."""
    if any(out.glob(f"{outputs.UNFINISHED}*")) or (out / files.LOCK).exists():
        with files.folder_lock(out, "preparing"):
            outputs.recover(out, INFO, keep=outputs.unfinished(out, fingerprint))
    if not _is_ours(out):
        return None
    advice = "delete it to prepare anew, or choose another folder"
    done = checked_files.json_object(out / INFO, {"fingerprint": str, "counts": dict}, advice)
    return done if done["fingerprint"] == fingerprint and _is_whole(out, done) else None


def _is_ours(out: Path) -> bool:
    """Whether `prepare` created the folder `out`; does not check its dataset.json."""
    return (out / INFO).exists()


def _is_whole(out: Path, done: dict) -> bool:
    """Whether all splits, photos and label maps exist; opens no photo or label map."""
    names = prepared.split_names(out)
    try:
        ids = {i for name in names for i in prepared.ids(out, name)}
        prepared.check_files(out, ids)
    except ValueError:
        return False
    return {*SPLITS} <= {*names} and len(ids) == done["counts"].get("photos")


def _choose(
    raw: Path, class_set: str, part_only: str, names: tuple[str, ...] = ()
) -> tuple[list[Photo], pd.DataFrame]:
    """Photos to prepare, in the order of the CSV, and a table of those left out (as in left_out.csv)."""
    instances, problems = layout.check(raw)
    left_out = problems.assign(reason="bad")[["ImageId", "row", "reason", "problem"]]
    listed = {*instances.ImageId, *problems.ImageId}
    unlabelled = sorted({path.stem for path in (raw / "train").glob("*.jpg")} - listed)
    unlabelled = [(i, 0, "unlabelled", f"{layout.CSV} has no row for this photo") for i in unlabelled]
    left_out = pd.concat([left_out, pd.DataFrame(unlabelled, columns=left_out.columns)])
    own = class_set == layout.OWN
    values = {i: i + 1 for i in range(len(names) - 1)} if own else classes.label_values(class_set)
    value = instances.ClassId.map(values).fillna(0).astype(int)
    is_part = instances.ClassId.between(classes.MAIN, len(classes.CATEGORIES) - 1) & (not own)
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


def _refuse_if_bad(photos: list[Photo], left_out: pd.DataFrame, max_bad: float) -> None:
    """Raise RawError if more than `max_bad` of all photos are bad (part-only photos are not)."""
    bad, n_photos = left_out[left_out.reason == "bad"], len(photos) + left_out.ImageId.nunique()
    n = bad.ImageId.nunique()
    if n > max_bad * n_photos:
        lines = bad[:5].itertuples()
        first = "; ".join(f"row {x.row} ({checked_files.shown(x.ImageId)}): {x.problem}" for x in lines)
        raise layout.RawError(
            f"{n} of {n_photos} photos ({n / n_photos:.1%}) are bad, more than max_bad={max_bad:.1%} allows: "
            f"{first}{'; ...' if len(bad) > 5 else ''}. Repair them, or raise max_bad to go on without them."
        )


def _split(raw: Path, photos: list[Photo], options: dict) -> dict[str, list[str]]:
    """Ids of each split; photos that the source reserves (official_val, train_only) are not drawn."""
    official, train_only = layout.listed(raw, layout.OFFICIAL_VAL), layout.listed(raw, layout.TRAIN_ONLY)
    ids = {photo.id for photo in photos}
    aside = official | train_only
    ours = {photo.id: set(photo.values) - {classes.IGNORE} for photo in photos if photo.id not in aside}
    labels = ours if options["stratify"] else None
    splits = split(ours, options["fractions"], options["seed"], labels, options.get("shuffle", True))
    splits["train"] = sorted([*splits["train"], *(train_only & ids)])
    return splits | ({"official_val": sorted(official & ids)} if official & ids else {})


def _check_room(raw: Path, out: Path, photos: list[Photo], max_side: int | None) -> None:
    """Raise OSError if `out`'s disk has fewer free bytes than label maps and (unless linked) photos need."""
    disk = next(path for path in (out, *out.resolve().parents) if path.exists())
    needed = sum(_LABEL_BYTES * np.prod(prepared.size_of(photo, max_side)) for photo in photos)
    if max_side or disk.stat().st_dev != (raw / "train").stat().st_dev:
        needed += sum(layout.image_path(raw, photo.id).stat().st_size for photo in photos)
    free = shutil.disk_usage(disk).free
    if needed > free:
        needs, has = (tqdm.format_sizeof(size, "B") for size in (needed, free))
        raise OSError(
            f"{out} needs about {needs} but its disk has {has} free: "
            "make room, set FASHION_HOME to another disk, or shrink the photos with max_side."
        )


def _counts(photos: list[Photo], written: dict[str, Written], splits: dict, names: tuple[str, ...]) -> dict:
    """Counts for dataset.json: photos, photos per split, instances, photos and pixels per class."""
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
