"""Weight files: downloaded, and read without running code."""

import logging
import re
import warnings
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from fashionlib.core.files import folder_lock, sha256
from fashionlib.core.processes import out_of_memory
from fashionlib.data.sources import download
from fashionlib.models.metadata import WeightsError

SCALE = ":scale"  # after a tensor's name: its int8 scales


class _Unread:
    """Blank in place of what MMEngine's checkpoints hold beside tensors and plain values.

    We read no message hub and no numpy values of metadata, and the real classes are not safe to fill: a
    HistoryBuffer's state replaces statistics in the whole process, and numpy interprets bytes as anything.
    """

    def __init__(self, *_) -> None:
        pass

    def __setstate__(self, _) -> None:
        pass


# All that a pickle may name beside torch's own tensors and containers. Each name stands for a blank, so the
# functions among them, `getattr` the most dangerous, are never called. numpy 2 renamed core to _core.
_NAMES = (
    "builtins.getattr",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
)
SAFE_GLOBALS = tuple((_Unread, name) for name in _NAMES)

_REFUSALS = {  # torch's message about a file that wants to run something -> ours
    r"GLOBAL ([\w.]+)": "it asks for {}",
    r"(TorchScript)": "it is a {} program",
    r"legacy \.(tar) format": "it is in torch's old {} format, which only runs",
    "Unsupported operand|unrecognized function|Can only|Only persistent": "its pickle does more than store",
}
_TRUST = (
    ", or, if you trust its maker as you would trust a program's, --trust-checkpoint (trust_checkpoint=True)"
    " loads it and lets it run code with your rights"
)
_log = logging.getLogger(__name__)


class Unreachable(WeightsError):
    """The server of a weight file can't be reached."""


def safe_load(path: str | Path, trust: bool = False) -> dict:
    """Content of a safetensors or torch file, on the CPU, without running anything from it.

    MMEngine's own loader falls back to full unpickling, where a hostile file runs code. This one unpickles
    only tensors, plain values and, as blanks, `SAFE_GLOBALS`, and raises WeightsError for anything else.
    With `trust`, a file that was refused because it may run code is loaded after a warning.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such weight file.")
    try:
        loaded = _loaded(path)
    except OSError:
        raise
    except Exception as error:  # a hostile pickle can make the unpickler fail in any way
        refusal = _refusal(path, error)
        if not (trust and refusal):
            damage = str(error) if isinstance(error, _Bomb) else "it is damaged or no weight file"
            damage = "it claims more memory than there is" if out_of_memory(error) else damage
            why, way_out = (refusal, _TRUST) if refusal else (damage, "")
            raise WeightsError(
                f"{path} can't be loaded safely ({why}): use one of tensors only{way_out}."
            ) from None
        loaded = _trusted(path)
    if not isinstance(loaded, dict):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}: save a state dict (names to tensors).")
    return dict(loaded)  # of an OrderedDict the pickle may have replaced methods


def unpacked(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """float32 weights from stored tensors: float32, fp16, or int8 with a scale per output channel.

    The scales (out,) of ``<name>`` (out, ...) are stored as ``<name>:scale``.
    """
    weights = {}
    for name, tensor in state.items():
        if name + SCALE in state:
            scale = state[name + SCALE].float()
            weights[name] = tensor.float() * scale.view(-1, *[1] * (tensor.ndim - 1))
        elif not name.endswith(SCALE):
            weights[name] = tensor.float() if tensor.is_floating_point() else tensor
    return weights


def check_finite(path: str | Path, state: dict[str, Tensor]) -> None:
    """Raise WeightsError if a weight in the file `path` is NaN or infinite, as after a run that diverged."""
    for name, tensor in state.items():  # a sum is cheap; where it overflows, each weight is asked
        if not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise WeightsError(f"{path} can't be used: its {name} holds NaN or infinity. Take another epoch.")


def is_safetensors(path: str | Path) -> bool:
    """Whether a file is read as safetensors: by its name, or else by its first bytes."""
    with open(path, "rb") as file:
        return Path(path).suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _loaded(path: Path):
    if is_safetensors(path):
        return unpacked(load_file(path))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise _Bomb("it is compressed, as no weights are")
    with torch.serialization.safe_globals(list(SAFE_GLOBALS)), warnings.catch_warnings(action="ignore"):
        return torch.load(path, map_location="cpu", weights_only=True)


def _trusted(path: Path):
    """Content of a trusted file, by full unpickling, which may run its code."""
    _log.warning("%s is trusted: loading it may run any code that its maker put in, with your rights.", path)
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise WeightsError(f"{path} can't be loaded, though it is trusted ({what}).") from None


class _Bomb(ValueError):
    """A compressed archive, perhaps a thousand times larger unpacked; torch does not compress weights."""


def _refusal(path: Path, error: Exception) -> str:
    """The reason why a file needs `trust`, as a clause; empty for a file that holds no weights."""
    with path.open("rb") as file:
        begins = file.read(2)
    for pattern, words in _REFUSALS.items():
        if found := re.search(pattern, str(error)):
            texts = begins != b"PK" and begins[:1] != b"\x80" and "{}" not in words  # a web page, say
            return "" if texts else words.format(*found.groups())
    return ""


def fetch(url: str, folder: Path, digits: str = "") -> Path:
    """Path of the file of `url` in `folder`, downloaded if missing; its SHA-256 begins with `digits`.

    Raises Unreachable without a network, and WeightsError for another hash, after removing the file.
    """
    path = folder / url.rsplit("/", 1)[1]
    try:
        with folder_lock(folder, wait=True):  # a second process then finds the file
            download.fetch(url, path)
    except download.DownloadError as error:
        raise Unreachable(str(error)) from None
    found = sha256(path)
    if not found.startswith(digits):
        path.unlink()
        raise WeightsError(
            f"{path} was removed, its sha256 begins {found[:8]}, not {digits[:8]}: fetch {url} again."
        )
    return path
