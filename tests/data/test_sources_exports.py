"""COCO JSON of CVAT and Label Studio, and LabelMe's files -> raw layout."""

import base64
import io
import json
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as pycoco

from fashionlib.core import classes
from fashionlib.data import prepared, raw, rle
from fashionlib.data.audit import audit
from fashionlib.data.prepare import prepare
from fashionlib.data.sources import coco, folder, labelme

DRESS, BAG = classes.IDS["dress"], classes.IDS["bag, wallet"]
SQUARE = [0, 0, 2, 0, 2, 2, 0, 2]  # the four pixels at the top left
HEIGHT, WIDTH = 3, 4


def photo(path, size=(WIDTH, HEIGHT), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 30)).save(path, **options)
    return path


def masks(out, photo_id="a"):
    """Class and mask of each instance of a photo, in the file's order."""
    rows = raw.read(out)
    return [
        (row.ClassId, rle.decode(row.EncodedPixels, row.Height, row.Width).astype(int).tolist())
        for row in rows[rows.ImageId == photo_id].itertuples()
    ]


# ---------------------------------------------------------------- COCO


def export(
    segmentations, file_name="a.jpg", first=1, names=("dress", "bag, wallet"), size=(HEIGHT, WIDTH), **more
):
    """A COCO JSON of one image; `segmentations` are (position in `names`, segmentation)."""
    return json.dumps(
        {
            "images": [
                {"id": first, "file_name": file_name, "height": size[0], "width": size[1], "flickr_url": ""}
            ],
            "categories": [{"id": first + i, "name": name} for i, name in enumerate(names)],
            "annotations": [
                {"id": i, "image_id": first, "category_id": first + label, "segmentation": shape, **more}
                for i, (label, shape) in enumerate(segmentations)
            ],
        }
    )


def from_coco(tmp_path, text, name="result.json", photos=("a.jpg",), **options):
    source = tmp_path / "src"
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_text(text)
    for path in photos:
        photo(source / path)
    return coco.convert(source, tmp_path / "raw", workers=1, progress=False, **options)


GOLDEN = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    "segmentation",
    [
        [SQUARE],
        {"size": [3, 4], "counts": [0, 2, 1, 2, 7]},
        {"size": [3, 4], "counts": pycoco.encode(np.asfortranarray(GOLDEN, np.uint8))["counts"].decode()},
    ],
    ids=["polygon", "CVAT's mask", "compressed"],
)
@pytest.mark.parametrize("first", [0, 1], ids=["Label Studio's ids", "CVAT's ids"])
def test_polygons_and_run_length_codes_are_drawn_alike(tmp_path, segmentation, first):
    attributes = {"occluded": False, "rotation": 0.0}
    text = export([(1, segmentation)], first=first, iscrowd=1, ignore=0, attributes=attributes)
    assert masks(from_coco(tmp_path, text)) == [(BAG, GOLDEN)]


@pytest.mark.parametrize(
    "file_name, json_name, lies",
    [
        ("a.jpg", "annotations/instances_default.json", "images/a.jpg"),
        ("batch1/a.jpg", "annotations/instances_default.json", "images/default/batch1/a.jpg"),
        ("images/1a2b-a.jpg", "result.json", "images/1a2b-a.jpg"),
        ("images\\1a2b-a.jpg", "result.json", "images/1a2b-a.jpg"),
        ("..\\..\\label-studio\\media\\upload\\4\\1a2b-a.png", "result.json", "images/1a2b-a.png"),
        ("/data/upload/4/1a2b-a.webp", "result.json", "images/1a2b-a.webp"),
    ],
)
def test_a_photo_is_found_wherever_the_tool_says_it_lies(tmp_path, file_name, json_name, lies):
    out = from_coco(tmp_path, export([(0, [SQUARE])], file_name), json_name, [lies])
    assert masks(out, PurePosixPath(lies).stem) == [(DRESS, GOLDEN)]
    assert [path.name for path in out.glob("test/*")] == []


def test_photos_of_one_name_in_two_folders_are_told_apart(tmp_path):
    text = json.loads(export([(0, [SQUARE])], "one/a.jpg"))
    text["images"].append(text["images"][0] | {"id": 2, "file_name": "two/a.jpg"})
    text["annotations"].append(text["annotations"][0] | {"image_id": 2, "category_id": 2})
    out = from_coco(tmp_path, json.dumps(text), photos=["images/one/a.jpg", "images/two/a.jpg"])
    assert masks(out, "images_one_a") == [(DRESS, GOLDEN)] and masks(out, "images_two_a") == [(BAG, GOLDEN)]


