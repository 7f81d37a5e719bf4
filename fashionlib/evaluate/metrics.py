"""Scores of label maps, all derived from one exact int64 confusion matrix.

Row = truth, column = prediction: ``cm[t, p]`` pixels of class ``t`` were predicted as ``p``. Matrices of
photos add up; scores of a split are scores of the sum (data-set level, as MMSegmentation's).

A class is *absent* when neither truth nor prediction has a pixel of it: its IoU is 0/0, stated as
NaN and left out of means. `n_classes` says how many classes a mean rests on.
"""

import numpy as np

from fashionlib.core.classes import IGNORE, PERSON, garment_values


def confusion_matrix(pred, target, num_classes: int, ignore_index: int = IGNORE) -> np.ndarray:
    """Joint pixel counts of two label maps.

    Args:
        pred: integer label map of the prediction, (H, W) or any shape, values 0 … num_classes - 1: an
            array, or a torch.Tensor, which is counted on its GPU.
        target: the true label map, same shape; its pixels of value `ignore_index` are not counted.
        num_classes: number of classes C, background included, at most 255.

    Returns:
        (C, C) int64, rows = truth: exact at any photo size (MMSegmentation counts in float32,
        which stops at 2^24 pixels of a class in a photo).

    Raises:
        ValueError: shapes differ, or a value is no class.
    """
    on_gpu = getattr(pred, "is_cuda", False)
    if not on_gpu:
        pred, target = np.asarray(pred), np.asarray(target)
    if pred.shape != target.shape:
        raise ValueError(
            f"The prediction is {tuple(pred.shape)} and the label map {tuple(target.shape)}: "
            "predict at the photo's size."
        )
    counts = (_counts_on_gpu if on_gpu else _counts)(pred, target).reshape(256, 256)
    _check_values(counts.sum(axis=0), num_classes, "The prediction", None)
    counts[ignore_index] = 0
    _check_values(counts.sum(axis=1), num_classes, "The label map", ignore_index)
    return counts[:num_classes, :num_classes].astype(np.int64)


