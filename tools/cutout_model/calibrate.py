"""Predicted quality against real IoU: weights fitted on a validation split, kept in the checkpoint."""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file
from scipy.optimize import least_squares
from scipy.special import expit
from scipy.stats import spearmanr

from fashionlib import models
from fashionlib.core import files
from fashionlib.core.classes import IGNORE
from fashionlib.cutout import quality, segment
from fashionlib.cutout.photos import read
from fashionlib.data import prepared

PULL = 1.0  # towards the default's weights, per standard deviation of a feature; a photo's IoU pulls by 1
DOUBTFUL = 0.05  # share of the photos on the bad side of a limit
STATED = ("people", "frame")  # not fitted
LEAST = 10  # photos
_NAMES = list(quality.FEATURES)


def calibrate(path, folder, subject: str = "apparel", by=None) -> dict:
    """Fit on the validation split of the prepared `folder`, try on its test split, keep in the file `path`.

    A model that learnt from the validation photos is too good at them: then `by` is the checkpoint whose
    cut-outs are fitted to, made in the same way without those photos. Tried is the model of `path`.

    Returns what is kept, the checkpoint's ``meta["quality"]``: weights, limits, data, photos, and ``test``:
    Spearman's rank correlation of predicted and real IoU, and their mean distance, on photos not fitted to.
    """
    model, folder = segment.load_model(path), Path(folder)
    judged = segment.load_model(by) if by else model
    fitted = fit(*measured(judged, folder, "val", subject))
    fitted["test"] = tried(fitted, *measured(model, folder, "test", subject))
    fitted |= {"data": folder.name, "subject": subject}
    attach(path, fitted)
    return fitted


def measured(model, folder: Path, split: str, subject: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, F) and real IoU (N,) of a split's photos; those without a subject are left out."""
    choice = segment.wanted(model.metadata["classes"], subject)
    n_classes = len(prepared.require(folder)["classes"])
    rows = []
    for name in prepared.ids(folder, split):
        truth = prepared.label_map(folder, name, n_classes)
        scores = segment.probabilities(read(folder / "images" / f"{name}.jpg").rgb, model)
        p = segment.keep_probability(scores, choice, truth.shape)
        known = truth != IGNORE
        ours, true = (p >= 0.5) & known, np.isin(truth, choice.kept)
        if ours.any() and true.any():
            found = quality.features(scores, p, model.metadata["classes"])
            rows.append([*(found[name] for name in _NAMES), (ours & true).sum() / (ours | true).sum()])
    if len(rows) < LEAST:
        raise ValueError(f"{folder} has {len(rows)} {split} photos that show a subject, fewer than {LEAST}.")
    values = np.array(rows)
    return values[:, :-1], values[:, -1]


def fit(features: np.ndarray, iou: np.ndarray) -> dict:
    """Weights of `features` (N, F) whose logistic is nearest to `iou` (N,), and the limits of each.

    Ridge towards `quality.DEFAULT`, each feature in its standard deviations. `STATED` ones keep the default's
    weight: splits of one person a photo can't say what a second one costs.
    """
    prior = np.array([quality.DEFAULT["weights"].get(name, 0.0) for name in ["bias", *_NAMES]])
    scale = np.array([1.0, *np.maximum(features.std(axis=0), 1e-3)])
    free = np.array([name not in STATED for name in ["bias", *_NAMES]])
    known = np.column_stack([np.ones(len(iou)), features])

    def distances(change: np.ndarray) -> np.ndarray:
        return np.append(expit(known @ (prior + free * change / scale)) - iou, PULL * change)

    weights = prior + free * least_squares(distances, np.zeros(len(prior))).x / scale
    limits = {
        name: float(np.quantile(column, DOUBTFUL if name in quality.LOW else 1 - DOUBTFUL))
        for name, column in zip(_NAMES, features.T, strict=True)
    }
    limits |= {name: quality.DEFAULT["limits"][name] for name in STATED}
    return {
        "weights": dict(zip(["bias", *_NAMES], map(float, weights), strict=True)),
        "limits": limits,
        "photos": len(iou),
    }


def tried(calibration: dict, features: np.ndarray, iou: np.ndarray) -> dict:
    """How well `calibration` predicts `iou` (N,): rank correlation and mean distance."""
    weights = calibration["weights"]
    predicted = expit(weights["bias"] + features @ [weights.get(name, 0.0) for name in _NAMES])
    return {
        "photos": len(iou),
        "spearman": round(float(spearmanr(predicted, iou)[0]), 3),
        "distance": round(float(np.abs(predicted - iou).mean()), 4),
    }


def attach(path, calibration: dict) -> None:
    """Put `calibration` into the checkpoint `path` as ``meta["quality"]``; its tensors stay as they are."""
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    info = models.read_metadata(path) | {"quality": calibration}
    files.write_tensors(path, load_file(path), metadata | {"fashionlib": json.dumps(info)})
