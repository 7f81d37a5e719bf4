"""Recipe -> run folder: per-epoch weights, a history of every iteration, and a state to go on from.

``runs/<data>/<run>/`` holds ``recipe.json``, ``config.py``, ``history.csv``, ``epoch_<n>.safetensors``,
``last.pth`` and, at the end, ``done.json``.
"""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine import Config
from mmengine.dist import is_main_process
from tqdm import tqdm

from fashionlib import models
from fashionlib.core import paths
from fashionlib.core.files import atomic_write, explain_disk_errors
from fashionlib.core.processes import out_of_memory
from fashionlib.data import dataset
from fashionlib.train import config, run_folder, runner
from fashionlib.train.describe import describe, headline
from fashionlib.train.estimate import estimate
from fashionlib.train.recipe import PRESETS, Recipe
from fashionlib.train.run_folder import RunRefused

_PROCESS = ("-m", "fashionlib.train")  # what torchrun starts
_log = logging.getLogger(__name__)

__all__ = ["PRESETS", "Recipe", "RunRefused", "describe", "estimate", "headline", "launch", "train"]


def train(
    recipe: Recipe,
    *,
    home: str | Path | None = None,
    progress: bool = True,
    overwrite: bool = False,
    on_iteration: Callable[[dict], None] | None = None,
) -> Path:
    """Train `recipe`, or go on where it stopped, or do nothing if it is finished; returns the run folder.

    Args:
        home: where raw/, data/ and runs/ lie (`fashionlib.core.paths`).
        overwrite: begin again in a folder of another recipe, whose files are removed.
        on_iteration: gets every line of ``history.csv`` as a dict, while training.

    Raises:
        FileNotFoundError: the data are not prepared; the sentence holds the command.
        RunRefused: the folder holds another recipe's run, or another process is training in it.
        MemoryError: out of memory, naming the settings that need less.
        KeyboardInterrupt: stopped; the same call goes on.
    """
    folder, info = _claimed(recipe, home, overwrite)
    with run_folder.locked(folder):
        if run_folder.is_finished(folder):
            _say_finished(recipe, progress)
        else:
            _run(recipe, folder, paths.data_folder(recipe.data, home), info, progress, on_iteration)
    return folder


def launch(recipe: Recipe, *, home: str | Path | None = None, overwrite: bool = False) -> Path:
    """`train` in ``recipe.gpus`` processes under torchrun (CPU processes where there is no GPU)."""
    folder, _ = _claimed(recipe, home, overwrite)  # refused here, in one sentence, not in each process
    if run_folder.is_finished(folder):
        _say_finished(recipe)
        return folder
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={recipe.gpus}"]
    environment = os.environ | ({"FASHION_HOME": str(home)} if home else {})
    with tempfile.TemporaryDirectory() as shared:
        asked = Path(shared, "recipe.json")
        asked.write_text(json.dumps(recipe.to_dict()))
        command = [sys.executable, *torchrun, *_PROCESS, str(asked)]
        code = subprocess.run(command, env=environment).returncode
        if code:
            last_words = sorted(Path(shared).glob("*.error"), key=lambda path: path.stat().st_mtime_ns)
            why = last_words[0].read_text() if last_words else "a process ended without a word; no memory?"
            raise RuntimeError(
                f"Training in {recipe.gpus} processes failed with exit code {code}: {why} The messages are"
                f" above, the state is in {folder}: the same call goes on."
            )
    return folder


def _say_finished(recipe: Recipe, progress: bool = True) -> None:
    if progress and is_main_process():
        tqdm.write(f"{recipe.name} is finished: nothing is left to train.")


def _claimed(recipe: Recipe, home, overwrite: bool) -> tuple[Path, dict]:
    """The run folder, now this recipe's, and the ``dataset.json`` of its data."""
    info = dataset.read_info(paths.data_folder(recipe.data, home))
    folder = paths.run_folder(recipe.data, recipe.name, home)
    folder.mkdir(parents=True, exist_ok=True)
    with run_folder.locked(folder):
        run_folder.claim(folder, recipe, info, overwrite)
    return folder, info


def _run(recipe: Recipe, folder: Path, data_root: Path, info: dict, progress: bool, on_iteration) -> None:
    try:
        with explain_disk_errors(folder):
            _iterate(recipe, folder, data_root, info, progress, on_iteration)
    except (RuntimeError, MemoryError, OSError) as error:
        _explain_memory(error, recipe)
    if is_main_process():
        run_folder.finish(folder, recipe)


