import json

import numpy as np
import pytest
from conftest import CCP, FASHIONPEDIA, needs_ccp, needs_fashionpedia
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco
from scipy.io import loadmat

from fashionlib.core import checked_files
from fashionlib.data import rle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools'

# mask, code: the module's own example, then the corners
DRAWN = [
    (["#...", "....", "...."], "1 1"),
    ([".#..", ".##.", "..#."], "4 2 8 2"),
    (["##..", "##..", "##.."], "1 6"),  # a run goes on at the top of the next column
    (["...#", "...#", "...#"], "10 3"),
    (["#.#.", ".#.#", "#.#."], "1 1 3 1 5 1 7 1 9 1 11 1"),
    (["....", "....", "...."], ""),
    (["####", "####", "####"], "1 12"),
    (["#"], "1 1"),
]
masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


def drawn(rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


@pytest.mark.parametrize("rows, code", DRAWN)
def test_drawn_masks(rows, code):
    mask = drawn(rows)
    assert rle.encode(mask) == code
    decoded = rle.decode(code, *mask.shape)
    assert decoded.dtype == bool
    np.testing.assert_array_equal(decoded, mask)


def coco_counts(code, height, width):
    """A code as COCO's uncompressed form: lengths of alternating runs outside and inside."""
    starts, ends = rle.runs(code, height * width)
    counts = np.diff(np.column_stack((starts, ends)).ravel(), prepend=0, append=height * width).tolist()
    return {"size": [height, width], "counts": counts if counts[-1] else counts[:-1]}


def assert_as_pycocotools(mask):
    theirs = coco.frPyObjects(coco_counts(rle.encode(mask), *mask.shape), *mask.shape)
    assert theirs == coco.encode(np.asfortranarray(mask, np.uint8))
    np.testing.assert_array_equal(rle.decode(rle.encode(mask), *mask.shape), coco.decode(theirs))


@given(masks)
def test_agrees_with_pycocotools(mask):
    assert_as_pycocotools(mask)


def test_runs_may_overlap_and_come_in_any_order():
    np.testing.assert_array_equal(rle.decode("8 2 4 2 4 1", 3, 4), drawn([".#..", ".##.", "..#."]))


@pytest.mark.parametrize(
    "code, sentence",
    [
        ("1 3 5", "'1 3 5' has an odd number of integers (3)"),
        ("1 3 x 2", "'1 3 x 2' holds something other than integers"),
        ("1 3.5", "something other than integers"),
        ("1,3", "something other than integers"),
        ("1 + 3", "something other than integers"),
        ("1 - 3", "something other than integers"),
        ("0 3", "the run '0 3' (pair 1) is not a start and a length of at least 1"),
        ("1 2 5 0 7 1", "the run '5 0' (pair 2) is not a start"),
        ("1 -2", "the run '1 -2' (pair 1) is not a start"),
        ("11 3", "the run '11 3' (pair 1) goes past the photo's 12 pixels"),
        ("13 1", "goes past the photo's 12 pixels"),
        ("1 99999999999999999999", "goes past the photo's 12 pixels"),
        ("9223372036854775807 9223372036854775807", "goes past the photo's 12 pixels"),
    ],
)
def test_bad_codes(code, sentence):
    for use in (rle.decode, lambda *a: rle.label_map([code], [0], *a[1:], size=(1, 1))):
        with pytest.raises(ValueError) as error:
            use(code, 3, 4)
        assert sentence in str(error.value)


def test_a_long_bad_code_is_shortened():
    with pytest.raises(ValueError, match="odd number") as error:
        rle.decode("1 2 " * 1000 + "7", 3, 4)
    assert len(str(error.value)) < 200


def test_encode_wants_two_dimensions():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        rle.encode(np.ones((2, 3, 4)))


BELT_AND_DRESS = ["5 2", "1 9"]  # on 3 x 4: the belt lies in the middle of the dress


def test_the_smaller_instance_lies_on_top():
    painted = rle.label_map(BELT_AND_DRESS, [19, 10], 3, 4)
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[11, 11, 11, 0], [11, 20, 11, 0], [11, 20, 11, 0]]


def test_csv_order_lets_the_dress_swallow_the_belt():
    painted = rle.label_map(BELT_AND_DRESS, [19, 10], 3, 4, order="csv")
    assert np.unique(painted).tolist() == [0, 11]


def test_of_equal_areas_the_later_lies_on_top():
    assert rle.label_map(["1 2", "2 2"], [0, 1], 1, 4).tolist() == [[1, 2, 2, 0]]


