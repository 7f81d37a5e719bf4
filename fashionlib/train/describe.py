"""What a run will be, before it starts: a recipe as a table with provenance, as one line, and as the page
``results/recipe.md``; and its hours, memory and disk space, measured on a few iterations.
"""

import time
from pathlib import Path
from statistics import median_high

import pandas as pd
import psutil
import torch
from mmengine.runner import Runner

from fashionlib import models
from fashionlib.core import paths
from fashionlib.core.run_files import FREE, PAPERS_RUN, changed, given
from fashionlib.data import prepared
from fashionlib.train import config
from fashionlib.train.recipe import CONFIG, OURS, PAPER, Recipe
from fashionlib.train.runner import memory_mb

MEANINGS = {  # of the settings that change a result most
    "epochs": "passes over the training photos",
    "batch": "photos whose mean gradient makes one step of the optimiser",
    "optimizer": "SGD steps along the gradient; AdamW scales the step of each weight by its recent gradients",
    "lr": "learning rate: the length of a step at its highest",
    "schedule": "how the learning rate falls from there",
    "warmup": "share of the steps in which it first rises from almost 0",
    "head_lr_mult": "the decode head's learning rate, as a multiple of the encoder's",
    "weight_decay": "each step also shrinks the weights a little, in proportion to this",
    "clip_grad": "a longer gradient is shortened to this length",
    "crop": "height and width in pixels of the part of a photo that the network sees",
    "resize_range": "before that, a photo is scaled by a random factor between these two",
    "flip": "probability that the crop is mirrored",
    "photometric": "whether brightness and colours are changed at random",
    "freeze": "lower layers of the encoder that stay as they are",
}
_SOURCES = {PAPER: "Mancini & Tarsi, section III-C", OURS: "fashionlib.train.recipe"}


def describe(recipe: Recipe) -> pd.DataFrame:
    """A table with a row per setting: value, provenance and source.

    The provenance is *paper*, *MMSegmentation config*, *ours* or *given*.
    Settings that the optimiser or the schedule does not have are left out.
    """
    unused = {"momentum"} if recipe.optimizer != "SGD" else set()
    unused |= {"power"} if recipe.schedule != "poly" else set()
    sources = _SOURCES | {CONFIG: f"mmseg/.mim/configs/{models.spec(recipe.model).config}"}
    rows = [
        dict(
            setting=name,
            value=value,
            provenance=recipe.origin.get(name, ""),
            source=sources.get(recipe.origin.get(name), ""),
        )
        for name, value in recipe.to_dict().items()
        if name in recipe.origin and name not in unused
    ]
    return pd.DataFrame(rows).set_index("setting")


def key_settings(recipe: Recipe) -> pd.DataFrame:
    """Rows of `describe` whose setting is in `MEANINGS` and has a value: value, meaning, provenance."""
    table = describe(recipe).reindex(MEANINGS).dropna(subset=["value", "provenance"])
    table.insert(1, "meaning", table.index.map(MEANINGS))
    return table.assign(value=table.value.map(_show)).drop(columns="source")


def is_the_papers(recipe: Recipe, dataset: dict) -> bool:
    """Whether this is one of the runs of the paper's Table I, as far as the paper says.

    `dataset` is the prepared data's dataset.json: photos made smaller are not the paper's.
    """
    states = all(getattr(recipe, name) == value for name, value in PAPERS_RUN.items())
    as_theirs = dataset["options"].get("class_set", "main") == "main" and not changed(dataset["options"])
    of_all = recipe.model in models.PAPER and recipe.photos is None
    return states and as_theirs and of_all and not given(recipe.origin)


def headline(recipe: Recipe, dataset: dict) -> str:
    """One-line summary of a run on the data of `dataset`, saying whether it is one of the paper's."""
    photos = "all training photos" if recipe.photos is None else f"{recipe.photos} training photos (seeded)"
    whose = "This is the paper's run." if is_the_papers(recipe, dataset) else "This is not the paper's run."
    height, width = recipe.crop
    encoder = models.spec(recipe.model).encoder_at(recipe.scale)
    return (
        f"{recipe.model} ({encoder}) at scale {recipe.scale} from {recipe.init} on {recipe.data}, {photos}, "
        f"preset {recipe.preset}, {recipe.epochs} epochs of batch {recipe.batch}, crops {height}x{width}, "
        f"seed {recipe.seed}. {whose}"
    )


# where it runs, what it starts from: not settings that the paper or a config could state; `_stated` has patch
_NOT_OF_THE_RECIPE = [*FREE, "variant", "photos", "precision", "trust_checkpoint", "patch"]


def recipe_page() -> str:
    """``results/recipe.md``: the paper's recipe for its four models, and the source of each setting."""
    given = dict(data="imaterialist", init="ade20k")
    recipes = [Recipe.from_preset("paper", model=name, **given) for name in models.PAPER]
    tables = [describe(recipe).drop(index=_NOT_OF_THE_RECIPE) for recipe in recipes]
    lines = [
        "# The paper's recipe, setting by setting",
        "",
        "Generated by `fashionlib recipe`. *paper*: the paper states it (how it trained: section III-C).",
        "*MMSegmentation config*: the paper is silent, and this is what the published model's config says",
        "(below `mmseg/.mim/configs/`). *ours*: neither says it. Whether the batch is per GPU or in total is",
        "not said; we read total. On how many GPUs a run of ours trains is its parameter `gpus`.",
        "",
        f"| setting | {' | '.join(models.PAPER)} | whose |",
        f"|---|{'---|' * len(models.PAPER)}---|",
    ]
    for setting in tables[0].index:
        values = [_show(table.loc[setting, "value"]) for table in tables]
        whose = dict.fromkeys(table.loc[setting, "provenance"] for table in tables)
        lines.append(f"| {setting} | {' | '.join(values)} | {', '.join(whose)} |")
    stated = [_stated(name) for name in models.PAPER]
    fixed = [_fixed(models.config(name).model) for name in models.PAPER]
    for whose, columns in ((PAPER, stated), (CONFIG, fixed)):
        rows = {setting: " | ".join(column[setting] for column in columns) for setting in columns[0]}
        lines += [f"| {setting} | {values} | {whose} |" for setting, values in rows.items()]
    lines += ["", "| model | config |", "|---|---|"]
    lines += [f"| {name} | `{models.MODELS[name].config}` |" for name in models.PAPER]
    return "\n".join(lines) + "\n"


def _stated(model: str) -> dict[str, str]:
    """Statements of section III-C that are not settings of a recipe."""
    return {"initial weights": "ADE20K", "patch": str(models.MODELS[model].patch), "GPUs": "2"}


def _fixed(cfg) -> dict[str, str]:
    """Values that a shipped model config fixes and no recipe changes."""
    data, test = cfg.data_preprocessor, cfg.test_cfg
    auxiliary = [head.loss_decode.loss_weight for head in cfg.get("auxiliary_head") or []]
    return {
        "auxiliary losses": _show(auxiliary or None),
        "mean, std": f"{_show(data.mean)}; {_show(data.std)}",
        "padding of photo, label": f"{data.pad_val}, {data.seg_pad_val}",
        "window, stride in testing": f"{_show(test.crop_size)}; {_show(test.stride)}",
        "drop path": _show(cfg.backbone.get("drop_path_rate", 0.0)),
    }


def _show(value) -> str:
    parts = value if isinstance(value, list | tuple) else ["–" if value is None else value]
    return ", ".join(map(str, parts))


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
