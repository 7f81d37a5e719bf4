"""A training of seconds on the data set of `conftest.prepared_home`, and the stock transforms of a recipe."""

from fashionlib.train import Recipe

TINY = dict(
    model="segmenter_vit_t", data="tiny", scale="mini", epochs=2, batch=4, workers=0, precision="fp32"
)


def recipe(**changes) -> Recipe:
    return Recipe.from_preset("quick", **{**TINY, **changes})


def stock_pipeline(recipe: Recipe) -> list[dict]:
    """MMSegmentation's own transforms for `train.config.pipeline`: what it is tested and timed against."""
    steps = [
        # the stored pixels are what the masks were drawn on, whatever an EXIF tag says
        dict(type="LoadImageFromFile", color_type="color_ignore_orientation"),
        dict(type="LoadAnnotations", reduce_zero_label=False),
        dict(
            type="RandomResize",
            scale=tuple(recipe.resize_base),
            ratio_range=tuple(recipe.resize_range),
            keep_ratio=True,
        ),
        dict(type="RandomCrop", crop_size=tuple(recipe.crop), cat_max_ratio=recipe.cat_max_ratio),
        dict(type="RandomFlip", prob=recipe.flip),
    ]
    if recipe.photometric:
        steps.append(dict(type="PhotoMetricDistortion"))
    return [*steps, dict(type="PackSegInputs")]
