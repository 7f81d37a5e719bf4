"""Seconds a photo on a given number of cores: in a process that may use no others."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import psutil
import torch

from fashionlib.core.processes import executor
from fashionlib.cutout import photos
from fashionlib.train.run_folder import device_name
from tools.cutout_model.score.measure import with_interval

CORES = (1, 2)

_method = None  # of the measuring process


def columns(method, paths: Sequence[Path]) -> dict:
    """Seconds a photo with their intervals as columns, for each of CORES that this machine has.

    Beside them: how many photos, the processor's or GPU's name, and the share of this machine's cores that
    others use now.
    """
    device, busy = device_name().split(",")[0], psutil.cpu_percent(interval=1) / 100
    found = {"timed": len(paths), "device": device, "busy": busy}
    for cores in CORES:
        if cores <= len(cores_here()):
            whole, inference = zip(*seconds(method, paths, cores), strict=True)
            found |= with_interval(f"cutout_seconds_{cores}", whole)
            found |= with_interval(f"inference_seconds_{cores}", inference)
    return found


def cores_here() -> list[int]:
    """The numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def seconds(method, paths: Sequence[Path], cores: int) -> Iterator[tuple[float, float]]:
    """(whole way, inference alone) in wall seconds for each photo of `paths`, one after the other.

    The whole way is what a cut-out costs once the model is loaded: decode, infer, edge, encode and write.
    The first photo is cut once more before, untimed.
    """
    unloaded = replace(method)  # a loaded model is not sent to another process
    with executor(1, _start, (unloaded, cores, paths[0])) as pool:
        for path in paths:
            yield pool.submit(_seconds, path).result()


def _start(method, cores: int, warm_up: Path) -> None:
    global _method
    os.sched_setaffinity(0, cores_here()[:cores])  # first: threads take it over from the one that starts them
    os.environ["NUMBA_NUM_THREADS"] = str(cores)  # read when pymatting is first imported
    torch.set_num_threads(cores)
    cv2.setNumThreads(cores)
    _method = method
    _seconds(warm_up)


def _seconds(path: Path) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as scratch:
        begun = time.perf_counter()
        _method.cut(path, Path(scratch) / "cut.png", "apparel")
        whole = time.perf_counter() - begun
    rgb = photos.read(path).rgb
    begun = time.perf_counter()
    _method.infer(rgb)
    return whole, time.perf_counter() - begun
