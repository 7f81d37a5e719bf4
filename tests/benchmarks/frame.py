"""A line of results/benchmarks.md, and how two ways of doing the same thing are timed against each other."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from fashionlib.core.paths import PROJECT

CCP = PROJECT.parent / "shared" / "data" / "clothing-co-parsing"  # Clothing Co-Parsing, where it is
Side = tuple[str, Callable[[], object]]  # words, and what is timed


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
    def cells(self) -> tuple[str, ...]:
        spread = "" if self.low is None else f" ({self.low:.2f}–{self.high:.2f})"
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return self.what, self.alternative, self.ours, f"{self.ratio:.2f}{spread}", self.target, met

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if not self.target:
            return None
        sign, bar = self.target.split()
        return self.ratio >= float(bar) if sign == ">=" else self.ratio <= float(bar)

    @property
    def remark(self) -> str:
        """What stands below the table."""
        return f"- {self.what}: {self.note}" if self.note else ""


def race(
    alternative: Callable, ours: Callable, rounds: int = 5, warmup: int = 1, pause: float = 0
) -> tuple[float, float, list[float]]:
    """Median seconds of each of two callables, run in turns so that both see the same machine.

    `pause` seconds pass before each turn: threads of another OpenMP or of another process spin on for a while
    after their work, on the cores of whoever is next.

    Returns:
        seconds of `alternative`, seconds of `ours`, and alternative / ours of every round.
    """
    for _ in range(warmup):
        alternative(), ours()
    slow, fast = [], []
    for _ in range(rounds):
        for work, seconds in ((alternative, slow), (ours, fast)):
            gc.collect()
            time.sleep(pause)
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return statistics.median(slow), statistics.median(fast), ratios


def faster(what: str, alternative: Side, ours: Side, target: str = "", note: str = "", **options) -> Line:
    """A line on speed; a call of either side does `per` items, and `options` are those of `race`."""
    per = options.pop("per", 1)
    slow, fast, ratios = race(alternative[1], ours[1], **options)
    words = f"{alternative[0]}: {seconds(slow / per)}", f"{ours[0]}: {seconds(fast / per)}"
    return Line(what, *words, slow / fast, min(ratios), max(ratios), target, note)


def leaner(what: str, alternative: tuple[str, float], ours: tuple[str, float], target: str = "") -> Line:
    """A line on memory; each side is (words, bytes)."""
    words = (f"{name}: {size / 2**20:,.0f} MB" for name, size in (alternative, ours))
    return Line(what, *words, ours[1] / alternative[1], target=target)


def seconds(value: float) -> str:
    """Seconds with a unit that leaves three digits."""
    factor, unit = next(
        ((f, unit) for f, unit in ((1, "s"), (1e3, "ms")) if value * f >= 0.9995), (1e6, "µs")
    )
    return f"{value * factor:.3g} {unit}"
