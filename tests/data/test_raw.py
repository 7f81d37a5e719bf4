import json

import numpy as np
import pandas as pd
import pytest

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
