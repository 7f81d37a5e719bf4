"""Several photos at once, in threads and in processes."""

import threading

from soak import WATCHDOG

from fashionlib.cutout import batch


def test_steps_of_neighbours_overlap_and_stay_in_order():
    """One photo is written, the next one cut and the one after it read, none before all three are begun."""
    three = threading.Barrier(3, timeout=WATCHDOG)

    def step(first, last):
        def work(item):
            number, done = item
            if first <= number <= last:
                three.wait()
            return number, done + 1

        return work

    items = [(number, 0) for number in range(8)]
    done = batch.in_threads(items, step(2, 7), step(1, 6), step(0, 5))
    assert list(done) == [(number, 3) for number in range(8)]


def test_few_photos_are_in_memory_at_once():
    alive, most = set(), []

    def read(item):
        alive.add(item)
        most.append(len(alive))
        return item

    def write(item):
        alive.remove(item)
        return item

    assert list(batch.in_threads(range(20), read, lambda item: item, write)) == list(range(20))
    assert max(most) <= 5


def test_a_task_that_kills_its_process_is_lost_alone():
    tasks = ["1", "2", "__import__('os')._exit(1)", "3", "4", "5"]
    rows = batch.in_processes(tasks, eval, 2, None, (), lambda task: f"lost {task}")
    assert sorted(map(str, rows)) == ["1", "2", "3", "4", "5", f"lost {tasks[2]}"]
