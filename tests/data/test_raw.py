import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fashionlib.core import files
from fashionlib.data import raw


def changed(row, column, value):
    """A change of one cell: `row` counts as the CSV's lines do, so 2 is the first instance."""

    def change(instances):
        instances = instances.astype(object)
        instances.loc[row - 2, column] = value
        return instances

    return change


def test_read(raw_folder):
    instances = raw.read(raw_folder(3))
    assert list(instances.columns) == [*raw.COLUMNS, "row"]
    assert instances.row.tolist() == [2, 3, 4, 5, 6, 7]
    assert instances.ImageId.tolist() == ["p0000", "p0000", "p0001", "p0001", "p0002", "p0002"]
    assert instances.ClassId.tolist() == [0, 19, 1, 19, 2, 19]
    assert set(instances.dtypes[["Height", "Width", "ClassId", "row"]]) == {np.dtype("int64")}
    assert set(instances.AttributesIds) == {""}


def test_ids_stay_strings(raw_folder):
    def rename(instances):
        return instances.assign(ImageId=instances.ImageId.map({"p0000": "0012", "p0001": "NA"}))

    root = raw_folder(2, rename)
    for old, new in {"p0000": "0012", "p0001": "NA"}.items():
        (root / "train" / f"{old}.jpg").rename(root / "train" / f"{new}.jpg")
    assert set(raw.read(root).ImageId) == {"0012", "NA"}


def test_the_form_of_2019(raw_folder):
    root = raw_folder(2)
    table = pd.read_csv(root / "train.csv").drop(columns="AttributesIds")
    table["ImageId"] += ".jpg"
    table["ClassId"] = table.ClassId.astype(str) + "_115_136"
    expected = raw.read(root)
    table.to_csv(root / "train.csv", index=False)
    pd.testing.assert_frame_equal(raw.read(root), expected)


def test_blank_lines_count_as_rows_of_the_file(raw_folder):
    root = raw_folder(2)
    lines = (root / "train.csv").read_text().splitlines()
    (root / "train.csv").write_text("\n".join([*lines[:2], "", *lines[2:], "", ""]))
    assert raw.read(root).row.tolist() == [2, 4, 5, 6]


BAD_ROWS = [
    ("ImageId", "../../etc/passwd", "'../../etc/passwd' is no plain file name"),
    ("ImageId", "a/b", "is no plain file name"),
    ("ImageId", "..", "is no plain file name"),
    ("ImageId", "", "'' is no plain file name"),
    ("ImageId", "a\nb", "is no plain file name"),
    ("EncodedPixels", "1 3 5", "an odd number of integers (3)"),
    ("EncodedPixels", "1 3.5", "something other than integers"),
    ("EncodedPixels", "1 0", "the run '1 0' (pair 1) is not a start and a length of at least 1"),
    ("EncodedPixels", "1 -4", "the run '1 -4'"),
    ("EncodedPixels", "768 2", "the run '768 2' (pair 1) goes past the photo's 768 pixels"),
    ("EncodedPixels", "", "EncodedPixels is empty"),
    ("Height", "24.5", "Height '24.5' is not a whole number"),
    ("Height", "high", "Height 'high' is not a whole number"),
    ("Width", "", "Width '' is not a whole number"),
    ("Width", "1e30", "Width '1e30' is not a whole number"),
    ("Width", 0, "Width 0 is not positive"),
    ("Height", -24, "Height -24 is not positive"),
    ("Height", 25, "Height 25 differs from the photo's first row"),
    ("ClassId", 46, "ClassId 46 is not one of the known ids (0-45)"),
    ("ClassId", -1, "ClassId -1 is not one of the known ids"),
    ("ClassId", "dress", "ClassId 'dress' is not a whole number"),
]


