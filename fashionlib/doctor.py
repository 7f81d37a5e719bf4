"""What is installed here, held against the pins, and what to do about each thing that is wrong.

``make doctor`` or ``python -m fashionlib.doctor``. Needs nothing but Python itself, so that it can also
speak where the installation failed: everything else is looked at from outside or imported late.
"""

import ctypes
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from fashionlib.core import paths

TESTED_PYTHON = (3, 11)
DISK_GB = 5  # the sample's photos, label maps and runs, with room to breathe
MEMORY_GB = 4  # the sample's four models at scale=mini
APT = "apt-get install -y"
INSTALL = "make setup"


class Check(NamedTuple):
    """One line of the report."""

    name: str
    found: str
    advice: str = ""  # what to do; empty when all is well
    bad: bool = False  # False with advice: worth knowing, no obstacle


def checks() -> Iterator[Check]:
    """Everything that is looked at, in the order in which it is printed."""
    yield _python()
    yield from map(_tool, ("make", "git"))
    yield _library("libGL.so.1", "libgl1")
    yield _library("libglib-2.0.so.0", "libglib2.0-0")
    if sys.version_info < TESTED_PYTHON:
        return  # nothing below is installable, and pyproject.toml can't be read
    yield from packages()
    yield _kernel()
    yield _home()
    yield _machine()
    yield _accelerator()


def packages(
    project: Path = paths.PROJECT, version_of: Callable[[str], str] = importlib.metadata.version
) -> Iterator[Check]:
    """A `Check` for each direct dependency of `project`/pyproject.toml against constraints.txt.

    `version_of(name)` gives the installed version or raises `importlib.metadata.PackageNotFoundError`.
    Build tags are ignored: a torch 2.13.0+cpu or +cu128 is the 2.13.0 that is pinned.
    """
    pinned = pins(project / "constraints.txt")
    for name in direct_dependencies(project / "pyproject.toml"):
        wanted = pinned.get(name, "any version")
        try:
            found = version_of(name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "missing", f"{INSTALL} installs {wanted}", bad=True)
            continue
        differs = name in pinned and found.split("+")[0] != wanted
        yield Check(name, found, f"{INSTALL} installs {wanted}, the pin" if differs else "", bad=differs)


def pins(constraints: Path) -> dict[str, str]:
    """Normalised package name -> version, from the ``name==version`` lines of a constraints file."""
    lines = (line.split("#")[0].strip() for line in constraints.read_text().splitlines())
    return {normal(name): version for name, version in (line.split("==") for line in lines if line)}


def direct_dependencies(pyproject: Path) -> list[str]:
    """Normalised names of the project's own requirements and of its ``test`` extra, in the file's order.

    Those for other machines are left out: ``packaging``, which knows all markers, may be missing here.
    """
    import tomllib  # not in Python 3.10, which is to be told so in a sentence

    project = tomllib.loads(pyproject.read_text())["project"]
    requirements = project["dependencies"] + project["optional-dependencies"]["test"]
    return [normal(re.match(r"[\w.-]+", text)[0]) for text in requirements if _is_for_here(text)]


def _is_for_here(requirement: str) -> bool:
    """Whether the two things that our own markers ask for (after ``;``) are so on this machine."""
    _, _, marker = requirement.partition(";")
    here = {"sys_platform": sys.platform, "platform_machine": platform.machine()}
    return not marker or bool(eval(marker.strip(), {"__builtins__": {}}, here))  # ours, from pyproject.toml


def normal(name: str) -> str:
    """A package name as package indexes compare it: lower case, runs of ``-_.`` as one ``-``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _python() -> Check:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < TESTED_PYTHON:
        return Check("Python", found, "3.11 is needed: make setup PYTHON=/path/to/python3.11", bad=True)
    newer = sys.version_info[:2] != TESTED_PYTHON
    return Check("Python", found, "the pins were made for 3.11; other versions are untested" if newer else "")


def _tool(name: str) -> Check:
    found = shutil.which(name)
    return Check(name, found or "missing", "" if found else f"{APT} {name}", bad=not found)


def _library(file: str, package: str) -> Check:
    """A system library that OpenCV loads; slim images lack it. Only Linux has it under this name."""
    if sys.platform != "linux":
        return Check(file, f"not looked for on {sys.platform}")
    try:
        ctypes.CDLL(file)
    except OSError:
        return Check(file, "missing", f"OpenCV needs it: {APT} {package}", bad=True)
    return Check(file, "found")


def _kernel() -> Check:
    spec = Path(sys.prefix) / "share/jupyter/kernels/python3/kernel.json"
    if not spec.is_file():
        return Check("Jupyter kernel", "missing", "python -m ipykernel install --sys-prefix", bad=True)
    return Check("Jupyter kernel", str(spec.parent))


def _home() -> Check:
    home = paths.home()
    if not home.is_dir() or not os.access(home, os.W_OK):
        return Check("home", f"{home} can't be written", "set FASHION_HOME to a folder of yours", bad=True)
    free = shutil.disk_usage(home).free / 1e9
    low = free < DISK_GB
    advice = f"the sample needs {DISK_GB} GB: free some or set FASHION_HOME to another disk" if low else ""
    return Check("home", f"{home}, {free:.0f} GB free", advice, bad=low)


def _machine() -> Check:
    try:
        cores = len(os.sched_getaffinity(0))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError):  # not Linux
        return Check("machine", f"{os.cpu_count()} cores")
    advice = f"the sample wants {MEMORY_GB} GB: close other programs" if memory < MEMORY_GB else ""
    return Check("machine", f"{cores} cores, {memory:.0f} GB memory", advice)


def _accelerator() -> Check:
    """GPU and bf16. A broken torch must not hide the rest of the report, whatever it raises."""
    try:
        import torch

        if torch.cuda.is_available():
            names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
            return Check("GPU", f"{names}; bf16 {'yes' if torch.cuda.is_bf16_supported() else 'no'}")
    except Exception as error:  # noqa: BLE001
        return Check("GPU", f"torch does not start: {error}", INSTALL, bad=True)
    cpuinfo = Path("/proc/cpuinfo")
    bf16 = cpuinfo.is_file() and re.search(r"\b(avx512_bf16|amx_bf16)\b", cpuinfo.read_text())
    slow = "" if bf16 else "training in bf16 would be slow on this CPU: keep fp32"
    return Check("GPU", f"none, training runs on the CPU; bf16 {'yes' if bf16 else 'no'}", slow)


def main() -> int:
    """Print the report. Returns 1 if something is wrong, else 0."""
    found = list(checks())
    width = max(len(check.name) for check in found)
    for name, value, advice, bad in found:
        mark = "BAD " if bad else "note" if advice else "ok  "
        print(f"{mark} {name:<{width}}  {value}" + (f"\n     {'':<{width}}  -> {advice}" if advice else ""))
    wrong = [check.name for check in found if check.bad]
    print(f"\n{len(wrong)} to put right: {', '.join(wrong)}." if wrong else "\nAll is well.")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
