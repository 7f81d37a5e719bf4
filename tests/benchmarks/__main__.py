"""`make bench`: every section in a process of its own, then results/benchmarks.md.

python -m tests.benchmarks                     all sections
python -m tests.benchmarks labels evaluation   these; the others keep what they last measured
"""

import importlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fashionlib.core.files import write_text
from fashionlib.core.paths import PROJECT
from tests.benchmarks.frame import Line

SECTIONS = ("attention", "memory", "labels", "loader", "evaluation", "inference")
PARTS = PROJECT / "build" / "benchmarks"
PAGE = PROJECT / "results" / "benchmarks.md"
_PACKAGES = ("torch", "onedl-mmsegmentation", "onedl-mmcv", "numpy", "opencv-python", "pillow", "onnxruntime")

_HEAD = """# Speed and memory

Made by `make bench`. Every ratio was measured against the alternative in the same run, in turns, after both
had been found to give the same answers; in brackets the least and greatest ratio of any round.
"""


def main(names: list[str]) -> int:
    """Measure the sections `names` (all without any) and write the page; 1 if one of them failed."""
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        sys.exit(f"No section {unknown[0]!r}; known: {', '.join(SECTIONS)}.")
    failed = [name for name in names or SECTIONS if _in_own_process(name)]
    write_text(PAGE, page())
    print(f"wrote {PAGE}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return bool(failed)


def _in_own_process(name: str) -> int:
    """Fresh memory for every section, and the machine's own allocator whatever the caller preloads."""
    env = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    return subprocess.run([sys.executable, "-m", "tests.benchmarks", "--section", name], env=env).returncode


def measure(name: str) -> None:
    """Run one section here and keep its lines in build/."""
    module = importlib.import_module(f"tests.benchmarks.{name}")
    lines = []
    for line in module.measure():
        print(f"{name}: {line.what}: {line.ratio:.2f} {line.target}", flush=True)
        lines.append(asdict(line))
    part = dict(
        title=module.TITLE, text=" ".join(module.__doc__.split()), lines=lines, machine=machine(),
        commit=_commit(), date=f"{datetime.now(UTC):%Y-%m-%d}",
    )  # fmt: skip
    PARTS.mkdir(parents=True, exist_ok=True)
    write_text(PARTS / f"{name}.json", json.dumps(part))


def page() -> str:
    """results/benchmarks.md of the sections measured so far."""
    files = [path for name in SECTIONS if (path := PARTS / f"{name}.json").is_file()]
    return "\n".join([_HEAD, *(_section(json.loads(path.read_text())) for path in files)])


def _section(part: dict) -> str:
    rows = [_row(Line(**line)) for line in part["lines"]]
    notes = [f"- {line['what']}: {line['note']}" for line in part["lines"] if line["note"]]
    table = ["| what | alternative | ours | ratio | target | met |", "|---|---|---|---:|---:|---|", *rows]
    made = f"{part['machine']} Measured {part['date']} at {part['commit']}."
    return "\n".join([f"## {part['title']}\n", f"{part['text']}\n", *table, "", *notes, "", made, ""])


def _row(line: Line) -> str:
    spread = "" if line.low is None else f" ({line.low:.2f}–{line.high:.2f})"
    met = {True: "yes", False: "**no**", None: ""}[line.met]
    cells = (line.what, line.alternative, line.ours, f"{line.ratio:.2f}{spread}", line.target, met)
    return "| " + " | ".join(cells) + " |"


def machine() -> str:
    """The machine and the versions, in a sentence."""
    cpu = next(
        (line.split(":")[1].strip() for line in _read("/proc/cpuinfo").splitlines() if "model name" in line),
        platform.processor(),
    )
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    python = platform.python_version()
    return f"{cpu}, {os.cpu_count()} cores, glibc's allocator unless said; Python {python}, {packages}."


def _read(path: str) -> str:
    return Path(path).read_text() if Path(path).is_file() else ""


def _commit() -> str:
    ask = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    return subprocess.run(ask, capture_output=True, text=True).stdout.strip() or "no commit"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--section"]:
        measure(sys.argv[2])
    else:
        sys.exit(main(sys.argv[1:]))