@pytest.mark.parametrize("column, value, sentence", BAD_ROWS)
def test_a_bad_row_is_named(raw_folder, column, value, sentence):
    root = raw_folder(4, changed(5, column, value))
    (root / "label_descriptions.json").unlink()  # or writing ClassId 46 would have listed it
    with pytest.raises(raw.RawError) as error:
        raw.read(root)
    assert f"{root / 'train.csv'}, row 5 (photo " in str(error.value)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_check_collects_and_leaves_out_the_whole_photo(raw_folder):
    root = raw_folder(4, lambda t: changed(9, "ClassId", 99)(changed(4, "EncodedPixels", "1 2 3")(t)))
    (root / "train" / "p0002.jpg").unlink()
    instances, problems = raw.check(root)
    assert set(instances.ImageId) == {"p0000"}
    assert instances.ClassId.dtype == np.int64
    assert problems[["ImageId", "row"]].values.tolist() == [["p0001", 4], ["p0002", 6], ["p0003", 9]]
    with pytest.raises(raw.RawError, match=r"row 4 .* \(2 more such rows"):
        raw.read(root)


def test_hair_and_skin_only_where_listed(raw_folder):
    root = raw_folder(2, lambda t: changed(3, "ClassId", 47)(t).astype({"ClassId": int}))
    listed = json.loads((root / "label_descriptions.json").read_text())["categories"]
    assert [entry["id"] for entry in listed] == [*range(46), 47]
    assert 47 in set(raw.read(root).ClassId)
    (root / "label_descriptions.json").write_text('{"categories": []}')
    with pytest.raises(raw.RawError, match="ClassId 47"):
        raw.read(root)


def bad_photo(damage):
    def apply(path):
        if damage == "missing":
            path.unlink()
        elif damage == "no photo":
            path.write_bytes(b"not a photo")
        elif damage == "cut to its head":
            path.write_bytes(path.read_bytes()[:60])
        else:
            Image.new("RGB", (24, 32)).save(path)

    return apply


@pytest.mark.parametrize(
    "damage, sentence",
    [
        ("missing", "p0001.jpg does not exist"),
        ("no photo", "p0001.jpg can't be opened"),
        ("cut to its head", "p0001.jpg can't be opened"),
        ("turned", "Height x Width 24 x 32 differ from the photo"),
    ],
)
def test_a_bad_photo_is_named_with_its_row(raw_folder, damage, sentence):
    root = raw_folder(3)
    bad_photo(damage)(root / "train" / "p0001.jpg")
    with pytest.raises(raw.RawError, match=r"train\.csv, row 4 \(photo 'p0001'\)") as error:
        raw.read(root)
    assert sentence in str(error.value)


@pytest.mark.parametrize("column", raw.COLUMNS[:5])
def test_a_missing_column_is_named(raw_folder, column):
    root = raw_folder(2)
    pd.read_csv(root / "train.csv").drop(columns=column).to_csv(root / "train.csv", index=False)
    with pytest.raises(raw.RawError, match=rf"train\.csv has no column '{column}'"):
        raw.check(root)


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "can't be read as CSV"),
        (b"ImageId,EncodedPixels\na,1 2,3,4\n", "can't be read as CSV"),
        (b"\xff\xfe\x00", "can't be read as CSV"),
        (",".join(raw.COLUMNS).encode(), "has no rows"),
        (None, "does not exist"),
    ],
)
def test_a_bad_file_is_named(raw_folder, content, sentence):
    root = raw_folder(1)
    (root / "train.csv").unlink()
    if content is not None:
        (root / "train.csv").write_bytes(content)
    with pytest.raises(raw.RawError, match=rf"train\.csv {sentence}"):
        raw.check(root)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_bad_descriptions_are_named(raw_folder, content):
    root = raw_folder(1)
    (root / "label_descriptions.json").write_text(content)
    with pytest.raises(raw.RawError, match=r"label_descriptions\.json"):
        raw.check(root)


def test_image_path():
    assert raw.image_path("raw/x", "0012").as_posix() == "raw/x/train/0012.jpg"
    assert raw.image_path("raw/x", "0012", "test").as_posix() == "raw/x/test/0012.jpg"
    for image_id in ("../0012", "/etc/passwd", "..", "a\\b", "", "a\x00", " a"):
        with pytest.raises(raw.RawError, match="not a plain file name"):
            raw.image_path("raw/x", image_id)


def test_write_says_where_the_data_is_from(raw_folder):
    described = raw.descriptions(raw_folder(1))
    assert described["info"] == {"source": "drawn for a test"}
    assert described["categories"][19] == {"id": 19, "name": "belt", "supercategory": "waist", "level": 2}


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.atomic_write(path) as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
