"""Clothing Co-Parsing -> raw layout: a tiny release built here, and the real one where it is at hand."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

from fashionlib.core import classes, outputs, paths
from fashionlib.data import raw, rle
from fashionlib.data.sources import ccp

REAL = paths.PROJECT.parent / "shared" / "data" / "clothing-co-parsing"
NAMES = ["null", "t-shirt", "bracelet", "hair", "skin", "top", "wedges"]
LABELS = np.array([[0, 1, 1, 5], [2, 3, 1, 5], [6, 4, 4, 0]], np.uint8)


def annotation(folder, photo_id="0007"):
    return folder / "annotations" / "pixel-level" / f"{photo_id}.mat"


@pytest.fixture
def release(tmp_path):
    """A release of one labelled photo (0007) and one without labels (0008)."""
    folder = tmp_path / "ccp"
    for name in ("photos", "annotations/pixel-level"):
        (folder / name).mkdir(parents=True)
    scipy.io.savemat(folder / "label_list.mat", {"label_list": np.array([NAMES], object)})
    scipy.io.savemat(annotation(folder), {"groundtruth": LABELS})
    for name in ("0007", "0008"):
        Image.new("RGB", (4, 3)).save(folder / "photos" / f"{name}.jpg")
    return folder


def convert(src, tmp_path, **options):
    return ccp.convert(src, tmp_path / "raw", workers=1, progress=False, **options)


def test_each_label_in_a_photo_becomes_an_instance_of_its_category(release, tmp_path):
    out = convert(release, tmp_path)
    rows = raw.read(out)
    shoe = classes.CATEGORIES.index("shoe")
    assert rows.ClassId.tolist() == [1, classes.HAIR_ID, classes.SKIN_ID, 1, shoe]
    assert rows.EncodedPixels.tolist() == ["4 1 7 2", "5 1", "6 1 9 1", "10 2", "3 1"]
    assert [path.name for path in sorted(out.glob("t*/*.jpg"))] == ["0008.jpg", "0007.jpg"]  # test/ train/


def test_the_59_names_are_all_either_a_category_or_background():
    assert (
        len(ccp.CATEGORY_IDS.keys() | ccp._BACKGROUND) == 59 == len(ccp.CATEGORY_IDS) + len(ccp._BACKGROUND)
    )
    assert len(set(ccp.CATEGORY_IDS.values())) == 24 + 2  # no headband, leg warmer, umbrella; hair and skin


def test_a_killed_conversion_starts_again(release, tmp_path):
    left = tmp_path / "raw" / outputs.UNFINISHED / "train" / "left.jpg"
    left.parent.mkdir(parents=True)
    left.touch()
    out = convert(release, tmp_path)
    assert not (out / "train" / "left.jpg").exists() and not left.parent.exists()
    raw.read(out)


def test_a_conversion_killed_while_it_moves_what_is_done_is_whole_with_the_next_command(release, tmp_path):
    out = convert(release, tmp_path)
    (out / outputs.UNFINISHED).mkdir()
    for name in ("train", raw.CSV):
        (out / name).rename(out / outputs.UNFINISHED / name)
    with pytest.raises(raw.RawError, match="already holds raw data"):
        convert(release, tmp_path)
    assert len(raw.read(out)) and not (out / outputs.UNFINISHED).exists()


def test_a_stopped_conversion_leaves_nothing(release, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ccp.processes, "in_parallel", stop)
    with pytest.raises(KeyboardInterrupt):
        convert(release, tmp_path)
    assert not (tmp_path / "raw").exists()


@pytest.mark.skipif(not REAL.exists(), reason="../shared/data/clothing-co-parsing is not on this machine")
def test_the_real_release_in_full(tmp_path):
    out = ccp.convert(REAL, tmp_path / "raw", progress=False)
    rows = raw.read(out)
    assert len(list((out / "train").iterdir())) == 900
    assert len(list((out / "test").iterdir())) == 1094
    photos = rows.drop_duplicates(["ImageId", "ClassId"]).ClassId.map(dict(enumerate(classes.CATEGORIES)))
    # counted independently, DESIGN.md section 6
    counts = photos.value_counts()
    assert {name: counts[name] for name in ("cardigan", "glove", "tie", "cape")} == {
        "cardigan": 11,
        "glove": 14,
        "tie": 18,
        "cape": 23,
    }
    assert set(rows.ClassId) >= set(classes.PERSON)

    labels = scipy.io.loadmat(annotation(REAL, "0002"))["groundtruth"]
    photo = rows[rows.ImageId == "0002"]
    painted = np.zeros(labels.shape, int)
    for row in photo.itertuples():
        painted += rle.decode(row.EncodedPixels, row.Height, row.Width)
    assert painted.max() == 1  # nothing overlaps
    names = [str(name.item()) for name in scipy.io.loadmat(REAL / "label_list.mat")["label_list"].ravel()]
    known = [value for value, name in enumerate(names) if name in ccp.CATEGORY_IDS]
    np.testing.assert_array_equal(painted > 0, np.isin(labels, known))
