"""A training photo from its two files to the packed crop, as a loader's worker makes it: one process, one
thread, crop 512 x 512, base (2048, 512), ratios 0.5 to 2, cat_max_ratio 0.75, flips; files as `fashionlib
prepare` leaves them. Both pipelines make the same draws. Asserted first: equal label maps, and photos
that differ by 2/255 at most on average; JPEGs are decoded whole. The photos are
Clothing Co-Parsing's (550 pixels wide), drawn ones where that is missing, and the same ones enlarged.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from mmseg.utils import register_all_modules
from PIL import Image

from fashionlib import train
from fashionlib.data import prepare, prepared, raw, rle
from fashionlib.data.dataset import FashionDataset
from fashionlib.data.sources import ccp
from tests.benchmarks.frame import CCP, Line, faster, race, seconds
from tests.tiny import stock_pipeline
from tools.draw_sample.plan import plan
from tools.draw_sample.scenes import draw

PHOTOS, EPOCHS = 40, 4  # 28 of them for training
Shown = tuple[str, np.ndarray, list[tuple[int, np.ndarray]]]  # name, photo, (category id, mask) of instances


def measure() -> Iterator[Line]:
    """Photos as they are, of 1024 pixels, and of 2400, where decoding is most of the work."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    register_all_modules(init_default_scope=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _real(folder / "small/raw") if CCP.is_dir() else _write(folder / "small/raw", _drawn())
        small = _prepared(folder / "small")
        for words, data, target in (
            ("550 px wide", small, ">= 2.5"),
            ("1024 px high", _enlarged(small, folder / "1024", 1024), ">= 2.5"),
            ("2400 px high", _enlarged(small, folder / "2400", 2400), ""),
        ):
            for photometric in (True, False):
                yield _line(words, data, photometric, target)


def _line(words: str, data: Path, photometric: bool, target: str) -> Line:
    given = dict(model="segmenter_vit_t", data="benchmark", crop=(512, 512), resize_base=(2048, 512))
    recipe = train.Recipe.from_preset("paper", photometric=photometric, **given)
    pipelines = stock_pipeline(recipe), train.config.pipeline(recipe)
    stock, ours = (FashionDataset(data, seed=0, pipeline=steps) for steps in pipelines)
    _check(stock, ours)
    what = f"photos {words}, {'with' if photometric else 'without'} photometric distortion"
    sides = ("MMSegmentation", partial(_epochs, stock)), ("ours", partial(_epochs, ours))
    return faster(what, *sides, target, note=_floor(data), per=EPOCHS * len(stock), rounds=7)


def _check(stock: FashionDataset, ours: FashionDataset) -> None:
    for theirs, mine in zip(stock, ours, strict=True):
        assert torch.equal(theirs["data_samples"].gt_sem_seg.data, mine["data_samples"].gt_sem_seg.data)
        assert (theirs["inputs"].float() - mine["inputs"].float()).abs().mean() <= 2


def _epochs(data: FashionDataset) -> None:
    for item in range(EPOCHS * len(data)):
        data[item]


def _floor(data: Path) -> str:
    """What both pipelines must do: read the whole of both files."""
    ids = (data / "splits" / "train.txt").read_text().split()
    photos = [np.fromfile(data / "images" / f"{i}.jpg", np.uint8) for i in ids]
    labels = [(data / "labels" / f"{i}.png").read_bytes() for i in ids]
    jpeg, inflate, _ = race(
        lambda: [cv2.imdecode(photo, cv2.IMREAD_COLOR) for photo in photos],
        lambda: [prepared.decode(label) for label in labels],
    )
    jpeg, inflate = seconds(jpeg / len(ids)), seconds(inflate / len(ids))
    decoding = f"of ours decoding the JPEG takes {jpeg} (no library at hand decodes a part of one)"
    return f"{decoding}, the label map {inflate}"


def _prepared(folder: Path) -> Path:
    """The raw folder in `folder`, prepared."""
    prepare.prepare(folder / "raw", folder / "data", workers=1, progress=False)
    return folder / "data"


def _real(out: Path) -> None:
    """The first photos of Clothing Co-Parsing in the raw layout."""
    source, labelled = out.parent / "source", "annotations/pixel-level"
    names = sorted(path.stem for path in (CCP / labelled).glob("*.mat"))[:PHOTOS]
    for part, suffix in ((labelled, "mat"), ("photos", "jpg")):
        (source / part).mkdir(parents=True)
        for name in names:
            (source / part / f"{name}.{suffix}").symlink_to(CCP / part / f"{name}.{suffix}")
    (source / "label_list.mat").symlink_to(CCP / "label_list.mat")
    ccp.convert(source, out, workers=1, progress=False)


def _drawn() -> Iterator[Shown]:
    """Drawn wearers from head to foot, of the size of Clothing Co-Parsing's."""
    scenes = [scene for scene in plan(400, 0) if scene.kind == "full"][:PHOTOS]
    for i, scene in enumerate(scenes):
        yield f"{i:04}", *draw(replace(scene, height=830, width=550), np.random.default_rng(i))


def _enlarged(data: Path, folder: Path, height: int) -> Path:
    """The prepared photos and label maps at `height`, prepared again."""
    _write(folder / "raw", _enlarge(data, height))
    return _prepared(folder)


def _enlarge(data: Path, height: int) -> Iterator[Shown]:
    for path in sorted((data / "images").glob("*.jpg")):
        with Image.open(path) as photo:
            size = round(photo.width * height / photo.height), height
            picture = np.asarray(photo.resize(size, Image.Resampling.LANCZOS))
        labels = prepared.decode((data / "labels" / f"{path.stem}.png").read_bytes())
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        yield path.stem, picture, [(v - 1, labels == v) for v in np.unique(labels).tolist() if v]


def _write(out: Path, photos: Iterator[Shown]) -> None:
    """A raw folder of `photos` as JPEGs of quality 92."""
    (out / "train").mkdir(parents=True)
    rows = []
    for name, picture, instances in photos:
        Image.fromarray(picture).save(out / "train" / f"{name}.jpg", quality=92)
        rows += [[name, rle.encode(mask), *mask.shape, class_id] for class_id, mask in instances]
    raw.write(out, pd.DataFrame(rows, columns=list(raw.COLUMNS[:5])), "photos for a benchmark")