def _iterate(recipe: Recipe, folder: Path, data_root: Path, info: dict, progress: bool, on_iteration) -> None:
    torch.manual_seed(recipe.seed)
    sync_bn = recipe.gpus > 1 and torch.cuda.is_available()
    model = models.build(
        recipe.model, len(info["classes"]), recipe.scale, recipe.init, recipe.crop, recipe.memory == "lean", sync_bn,
        bool(recipe.trust_checkpoint),
    )  # fmt: skip
    if recipe.gpus > 1 and not sync_bn and is_main_process() and _normalises_batches(model):
        _log.warning(
            "%s: each of the %d CPU processes normalises its own part of a batch (BatchNorm instead of SyncBN"
            ", which needs GPUs).", recipe.name, recipe.gpus,
        )  # fmt: skip
    if recipe.freeze is not None:
        models.freeze(model, recipe.freeze)
    if recipe.compile:
        model.backbone.compile()  # in place: the state dict keeps its names
    steps = config.steps(recipe, recipe.photos or info["counts"]["train"])
    with _bar(recipe, steps * recipe.accumulate, progress) as advance, _stop_asked() as stop:

        def each(row: dict) -> None:
            advance(row)
            if on_iteration:
                on_iteration(row)

        history = runner.HistoryHook(folder / "history.csv", each)
        keeper = runner.StateHook(folder, checkpoint_info(recipe, info, model), recipe.accumulate, stop)
        machine = _machine(
            recipe, model, folder, config.config(recipe, str(data_root), steps), [history, keeper]
        )
        try:
            machine.train()
        finally:
            history.close()


def _normalises_batches(model) -> bool:
    return any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules())


def _machine(recipe: Recipe, model, folder: Path, cfg: Config, hooks: list) -> runner.FashionRunner:
    machine = runner.FashionRunner(
        model=model,
        work_dir=str(folder / "mmengine"),
        **cfg,
        cfg=cfg,
        default_hooks=dict(
            logger=None,
            checkpoint=None,
            param_scheduler=dict(type=runner.StepSchedulerHook, accumulate=recipe.accumulate),
        ),
        custom_hooks=hooks,
        randomness=dict(seed=recipe.seed),
        log_level="ERROR",
        default_scope="mmseg",
        launcher="pytorch" if recipe.gpus > 1 else "none",
    )
    machine.state_folder = folder
    if is_main_process():
        with atomic_write(folder / "config.py") as part:
            cfg.dump(part)
    return machine


def checkpoint_info(recipe: Recipe, info: dict, model) -> dict:
    """What every checkpoint of a run carries beside its weights."""
    card = models.metadata_for(recipe.model, info["classes"], recipe.scale, recipe.crop)
    card["resize"] = list(recipe.test_resize)
    card["test_cfg"] = card["test_cfg"] | dict(mode=recipe.test_mode)
    report = model.init_report
    return card | dict(
        run=recipe.name,
        data=recipe.data,
        class_set=info["class_set"],
        init=recipe.init,
        recipe=recipe.to_dict(),
        fingerprint=info["fingerprint"],
        init_report=vars(report) if report else None,
    )


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
    with tqdm(
        total=iterations,
        desc=recipe.name,
        unit="it",
        disable=quiet,
        mininterval=15 if lines else 0.5,
        maxinterval=60 if lines else 5,
        delay=1,  # a first 0 % above a notebook's curves would stay there
    ) as bar:

        def advance(row: dict) -> None:
            if bar.n == 0:  # a resumed run: what an earlier session did says nothing about speed
                bar.initial = bar.n = row["iter"] - 1
            bar.update(row["iter"] - bar.n)
            bar.set_postfix(epoch=row["epoch"], loss=row["loss_decode"], refresh=False)

        yield advance


def _explain_memory(error: Exception, recipe: Recipe) -> None:
    """Raise `error`, or what to do about it where it says that memory is short."""
    if lost := re.search(r"DataLoader worker \(pid.*", str(error)):
        raise MemoryError(
            f"Out of memory? A {lost[0].rstrip('.')}: lower workers (now {recipe.workers}), or close other "
            "programs; the same command goes on."
        ) from error
    if out_of_memory(error):
        raise MemoryError(
            f"Out of memory with {recipe.photos_per_step} photos of {recipe.crop} at a time: "
            f'raise accumulate (now {recipe.accumulate}) or set memory="lean".'
        ) from error
    raise error
