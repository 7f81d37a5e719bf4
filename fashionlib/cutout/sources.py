"""Which photos a batch cuts out, and which file each becomes: settled before anything is written."""

import glob
from collections.abc import Iterable
from pathlib import Path

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".jp2"}


def outputs(inputs, out: Path, suffix: str, reserved: Iterable[str] = ()) -> list[tuple[Path, Path]]:
    """(photo, output relative to `out`) for every photo of `inputs`, in order, each once.

    `inputs` are files, folders (photos in sub-folders too, hidden ones and those below `out` left out) and
    globs, one or a list. The tree below a folder, or below a glob's first wildcard, is kept.

    Raises FileNotFoundError for an input that does not exist and ValueError, naming the photos, where an
    input holds none, two would become the same file (also where only the case differs: some disks see no
    difference), or one would overwrite a photo or one of the `reserved` names.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: the cut-outs need a folder.")
    photos = (pair for item in _listed(inputs) for pair in _photos(item, out))
    found = {(photo.resolve(), relative): photo for photo, relative in photos}
    pairs = [(photo, relative.with_suffix(f".{suffix}")) for (_, relative), photo in found.items()]
    _check(pairs, {photo for photo, _ in found}, out, reserved)
    return pairs


def _listed(inputs) -> list[str]:
    return [str(inputs)] if isinstance(inputs, str | Path) else [str(item) for item in inputs]


def _photos(item: str, out: Path) -> list[tuple[Path, Path]]:
    """(photo, its path below the folder or the glob's first wildcard) of one input."""
    path = Path(item)
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        root, candidates = path, path.rglob("*")
    elif glob.has_magic(item):
        root, candidates = _before_wildcard(path), map(Path, glob.glob(item, recursive=True))
    else:
        raise FileNotFoundError(f"{item} does not exist.")
    files = (p for p in sorted(candidates) if p.suffix.lower() in SUFFIXES and p.is_file())
    below = ((p, p.relative_to(root)) for p in files if out.resolve() not in p.resolve().parents)
    photos = [(p, path) for p, path in below if not any(part.startswith(".") for part in path.parts)]
    if not photos:
        raise ValueError(f"{item} holds no photo ({', '.join(sorted(SUFFIXES))}) outside {out}.")
    return photos


def _before_wildcard(pattern: Path) -> Path:
    plain = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    return Path(*pattern.parts[:plain])


def _check(pairs: list[tuple[Path, Path]], photos: set[Path], out: Path, reserved: Iterable[str]) -> None:
    taken = {name.casefold(): None for name in reserved}
    for photo, relative in pairs:
        name = str(relative).casefold()
        if name in taken:
            other = taken[name]
            who = f"{other} and {photo} would both become" if other else f"{photo} would become"
            what = "rename one, or use two folders" if other else "that name is taken, so rename the photo"
            raise ValueError(f"{who} {out / relative}: {what}.")
        taken[name] = photo
        if (out / relative).resolve() in photos:
            raise ValueError(f"{photo} would become {out / relative}, which is a photo: take another folder.")
