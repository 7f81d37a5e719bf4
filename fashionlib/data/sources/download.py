"""Data sets from their official places -> ``cache/<data>/`` under the home folder, ready to convert.

A file grows as ``<name>.part``, goes on where it stopped (HTTP range) and takes its name when its size
and hash are right; an archive is unpacked beside its place and moved there whole. What is there already
is not fetched again, so the same command goes on after any interruption.
"""

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from fashionlib.core import classes, paths
from fashionlib.core.download import DownloadError, fetch
from fashionlib.core.files import explain_disk_errors, folder_lock

_BLOWN_UP = 100  # times its size that no archive of photos unpacks to; a bomb has a thousand
_ENCRYPTED = 1  # a zip member's flag
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


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
            _check_members(archive, infos)
            infos = [i for i in infos if not i.is_dir() and i.filename.startswith(f"{member}/")]
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


def _check_members(archive: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Raise DownloadError for what no archive of photos holds: paths that lead out, links, files twice."""
    for info in infos:
        name, parts = info.filename, info.filename.split("/")
        if ".." in parts or parts[0] == "" or "\\" in name or ":" in parts[0]:
            problem = "which leads out of the folder"
        elif stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            problem = "a link or device and no file"
        elif info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            problem = "encrypted or packed in a way we can't read"
        else:
            continue
        raise DownloadError(f"{archive} holds {name!r}, {problem}: don't use it.")
    names = Counter(info.filename for info in infos if not info.is_dir())
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    if twice := next((name for name, times in names.items() if times > 1 or name in folders), None):
        raise DownloadError(f"{archive} holds {twice!r} twice: it is not the expected archive.")
