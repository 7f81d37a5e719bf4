"""Deaths at exact places: a fork that kills itself before its n-th change to the disk, or inside a write."""

import itertools
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

# what Python reports of itself (sys.addaudithook), whoever asks: pathlib, shutil, Pillow, pandas, …
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")


def call_before_changes(folder: Path, act: Callable[[], object]) -> None:
    """Call `act` before each change to something below `folder`, as long as this process lives."""

    def hook(event: str, arguments: tuple) -> None:
        opened = event == "open" and arguments[2] is not None and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (opened or event in _CHANGES) and str(folder) in str(arguments[0]):
            act()

    sys.addaudithook(hook)


def before_change(n: int, folder: Path, work: Callable[[], object]) -> bool:
    """Whether a child that did `work` died before its `n`-th change (from 0) to something below `folder`."""
    done = itertools.count()

    def die() -> None:
        if next(done) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    return _died(lambda: (call_before_changes(folder, die), work()), signal.SIGKILL)


def inside_write(size: int, work: Callable[[], object]) -> bool:
    """Whether a child that did `work` died while it wrote what lies beyond `size` bytes of a file."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and would get an error instead
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        work()

    return _died(limited, signal.SIGXFSZ)


def _died(work: Callable[[], object], how: signal.Signals) -> bool:
    """Whether `work`, in a fork of this process, ended by the signal `how`; AssertionError if it failed."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == how, f"ended by signal {os.WTERMSIG(status)}"
        return True
    assert os.WEXITSTATUS(status) == 0, "the work itself failed, see above"
    return False
