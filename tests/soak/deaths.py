"""Deaths at exact places: a fork that kills itself before its n-th change to the disk, or inside a write."""

import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

# what Python reports of itself (sys.addaudithook), whoever asks: pathlib, shutil, Pillow, pandas, …
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")


def before_change(n: int, folder: Path, work: Callable[[], object]) -> bool:
    """Whether a child that did `work` died before its `n`-th change (from 0) to something below `folder`."""
    left = [n]

    def hook(event: str, arguments: tuple) -> None:
        opened = event == "open" and arguments[2] is not None and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not (opened or event in _CHANGES) or str(folder) not in str(arguments[0]):
            return
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    return _died(lambda: (sys.addaudithook(hook), work()), signal.SIGKILL)


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
