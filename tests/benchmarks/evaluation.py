"""On the validation split of 120 photos drawn by `tools.draw_sample`. Counting: pairs of 512 x 512
pixels and 28 classes, the prediction being the label map moved by some pixels and its borders smoothed, as
arrays for us and as tensors for MMSegmentation, each as its pipeline hands them over. Validation: models with
random weights, in the machine's default precision, photos decoded before; in fp32 the confusion matrices of
both ways agree to a pixel in 100,000. The split's 24 photos have 17 sizes, as photos from everywhere do; then
all are brought to one, as one camera's are.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import torch
from mmseg.evaluation.metrics.iou_metric import IoUMetric
from PIL import Image

from fashionlib import models
from fashionlib.core.classes import CLASSES, IGNORE
from fashionlib.data.prepare import prepare
from fashionlib.evaluate import metrics, score
from fashionlib.evaluate.result_tables import progress_bar
from fashionlib.evaluate.split import Photos, Split
from tests.benchmarks.frame import Line, faster
from tools.draw_sample import make

PHOTOS, SIDE = 120, 512
LANCZOS, NEAREST = Image.Resampling.LANCZOS, Image.Resampling.NEAREST
MODELS = (("segmenter_vit_t", "mini"), ("setr_mla", "mini"), ("segmenter_vit_t", "full"))


def measure() -> Iterator[Line]:
    """Counts of a pair, then what the checkpoints of a run share."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make(home / "raw" / "sample", PHOTOS, progress=False)
        prepare(home / "raw" / "sample", home / "data" / "sample", progress=False)
        split = Split.read("sample", "val", home)
        yield from _counting(split)
        yield _photos(split)
        yield _network(home)
        yield _validation(home, split, "segmenter_vit_t", "mini", "17 sizes")
        for photo in split.ids:
            for path, way in ((f"images/{photo}.jpg", LANCZOS), (f"labels/{photo}.png", NEAREST)):
                Image.open(split.folder / path).resize((400, 600), way).save(split.folder / path)
        for name, scale in MODELS:
            yield _validation(home, split, name, scale, "one size")


def _counting(split: Split) -> Iterator[Line]:
    rng = np.random.default_rng(0)
    pairs = [_pair(split.load(photo)[1]) for photo in split.ids]
    noise = [tuple(rng.integers(0, len(CLASSES), (2, SIDE, SIDE), np.uint8)) for _ in split.ids]
    for what, maps, target in (("", pairs, ">= 10"), (", both noise, pixel by pixel", noise, "")):
        samples = [_sample(pred, label) for pred, label in maps]
        for ours, theirs in zip(_counts(maps), _stock(samples), strict=True):
            intersect, _, predicted, truth = theirs
            np.testing.assert_array_equal(ours, np.stack([intersect, truth, predicted]))
        alternative = "MMSegmentation's IoUMetric.process", partial(_stock, samples)
        mine = "confusion_matrix and class_counts", partial(_counts, maps)
        what = f"counts of a pair of {SIDE} x {SIDE}{what}"
        yield faster(what, alternative, mine, target, per=len(maps), rounds=9)


def _pair(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(prediction, label map), uint8 (SIDE, SIDE)."""
    label = cv2.resize(label, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    label[:4] = IGNORE
    moved = np.roll(label, (5, 3), (0, 1))
    return cv2.medianBlur(np.where(moved == IGNORE, 0, moved).astype(np.uint8), 9), label


def _sample(pred: np.ndarray, label: np.ndarray) -> dict:
    """What MMSegmentation's metric gets of a photo: (1, H, W) int64 tensors."""
    both = {"pred_sem_seg": pred, "gt_sem_seg": label}
    return {key: {"data": torch.from_numpy(value.astype(np.int64))[None]} for key, value in both.items()}


def _stock(samples: list[dict]) -> list:
    metric = IoUMetric(ignore_index=IGNORE, prefix="stock")
    metric.dataset_meta = {"classes": CLASSES}
    for sample in samples:
        metric.process({}, [sample])
    return metric.results


def _counts(maps: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    return [metrics.class_counts(metrics.confusion_matrix(*pair, len(CLASSES))) for pair in maps]


def _photos(split: Split) -> Line:
    """The passes of two checkpoints over the photos, without their models."""

    def walk(photos: Photos) -> list:
        return [batch for batch in photos.batches(lambda size: size, score.BATCH)]

    kept = Photos(split)
    for first, second, anew in zip(walk(kept), walk(kept), walk(Photos(split)), strict=True):
        np.testing.assert_equal(first, second)
        np.testing.assert_equal(first, anew)
    what = "a photo and its label map for the second checkpoint, without the model"
    sides = ("decoded anew", lambda: walk(Photos(split))), ("kept from the first", lambda: walk(kept))
    return faster(what, *sides, per=len(split.ids))


def _network(home: Path) -> Line:
    model = models.build("segmenter_vit_b")
    path = models.save(model, home / "vit_b.safetensors", model.metadata)
    kept, anew = models.load(path, models.load(path)).state_dict(), models.load(path).state_dict()
    assert all(torch.equal(tensor, anew[name]) for name, tensor in kept.items())
    kept = models.load(path)
    alternative = "a network built for it", partial(models.load, path)
    mine = "its weights into the first one's", partial(models.load, path, kept)
    return faster("the second checkpoint of a run, ViT-B", alternative, mine)


def _validation(home: Path, split: Split, name: str, scale: str, sizes: str) -> Line:
    """A checkpoint on the split."""
    torch.manual_seed(0)
    model = models.build(name, scale=scale)
    path = models.save(model, home / f"{name}-{scale}.safetensors", model.metadata)
    scorer = score.Scorer(split)

    def together() -> np.ndarray:
        return scorer.score(path, progress_bar(len(split.ids), "", show=False)).cm

    one_by_one = patch.object(score, "BATCH", 1)(partial(together))

    def moved() -> float:
        a, b = together(), one_by_one()
        return abs(a - b).sum() / 2 / a.sum()

    with patch.object(import_module("fashionlib.models.inference"), "resolve_precision", lambda *_: "fp32"):
        assert moved() <= 1e-5
    precision = models.resolve_precision()
    note = f"in {precision} {moved():.2%} of the pixels change places in the confusion matrix"
    if scale == "full":
        note += "; on a CPU `Scorer` takes full-scale photos one by one: 4 or 8 at once were slower (0.7 x)"
    what = f"validation, {name} {scale}, photos of {sizes}"
    sides = ("one by one", one_by_one), (f"as Scorer chooses, up to {score.BATCH} of a size", together)
    return faster(what, *sides, per=len(split.ids), rounds=3, warmup=0, note=note)
