"""A photo to its label map on 2 threads: MMSegmentation's own test step of its own model in fp32, and
ours in fp32, in bf16, and as the exported ONNX graph under onnxruntime in fp32. First on photos of Clothing
Co-Parsing with the weights of the runs in runs/ccp (skipped where there are none): the share of pixels that
get the same class must be 99.9 %, in bf16 99.5 %. Then every row of the table at full scale with random
weights on one photo of 512 x 512: the largest difference of a logit, as a share of the logits' standard
deviation, must be at most 1e-3 in fp32. Rows with a ViT-L are measured in a single round, and SETR-naive,
which is SETR-PUP with a smaller decoder, is left out."""

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import Compose
from mmengine.model.utils import revert_sync_batchnorm
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.registry import TRANSFORMS

from fashionlib import export, models
from fashionlib.core import paths
from tests.benchmarks.frame import CCP, Line, seconds

THREADS, PHOTOS, LEFT_OUT = 2, 6, "setr_naive"
SAME_PIXELS = {"ours, fp32": 0.999, "ours, bf16": 0.995, "ONNX, fp32": 0.999}
LOGITS_WITHIN = {"ours, fp32": 1e-3, "ours, bf16": np.inf, "ONNX, fp32": 1e-3}


class Way(NamedTuple):
    """One way from a photo, uint8 RGB (H, W, 3), to its labels (H, W) and its logits (C, H, W)."""

    labels: Callable[[np.ndarray], np.ndarray]
    logits: Callable[[np.ndarray], torch.Tensor]


def measure() -> Iterator[Line]:
    torch.set_num_threads(THREADS)
    files = sorted(CCP.glob("photos/*.jpg"))[:PHOTOS]
    runs = [file.parent for file in sorted(paths.runs_folder("ccp").glob("*/epoch_15.safetensors"))]
    for run in runs if files else []:
        yield from _trained(run, [mmcv.imread(file, channel_order="rgb") for file in files])
    for name in models.MODELS:
        if name != LEFT_OUT:
            yield from _random(name)


def _trained(run: Path, photos: list[np.ndarray]) -> Iterator[Line]:
    """Photos are cut to the proportions that the graph is exported for."""
    with tempfile.TemporaryDirectory() as folder:
        model = models.load(export.checkpoint(run))
        photos = [_cut(photo, export.own_size(model.metadata)) for photo in photos]
        stock, ways = _ways(model, Path(folder))
        truths, said = [stock.labels(photo) for photo in photos], {}
        for name, way in ways.items():
            pairs = zip(photos, truths, strict=True)
            same = float(np.mean([(way.labels(photo) == truth).mean() for photo, truth in pairs]))
            assert same >= SAME_PIXELS[name], f"{run.name}, {name}: {same:.3%} of pixels the same"
            said[name] = f"{same:.2%} of pixels the same"
        yield from _race(f"{run.name} trained on CCP", stock, ways, photos[0], said, rounds=5)


def _random(name: str) -> Iterator[Line]:
    photo, said = _photo(512), {}
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        built = models.build(name)
        model = models.load(models.save(built, Path(folder) / "random.safetensors", built.metadata))
        stock, ways = _ways(model, Path(folder))
        truth = stock.logits(photo)
        for way in ways:
            off = float((ways[way].logits(photo) - truth).abs().max() / truth.std())
            assert off <= LOGITS_WITHIN[way], f"{name}, {way}: logits differ by {off:.1e} of their spread"
            said[way] = f"logits within {off:.0e} of their spread"
        rounds = 1 if models.MODELS[name].encoder == "ViT-L" else 3
        yield from _race(f"{name}, 512 x 512", stock, ways, photo, said, rounds)


