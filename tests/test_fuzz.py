"""What reads files that we did not make, on inputs that nobody wrote: kept ones, hypothesis' and atheris'."""

import importlib
import importlib.util
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from fuzz import TARGETS, codec, corpus, csv, png, polygons
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fashionlib.core.paths import PROJECT
from fashionlib.data import prepared, raw, rle
from fashionlib.data.sources import fashionpedia

GUIDED = {"codec": 20_000, "csv": 2_000}  # executions: a quarter of a minute each; the soak takes 5 minutes


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_that_were_found_before(target):
    one = importlib.import_module(f"fuzz.{target}").one
    assert len(corpus(target)) > 2
    for path in corpus(target):
        one(path.read_bytes())


@pytest.mark.skipif(
    not importlib.util.find_spec("atheris"), reason="atheris has wheels for Linux on x86-64 only"
)
@pytest.mark.parametrize("target", GUIDED)
def test_guided_by_coverage(target):
    command = [sys.executable, "-m", "tests.fuzz", target, "--runs", str(GUIDED[target])]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.fullmatch(rf"([\d,]+) executions of {target}, none failed\n", done.stdout)
    assert int(told[1].replace(",", "")) >= GUIDED[target]


FAULTS = {  # target -> a fault of the library that its kept inputs have to show
    "codec": (rle, "encode", lambda mask: "1 1"),
    "csv": (raw, "_row_problems", lambda table, class_ids: {}),
    "png": (prepared, "_chunks", lambda content: {}.__getitem__(content)),
    "polygons": (fashionpedia, "_counts", lambda code, height, width: code["no such key"]),
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_fault_would_be_seen(target, monkeypatch):
    monkeypatch.setattr(*FAULTS[target])
    with pytest.raises(Exception):  # noqa: B017  (each shows in its own way)
        for path in corpus(target):
            importlib.import_module(f"fuzz.{target}").one(path.read_bytes())


SIDES = st.binary(min_size=4, max_size=4).filter(lambda sides: b"\n" not in sides)
WORDS = st.one_of(
    st.integers(-3, 300).map(str),
    st.integers().map(str),
    st.sampled_from(["", "+", "-", "+1", "1.5", "1e3", "0x1", "nan", "\0", "\u0663", "\ud800", "1_0"]),
)


@given(SIDES, st.lists(WORDS).map(" ".join) | st.text())
def test_any_text_is_a_code_or_one_sentence(sides, text):
    codec.one(sides + text.encode("utf-8", "surrogatepass"))


FIELDS = st.sampled_from(
    ["a", "b", "a.jpg", "../a", "", '"', "\0", "\n", "1 2", "4 3 8 2", "1 2 3"]
    + ["3", "4", "4.0", "-1", "46", "6_1", "x"]
)
ROWS = st.lists(FIELDS, min_size=4, max_size=7).map(",".join)


@settings(max_examples=60)
@given(st.lists(ROWS, max_size=4), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", "\ufeff"]))
def test_any_table_is_read_or_one_sentence(rows, ends, mark):
    csv.one((mark + ends.join([",".join(raw.COLUMNS), *rows])).encode())


def label_png(colour: bool, filtered: bool) -> bytes:
    labels = np.arange(35, dtype=np.uint8).reshape(5, 7)
    image = Image.fromarray(labels)
    if colour:
        image.putpalette(bytes(768))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=filtered)
    return buffer.getvalue()


CHANGES = st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=4)


@given(st.booleans(), st.booleans(), CHANGES)
def test_a_label_map_with_changed_bytes_is_pillows_or_one_sentence(colour, filtered, changes):
    content = bytearray(label_png(colour, filtered))
    for at, byte in changes:
        content[at % len(content)] = byte
    png.one(bytes(content))


@given(st.binary())
def test_any_bytes_are_a_label_map_or_one_sentence(content):
    png.one(content)
    png.one(b"\x89PNG\r\n\x1a\n" + content)


NUMBERS = st.one_of(st.integers(-2, 12), st.floats(), st.integers(), st.just("3"), st.none())
JSON = st.recursive(
    NUMBERS | st.text() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
)
POLYGONS = st.lists(st.lists(NUMBERS | st.lists(NUMBERS, max_size=2), max_size=8), max_size=3)
RUNS = st.fixed_dictionaries({"size": st.just([5, 7]) | JSON, "counts": st.lists(NUMBERS) | st.text() | JSON})


@given(POLYGONS | RUNS | JSON)
def test_any_segmentation_is_drawn_or_one_sentence(segmentation):
    polygons.one(whole({"segmentation": segmentation}))


KEYS = st.sampled_from(["image_id", "category_id", "attribute_ids", "segmentation"])


@given(st.dictionaries(KEYS, JSON), JSON)
def test_any_annotation_is_read_or_one_sentence(changes, image):
    polygons.one(whole(changes))
    polygons.one(whole(changes, image))


def whole(annotation: dict, image: object = None) -> bytes:
    """Fashionpedia's JSON with an annotation of these values, and perhaps another thing for its image."""
    good = {"image_id": 5, "category_id": 3, "segmentation": [[1, 0, 4, 0, 4, 2]]}
    content = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 5, "width": 7} if image is None else image],
        "categories": [{"id": 3, "name": "dress"}],
        "annotations": [good | annotation],
    }
    return json.dumps(content).encode()
