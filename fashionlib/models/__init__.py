"""The models: a table, one row each, built from the configs that MMSegmentation ships.

So equality with the published architectures holds by construction. ``scale="mini"`` is the same
family with fewer, narrower layers, for drawn photos on a CPU; it is named wherever its numbers appear.

``table``       the rows
``build``       row -> config -> model with initial weights
``checkpoint``  save and load, with everything needed to rebuild and feed a model
``forward``     photos through the network: size, precision, windows
``closer``      where in a photo to look: at all of it, or at its subject
``predict``     photos -> label maps or probabilities
"""

import fashionlib.core.engine  # noqa: F401  (first: it keeps the engine quiet)

# isort: split
from fashionlib.models.build import build, config, freeze, layers, meta, patch_size, shipped_crop, test_resize
from fashionlib.models.checkpoint import load, read_meta, save
from fashionlib.models.inference import PRECISIONS, autocast, fitted_size, logits, precision
from fashionlib.models.predict import predict, predict_batch, probabilities, upsampled_argmax
from fashionlib.models.two_stage import views
from fashionlib.models.zoo import MODELS, PAPER, SCALES, ModelSpec

__all__ = [
    "MODELS", "PAPER", "PRECISIONS", "SCALES", "ModelSpec", "autocast", "build", "config", "fitted_size",
    "freeze", "layers", "load", "logits", "meta", "patch_size", "precision", "predict", "predict_batch",
    "probabilities", "read_meta", "save", "shipped_crop", "test_resize", "upsampled_argmax", "views",
]  # fmt: skip
