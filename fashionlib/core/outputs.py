"""Safe output folders and files: separate from a stage's inputs, and never overwriting foreign files."""

import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fashionlib.core.files import LOCK, PART, DiskError, folder_lock

UNFINISHED = ".unfinished"  # name prefix of the subfolder of the output that `building` fills


class Taken(FileExistsError, ValueError):
    """An output that would overwrite or mix with foreign files; the message names one of them."""


def lie_apart(out: str | Path, inputs: Iterable[str | Path]) -> None:
    """Raise `Taken` if an input equals, contains or lies inside the output `out`, or links into it."""
    place = Path(os.path.realpath(out))

    def within(path: str | Path) -> bool:
        real = Path(os.path.realpath(path))
        return real == place or place in real.parents

    for path in map(Path, inputs):
        entries = (Path(where, name) for where, *names in os.walk(path) for name in itertools.chain(*names))
        inside = next((p for p in (path, *(e for e in entries if e.is_symlink())) if within(p)), None)
        if inside or Path(os.path.realpath(path)) in place.parents:
            raise Taken(
                f"The output {out} and the input {inside or path} are the same, or one lies in the other: "
                "choose another place for the output."
            )


def claim(
    out: str | Path,
    kind: str,
    inputs: Iterable[str | Path] = (),
    ours: Callable[[Path], bool] = lambda folder: False,
    last: str = "",
) -> None:
    """Check that the folder `out` may be written to; changes nothing.

    It must be separate from the `inputs`, and new, empty or written by this project: ``ours(out)`` is true,
    or it contains only leftovers of a killed `building`, or a completed `building` (recognised by its file
    `last`) was killed while moving its files. Raises `Taken` otherwise; `kind` names the expected content
    in the message.
    """
    lie_apart(out, inputs)
    out = Path(out)
    there = next(path for path in (out, *out.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise Taken(f"{there} is no folder: choose another name.")
    if there != out:
        return
    left = re.compile(rf"{re.escape(LOCK)}|{re.escape(UNFINISHED)}.*|{PART.pattern}")  # of killed commands
    foreign = sorted(path.name for path in out.iterdir() if not left.fullmatch(path.name))
    if foreign and not ours(out) and not (last and any(out.glob(f"{UNFINISHED}*/{last}"))):
        raise Taken(
            f"{out} holds {foreign[0]!r} and nothing that shows {kind} of ours: "
            "choose another folder, new or empty."
        )


def claim_file(
    out: str | Path, kind: str, inputs: Iterable[str | Path], ours: Callable[[Path], bool]
) -> None:
    """Check, like `claim`, that the file `out` may be written: it is new, or ``ours(out)`` is true."""
    lie_apart(out, inputs)
    out = Path(out)
    if os.path.lexists(out) and not (out.is_file() and ours(out)):
        raise Taken(f"{out} exists and is not {kind} of ours: choose another name, or remove it.")


def begins(words: str) -> Callable[[Path], bool]:
    """Predicate for `claim_file`: whether a file begins with `words`."""
    return lambda path: path.read_bytes().startswith(words.encode())


@contextmanager
def building(
    out: str | Path,
    last: str,
    doing: str,
    kind: str,
    inputs: Iterable[str | Path] = (),
    ours: Callable[[Path], bool] = lambda folder: False,
    key: str = "",
) -> Iterator[Path]:
    """Yield a temporary folder; its content is moved into `out` at the end, over entries of the same name.

    `out` is checked (`claim`) and locked. The file `last` is moved last and marks the output as complete.
    After an error or Ctrl-C, `out` is unchanged and the temporary folder is deleted. With a `key` (a hash of
    everything that determines the output) only a ValueError deletes it; after any other error the next
    `building` with the same key continues in it.
    """
    out = Path(out)
    claim(out, kind, inputs, ours, last)
    with folder_lock(out, doing):
        claim(out, kind, (), ours, last)
        part = unfinished(out, key)
        recover(out, last, keep=part if key else None)
        try:
            part.mkdir(exist_ok=True)
            yield part
        except BaseException as error:
            if not key or isinstance(error, ValueError):
                shutil.rmtree(part, ignore_errors=True)
            if isinstance(error, DiskError) and str(part) in error.filename:
                raise DiskError(error.errno, out) from None  # it names a file in the hidden folder
            raise
        _move(part, out, last)


def unfinished(out: Path, key: str = "") -> Path:
    """Temporary folder that `building` fills for `out`."""
    return out / f"{UNFINISHED}{key and '.'}{key}"


def recover(out: Path, last: str, keep: Path | None = None) -> None:
    """Finish the moves of killed `building` calls; delete their incomplete folders, except `keep`."""
    for part in out.glob(f"{UNFINISHED}*"):
        if (part / last).exists():
            _move(part, out, last)
        elif part != keep:
            shutil.rmtree(part)


def _move(part: Path, out: Path, last: str) -> None:
    (out / last).unlink(missing_ok=True)  # no completion mark while files are moved
    for path in sorted(part.iterdir(), key=lambda path: path.name == last):
        target = out / path.name
        if target.is_symlink():  # a folder can't replace a link, even one to a folder
            target.unlink()
        elif target.is_dir():
            shutil.rmtree(target)
        os.replace(path, target)
    part.rmdir()
