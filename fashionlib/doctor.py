"""Report on what is installed here, against the pins, with what to do about each thing that is wrong.

``make doctor`` or ``python -m fashionlib.doctor``. Needs only Python itself, so it also answers where the
installation failed.
"""

import ctypes
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from fashionlib.core import paths

TESTED_PYTHON = (3, 11)
DISK_GB = 5  # the sample's photos, label maps and runs, with room to breathe
MEMORY_GB = 4  # the sample's four models at scale=mini
APT = "apt-get install -y"
INSTALL = "make setup"
EXTRAS = ("train", "notebooks", "matting", "onnx", "test")  # what `make setup` installs in a checkout
KERNEL = "share/jupyter/kernels/python3/kernel.json"
OPENCV_NEEDS = {"libGL.so.1": "libgl1", "libglib-2.0.so.0": "libglib2.0-0"}  # file -> Debian package


class Check(NamedTuple):
    """One line of the report."""

    name: str
    found: str
    advice: str = ""  # what to do; empty when all is well
    bad: bool = False  # False with advice: worth knowing, no obstacle


def checks() -> Iterator[Check]:
    """All checks, in the order in which they are printed."""
    yield _python()
    yield from (_present(tool, shutil.which(tool), f"{APT} {tool}") for tool in ("make", "git"))
    if sys.platform == "linux":  # elsewhere these libraries have other names
        yield from map(_library, OPENCV_NEEDS)
    if sys.version_info < TESTED_PYTHON:
        return  # nothing below is installable
    yield from packages()
    kernel = Path(sys.prefix, KERNEL)
    if paths.CHECKOUT:
        yield _present(
            "Jupyter kernel", kernel.is_file() and kernel, "python -m ipykernel install --sys-prefix"
        )
    yield _home()
    yield _machine()
    yield _accelerator()


def packages() -> Iterator[Check]:
    """A `Check` for each direct dependency, tests' included: against its pin, else against its range.

    Build tags are ignored: a torch 2.13.0+cpu or +cu128 is the 2.13.0 that is pinned.
    """
    try:
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        needed = map(Requirement, metadata.requires("fashionlib"))
    except ImportError:  # importlib.metadata's PackageNotFoundError too
        yield _present("packages", None, f"{INSTALL} installs them")
        return
    pins = {canonicalize_name(pin.name): pin.specifier for pin in map(Requirement, pinned())}
    extras = ("", *EXTRAS) if paths.CHECKOUT else ("",)
    for requirement in needed:
        if requirement.marker and not any(requirement.marker.evaluate({"extra": one}) for one in extras):
            continue
        name = canonicalize_name(requirement.name)
        if name == "fashionlib":  # an extra that contains others
            continue
        wanted = pins.get(name, requirement.specifier)
        try:
            found = metadata.version(name)
            fits = wanted.contains(found, prereleases=True)
        except metadata.PackageNotFoundError:
            found, fits = "missing", False
        yield Check(name, found, "" if fits else f"{INSTALL} installs {wanted}", bad=not fits)


def pinned() -> list[str]:
    """The ``name==version`` lines of constraints.txt; none outside a checkout."""
    file = paths.PROJECT / "constraints.txt"
    lines = file.read_text().splitlines() if file.is_file() else []
    return [line for line in lines if line and not line.startswith("#")]


def _python() -> Check:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < TESTED_PYTHON:
        return Check("Python", found, "3.11 is needed: make setup PYTHON=/path/to/python3.11", bad=True)
    newer = sys.version_info[:2] != TESTED_PYTHON
    return Check("Python", found, "the pins were made for 3.11; other versions are untested" if newer else "")


def _present(name: str, found, advice: str) -> Check:
    return Check(name, str(found or "missing"), "" if found else advice, bad=not found)


def _library(file: str) -> Check:
    """A system library that OpenCV loads; slim images lack it."""
    try:
        found = ctypes.CDLL(file) and "found"
    except OSError:
        found = None
    return _present(file, found, f"OpenCV needs it: {APT} {OPENCV_NEEDS[file]}")


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
    if not paths.CHECKOUT and not find_spec("torch"):
        return Check("GPU", "not looked for: cut-outs by the shipped model need no torch")
    try:
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        bf16 = torch.cuda.is_bf16_supported() if names else torch.cpu._is_avx512_bf16_supported()
    except Exception as error:  # noqa: BLE001
        return Check("GPU", f"torch does not start: {error}", INSTALL, bad=True)
    found = ", ".join(names) or "none, training runs on the CPU"
    slow = "" if bf16 or names else "training in bf16 would be slow on this CPU: keep fp32"
    return Check("GPU", f"{found}; bf16 {'yes' if bf16 else 'no'}", slow)


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
