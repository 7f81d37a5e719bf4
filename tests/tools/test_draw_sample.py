"""The drawn sample: what is planned, what is drawn, and that colours alone do not solve it."""

import io
import zipfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fashionlib.core.classes import IMATERIALIST
from fashionlib.data import raw, rle, splits
from fashionlib.data.prepare import prepare
from fashionlib.data.sources import SAMPLE, unpack_sample
from fashionlib.evaluate import metrics
from fashionlib.evaluate.split import Split
from tools import draw_sample
from tools.draw_sample import archive
from tools.draw_sample.paint import Canvas, Item
from tools.draw_sample.plan import Scene, plan
from tools.draw_sample.scenes import draw
from tools.draw_sample.textures import PATTERNS, Cloth

SMALL = 96  # photos of the small data set drawn for these tests


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_sample.make(tmp_path_factory.mktemp("raw") / "sample", SMALL, workers=2, progress=False)


def seen(scene: Scene) -> set[int]:
    return set() if scene.part_only else {i for outfit in scene.outfits for i in outfit}


# --- the plan ---------------------------------------------------------------------------------------


def test_classes_are_frequent_as_the_square_root_of_the_papers_counts():
    photos = Counter(i for scene in plan(400, seed=0) for i in seen(scene))
    counts = np.array([photos[i] for i in range(27)])
    share = (counts / np.sqrt(IMATERIALIST))[counts > counts.min() + 2]  # the rarest are lifted to the floor
    assert counts.min() >= 40 and len(share) >= 10
    assert np.allclose(share, np.median(share), rtol=0.1), counts


def test_every_class_has_photos_for_training_validation_and_test():
    scenes = {f"drawn_{i:04d}": seen(scene) for i, scene in enumerate(plan(400, seed=0))}
    labels = {name: classes for name, classes in scenes.items() if classes}
    parts = splits.split(labels, seed=0, labels=labels)
    for part, least in (("train", 10), ("val", 4), ("test", 4)):
        counts = Counter(i for name in parts[part] for i in labels[name])
        assert min(counts[i] for i in range(27)) >= least, (part, counts)


def test_photos_differ_in_kind_background_and_shape():
    scenes = plan(400, seed=0)
    assert np.mean([scene.kind == "flat" for scene in scenes]) >= 0.3
    assert np.mean([scene.cluttered for scene in scenes]) >= 0.4
    assert len({round(scene.width / scene.height, 2) for scene in scenes}) >= 6


# --- the canvas -------------------------------------------------------------------------------------

