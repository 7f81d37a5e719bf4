"""Downloads that go on where they stopped and take their name when they are whole."""

import os
import shutil
from pathlib import Path

import requests
from tqdm import tqdm

from fashionlib.core.files import explain_disk_errors, sha256

TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 18  # bytes written at once


class DownloadError(OSError):
    """A download that can't go on; the message is one sentence that says what to do."""


def fetch(
    url: str, path: Path, size: int | None = None, digest: str | None = None, progress: bool = True
) -> Path:
    """Download `url` to `path`, unless it is there; returns `path`.

    The file grows as ``<name>.part``, which the next call continues (HTTP range), and takes its name when
    its `size` in bytes and its SHA-256 `digest` are right, as far as they are given. Raises DownloadError.
    """
    if path.exists():
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        _transfer(url, part, size, progress)
    except requests.HTTPError as error:
        raise DownloadError(f"{url} answers {error.response.status_code} {error.response.reason}.") from None
    except requests.RequestException as error:
        got = part.stat().st_size if part.exists() else 0
        raise DownloadError(
            f"Can't reach {url} ({type(error).__name__} after {got:,} bytes): the same command goes on where "
            f"there is a network, or fetch the file elsewhere and put it at {path}."
        ) from None
    _check(url, part, size, digest)
    os.replace(part, path)
    return path


def _transfer(url: str, part: Path, size: int | None, progress: bool) -> None:
    """Bring `part` up to the whole file, from where it ends if the server knows ranges."""
    have = part.stat().st_size if part.exists() else 0
    if have and have == size:
        return
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416 and answer.headers.get("Content-Range") == f"bytes */{have}":
            return  # nothing lies beyond what is there
        if answer.status_code == 416:
            part.unlink()
            raise DownloadError(f"{url} is shorter than what was begun: the same command starts over.")
        answer.raise_for_status()
        have = have if answer.status_code == 206 else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        _check_offer(url, part, total, have, size)
        bar = {"total": total, "initial": have, "unit": "B", "unit_scale": True, "mininterval": 1}
        with (
            explain_disk_errors(part),
            open(part, "ab" if have else "wb") as file,
            tqdm(desc=part.stem, disable=not progress, **bar) as done,
        ):
            for block in answer.iter_content(BLOCK):
                done.update(file.write(block))


def _check_offer(url: str, part: Path, total: int | None, have: int, size: int | None) -> None:
    """Raise DownloadError before the transfer if the file is another one or does not fit on the disk."""
    if total and size and total != size:
        part.unlink(missing_ok=True)
        raise DownloadError(
            f"{url} has {total:,} bytes now, not {size:,}: it changed since this was written."
        )
    free = shutil.disk_usage(part.parent).free
    if total and total - have > free:
        raise DownloadError(f"{url} needs {total - have:,} bytes more in {part.parent}, {free:,} are free.")


def _check(url: str, part: Path, size: int | None, digest: str | None) -> None:
    """Remove `part` and raise DownloadError if it is not the expected file."""
    got = part.stat().st_size
    if size and got != size:
        problem = f"has {got:,} bytes, not {size:,}"
    elif digest and (found := sha256(part)) != digest:
        problem = f"has the sha256 {found[:12]}…, not {digest[:12]}…"
    else:
        return
    part.unlink()
    raise DownloadError(
        f"What came from {url} {problem}, and was removed: the same command fetches it again."
    )
