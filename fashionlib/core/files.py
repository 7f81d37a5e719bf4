"""Atomic file writes, folder locks, and the disk's refusals in one sentence."""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

LOCK = ".lock"
PART = re.compile(r"\..+\.\d+\.fashionlib\.part(\.\w+)?")  # `part_name`: no other's file is called so
_REMEDIES = {
    errno.ENOSPC: "make room on that disk, or write to another",
    errno.EDQUOT: "make room within your quota, or write to another disk",
    errno.EFBIG: "raise the limit for files (ulimit -f), or write to another disk",
    errno.EROFS: "choose a folder on another disk",
    errno.EACCES: "ask for the right to it, or choose another folder",
    errno.EPERM: "ask for the right to it, or choose another folder",
}


class FolderLocked(ValueError):
    """Another process is at work in a folder; the sentence names it."""


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
        if code in (errno.EACCES, errno.EPERM) and not PART.fullmatch(Path(str(error.filename)).name):
            path = error.filename or path  # perhaps of a file that was read
        path = path or error.filename2 or error.filename
    else:
        code = next((code for code in _REMEDIES if os.strerror(code) in str(error)), None)
    return DiskError(code, path) if code in _REMEDIES else None


@contextmanager
def explain_disk_errors(path: str | Path):
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
def atomic_write(path: str | Path):
    """A temporary path beside `path` to write to; moved into place if nothing was raised.

    A kill while writing leaves what was there before, and the temporary file for `folder_lock` to remove.
    """
    path = Path(path)
    part = path.with_name(part_name(path))
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            os.replace(part, path)
        finally:
            with suppress(OSError):  # a disk that became read-only
                if part.exists():  # after an error, or a hard link of what `path` is already: no rename then
                    part.unlink()


@contextmanager
def folder_lock(folder: str | Path, doing="at work in", refuse=FolderLocked, otherwise="", wait=False):
    """Lock `folder` for this process, and remove what a killed one left half-written in it.

    The kernel frees the lock of a process that died; children hold no copy of it (filelock sees to forks).
    While another process has it, this one waits if told to, or raises the ValueError `refuse` with the words
    `doing`, the process and since when it has the lock (its file says so), and what to do `otherwise`. What
    the disk refuses inside becomes a `DiskError` that names `folder`, unless it names a file already.
    """
    folder = Path(folder)
    new = not folder.exists()
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            raise refuse(
                f"Another process is {doing} {folder}: wait for it, or stop it first"
                f"{_holder(folder / LOCK)}{otherwise}."
            ) from None
    try:
        with suppress(OSError):  # of a full disk: the lock holds without it
            started = time.strftime("%Y-%m-%d %H:%M:%S")
            (folder / LOCK).write_text(f"process {os.getpid()}, at work since {started}")
        with explain_disk_errors(folder):
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


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: str | Path) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256: enough to tell files of one project apart."""
    return sha256(path)[:16]


def sweep(folder: str | Path) -> None:
    """Remove what killed `atomic_write`s left in `folder` and below; nobody may be at work there."""
    for where, _, names in os.walk(folder):
        for name in filter(PART.fullmatch, names):
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
    with atomic_write(path) as part:
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

    with atomic_write(path) as part:
        part.write_bytes(save(tensors, metadata))
    return Path(path)
