"""A checkpoint to start from with other classes: its last layer is made of the old one's.

The last layer has a weight vector and a bias for each class. Begun at random, a rare class is learnt late;
the mean of the classes that it is made of points the right way from the first step on.
"""

from pathlib import Path

import numpy as np
import torch

from fashionlib.models.checkpoint import load, save
from fashionlib.models.init_weights import CLASS_SIZED
from fashionlib.models.metadata import read_metadata
from fashionlib.models.network import build, metadata_for
from fashionlib.models.specs import spec_of


def with_classes(checkpoint: str | Path, out: str | Path, classes, values: np.ndarray) -> Path:
    """Write the model of `checkpoint` for other `classes` to `out`, a checkpoint too; returns `out`.

    Args:
        classes: names, position = label value; background is first and keeps its own weights.
        values: the label value in `classes` of each of the checkpoint's classes, (C,). A class that none of
            them is made of begins at random.
    """
    about, source = read_metadata(checkpoint), load(checkpoint).state_dict()
    parts = {name: about[name] for name in ("scale", "patch", "norm") if name in about}
    parts["crop"] = tuple(about["crop"])
    network = build(spec_of(about), len(classes), init=str(checkpoint), **parts)
    state = network.state_dict()
    for name in filter(CLASS_SIZED.fullmatch, state):
        state[name][0] = source[name][0]
        for value in set(values.tolist()) - {0}:
            state[name][value] = source[name][torch.from_numpy(values == value)].mean(dim=0)
    kept = {name: about[name] for name in ("mean", "std", "test_cfg", "resize")}
    metadata = metadata_for(spec_of(about), list(classes), **parts) | kept
    return save(network, out, metadata | {"init_report": vars(network.init_report)})
