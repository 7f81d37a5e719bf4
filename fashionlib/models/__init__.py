"""The models: a table, a row each, built from the configs that MMSegmentation ships.

Equality with the published architectures thus holds by construction. ``scale="mini"`` is the same family with
fewer, narrower layers, for drawn photos on a CPU; it is named wherever its numbers appear. In the order in
which a photo and its model meet them:

``zoo``           the table
``specs``         a row of it, or someone's own config file
``fast``          attention, heads and loss with MMSegmentation's answers, faster or in less memory
``losses``        the decode head's losses, by name
``detail``        the shipped cut-out model's encoder and head
``weight_files``  weight files: downloaded, read without running code, their metadata validated
``dinov2``        DINOv2 under the names of MMSegmentation's encoder
``init_weights``  initial weights of a model
``build``         row -> config -> model with initial weights
``checkpoint``    save and load
``two_stage``     where in a photo the model looks: at all of it, or at its subject
``inference``     photos -> logits, label maps, probabilities
"""

import fashionlib.core.engine  # noqa: F401  (first: it keeps the engine quiet)

# isort: split
from fashionlib.models.build import build, config, freeze, layers, metadata_for, shipped_crop, test_resize
from fashionlib.models.checkpoint import load, save
from fashionlib.models.inference import (
    PRECISIONS,
    autocast,
    crops,
    predict,
    predict_batch,
    probabilities,
    resolve_precision,
    upsampled_argmax,
    upsampled_logits,
)
from fashionlib.models.losses import LOSSES
from fashionlib.models.specs import check_norm, patch_size, spec, spec_of, whole_patches
from fashionlib.models.two_stage import fitted_size
from fashionlib.models.weight_files import read_metadata
from fashionlib.models.zoo import MODELS, PAPER, SCALES

__all__ = [
    "LOSSES", "MODELS", "PAPER", "PRECISIONS", "SCALES", "autocast", "build", "check_norm", "config", "crops",
    "fitted_size", "freeze", "layers", "load", "metadata_for", "patch_size", "predict", "predict_batch",
    "probabilities", "read_metadata", "resolve_precision", "save", "shipped_crop", "spec", "spec_of",
    "test_resize", "upsampled_argmax", "upsampled_logits", "whole_patches",
]  # fmt: skip
