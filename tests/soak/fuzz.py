"""Fuzzing of what reads files that we did not make, guided by coverage (`tests.fuzz`)."""

import subprocess
import sys
from collections.abc import Iterator

from tests.fuzz import TARGETS

from . import Line


def run_section(small: bool) -> Iterator[Line]:
    """A line for each target."""
    seconds = 5 if small else 300
    for target in TARGETS:
        command = [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True)
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        note = "" if done.returncode == 0 else " / ".join(said[-5:])
        tried = f"{seconds} s: {said[-1] if said and not note else 'failed'}"
        yield Line(f"no input of the {target} does more than raise its own error", tried, not note, note)