def test_no_instances_are_background():
    assert not rle.label_map([], [], 3, 4).any()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ((["1 1"], [0], 3, 4, None, "size"), "painting order 'size'"),
        ((["1 1"], [0, 1], 3, 4), "1 codes but 2 class ids"),
        ((["1 1"], [255], 3, 4), "between 0 and 254"),
        ((["1 1"], [-1], 3, 4), "between 0 and 254"),
        ((["1 1"], [0], 3, 4, (4, 4)), r"size=\(4, 4\)"),
        ((["1 1"], [0], 3, 4, (0, 4)), r"size=\(0, 4\)"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        rle.label_map(*arguments)


def nearest(label, h, w):
    """The documented sampling, pixel by pixel on the full map, in floating point."""
    height, width = label.shape
    rows = [int((i + 0.5) * height / h) for i in range(h)]
    columns = [int((j + 0.5) * width / w) for j in range(w)]
    return label[np.ix_(rows, columns)]


def check_sizes(codes, ids, shape, size):
    small = rle.label_map(codes, ids, *shape, size=size)
    np.testing.assert_array_equal(small, nearest(rle.label_map(codes, ids, *shape), *size))


@settings(max_examples=50)
@given(st.data())
def test_straight_at_a_smaller_size(data):
    stack = data.draw(arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=16)))
    shape = stack.shape[1:]
    size = tuple(data.draw(st.integers(1, side)) for side in shape)
    check_sizes([rle.encode(mask) for mask in stack], range(len(stack)), shape, size)


codes_of_30_pixels = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 8)), max_size=6).map(
    lambda runs: " ".join(f"{start} {min(length, 31 - start)}" for start, length in runs)
)


@given(
    st.lists(codes_of_30_pixels, max_size=4),
    st.integers(1, 5),
    st.integers(1, 6),
    st.sampled_from(rle.ORDERS),
)
def test_any_codes_at_any_size(codes, h, w, order):
    """Runs that overlap and come in any order, against masks that are decoded, painted and sampled."""
    masks = [rle.decode(code, 5, 6) for code in codes]
    areas = [sum(map(int, code.split()[1::2])) for code in codes]
    painting = sorted(range(len(codes)), key=lambda i: -areas[i]) if order == "area" else range(len(codes))
    full = np.zeros((5, 6), np.uint8)
    for i in painting:
        full[masks[i]] = i + 1
    small = rle.label_map(codes, range(len(codes)), 5, 6, size=(h, w), order=order)
    np.testing.assert_array_equal(small, nearest(full, h, w))


def test_half_the_size_takes_the_odd_rows_and_columns():
    checkers = np.indices((6, 8)).sum(axis=0) % 2 == 0
    small = rle.label_map([rle.encode(checkers)], [0], 6, 8, size=(3, 4))
    np.testing.assert_array_equal(small, checkers[1::2, 1::2])


def test_a_large_photo_never_fills_a_full_map():
    """100,000 x 100,000 pixels would take 10 GB."""
    small = rle.label_map(["1 5000000000"], [0], 100_000, 100_000, size=(4, 4))
    assert small.tolist() == [[1, 1, 0, 0]] * 4


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: rle.decode("1 3 5", 3, 4), "the run-length code '1 3 5' has an odd number of integers (3), "
         "but it is made of 'start length' pairs"),
        (lambda: rle.decode("x" * 40, 3, 4), f"code {'x' * 40!r} holds something other"),
        (lambda: rle.decode("x" * 41, 3, 4), f"code {'x' * 37 + '...'!r} holds something other"),
        (lambda: rle.label_map([], [], 3, 4, order="size"), "order 'size'. Known: 'area', 'csv'."),
        (lambda: rle.label_map([], [], 3, 4, size=(3, 0)), "size=(3, 0) must lie between (1, 1) and the"),
    ],
)  # fmt: skip
def test_sentences_to_the_letter(call, sentence):
    with pytest.raises(ValueError) as error:
        call()
    assert sentence in str(error.value)


def test_the_last_class_id_is_254():
    assert rle.label_map(["1 1"], [254], 1, 2).tolist() == [[255, 0]]


def test_masks_of_any_numbers_are_masks():
    assert rle.encode(np.array([[2, 3, 0, -1]])) == "1 2 4 1"


@pytest.mark.parametrize("code", ["", " ", "\n"])
def test_an_empty_code_is_an_empty_mask_without_a_word(code, recwarn):
    assert not rle.decode(code, 3, 4).any() and not recwarn.list


@needs_ccp
def test_real_label_maps_of_clothing_co_parsing():
    for path in sorted((CCP / "annotations" / "pixel-level").glob("*.mat"))[::300]:
        labels = loadmat(path)["groundtruth"]
        values = np.unique(labels)
        for value in values:
            assert_as_pycocotools(labels == value)
        codes = [rle.encode(labels == value) for value in values]
        np.testing.assert_array_equal(rle.label_map(codes, values, *labels.shape), labels + 1)
        check_sizes(codes, values, labels.shape, (420, 280))


@needs_fashionpedia
def test_real_polygons_of_fashionpedia():
    sample = json.loads((FASHIONPEDIA / "sample.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in sample["images"]}
    for annotation in sample["annotations"]:
        polygons = coco.frPyObjects(annotation["segmentation"], *sizes[annotation["image_id"]])
        assert_as_pycocotools(coco.decode(coco.merge(polygons)).astype(bool))


@pytest.mark.parametrize(
    "text, kept",
    [
        ("a" * 40, None),
        ("a" * 41, "a" * 37),
        ("a" * 39 + "\n", "a" * 37),
        ("\n" + "a" * 50, "\n" + "a" * 35),
        ("\0" * 20, "\0" * 9),
    ],
)
def test_what_is_shown_in_a_sentence_is_short_as_it_is_read(text, kept):
    assert checked_files.shown(text) == repr(text if kept is None else kept + "...")
    assert len(checked_files.shown(text)) <= 44