boxes = st.lists(st.tuples(*[st.integers(0, 40)] * 4, st.integers(-1, 5)), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(boxes)
def test_painting_larger_instances_first_gives_what_is_seen(boxes):
    cloth = Cloth("smooth", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    canvas = Canvas(np.zeros((40, 40, 3), np.float32), (0.5, -0.5), 1.0, np.random.default_rng(0))
    for x0, y0, x1, y1, class_id in boxes:
        outline = [(x0, y0), (x1 + 1, y0), (x1 + 1, y1 + 1), (x0, y1 + 1)]
        item = Item(class_id if class_id >= 0 else None, cloth).add(outline)
        canvas.draw([item], np.array([[1.0, 0, 0], [0, 1.0, 0]]))
    label_of = [0 if class_id is None else class_id + 1 for class_id, _ in canvas.covered]
    expected = np.array([*label_of, 0])[canvas.owner]
    found = canvas.instances()
    codes, ids = [rle.encode(mask) for _, mask in found], [class_id for class_id, _ in found]
    assert np.array_equal(rle.label_map(codes, ids, 40, 40), expected)


def test_a_belt_lies_on_a_dress_and_the_dress_goes_on_below():
    _, instances = draw(Scene("full", 320, 640, False, ((10, 19),)), np.random.default_rng(3))
    masks = {class_id: mask for class_id, mask in instances if class_id in (10, 19)}
    assert (masks[10] & masks[19]).sum() > 0.5 * masks[19].sum()


@pytest.mark.parametrize("class_id", range(27))
def test_every_class_can_be_laid_out_and_fills_the_picture(class_id):
    picture, instances = draw(Scene("flat", 300, 300, False, ((class_id,),)), np.random.default_rng(1))
    assert picture.shape == (300, 300, 3) and picture.dtype == np.uint8
    area = np.any([mask for i, mask in instances if i == class_id], axis=0).mean()
    assert 0.05 < area < 0.9
    assert {i for i, _ in instances if i < 27} == {class_id}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_mix_between_their_colours(pattern):
    u, v = np.meshgrid(np.linspace(0, 40, 80, dtype=np.float32), np.linspace(0, 40, 80, dtype=np.float32))
    mix, relief = PATTERNS[pattern](u, v)
    assert np.min(mix) >= -0.01 and np.max(mix) <= 1.01
    assert np.min(relief) > 0.2 and np.max(relief) < 1.7


# --- the data set -----------------------------------------------------------------------------------


def test_photos_show_what_was_planned(drawn):
    instances = raw.read(drawn)
    assert raw.descriptions(drawn)["info"] == {"source": "sample", "photos": SMALL, "seed": 0}
    assert instances.ImageId.nunique() == SMALL == len(list((drawn / "train").glob("*.jpg")))
    assert {path.stem for path in (drawn / "test").glob("*.jpg")}.isdisjoint(instances.ImageId)
    shown = instances.groupby("ImageId").ClassId.agg(set)
    assert (shown.map(min) >= 27).sum() == 1, "a photo of which only parts are annotated"
    for i, scene in enumerate(plan(SMALL, seed=0)):
        assert {i for i in shown[f"drawn_{i:04d}"] if i < 27} == seen(scene), scene


def test_same_seed_same_bytes_whatever_the_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(draw_sample, "TEST_PHOTOS", 2)
    folders = [draw_sample.make(tmp_path / str(n), 6, seed=5, workers=n, progress=False) for n in (1, 2)]
    names = [sorted(p.relative_to(f) for p in f.rglob("*") if p.is_file()) for f in folders]
    assert names[0] == names[1] and len(names[0]) == 10
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names[0])
    other = draw_sample.make(tmp_path / "other", 6, seed=6, workers=1, progress=False)
    assert (other / "train.csv").read_bytes() != (folders[0] / "train.csv").read_bytes()


def test_bad_input_and_folders_of_others_are_refused(tmp_path):
    with pytest.raises(ValueError, match="photos=0"):
        draw_sample.make(tmp_path, 0)
    (tmp_path / "mine.txt").write_text("a")
    with pytest.raises(FileExistsError, match="holds 'mine.txt' and nothing that shows a drawn sample"):
        draw_sample.make(tmp_path, 4)


def test_a_photo_of_ones_own_among_the_drawn_ones_stays(tmp_path):
    draw_sample.make(tmp_path, 2, workers=1, progress=False)
    mine = tmp_path / "train" / "holiday.jpg"
    mine.touch()
    with pytest.raises(FileExistsError, match="nothing that shows a drawn sample"):
        unpack_sample(tmp_path)
    assert mine.exists()


@pytest.mark.parametrize(("part", "number"), [("train", 0), ("train", 2), ("train", 3), ("test", 3)])
def test_what_ships_is_what_is_drawn(part, number):
    """A photo for training, one for validation, one of the test split and one without annotation."""
    name, stream, scenes = {
        "train": ("drawn_{:04}", 1, plan(400, 0)),
        "test": ("drawn_t{:02}", 2, plan(16, 1)),
    }[part]
    picture, instances = draw(scenes[number], np.random.default_rng((0, stream, number)))
    masks, image_id = [mask for _, mask in instances], name.format(number)
    with zipfile.ZipFile(SAMPLE) as shipped:
        found = np.asarray(Image.open(shipped.open(f"{part}/{image_id}.jpg")))
        rows = pd.read_csv(shipped.open("train.csv")).query("ImageId == @image_id")
    picture = _as_jpeg(picture)
    if number in (0, 2):
        picture, masks = archive.shrunk(picture, masks)
        picture = _as_jpeg(picture)
    assert np.abs(picture.astype(int) - found).mean() < 1  # 0 with the same OpenCV and libjpeg
    assert rows.ClassId.tolist() == ([class_id for class_id, _ in instances] if part == "train" else [])
    for mask, code in zip(masks, rows.EncodedPixels, strict=False):
        assert (mask != rle.decode(code, *found.shape[:2])).mean() < 0.001


def _as_jpeg(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(archive.jpeg(picture))))


def test_packing_keeps_the_split_and_all_classes(drawn, tmp_path):
    out = archive.pack(drawn, tmp_path / "sample.zip", progress=False)
    assert archive.pack(drawn, tmp_path / "again.zip", progress=False).read_bytes() == out.read_bytes()
    instances = raw.read(unpack_sample(tmp_path / "raw", out))
    assert instances.ClassId.tolist() == raw.read(drawn).ClassId.tolist()
    assert (instances[["Height", "Width"]].min(axis=1) == archive.SHORT).mean() > 0.8
    assert SAMPLE.stat().st_size <= 20e6


def test_colour_alone_does_not_solve_it(tmp_path):
    """Naive Bayes over 16 x 16 x 16 RGB cells, fitted on the training photos, scored on the test photos."""
    prepare(unpack_sample(tmp_path / "raw"), tmp_path / "data" / "sample", stratify=True, progress=False)
    counts, confusion = np.full((28, 16**3), 0.1), 0
    for name in ("train", "test"):
        split = Split.read("sample", name, tmp_path)
        for rgb, label in map(split.load, split.ids):
            cells, label = (rgb[::3, ::3] // 16).astype(int) @ (256, 16, 1), label[::3, ::3]
            if name == "train":
                np.add.at(counts, (label, cells), 1)
            else:
                confusion += metrics.confusion_matrix(counts.argmax(0)[cells], label, 28)
    assert metrics.miou(confusion) < 0.15
