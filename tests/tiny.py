"""A training of seconds on the data set of `conftest.prepared_home`."""

from fashionlib.train import Recipe

TINY = dict(
    model="segmenter_vit_t", data="tiny", scale="mini", epochs=2, batch=4, workers=0, precision="fp32"
)


def recipe(**changes) -> Recipe:
    return Recipe.from_preset("quick", **{**TINY, **changes})
