"""Which photos a batch cuts out, and which file each becomes: settled before anything is written."""

import glob
from collections.abc import Iterable
from pathlib import Path, PurePath

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".jp2"}


def outputs(inputs, out: Path, suffix: str, reserved: Iterable[str] = (),
            read: Iterable[Path] = (), layers: bool = False) -> list[tuple[Path, Path]]:
    """(photo, output relative to `out`) for every photo of `inputs`, in order, each once.

    `inputs` are files, folders (photos in sub-folders too, hidden ones and those below `out` left out) and
    globs, one or a list. The tree below a folder, or below a glob's first wildcard, is kept.

    Raises FileNotFoundError for an input that does not exist and ValueError, naming the photos, where an
    input holds none, two would become the same file (also where only the case differs: some disks see no
    difference), or one would overwrite a photo, a file of `read` or one of the `reserved` names. With
    `layers` the folders of layers are taken as well.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: the cut-outs need a folder.")
    photos = (pair for item in listed(inputs) for pair in _photos(item, out))
    found = {(photo.resolve(), relative): photo for photo, relative in photos}
    pairs = [(photo, relative.with_suffix(f".{suffix}")) for (_, relative), photo in found.items()]
    check_names(pairs, out, reserved, layers)
    inputs_ = {photo for photo, _ in found} | {Path(path).resolve() for path in read}
    for photo, relative in pairs:
        if (out / relative).resolve() in inputs_:
            raise ValueError(f"{photo} would become {out / relative}, which is a photo or mask of yours:"
                             " take another folder.")
    return pairs


def masks(mask_in, pairs: list[tuple[Path, Path]]) -> dict[Path, Path]:
    """Which mask, made elsewhere, belongs to which photo: {photo: mask}.

    `mask_in` is a file, the mask of the only photo; or a folder that holds masks under the outputs' names
    (any image format), as ``--mask`` writes them; photos without one there are left to the model.
    Raises ValueError or FileNotFoundError where that does not fit.
    """
    path = Path(mask_in)
    if path.is_file():
        if len(pairs) != 1:
            raise ValueError(f"The mask {path} is one photo's, but there are {len(pairs)}: give one photo,"
                             " or a folder of masks.")
        return {pairs[0][0]: path}
    if not path.is_dir():
        raise FileNotFoundError(f"The mask {path} does not exist.")
    there = {mask.relative_to(path).with_suffix(""): mask for mask in sorted(path.rglob("*"))
             if mask.suffix.lower() in SUFFIXES}
    stems = {photo: output.with_suffix("") for photo, output in pairs}
    found = {photo: there[stem] for photo, stem in stems.items() if stem in there}
    if not found:
        raise ValueError(f"{path} holds no mask of any of these photos, such as {pairs[0][1].stem}.png.")
    return found


def listed(inputs) -> list[str]:
    """`inputs`, one or several, as a list of strings."""
    return [str(inputs)] if isinstance(inputs, str | Path) else [str(item) for item in inputs]


def _photos(item: str, out: Path) -> list[tuple[Path, Path]]:
    """(photo, its path below the folder or the glob's first wildcard) of one input."""
    path = Path(item)
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        root, candidates = path, path.rglob("*")
    elif glob.has_magic(item):
        root, candidates = before_wildcard(path), map(Path, glob.glob(item, recursive=True))
    else:
        raise FileNotFoundError(f"{item} does not exist.")
    files = (p for p in sorted(candidates) if p.suffix.lower() in SUFFIXES and p.is_file())
    below = ((p, p.relative_to(root)) for p in files if out.resolve() not in p.resolve().parents)
    photos = [(p, path) for p, path in below if not any(part.startswith(".") for part in path.parts)]
    if not photos:
        raise ValueError(f"{item} holds no photo ({', '.join(sorted(SUFFIXES))}) outside {out}.")
    return photos


def before_wildcard(pattern: PurePath) -> PurePath:
    """The folder above a glob's first wildcard."""
    plain = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    return type(pattern)(*pattern.parts[:plain])


def check_names(pairs: list[tuple], out, reserved: Iterable[str], layers: bool = False) -> None:
    """ValueError where two of `pairs` (photo, output) share an output, or one has a `reserved` name."""
    taken = {name.casefold(): None for name in reserved}
    names = [PurePath(str(relative).casefold()) for _, relative in pairs] if layers else []
    folders = {name.with_suffix(".layers") for name in names}
    for photo, relative in pairs:
        name = str(relative).casefold()
        if name in taken or folders.intersection(PurePath(name).parents):
            other = taken.get(name)
            who = f"{other} and {photo} would both become" if other else f"{photo} would become"
            what = "rename one, or use two folders" if other else "that name is taken, so rename the photo"
            raise ValueError(f"{who} {out}/{relative}: {what}.")
        taken[name] = photo
