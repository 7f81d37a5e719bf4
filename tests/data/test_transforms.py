"""The window pipeline: MMSegmentation's draws, label maps and (but for rounding) photos, for less work."""

import io

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms import Compose
from mmseg.datasets.transforms import PhotoMetricDistortion
from mmseg.registry import TRANSFORMS
from mmseg.utils import register_all_modules
from PIL import Image
from scipy.stats import ks_2samp
from tiny import stock_pipeline

from fashionlib import train
from fashionlib.data import prepared, transforms

BASE, CROP = (384, 96), (96, 96)  # a 96th of the real thing's work
register_all_modules(init_default_scope=True)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six smooth photos of odd sizes with label maps: a figure of four garments on mostly background."""
    folder, rng, infos = tmp_path_factory.mktemp("photos"), np.random.default_rng(0), []
    for i in range(6):
        height, width = 141 + 7 * i, 97 + 4 * i
        photo = cv2.resize(rng.integers(0, 256, (height // 12, width // 12, 3), np.uint8), (width, height))
        labels = np.zeros((height, width), np.uint8)
        for label, top in enumerate((20, 45, 70, 100), start=1):
            labels[top : top + 25, 30 : 50 + 10 * label] = label
        labels[:5] = 255
        Image.fromarray(photo).save(folder / f"{i}.jpg", quality=95)
        image = Image.fromarray(labels, "P")
        image.putpalette(rng.integers(0, 256, 768, np.uint8).tobytes())
        image.save(folder / f"{i}.png")
        infos.append(dict(img_path=str(folder / f"{i}.jpg"), seg_map_path=str(folder / f"{i}.png")))
    return infos


def pipelines(photometric=True, **changes):
    """MMSegmentation's and ours of one recipe; ours with `changes` to LoadCrop."""
    recipe = train.Recipe.from_preset(
        "paper", model="segmenter_vit_t", data="tiny", crop=CROP, resize_base=BASE, photometric=photometric
    )
    ours = train.config.pipeline(recipe)
    ours[0].update(changes)
    return (Compose([TRANSFORMS.build(step) for step in steps]) for steps in (stock_pipeline(recipe), ours))


def run(pipeline, info, seed):
    np.random.seed(seed)
    return pipeline(dict(info, seg_fields=[], reduce_zero_label=False, label_map=None))


@pytest.mark.parametrize("photometric", [False, True])
def test_the_same_draws_give_mmsegmentations_crop(photos, photometric):
    stock, ours = pipelines(photometric)
    for seed in range(120):
        theirs, left = run(stock, photos[seed % 6], seed), np.random.random_sample()
        mine = run(ours, photos[seed % 6], seed)
        assert np.random.random_sample() == left  # not a number more or less was drawn
        assert torch.equal(theirs["data_samples"].gt_sem_seg.data, mine["data_samples"].gt_sem_seg.data)
        assert theirs["inputs"].shape == mine["inputs"].shape and mine["inputs"].dtype == torch.uint8
        assert (theirs["inputs"].float() - mine["inputs"].float()).abs().mean() <= 2
        assert theirs["data_samples"].metainfo == mine["data_samples"].metainfo


def test_the_distribution_is_mmsegmentations(photos):
    """Other seeds for each, so that this holds of the distributions, not of the draws."""
    stock, ours = pipelines()
    theirs = pd.DataFrame([moments(run(stock, photos[s % 6], s)) for s in range(300)])
    mine = pd.DataFrame([moments(run(ours, photos[s % 6], s)) for s in range(900, 1200)])
    for name in theirs:
        assert ks_2samp(theirs[name], mine[name]).pvalue > 0.01, name


def moments(item):
    """What the draws decide of one item; rows and columns stand for the window's place in its photo."""
    sample, pixels = item["data_samples"], item["inputs"].float()
    labels = sample.gt_sem_seg.data[0]
    figure = (labels % 255 > 0).double()
    return dict(
        scale=sample.scale_factor[0],
        flip=float(sample.flip),
        height=float(labels.shape[0]),
        share=float(torch.bincount(labels.ravel()).max() / labels.numel()),
        row=float((figure.sum(1) * torch.arange(len(labels))).sum() / figure.sum()),
        column=float((figure.sum(0) * torch.arange(labels.shape[1])).sum() / figure.sum()),
        brightness=float(pixels.mean()),
        contrast=float(pixels.std()),
        hue=float(pixels[2].mean() - pixels[0].mean()),
        saturation=float((pixels.amax(0) - pixels.amin(0)).mean()),
    )


