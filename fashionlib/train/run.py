"""Training from recipe to finished run folder, in one process or several."""

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
from mmengine.dist import is_main_process
from tqdm import tqdm

from fashionlib import models
from fashionlib.core import paths
from fashionlib.core.files import atomic_write, explain_disk_errors
from fashionlib.core.processes import out_of_memory
from fashionlib.data import prepared
from fashionlib.train import config, run_folder, runner
from fashionlib.train.recipe import Recipe

_PROCESS = ("-m", "fashionlib.train")  # what torchrun starts
_log = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    *,
    home: str | Path | None = None,
    progress: bool = True,
    overwrite: bool = False,
    on_iteration: Callable[[dict], None] | None = None,
) -> Path:
    """Train `recipe`, resume it, or do nothing if it is finished; returns the run folder.

    Args:
        home: the folder with raw/, data/ and runs/ (`fashionlib.core.paths`).
        overwrite: start again in a folder of another recipe, removing its files.
        on_iteration: called with every row of ``history.csv`` as a dict.

    Raises:
        FileNotFoundError: the data are not prepared; the message holds the command.
        RunRefused: the folder holds another recipe's run, or another process is training in it.
        MemoryError: out of memory, naming the settings that need less.
        KeyboardInterrupt: stopped; the same call resumes the run.
    """
    folder, info = _claimed(recipe, home, overwrite)
    with run_folder.locked(folder):
        if run_folder.is_finished(folder):
            _say_finished(recipe, progress)
            return folder
        try:
            with explain_disk_errors(folder):
                _iterate(recipe, folder, paths.data_folder(recipe.data, home), info, progress, on_iteration)
        except (RuntimeError, MemoryError, OSError) as error:
            _explain_memory(error, recipe)
        if is_main_process():
            run_folder.finish(folder, recipe)
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
            errors = sorted(Path(shared).glob("*.error"), key=lambda path: path.stat().st_mtime_ns)
            why = errors[0].read_text() if errors else "a process ended without a word; no memory?"
            raise RuntimeError(
                f"Training in {recipe.gpus} processes failed with exit code {code}: {why} The messages are"
                f" above, the state is in {folder}: the same call goes on."
            )
    return folder


def _say_finished(recipe: Recipe, progress: bool = True) -> None:
    if progress and is_main_process():
        tqdm.write(f"{recipe.name} is finished: nothing is left to train.")


def _claimed(recipe: Recipe, home, overwrite: bool) -> tuple[Path, dict]:
    """The run folder, claimed for this recipe, and the ``dataset.json`` of its data."""
    info = prepared.require(paths.data_folder(recipe.data, home))
    folder = paths.run_folder(recipe.data, recipe.name, home)
    folder.mkdir(parents=True, exist_ok=True)
    with run_folder.locked(folder):
        run_folder.claim(folder, recipe, info, overwrite)
    return folder, info


def _iterate(recipe: Recipe, folder: Path, data_root: Path, info: dict, progress: bool, on_iteration) -> None:
    weights = config.class_weights(recipe, data_root)
    torch.manual_seed(recipe.seed)
    model = _model(recipe, len(info["classes"]), weights)
    steps = config.steps(recipe, recipe.photos or info["counts"]["train"])
    with _bar(recipe, steps * recipe.accumulate, progress) as advance, _stop_asked() as stop:

        def each(row: dict) -> None:
            advance(row)
            if on_iteration:
                on_iteration(row)

        history = runner.HistoryHook(folder / "history.csv", each)
        about = checkpoint_info(recipe, info, model) | ({"class_weights": weights} if weights else {})
        keeper = runner.StateHook(folder, about, recipe.accumulate, stop)
        engine = _engine(
            recipe, model, folder, config.config(recipe, str(data_root), steps), [history, keeper]
        )
        try:
            engine.train()
        finally:
            history.close()


