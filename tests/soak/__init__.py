"""What is promised about kills, load and hostile files, tried for a night: `make soak`, results/soak.md.

`make test` tries the same at small size, through the same code. Each section has ``run_section(small)``,
which yields its `Line`s.
"""

from dataclasses import dataclass

# Seconds. Nothing waits for this time to pass and nothing is measured by it: it only ends a test that would
# otherwise hang for ever, so it is far beyond what the slowest machine needs.
WATCHDOG = 600


@dataclass(frozen=True)
class Line:
    """A line of results/soak.md: what was promised, how often it was tried, and whether it held."""

    promise: str
    tried: str  # "20 kills in 12 runs: 7 SIGKILL, …"
    held: bool | None  # None: it could not be tried, and the note says why
    note: str = ""

    remark = ""  # below the table

    @property
    def cells(self) -> tuple[str, ...]:
        kept = {True: "yes", False: "**no**", None: "not tried"}[self.held]
        cells = self.promise, self.tried, kept + (f" ({self.note[:300]})" if self.note else "")
        return tuple(cell.replace("|", "/").replace("\n", " ") for cell in cells)