def test_whole_windows_are_equal_to_the_bit(photos):
    """Nothing to widen: the same call of cv2.resize as MMSegmentation's."""
    stock, ours = pipelines(False, crop_size=(512, 512))
    stock.transforms[3].crop_size = (512, 512)
    for seed in range(12):
        theirs, mine = (run(pipeline, photos[seed % 6], seed) for pipeline in (stock, ours))
        assert torch.equal(theirs["inputs"], mine["inputs"])


@settings(max_examples=200)
@given(old=st.integers(1, 3000), ratio=st.floats(0.05, 4), crop=st.integers(16, 512), data=st.data())
def test_a_window_is_resized_from_where_it_lies(old, ratio, crop, data):
    new = max(round(old * ratio), 1)
    size = min(crop, new)
    span = transforms.Span(old, new, data.draw(st.integers(0, new - size)), size)
    first, stop, resized, lead = span.source()
    assert 0 <= first < stop <= old and lead >= 0 and lead + size <= resized <= new
    begin, step = span.start - lead, old / new
    assert abs(begin * step - first) <= 0.1 and abs((begin + resized) * step - stop) <= 0.1


def test_photometric_distortion_is_mmsegmentations():
    """To the bit without a turn to HSV; with saturation or hue alone too; both together round once less."""
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    stock, ours = PhotoMetricDistortion(), transforms.FastPhotoMetricDistortion()
    equal = 0
    for seed in range(100):
        np.random.seed(seed)
        theirs = stock(dict(img=image.copy()))["img"]
        np.random.seed(seed)
        mine = ours(dict(img=image))["img"]
        equal += np.array_equal(theirs, mine)
        assert np.abs(theirs.astype(int) - mine).mean() <= 2
    assert 60 <= equal <= 90  # a quarter draws both


def test_labels_are_renumbered_as_a_stock_config_asks(photos):
    stock, ours = pipelines(False)
    changes = dict(reduce_zero_label=True, label_map={0: 3, 2: 255})
    stock.transforms[1].reduce_zero_label = True
    for seed in range(5):
        maps = []
        for pipeline in (stock, ours):
            np.random.seed(seed)
            item = pipeline(dict(photos[seed], seg_fields=[]) | changes)
            maps.append(item["data_samples"].gt_sem_seg.data)
        assert torch.equal(*maps)


def test_a_photo_and_its_label_map_must_agree(photos, tmp_path):
    _, ours = pipelines()
    with pytest.raises(ValueError, match="0.jpg is .* prepare the data again"):
        run(ours, photos[0] | dict(seg_map_path=photos[1]["seg_map_path"]), 0)
    (tmp_path / "cut.jpg").write_bytes(b"no photo")
    with pytest.raises(ValueError, match="cut.jpg can't be decoded"):
        run(ours, photos[0] | dict(img_path=str(tmp_path / "cut.jpg")), 0)
    with pytest.raises(ValueError, match="0.jpg can't be decoded"):
        run(ours, photos[0] | dict(seg_map_path=photos[0]["img_path"]), 0)


@pytest.mark.parametrize("kind", ["palette", "grey", "two colours", "filtered"])
def test_png_reads_the_stored_numbers(kind):
    labels = np.random.default_rng(0).integers(0, 2 if kind == "two colours" else 28, (37, 53), np.uint8)
    image = Image.fromarray(labels, "L" if kind == "grey" else "P")
    if kind != "grey":
        image.putpalette([i % 256 for i in range(6 if kind == "two colours" else 768)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    content = buffer.getvalue()
    if kind == "filtered":
        content = cv2.imencode(".png", labels, [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP])[
            1
        ].tobytes()
    assert (prepared.decode(content) == labels).all()
    with pytest.raises((ValueError, OSError)):
        prepared.decode(content[: len(content) // 2])