def _model(recipe: Recipe, num_classes: int, class_weights: list[float] | None) -> torch.nn.Module:
    sync_bn = recipe.gpus > 1 and torch.cuda.is_available()
    model = models.build(
        recipe.model,
        num_classes,
        init=recipe.init,
        **recipe.architecture,
        activation_checkpointing=recipe.activation_checkpointing,
        sync_bn=sync_bn,
        trust_checkpoint=bool(recipe.trust_checkpoint),
        loss=recipe.loss,
        class_weights=class_weights,
    )
    batch_norm = torch.nn.modules.batchnorm._BatchNorm
    batch_norms = [m for m in model.modules() if isinstance(m, batch_norm) and m.training]
    if recipe.gpus > 1 and not sync_bn and batch_norms and is_main_process():
        _log.warning(
            "%s: each of the %d CPU processes normalises its own part of a batch (BatchNorm instead of SyncBN"
            ", which needs GPUs).",
            *(recipe.name, recipe.gpus),
        )
    if recipe.freeze is not None:
        models.freeze(model, recipe.freeze)
    if recipe.compile:
        model.backbone.compile()  # in place: the state dict keeps its names
    return model


def _engine(recipe: Recipe, model, folder: Path, cfg, hooks: list) -> runner.FashionRunner:
    schedules = dict(type=runner.StepSchedulerHook, accumulate=recipe.accumulate)
    engine = runner.FashionRunner(
        model=model,
        work_dir=str(folder / "mmengine"),
        **cfg,
        cfg=cfg,
        default_hooks=dict(logger=None, checkpoint=None, param_scheduler=schedules),
        custom_hooks=hooks,
        randomness=dict(seed=recipe.seed),
        log_level="ERROR",
        default_scope="mmseg",
        launcher="pytorch" if recipe.gpus > 1 else "none",
    )
    engine.state_folder = folder
    if is_main_process():
        with atomic_write(folder / "config.py") as part:
            cfg.dump(part)
    return engine


def checkpoint_info(recipe: Recipe, info: dict, model) -> dict:
    """Metadata of a run's checkpoints: architecture, classes, preprocessing, recipe and origin."""
    metadata = models.metadata_for(recipe.model, info["classes"], **recipe.architecture)
    metadata["resize"] = list(recipe.test_resize)
    metadata["test_cfg"] = metadata["test_cfg"] | dict(mode=recipe.test_mode)
    report = model.init_report
    return metadata | dict(
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
    """A callable that returns whether SIGINT (a notebook's stop button) or SIGTERM has arrived."""
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
    lines = not sys.stderr.isatty()  # papermill and logs: a line now and then, not a flood
    with tqdm(
        total=iterations,
        desc=recipe.name,
        unit="it",
        disable=not progress or not is_main_process(),
        mininterval=15 if lines else 0.5,
        maxinterval=60 if lines else 5,
        delay=1,  # a first 0 % above a notebook's curves would stay there
    ) as bar:

        def advance(row: dict) -> None:
            if bar.n == 0:  # resumed: what an earlier session did says nothing about speed
                bar.initial = bar.n = row["iter"] - 1
            bar.update(row["iter"] - bar.n)
            bar.set_postfix(epoch=row["epoch"], loss=row["loss_decode"], refresh=False)

        yield advance


def _explain_memory(error: Exception, recipe: Recipe) -> None:
    """Raise `error`, or a MemoryError with a remedy where `error` means that memory is short."""
    if lost := re.search(r"DataLoader worker \(pid.*", str(error)):
        raise MemoryError(
            f"Out of memory? A {lost[0].rstrip('.')}: lower workers (now {recipe.workers}), or close other "
            "programs; the same command goes on."
        ) from error
    if out_of_memory(error):
        raise MemoryError(
            f"Out of memory with {recipe.photos_per_step} photos of {recipe.crop} at a time: "
            f"raise accumulate (now {recipe.accumulate}) or set activation_checkpointing=True."
        ) from error
    raise error
