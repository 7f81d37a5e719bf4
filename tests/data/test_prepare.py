import json
import os
import shutil
from collections import namedtuple

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from test_raw import changed

from fashionlib.core import classes
from fashionlib.data import prepare, raw, rle
from fashionlib.data import prepared as labels
from fashionlib.data.dataset import FashionDataset
from fashionlib.data.prepare import prepare as prepare_all
from fashionlib.data.splits import SPLITS, split


def run(raw_root, out, **options):
    """`prepare` in this process, without a bar."""
    return prepare_all(raw_root, out, **{"workers": 1, "progress": False} | options)


def label(out, image_id):
    return np.asarray(Image.open(out / "labels" / f"{image_id}.png"))


def ids(out, name):
    return (out / "splits" / f"{name}.txt").read_text().splitlines()


def test_what_is_written(raw_folder, tmp_path):
    root, out = raw_folder(10), tmp_path / "drawn"
    summary = run(root, out)
    assert summary == json.loads((out / "dataset.json").read_text())
    assert {path.name for path in out.iterdir()} == {
        "images",
        "labels",
        "splits",
        "dataset.json",
        "left_out.csv",
    }
    assert [len(ids(out, name)) for name in SPLITS] == [7, 2, 1]
    assert sorted(i for name in SPLITS for i in ids(out, name)) == [f"p{i:04}" for i in range(10)]
    assert summary["data"] == "drawn" and summary["source"] == "drawn for a test"
    assert summary["classes"] == list(classes.CLASSES) and summary["left_out"] == {}
    counts = summary["counts"]
    assert [counts[key] for key in ("photos", *SPLITS, "instances")] == [10, 7, 2, 1, 20]
    assert counts["per_class"]["belt"] == {"photos": 10, "pixels": 300, "train": 7, "val": 2, "test": 1}
    assert counts["per_class"]["sweater"]["pixels"] == 90  # the belt hides 30 of 120
    assert counts["per_class"]["background"]["pixels"] == 10 * (24 * 32 - 120)


def test_the_belt_lies_on_the_garment(raw_folder, tmp_path):
    run(raw_folder(10), tmp_path / "out")
    expected = np.zeros((24, 32), np.uint8)
    expected[6:18, 4:14] = 3  # class 2, sweater
    expected[15:18, 4:14] = 20  # class 19, belt
    np.testing.assert_array_equal(label(tmp_path / "out", "p0002"), expected)


def test_csv_order_can_be_asked_for(raw_folder, tmp_path):
    root = raw_folder(10, lambda t: t.iloc[::-1])
    run(root, tmp_path / "out", order="csv")
    assert np.unique(label(tmp_path / "out", "p0002")).tolist() == [0, 3]


def test_label_maps_are_8_bit_palette_images(raw_folder, tmp_path):
    run(raw_folder(10), tmp_path / "out")
    path = tmp_path / "out" / "labels" / "p0000.png"
    with Image.open(path) as image:
        assert image.mode == "P"
        assert tuple(image.getpalette()[3:6]) == classes.FULL_PALETTE[1]
        assert image.getpalette()[-3:] == [255, 255, 255]
    assert path.read_bytes()[24] == 8  # IHDR's bit depth


def test_photos_are_linked_not_copied(raw_folder, tmp_path):
    root = raw_folder(10)
    run(root, tmp_path / "out")
    assert os.path.samefile(root / "train" / "p0000.jpg", tmp_path / "out" / "images" / "p0000.jpg")


