"""Locations of data, runs, results and figures.

There are two roots. The *project* (this repository: notebooks, committed results and figures) is located
from the package, not from the current folder. The *home* (raw/, data/ and runs/, all git-ignored) is the
project too, unless the environment variable ``FASHION_HOME`` or a `home` argument points elsewhere, for
instance to a cluster's disk. If the package is installed from a wheel, both are the current folder.
"""

import os
import re
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
ASSETS = _PACKAGE / "assets"
CHECKOUT = (_PACKAGE.parent / "pyproject.toml").is_file()  # False where it was installed from a wheel
PROJECT = _PACKAGE.parent if CHECKOUT else Path.cwd()
NOTEBOOKS = PROJECT / "notebooks"


def home(home: str | Path | None = None) -> Path:
    """The folder that holds raw/, data/ and runs/: `home`, else ``$FASHION_HOME``, else the project."""
    return Path(home or os.environ.get("FASHION_HOME") or PROJECT).expanduser().resolve()


def raw_folder(data: str, home_: str | Path | None = None) -> Path:
    """``raw/<data>``: the output of a converter, never changed afterwards."""
    return home(home_) / "raw" / _name(data)


def data_folder(data: str, home_: str | Path | None = None) -> Path:
    """``data/<data>``: photos, label maps and splits as MMSegmentation expects them."""
    return home(home_) / "data" / _name(data)


def runs_folder(data: str, home_: str | Path | None = None) -> Path:
    """``runs/<data>``: the run folders of a data set and files derived from them."""
    return home(home_) / "runs" / _name(data)


def run_folder(data: str, run: str, home_: str | Path | None = None) -> Path:
    """``runs/<data>/<run>``: one training run (see `run_name`)."""
    return runs_folder(data, home_) / _name(run)


def run_name(model: str, scale: str, init: str, variant: str = "") -> str:
    """``<model>-<scale>-<init>[-<variant>]``: the key of a run in runs/, history/ and every table.

    `model` and `init` may be paths, to a config file and to a checkpoint; then their stems are used.
    """
    model, init = (Path(name).stem if any(c in name for c in "/\\.") else name for name in (model, init))
    return _name("-".join(part for part in (model, scale, init, variant) if part))


def results_folder(data: str, home_: str | Path | None = None) -> Path:
    """``runs/<data>/results``: small text files from this machine's runs; `publish` copies them."""
    return runs_folder(data, home_) / "results"


def figures_folder(data: str, home_: str | Path | None = None) -> Path:
    """``runs/<data>/figures``: plots without photos from this machine's runs; `publish` copies them."""
    return runs_folder(data, home_) / "figures"


def pictures_folder(data: str, home_: str | Path | None = None) -> Path:
    """``runs/<data>/pictures``: figures that contain photos; committed only for the drawn sample."""
    return runs_folder(data, home_) / "pictures"


def published_results(data: str) -> Path:
    """``results/<data>`` in the repository, committed."""
    return PROJECT / "results" / _name(data)


def published_figures(data: str) -> Path:
    """``figures/<data>`` in the repository, committed."""
    return PROJECT / "figures" / _name(data)


def _name(name: str) -> str:
    """Return `name` if it is a plain folder name, else raise ValueError: names come from the command line."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name or ""):
        raise ValueError(
            f"{name!r} can't name a folder: use letters, digits, '_', '-', '+' and '.', "
            "beginning with a letter or digit."
        )
    return name
