"""Predicted quality against real IoU: weights fitted on a validation split, kept in the checkpoint."""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file
from scipy.optimize import lsq_linear
from scipy.special import expit, logit
from scipy.stats import spearmanr

from fashionlib import models
from fashionlib.core import files
from fashionlib.core.classes import IGNORE, PERSON
from fashionlib.cutout import quality, segment
from fashionlib.cutout.photos import read
from fashionlib.data import prepared

PULL = 0.3  # towards the default's weights, per standard deviation of a feature; a photo pulls by 1
DOUBTFUL = 0.05  # share of the photos on the bad side of a limit
FITTED = {"expected": 1, "missed": -1}  # and the sign that makes sense; the rest adds nothing to these two
STATED = ("people", "frame")  # weights and limits: splits of one person a photo can't say what a second costs
LEAST = 10  # photos
WORST = 0.1  # share of the photos to be found among those with the lowest predicted quality
_NAMES = list(quality.FEATURES)


def calibrate(path, folder, by=None) -> dict:
    """Fit on the validation split of the prepared `folder`, try on its test split, keep in the file `path`.

    One fit serves both subjects, apparel and person, where the model has both.
    A model that learnt from the validation photos is too good at them: then `by` is the checkpoint whose
    cut-outs are fitted to, made in the same way without those photos. Tried is the model of `path`.

    Returns what is kept, the checkpoint's ``meta["quality"]``: weights, limits, data, photos, and ``test``:
    what `tried` gives for each subject, on photos not fitted to.
    """
    model, folder = segment.load_model(path), Path(folder)
    judged = segment.load_model(by) if by else model
    seen, unseen = measured(judged, folder, "val"), measured(model, folder, "test")
    fitted = fit(*map(np.concatenate, zip(*seen.values(), strict=True)))
    fitted["test"] = {subject: tried(fitted, *found) for subject, found in unseen.items()}
    fitted |= {"data": folder.name, "photos": len(seen["apparel"][1])}
    attach(path, fitted)
    return fitted


def measured(model, folder: Path, split: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Features (N, F) and real IoU (N,) of each subject in a split's photos, but for those without it."""
    classes = model.metadata["classes"]
    subjects = segment.SUBJECTS if set(PERSON.values()) <= set(classes) else ("apparel",)
    choices = {subject: segment.wanted(classes, subject) for subject in subjects}
    n_classes = len(prepared.require(folder)["classes"])
    rows = {subject: [] for subject in subjects}
    for name in prepared.ids(folder, split):
        truth = prepared.label_map(folder, name, n_classes)
        scores = segment.probabilities(read(folder / "images" / f"{name}.jpg").rgb, model)
        for subject, choice in choices.items():
            p = segment.keep_probability(scores, choice, scores.shape[1:])
            known = truth != IGNORE
            ours, true = (segment.resized(p, truth.shape) >= 0.5) & known, np.isin(truth, choice.kept)
            if ours.any() and true.any():
                found = quality.features(scores, p, classes)
                iou = (ours & true).sum() / (ours | true).sum()
                rows[subject].append([*(found[name] for name in _NAMES), iou])
    if len(rows["apparel"]) < LEAST:
        few = len(rows["apparel"])
        raise ValueError(f"{folder} has {few} {split} photos that show a subject, fewer than {LEAST}.")
    return {subject: (np.array(found)[:, :-1], np.array(found)[:, -1]) for subject, found in rows.items()}


def fit(features: np.ndarray, iou: np.ndarray) -> dict:
    """Weights of `features` (N, F) nearest to the log-odds of `iou` (N,), and the limits of each feature.

    Ridge towards `quality.DEFAULT`, each feature in its standard deviations; no weight has the wrong sign.
    """
    names = ["bias", *FITTED]
    default = quality.DEFAULT["weights"]
    prior = np.array([default.get(name, 0.0) for name in names])
    columns = features[:, [_NAMES.index(name) for name in FITTED]]
    scale = np.array([1.0, *np.maximum(columns.std(axis=0), 1e-3)])
    known = np.column_stack([np.ones(len(iou)), columns])
    off = logit(np.clip(iou, 0.01, 0.99)) - known @ prior
    signs = np.array([0, *FITTED.values()])
    bounds = [np.where(signs == side, -prior * scale, -side * np.inf) for side in (1, -1)]
    change = lsq_linear(
        np.vstack([known / scale, PULL * np.eye(len(names))]), np.append(off, np.zeros(len(names))), bounds
    ).x
    limits = {
        name: float(np.quantile(column, DOUBTFUL if name in quality.LOW else 1 - DOUBTFUL))
        for name, column in zip(_NAMES, features.T, strict=True)
    }
    weights = dict(zip(names, map(float, prior + change / scale), strict=True))
    stated = {name: quality.DEFAULT["limits"][name] for name in STATED}
    return {"weights": default | weights, "limits": limits | stated}


def tried(calibration: dict, features: np.ndarray, iou: np.ndarray) -> dict:
    """How well `calibration` predicts `iou` (N,): rank correlation, mean distance, and how many are found.

    The `worst` are the WORST of the photos by real IoU; `in_lowest_10` of them are among the 10 % of photos
    with the lowest predicted quality, `in_lowest_20` among the 20 %.
    """
    weights = calibration["weights"]
    predicted = expit(weights["bias"] + features @ [weights.get(name, 0.0) for name in _NAMES])
    worst = np.argsort(iou)[: round(WORST * len(iou))]
    lowest = np.argsort(predicted)
    found = {
        f"in_lowest_{percent}": len(np.intersect1d(worst, lowest[: round(percent / 100 * len(iou))]))
        for percent in (10, 20)
    }
    return {
        "photos": len(iou),
        "spearman": round(float(spearmanr(predicted, iou)[0]), 3),
        "distance": round(float(np.abs(predicted - iou).mean()), 4),
        "worst": len(worst),
        **found,
    }


def attach(path, calibration: dict) -> None:
    """Put `calibration` into the checkpoint `path` as ``meta["quality"]``; its tensors stay as they are."""
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    info = models.read_metadata(path) | {"quality": calibration}
    files.write_tensors(path, load_file(path), metadata | {"fashionlib": json.dumps(info)})
