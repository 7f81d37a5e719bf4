"""The training state, ``last.pth``: everything needed to continue as if the run had never stopped.

It holds model, optimiser, schedules and random generators. A new state is written beside the old one, flushed
to disk and then renamed over it: after a kill or a power cut there is one complete state. The CRC-32 that
torch stores with every record reveals later damage.
"""

import io
import os
import random
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import collect_results, get_rank, get_world_size, is_main_process

from fashionlib.core.files import atomic_write
from fashionlib.core.processes import out_of_memory

LAST = "last.pth"
FILES = (LAST, "previous.pth", "state.sha256")  # the other two: of runs started with an older version
_BEGIN_AGAIN = (
    f"remove {LAST} from its folder to begin the run again, or give the run another name (variant=…)"
)


def save(runner, folder: Path, epoch: int, iteration: int) -> None:
    """Write ``last.pth`` after `epoch` complete epochs and `iteration` iterations."""
    several = get_world_size() > 1
    mine = [_generators()]
    generators = collect_results(mine, get_world_size(), device="cpu") if several else mine
    if not is_main_process():
        return
    state = dict(
        epoch=epoch,
        iter=iteration,
        model=unwrapped(runner.model).state_dict(),
        optimizer=runner.optim_wrapper.state_dict(),
        schedulers=[scheduler.state_dict() for scheduler in runner.param_schedulers],
        generators=generators,
    )
    buffer = io.BytesIO()  # torch, writing to the file itself, hides a full disk's error
    torch.save(state, buffer)
    with atomic_write(folder / LAST) as part, part.open("wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def restore(runner, folder: Path) -> None:
    """Restore `runner` from the state in `folder`, if there is one."""
    state = newest(folder)
    if state is None:
        return
    with _explained(folder / LAST):
        unwrapped(runner.model).load_state_dict(state["model"])
        for group in state["optimizer"]["param_groups"]:  # this machine's choice, not the last one's
            group["fused"] = torch.cuda.is_available() or None
        runner.optim_wrapper.load_state_dict(state["optimizer"])
        for scheduler, values in zip(runner.param_schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(values)
        runner.train_loop._epoch, runner.train_loop._iter = state["epoch"], state["iter"]
        if len(state["generators"]) == get_world_size():
            _set_generators(state["generators"][get_rank()])


def newest(folder: Path) -> dict | None:
    """The state in ``last.pth`` of a run folder, or None.

    Raises ValueError for a damaged file and for one that training did not write; runs no code from it.
    """
    path = folder / LAST
    if not path.exists():
        return None
    with _explained(path):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"bad CRC-32 of {damaged}")
        return torch.load(path, map_location="cpu", weights_only=True)


@contextmanager
def _explained(path: Path):
    """One sentence, with the remedy, on a file from which training can't resume."""
    try:
        yield
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is torn: {_BEGIN_AGAIN}.") from error
    except Exception as error:
        if isinstance(error, OSError) or out_of_memory(error):
            raise
        raise ValueError(f"{path} is no state of this run: {_BEGIN_AGAIN}.") from error


def unwrapped(model):
    """The model without its DistributedDataParallel wrapper, if it has one."""
    return getattr(model, "module", model)


def _generators() -> dict:
    """State of this process's random generators, as tensors and plain numbers (for ``weights_only``)."""
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
