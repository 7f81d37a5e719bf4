"""Weight files: fetched whole or not at all, and never allowed to run code."""

import hashlib
import http.client
import pickle
import re
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import safetensors
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import load_file
from tqdm import tqdm

from fashionlib.files import whole
from fashionlib.weights.packed import unpacked

_TIMEOUT = 20  # seconds without an answer before a server counts as out of reach


def _statistic(owner, name):
    """What a pickle gets for `getattr`: the four methods that a HistoryBuffer names, nothing else."""
    if owner is HistoryBuffer and name in ("min", "max", "mean", "current"):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f"GLOBAL getattr({owner!r},{name!r})")


# Beside tensors and plain Python values: what MMEngine puts into its checkpoints (message hub,
# metadata). All are plain data: none can look up, import or call anything else, as `getattr` could.
SAFE_GLOBALS = (
    HistoryBuffer,
    (_statistic, "builtins.getattr"),
    np.ndarray,
    np.dtype,
    np._core.multiarray._reconstruct,
    np._core.multiarray.scalar,
    *(type(np.dtype(name)) for name in ("bool", "uint8", "int32", "uint32", "int64", "float32", "float64")),
)


class WeightsError(ValueError):
    """Weights that can't be had or don't fit; the message says which and what to do."""


class Unreachable(WeightsError):
    """The server of a weight file can't be reached."""


def safe_load(path: str | Path) -> dict:
    """What a ``.safetensors`` or torch file holds, on the CPU, without running anything from it.

    MMEngine's own loader falls back to full unpickling, where a hostile file runs code; this one
    unpickles tensors, plain values and `SAFE_GLOBALS` only. Raises WeightsError for anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such weight file.")
    try:
        if path.suffix == ".safetensors":
            return unpacked(load_file(path))
        with torch.serialization.safe_globals(list(SAFE_GLOBALS)):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, safetensors.SafetensorError, RuntimeError, EOFError) as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        why = f"it asks for {found[1]}" if found else "it is damaged or no weight file"
        raise WeightsError(f"{path} can't be loaded safely ({why}): use one of tensors only.") from None
    if not isinstance(loaded, dict):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}: save a state dict (names to tensors).")
    return loaded


def fetch(url: str, folder: Path, sha256: str = "") -> Path:
    """The file of `url` in `folder`, downloaded if it is not there yet; `sha256` is its hash or a prefix.

    The file gets its name when it is complete, and keeps it if its hash is right. Raises Unreachable
    without a network and WeightsError for another content.
    """
    path = folder / url.rsplit("/", 1)[1]
    if not path.exists():
        with whole(path) as part:
            _download(url, part, path)
    found = file_hash(path)
    if not found.startswith(sha256):
        path.unlink()
        raise WeightsError(
            f"{path} was removed, its sha256 begins {found[:8]}, not {sha256[:8]}: fetch {url} again."
        )
    return path


def file_hash(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, part: Path, path: Path) -> None:
    """`url` into `part`, with a progress bar; `path` is where a person may put the file instead."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, open(part, "wb") as file:
            size = int(answer.headers.get("Content-Length", 0))
            with tqdm(desc=path.name, total=size, unit="B", unit_scale=True, mininterval=1) as bar:
                while block := answer.read(1 << 20):
                    bar.update(file.write(block))
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(
            f"Can't reach {url} ({reason}): fetch it where there is a network and put it at {path}."
        ) from None
    if (got := part.stat().st_size) < size:
        raise Unreachable(f"{url}: the download ended after {got:,} of {size:,} bytes; try again.")
