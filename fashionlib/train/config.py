"""MMEngine's config of a recipe: pipeline, loader, optimiser, schedule."""

from pathlib import Path

import numpy as np
import torch
from mmengine import Config
from mmengine.registry import PARAM_SCHEDULERS

import fashionlib.data.transforms  # noqa: F401  (registers the transforms)
from fashionlib import models
from fashionlib.data.dataset import FashionDataset, frequency_weights
from fashionlib.train.recipe import Recipe


def config(recipe: Recipe, data_root: str, steps: int) -> Config:
    """Loader, loop, optimiser and schedule as MMEngine's Runner takes them; dumped as ``config.py``."""
    return Config(
        dict(
            train_dataloader=loader(recipe, data_root),
            train_cfg=dict(type="ResumableEpochLoop", max_epochs=recipe.epochs),
            optim_wrapper=optimiser(recipe),
            param_scheduler=schedule(recipe, steps),
        )
    )


def pipeline(recipe: Recipe) -> list[dict]:
    """The training transforms with the recipe's numbers; a crop is (height, width).

    The same draws as MMSegmentation's own transforms and, up to rounding, the same photos, in a third of the
    time.
    """
    window = dict(
        type="LoadCrop",
        scale=tuple(recipe.resize_base),
        ratio_range=tuple(recipe.resize_range),
        crop_size=tuple(recipe.crop),
        cat_max_ratio=recipe.cat_max_ratio,
        flip=recipe.flip,
    )
    distortion = [dict(type="FastPhotoMetricDistortion")] if recipe.photometric else []
    return [window, *distortion, dict(type="PackCrop")]


def loader(recipe: Recipe, data_root: str) -> dict:
    """The training loader: augmentation and order are pure functions of seed, epoch and photo."""
    return dict(
        batch_size=recipe.photos_per_step,
        num_workers=recipe.workers,
        persistent_workers=recipe.workers > 0,
        drop_last=True,
        collate_fn=dict(type="pseudo_collate"),
        sampler=dict(
            type="EpochSampler",
            batch_size=recipe.photos_per_step,
            seed=recipe.seed,
            accumulate=recipe.accumulate,
            oversample_thr=recipe.oversample_thr,
        ),
        dataset=dict(
            type="FashionDataset",
            data_root=data_root,
            split="train",
            photos=recipe.photos,
            seed=recipe.seed,
            pipeline=pipeline(recipe),
        ),
    )


def class_weights(recipe: Recipe, data_root: str | Path) -> list[float] | None:
    """Class weights of the recipe, from the pixels of its training photos, each photo counted once."""
    if recipe.class_weight == "none":
        return None
    photos = FashionDataset(data_root, photos=recipe.photos, seed=recipe.seed, pipeline=[])
    return frequency_weights(photos.pixels().sum(0), recipe.class_weight).tolist()


def optimiser(recipe: Recipe) -> dict:
    """Optimiser wrapper with head and layer-wise learning rates."""
    settings = dict(type=recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay)
    if recipe.optimizer == "SGD":
        settings["momentum"] = recipe.momentum
    if torch.cuda.is_available():  # `paramwise_cfg` makes a group of every tensor: a kernel each, not ten
        settings["fused"] = True
    fresh = ("head", "backbone.detail")  # what has no pretrained weights learns faster
    keys = {name: dict(lr_mult=recipe.head_lr_mult) for name in fresh if recipe.head_lr_mult != 1}
    keys |= layer_rates(recipe)
    paramwise = dict(custom_keys=keys)
    if recipe.optimizer == "AdamW":  # decaying norms and biases only moves them off their scale
        paramwise |= dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0)
    return dict(
        type="AutocastOptimWrapper",
        precision=recipe.precision,
        optimizer=settings,
        paramwise_cfg=paramwise,
        accumulative_counts=recipe.accumulate,
        clip_grad=dict(max_norm=recipe.clip_grad) if recipe.clip_grad else None,
    )


def layer_rates(recipe: Recipe) -> dict[str, dict]:
    """Learning-rate multipliers of the encoder's layers: `layer_decay` to the power of the depth above."""
    depth = models.layers(recipe.model, recipe.scale)
    if recipe.layer_decay is None or not depth:
        return {}
    rates = {f"backbone.layers.{i}.": dict(lr_mult=recipe.layer_decay ** (depth - i)) for i in range(depth)}
    first = dict(lr_mult=recipe.layer_decay ** (depth + 1))
    return rates | {f"backbone.{name}": first for name in ("patch_embed", "cls_token", "pos_embed")}


def schedule(recipe: Recipe, steps: int) -> list[dict]:
    """The learning-rate schedule over `steps` of the optimiser, one value a step as in MMSegmentation."""
    warm = round(recipe.warmup * steps)
    main = dict(by_epoch=False, begin=warm, end=steps, eta_min=recipe.min_lr)
    if recipe.schedule == "poly":
        main |= dict(type="PolyLR", power=recipe.power)
    else:
        main |= dict(type="CosineAnnealingLR", T_max=max(steps - warm, 1))
    if not warm:
        return [main]
    return [dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=warm), main]


def learning_rates(recipe: Recipe, steps: int) -> np.ndarray:
    """The encoder's learning rate at each of `steps` steps of the optimiser, (steps,), of `schedule`."""
    nothing = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.lr)
    built = [PARAM_SCHEDULERS.build(one | dict(optimizer=nothing)) for one in schedule(recipe, steps)]
    rates = []
    for _ in range(steps):
        rates.append(nothing.param_groups[0]["lr"])
        nothing.step()
        for scheduler in built:
            scheduler.step()
    return np.array(rates)


def steps(recipe: Recipe, photos: int) -> int:
    """Optimiser steps of the whole run on `photos` training photos."""
    return recipe.epochs * -(-photos // (recipe.photos_per_step * recipe.gpus * recipe.accumulate))
