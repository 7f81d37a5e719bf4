"""MMEngine's Runner with an epoch loop that can start in the middle of an epoch.

MMEngine does the training. This module adds what it lacks: resuming at the sampler's position, epoch files
that hold only weights, a row of history per iteration, and the training state.
"""

import csv
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch
from mmengine.dist import all_reduce, broadcast, get_world_size, is_main_process
from mmengine.hooks import Hook, ParamSchedulerHook
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import LOOPS, OPTIM_WRAPPERS
from mmengine.runner import EpochBasedTrainLoop, Runner

from fashionlib import models
from fashionlib.core.files import explain_disk_errors, write_text
from fashionlib.core.run_files import HISTORY, read_history
from fashionlib.train import run_folder

_DECODE = "decode.loss_"  # the decode head's losses, in what a step returns


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """MMEngine's epoch loop, which can start at any `self._iter`, also inside an epoch."""

    def run(self) -> torch.nn.Module:
        """Train; the loader's processes end with it.

        Left to the garbage collector, which ends their queues first, each would be waited for five seconds.
        """
        try:
            return super().run()
        finally:
            if workers := self.dataloader._iterator:
                workers._shutdown_workers()

    def run_epoch(self) -> None:
        """Run the remaining iterations of the epoch."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        sampler = self.dataloader.sampler
        done = self._iter - self._epoch * len(self.dataloader)
        sampler.skip = done * sampler.batch_size
        for index, batch in enumerate(self._batches(resumed=done > 0), start=done):
            self.run_iter(index, batch)
        sampler.skip = 0
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def _batches(self, resumed: bool):
        """The loader's iterator; torch's generator makes only the draws of an uninterrupted run.

        A new iterator draws a seed for its workers: in every epoch, or once with persistent workers. A
        resumed run makes one iterator more than an uninterrupted run, which must not change dropout masks.
        """
        state = torch.get_rng_state()
        batches = iter(self.dataloader)
        if resumed or (self._epoch > 0 and self.dataloader.num_workers > 0):
            torch.set_rng_state(state)
        return batches


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(AmpOptimWrapper):
    """MMEngine's AmpOptimWrapper at the recipe's precision and on CPUs, where its own start-up refuses.

    bf16 has fp32's range. fp16 does not: its loss is scaled up, its gradients down again before clipping, and
    a step with overflowing gradients is skipped (Micikevicius et al., arXiv 1710.03740, section 3.2).
    """

    def __init__(self, precision: str = "auto", **kwargs) -> None:
        OptimWrapper.__init__(self, **kwargs)
        self.precision, self._scale_update_param = precision, None
        device = "cuda" if torch.cuda.is_available() else "cpu"
        scaled = models.resolve_precision(device, precision) == "fp16"
        self.loss_scaler = torch.amp.GradScaler(device, enabled=scaled)

    @contextmanager
    def optim_context(self, model):
        """MMEngine's context under autocast."""
        device = next(model.parameters()).device
        with OptimWrapper.optim_context(self, model), models.autocast(device, self.precision):
            yield


class StepSchedulerHook(ParamSchedulerHook):
    """Advance schedules per optimiser step: accumulated batches then use the large batch's learning rates."""

    def __init__(self, accumulate: int) -> None:
        self.accumulate = accumulate

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Advance after the last of the accumulated iterations."""
        if self.every_n_train_iters(runner, self.accumulate):
            super().after_train_iter(runner, batch_idx, data_batch, outputs)


class FashionRunner(Runner):
    """MMEngine's Runner with our training state, and with CPU processes in distributed runs."""

    state_folder: Path | None = None

    def wrap_model(self, model_wrapper_cfg, model):
        """DistributedDataParallel on CPUs too."""
        if self.distributed and not torch.cuda.is_available():  # MMEngine's wrapper assumes a GPU
            return MMDistributedDataParallel(module=model, broadcast_buffers=False)
        return super().wrap_model(model_wrapper_cfg, model)

    def load_or_resume(self) -> None:
        """Resume from ``last.pth``."""
        if self.state_folder is not None:
            run_folder.restore_state(self, self.state_folder)


