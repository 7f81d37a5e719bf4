"""Resumable downloads of files, and of whole data sets to ``cache/<data>/`` under the home folder.

A file is downloaded to ``<name>.part``, resumed there after an interruption (HTTP range requests), and
renamed once its size matches. An archive is unpacked to a temporary folder, which is then renamed.
Existing files are not downloaded again, so rerunning the same command continues after any interruption.
"""

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import requests
from tqdm import tqdm

from fashionlib.core import classes, paths
from fashionlib.core.files import explain_disk_errors, folder_lock

TIMEOUT = 30  # seconds without receiving a byte
BLOCK = 1 << 18  # bytes per write
# Exceptions that zipfile raises on damaged archives: RuntimeError for encryption or an unknown compression
# method, the last two if one name is both a file and a folder.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError),
    *(FileExistsError, NotADirectoryError),
)


class DownloadError(OSError):
    """Failed download; the message is one sentence that names the problem and the remedy."""


@dataclass(frozen=True)
class Item:
    """One file to download.

    `name` is its name in the data set's folder and `size` its size in bytes, if known. With `member` the file
    is a zip archive, and its folder `member` is unpacked as `name`.
    """

    url: str
    name: str
    size: int | None = None
    member: str = ""


# URLs from the README of github.com/cvdfoundation/fashionpedia. CVDF publishes no hashes, and GitHub creates
# its archives on demand without a known size: these are verified by the zip's own checksums.
_CVDF = "https://s3.amazonaws.com/ifashionist-dataset"
_CCP = "https://github.com/bearpaw/clothing-co-parsing/archive/refs/heads/master.zip"
_VAL, _TRAIN = (f"instances_attributes_{split}2020.json" for split in ("val", "train"))
SETS = {
    "ccp": (Item(_CCP, "clothing-co-parsing", member="clothing-co-parsing-master"),),
    "fashionpedia": (
        Item(f"{_CVDF}/annotations/{_VAL}", _VAL),
        Item(f"{_CVDF}/annotations/{_TRAIN}", _TRAIN, 542_193_045),
        Item(f"{_CVDF}/images/val_test2020.zip", "test", 236_499_034, member="test"),
        Item(f"{_CVDF}/images/train2020.zip", "train", 3_344_364_592, member="train"),
    ),
}


def download(data: str, home: str | Path | None = None, progress: bool = True) -> Path:
    """Download the data set `data`; returns the folder to pass to its converter as `src`.

    Raises `DownloadError` if a file is unavailable or not the expected one, and ValueError for a data set
    that has no direct download or that another process is downloading.
    """
    if data == "imaterialist":
        raise ValueError(
            "Kaggle gives iMaterialist only to those who accept its rules: README.md, section Data, says how."
        )
    folder = paths.home(home) / "cache" / classes.check_name(data, SETS, "data set to download")
    with folder_lock(folder, "downloading to"):
        for item in SETS[data]:
            _fetch_item(item, folder / item.name, progress)
    return folder / SETS[data][0].name if len(SETS[data]) == 1 else folder


def _fetch_item(item: Item, target: Path, progress: bool) -> None:
    """Download `item` to the file or folder `target`; removes leftovers of an interrupted unpacking."""
    if not item.member:
        fetch(item.url, target, item.size, progress=progress)
        return
    archive = target.with_name(f"{item.name}.zip")
    if not target.exists():
        fetch(item.url, archive, item.size, progress=progress)
        unpack(archive, item.member, target, progress)
    archive.unlink(missing_ok=True)
    shutil.rmtree(_unpacking(target), ignore_errors=True)


def fetch(url: str, path: Path, size: int | None = None, progress: bool = True) -> Path:
    """Download `url` to `path` unless it exists; returns `path`.

    The data go to ``<name>.part``, which a later call resumes (HTTP range request). The file is renamed once
    its `size` in bytes, if given, matches. Raises DownloadError.
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
    if size and (got := part.stat().st_size) != size:
        part.unlink()
        raise DownloadError(
            f"What came from {url} has {got:,} bytes, not {size:,}, and was removed:"
            " the same command fetches it again."
        )
    os.replace(part, path)
    return path


def _transfer(url: str, part: Path, size: int | None, progress: bool) -> None:
    """Download the rest of `part`, or the whole file if the server does not support range requests."""
    have = part.stat().st_size if part.exists() else 0
    if have and have == size:
        return
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416 and answer.headers.get("Content-Range") == f"bytes */{have}":
            return  # `part` is already complete
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
    """Raise DownloadError before the transfer if the file's size has changed or the disk has no room."""
    if total and size and total != size:
        part.unlink(missing_ok=True)
        raise DownloadError(
            f"{url} has {total:,} bytes now, not {size:,}: it changed since this was written."
        )
    free = shutil.disk_usage(part.parent).free
    if total and total - have > free:
        raise DownloadError(f"{url} needs {total - have:,} bytes more in {part.parent}, {free:,} are free.")


def unpack(archive: Path, member: str, target: Path, progress: bool = True) -> None:
    """Unpack the folder `member` of a zip archive as `target`, atomically, verifying its checksums.

    Raises `DownloadError` for a damaged archive and, before anything is written, for one that does not fit
    on the disk or contains a link or a path that points outside `target`.
    """
    partial = _unpacking(target)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            if odd := next((info.filename for info in content.infolist() if not _is_plain(info)), None):
                raise DownloadError(
                    f"{archive} holds {odd!r}, which leads out of the folder or is no file: don't use it."
                )
            infos = [i for i in content.infolist() if not i.is_dir() and i.filename.startswith(f"{member}/")]
            if not infos:
                raise DownloadError(f"{archive} holds no folder {member!r}: it is not the expected archive.")
            needed, free = sum(info.file_size for info in infos), shutil.disk_usage(target.parent).free
            if needed > free:
                raise DownloadError(
                    f"{archive} unpacks to {needed:,} bytes, {free:,} are free in {target.parent}."
                )
            bar = {"unit": "file", "disable": not progress, "mininterval": 1}
            for info in tqdm(infos, f"unpack {target.name}", **bar):
                with explain_disk_errors(target):
                    content.extract(info, partial)
        os.replace(partial / member, target)
    except _BROKEN as error:
        raise DownloadError(f"{archive} is damaged ({error}): delete it and fetch it again.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_plain(info: zipfile.ZipInfo) -> bool:
    """Whether a zip entry is a regular file or folder (no link or device) with a path inside the archive."""
    name = info.filename
    inside = not {"", ".."} & set(name.removesuffix("/").split("/")) and not set(name) & set("\\:")
    return inside and stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)


def _unpacking(target: Path) -> Path:
    return target.with_name(f".{target.name}.unpacking")