def test_photos_without_a_shape_go_to_test(tmp_path):
    text = json.loads(export([(0, [SQUARE])]))
    text["images"].append(text["images"][0] | {"id": 2, "file_name": "b.jpg"})
    out = from_coco(tmp_path, json.dumps(text), photos=["a.jpg", "b.jpg", "more/c.png"])
    assert sorted(path.name for path in out.glob("*/*.jpg")) == ["a.jpg", "b.jpg", "c.jpg"]
    assert sorted(path.name for path in out.glob("test/*.jpg")) == ["b.jpg", "c.jpg"]


def test_later_shapes_cover_earlier_ones_and_background_cuts_a_hole(tmp_path):
    whole = [0, 0, 4, 0, 4, 3, 0, 3]
    shapes = [(0, [SQUARE]), (1, [whole]), (0, [SQUARE]), (2, [[0, 0, 1, 0, 1, 1, 0, 1]])]
    out = from_coco(tmp_path, export(shapes, names=("dress", "bag, wallet", "background")))
    assert masks(out) == [
        (BAG, [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]]),
        (DRESS, [[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]),
    ]
    made = prepare(out, tmp_path / "data", fractions=(1, 0, 0), workers=1, progress=False)
    assert made["counts"]["per_class"]["dress"]["pixels"] == 3  # not the larger one first


