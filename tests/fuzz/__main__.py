"""Runs a target under atheris, guided by the lines of fashionlib that an input reaches.

Ends after a time or a number of executions; the last line printed tells their number. The exit code is not 0
if an input failed, and the input then lies in ``build/fuzz/``: mend the library and keep it in the corpus.
``--grow`` keeps what reaches new lines. With a time a process fuzzes for a minute at most, because atheris
itself grows by megabytes a second.
"""

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.soak import WATCHDOG

from . import CORPUS, TARGETS

CRASHES = Path("build/fuzz")
TURN = 60  # seconds
LIBFUZZER = {"timeout": WATCHDOG, "rss_limit_mb": 3000, "max_len": 2000}  # seconds an input, memory, bytes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=TARGETS)
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--seconds", type=int, default=15)
    limit.add_argument("--runs", type=int, help="executions, in the place of seconds")
    parser.add_argument("--grow", action="store_true", help="add to the corpus what reaches new lines")
    parser.add_argument("--turn", metavar="FOLDER", help=argparse.SUPPRESS)  # a minute of the whole
    asked = parser.parse_args()
    if asked.turn:
        fuzz(asked.target, asked.seconds, asked.runs, asked.turn)
    with tempfile.TemporaryDirectory() as scratch:
        if asked.runs:
            runs = turn(asked.target, scratch, "--runs", asked.runs)
        else:
            runs = watch(asked.target, asked.seconds, scratch)
        if asked.grow:
            from .grow import grow  # here: it imports fashionlib, which a turn has to do itself

            print(f"{grow(asked.target, Path(scratch))} inputs added to {CORPUS / asked.target}")
    print(f"{runs:,} executions of {asked.target}, none failed")


def watch(target: str, seconds: int, found: str) -> int:
    """Executions of turn after turn, for so many seconds."""
    end, runs = time.monotonic() + seconds, 0
    while (left := round(end - time.monotonic())) > 0:
        runs += turn(target, found, "--seconds", min(left, TURN))
    return runs


def turn(target: str, found: str, *limit: str | int) -> int:
    """Executions of a turn, none of which failed; else this process ends with what it said."""
    command = [sys.executable, "-m", "tests.fuzz", target, *map(str, limit), "--turn", found]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    told = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    if done.returncode or not told:
        said = re.sub(r"^(INFO|WARNING|#).*\n", "", done.stdout + done.stderr, flags=re.MULTILINE)
        sys.exit(f"{said}\nAn input of {target} failed: {CRASHES}/")
    return int(told[1])


def fuzz(target: str, seconds: int, runs: int | None, found: str) -> None:
    """A turn, which ends the process; what reaches new lines goes to the folder `found`."""
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed (it has wheels for Linux on x86-64): pip install atheris.")
    with atheris.instrument_imports(include=["fashionlib"]):  # none of it may be imported before
        one = importlib.import_module(f"tests.fuzz.{target}").one
    CRASHES.mkdir(parents=True, exist_ok=True)
    limit = {"runs": runs} if runs else {"max_total_time": seconds}
    options = LIBFUZZER | limit | {"artifact_prefix": f"{CRASHES}/{target}-"}
    arguments = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, found, str(CORPUS / target)], one)
    atheris.Fuzz()


main()
