"""What computed a run, and the command that computes it again."""

import json
import platform
import shlex
from pathlib import Path

import mmengine
import mmseg
import torch

from fashionlib.train.recipe import CALLER, Recipe


def versions() -> dict[str, str]:
    """What computed a run: packages, Python, processor or GPU."""
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
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return f"{model}, {torch.get_num_threads()} threads"


_IN_03 = ("variant", "epochs", "batch", "photos", "seed", "accumulate", "memory", "gpus")  # parameters of 03


def command(recipe: Recipe) -> str:
    """The papermill command that makes this run again; what 03 has no parameter for goes into `settings`."""
    given = {name: recipe.to_dict()[name] for name, where in recipe.origin.items() if where == CALLER}
    settings = {name: value for name, value in given.items() if name not in (*_IN_03, "scale", "init")}
    words = ["papermill", "notebooks/03_train.ipynb", "03.ipynb"]
    for name in ("model", "data", "preset", "scale", "init", *(name for name in _IN_03 if name in given)):
        words += ["-p", name, str(getattr(recipe, name))]
    if settings:
        words += ["-y", json.dumps(dict(settings=settings))]
    return shlex.join(words)
