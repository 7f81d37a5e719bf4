"""Data sets from their official places -> ``cache/<data>/`` under the home folder, ready to convert.

A file grows as ``<name>.part``, goes on where it stopped (HTTP range) and takes its name when its size
and hash are right; an archive is unpacked beside its place and moved there whole. What is there already
is not fetched again, so the same command goes on after any interruption.
"""

import hashlib
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from fashionlib.core import classes, paths
from fashionlib.core.files import explain_disk_errors, folder_lock

TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 18  # bytes written at once
_BLOWN_UP = 100  # times its size that no archive of photos unpacks to; a bomb has a thousand
_ENCRYPTED = 1  # a zip member's flag
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class DownloadError(OSError):
    """A download that can't go on; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Item:
    """One file to fetch.

    `name` is what it becomes in the data set's folder, `size` its bytes and `sha256` its hash where they
    are known. With `member` it is a zip of which that folder becomes `name`.
    """

    url: str
    name: str
    size: int | None = None
    sha256: str | None = None
    member: str = ""


# URLs: the README of github.com/cvdfoundation/fashionpedia. CVDF publishes no hashes and GitHub's archives
# are made on demand, without a size: there the zip's own checksums are the check.
_CVDF = "https://s3.amazonaws.com/ifashionist-dataset"
SETS = {
    "ccp": (
        Item(
            "https://github.com/bearpaw/clothing-co-parsing/archive/refs/heads/master.zip",
            "clothing-co-parsing",
            member="clothing-co-parsing-master",
        ),
    ),
    "fashionpedia": (
        *(
            Item(f"{_CVDF}/annotations/{name}", name, size)
            for name, size in {
                "instances_attributes_val2020.json": None,
                "instances_attributes_train2020.json": 542_193_045,
            }.items()
        ),
        Item(f"{_CVDF}/images/val_test2020.zip", "test", 236_499_034, member="test"),
        Item(f"{_CVDF}/images/train2020.zip", "train", 3_344_364_592, member="train"),
    ),
}


def download(data: str, home: str | Path | None = None, progress: bool = True) -> Path:
    """Fetch the data set `data` and return the folder to give to its converter as `src`.

    Raises `DownloadError` if a file can't be had or is not the one that was expected, and ValueError
    for a data set that can't be fetched like this, or that another process is fetching.
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
    """The file or folder `target`, and nothing else beside it, whatever was left there by a kill."""
    if not item.member:
        fetch(item.url, target, item.size, item.sha256, progress)
        return
    archive = target.with_name(f"{item.name}.zip")
    if not target.exists():
        fetch(item.url, archive, item.size, item.sha256, progress)
        unpack(archive, item.member, target, progress)
    archive.unlink(missing_ok=True)
    shutil.rmtree(_unpacking(target), ignore_errors=True)


def fetch(
    url: str, path: Path, size: int | None = None, sha256: str | None = None, progress: bool = True
) -> Path:
    """The file of `url` at `path`, complete and checked; does nothing if it is there."""
    if path.exists():
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        _transfer(url, part, size, progress)
    except requests.HTTPError as error:
        raise DownloadError(f"{url} answers {error.response.status_code} {error.response.reason}.") from None
    except requests.RequestException as error:
        got = part.stat().st_size if part.exists() else 0
        host, reason = urlsplit(url).netloc, type(error).__name__
        raise DownloadError(
            f"{host} can't be reached or broke off after {got:,} bytes ({reason}): the same command "
            f"goes on where there is a network, or put the file of {url} at {path}."
        ) from None
    _check(url, part, size, sha256)
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


def _check(url: str, part: Path, size: int | None, sha256: str | None) -> None:
    """Remove `part` and raise DownloadError if it is not the expected file."""
    got = part.stat().st_size
    if size and got != size:
        problem = f"has {got:,} bytes, not {size:,}"
    elif sha256 and (found := _sha256(part)) != sha256:
        problem = f"has the sha256 {found[:12]}…, not {sha256[:12]}…"
    else:
        return
    part.unlink()
    raise DownloadError(
        f"What came from {url} {problem}, and was removed: the same command fetches it again."
    )


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, member: str, target: Path, progress: bool = True) -> None:
    """The folder `member` of a zip as `target`, whole or not at all; its checksums are checked on the way.

    Raises `DownloadError` for a damaged archive, and, before anything is written, for one with a link or
    a path that leads out.
    """
    partial = _unpacking(target)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            infos = content.infolist()
            for info in infos:
                _check_member(archive, info)
            infos = [i for i in infos if not i.is_dir() and i.filename.startswith(f"{member}/")]
            _check_names(archive, infos)
            if not infos:
                raise DownloadError(f"{archive} holds no folder {member!r}: it is not the expected archive.")
            needed, free = sum(info.file_size for info in infos), shutil.disk_usage(target.parent).free
            if needed > _BLOWN_UP * archive.stat().st_size:
                raise DownloadError(
                    f"{archive} would unpack to {needed:,} bytes, over {_BLOWN_UP} times its size: "
                    "photos don't, so don't use it."
                )
            if needed > free:
                raise DownloadError(
                    f"{archive} unpacks to {needed:,} bytes, {free:,} are free in {target.parent}."
                )
            for info in tqdm(
                infos, f"unpack {target.name}", unit="file", disable=not progress, mininterval=1
            ):
                with explain_disk_errors(target):
                    content.extract(info, partial)
        os.replace(partial / member, target)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError) as error:
        raise DownloadError(f"{archive} is damaged ({error}): delete it and fetch it again.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpacking(target: Path) -> Path:
    return target.with_name(f".{target.name}.unpacking")


def _check_member(archive: Path, info: zipfile.ZipInfo) -> None:
    """Raise DownloadError for a member of a zip that is a link or would be written outside."""
    parts = info.filename.split("/")
    if ".." in parts or parts[0] == "" or "\\" in info.filename or ":" in parts[0]:
        raise DownloadError(
            f"{archive} holds {info.filename!r}, which leads out of the folder: don't use it."
        )
    if stat.S_ISLNK(mode := info.external_attr >> 16):
        raise DownloadError(f"{archive} holds the link {info.filename!r}: don't use it.")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DownloadError(f"{archive} holds {info.filename!r}, a device and no file: don't use it.")
    if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
        raise DownloadError(f"{archive} holds {info.filename!r} encrypted or packed in a way we can't read.")


def _check_names(archive: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Raise DownloadError where one of the files would be written over another, or below it."""
    names = Counter(info.filename for info in infos)
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    for name, times in names.items():
        if times > 1 or name in folders:
            raise DownloadError(f"{archive} holds {name!r} twice: it is not the expected archive.")
