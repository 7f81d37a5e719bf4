"""How long, how much memory, how much disk: measured on a few iterations before a run starts."""

import time
from pathlib import Path

import psutil
import torch
from mmengine.runner import Runner

from fashionlib import models
from fashionlib.core import paths
from fashionlib.data import dataset
from fashionlib.train import config, memory
from fashionlib.train.recipe import Recipe


def estimate(recipe: Recipe, *, home: str | Path | None = None, iterations: int = 5) -> dict:
    """Time `iterations` real training steps and project the run.

    Returns:
        dict: ``seconds_per_iteration`` (median of all but the first), ``hours``, ``iterations``,
        ``peak_gb`` (parameters, gradients, optimiser state and, at the worst moment, the tensors
        kept for the backward pass), ``disk_gb`` (weights of every epoch and two states),
        ``batch_that_fits`` (photos a process can hold at once in the memory that is free now).
    """
    data_root = paths.data_folder(recipe.data, home)
    info = dataset.read_info(data_root)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = models.build(
        recipe.model, len(info["classes"]), recipe.scale, "none", recipe.crop, recipe.memory == "lean"
    ).to(device)
    if recipe.freeze is not None:
        models.freeze(model, recipe.freeze)
    model.train()
    loader = Runner.build_dataloader(
        config.loader(recipe, str(data_root)) | dict(num_workers=0, persistent_workers=False)
    )
    batches, seconds, saved = iter(loader), [], 0
    for _ in range(min(iterations, len(loader))):
        start = time.perf_counter()
        batch = next(batches)
        saved = _step(model, batch, device, recipe)
        model.zero_grad()
        seconds.append(time.perf_counter() - start)
    typical = sorted(seconds[1:] or seconds)[len(seconds[1:] or seconds) // 2]
    photos = recipe.photos or info["counts"]["train"]
    total = config.steps(recipe, photos) * recipe.accumulate
    weights = sum(p.numel() * p.element_size() for p in model.state_dict().values())
    fixed = memory.fixed_bytes(model, recipe.optimizer)
    free = torch.cuda.mem_get_info()[0] if device.type == "cuda" else psutil.virtual_memory().available
    a_photo = saved / recipe.photos_per_step
    return dict(
        seconds_per_iteration=round(typical, 3),
        iterations=total,
        hours=round(typical * total / 3600, 2),
        peak_gb=round((fixed + saved) / 1e9, 2),
        disk_gb=round((weights * recipe.epochs + 2 * fixed) / 1e9, 2),
        batch_that_fits=int(max(0, 0.9 * free - fixed) // a_photo),
    )


def _step(model, batch: dict, device: torch.device, recipe: Recipe) -> int:
    """One forward and backward pass; returns the most bytes kept at any moment of it."""
    with memory.SavedTensors(model) as saved:
        with models.autocast(device, recipe.precision):
            data = model.data_preprocessor(batch, training=True)
            loss, _ = model.parse_losses(model(**data, mode="loss"))
        loss.backward()
    return saved.peak
