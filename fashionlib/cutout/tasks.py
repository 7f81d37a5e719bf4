"""Tasks of a batch: options, pairs of photo and output, and cache keys of the pictures."""

import glob
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from fashionlib.core.classes import check_name
from fashionlib.cutout import compose, edges, photos, segment

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".jp2"}
_ARITHMETIC = b"2"  # another one where the same model and options come to make other pixels


@dataclass(frozen=True)
class Options:
    """Options of a batch, the flags of ``fashionlib cutout``; raises ValueError for invalid values."""

    subject: str = "apparel"  # or person
    keep: str | list[str] | None = None  # only these classes or groups
    drop: str | list[str] | None = None  # all but these
    edge: str | None = None  # hard, soft, matting; None: hard, or unchanged for an external mask
    grow: int = 0  # pixels outwards; negative: inwards
    layers: bool = False  # also a PNG for each class, and a manifest
    background: str = "none"  # none, blur, a colour (white, #fff, #RRGGBB), or a photo's path
    shadow: str = "none"  # or soft: below the subject, on the background
    crop: bool = False  # to the subject
    margin: float = 0.0  # around the crop, as a fraction of the subject's longer side
    size: int | None = None  # the longer side in pixels
    canvas: str | None = None  # WIDTHxHEIGHT in pixels, with the subject in the middle
    fill: float = compose.FILL  # the subject's share of the canvas where it has less room
    format: str = "png"  # png, webp, avif, jpg
    mask: bool = False  # the alpha alone, as a grey picture
    strip: bool = False  # without the photo's EXIF, XMP and dots per inch
    max_pixels: int = photos.MAX_PIXELS

    def __post_init__(self):
        check_name(self.subject, segment.SUBJECTS, "subject")
        check_name("hard" if self.edge is None else self.edge, edges.EDGES, "edge")
        if self.edge == "matting" and not edges.has_matting():
            raise ValueError("Matting needs PyMatting: pip install 'fashionlib[matting]', or choose soft.")
        photos.check_format(self.format)
        compose.check_background(self.background)
        check_name(self.shadow, compose.SHADOWS, "shadow")
        if self.shadow != "none" and self.mask:
            raise ValueError("A mask is the subject's alone: it has no shadow.")
        if self.format == "jpg" and self.background == "none" and not self.mask:
            raise ValueError("JPEG has no transparency: choose another format, such as png, or a background.")
        if not 0 <= self.margin < math.inf:
            raise ValueError(f"margin={self.margin} is no share of the subject's longer side: 0 or more.")
        for name in ("size", "max_pixels"):
            if (pixels := getattr(self, name)) is not None and pixels < 1:
                raise ValueError(f"{name}={pixels} is not a number of pixels.")
        self._check_canvas()

    def _check_canvas(self) -> None:
        if not (size := compose.canvas_size(self.canvas)):
            if self.fill != compose.FILL:
                raise ValueError(f"fill={self.fill} is a share of a canvas: say which, such as 2000x2000.")
            return
        if self.crop or self.margin or self.size:
            raise ValueError("A canvas has its own crop, margin and size: leave those out, and say fill.")
        if not 0 < self.fill <= 1:
            raise ValueError(f"fill={self.fill} is no share of the canvas: above 0, at most 1.")
        if size[0] * size[1] > self.max_pixels:
            raise ValueError(
                f"The canvas {self.canvas} has more than {self.max_pixels / 1e6:g} megapixels:"
                " take a smaller one, or raise max_pixels."
            )

    def frame(self, alpha) -> compose.Frame:
        """The frame of the picture of a cut-out with this `alpha` uint8 (H, W)."""
        canvas = compose.canvas_size(self.canvas)
        return compose.frame(alpha, self.crop, self.margin, self.size, canvas, self.fill)

    def choice(self, classes) -> segment.Choice:
        """Label values to keep, for a model with these `classes`."""
        return segment.wanted(classes, self.subject, self.keep, self.drop)

    def digest(self, model) -> str:
        """Hash of the options that affect a picture and of the model (None: none): metadata and weights."""
        changing = asdict(self) | {"max_pixels": None}
        metadata = None if model is None else model.metadata
        digest = hashlib.sha256(json.dumps([metadata, changing], sort_keys=True, default=str).encode())
        digest.update(_ARITHMETIC)
        if Path(self.background).is_file():
            digest.update(Path(self.background).read_bytes())
        for weights in _weights(model):
            digest.update(weights)
        return digest.hexdigest()


def _weights(model) -> Iterator:
    """The bytes that tell a model's weights (None: none); a `GraphModel` and torch's round differently."""
    if own := getattr(model, "digest", ""):
        yield own.encode()
    elif model is not None:
        import torch

        for tensor in model.state_dict().values():
            yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


class Task(NamedTuple):
    """A photo, its output and its cache key.

    An external `mask` replaces the model's; `reference` is the photo whose matte is applied to this one.
    """

    photo: Path
    output: Path  # relative to the batch's folder
    key: str = ""
    mask: Path | None = None
    reference: Path | None = None

    def with_key(self, digest: str) -> "Task":
        """The task with its cache key, from the options' `digest` and the current versions of its files."""
        versions = [_version(path) for path in (self.photo, self.mask, self.reference)]
        return self._replace(key=key_of(digest, *versions))


def key_of(digest: str, *versions: str) -> str:
    """Cache key of a picture made from files of these `versions`."""
    return hashlib.sha256(" ".join([digest, *versions]).encode()).hexdigest()[:16]


