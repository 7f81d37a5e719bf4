"""Fashionpedia's JSON -> raw layout: tiny files drawn here, pycocotools as referee, the project's sample."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco

from fashionlib.core import classes, paths
from fashionlib.data import raw, rle
from fashionlib.data.sources import fashionpedia

REAL = paths.PROJECT.parent / "shared" / "data" / "fashionpedia-sample"
needs_sample = pytest.mark.skipif(not REAL.exists(), reason="../shared/data/fashionpedia-sample is not here")
HEIGHT, WIDTH = 4, 6
BELT = np.zeros((HEIGHT, WIDTH), np.uint8)
BELT[1:3, 2:5] = 1


def dress(**changes):
    """An annotation: pixels 1-3 across and 0-1 down of photo 5."""
    polygon = [[1, 0, 4, 0, 4, 2, 1, 2]]
    return {
        "id": 1,
        "image_id": 5,
        "category_id": 3,
        "attribute_ids": [7, 9],
        "segmentation": polygon,
    } | changes


def content(*annotations, file_name="a.jpg", image_id=5):
    return {
        "images": [{"id": image_id, "file_name": file_name, "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 3, "name": "dress"}, {"id": 4, "name": "belt"}, {"id": 5, "name": "earmuffs"}],
        "annotations": list(annotations),
    }


def write(folder, train=None, val=None, photos=("train/a.jpg",)):
    for name, text in ((fashionpedia.TRAIN, train), (fashionpedia.VAL, val)):
        if text:
            folder.mkdir(exist_ok=True)
            (folder / name).write_text(json.dumps(text))
    for photo in photos:
        (folder / photo).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / photo)
    return folder


def convert(src, tmp_path, **options):
    return fashionpedia.convert(src, tmp_path / "raw", workers=1, progress=False, **options)


def test_polygons_and_both_run_length_forms_in_one_file(tmp_path):
    compressed = coco.encode(np.asfortranarray(BELT))
    compressed = {"size": compressed["size"], "counts": compressed["counts"].decode()}
    uncompressed = {"size": [HEIGHT, WIDTH], "counts": [9, 2, 2, 2, 2, 2, 5]}
    belts = [{**dress(segmentation=form), "category_id": 4} for form in (compressed, uncompressed)]
    rows = raw.read(convert(write(tmp_path / "src", content(dress(), *belts)), tmp_path))
    assert rows.ClassId.tolist() == [classes.CATEGORIES.index(name) for name in ("dress", "belt", "belt")]
    assert rows.EncodedPixels.tolist() == ["5 2 9 2 13 2", "10 2 14 2 18 2", "10 2 14 2 18 2"]
    assert rows.AttributesIds.tolist() == ["7,9"] * 3


def test_numbers_may_be_strings_and_annotation_ids_repeat(tmp_path):
    texts = dress(image_id="5", category_id="3", segmentation=[["1", "0", "4", "0", "4", "2", "1", "2"]])
    file = content(texts, dress(), image_id="5")
    file["images"][0] |= {"height": str(HEIGHT), "width": str(WIDTH)}
    rows = raw.read(convert(write(tmp_path / "src", file), tmp_path))
    assert rows.EncodedPixels.tolist() == ["5 2 9 2 13 2"] * 2


def test_official_val_is_listed_and_lies_with_the_others(tmp_path):
    val = content(dress(), file_name="v.jpg")
    photos = ("train/a.jpg", "test/v.jpg", "test/t.jpg")
    out = convert(write(tmp_path / "src", content(dress()), val, photos), tmp_path)
    assert (out / "official_val.txt").read_text() == "v\n"
    assert [str(p.relative_to(out)) for p in sorted(out.glob("t*/*.jpg"))] == [
        "test/t.jpg",
        "train/a.jpg",
        "train/v.jpg",
    ]
    assert raw.read(out).ImageId.tolist() == ["a", "v"]


def test_what_covers_no_pixel_is_dropped(tmp_path):
    line = dress(segmentation=[[0, 0, 3, 0, 5, 0]])
    assert len(raw.read(convert(write(tmp_path / "src", content(line, dress())), tmp_path))) == 1


def test_a_photo_in_both_splits_is_refused(tmp_path):
    with pytest.raises(raw.RawError, match="'a' is listed twice"):
        convert(write(tmp_path / "src", content(dress()), content(dress())), tmp_path)


def test_a_few_bad_photos_are_left_out_and_listed(tmp_path):
    file = content(dress())
    file["images"].append({"id": 6, "file_name": "gone.jpg", "height": HEIGHT, "width": WIDTH})
    out = convert(write(tmp_path / "src", file), tmp_path, max_bad=0.5)
    assert raw.read(out).ImageId.tolist() == ["a"]
    assert "gone,The photo" in (out / "left_out.csv").read_text()


@settings(deadline=None)  # the time of a call says nothing on a busy machine
@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_run_length_forms_agree_with_pycocotools(mask):
    code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    segmentation = {"size": code["size"], "counts": code["counts"].decode()}
    np.testing.assert_array_equal(fashionpedia.mask(segmentation, *mask.shape), mask)


@needs_sample
def test_the_projects_sample(tmp_path):
    rows = raw.read(convert(REAL / "sample.json", tmp_path))
    listed = json.loads((REAL / "sample.json").read_text())
    names = {category["id"]: category["name"] for category in listed["categories"]}  # 48, numbered otherwise
    expected = [names[annotation["category_id"]] for annotation in listed["annotations"]]
    assert rows.ClassId.map(dict(enumerate(classes.CATEGORIES))).tolist() == expected
    for row, annotation in zip(rows.itertuples(), listed["annotations"], strict=True):
        area = rle.decode(row.EncodedPixels, row.Height, row.Width).sum()
        assert area == pytest.approx(annotation["area"], rel=0.01)


@needs_sample
def test_the_samples_compressed_codes():
    for result in json.loads((REAL / "fake_results.json").read_text()):
        code = result["segmentation"]
        np.testing.assert_array_equal(fashionpedia.mask(code, *code["size"]), coco.decode(code))
