"""What the browser is pointed at: Chromium, a finished home of its own, and JupyterLab on it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from soak import WATCHDOG

from fashionlib.core import paths

TOKEN = "of-this-test-alone"
OWN = ("CONFIG", "DATA", "RUNTIME")  # Jupyter's folders: the settings of whoever runs this change nothing
QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}  # no network, no pop-ups


def chromium() -> str:
    """The path of Debian's Chromium, installed first where it is missing; ends pytest where it can't be."""
    if not shutil.which("chromium") and shutil.which("apt-get") and os.geteuid() == 0:
        for words in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", "chromium"]):
            quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(["apt-get", *words], stdout=subprocess.DEVNULL, env=quiet)
    if found := shutil.which("chromium"):
        return found
    pytest.exit("No chromium: `apt-get install -y chromium` as root, then `make lab-test` again.", 1)


def copied_home(folder: Path) -> Path:
    """`folder` with the notebooks and a copy of this home's sample; ends pytest where it isn't finished."""
    if not (paths.runs_folder("sample") / "stamps/06_background_removal.json").is_file():
        pytest.exit(f"{paths.home()} holds no finished sample: `make reproduce`, then this again.", 1)
    left = shutil.ignore_patterns("cutouts")  # their report.csv names photos by the paths of that home
    for part in ("raw", "data", "runs"):
        shutil.copytree(paths.home() / part / "sample", folder / part / "sample", ignore=left)
    if (cache := paths.home() / "cache").is_dir():
        (folder / "cache").symlink_to(cache)
    shutil.copytree(paths.NOTEBOOKS, folder / "notebooks")
    return folder


@contextmanager
def jupyterlab(home: Path, own: Path) -> Iterator[str]:
    """JupyterLab's address while it serves the folder `home`; its own files are below `own`.

    It listens on a free port, and ends with all of its kernels.
    """
    settings = own / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(QUIET))
    folders = {f"JUPYTER_{name}_DIR": str(own / name) for name in OWN}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": str(own / "settings"), "IPYTHONDIR": str(own / "ipython")}
    folders |= {"JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces"), "FASHION_HOME": str(home)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    lab = [sys.executable, "-m", "jupyterlab", "--no-browser", "--port", "0", "--allow-root"]
    with open(own / "log", "w") as log:
        server = subprocess.Popen(
            [*lab, "--notebook-dir", home],
            env=os.environ | folders | {"JUPYTER_TOKEN": TOKEN, "PATH": path},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _address(server, own)
    finally:
        kernels = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
        server.terminate()
        server.wait(WATCHDOG)
        for left in psutil.wait_procs(kernels, 10)[1]:
            left.kill()


def _address(server: subprocess.Popen, own: Path) -> str:
    """The address that `server` writes down once it listens."""
    limit = time.monotonic() + WATCHDOG
    while server.poll() is None and time.monotonic() < limit:
        if written := list((own / "RUNTIME").glob("jpserver-*.json")):
            return json.loads(written[0].read_text())["url"]
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{(own / 'log').read_text()}")
