"""Atomic file writes, per-folder locks, and readable errors for full or read-only disks."""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import pandas as pd

LOCK = ".lock"
PART = re.compile(r"\..+\.\d+\.fashionlib\.part(\.\w+)?")  # see `part_name`; unlike any other program's files
_REMEDIES = {
    errno.ENOSPC: "make room on that disk, or write to another",
    errno.EDQUOT: "make room within your quota, or write to another disk",
    errno.EFBIG: "raise the limit for files (ulimit -f), or write to another disk",
    errno.EROFS: "choose a folder on another disk",
    errno.EACCES: "ask for the right to it, or choose another folder",
    errno.EPERM: "ask for the right to it, or choose another folder",
}


class FolderLocked(ValueError):
    """Another process holds the lock of a folder; the message names the process if it is known."""


class DiskError(OSError):
    """A disk that is full or not writable; the message is one sentence that names the path."""

    def __init__(self, code: int, path: str | Path | None):
        where = path or "a file"
        super().__init__(
            f"{where}: {os.strerror(code).lower()}: {_REMEDIES[code]}. What was there before is as it was."
        )
        self.errno, self.filename = code, str(where)

    def __str__(self) -> str:  # OSError would print its errno instead
        return self.args[0]

    def __reduce__(self):  # worker processes pickle it
        return DiskError, (self.errno, self.filename)


def disk_error(error: BaseException, path: str | Path | None = None) -> DiskError | None:
    """Convert `error`, raised while `path` was written, to a `DiskError`; None if the disk was not the cause.

    Non-Python libraries report it only in the message text: ``No space left on device (os error 28)``.
    """
    if isinstance(error, DiskError):
        return error
    if isinstance(error, OSError):
        code = error.errno
        if code in (errno.EACCES, errno.EPERM) and not PART.fullmatch(Path(str(error.filename)).name):
            path = error.filename or path  # may be a file that was being read
        path = path or error.filename2 or error.filename
    else:
        code = next((code for code in _REMEDIES if os.strerror(code) in str(error)), None)
    return DiskError(code, path) if code in _REMEDIES else None


@contextmanager
def explain_disk_errors(path: str | Path):
    """Convert disk errors in the block to a `DiskError` naming `path`: a failed write names no file."""
    try:
        yield
    except Exception as error:
        if found := disk_error(error, path):
            raise found from None
        raise


def part_name(path: Path) -> str:
    """Temporary name of `path` while it is written; keeps the suffix, by which writers choose the format."""
    return f".{path.stem}.{os.getpid()}.fashionlib.part{path.suffix}"


@contextmanager
def atomic_write(path: str | Path):
    """Yield a temporary path in the same folder, which is renamed to `path` if the block succeeds.

    A process killed while writing leaves the old file intact, and a temporary file that the next
    `folder_lock` removes.
    """
    path = Path(path)
    part = path.with_name(part_name(path))
    with explain_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            os.replace(part, path)
        finally:
            with suppress(OSError):  # the disk may have become read-only
                if part.exists():  # after an error, or if both are hard links to one file: a no-op for rename
                    part.unlink()


@contextmanager
def folder_lock(folder: str | Path, doing="at work in", refuse=FolderLocked, otherwise="", wait=False):
    """Lock `folder` for this process and remove partial files of killed processes from it.

    The kernel releases the lock of a process that dies; child processes do not inherit it (filelock handles
    forks). If another process holds the lock, waits if `wait`, else raises the ValueError `refuse` with a
    message made of `doing`, the process and its start time (from the lock file) and the advice `otherwise`.
    Disk errors in the block become a `DiskError` that names `folder`, unless they already name a file.
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
        with suppress(OSError):  # the disk may be full: the lock works without this text
            started = time.strftime("%Y-%m-%d %H:%M:%S")
            (folder / LOCK).write_text(f"process {os.getpid()}, at work since {started}")
        with explain_disk_errors(folder):
            sweep(folder)
            yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)  # while locked: waiting processes notice
        lock.release()
        if new:
            with suppress(OSError):  # succeeds only if an error came before anything was written
                folder.rmdir()


def _holder(lock: Path) -> str:
    """Process that holds a lock and its start time, in brackets; "" if the lock file does not tell."""
    with suppress(OSError, ValueError):
        if found := re.fullmatch(r"process \d+, at work since [\d :-]+", lock.read_text()):
            return f" ({found[0]})"
    return ""


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: str | Path) -> str:
    """First 16 hexadecimal digits of a file's SHA-256: enough to distinguish the files of one project."""
    return sha256(path)[:16]


def sweep(folder: str | Path) -> None:
    """Remove temporary files of killed `atomic_write` calls in `folder` and below; requires its lock."""
    for where, _, names in os.walk(folder):
        for name in filter(PART.fullmatch, names):
            Path(where, name).unlink(missing_ok=True)


def link(source: str | Path, target: str | Path) -> None:
    """Create `target` as a hard link to `source` (takes no space), or as a copy if linking fails."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another disk
        shutil.copyfile(source, target)


def temporary_folder() -> str:
    """Folder for temporary files. Raises OSError with one sentence if none is writable (full disk)."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise OSError(
            f"{error.strerror}: make room there, or set TMPDIR to a folder on another disk."
        ) from None


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` as UTF-8, atomically; returns the path."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)


def write_csv(path: str | Path, frame: "pd.DataFrame") -> Path:
    """Write `frame` as CSV, atomically, without index, floats to 6 significant digits; returns the path."""
    return write_text(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def write_tensors(path: str | Path, tensors: dict, metadata: dict[str, str]) -> Path:
    """Write a safetensors file atomically; returns the path.

    Avoids safetensors' own `save_file`: if killed, it leaves a temporary file that `sweep` can't recognise.
    """
    from safetensors.torch import save  # imported late: torch takes seconds to import

    with atomic_write(path) as part:
        part.write_bytes(save(tensors, metadata))
    return Path(path)
