"""Pseudo-labels: the added photos reach training and nothing else, and tags bound what is drawn."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fashionlib import models
from fashionlib.core import classes
from fashionlib.data import prepare, raw, rle
from tools.cutout_model import pseudo_labels


@pytest.fixture
def model():
    torch.manual_seed(0)
    built = models.build("detail_vit_s", 30, scale="mini").eval()
    built.eval()
    built.metadata = models.metadata_for("detail_vit_s", classes.CLASS_SETS["person"], "mini") | dict(
        run="r", epoch=3
    )
    return built


@pytest.fixture
def source(raw_folder):
    """Ten annotated photos, three with tags only and one without anything."""
    root = raw_folder(10)
    (root / "test").mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 30, 3), np.uint8)
        Image.fromarray(pixels).save(root / "test" / f"u{i}.jpg")
    tags = [("u0", 10), ("u1", 6), ("u1", 0), ("u2", 46)]
    pd.DataFrame(tags, columns=["ImageId", "ClassId"]).to_csv(root / raw.TAGS, index=False)
    return root


def test_a_photo_is_drawn_with_its_own_classes_only(model):
    image = np.random.default_rng(0).integers(0, 256, (60, 45, 3), np.uint8)
    free = pseudo_labels.pseudo_label(model, image, dict.fromkeys(range(27), 1.0))
    label = pseudo_labels.pseudo_label(model, image, {10: 1.0})
    values = classes.label_values("person")
    assert label.shape == (60, 45) and set(np.unique(label)) <= {0, values[10], values[46], values[47]}
    assert len(np.unique(free)) > len(np.unique(label))  # an untrained model names anything it may


def test_a_class_that_is_rare_elsewhere_wins_more_pixels_where_it_is_tagged(model):
    image = np.random.default_rng(0).integers(0, 256, (60, 45, 3), np.uint8)
    value = classes.label_values("person")[12]
    counts = [(pseudo_labels.pseudo_label(model, image, {12: rate}) == value).sum() for rate in (1e9, 1e-9)]
    assert counts == [0, 60 * 45]


def test_added_photos_are_for_training_alone_and_the_split_stays(source, raw_folder, model, tmp_path):
    other = raw_folder(2, lambda table: table.assign(ImageId="x" + table.ImageId), folder="other")
    for path in (other / "train").glob("p*.jpg"):
        path.rename(path.with_name("x" + path.name))
    out = pseudo_labels.add(source, tmp_path / "plus", model, [other], progress=False)
    before = prepare.prepare(source, tmp_path / "a", "person", stratify=True, workers=1, progress=False)
    after = prepare.prepare(out, tmp_path / "b", "person", stratify=True, workers=1, progress=False)
    added = {"u0", "u1", "u2", "xp0000", "xp0001"}
    drawn = set(raw.read(out).ImageId) & added  # a photo drawn as background alone has no instance
    for name in ("train", "val", "test"):
        old, new = ((tmp_path / side / f"splits/{name}.txt").read_text().split() for side in "ab")
        assert set(new) - set(old) == (drawn if name == "train" else set()) and set(old) <= set(new)
    assert after["fingerprint"] != before["fingerprint"] and "u3" not in raw.read(out).ImageId.values
    assert raw.descriptions(out)["info"]["masks_drawn_by"] == "r, epoch 3"


def test_a_stopped_run_goes_on_and_draws_nothing_twice(source, model, tmp_path, monkeypatch):
    whole = pseudo_labels.add(source, tmp_path / "whole", model, progress=False)
    drawn, draw = [], pseudo_labels.pseudo_label

    def stops_after_two(*args):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(draw(*args))
        return drawn[-1]

    monkeypatch.setattr(pseudo_labels, "pseudo_label", stops_after_two)
    with pytest.raises(KeyboardInterrupt):
        pseudo_labels.add(source, tmp_path / "stopped", model, progress=False)
    assert not (tmp_path / "stopped" / raw.CSV).exists()
    drawn.pop()  # the third may be drawn now, and no more
    pseudo_labels.add(source, tmp_path / "stopped", model, progress=False)
    for name in (raw.CSV, raw.TRAIN_ONLY):
        assert (tmp_path / "stopped" / name).read_bytes() == (whole / name).read_bytes()
    assert not list((tmp_path / "stopped").glob(".*"))


def test_tagged_photos_may_be_left_out(source, model, tmp_path):
    out = pseudo_labels.add(source, tmp_path / "plus", model, without=["u1"], progress=False)
    assert "u0" in raw.listed(out, raw.TRAIN_ONLY) and "u1" not in set(raw.read(out).ImageId)
    assert not raw.image_path(out, "u1").exists()


def test_masks_survive_the_way_into_the_raw_layout(source, model, tmp_path):
    out = pseudo_labels.add(source, tmp_path / "plus", model, progress=False)
    rows = raw.read(out)
    for image_id, rates in {"u0": {10: 1.0}, "u1": {6: 0.1, 0: 0.1}}.items():
        mine = rows[rows.ImageId == image_id]
        with Image.open(out / "train" / f"{image_id}.jpg") as photo:
            label = pseudo_labels.pseudo_label(model, np.asarray(photo), rates)
        values = [classes.label_values("person")[i] for i in mine.ClassId]
        painted = rle.label_map(list(mine.EncodedPixels), [v - 1 for v in values], 40, 30)
        assert np.array_equal(painted, label)


def test_what_can_not_be_extended_is_refused_in_a_sentence(source, raw_folder, model, tmp_path):
    with pytest.raises(raw.RawError, match="'p0000' occurs in two of the folders"):
        pseudo_labels.add(source, tmp_path / "a", None, [raw_folder(1, folder="same")], progress=False)
    with pytest.raises(raw.RawError, match="tags.csv has no photo 'u9' to leave out"):
        pseudo_labels.add(source, tmp_path / "d", model, without=["u9"], progress=False)
    done = pseudo_labels.add(source, tmp_path / "b", None, progress=False)
    with pytest.raises(raw.RawError, match="already holds raw data"):
        pseudo_labels.add(source, done, None, progress=False)
    (source / raw.TAGS).unlink()
    with pytest.raises(raw.RawError, match="tags.csv does not exist"):
        pseudo_labels.add(source, tmp_path / "c", model, progress=False)
