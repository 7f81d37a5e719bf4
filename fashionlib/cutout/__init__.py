"""Cut-outs: the clothes of a photo, or the person who wears them, without the background.

photos         files <-> upright RGB, with the metadata that travels beside the pixels
segment        the model and its facts; which pixels stay
edges          alpha at the edge, and the foreground's colour there
quality        predicted quality of a cut-out
compose        crop, canvas, size, background, shadow, contact sheet
tasks          options of a batch, its photos with their outputs, and cache keys
report         report.csv and the preview of a folder of cut-outs
one_photo      one photo through those above, in memory and to its files
batch, on_ray  folders of photos, several at once: in threads, processes or on a cluster
drafts         label maps of photos without labels, as masks to correct by hand
baselines      background removal without learning
panel          pictures and controls of notebook 06

Importing the package loads neither torch nor OpenCV: the three names below are looked up when they are used.
"""

from importlib import import_module

_HOMES = {"contact_sheet": "compose", "load_model": "segment", "remove_background": "one_photo"}
__all__ = [*_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