def _counts(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(65536,) pixels of each pair 256 * truth + prediction.

    Label maps consist of runs, so this sums the lengths of runs (in float64, exact to 2^53): a comparison
    goes through memory an order faster than a count, which waits for the one before.
    """
    target, pred = _bytes(target, "The label map").ravel(), _bytes(pred, "The prediction").ravel()
    change = target[1:] != target[:-1]
    change |= pred[1:] != pred[:-1]
    last = np.append(np.flatnonzero(change), pred.size - 1)  # pixels of the runs
    if len(last) > pred.size // 8:  # noise: pixel by pixel is faster
        return np.bincount(target.astype(np.uint16) << 8 | pred, minlength=1 << 16)
    pair = target[last].astype(np.uint16) << 8 | pred[last]
    return np.bincount(pair, weights=np.diff(last, prepend=-1), minlength=1 << 16)


def _counts_on_gpu(pred, target) -> np.ndarray:
    """`_counts` of a torch.Tensor, counted where it lies: only the counts leave the device."""
    import torch  # imported here: arrays do not need it

    target = torch.as_tensor(target, device=pred.device)
    for labels, what in ((target, "The label map"), (pred, "The prediction")):
        if labels.dtype != torch.uint8:
            _check_range(labels, what, labels.is_floating_point() or labels.dtype == torch.bool)
    return (target.long() * 256 + pred).flatten().bincount(minlength=1 << 16).cpu().numpy()


def _bytes(labels: np.ndarray, what: str) -> np.ndarray:
    """`labels` as uint8; ValueError where the cast would change a value."""
    if labels.dtype == np.uint8:
        return labels
    _check_range(labels, what, labels.dtype.kind not in "iu")
    return labels.astype(np.uint8)


def _check_range(labels, what: str, foreign: bool) -> None:
    """Raise ValueError for an array or tensor of a `foreign` dtype, or with values outside 0 … 255."""
    if foreign:
        raise ValueError(f"{what} is {labels.dtype}: give whole class numbers, not scores or a mask.")
    if len(labels.reshape(-1)) and not 0 <= labels.min() <= labels.max() <= 255:
        low, high = int(labels.min()), int(labels.max())
        raise ValueError(f"{what} has values {low} … {high}: label values lie in 0 … 255.")


def _check_values(pixels: np.ndarray, num_classes: int, what: str, ignore_index: int | None) -> None:
    """Raise ValueError for label values that are not classes; `pixels` (256,) counts each value."""
    wrong = num_classes + np.flatnonzero(pixels[num_classes:])
    if len(wrong):
        ignored = "" if ignore_index is None else f" (and {ignore_index}: ignored)"
        raise ValueError(
            f"{what} has {int(pixels[wrong[0]])} pixels of value {wrong[0]}, "
            f"but the {num_classes} classes are 0 … {num_classes - 1}{ignored}."
        )


def class_counts(cm: np.ndarray) -> np.ndarray:
    """Counts per class, (3, C) int64: intersection, pixels of truth, pixels of prediction."""
    return np.stack([np.diagonal(cm), cm.sum(axis=1), cm.sum(axis=0)])


def aacc(cm: np.ndarray) -> float:
    """Pixel accuracy over everything counted (MMSegmentation's aAcc), background included."""
    return float(ratio(np.trace(cm), cm.sum()))


def iou(cm: np.ndarray) -> np.ndarray:
    """Intersection over union per class, (C,); NaN where absent."""
    return iou_of(class_counts(cm))


def iou_of(counts: np.ndarray) -> np.ndarray:
    """IoU from `class_counts` stacked along the first axis, (3, …); NaN where absent."""
    intersect, truth, predicted = counts
    return ratio(intersect, truth + predicted - intersect)


def accuracy(cm: np.ndarray) -> np.ndarray:
    """Accuracy (recall) per class, (C,); NaN where a class has no true pixel."""
    return ratio(np.diagonal(cm), cm.sum(axis=1))


def macc(cm: np.ndarray) -> float:
    """Mean accuracy over the classes that have true pixels (MMSegmentation's mAcc).

    The paper's "taking the pixel accuracy of each class and averaging them" may mean it.
    """
    return float(mean(accuracy(cm)))


def precision(cm: np.ndarray) -> np.ndarray:
    """Precision per class, (C,); NaN where a class is never predicted."""
    return ratio(np.diagonal(cm), cm.sum(axis=0))


def f1(cm: np.ndarray) -> np.ndarray:
    """F1 (Dice) per class, 2 IoU / (1 + IoU), (C,); NaN where absent."""
    return 2 * iou(cm) / (1 + iou(cm))


def miou(cm: np.ndarray, background: bool = True) -> float:
    """Mean IoU over the classes that are not absent; `background=False` leaves class 0 out."""
    return float(mean(iou(cm)[0 if background else 1 :]))


def n_classes(cm: np.ndarray) -> int:
    """Number of classes that `miou` averages, background included."""
    return int(np.count_nonzero(~np.isnan(iou(cm))))


def eq1_accuracy(cm: np.ndarray) -> float:
    """The paper's equation 1, (TP + TN) / (TP + TN + FP + FN), averaged over all C classes.

    True negatives lift it to nearly 1 for any model. A wrong pixel is a false positive of one class
    and a false negative of another, so the mean is 1 - 2 (1 - aAcc) / C: it adds nothing to aAcc.
    """
    intersect, truth, predicted = class_counts(cm)
    return float(mean(1 - ratio(truth + predicted - 2 * intersect, cm.sum())))


def background_everywhere(cm: np.ndarray) -> np.ndarray:
    """Confusion matrix of predicting background everywhere on the same photos: the floor."""
    floor = np.zeros_like(cm)
    floor[:, 0] = cm.sum(axis=1)
    return floor


def binary_iou(cm: np.ndarray, values) -> float:
    """IoU of the union of the classes `values` (label values) against all the others."""
    inside = np.isin(np.arange(len(cm)), list(values))
    intersect = cm[inside][:, inside].sum()
    return float(ratio(intersect, cm[inside].sum() + cm[:, inside].sum() - intersect))


def apparel_iou(cm: np.ndarray, classes) -> float:
    """IoU of "a garment or accessory": every class but background, hair and skin."""
    return binary_iou(cm, garment_values(classes))


def person_iou(cm: np.ndarray, classes) -> float:
    """IoU of "the dressed person": all but background. NaN for classes without hair and skin."""
    if not set(PERSON.values()) <= set(classes):
        return float("nan")
    return binary_iou(cm, range(1, len(classes)))


def bootstrap_miou(
    photos: np.ndarray, n: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval (low, high) of the mIoU under redrawing the photos with replacement.

    Args:
        photos: (P, 3, C) `class_counts` of each photo's matrix.
        n: number of redraws.
        level: fraction of redraws inside the interval.

    A class that is absent from a redraw is left out of its mean; a redraw without any class is left out.
    """
    count, _, num_classes = photos.shape
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=n)
    redrawn = (weights @ photos.reshape(count, -1)).reshape(n, 3, num_classes)
    low, high = np.nanquantile(mean(iou_of(redrawn.swapaxes(0, 1))), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def ratio(part, whole) -> np.ndarray:
    """part / whole in float64, NaN where whole is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without its NaNs; NaN where nothing is left."""
    return ratio(np.nansum(values, axis=-1), np.count_nonzero(~np.isnan(values), axis=-1))