def test_photos_are_copied_where_links_are_impossible(raw_folder, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    root = raw_folder(10)
    run(root, tmp_path / "out")
    photo, copy = root / "train" / "p0000.jpg", tmp_path / "out" / "images" / "p0000.jpg"
    assert photo.read_bytes() == copy.read_bytes() and not os.path.samefile(photo, copy)


def test_many_processes_write_the_same(raw_folder, tmp_path, monkeypatch):
    """And inherit nothing: a fork would bring along locks of OpenCV's and torch's threads, and can hang."""
    root = raw_folder(20)
    one = run(root, tmp_path / "a" / "out")
    monkeypatch.setattr(rle, "label_map", None)  # a fork would call this
    two = run(root, tmp_path / "b" / "out", workers=2)
    assert {**one, "created": ""} == {**two, "created": ""}
    for path in (tmp_path / "a" / "out").rglob("*.[pt][nx][gt]"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def with_parts(instances):
    """p0001 has nothing but parts (a sleeve), p0002 a part beside its garment, p0003 hair only."""
    instances = changed(4, "ClassId", 31)(changed(5, "ClassId", 31)(changed(7, "ClassId", 31)(instances)))
    instances = changed(8, "ClassId", 46)(changed(9, "ClassId", 46)(instances))
    return instances.astype({"ClassId": int})


def test_part_only_photos_are_left_out_and_counted(raw_folder, tmp_path):
    summary = run(raw_folder(11, with_parts), tmp_path / "out")
    assert summary["left_out"] == {"part_only": 1} and summary["counts"]["photos"] == 10
    left_out = pd.read_csv(tmp_path / "out" / "left_out.csv")
    assert left_out.values.tolist() == [["p0001", 4, "part_only", "no class of 'main', only garment parts"]]
    assert np.unique(label(tmp_path / "out", "p0002")).tolist() == [0, 3]  # its part is dropped
    assert not label(tmp_path / "out", "p0003").any()  # no garment is missing in this one


@pytest.mark.parametrize("part_only, values", [("ignore", [0, 255]), ("keep", [0])])
def test_part_only_photos_can_stay(raw_folder, tmp_path, part_only, values):
    summary = run(raw_folder(11, with_parts), tmp_path / "out", part_only=part_only, stratify=True)
    assert summary["left_out"] == {} and summary["counts"]["photos"] == 11
    assert np.unique(label(tmp_path / "out", "p0001")).tolist() == values


def test_class_sets(raw_folder, tmp_path):
    root = raw_folder(11, with_parts)
    person = run(root, tmp_path / "person", class_set="person")
    assert person["classes"][28:] == ["hair", "skin"]
    assert np.unique(label(tmp_path / "person", "p0003")).tolist() == [0, 28]
    everything = run(root, tmp_path / "all", class_set="all")
    assert everything["left_out"] == {} and len(everything["classes"]) == 47
    assert np.unique(label(tmp_path / "all", "p0001")).tolist() == [0, 32]


def every_kind(instances):
    """Rows of p0000 (garment, belt), p0001 to p0003 (parts only, p0002 with hair), p0004 (skin only), p0005
    (a bad code), p0006 (a part and the last main class) and p0007, one of whose rows goes to the very top.
    """
    classes_of = {4: 45, 5: 27, 6: 46, 7: 27, 8: 31, 9: 31, 10: 47, 11: 47, 14: 27, 15: 26}
    for row, class_id in classes_of.items():
        instances = changed(row, "ClassId", class_id)(instances)
    instances = changed(12, "EncodedPixels", "1 2 3")(instances).astype({"ClassId": int})
    return instances.iloc[[15, *range(15)]]


GARMENT, BELT = (rle.encode(np.pad(np.ones((h, 10)), ((18 - h, 6), (4, 18)))) for h in (12, 3))
PHOTOS = {  # of every_kind, in the class set "main": id -> first row, label values
    "p0007": (2, (20, 8)),
    "p0000": (3, (1, 20)),
    "p0004": (11, ()),
    "p0006": (15, (27,)),
}


def chosen(root, *how):
    """What `prepare` takes (id -> row, label values), and the table of what it leaves out."""
    photos, left_out = prepare._choose(root, *how)
    assert {(photo.height, photo.width) for photo in photos} == {(24, 32)}
    return {photo.id: (photo.row, photo.values) for photo in photos}, left_out


def test_which_photos_are_prepared_and_which_are_left_out(raw_folder):
    root = raw_folder(8, every_kind)
    shutil.copy(root / "train" / "p0000.jpg", root / "train" / "z.jpg")
    shutil.copy(root / "train" / "p0000.jpg", root / "train" / "stray.jpg")
    (root / "train" / "note.txt").write_text("no photo")
    photos, left_out = chosen(root, "main", "leave_out")
    assert list(photos.items()) == list(PHOTOS.items())
    parts_only, no_row = "no class of 'main', only garment parts", "train.csv has no row for this photo"
    bad = raw.check(root)[1].problem[0]
    assert list(left_out.columns) == ["ImageId", "row", "reason", "problem"]
    assert left_out.values.tolist() == [
        ["p0005", 13, "bad", bad],
        ["stray", 0, "unlabelled", no_row],
        ["z", 0, "unlabelled", no_row],
        ["p0001", 5, "part_only", parts_only],
        ["p0002", 7, "part_only", parts_only],
        ["p0003", 9, "part_only", parts_only],
    ]


def test_instances_keep_their_codes_and_order(raw_folder):
    photos, _ = prepare._choose(raw_folder(8, every_kind), "main", "leave_out")
    assert all(type(value) is int for photo in photos for value in photo.values)
    codes = [photo.codes for photo in photos]
    assert codes == [(BELT, GARMENT), (GARMENT, BELT), (), (BELT,)]  # a part of p0006 is not painted


@pytest.mark.parametrize(
    "how, photos",
    [
        (("main", "keep"), {"p0001": (5, ()), "p0002": (7, ()), "p0003": (9, ())}),
        (("main", "ignore"), {"p0001": (5, (255, 255)), "p0002": (7, (255,)), "p0003": (9, (255, 255))}),
        (("person", "leave_out"), {"p0002": (7, (28,)), "p0004": (11, (29, 29))}),
        (("person", "ignore"), {"p0001": (5, (255, 255)), "p0002": (7, (28,)), "p0003": (9, (255, 255)),
                                "p0004": (11, (29, 29))}),
        (("all", "leave_out"), {"p0001": (5, (46, 28)), "p0002": (7, (28,)), "p0003": (9, (32, 32)),
                                "p0006": (15, (28, 27))}),
    ],
)  # fmt: skip
def test_what_instances_become(raw_folder, how, photos):
    found, left_out = chosen(raw_folder(8, every_kind), *how)
    assert found == PHOTOS | photos and {*left_out.ImageId} == {f"p000{i}" for i in range(8)} - found.keys()


def test_shrinking(raw_folder, tmp_path):
    root = raw_folder(10)
    run(root, tmp_path / "full")
    run(root, tmp_path / "small", max_side=16)
    with Image.open(tmp_path / "small" / "images" / "p0000.jpg") as photo:
        assert photo.size == (16, 12)
    small = label(tmp_path / "small", "p0000")
    np.testing.assert_array_equal(small, label(tmp_path / "full", "p0000")[1::2, 1::2])
    run(root, tmp_path / "not_larger", max_side=32)
    assert label(tmp_path / "not_larger", "p0000").shape == (24, 32)
    assert os.path.samefile(root / "train" / "p0000.jpg", tmp_path / "not_larger" / "images" / "p0000.jpg")


def test_a_shrunk_photo_shows_the_same(tmp_path):
    """A smooth photo, so that the order of shrinking and compressing hardly matters."""
    ramp = np.add.outer(np.linspace(0, 127, 600), np.linspace(0, 127, 900)).astype(np.uint8)
    (tmp_path / "raw" / "train").mkdir(parents=True)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "raw" / "train" / "x.jpg", quality=95)
    photo = labels.Photo("x", 2, 600, 900, ("1 600",), (1,))
    written = labels.write(photo, tmp_path / "raw", tmp_path, 90, "area")
    assert written.problem == "" and written.pixels.sum() == 60 * 90
    small = Image.open(tmp_path / "images" / "x.jpg")
    assert abs(np.asarray(small, int)[..., 0] - ramp[5::10, 5::10]).max() <= 3
    assert small.quantization == Image.open(tmp_path / "raw" / "train" / "x.jpg").quantization  # quality 95


def test_a_thin_photo_keeps_a_pixel():
    photo = labels.Photo("x", 2, 1000, 4, (), ())
    assert labels.size_of(photo, 100) == (100, 1)
    assert labels.size_of(photo._replace(height=4, width=1000), 100) == (1, 100)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_decoding_at_a_fraction_moves_nothing(tmp_path, suffix):
    """Odd sides do not divide by 2, 4 and 8: the photo is not quite all of what the decoder gives."""
    noise = np.random.default_rng(0).integers(0, 256, (751, 1001, 3), np.uint8)
    blurred = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    path, size = tmp_path / f"photo.{suffix}", (125, 94)
    Image.fromarray(blurred).save(path, quality=95)
    with Image.open(path) as whole, Image.open(path) as photo:
        expected = np.asarray(whole.resize(size, Image.Resampling.LANCZOS), int)
        assert abs(np.asarray(labels.shrink(photo, size)) - expected).mean() < 1  # an eighth of a pixel: 4


def test_nothing_is_done_twice(raw_folder, tmp_path, monkeypatch):
    root, out = raw_folder(10), tmp_path / "out"
    first = run(root, out)
    monkeypatch.setattr(raw, "check", None)  # whoever calls it fails
    assert run(root, out) == first


@pytest.mark.parametrize("lost", ["labels/p0003.png", "images/p0003.jpg", "splits/val.txt"])
def test_a_file_that_was_lost_is_noticed_and_made_again(raw_folder, tmp_path, lost):
    root, out = raw_folder(10), tmp_path / "out"
    run(root, out)
    before = (out / lost).read_bytes()
    (out / lost).unlink()
    if not lost.startswith("splits"):
        with pytest.raises(ValueError, match=f"{out / lost} is missing: prepare the data again"):
            FashionDataset(str(out), next(name for name in SPLITS if "p0003" in ids(out, name)))
    run(root, out)
    assert (out / lost).read_bytes() == before


def test_a_refused_run_leaves_the_prepared_data_of_before(raw_folder, tmp_path):
    root, out = raw_folder(10), tmp_path / "out"
    run(root, out)
    truncate(root, "p0004")
    before = {path: path.is_file() and path.read_bytes() for path in out.rglob("*")}
    with pytest.raises(raw.RawError, match="1 of 10 photos .* are bad"):
        run(root, out)
    assert {path: path.is_file() and path.read_bytes() for path in out.rglob("*")} == before


def test_a_photo_without_a_row_may_have_any_name(raw_folder, tmp_path):
    root = raw_folder(10)
    shutil.copy(root / "train" / "p0000.jpg", root / "train" / "caf\udce9.jpg")
    assert run(root, tmp_path / "out")["left_out"] == {"unlabelled": 1}
    assert "caf\\udce9,0,unlabelled" in (tmp_path / "out" / "left_out.csv").read_text()


def test_an_interrupted_run_goes_on(raw_folder, tmp_path, monkeypatch):
    root, out = raw_folder(10), tmp_path / "out"
    whole_run = run(root, tmp_path / "whole" / "out")
    write, written = labels.write, []

    def stop_at_the_fifth(photo, **options):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(photo.id)
        return write(photo, **options)

    monkeypatch.setattr(labels, "write", stop_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        run(root, out)
    assert not (out / "dataset.json").exists()
    (part,) = out.iterdir()  # nothing that looks like prepared data yet
    before = {path.name: path.stat().st_mtime_ns for path in (part / "labels").iterdir()}
    assert len(before) == 5
    monkeypatch.setattr(labels, "write", write)
    resumed = run(root, out)
    assert {**resumed, "created": ""} == {**whole_run, "created": ""}
    assert all((out / "labels" / name).stat().st_mtime_ns == time for name, time in before.items())


def test_other_options_or_inputs_start_anew(raw_folder, tmp_path):
    root, out = raw_folder(11, with_parts), tmp_path / "out"
    prints = [run(root, out, part_only="keep")["fingerprint"]]
    prints.append(run(root, out)["fingerprint"])
    assert not (out / "labels" / "p0001.png").exists() and not (out / "images" / "p0001.jpg").exists()
    (root / "train" / "p0010.jpg").write_bytes((root / "train" / "p0009.jpg").read_bytes() + b"\0")
    prints.append(run(root, out)["fingerprint"])
    with (root / "train.csv").open("a") as file:
        file.write("\n")
    prints.append(run(root, out)["fingerprint"])
    assert len(set(prints)) == 4


def truncate(root, image_id):
    path = root / "train" / f"{image_id}.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def test_bad_photos_are_refused_unless_allowed(raw_folder, tmp_path):
    root, out = raw_folder(20, changed(5, "EncodedPixels", "1 2 3")), tmp_path / "out"
    truncate(root, "p0004")
    with pytest.raises(raw.RawError, match=r"1 of 20 photos \(5.0%\) are bad, .*row 5 \('p0001'\)"):
        run(root, out)
    assert not out.exists()  # before any work
    with pytest.raises(raw.RawError, match=r"2 of 20 photos .*row 10 \('p0004'\): .*truncated"):
        run(root, out, max_bad=0.05)
    summary = run(root, out, max_bad=0.1)
    assert summary["left_out"] == {"bad": 2} and summary["counts"]["photos"] == 18
    left_out = pd.read_csv(out / "left_out.csv")
    assert left_out[["ImageId", "row", "reason"]].values.tolist() == [
        ["p0001", 5, "bad"],
        ["p0004", 10, "bad"],
    ]
    assert not (out / "images" / "p0004.jpg").exists()


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_turned_photos_are_counted_and_shown_as_stored(raw_folder, tmp_path, byte_order):
    """OpenCV, and so MMSegmentation's loader, would turn the photo but not its label map."""
    root, out = raw_folder(10), tmp_path / "out"
    path = root / "train" / "p0000.jpg"
    exif = Image.Exif()
    exif.endian = byte_order
    exif[ExifTags.Base.Orientation] = 6
    with Image.open(path) as image:
        image.save(path, quality="keep", exif=exif)
    assert cv2.imread(str(path)).shape == (32, 24, 3)
    stored = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    before = path.read_bytes()
    assert run(root, out)["counts"]["exif_turned"] == 1
    np.testing.assert_array_equal(cv2.imread(str(out / "images" / "p0000.jpg")), stored)
    assert label(out, "p0000").shape == (24, 32)
    assert path.read_bytes() == before


def test_the_official_val_is_no_part_of_the_split(raw_folder, tmp_path):
    root, out = raw_folder(12), tmp_path / "out"
    (root / "official_val.txt").write_text("p0000\np0001\nunknown\n")
    counts = run(root, out)["counts"]
    assert ids(out, "official_val") == ["p0000", "p0001"]
    assert [len(ids(out, name)) for name in SPLITS] == [7, 2, 1]
    assert counts["photos"] == 12 and counts["official_val"] == 2
    assert counts["per_class"]["belt"]["official_val"] == 2


def test_a_full_disk_is_noticed_before_work(raw_folder, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    with pytest.raises(OSError, match=r"needs about 384B but .* 1.00B free: make room, set FASHION"):
        run(raw_folder(10), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"class_set": "mian"}, "Unknown class set 'mian'. Did you mean 'main'"),
        ({"part_only": "drop"}, "Unknown treatment of part-only photos 'drop'"),
        ({"order": "size"}, "Unknown painting order 'size'"),
        ({"fractions": (0.7, 0.2, 0.2)}, "must be the shares"),
        ({"fractions": (0.9, 0.1)}, "must be the shares"),
        ({"max_side": 0}, "max_side=0"),
        ({"max_bad": -1}, "max_bad=-1 must be a share of the photos, from 0 to 1"),
        ({"max_bad": float("nan")}, "max_bad=nan must be a share"),
        ({"workers": 0}, "workers=0 must be a number of processes"),
        ({"fractions": (float("nan"), 0.5, 0.5)}, "must be the shares"),
        ({"shuffle": False, "stratify": True}, "so classes can't be stratified"),
        ({"fractions": (0.98, 0.01, 0.01)}, "10 photos are too few"),
    ],
)
def test_bad_options(raw_folder, tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(raw_folder(10), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


TEN = [f"{i:04}" for i in range(10)]


def test_the_split_of_ten_photos_and_seed_0():
    """Golden: published splits must not change under anyone's feet."""
    assert split(TEN) == {
        "train": ["0000", "0001", "0002", "0003", "0004", "0005", "0007"],
        "val": ["0006", "0009"],
        "test": ["0008"],
    }


@given(st.sets(st.text(min_size=1), min_size=10, max_size=60), st.integers(0, 5))
def test_a_split_is_disjoint_complete_and_blind_to_order(photos, seed):
    parts = split(photos, seed=seed)
    assert sorted(i for part in parts.values() for i in part) == sorted(photos)
    assert abs(len(parts["train"]) - 0.7 * len(photos)) <= 1
    assert abs(len(parts["test"]) - 0.1 * len(photos)) <= 1
    assert split(sorted(photos, reverse=True), seed=seed) == parts


@given(st.lists(st.text(min_size=1), min_size=10, max_size=60, unique=True))
def test_without_shuffle_the_photos_keep_their_order(photos):
    """As in the authors' code: int(0.7 n), int(0.2 n) and the rest."""
    train, val = int(len(photos) * 0.7), int(len(photos) * 0.2)
    assert split(photos, shuffle=False) == {
        "train": sorted(photos[:train]),
        "val": sorted(photos[train : train + val]),
        "test": sorted(photos[train + val :]),
    }


def test_the_order_of_the_csv_can_be_the_split(raw_folder, tmp_path):
    root = raw_folder(10, lambda t: t.iloc[::-1])
    assert run(root, tmp_path / "out", shuffle=False)["options"]["shuffle"] is False
    assert [ids(tmp_path / "out", name) for name in ("test", "val")] == [["p0000"], ["p0001", "p0002"]]
    assert "shuffle" not in run(root, tmp_path / "drawn")["options"]  # what was prepared before stays valid


def test_leaving_out_a_photo_hardly_moves_the_others():
    photos = [f"{i:04}" for i in range(1000)]
    where = {i: name for name, part in split(photos).items() for i in part}
    after = {i: name for name, part in split(photos[1:]).items() for i in part}
    assert sum(where[i] != after[i] for i in after) <= 2


def drawn_labels(rng, photos, frequencies):
    """Classes of each photo, drawn independently with the given frequencies."""
    return {f"{i:05}": set(np.flatnonzero(rng.random(len(frequencies)) < frequencies)) for i in range(photos)}


@pytest.mark.parametrize("seed", range(3))
def test_stratification_spreads_rare_classes(seed):
    frequencies = [0.9, 0.5, 0.1, 0.03, 0.015, 0.01]
    photos = drawn_labels(np.random.default_rng(seed), 1000, frequencies)
    parts = split(photos, seed=seed, labels=photos)
    assert sorted(i for part in parts.values() for i in part) == sorted(photos)
    for name, fraction in zip(SPLITS, (0.7, 0.2, 0.1), strict=True):
        assert len(parts[name]) == pytest.approx(1000 * fraction, abs=10)
        for c in range(2, len(frequencies)):
            n = sum(c in found for found in photos.values())
            assert sum(c in photos[i] for i in parts[name]) == pytest.approx(n * fraction, abs=1)


def test_four_photos_of_a_class_reach_every_split():
    photos = {f"{i:03}": {0, 1} if i < 4 else {0} for i in range(100)}
    parts = split(photos, labels=photos)
    assert [sum(1 in photos[i] for i in parts[name]) for name in SPLITS] == [2, 1, 1]


def test_photos_without_classes_are_split_too():
    photos = dict.fromkeys(TEN, frozenset())
    assert [len(part) for part in split(photos, labels=photos).values()] == [7, 2, 1]


@pytest.mark.parametrize("fractions", [(0.7, 0.2, 0.2), (1.2, -0.3, 0.1), (0.5, 0.5), (0.5, 0.5, 0.5, -0.5)])
def test_a_split_wants_three_shares_of_one(fractions):
    with pytest.raises(ValueError) as error:
        split(TEN, fractions)
    assert str(error.value) == f"fractions={fractions} must be the shares of train, val and test, with sum 1."


def test_a_split_that_would_be_empty_is_refused_unless_nothing_was_asked_of_it():
    with pytest.raises(ValueError) as error:
        split(TEN[:2])
    expected = "2 photos are too few for fractions=(0.7, 0.2, 0.1): the split 'test' would be empty."
    assert str(error.value) == expected
    labels = {i: {0} for i in TEN}
    for spread in (None, labels):
        assert split(TEN, (0.8, 0.2, 0), labels=spread)["test"] == []


@pytest.mark.parametrize("rare", [0, 1])
def test_the_stratified_split_of_a_class_in_a_single_photo_ends(rare):
    """With that class before or after the one of all other photos."""
    labels = {i: {1 - rare} for i in TEN[1:]} | {TEN[0]: {rare}}
    parts = split(TEN, labels=labels)
    assert sorted(i for part in parts.values() for i in part) == sorted(TEN)


def test_a_split_of_no_share_gets_no_photo_of_rare_classes_either():
    labels = {f"{c}-{i}": {c} for c in range(10) for i in range(3)}
    assert split(labels, (0.8, 0.2, 0), labels=labels)["test"] == []
