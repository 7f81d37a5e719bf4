"""The run folder: whose run it is, its lock, its training state, and whether it is finished.

``recipe.json`` names the run, the versions and the hardware that made it, and the command that repeats it.
``last.pth``, the training state, holds all that a stopped run needs to continue as if it had never stopped:
model, optimiser, schedules and random generators. A new state is written beside the old one, flushed to disk
and then renamed over it: after a kill or a power cut there is one complete state. The CRC-32 that torch
stores with every record reveals later damage.
"""

import io
import json
import os
import platform
import random
import shlex
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import mmengine
import mmseg
import numpy as np
import torch
from mmengine.dist import collect_results, get_rank, get_world_size, is_main_process

from fashionlib import models
from fashionlib.core import checked_files, paths
from fashionlib.core.files import LOCK, atomic_write, folder_lock, write_text
from fashionlib.core.processes import out_of_memory
from fashionlib.core.run_files import CARD, parameter_defaults
from fashionlib.train.allowed import today
from fashionlib.train.recipe import CALLER, Recipe

LAST = "last.pth"
STATES = (LAST, "previous.pth", "state.sha256")  # the other two: of runs started with an older version
_INSTEAD = "give this run a name of its own (variant=…) or replace that one (overwrite=True)"
_BEGIN_AGAIN = (
    f"remove {LAST} from its folder to begin the run again, or give the run another name (variant=…)"
)


class RunRefused(ValueError):
    """The run folder belongs to another recipe or another process; the message gives the remedy."""


def claim(folder: Path, recipe: Recipe, info: dict, overwrite: bool) -> None:
    """Write ``recipe.json`` into a new run folder, or check that the existing one is the same."""
    path = folder / "recipe.json"
    mine = dict(
        recipe=recipe.to_dict(),
        classes=info["classes"],
        fingerprint=info["fingerprint"],
        origin=recipe.origin,
        versions=versions(recipe),
        command=command(recipe),
        **({"config": own} if (own := models.spec(recipe.model).own) else {}),
    )
    if path.exists():
        try:
            theirs = checked_files.json_object(path, CARD, _INSTEAD, RunRefused)
            if not (difference := _first_difference(theirs, mine)):
                return
            raise RunRefused(f"{folder} holds another run: {difference}; {_INSTEAD}.")
        except RunRefused:
            if not overwrite:
                raise
        for old in folder.iterdir():  # recipe.json is replaced last: it marks whose files these are
            if old.is_file() and old.name not in (LOCK, path.name):
                old.unlink()
    if is_main_process():
        write_text(path, json.dumps(mine, indent=1) + "\n")


# settings that do not change the result: may differ on resuming
_FREE = ("workers", "gpus", "precision", "compile", "trust_checkpoint")


def _first_difference(theirs: dict, mine: dict) -> str | None:
    before = today(theirs["recipe"])
    for name, value in mine["recipe"].items():
        was = before.get(name, getattr(Recipe, name, None))  # the default: older versions lack new settings
        if name not in _FREE and was != value:
            return f"its {name} is {was!r}, not {value!r}"
    if theirs.get("config") != mine.get("config"):
        return "its config file's model differs"
    if theirs["classes"] != mine["classes"]:
        return "its class list differs"
    return None if theirs["fingerprint"] == mine["fingerprint"] else "its data were prepared differently"


@contextmanager
def locked(folder: Path):
    """Lock of a run folder for one process (the first of a torchrun); the kernel releases it at exit."""
    if int(os.environ.get("RANK", 0)):
        yield
        return
    otherwise = ", or give this run a name of its own (variant=…)"
    with folder_lock(folder, "training in", RunRefused, otherwise):
        yield


def is_finished(folder: Path) -> bool:
    """Whether the run is finished; removes the training state if a kill interrupted `finish`."""
    done = (folder / "done.json").is_file()
    if done:
        _drop_states(folder)
    return done


def finish(folder: Path, recipe: Recipe) -> None:
    """Mark the run as finished (training it again is a no-op) and delete the files needed only to resume."""
    note = dict(epochs=recipe.epochs, finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    write_text(folder / "done.json", json.dumps(note, indent=1) + "\n")
    _drop_states(folder)


def _drop_states(folder: Path) -> None:
    for name in STATES:  # needed only to resume
        (folder / name).unlink(missing_ok=True)


# what recipe.json says of a run's making ---------------------------------------------------------------


def versions(recipe: Recipe) -> dict[str, str]:
    """Versions of Python and the engine, the processor or GPU, and the recipe's precision on it."""
    return dict(
        python=platform.python_version(),
        torch=torch.__version__,
        mmseg=mmseg.__version__,
        mmengine=mmengine.__version__,
        device=device_name(),
        precision=models.resolve_precision("cuda" if torch.cuda.is_available() else "cpu", recipe.precision),
    )


def device_name() -> str:
    """The GPU's name or the processor's, with the number of cores used."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.processor()])[0]}, {torch.get_num_threads()} threads"


def command(recipe: Recipe) -> str:
    """The papermill command that repeats this run; `settings` holds what is no parameter of notebook 03."""
    known = parameter_defaults("03_train") if paths.NOTEBOOKS.is_dir() else {}  # installed without notebooks
    always = ("model", "data", "preset", "scale", "init")
    given = {name: recipe.to_dict()[name] for name, where in recipe.origin.items() if where == CALLER}
    given = {name: value for name, value in given.items() if name not in always}
    words = ["papermill", "notebooks/03_train.ipynb", "03.ipynb"]
    for name in (*always, *(name for name in known if name in given)):
        words += ["-p", name, str(getattr(recipe, name))]
    if settings := {name: value for name, value in given.items() if name not in known}:
        words += ["-y", json.dumps(dict(settings=settings))]
    return shlex.join(words)


# the training state --------------------------------------------------------------------------------------


def save_state(runner, folder: Path, epoch: int, iteration: int) -> None:
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


def restore_state(runner, folder: Path) -> None:
    """Restore `runner` from the state in `folder`, if there is one."""
    state = newest_state(folder)
    if state is None:
        return
    with _explained(folder / LAST):
        unwrapped(runner.model).load_state_dict(state["model"])
        for group in state["optimizer"]["param_groups"]:  # this machine's choice, not the last one's
            group["fused"] = torch.cuda.is_available() or None
        if "scaler" in state["optimizer"]:  # its name in older versions
            state["optimizer"]["loss_scaler"] = state["optimizer"].pop("scaler")
        runner.optim_wrapper.load_state_dict(state["optimizer"])
        for scheduler, values in zip(runner.param_schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(values)
        runner.train_loop._epoch, runner.train_loop._iter = state["epoch"], state["iter"]
        if len(state["generators"]) == get_world_size():
            _set_generators(state["generators"][get_rank()])


def newest_state(folder: Path) -> dict | None:
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
