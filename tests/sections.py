"""Pages of results whose sections are measured in processes of their own and kept until the next time."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fashionlib.core.files import write_text
from fashionlib.core.paths import PROJECT

_PACKAGES = ("torch", "onedl-mmsegmentation", "onedl-mmcv", "numpy", "opencv-python", "pillow", "onnxruntime")


@dataclass(frozen=True)
class Page:
    """A page below results/.

    Args:
        package: its modules are the sections; ``python -m <package> NAME --here`` runs one.
        head: what stands above all sections.
        titles: of the sections, by name.
        header: of each section's table.
        line: dataclass of a row, with its `cells` and a `remark` below the table, perhaps empty.
        did: "Measured", "Tried".
    """

    package: str
    head: str
    titles: dict[str, str]
    header: str
    line: type
    did: str

    def run(self, names: Iterable[str], *options: str) -> list[str]:
        """Run the sections `names` (all without any); returns those that failed.

        Each has fresh memory, and the machine's own allocator whatever the caller preloads.
        """
        environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
        begin = [sys.executable, "-m", self.package, "--here", *options]
        runs = {
            name: subprocess.run([*begin, name], cwd=PROJECT, env=environment)
            for name in names or self.titles
        }
        return [name for name, run in runs.items() if run.returncode]

    def keep(self, folder: Path, name: str, lines: Iterable, text: str = "") -> None:
        """Write what section `name` yields to `folder`, with `text` and where and when it was."""
        part = {"text": text, "lines": [], "machine": machine(), "commit": _commit()}  # a night is long
        for line in lines:
            print(f"{name}: {' | '.join(line.cells)}", flush=True)
            part["lines"].append(asdict(line))
        write_text(folder / f"{name}.json", json.dumps(part | {"date": f"{datetime.now(UTC):%Y-%m-%d}"}))

    def write(self, path: Path, folder: Path) -> list:
        """Write the page of the sections kept in `folder` to `path`; returns their lines.

        A section that is not there, as in a new checkout, stays as the page has it.
        """
        sections, found = [self.head], []
        before = re.split(r"^(?=## )", path.read_text() if path.is_file() else "", flags=re.M)
        for name, title in self.titles.items():
            if (file := folder / f"{name}.json").is_file():
                part = json.loads(file.read_text())
                lines = [self.line(**line) for line in part["lines"]]
                sections.append(self._section(title, part, lines))
                found += lines
            else:
                sections += [text.rstrip("\n") + "\n" for text in before if text.startswith(f"## {title}\n")]
        write_text(path, "\n".join(sections))
        return found

    def _section(self, title: str, part: dict, lines: list) -> str:
        rows = ["| " + " | ".join(line.cells) + " |" for line in lines]
        text = [part["text"], ""] if part["text"] else []
        remarks = [line.remark for line in lines if line.remark]
        below = ["", *remarks, ""] if remarks else [""]
        made = f"{part['machine']} {self.did} {part['date']} at {part['commit']}."
        return "\n".join([f"## {title}", "", *text, self.header, *rows, *below, made, ""])


def machine() -> str:
    """The machine and the versions, in a sentence."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    names = [line.split(":")[1].strip() for line in told.splitlines() if "model name" in line]
    cpu = names[0] if names else platform.processor()
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    python = platform.python_version()
    return f"{cpu}, {os.cpu_count()} cores, glibc's allocator unless said; Python {python}, {packages}."


def _commit() -> str:
    ask = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    return subprocess.run(ask, capture_output=True, text=True).stdout.strip() or "no commit"