def _version(path: Path | None) -> str:
    """Size and modification time of a file; empty where none can be read."""
    try:
        return f"{path.stat().st_size} {path.stat().st_mtime_ns}" if path else ""
    except OSError:
        return ""


def outputs(
    inputs, out: Path, suffix: str, reserved: Iterable[str] = (), layers: bool = False
) -> list[tuple[Path, Path]]:
    """(photo, output relative to `out`) for every photo of `inputs`, in order, each once.

    `inputs` are files, folders (searched recursively, without hidden entries) and globs, one or a list. The
    tree below a folder, or below a glob's first wildcard, is preserved; names that are not UTF-8 are escaped.
    Unreadable entries that may be or hold a photo are included: reading them fails later.

    Raises FileNotFoundError for an input that does not exist, and ValueError, naming the photos, if an input
    holds none, two would become the same file (names that differ only in case count as equal, as on some
    disks), or one would overwrite a photo or one of the `reserved` names. With `layers` the folders of
    layers count as outputs as well.
    """
    below = (pair for item in listed(inputs) for pair in _photos(item))
    found = {(os.path.realpath(photo), readable(relative)): photo for photo, relative in below}
    pairs = [
        (photo, Path(relative) if photo.is_dir() else Path(relative).with_suffix(f".{suffix}"))
        for (_, relative), photo in found.items()
    ]
    check_names(pairs, out, reserved, layers)
    return pairs


def masks(mask_in, pairs: list[tuple[Path, Path]]) -> dict[Path, Path]:
    """External masks by photo: {photo: mask}.

    `mask_in` is the mask file of a single photo, or a folder of masks with the outputs' names (any image
    format), as ``--mask`` writes them. Photos without a mask there are segmented by the model.
    Raises ValueError or FileNotFoundError if `mask_in` does not match the photos.
    """
    path = Path(mask_in)
    if path.is_file():
        if len(pairs) != 1:
            raise ValueError(
                f"The mask {path} is one photo's, but there are {len(pairs)}: give one photo,"
                " or a folder of masks."
            )
        return {pairs[0][0]: path}
    if not path.is_dir():
        raise missing(str(path), "The mask ")
    of_name = {str(output.with_suffix("")): photo for photo, output in pairs}
    found = {}
    for mask in _below(path):
        photo = of_name.get(readable(mask.relative_to(path).with_suffix("")))
        if photo in found:
            raise ValueError(f"{found[photo]} and {mask} are both masks of {photo}: remove one.")
        if photo:
            found[photo] = mask
    if not found:
        raise ValueError(f"{path} holds no mask of any of these photos, such as {pairs[0][1].stem}.png.")
    return found


def readable(path) -> str:
    """A path, or text that contains one, as valid UTF-8: other bytes are escaped (``\\xe9``)."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def missing(item: str, what: str = "") -> Exception:
    """The error for an input that is neither a file nor a folder; its message begins with `what`."""
    if item in ("", "-"):
        return ValueError(f"{what}{item!r} is no path: photos and masks are read from files and folders.")
    if os.path.exists(item):
        return ValueError(f"{what}{item} is a pipe or a device: only files and folders are read.")
    nowhere = "is a link that leads nowhere" if os.path.islink(item) else "does not exist"
    return FileNotFoundError(f"{what}{item} {nowhere}.")


def listed(inputs) -> list[str]:
    """`inputs`, one or several, as a list of strings."""
    return [str(inputs)] if isinstance(inputs, str | Path) else [str(item) for item in inputs]


def places(item: str) -> list[str]:
    """Paths of an input: the path itself, or the matches of a glob."""
    return [item] if os.path.lexists(item) else glob.glob(item, recursive=True)


def _photos(item: str) -> list[tuple[Path, Path]]:
    """(photo, its path below the folder or the glob's first wildcard) of one input."""
    path = Path(item)
    if item and path.is_file():
        return [(path, Path(path.name))]
    if item and path.is_dir():
        root, candidates = path, _below(path)
    elif glob.has_magic(item):
        root, candidates = before_wildcard(path), (p for p in map(Path, places(item)) if _is_named(p))
    else:
        raise missing(item)
    found = [(p, p.relative_to(root)) for p in sorted(candidates)]
    if not found:
        raise ValueError(f"{item} holds no photo ({', '.join(sorted(SUFFIXES))}).")
    return found


def _is_named(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def _below(root: Path) -> list[Path]:
    """The photos below the folder `root`, and unreadable entries that may hold one.

    The latter are links to folders (possibly cyclic), broken links, and folders that can't be listed.
    """

    def unlisted(error: OSError) -> None:
        if Path(error.filename) == root:
            raise error
        found.append(Path(error.filename))

    found = []
    for where, folders, names in os.walk(root, onerror=unlisted):
        folders[:] = [name for name in folders if not name.startswith(".")]
        there = [Path(where, name) for name in (*folders, *names) if not name.startswith(".")]
        found += [p for p in there if _is_named(p) or (p.is_symlink() and not p.is_file())]
    return sorted(found)


def before_wildcard(pattern: PurePath) -> PurePath:
    """The folder above a glob's first wildcard."""
    plain = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    return type(pattern)(*pattern.parts[:plain])


def check_names(pairs: list[tuple], out, reserved: Iterable[str], layers: bool = False) -> None:
    """Raise ValueError if two of `pairs` (photo, output) share an output, or one has a `reserved` name."""
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
