"""A process of a distributed run as torchrun starts it, without drop path; DEATH_OF is a rank that fails."""

import os
import runpy

from mmcv.cnn.bricks.drop import DropPath

from fashionlib.train import runner

DropPath.forward = lambda self, x: x
_log_line = runner.HistoryHook.after_train_iter


def after_train_iter(self, machine, *args, **kwargs) -> None:
    if machine.epoch == 1 and os.environ["RANK"] == os.environ.get("DEATH_OF"):
        raise OSError(f"the disk of rank {os.environ['RANK']} is gone")
    _log_line(self, machine, *args, **kwargs)


runner.HistoryHook.after_train_iter = after_train_iter
runpy.run_module("fashionlib.train", run_name="__main__")