def _race(
    what: str, stock: Way, ways: dict[str, Way], photo: np.ndarray, said: dict, rounds: int
) -> Iterator[Line]:
    """A line a way; all take turns. Whoever calls has run each of them once."""
    times = {name: [] for name in ("stock", *ways)}
    for _ in range(rounds):
        for name, way in {"stock": stock, **ways}.items():
            gc.collect()
            start = time.perf_counter()
            way.labels(photo)
            times[name].append(time.perf_counter() - start)
    slow, slowest = statistics.median(times["stock"]), times.pop("stock")
    for name, taken in times.items():
        fast, ratios = statistics.median(taken), [a / b for a, b in zip(slowest, taken, strict=True)]
        ours = f"{name}: {seconds(fast)} ({1 / fast:.2g} photos/s); {said[name]}"
        alternative = f"stock, fp32: {seconds(slow)} ({1 / slow:.2g} photos/s)"
        yield Line(f"{what}, {name}", alternative, ours, slow / fast, min(ratios), max(ratios))


def _ways(model: EncoderDecoder, folder: Path) -> tuple[Way, dict[str, Way]]:
    """MMSegmentation's way with the weights of `model`, and ours by name."""
    ways = {f"ours, {precision}": _ours(model, precision) for precision in ("fp32", "bf16")}
    return _stock(model), ways | {"ONNX, fp32": _onnx(model, folder / "graph.onnx")}


def _stock(model: EncoderDecoder) -> Way:
    """The shipped classes and `test_step`, behind their own pipeline, at the size that ours are shown."""
    info = model.metadata
    cfg = models.config(info["model"], len(info["classes"]), info["scale"], tuple(info["crop"]))
    cfg.model.test_cfg = info["test_cfg"]
    theirs = revert_sync_batchnorm(MMSEG_MODELS.build(cfg.model))
    theirs.load_state_dict(model.state_dict())
    theirs.eval()

    @torch.no_grad()
    def step(photo: np.ndarray):
        scale = models.fitted_size(photo.shape[:2], info)[::-1]
        steps = [dict(type="Resize", scale=scale, keep_ratio=False), dict(type="PackSegInputs")]
        shape = photo.shape[:2]
        item = dict(img=np.ascontiguousarray(photo[..., ::-1]), img_shape=shape, ori_shape=shape)
        item = Compose([TRANSFORMS.build(one) for one in steps])(item)
        return theirs.test_step(dict(inputs=[item["inputs"]], data_samples=[item["data_samples"]]))[0]

    return Way(
        lambda photo: step(photo).pred_sem_seg.data[0].numpy(), lambda photo: step(photo).seg_logits.data
    )


def _ours(model: EncoderDecoder, precision: str) -> Way:
    return Way(
        lambda photo: models.predict(model, photo, precision),
        lambda photo: _at(photo, models.upsampled_logits(model, photo, precision)),
    )


def _onnx(model: EncoderDecoder, file: Path) -> Way:
    size = export.export(model, file).size
    session = export.session(file, THREADS)

    def scores(photo: np.ndarray) -> torch.Tensor:
        shown = mmcv.imresize(photo, size[::-1], interpolation="bilinear")
        return torch.from_numpy(session.run(None, {"photos": shown[None]})[0][0])

    return Way(
        lambda photo: models.upsampled_argmax(scores(photo), photo.shape[:2]),
        lambda photo: _at(photo, scores(photo)),
    )


def _at(photo: np.ndarray, logits: torch.Tensor) -> torch.Tensor:
    return F.interpolate(logits[None], photo.shape[:2], mode="bilinear")[0]


def _cut(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of a photo, in the proportions of `size` (H, W)."""
    height, width = photo.shape[:2]
    factor = min(height / size[0], width / size[1])
    h, w = round(size[0] * factor), round(size[1] * factor)
    top, left = (height - h) // 2, (width - w) // 2
    return photo[top : top + h, left : left + w]


def _photo(side: int) -> np.ndarray:
    """A square photo's stand-in: smooth colours with grain."""
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.uniform(0, 255, (9, 9, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
    return (smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