class HistoryHook(Hook):
    """A row of ``history.csv`` per iteration; `on_iteration` gets the same row as a dict.

    `loss_decode` is the sum of the decode head's losses, weighted as they train it;
    `seconds` is the wall clock of the iteration, loading included; `memory_mb` the GPU's peak or,
    on a CPU, the resident memory of this process.
    """

    priority = "BELOW_NORMAL"  # before the scheduler steps: the row holds the rate that was used

    def __init__(self, path: Path, on_iteration: Callable[[dict], None] | None = None) -> None:
        self.path, self.on_iteration = path, on_iteration

    def before_train(self, runner) -> None:
        """Open the file, truncated to the iteration at which the run resumes."""
        if is_main_process():
            _keep_until(self.path, runner.iter)
            self.file = self.path.open("a", newline="")
            self.writer = csv.DictWriter(self.file, HISTORY, lineterminator="\n")
        if torch.cuda.is_available():  # of this run, not of one before it in the same process
            torch.cuda.reset_peak_memory_stats()
        self.clock = time.perf_counter()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Write the row."""
        outputs = _over_processes(outputs)
        if not is_main_process():
            return
        now = time.perf_counter()
        row = dict(
            epoch=runner.epoch + 1,
            iter=runner.iter + 1,
            loss=_short(outputs["loss"]),
            loss_decode=_short(sum(value for name, value in outputs.items() if name.startswith(_DECODE))),
            acc=_short(outputs["decode.acc_seg"]),
            lr=_short(_base_lr(runner.optim_wrapper)),
            seconds=round(now - self.clock, 4),
            memory_mb=round(memory_mb()),
        )
        self.clock = now
        with explain_disk_errors(self.path):
            self.writer.writerow(row)
            self.file.flush()
        if self.on_iteration:
            self.on_iteration(row)

    def close(self) -> None:
        """Close the file, also after an error."""
        if file := getattr(self, "file", None):
            with suppress(OSError):  # of a full disk: the failed write was reported already
                file.close()


class StateHook(Hook):
    """Save weights after every epoch; the training state then, every `every_seconds`, and at a stop.

    When `stop` (a callable) requests a stop, the run ends after an optimiser step, never inside one.
    """

    priority = "LOWEST"  # after the scheduler has stepped, and after the history line

    def __init__(
        self, folder: Path, info: dict, accumulate: int, stop: Callable[[], bool], every_seconds: float = 600
    ) -> None:
        self.folder, self.info, self.accumulate = folder, info, accumulate
        self.stop, self.every = stop, every_seconds

    def before_train(self, runner) -> None:
        """Start the clock."""
        self.saved, self.stopping = time.monotonic(), False

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Save at a stop or when time is up; at the end of an epoch `after_train_epoch` does that instead."""
        done = runner.iter + 1
        if done % self.accumulate:  # a state has no half-accumulated gradients
            return
        self.stopping = _agreed(self.stop())
        if done % len(runner.train_dataloader) == 0:
            return  # the epoch's end saves, and then stops
        if self.stopping or _agreed(time.monotonic() - self.saved > self.every):
            self.save(runner, runner.epoch, done)
        if self.stopping:
            raise KeyboardInterrupt

    def after_train_epoch(self, runner) -> None:
        """Save weights and state, and stop if requested, unless this was the last epoch."""
        if is_main_process():
            epoch = runner.epoch + 1
            path = self.folder / f"epoch_{epoch}.safetensors"
            models.save(run_folder.unwrapped(runner.model), path, self.info | dict(epoch=epoch))
        self.save(runner, runner.epoch + 1, runner.iter)
        if self.stopping and runner.epoch + 1 < runner.max_epochs:
            raise KeyboardInterrupt

    def save(self, runner, epoch: int, iteration: int) -> None:
        """Save the state: every process takes part (their generators differ), the first one writes."""
        run_folder.save_state(runner, self.folder, epoch, iteration)
        self.saved = time.monotonic()


def memory_mb() -> float:
    """Peak GPU memory allocated in MB or, without a GPU, this process's resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return psutil.Process().memory_info().rss / 2**20


def _over_processes(outputs: dict) -> dict:
    """The logged values of a step as means over the processes, each of which sees a part of the batch."""
    if get_world_size() == 1:
        return outputs
    names = [name for name in outputs if name in ("loss", "decode.acc_seg") or name.startswith(_DECODE)]
    values = torch.stack([outputs[name].detach().float().reshape(()) for name in names])
    all_reduce(values, op="mean")
    return dict(zip(names, values, strict=True))


def _agreed(mine: bool) -> bool:
    """The first process's decision, broadcast to all, so they save together."""
    if get_world_size() == 1:
        return mine
    flag = torch.tensor([int(mine)])
    broadcast(flag, src=0)
    return bool(flag)


def _base_lr(optim_wrapper) -> float:
    """The learning rate before the multipliers of heads and layers."""
    rates = optim_wrapper.get_lr()
    return rates.get("base_param_settings.lr", rates["lr"])[0]


def _short(value) -> float:
    """A number at six significant digits: enough for a plot, short enough to commit."""
    return float(f"{float(value.detach() if hasattr(value, 'detach') else value):.6g}")


def _keep_until(path: Path, iteration: int) -> None:
    """Truncate a history to its complete rows up to `iteration`: a resumed run repeats the others."""
    rows = []
    if path.is_file():
        read_history(path.parent)  # raises for other files
        lines = path.read_text().split("\n")[1:]
        rows = [line.split(",") for line in lines if line.count(",") == len(HISTORY) - 1]
    kept = [",".join(row) for row in rows if float(row[1]) <= iteration]
    write_text(path, "\n".join([",".join(HISTORY), *kept, ""]))
