"""Recipe -> run folder: per-epoch weights, a history of every iteration, and a state to go on from.

``runs/<data>/<run>/`` holds ``recipe.json``, ``config.py``, ``history.csv``, ``epoch_<n>.safetensors``,
``last.pth`` and, at the end, ``done.json``.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import mmengine
import torch
from filelock import FileLock, Timeout
from mmengine import Config
from mmengine.dist import is_main_process
from tqdm import tqdm

from fashionlib import dataset, models, paths
from fashionlib.train import job, runner, state
from fashionlib.train.estimate import estimate
from fashionlib.train.recipe import PRESETS, Recipe
from fashionlib.train.table import describe, headline

__all__ = ["PRESETS", "Recipe", "RunRefused", "describe", "estimate", "headline", "launch", "train"]


class RunRefused(ValueError):
    """The run folder belongs to another recipe or another process; the sentence says what to do."""


def train(recipe: Recipe, *, home: str | Path | None = None, progress: bool = True, overwrite: bool = False,
          on_iteration: Callable[[dict], None] | None = None) -> Path:
    """Train `recipe`, or go on where it stopped, or do nothing if it is finished; returns the run folder.

    Args:
        home: where raw/, data/ and runs/ lie (`fashionlib.paths`).
        overwrite: begin again in a folder of another recipe, whose files are removed.
        on_iteration: gets every line of ``history.csv`` as a dict, while training.

    Raises:
        FileNotFoundError: the data are not prepared; the sentence holds the command.
        RunRefused: the folder holds another recipe's run, or another process is training in it.
        MemoryError: out of memory, naming the settings that need less.
        KeyboardInterrupt: stopped; the same call goes on.
    """
    data_root = paths.data_folder(recipe.data, home)
    info = dataset.read_info(data_root)
    folder = paths.run_folder(recipe.data, recipe.name, home)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _claim(folder, recipe, info, overwrite)
        if (folder / "done.json").is_file():
            return folder
        _run(recipe, folder, data_root, info, progress, on_iteration)
    return folder


def launch(recipe: Recipe, *, home: str | Path | None = None) -> Path:
    """`train` in ``recipe.gpus`` processes under torchrun (CPU processes where there is no GPU)."""
    folder = paths.run_folder(recipe.data, recipe.name, home)
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(recipe.to_dict(), file)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={recipe.gpus}",
               "-m", "fashionlib.train", file.name]
    environment = os.environ | ({"FASHION_HOME": str(home)} if home else {})
    try:
        subprocess.run(command, check=True, env=environment)
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"Training in {recipe.gpus} processes failed with exit code {error.returncode}; "
                           f"its messages are above, its state is in {folder}.") from None
    finally:
        Path(file.name).unlink()
    return folder


def _run(recipe: Recipe, folder: Path, data_root: Path, info: dict, progress: bool, on_iteration) -> None:
    torch.manual_seed(recipe.seed)
    distributed = recipe.gpus > 1
    model = models.build(recipe.model, len(info["classes"]), recipe.scale, recipe.init, recipe.crop, recipe.memory,
                         sync_bn=distributed and torch.cuda.is_available())
    card = checkpoint_info(recipe, info, model)
    loader = job.loader(recipe, str(data_root))
    photos = info["counts"]["train"] if recipe.photos is None else recipe.photos
    share = recipe.photos_per_step * recipe.gpus
    iterations = recipe.epochs * -(-photos // share)
    cfg = Config(dict(
        train_dataloader=loader, train_cfg=dict(type="ResumableEpochLoop", max_epochs=recipe.epochs),
        optim_wrapper=job.optimiser(recipe), param_scheduler=job.schedule(recipe, iterations),
    ))
    with _bar(recipe, iterations, progress) as advance, _stop_asked() as stop:
        def each(row: dict) -> None:
            advance(row)
            if on_iteration:
                on_iteration(row)

        history = runner.HistoryHook(folder / "history.csv", each)
        keeper = runner.StateHook(folder, card, recipe.accumulate, stop)
        machine = runner.FashionRunner(
            model=model, work_dir=str(folder / "mmengine"), **cfg, cfg=cfg,
            default_hooks=dict(logger=None, checkpoint=None), custom_hooks=[history, keeper],
            randomness=dict(seed=recipe.seed), log_level="ERROR", default_scope="mmseg",
            launcher="pytorch" if distributed else "none",
            env_cfg=dict(dist_cfg=dict(backend="nccl" if torch.cuda.is_available() else "gloo")),
        )
        machine.state_folder = folder
        if is_main_process():
            cfg.dump(folder / "config.py")
        started = time.time()
        try:
            machine.train()
        except (RuntimeError, MemoryError) as error:
            _explain_memory(error, recipe)
        finally:
            history.close()
    if is_main_process():
        _finish(folder, recipe, started)


def checkpoint_info(recipe: Recipe, info: dict, model) -> dict:
    """What every checkpoint of a run carries beside its weights."""
    card = models.meta(recipe.model, info["classes"], recipe.scale, recipe.crop)
    card["resize"] = list(recipe.test_resize)
    card["test_cfg"] = card["test_cfg"] | dict(mode=recipe.test_mode)
    report = model.init_report
    return card | dict(
        run=recipe.name, data=recipe.data, class_set=info["class_set"], init=recipe.init, recipe=recipe.to_dict(),
        fingerprint=info["fingerprint"], init_report=vars(report) if report else None,
    )


def _claim(folder: Path, recipe: Recipe, info: dict, overwrite: bool) -> None:
    """Write ``recipe.json`` into a new run folder, or make sure that the one there is the same."""
    path = folder / "recipe.json"
    mine = dict(recipe=recipe.to_dict(), classes=info["classes"], fingerprint=info["fingerprint"],
                origin=recipe.origin, versions=versions(), command=_command(recipe))
    if path.is_file():
        theirs = json.loads(path.read_text())
        difference = _first_difference(theirs, mine)
        if difference is None:
            return
        if not overwrite:
            raise RunRefused(f"{folder} holds another run: {difference}. Give this one a name of its own "
                             f"(variant=…) or replace it (overwrite=True).")
        for old in folder.iterdir():
            if old.is_file() and old.name != ".lock":
                old.unlink()
    if is_main_process():
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(mine, indent=1) + "\n")
        temporary.replace(path)


_FREE = ("workers", "gpus", "precision")  # how a run is computed, not what: may change on resuming


def _first_difference(theirs: dict, mine: dict) -> str | None:
    for name, value in mine["recipe"].items():
        if name not in _FREE and theirs["recipe"].get(name) != value:
            return f"its {name} is {theirs['recipe'].get(name)!r}, not {value!r}"
    for name, what in (("classes", "its class list differs"), ("fingerprint", "its data were prepared differently")):
        if theirs[name] != mine[name]:
            return what
    return None


@contextmanager
def _locked(folder: Path):
    """One process (the first of a torchrun) at a time; the kernel frees the lock of a dead one."""
    if int(os.environ.get("RANK", 0)):
        yield
        return
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise RunRefused(f"Another process is training in {folder}: wait for it, or stop it first.") from None


@contextmanager
def _stop_asked():
    """A callable that says whether SIGINT (a notebook's stop button) or SIGTERM has come."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {sig: signal.signal(sig, lambda *_: asked.set()) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


@contextmanager
def _bar(recipe: Recipe, iterations: int, progress: bool):
    quiet = not progress or not is_main_process()
    lines = not sys.stderr.isatty()  # papermill and logs: a line now and then, not a flood
    with tqdm(total=iterations, desc=recipe.name, unit="it", disable=quiet, mininterval=15 if lines else 0.5,
              maxinterval=60 if lines else 5) as bar:
        def advance(row: dict) -> None:
            bar.update(row["iter"] - bar.n)
            bar.set_postfix(epoch=row["epoch"], loss=row["loss_decode"], refresh=False)

        yield advance


def _explain_memory(error: Exception, recipe: Recipe) -> None:
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        raise MemoryError(
            f"Out of memory with {recipe.photos_per_step} photos of {recipe.crop} at a time: "
            f"raise accumulate (now {recipe.accumulate}) or set memory=\"lean\"."
        ) from error
    raise error


def versions() -> dict[str, str]:
    """What computed a run: packages, Python, processor or GPU."""
    import mmseg

    return dict(python=platform.python_version(), torch=torch.__version__, mmseg=mmseg.__version__,
                mmengine=mmengine.__version__, device=device_name())


def device_name() -> str:
    """The GPU's name or the processor's, with the number of cores used."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{model}, {torch.get_num_threads()} threads"


def _command(recipe: Recipe) -> str:
    """The papermill command that makes this run again."""
    given = {name for name, where in recipe.origin.items() if where == "given"}
    values = recipe.to_dict()
    chosen = ["model", "data", "preset", *sorted(given | {"scale", "init"})]
    return "papermill notebooks/03_train.ipynb " + " ".join(
        f"-p {name} '{values[name]}'" if isinstance(values[name], list) else f"-p {name} {values[name]}" for name in chosen
    )


def _finish(folder: Path, recipe: Recipe, started: float) -> None:
    seconds = round(time.time() - started, 1)
    note = dict(epochs=recipe.epochs, finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), last_session_seconds=seconds)
    temporary = folder / ".done.tmp"
    temporary.write_text(json.dumps(note, indent=1) + "\n")
    temporary.replace(folder / "done.json")
    for name in (state.LAST, state.PREVIOUS, state.DIGESTS):  # of use only to go on
        (folder / name).unlink(missing_ok=True)
