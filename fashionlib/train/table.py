"""A recipe for people: as a table with provenance, and as one line that hides nothing."""

import pandas as pd

from fashionlib import models
from fashionlib.train.recipe import CONFIG, OURS, PAPER, Recipe

_SOURCES = {
    PAPER: "Mancini & Tarsi, section IV",
    OURS: "fashionlib.train.recipe.PRESETS",
}


def describe(recipe: Recipe) -> pd.DataFrame:
    """One row a setting: value, whose it is (*paper*, *MMSegmentation config*, *ours*, *given*), source."""
    config = models.MODELS[recipe.model].config
    sources = _SOURCES | {CONFIG: f"mmseg/.mim/configs/{config}"}
    rows = [
        dict(
            setting=name,
            value=value,
            provenance=recipe.origin.get(name, ""),
            source=sources.get(recipe.origin.get(name), ""),
        )
        for name, value in recipe.to_dict().items()
        if name in recipe.origin
    ]
    return pd.DataFrame(rows).set_index("setting")


def is_the_papers(recipe: Recipe) -> bool:
    """Whether this is one of the runs of the paper's Table I, as far as it says."""
    return (
        recipe.data == "imaterialist"
        and recipe.preset == "paper"
        and recipe.scale == "full"
        and recipe.init == "ade20k"
        and recipe.model in models.PAPER
        and recipe.photos is None
        and "given"
        not in {
            where
            for name, where in recipe.origin.items()
            if name not in ("scale", "init", "gpus", "workers", "memory", "accumulate")
        }
    )


def headline(recipe: Recipe) -> str:
    """The first line of every run: what it is, and that it is not the paper's unless it is."""
    photos = "all training photos" if recipe.photos is None else f"{recipe.photos} training photos (seeded)"
    whose = "This is the paper's run." if is_the_papers(recipe) else "This is not the paper's run."
    height, width = recipe.crop
    return (
        f"{recipe.model} at scale {recipe.scale} from {recipe.init} on {recipe.data}, {photos}, "
        f"preset {recipe.preset}, {recipe.epochs} epochs of batch {recipe.batch}, crops {height}x{width}, "
        f"seed {recipe.seed}. {whose}"
    )
