"""Output folders and files that a stage may claim: apart from its inputs, and never over what is not ours."""

import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fashionlib.core.files import LOCK, PART, DiskError, folder_lock

UNFINISHED = ".unfinished"  # begins the name of the folder, within its own, that `building` fills


class Taken(FileExistsError, ValueError):
    """An output that would replace, or lie among, what is not ours; the sentence names it."""


def lie_apart(out: str | Path, inputs: Iterable[str | Path]) -> None:
    """Raise `Taken` where an input is the output `out`, lies in it or holds it, or holds a link into it."""
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
    """Make sure that the folder `out` may be written to; changes nothing.

    It must lie apart from the `inputs`, and be new, empty, or ours: by ``ours(out)``, or because a `building`
    was killed while it filled it, or moved what its `last` file says is whole. Raises `Taken` else; `kind`
    says what ours would hold.
    """
    lie_apart(out, inputs)
    out = Path(out)
    there = next(path for path in (out, *out.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise Taken(f"{there} is no folder: choose another name.")
    if there != out:
        return
    left = re.compile(rf"{re.escape(LOCK)}|{re.escape(UNFINISHED)}.*|{PART.pattern}")  # by a killed command
    foreign = sorted(path.name for path in out.iterdir() if not left.fullmatch(path.name))
    if foreign and not ours(out) and not (last and any(out.glob(f"{UNFINISHED}*/{last}"))):
        raise Taken(
            f"{out} holds {foreign[0]!r} and nothing that shows {kind} of ours: "
            "choose another folder, new or empty."
        )


def claim_file(
    out: str | Path, kind: str, inputs: Iterable[str | Path], ours: Callable[[Path], bool]
) -> None:
    """Make sure that the file `out` may be written, as `claim` does: it is new, or ``ours(out)``."""
    lie_apart(out, inputs)
    out = Path(out)
    if os.path.lexists(out) and not (out.is_file() and ours(out)):
        raise Taken(f"{out} exists and is not {kind} of ours: choose another name, or remove it.")


def begins(words: str) -> Callable[[Path], bool]:
    """Whether a file begins with these words, as a function for `claim_file`."""
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
    """An empty folder to fill; what is in it moves to `out` at the end of the block, over what is there.

    `out` is claimed (`claim`) and this process's alone. The file `last` moves last: it says that all is
    there. After an error or Ctrl-C `out` is as it was before. But with a `key`, made of all that decides what
    is written, only a ValueError (a refusal) does that; else the next block of that key goes on.
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
                raise DiskError(error.errno, out) from None  # the file it names is hidden, or gone
            raise
        _move(part, out, last)


def unfinished(out: Path, key: str = "") -> Path:
    """The folder that `building` fills for `out`."""
    return out / f"{UNFINISHED}{key and '.'}{key}"


def recover(out: Path, last: str, keep: Path | None = None) -> None:
    """Finish what a killed `building` was moving; remove what it was filling, all but the folder `keep`."""
    for part in out.glob(f"{UNFINISHED}*"):
        if (part / last).exists():
            _move(part, out, last)
        elif part != keep:
            shutil.rmtree(part)


def _move(part: Path, out: Path, last: str) -> None:
    (out / last).unlink(missing_ok=True)  # until all is there
    for path in sorted(part.iterdir(), key=lambda path: path.name == last):
        target = out / path.name
        if target.is_symlink():  # it may lead to a folder, which no folder can replace
            target.unlink()
        elif target.is_dir():
            shutil.rmtree(target)
        os.replace(path, target)
    part.rmdir()
