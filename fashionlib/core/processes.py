"""Pools of worker processes that exit with their parent, and detection of out-of-memory errors."""

import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tqdm import tqdm

from fashionlib.core.files import DiskError, disk_error

_SEMAPHORES = "/dev/shm (semaphores of worker processes)"
_CHUNK = 8  # items sent to a process at once
_PATIENCE = 5  # seconds before workers are terminated; safe, because they write files atomically
_SIGNS = ("can't allocate memory", "Cannot allocate memory", "std::bad_alloc", "out of memory")


class WorkerLost(RuntimeError):
    """A worker process died; the message names the remedy."""


@contextmanager
def executor(
    workers: int | None, start: Callable | None = None, arguments=()
) -> Iterator[ProcessPoolExecutor]:
    """Pool of processes, each initialised by ``start(*arguments)``, that end when the block is left.

    They are spawned: forking a process in which OpenCV or torch runs threads (a notebook) can hang. They exit
    if the parent is killed. They ignore Ctrl-C, which a terminal sends to all processes: the parent handles
    it. An error or a notebook's stop button ends the pool without finishing its queue.
    """
    others = set(multiprocessing.active_children())
    pool = _pool(workers, start, arguments)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        _end(set(multiprocessing.active_children()) - others)
        raise
    pool.shutdown()


@contextmanager
def pool(workers: int | None) -> Iterator[ProcessPoolExecutor]:
    """`executor` that raises WorkerLost if one of its processes dies."""
    try:
        with executor(workers) as processes:
            yield processes
    except BrokenProcessPool:
        raise WorkerLost(
            "A worker process ended without a word, most likely killed for want of memory: "
            "take fewer workers. The same command goes on."
        ) from None


def in_parallel(
    work: Callable,
    items: Sequence,
    workers: int | None = None,
    progress: bool = True,
    what: str = "",
    unit: str = "photo",
    threads: bool = False,
) -> Iterator:
    """``work(item)`` for each item, in order, with a progress bar.

    Runs on `workers` processes (None: one per core, but no more than there is work for), or on as many
    threads if `threads`, for work that releases the GIL; with 1, in this process.
    """
    workers = count(workers) if workers else min(count(None), -(-len(items) // _CHUNK) or 1)
    interval = 0.5 if sys.stderr.isatty() else 2  # seconds; notebooks and log files get few lines
    bar = partial(tqdm, total=len(items), desc=what, unit=unit, mininterval=interval, disable=not progress)
    if workers == 1:
        yield from bar(map(work, items))
    elif threads:
        with ThreadPoolExecutor(workers) as executor_:
            yield from bar(executor_.map(work, items))
    else:
        with pool(workers) as executor_:
            yield from bar(executor_.map(work, items, chunksize=_CHUNK))


def cores(root: Path = Path("/")) -> int:
    """Number of CPU cores that this process may use: by OMP_NUM_THREADS, its affinity and its cgroup's quota.

    A container may see all cores of a machine and be granted the time of two. Tests choose `root`.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    own = int(asked) if asked.isdecimal() and int(asked) else own
    return max(1, min([own, *_quotas(root)]))


def _quotas(root: Path) -> Iterator[int]:
    """Cores' worth of time, rounded up, that this process's cgroups (version 1, 2) and those above grant."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        names = ["cpu.cfs_quota_us", "cpu.cfs_period_us"] if controllers else ["cpu.max"]
        below = mount / path.lstrip("/")
        for folder in [below, *below.parents]:
            with suppress(OSError, ValueError):  # no limit: no such file, "max", or a quota of -1
                quota, period = map(int, " ".join((folder / name).read_text() for name in names).split())
                if quota > 0 < period:
                    yield -(-quota // period)
            if folder == mount:
                break


def count(workers: int | None) -> int:
    """Number of processes for `workers`; None means one per core. Raises ValueError if less than 1."""
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} must be a number of processes, or None for one a core.")
    return workers or os.cpu_count() or 1


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` means out of memory; numpy, torch and the kernel each report it differently."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | OSError) and any(sign in str(error) for sign in _SIGNS)


def _pool(workers: int | None, start: Callable | None, arguments: tuple) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")
    try:
        return ProcessPoolExecutor(workers, spawn, _begin, (start, arguments))
    except OSError as error:
        if not error.errno:  # a partly written semaphore: the system gives no errno
            raise DiskError(errno.EFBIG, _SEMAPHORES) from None
        raise disk_error(error, _SEMAPHORES) or error from None


def _end(workers: Iterable[multiprocessing.Process]) -> None:
    """Give the workers _PATIENCE seconds to finish their current item, then terminate them.

    If Ctrl-C arrives while the pool starts a worker, the pool may fail to tell all workers to exit and then
    deadlock with them (seen once in about 60 kills).
    """
    deadline = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.join(max(0, deadline - time.monotonic()))
        worker.terminate()


def _begin(start: Callable | None, arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(multiprocessing.parent_process(),), daemon=True).start()
    if start:
        start(*arguments)


def _follow(parent) -> None:
    """Exit when the parent dies; otherwise the worker blocks on its own end of the queue."""
    parent.join()
    os._exit(1)
