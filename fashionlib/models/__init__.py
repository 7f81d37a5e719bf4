"""The models: a table, a row each, built from the configs that MMSegmentation ships.

Equality with the published architectures thus holds by construction. ``scale="mini"`` is the same family with
fewer, narrower layers, for drawn photos on a CPU; it is named wherever its numbers appear. In the order in
which a photo and its model meet them, those without torch first:

``zoo``           the table
``specs``         a row of it, or someone's own config file
``metadata``      what a checkpoint says of itself, validated
``two_stage``     where in a photo the model looks: at all of it, or at its subject
``maps``          maps of classes: argmax at another size, a crop's place in the photo
``graph``         a checkpoint with its graph, run by OpenVINO

``fast``          attention, heads and loss with MMSegmentation's answers, faster or in less memory
``losses``        the decode head's losses, by name
``norms``         group norm, or frozen statistics, in place of batch norm
``detail``        the shipped cut-out model's encoder and head
``weight_files``  weight files: downloaded, read without running code
``dinov2``        DINOv2 under the names of MMSegmentation's encoder
``init_weights``  initial weights of a model
``network``       row -> config -> model with initial weights
``checkpoint``    save and load
``regroup``       a checkpoint to start from with other classes
``inference``     photos -> logits, label maps, probabilities
``attention``     one photo inside a ViT: tokens and attention weights

Importing the package loads no torch: the names below are looked up when they are used.
"""

from importlib import import_module

_HOMES = {
    name: module
    for module, names in {
        "zoo": "MODELS PAPER SCALES",
        "specs": "check_norm patch_size spec spec_of whole_patches",
        "metadata": "read_metadata",
        "two_stage": "fitted_size",
        "maps": "upsampled_argmax",
        "losses": "LOSSES",
        "network": "build config freeze layers metadata_for shipped_crop test_resize",
        "checkpoint": "load save",
        "regroup": "with_classes",
        "inference": "PRECISIONS autocast crops predict predict_batch probabilities resolve_precision"
        " upsampled_logits",
    }.items()
    for name in names.split()
}
_LIGHT = ("zoo", "specs", "metadata", "two_stage", "maps")
__all__ = [*_HOMES]


def __getattr__(name: str):
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if home not in _LIGHT:
        try:
            import_module("fashionlib.core.engine")  # first: it keeps the engine quiet
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"Training, and models without a graph beside them, need {error.name}:"
                " pip install 'fashionlib[train]'.", name=error.name,
            ) from None  # fmt: skip
    return getattr(import_module(f"{__name__}.{home}"), name)
