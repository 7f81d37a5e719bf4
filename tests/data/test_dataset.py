"""The MMSegmentation data set: stock configs can use it, and its randomness is a pure function."""

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from mmseg.utils import register_all_modules
from PIL import Image

from fashionlib import train
from fashionlib.core.classes import CLASSES
from fashionlib.data.dataset import EpochSampler, FashionDataset, frequency_weights, repeat_factors
from fashionlib.data.prepared import require


@pytest.fixture
def steps(prepared):
    recipe = train.Recipe.from_preset(
        "quick", model="segmenter_vit_t", data="tiny", scale="mini", photometric=True
    )
    return train.config.pipeline(recipe)


def test_a_stock_config_builds_it(prepared):
    register_all_modules(init_default_scope=True)
    data = DATASETS.build(dict(type="FashionDataset", data_root=str(prepared), split="val", pipeline=[]))
    ids = (prepared / "splits" / "val.txt").read_text().split()
    assert [data[i]["img_path"].split("/")[-1] for i in range(len(data))] == [f"{i}.jpg" for i in ids]
    assert tuple(data.metainfo["classes"]) == CLASSES and len(data.metainfo["palette"]) == 28


def test_missing_data_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="fashionlib prepare raw/none data/none"):
        FashionDataset(tmp_path / "none")


def test_augmentation_depends_on_seed_epoch_and_photo_only(prepared, steps):
    data = FashionDataset(prepared, seed=3, pipeline=steps)
    n = len(data)
    first = data[2]["inputs"]
    np.random.seed(99)  # whatever else has drawn numbers
    data[1]
    assert (data[2]["inputs"] == first).all()
    assert not torch.equal(data[n + 2]["inputs"], first)  # the next epoch
    other = FashionDataset(prepared, seed=4, pipeline=steps)
    assert not torch.equal(other[2]["inputs"], first)


def test_subset_is_seeded_and_bounded(prepared):
    n = require(prepared)["counts"]["train"]
    pick = [d["img_path"] for d in FashionDataset(prepared, photos=3, seed=1, pipeline=[])]
    again = [d["img_path"] for d in FashionDataset(prepared, photos=3, seed=1, pipeline=[])]
    assert len(pick) == 3 and pick == again
    with pytest.raises(ValueError, match=f"ask for 1 to {n}"):
        FashionDataset(prepared, photos=n + 1, seed=1)


@pytest.mark.parametrize(("n", "batch"), [(10, 4), (8, 4), (3, 8)])
def test_an_epoch_shows_every_photo_in_equal_batches(n, batch):
    sampler = EpochSampler(range(n), batch, seed=5)
    sampler.set_epoch(2)
    shown = np.array(list(sampler))
    assert len(shown) == len(sampler) and len(shown) % batch == 0
    assert set(shown // n) == {2} and set(shown % n) == set(range(n))


def test_skipping_continues_the_same_order():
    sampler = EpochSampler(range(20), 4, seed=0)
    whole = list(sampler)
    sampler.skip = 8
    assert list(sampler) == whole[8:]


def test_processes_share_the_batches_of_one(monkeypatch):
    alone = np.array(list(EpochSampler(range(12), 4, seed=7))).reshape(3, 4)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr("fashionlib.data.dataset.get_dist_info", lambda rank=rank: (rank, 2))
        shares.append(np.array(list(EpochSampler(range(12), 2, seed=7))).reshape(3, 2))
    assert (np.concatenate(shares, axis=1) == alone).all()


def test_repeat_factors_are_those_of_lvis():
    shown = np.zeros((100, 3), bool)
    shown[:, 0], shown[:4, 1], shown[0, 2] = True, True, True  # in 100 %, 4 % and 1 % of the photos
    factors = repeat_factors(shown, 0.16)
    assert factors[:5] == pytest.approx([4, 2, 2, 2, 1]) and set(factors[4:]) == {1}
    assert set(repeat_factors(shown, 0.01)) == {1}
    with pytest.raises(ValueError, match="oversample_thr=1.5: a share of the photos"):
        repeat_factors(shown, 1.5)


def test_rare_classes_are_shown_more_often_in_epochs_of_the_same_length(prepared):
    data = FashionDataset(prepared, pipeline=[])
    data.classes_shown = lambda: np.arange(len(data))[:, None] < [99, 1]  # photo 0 alone holds class 1
    plain, balanced = EpochSampler(data, 2, seed=3), EpochSampler(data, 2, seed=3, oversample_thr=1.0)
    shown = np.zeros(len(data))
    for epoch in range(200):
        for sampler in (plain, balanced):
            sampler.set_epoch(epoch)
        order = np.array(list(balanced)) - epoch * len(data)
        assert len(order) == len(plain) and list(balanced) == list(balanced)
        np.add.at(shown, order, 1)
    assert shown[0] / shown[1:].mean() == pytest.approx(len(data) ** 0.5, rel=0.1)
    assert shown[1:].min() > 0


def test_classes_shown_are_those_of_the_label_maps(prepared):
    shown = FashionDataset(prepared, pipeline=[]).classes_shown()
    assert shown.shape == (14, len(CLASSES)) and (shown.sum(0) == 14 * np.isin(range(28), (0, 9))).all()


def test_pixels_are_those_of_the_label_maps_of_the_same_photos(prepared):
    some = FashionDataset(prepared, photos=5, seed=3, pipeline=[])
    for i, counted in enumerate(some.pixels()):
        labels = np.array(Image.open(some.get_data_info(i)["seg_map_path"]))
        assert counted.tolist() == [(labels == value).sum() for value in range(len(CLASSES))]


def test_class_weights_by_hand():
    pixels = np.array([90, 0, 9, 1])
    inverse, sqrt = (frequency_weights(pixels, kind) for kind in ("inverse", "sqrt_inverse"))
    assert inverse == pytest.approx([100 / 270, 1, 100 / 27, 100 / 3])  # 1 / (3 classes x share)
    assert sqrt[[0, 2, 3]] * np.sqrt([90, 9, 1]) == pytest.approx([sqrt[3]] * 3) and sqrt[1] == 1
    assert inverse @ pixels / 100 == pytest.approx(1) == sqrt @ pixels / 100
    assert frequency_weights(np.zeros(3, int), "inverse").tolist() == [1, 1, 1]


def test_loader_is_the_same_with_and_without_workers(prepared, steps):
    recipe = train.Recipe.from_preset(
        "quick", model="segmenter_vit_t", data="tiny", scale="mini", batch=2, seed=1
    )
    batches = []
    for workers in (0, 2):
        settings = train.config.loader(recipe, str(prepared)) | dict(
            num_workers=workers, persistent_workers=workers > 0
        )
        loader = Runner.build_dataloader(settings)
        batches.append([batch["inputs"] for batch in loader])
    for ours, theirs in zip(*batches, strict=True):
        assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))
