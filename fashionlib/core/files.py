"""Files that are whole or not there, in folders that one process at a time works in."""

import errno
import itertools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

LOCK = ".lock"
UNFINISHED = ".unfinished"  # begins the name of the folder, within its own, that `building` fills
_PART = re.compile(r"\..+\.\d+\.fashionlib\.part(\.\w+)?")  # `part_name`: no other's file is called so
_REMEDIES = {
    errno.ENOSPC: "make room on that disk, or write to another",
    errno.EDQUOT: "make room within your quota, or write to another disk",
    errno.EFBIG: "raise the limit for files (ulimit -f), or write to another disk",
    errno.EROFS: "choose a folder on another disk",
    errno.EACCES: "ask for the right to it, or choose another folder",
    errno.EPERM: "ask for the right to it, or choose another folder",
}


class Busy(ValueError):
    """Another process is at work in a folder; the sentence names it."""


class Taken(FileExistsError, ValueError):
    """An output that would replace, or lie among, what is not ours; the sentence names it."""


class DiskError(OSError):
    """A disk that is full or may not be written to; the message is a sentence that names the path."""

    def __init__(self, code: int, path: str | Path | None):
        where = path or "a file"
        super().__init__(
            f"{where}: {os.strerror(code).lower()}: {_REMEDIES[code]}. What was there before is as it was."
        )
        self.errno, self.filename = code, str(where)

    def __str__(self) -> str:  # an OSError that has a number would show that
        return self.args[0]

    def __reduce__(self):  # worker processes hand it over
        return DiskError, (self.errno, self.filename)


def disk_error(error: BaseException, path: str | Path | None = None) -> DiskError | None:
    """`error`, raised while `path` was written, as a `DiskError`; None if it is of another kind.

    Libraries that are not Python's say it in words: ``No space left on device (os error 28)``.
    """
    if isinstance(error, DiskError):
        return error
    if isinstance(error, OSError):
        code = error.errno
        if code in (errno.EACCES, errno.EPERM) and not _PART.fullmatch(Path(str(error.filename)).name):
            path = error.filename or path  # perhaps of a file that was read
        path = path or error.filename2 or error.filename
    else:
        code = next((code for code in _REMEDIES if os.strerror(code) in str(error)), None)
    return DiskError(code, path) if code in _REMEDIES else None


@contextmanager
def writing(path: str | Path):
    """What the disk refuses inside becomes a `DiskError` that names `path`: a bare write names nothing."""
    try:
        yield
    except Exception as error:
        if found := disk_error(error, path):
            raise found from None
        raise


def part_name(path: Path) -> str:
    """The name of `path` while it is written. The suffix stays last: writers choose the format by it."""
    return f".{path.stem}.{os.getpid()}.fashionlib.part{path.suffix}"


@contextmanager
def whole(path: str | Path):
    """A temporary path beside `path` to write to; moved into place if nothing was raised.

    A kill while writing leaves what was there before, and the temporary file for `alone` to remove.
    """
    path = Path(path)
    part = path.with_name(part_name(path))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            os.replace(part, path)
        finally:
            with suppress(OSError):  # a disk that became read-only
                if part.exists():  # after an error, or a hard link of what `path` is already: no rename then
                    part.unlink()


@contextmanager
def alone(
    folder: str | Path, doing: str = "at work in", refuse: type[ValueError] = Busy, otherwise: str = ""
):
    """`folder` for this process alone, and without what a killed one left half-written in it.

    The kernel frees the lock of a process that died; children hold no copy of it (filelock sees to forks).
    Raises `refuse` while another process has it, with the words `doing`, the process and since when it has
    it (the lock file says so), and what to do `otherwise`. What the disk refuses inside becomes a `DiskError`
    that names `folder`, unless it names a file already.
    """
    folder = Path(folder)
    new = not folder.exists()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise refuse(
                f"Another process is {doing} {folder}: wait for it, or stop it first"
                f"{_holder(folder / LOCK)}{otherwise}."
            ) from None
    try:
        with suppress(OSError):  # of a full disk: the lock holds without it
            started = time.strftime("%Y-%m-%d %H:%M:%S")
            (folder / LOCK).write_text(f"process {os.getpid()}, at work since {started}")
        with writing(folder):
            sweep(folder)
            yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)  # while it is held: who opened it sees that it is gone
        lock.release()
        if new:
            with suppress(OSError):  # of an error before anything was written; else it is not empty
                folder.rmdir()


def _holder(lock: Path) -> str:
    """Who holds a lock and since when, in brackets; "" where its file does not say."""
    with suppress(OSError, ValueError):
        if found := re.fullmatch(r"process \d+, at work since [\d :-]+", lock.read_text()):
            return f" ({found[0]})"
    return ""


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
    left = re.compile(rf"{re.escape(LOCK)}|{re.escape(UNFINISHED)}.*|{_PART.pattern}")  # by a killed command
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
    with alone(out, doing):
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


def sweep(folder: str | Path) -> None:
    """Remove what `whole` left in `folder` and below when it was killed; nobody may be at work there."""
    for where, _, names in os.walk(folder):
        for name in filter(_PART.fullmatch, names):
            Path(where, name).unlink(missing_ok=True)


def link(source: str | Path, target: str | Path) -> None:
    """`target` with the bytes of `source`: a hard link costs nothing; where there can be none, a copy."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another disk
        shutil.copyfile(source, target)


def temporary_folder() -> str:
    """Where temporary files go. Raises OSError, a sentence, where none can be written (a full disk)."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise OSError(
            f"{error.strerror}: make room there, or set TMPDIR to a folder on another disk."
        ) from None


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 `text` whole; returns the path."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)


def write_csv(path: str | Path, frame: pd.DataFrame) -> Path:
    """Write `frame` whole, without its index, floats to 6 decimals that count; returns the path."""
    return write_text(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def write_tensors(path: str | Path, tensors: dict, metadata: dict[str, str]) -> Path:
    """Write a safetensors file whole; returns the path.

    Not by safetensors' own `save_file`: a kill would leave its temporary file, whose name tells nothing.
    """
    from safetensors.torch import save  # here: torch takes seconds to import

    with whole(path) as part:
        part.write_bytes(save(tensors, metadata))
    return Path(path)
