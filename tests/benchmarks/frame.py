"""A line of results/benchmarks.md, and how two ways of doing the same thing are timed against each other."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One comparison. `ratio` is what `target` speaks of; both are in the same sense.

    Args:
        what: the work, with its size ("training step, ViT-T, 512 x 512, batch 1").
        alternative, ours: what was run, in words, with the measured value and unit as a string.
        ratio: times as fast (alternative / ours), or, for memory, the share (ours / alternative).
        low, high: the least and greatest ratio of any single round.
        target: ">= 3", "<= 0.25"; empty where the issue sets none.
        note: what was tried and where the time goes, if the target is missed.
    """

    what: str
    alternative: str
    ours: str
    ratio: float
    low: float | None = None
    high: float | None = None
    target: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if not self.target:
            return None
        sign, bar = self.target.split()
        return self.ratio >= float(bar) if sign == ">=" else self.ratio <= float(bar)


def race(
    alternative: Callable[[], object], ours: Callable[[], object], rounds: int = 5, warmup: int = 1
) -> tuple[float, float, list[float]]:
    """Median seconds of each of two callables, run in turns so that both see the same machine.

    Returns:
        seconds of `alternative`, seconds of `ours`, and alternative / ours of every round.
    """
    for _ in range(warmup):
        alternative(), ours()
    slow, fast = [], []
    for _ in range(rounds):
        for work, seconds in ((alternative, slow), (ours, fast)):
            gc.collect()
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return statistics.median(slow), statistics.median(fast), ratios


def faster(
    what: str, alternative: tuple[str, Callable], ours: tuple[str, Callable], target: str = "",
    note: str = "", per: int = 1, rounds: int = 5, warmup: int = 1,
) -> Line:  # fmt: skip
    """A line on speed from `race`; each side is (words, callable), a call doing `per` items."""
    slow, fast, ratios = race(alternative[1], ours[1], rounds, warmup)
    return Line(
        what, f"{alternative[0]}: {seconds(slow / per)}", f"{ours[0]}: {seconds(fast / per)}",
        slow / fast, min(ratios), max(ratios), target, note,
    )  # fmt: skip


def leaner(
    what: str, alternative: tuple[str, float], ours: tuple[str, float], target: str = "", note: str = ""
) -> Line:
    """A line on memory; each side is (words, bytes)."""
    (name, stock), (mine, lean) = alternative, ours
    ratio = lean / stock
    return Line(what, f"{name}: {mib(stock)}", f"{mine}: {mib(lean)}", ratio, target=target, note=note)


def seconds(value: float) -> str:
    """Seconds with a unit that leaves three digits."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 0.9995 or unit == "µs":
            return f"{value * factor:.3g} {unit}"
    raise AssertionError


def mib(value: float) -> str:
    """Bytes as MB (2^20)."""
    return f"{value / 2**20:,.0f} MB"