def test_a_table_says_which_label_is_which_class(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text('label,class\nHandtasche,"bag, wallet"\nLeute,background\n')
    text = export([(0, [SQUARE]), (1, [SQUARE])], names=("Leute", "Handtasche"))
    assert masks(from_coco(tmp_path, text, table=table)) == [(BAG, GOLDEN)]


def test_a_photo_that_exif_turns_fits_as_it_is_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees
    photo(tmp_path / "src/a.jpg", (HEIGHT, WIDTH), exif=exif)
    assert masks(from_coco(tmp_path, export([(0, [SQUARE])]), photos=[])) == [(DRESS, GOLDEN)]


POINTS = st.lists(st.tuples(st.floats(0, 40), st.floats(0, 30)), min_size=3, max_size=8)


@settings(max_examples=60, deadline=None)
@given(POINTS)
def test_polygons_have_pycocotools_pixels(points):
    flat = [coordinate for point in points for coordinate in point]
    ours = coco._mask(("", [flat]), 30, 40)
    assert np.array_equal(ours, pycoco.decode(pycoco.frPyObjects([flat], 30, 40))[..., 0])
    of_labelme = labelme._mask({"points": points, "shape_type": "polygon"}, 30, 40)
    assert np.array_equal(of_labelme, ours)


# ---------------------------------------------------------------- classes of one's own


def test_own_classes_go_from_the_export_to_the_label_map(tmp_path):
    text = export([(1, [SQUARE])], names=("unused", "top", "background"))
    out = from_coco(tmp_path, text, own=True)
    assert raw.own_classes(out) == ["unused", "top"] and masks(out) == [(1, GOLDEN)]
    made = prepare(out, tmp_path / "data", fractions=(1, 0, 0), workers=1, progress=False)
    assert (made["class_set"], made["classes"]) == ("own", ["background", "unused", "top"])
    assert made["counts"]["per_class"]["top"]["pixels"] == 4
    assert prepared.require(tmp_path / "data") == made
    page = audit(out, data_folder=tmp_path / "data", progress=False)
    assert "| top | 1 | 1 | 1 | 0 | 0 |" in page and "of main apparel" not in page
    with pytest.raises(ValueError, match="Unknown class set 'person'"):
        prepare(out, tmp_path / "other", class_set="person", workers=1, progress=False)


LABELS = st.lists(st.integers(0, 3), min_size=HEIGHT * WIDTH, max_size=HEIGHT * WIDTH).filter(any)


@settings(max_examples=25, deadline=None)
@given(LABELS)
def test_a_label_map_written_as_a_folder_and_converted_is_the_same(tmp_path_factory, labels):
    tmp_path = tmp_path_factory.mktemp("trip")
    labels, names = np.array(labels, np.uint8).reshape(HEIGHT, WIDTH), ["top", "bottom", "shoe"]
    written = folder.write(tmp_path / "mine", [(photo(tmp_path / "a.jpg"), labels)], ["background", *names])
    out = folder.convert(written, tmp_path / "raw", own=True, workers=1, progress=False)
    rows = raw.read(out)
    back = rle.label_map(rows.EncodedPixels.tolist(), rows.ClassId.tolist(), HEIGHT, WIDTH)
    assert np.array_equal(back, labels) and raw.own_classes(out) == names
    assert (out / "train/a.jpg").read_bytes() == (tmp_path / "a.jpg").read_bytes()


# ---------------------------------------------------------------- LabelMe


def png(mask):
    buffer = io.BytesIO()
    Image.fromarray(np.array(mask, np.uint8) * 255).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def saved(*shapes, path="a.jpg", data=None, size=(HEIGHT, WIDTH)):
    """LabelMe's JSON of shapes given as (label, shape_type, points, mask)."""
    listed = [
        {"label": label, "points": points, "shape_type": kind, "mask": mask, "group_id": None, "flags": {}}
        for label, kind, points, mask in shapes
    ]
    facts = {"version": "5.5.0", "flags": {}, "imagePath": path, "imageData": data}
    return json.dumps(facts | {"shapes": listed, "imageHeight": size[0], "imageWidth": size[1]})


def from_labelme(tmp_path, text, photos=("a.jpg",), **options):
    (tmp_path / "src").mkdir(exist_ok=True)
    (tmp_path / "src/a.json").write_text(text)
    for path in photos:
        photo(tmp_path / path if path.startswith("src") else tmp_path / "src" / path)
    return labelme.convert(tmp_path / "src", tmp_path / "raw", workers=1, progress=False, **options)


@pytest.mark.parametrize(
    "kind, points, mask, golden",
    [
        ("polygon", [[0, 0], [2, 0], [2, 2], [0, 2]], None, GOLDEN),
        (None, [[0, 0], [2, 0], [2, 2], [0, 2]], None, GOLDEN),  # of old versions
        ("rectangle", [[2, 2], [0, 0]], None, GOLDEN),
        ("circle", [[1.5, 1.5], [2.5, 1.5]], None, [[0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]]),
        ("mask", [[1, 1], [2, 2]], [[1, 0], [1, 1]], [[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]]),
        ("mask", [[-1, 2], [0, 3]], [[1, 1], [1, 1]], [[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]),
    ],
)
def test_shapes_have_these_pixels(tmp_path, kind, points, mask, golden):
    shape = ("dress", kind, points, mask and png(mask))
    assert masks(from_labelme(tmp_path, saved(shape))) == [(DRESS, golden)]


def test_a_mask_of_pngs_with_a_palette_or_one_bit_counts_as_drawn(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.array([[True, False]])).save(buffer, "PNG")
    shape = ("dress", "mask", [[0, 0], [1, 0]], base64.b64encode(buffer.getvalue()).decode())
    assert masks(from_labelme(tmp_path, saved(shape))) == [(DRESS, [[1, 0, 0, 0], [0] * 4, [0] * 4])]


@pytest.mark.parametrize("path", ["a.jpg", "..\\photos\\a.jpg", "C:\\Users\\me\\a.jpg", "../elsewhere/a.jpg"])
def test_a_photo_is_found_by_the_path_of_another_machine(tmp_path, path):
    shape = ("dress", "rectangle", [[0, 0], [2, 2]], None)
    assert masks(from_labelme(tmp_path, saved(shape, path=path), ["photos/a.jpg"])) == [(DRESS, GOLDEN)]


def test_a_missing_photo_comes_from_the_file_itself(tmp_path):
    content = photo(tmp_path / "elsewhere.jpg").read_bytes()
    text = saved(("dress", "rectangle", [[0, 0], [2, 2]], None), data=base64.b64encode(content).decode())
    out = from_labelme(tmp_path, text, photos=())
    assert masks(out) == [(DRESS, GOLDEN)] and (out / "train/a.jpg").read_bytes() == content


def test_own_labels_of_labelme_are_in_the_order_of_their_names(tmp_path):
    shapes = [
        (name, "rectangle", [[i, 0], [i + 1, 1]], None) for i, name in enumerate(["sole", "heel", "sole"])
    ]
    out = from_labelme(tmp_path, saved(*shapes), own=True)
    assert raw.own_classes(out) == ["heel", "sole"] and raw.read(out).ClassId.tolist() == [1, 0, 1]
