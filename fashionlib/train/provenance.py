"""Provenance of a run: package versions, hardware, and the command that repeats it."""

import json
import platform
import shlex
from pathlib import Path

import mmengine
import mmseg
import torch

from fashionlib import models
from fashionlib.core import paths
from fashionlib.core.run_files import parameter_defaults
from fashionlib.train.recipe import CALLER, Recipe


def versions() -> dict[str, str]:
    """Versions of Python and the engine, and the processor or GPU."""
    return dict(
        python=platform.python_version(),
        torch=torch.__version__,
        mmseg=mmseg.__version__,
        mmengine=mmengine.__version__,
        device=device_name(),
    )


def device_name() -> str:
    """The GPU's name or the processor's, with the number of cores used."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.processor()])[0]}, {torch.get_num_threads()} threads"


def precision(recipe: Recipe) -> str:
    """The recipe's precision on this machine: ``auto`` is bf16 where the processor has it."""
    return models.resolve_precision("cuda" if torch.cuda.is_available() else "cpu", recipe.precision)


def command(recipe: Recipe) -> str:
    """The papermill command that repeats this run; `settings` holds what is no parameter of notebook 03."""
    known = parameter_defaults("03_train") if paths.NOTEBOOKS.is_dir() else {}  # installed without notebooks
    always = ("model", "data", "preset", "scale", "init")
    given = {name: recipe.to_dict()[name] for name, where in recipe.origin.items() if where == CALLER}
    given = {name: value for name, value in given.items() if name not in always}
    words = ["papermill", "notebooks/03_train.ipynb", "03.ipynb"]
    for name in (*always, *(name for name in known if name in given)):
        words += ["-p", name, str(getattr(recipe, name))]
    if settings := {name: value for name, value in given.items() if name not in known}:
        words += ["-y", json.dumps(dict(settings=settings))]
    return shlex.join(words)
