"""Hours, memory and disk space of a run, measured on a few iterations before it starts."""

import time
from pathlib import Path
from statistics import median_high

import psutil
import torch
from mmengine.runner import Runner

from fashionlib import models
from fashionlib.core import paths
from fashionlib.data import prepared
from fashionlib.train import config
from fashionlib.train.recipe import Recipe
from fashionlib.train.runner import memory_mb


def estimate(recipe: Recipe, *, home: str | Path | None = None, iterations: int = 5) -> dict:
    """Time `iterations` real training steps and project the run.

    Returns:
        dict: ``seconds_per_iteration`` (median of all but the first), ``hours``, ``iterations``,
        ``peak_gb`` (memory of this process, or on a GPU that allocated there, at its fullest, with the
        optimiser's moments), ``disk_gb`` (weights of every epoch and two states), ``batch_that_fits``
        (photos a process can hold at once in the memory that is free now).
    """
    data_root = paths.data_folder(recipe.data, home)
    info = prepared.require(data_root)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = models.build(
        recipe.model,
        len(info["classes"]),
        **recipe.architecture,
        activation_checkpointing=recipe.activation_checkpointing,
        loss=recipe.loss,
    ).to(device)
    if recipe.freeze is not None:
        models.freeze(model, recipe.freeze)
    model.train()
    here = dict(num_workers=0, persistent_workers=False)
    loader = Runner.build_dataloader(config.loader(recipe, str(data_root)) | here)
    batches, seconds, before = iter(loader), [], memory_mb()
    peak = before
    for _ in range(min(iterations, len(loader))):
        start = time.perf_counter()
        peak = max(peak, _step(model, next(batches), device, recipe))
        model.zero_grad()
        seconds.append(time.perf_counter() - start)
    typical = median_high(seconds[1:] or seconds)
    total = config.steps(recipe, recipe.photos or info["counts"]["train"]) * recipe.accumulate
    weights = sum(p.numel() * p.element_size() for p in model.state_dict().values())
    moments = weights * (2 if recipe.optimizer == "AdamW" else 1)
    free = torch.cuda.mem_get_info()[0] if device.type == "cuda" else psutil.virtual_memory().available
    a_photo = max((peak - before) * 2**20 / recipe.photos_per_step, 1)
    return dict(
        seconds_per_iteration=round(typical, 3),
        iterations=total,
        hours=round(typical * total / 3600, 2),
        peak_gb=round((peak * 2**20 + moments) / 1e9, 2),
        disk_gb=round((weights * recipe.epochs + 2 * (2 * weights + moments)) / 1e9, 2),
        batch_that_fits=int(max(0, 0.9 * free - weights - moments) // a_photo),
    )


def _step(model, batch: dict, device: torch.device, recipe: Recipe) -> float:
    """A forward and a backward pass; the memory in MB, the greater of after the one and after the other."""
    with models.autocast(device, recipe.precision):
        data = model.data_preprocessor(batch, training=True)
        loss, _ = model.parse_losses(model(**data, mode="loss"))
    between = memory_mb()
    loss.backward()
    return max(between, memory_mb())
