"""Where a run stands: everything needed to go on as if it had never stopped.

``last.pth`` holds model, optimiser, schedules and random generators; ``previous.pth`` the one
before; ``state.sha256`` the digests of both. The digests are written first and a file counts only
if its digest is listed, so whatever moment a process dies at, one whole state is left and a torn
one is noticed.
"""

import hashlib
import io
import logging
import random
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import collect_results, get_rank, get_world_size, is_main_process

from fashionlib.core.files import atomic_write, write_text
from fashionlib.core.processes import out_of_memory

LAST, PREVIOUS, DIGESTS = "last.pth", "previous.pth", "state.sha256"
_BEGIN_AGAIN = (
    f"remove {LAST}, {PREVIOUS} and {DIGESTS} from its folder to begin the run again, or give the run another"
    " name (variant=…)"
)
_log = logging.getLogger(__name__)


def save(runner, folder: Path, epoch: int, iteration: int) -> None:
    """Write ``last.pth``: `epoch` whole epochs and `iteration` iterations are done."""
    generators = (
        collect_results([_generators()], get_world_size(), device="cpu")
        if get_world_size() > 1
        else [_generators()]
    )
    if not is_main_process():
        return
    buffer = io.BytesIO()
    model = getattr(runner.model, "module", runner.model)
    torch.save(
        dict(
            epoch=epoch,
            iter=iteration,
            model=model.state_dict(),
            optimizer=runner.optim_wrapper.state_dict(),
            schedulers=[scheduler.state_dict() for scheduler in runner.param_schedulers],
            generators=generators,
        ),
        buffer,
    )
    payload = buffer.getbuffer()
    kept = _newest_whole(folder)
    digests = [hashlib.sha256(payload).hexdigest(), *([_digest(kept)] if kept else [])]
    write_text(folder / DIGESTS, "\n".join(digests))
    with atomic_write(folder / LAST) as part:
        part.write_bytes(payload)
        if kept == folder / LAST:  # a torn one must not take the place of the whole one before it
            kept.replace(folder / PREVIOUS)


def restore(runner, folder: Path) -> None:
    """Set `runner` to the newest whole state in `folder`; nothing happens if there is none."""
    saved = newest(folder)
    if saved is not None:
        with _ours(folder / LAST):
            _take_up(runner, saved)


def _take_up(runner, saved: dict) -> None:
    model = getattr(runner.model, "module", runner.model)
    model.load_state_dict(saved["model"])
    runner.optim_wrapper.load_state_dict(saved["optimizer"])
    for scheduler, values in zip(runner.param_schedulers, saved["schedulers"], strict=True):
        scheduler.load_state_dict(values)
    runner.train_loop._epoch, runner.train_loop._iter = saved["epoch"], saved["iter"]
    if len(saved["generators"]) == get_world_size():
        _set_generators(saved["generators"][get_rank()])


def newest(folder: Path) -> dict | None:
    """The newest whole state of a run folder: ``last.pth``, else ``previous.pth``, else None.

    Raises ValueError if it is none that training writes; nothing in it is run.
    """
    path = _newest_whole(folder)
    if path is None:
        return None
    with _ours(path):
        return torch.load(path, map_location="cpu", weights_only=True)


@contextmanager
def _ours(path: Path):
    """One sentence for a file that is no state of this run, whoever wrote its checksum."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or out_of_memory(error):
            raise
        raise ValueError(f"{path} is no state of this run: {_BEGIN_AGAIN}.") from error


def _newest_whole(folder: Path) -> Path | None:
    """The newest state file whose digest is listed; a torn one is named in a warning."""
    known, listed = [], folder / DIGESTS
    if listed.is_file():
        known = listed.read_bytes().decode("ascii", "replace").split()
        if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in known or [""]):
            raise ValueError(f"{listed} holds no checksums of states: {_BEGIN_AGAIN}.")
    for path in filter(Path.is_file, (folder / LAST, folder / PREVIOUS)):
        if _digest(path) in known:
            return path
        _log.warning("%s is torn (its checksum is not in %s): using the state before it.", path, DIGESTS)
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _generators() -> dict:
    """The random generators of this process, as tensors and plain numbers (``weights_only`` loads them)."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return dict(
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        numpy=[kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        python=[version, list(internal), gauss_next],
    )


def _set_generators(values: dict) -> None:
    torch.set_rng_state(values["torch"])
    if values["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(values["cuda"])
    kind, keys, position, has_gauss, gauss = values["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = values["python"]
    random.setstate((version, tuple(internal), gauss_next))
