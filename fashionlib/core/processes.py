"""Worker processes that end with the process that started them, and errors that mean too little memory."""

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
from contextlib import contextmanager
from functools import partial

from tqdm import tqdm

from fashionlib.core.files import DiskError, disk_error

_SEMAPHORES = "/dev/shm (semaphores of worker processes)"
_CHUNK = 8  # items that a process is given at once
_PATIENCE = 5  # seconds; a worker writes its files whole or not at all
_SIGNS = ("can't allocate memory", "Cannot allocate memory", "std::bad_alloc", "out of memory")


class WorkerLost(RuntimeError):
    """A worker process died; the sentence says what to do."""


@contextmanager
def executor(
    workers: int | None, start: Callable | None = None, arguments=()
) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that ``start(*arguments)`` prepares, and that are gone when the block is left.

    They are spawned: a fork of a process in which OpenCV or torch runs threads (a notebook) can hang. A
    killed parent takes them along, and Ctrl-C at a terminal, which reaches all, is left to the parent.
    An error or the stop button ends the pool without working through its queue first.
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
    """An `executor` for work that needs all of its processes: raises WorkerLost if one dies."""
    try:
        with executor(workers) as processes:
            yield processes
    except BrokenProcessPool:
        raise WorkerLost(
            "A worker process ended without a word, most likely killed for want of memory: "
            "take fewer workers. The same command goes on."
        ) from None


def in_parallel(
    work: Callable, items: Sequence, workers: int | None = None, progress: bool = True, what: str = "",
    unit: str = "photo", threads: bool = False,
) -> Iterator:  # fmt: skip
    """``work(item)`` for each item, in order, under a progress bar.

    On `workers` processes (None: one a core, but none without work), or threads, where the work lets go of
    Python's lock; 1 works in this process.
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


def count(workers: int | None) -> int:
    """How many processes `workers` means: None is one a core. Raises ValueError for less than 1."""
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} must be a number of processes, or None for one a core.")
    return workers or os.cpu_count() or 1


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory was short; numpy, torch and the kernel have words of their own."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | OSError) and any(sign in str(error) for sign in _SIGNS)


def _pool(workers: int | None, start: Callable | None, arguments: tuple) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")
    try:
        return ProcessPoolExecutor(workers, spawn, _begin, (start, arguments))
    except OSError as error:
        if not error.errno:  # a semaphore of which a part could be written: the system gives no reason
            raise DiskError(errno.EFBIG, _SEMAPHORES) from None
        raise disk_error(error, _SEMAPHORES) or error from None


def _end(workers: Iterable[multiprocessing.Process]) -> None:
    """Let them finish what they are at, for _PATIENCE seconds.

    A pool that Ctrl-C meets while it starts a worker can forget to tell them all that they may go, and then
    waits for them as they for it (seen once in some 60 kills).
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
    """Exit when the parent dies; else the worker would wait for work on its own end of the queue."""
    parent.join()
    os._exit(1)
