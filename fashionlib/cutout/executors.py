"""Work on one machine: steps that overlap in threads, or whole photos in processes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from fashionlib.core.processes import executor


def in_threads(items: Iterable, read: Callable, cut: Callable, write: Callable) -> Iterator:
    """``write(cut(read(item)))`` for each item, in order: the steps of neighbours run at the same time.

    While the caller's thread has `cut` (the model), the next photo is decoded and the last one encoded;
    Pillow and OpenCV release the interpreter for that. So at most four photos are in memory.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        yield from _ahead(writer, write, map(cut, _ahead(reader, read, items)))


def _ahead(pool: Executor, work: Callable, items: Iterable) -> Iterator:
    """``work(item)`` for each item, in order, where `pool` is one item ahead of who asks."""
    waiting = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
    except KeyboardInterrupt:  # what is made already is still handed over, to be remembered
        yield from (future.result() for future in waiting)
        raise
    yield from (future.result() for future in waiting)


def in_processes(
    tasks: Iterable, work: Callable, workers: int, start: Callable, arguments: tuple, lost: Callable
) -> Iterator:
    """``work(task)`` for each task as they come, in `workers` processes that ``start(*arguments)`` prepares.

    While one process decodes or encodes, another has the model's arithmetic. Where a process dies (of too
    little memory, by a fault in a decoder), the tasks that it may have died of are tried alone, each in a
    process of its own; one that kills this one too becomes ``lost(task)``, and the others go on.
    """
    tasks, running = deque(tasks), {}
    while tasks:
        try:
            with executor(workers, start, arguments) as pool:
                while tasks or running:
                    while tasks and len(running) <= workers:  # one more than work at once, so that none waits
                        future = pool.submit(work, tasks[0])
                        running[future] = tasks.popleft()  # not before it is accepted: a dead pool refuses
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        yield future.result()
                        del running[future]
            return
        except BrokenProcessPool:
            suspects, running = list(running.values()), {}
        if len(suspects) == 1 and workers == 1:
            yield lost(suspects[0])
        else:
            for task in suspects:
                yield from in_processes([task], work, 1, start, arguments, lost)
