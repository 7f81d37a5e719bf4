"""Training: a recipe becomes a run folder.

In the order in which a run meets them:

allowed     types and ranges of a recipe's settings
recipe      every setting of a run, and where each value comes from
run_folder  ``runs/<data>/<run>``: whose it is, its lock, ``last.pth``, the training state that a stopped run
            goes on from, and whether it is finished
config      MMEngine's config of a recipe: loader, optimiser, schedule
runner      MMEngine's Runner with hooks for history, epoch weights and the training state
describe    a recipe as a table, as a line, and the page ``results/recipe.md``; hours, memory and disk space
            of a run, measured on a few iterations
run         `train` in this process, `launch` in several under torchrun

A run folder holds ``recipe.json``, ``config.py``, ``history.csv``, ``epoch_<n>.safetensors``, ``last.pth``
while it is unfinished, and ``done.json`` when it is finished.
"""

import fashionlib.core.engine  # noqa: F401  (first: it keeps the engine quiet)

# isort: split
from fashionlib.train.describe import describe, estimate, headline, key_settings
from fashionlib.train.recipe import PRESETS, Recipe
from fashionlib.train.run import launch, train
from fashionlib.train.run_folder import RunRefused

__all__ = [
    "PRESETS",
    "Recipe",
    "RunRefused",
    "describe",
    "estimate",
    "headline",
    "key_settings",
    "launch",
    "train",
]
