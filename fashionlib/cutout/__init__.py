"""Cut-outs: the clothes of a photo, or the person who wears them, without the background.

photos              files <-> upright RGB, with the metadata that travels beside the pixels
segment, conflicts  which pixels stay; a dress or a top and a skirt, not both
edges               alpha at the edge, and the foreground's colour there
quality             predicted quality of a cut-out
cut                 one photo through those above
compose             crop, size, background, contact sheet
options, one_photo  what is made of a photo, and its files
sources, report     which photos become which files; report.csv and the preview of them
cache_key           which pictures are up to date
executors, batch    several photos at once, in threads or processes; folders of photos
on_ray              the same on a cluster
about               data and licences of a model
baselines           background removal without learning
panel               pictures and controls of notebook 06

Importing the package loads neither torch nor OpenCV: the three names below are looked up when they are used.
"""

from importlib import import_module

_HOMES = {"contact_sheet": "compose", "load_model": "segment", "remove_background": "cut"}
__all__ = [*_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
