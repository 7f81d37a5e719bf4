"""Batches of cut-outs, with a stub in the model's place."""

import csv
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cutout_stub import PERSON, scene, stub_model
from PIL import Image
from soak import WATCHDOG

from fashionlib import models
from fashionlib.cutout import about, batch, executors, one_photo, photos, remove_background
from fashionlib.cutout.cut import Cutout
from fashionlib.cutout.options import Options
from fashionlib.cutout.quality import Quality


@pytest.fixture
def model(monkeypatch):
    return stub_model(monkeypatch)


@pytest.fixture
def folder(tmp_path):
    """in/a.png, in/sub/a.jpg, an empty file, a text called .jpg, and files that are no photos."""
    (tmp_path / "in" / "sub" / ".cache").mkdir(parents=True)
    Image.fromarray(scene()).save(tmp_path / "in" / "a.png")
    Image.fromarray(scene()).save(tmp_path / "in" / "sub" / "a.jpg", quality=95)
    Image.fromarray(scene()).save(tmp_path / "in" / "sub" / ".cache" / "hidden.jpg")
    (tmp_path / "in" / "zero.jpg").touch()
    (tmp_path / "in" / "text.jpg").write_text("not an image")
    (tmp_path / "in" / "notes.txt").write_text("not a photo")
    return tmp_path / "in"


def report(result):
    with result.report.open(newline="") as file:
        return {row["output"]: row for row in csv.DictReader(file)}


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_batch_keeps_the_tree_names_the_bad_and_leaves_the_inputs(folder, model, tmp_path):
    before, out = files_below(folder), tmp_path / "out"
    previews = "preview.html", "preview.png", "worst.png"
    result = batch.run(folder, out, model, preview=True, progress=False)
    assert (result.done, result.skipped, result.failed, result.exit_code) == (2, 0, 2, 1)
    assert set(files_below(out)) == {"a.png", "sub/a.png", "report.csv", *previews}
    rows = report(result)
    assert [row["status"] for row in rows.values()] == ["failed", "failed", "done", "done"]  # failures first
    assert "is empty (0 bytes)" in rows["zero.png"]["note"]
    assert "not an image" in rows["text.png"]["note"]
    assert (rows["a.png"]["width"], rows["a.png"]["height"], rows["a.png"]["kept"]) == ("60", "80", "0.1458")
    assert files_below(folder) == before
    with Image.open(out / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), remove_background(scene(), model))


def test_a_second_run_does_only_what_is_not_there(folder, model, tmp_path):
    out = tmp_path / "out"
    batch.run(folder, out, model, progress=False)
    (out / "sub" / "a.png").unlink()
    with (out / "report.csv").open("a") as file:
        file.write("torn/line.png,in/x")  # as a kill leaves it
    again = batch.run(folder, out, model, progress=False)
    assert (again.done, again.skipped, again.failed) == (1, 1, 2)
    assert set(report(again)) == {"a.png", "sub/a.png", "zero.png", "text.png"}
    assert batch.run(folder, out, model, progress=False, keep="dress").done == 2  # other options
    with torch.no_grad():
        model.weight += 1  # another model
    assert batch.run(folder, out, model, progress=False, keep="dress").done == 2
    Image.fromarray(scene()[:, ::-1].copy()).save(folder / "a.png")  # another photo
    assert batch.run(folder, out, model, progress=False, keep="dress").done == 1


def test_a_batch_that_is_stopped_goes_on_where_it_was(folder, model, tmp_path, monkeypatch):
    for i in range(4):
        Image.fromarray(scene()).save(folder / f"photo{i}.png")
    answer, calls = models.probabilities, []

    def stop_at_the_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(*arguments)

    monkeypatch.setattr(models, "probabilities", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        batch.run(f"{folder}/*.png", tmp_path / "out", model, progress=False)
    assert not list((tmp_path / "out").rglob("*.part*"))
    rows = pd.read_csv(tmp_path / "out" / "report.csv").set_index("output")  # none is forgotten
    assert rows.status.value_counts().to_dict() == {"failed": 3, "done": 2}
    assert rows.note["photo3.png"] == f"{folder}/photo3.png: stopped before its turn."
    result = batch.run(f"{folder}/*.png", tmp_path / "out", model, progress=False)
    assert (result.done, result.skipped, result.failed) == (3, 2, 0)


def test_several_workers_make_the_same_pictures(folder, tmp_path):
    """With a real, untrained model, loaded by each worker."""
    torch.manual_seed(0)
    real = models.build("segmenter_vit_t", len(PERSON), scale="mini")
    info = models.meta("segmenter_vit_t", PERSON, "mini")
    path = models.save(real, tmp_path / "model.safetensors", info)
    one = batch.run(folder, tmp_path / "one", path, progress=False)
    two = batch.run(folder, tmp_path / "two", path, workers=2, progress=False)
    assert one[:3] == two[:3] == (2, 0, 2)
    for name in ("a.png", "sub/a.png"):
        pair = [np.asarray(Image.open(tmp_path / run / name)).astype(int) for run in ("one", "two")]
        assert pair[0].shape == (80, 60, 4) and (pair[0] != pair[1]).mean() < 0.01
    assert {row["key"] for row in report(one).values()} == {row["key"] for row in report(two).values()}


def test_layers_and_manifest(folder, model, tmp_path):
    out = tmp_path / "out"
    batch.run(folder / "a.png", out, model, layers=True, crop=True, size=60, progress=False)
    assert set(files_below(out)) == {
        "a.png",
        "a.layers/dress.png",
        "a.layers/bag-wallet.png",
        "a.layers/manifest.json",
        "report.csv",
    }
    manifest = json.loads((out / "a.layers" / "manifest.json").read_text())
    assert manifest["frame"] == {"left": 20, "top": 30, "right": 50, "bottom": 60}
    assert [entry["file"] for entry in manifest["layers"]] == ["dress.png", "bag-wallet.png"]
    names = "a.png", "a.layers/dress.png", "a.layers/bag-wallet.png"
    whole, dress, bag = (np.asarray(Image.open(out / name)).astype(int) for name in names)
    assert whole.shape == dress.shape == bag.shape == (60, 60, 4)
    assert np.abs(whole - dress - bag)[..., 3].max() <= 1
    batch.run(folder / "a.png", out, model, layers=True, keep="dress", progress=False)
    assert not (out / "a.layers" / "bag-wallet.png").exists()


def test_formats_and_masks(folder, model, tmp_path):
    batch.run(folder / "a.png", tmp_path / "jpg", model, format="jpg", background="white", progress=False)
    batch.run(folder / "a.png", tmp_path / "webp", model, format="webp", progress=False)
    batch.run(folder / "a.png", tmp_path / "mask", model, mask=True, format="jpg", progress=False)
    assert Image.open(tmp_path / "jpg" / "a.jpg").mode == "RGB"
    assert Image.open(tmp_path / "webp" / "a.webp").mode == "RGBA"
    assert Image.open(tmp_path / "mask" / "a.jpg").mode == "L"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"format": "jpg"}, "JPEG has no transparency"),
        ({"format": "gif"}, "Unknown format 'gif'"),
        ({"background": "grey"}, "The background 'grey' is not"),
        ({"margin": -1}, "margin=-1 is no share"),
        ({"margin": float("nan")}, "margin=nan is no share"),
        ({"margin": float("inf")}, "margin=inf is no share"),
        ({"size": 0}, "size=0"),
        ({"max_pixels": 0}, "max_pixels=0"),
        ({"edge": ""}, "Unknown edge"),
        ({"keep": ""}, "keep and drop name classes or groups"),
        ({"drop": ""}, "keep and drop name classes or groups"),
        ({"background": __file__}, "test_batch.py is not an image that Pillow can read"),
        ({"edge": "feather"}, "Unknown edge"),
        ({"keep": "dres"}, "Did you mean 'dress'"),
        ({"workers": 0}, "workers=0"),
        ({"workers": 2}, "need the model's path"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(folder, model, tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        batch.run(folder, tmp_path / "out", model, progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_names_that_collide_are_refused_before_anything_is_written(folder, model, tmp_path):
    out = tmp_path / "out"
    Image.fromarray(scene()).save(folder / "A.webp")
    with pytest.raises(ValueError, match="would both become"):
        batch.run(folder, out, model, progress=False)
    (folder / "A.webp").rename(folder / "preview.webp")
    with pytest.raises(ValueError, match="preview.webp would become .*that name is taken"):
        batch.run(folder, out, model, progress=False)
    with pytest.raises(ValueError, match="would both become"):
        batch.run([folder / "a.png", folder / "sub" / "a.jpg"], out, model, progress=False)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        batch.run(tmp_path / "nowhere", out, model, progress=False)
    with pytest.raises(ValueError, match="holds no photo"):
        batch.run(f"{folder}/*.txt", out, model, progress=False)
    assert not out.exists()


@pytest.mark.parametrize(
    ("photos", "out", "more"),
    [
        ("in", "in/cut", {}),
        ("in", "in", {}),
        ("in/sub", "in", {}),
        ("in/a.png", "in", {}),
        ("in/*.png", "in", {}),
        ("in", "link/cut", {}),
        ("link", "in/sub", {}),
        ("in/a.png", "masks", {"mask_in": "masks/a.png"}),
        ("in/a.png", "sub", {"apply_to": ["sub/b.png"]}),
        ("in/a.png", "sub", {"background": "sub/b.png"}),
    ],
)
def test_inputs_and_output_lie_apart(folder, tmp_path, monkeypatch, photos, out, more):
    (tmp_path / "link").symlink_to(folder)
    for name in ("masks/a.png", "sub/b.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(scene()).save(tmp_path / name)
    before = files_below(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="are the same, or one lies in the other: choose another place"):
        batch.run(photos, out, "no model is loaded", progress=False, **more)
    assert files_below(tmp_path) == before


def test_a_folder_of_somebody_else_is_left_alone(folder, model, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_text("my own drawing")
    with pytest.raises(ValueError, match="out holds 'a.png' and nothing that shows cut-outs of ours"):
        batch.run(folder, out, "no model is loaded", progress=False)
    (out / "a.png").unlink()
    (out / ".report.12.fashionlib.part.csv").touch()  # of a run that was killed at once
    batch.run(folder / "sub", out, model, progress=False)
    (out / "text.png").write_text("my own drawing")
    with pytest.raises(ValueError, match="out/text.png is not in report.csv, so not of ours: move it"):
        batch.run(folder, out, model, progress=False)
    assert set(files_below(out)) == {"a.png", "report.csv", "text.png"}
    assert (out / "text.png").read_text() == "my own drawing"
    (out / "text.png").unlink()
    assert batch.run(f"{folder}/**/*.jpg", tmp_path / "more", model, progress=False).done == 1


def test_the_output_has_to_be_a_folder(folder, tmp_path):
    for out in (folder / "notes.txt", folder / "notes.txt" / "below"):
        with pytest.raises(ValueError, match="notes.txt is no folder: choose another name"):
            batch.run(folder / "sub", out, "no model is loaded", progress=False)


HEAD = "output,source,status,quality,reasons,note,width,height,kept,votes,seconds,key\n"


@pytest.mark.parametrize("content", [
    b"mine,yours\n1,2\n", b"\xff\xfe\x00garbage", b"", HEAD.encode() + b"a.png,a,done,much,,,1,1,1,0,0,k\n",
    HEAD.encode() + b"a.png,a,lost,1,,,1,1,1,0,0,k\n", HEAD.encode() + b"a.png,a,done,1,,,1,1,1,0,0,k,l\n",
    HEAD.encode() + b'"' + 200_000 * b"a",
])  # fmt: skip
def test_a_foreign_report_is_named_and_not_overwritten(folder, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.csv").write_bytes(content)
    with pytest.raises(ValueError, match="report.csv is not a report of cut-outs.*choose another folder"):
        batch.run(folder, tmp_path / "out", "no model is loaded", progress=False)
    assert files_below(tmp_path / "out") == {"report.csv": content}


def test_what_cannot_be_read_in_a_folder_is_a_failed_row(folder, model, tmp_path, monkeypatch):
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "gone").symlink_to("nowhere")
    (folder / "back").symlink_to(folder)
    (folder / "locked").mkdir()
    scandir = os.scandir

    def locked(path):  # nothing is locked to root
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    for _ in range(2):
        result = batch.run(folder, tmp_path / "out", model, progress=False)
    assert (result.done, result.skipped, result.failed) == (0, 2, 7)
    notes = {name: row["note"] for name, row in report(result).items() if row["status"] == "failed"}
    for name, words in {
        "pipe.png": "pipe.jpg can't be read: it is a pipe or a device",
        "locked": "can't be read: Permission",
        "loop.png": "loop.jpg can't be read: Too many levels of symbolic",
        "gone.png": "is a link that leads",
        "back": "back can't be read: it is a link to a directory: name it as an input of its own",
    }.items():
        assert words in notes[name]


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ("-", "'-' is no path"),
        ("", "'' is no path"),
        ("/dev/zero", "/dev/zero is a pipe or a device"),
        ("pipe", "pipe is a pipe or a device"),
        ("loop", "loop is a link that leads nowhere"),
    ],
)
def test_inputs_that_are_no_files_are_called_what_they_are(tmp_path, monkeypatch, item, sentence):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Image.fromarray(scene()).save("a.png")
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        batch.run(item, "out", "no model is loaded", progress=False)
    with pytest.raises((ValueError, FileNotFoundError), match="The mask .* is "):
        batch.run("a.png", "out", "no model is loaded", mask_in=item or "-", progress=False)


def test_names_that_are_no_utf_8_are_cut_out_like_the_others(model, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    Image.fromarray(scene()).save(folder / os.fsdecode(b"r\xf4be.png"))
    (folder / os.fsdecode(b"sub \xff")).mkdir()
    (folder / os.fsdecode(b"sub \xff") / "torn.jpg").write_text("no photo")
    Image.fromarray(scene()).save(folder / "b.png")
    out = tmp_path / os.fsdecode(b"\xfcber")
    for done, skipped in [(2, 0), (0, 2)]:
        result = batch.run(folder, out, model, preview=True, progress=False)
        assert result[:3] == (done, skipped, 1)
    rows = report(result)
    assert set(rows) == {r"r\xf4be.png", "b.png", r"sub \xff/torn.png"}
    assert rows["b.png"]["source"] == rf"{tmp_path}/caf\xe9/b.png"
    assert r"caf\xe9/sub \xff/torn.jpg is not an image" in result.reasons[0]
    assert (out / r"r\xf4be.png").is_file()


def test_options_name_the_flags_of_the_command_line():
    flags = "subject keep drop layers background crop margin size format mask grow edge strip max_pixels"
    assert set(flags.split()) == set(Options.__dataclass_fields__)


def alpha_of(path):
    return np.asarray(Image.open(path))[..., 3]


@pytest.fixture
def square():
    """A soft square where the model sees nothing."""
    mask = np.zeros((80, 60), np.uint8)
    mask[5:15, 5:15] = 255
    mask[5:15, 15] = 100
    return mask


def test_a_given_mask_takes_the_models_place(folder, tmp_path, square):
    Image.fromarray(square).save(tmp_path / "mask.png")
    done = batch.run(
        folder / "a.png",
        tmp_path / "out",
        "no model is needed",
        mask_in=tmp_path / "mask.png",
        progress=False,
    )
    assert done[:3] == (1, 0, 0) and np.array_equal(alpha_of(tmp_path / "out" / "a.png"), square)
    again = {"mask_in": tmp_path / "mask.png", "progress": False, "edge": "hard", "crop": True}
    batch.run(folder / "a.png", tmp_path / "out", **again)
    assert np.array_equal(alpha_of(tmp_path / "out" / "a.png"), np.full((10, 10), 255))
    assert batch.run(folder / "a.png", tmp_path / "out", **again).skipped == 1
    Image.fromarray(square.T.copy()).save(tmp_path / "mask.png")
    failed = batch.run(folder / "a.png", tmp_path / "out", **again)  # another mask, of another shape
    assert failed.failed == 1
    assert "a.png: The mask is 80 x 60, the photo 60 x 80" in report(failed)["a.png"]["note"]


def test_a_folder_of_masks_serves_the_photos_that_it_names(folder, model, tmp_path, square):
    (tmp_path / "masks" / "sub").mkdir(parents=True)
    Image.fromarray(square).save(tmp_path / "masks" / "sub" / "a.webp", lossless=True)
    batch.run(folder, tmp_path / "out", model, mask_in=tmp_path / "masks", layers=True, progress=False)
    assert np.array_equal(alpha_of(tmp_path / "out" / "sub" / "a.png"), square)
    assert alpha_of(tmp_path / "out" / "a.png")[30, 20] == 255
    assert (tmp_path / "out" / "sub" / "a.layers" / "manifest.json").is_file()


def test_other_renditions_take_over_the_matte_with_their_own_colours(folder, model, tmp_path):
    grey = np.kron(np.full((80, 60, 3), 70, np.uint8), np.ones((2, 2, 1), np.uint8))  # the model sees nothing
    Image.fromarray(grey).save(tmp_path / "big.png")
    Image.fromarray(scene()[:, :30].copy()).save(tmp_path / "half.png")
    result = batch.run(
        folder / "a.png",
        tmp_path / "out",
        model,
        progress=False,
        apply_to=[tmp_path / "big.png", tmp_path / "half.png"],
    )
    assert result[:3] == (2, 0, 1) and "half.png: The mask is 60 x 80" in report(result)["half.png"]["note"]
    first, big = alpha_of(tmp_path / "out" / "a.png"), np.asarray(Image.open(tmp_path / "out" / "big.png"))
    assert (np.kron(first, np.ones((2, 2))) != big[..., 3]).mean() < 0.05
    assert (big[big[..., 3] == 255][:, :3] == 70).all() and (big[..., 3] == 255).mean() > 0.1
    assert (
        batch.run(
            folder / "a.png", tmp_path / "out", model, progress=False, apply_to=str(tmp_path / "big.png")
        ).skipped
        == 2
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mask_in": "none.png"}, "The mask none.png does not exist"),
        ({"mask_in": __file__}, "is one photo's, but there are 4"),
        ({"apply_to": __file__}, "One photo's matte is applied to others, but there are 4"),
        ({"engine": "spark"}, "Unknown engine 'spark'"),
        ({"engine": "ray", "mask_in": __file__}, "for the engine local"),
    ],
)
def test_masks_and_renditions_that_fit_nothing_are_refused(folder, model, tmp_path, options, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        batch.run(folder, tmp_path / "out", model, progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_an_output_never_replaces_a_mask_or_a_layer(folder, model, tmp_path, square):
    Image.fromarray(square).save(tmp_path / "a.png")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.png").symlink_to(tmp_path / "out" / "a.png")
    batch.run(folder / "a.png", tmp_path / "out", model, progress=False)
    with pytest.raises(ValueError, match="are the same, or one lies in the other"):
        batch.run(tmp_path / "links", tmp_path / "out", model, keep="bag", progress=False)
    (folder / "a.layers").mkdir()
    Image.fromarray(scene()).save(folder / "a.layers" / "dress.png")
    with pytest.raises(ValueError, match="dress.png would become .*that name is taken"):
        batch.run(folder, tmp_path / "more", model, layers=True, progress=False)
    assert batch.run(folder, tmp_path / "out", model, progress=False)[:2] == (2, 1)


def test_the_report_and_the_page_put_the_doubtful_first(folder, model, tmp_path, monkeypatch):
    for name, colour in {"b & c": 1, "d": 2}.items():
        Image.fromarray(np.full((8, 8, 3), colour, np.uint8)).save(folder / f"{name}.png")
    scores = {1: Quality(0.4, ("two people", "<odd>")), 2: Quality(0.7), 90: Quality(0.9123)}

    def cut(photo, *_):
        rgba = np.dstack([photo.rgb, photo.rgb[..., 0]])
        return Cutout(rgba, None, ("a note",), scores[photo.rgb[0, 0, 0]], votes=3)

    monkeypatch.setattr(one_photo, "cut", cut)
    result = batch.run(f"{folder}/*.*", tmp_path / "out", model, preview=True, progress=False)
    rows = list(report(result).values())
    assert [row["output"] for row in rows] == ["text.png", "zero.png", "b & c.png", "d.png", "a.png"]
    assert (rows[2]["quality"], rows[2]["reasons"], rows[2]["votes"]) == ("0.4", "two people; <odd>", "3")
    assert rows[4]["quality"] == "0.912"
    page = (tmp_path / "out" / "preview.html").read_text()
    assert re.findall(r'<img loading="lazy" src="([^"]*)"', page) == ["b%20%26%20c.png", "d.png", "a.png"]
    assert "two people; &lt;odd&gt;" in page and "Failed: 2" in page and "zero.jpg is empty" in page
    assert "http" not in page and "<script" not in page
    worst, first = (Image.open(tmp_path / "out" / name) for name in ("worst.png", "preview.png"))
    assert worst.size == first.size and worst.tobytes() != first.tobytes()


def test_one_photo_has_one_mask(folder, model, tmp_path, square):
    (tmp_path / "masks").mkdir()
    for name in ("a.png", "a.tif"):
        Image.fromarray(square).save(tmp_path / "masks" / name)
    with pytest.raises(ValueError, match="masks/a.png and .*masks/a.tif are both masks of .*in/a.png"):
        batch.run(folder, tmp_path / "out", model, mask_in=tmp_path / "masks", progress=False)


def test_further_pictures_in_a_file_are_told(folder, model, tmp_path):
    frames = [Image.fromarray(scene()), Image.fromarray(scene()[::-1].copy())]
    for name in ("b.gif", "c.webp", "d.tif"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])
    rows = report(batch.run(folder, tmp_path / "out", model, progress=False))
    told = {name for name, row in rows.items() if row["note"] == "the first of 2 pictures in the file"}
    assert told == {"b.png", "c.png", "d.png"}


def test_no_picture_is_larger_than_photos_may_be(folder, model, tmp_path):
    more = {"crop": True, "progress": False, "max_pixels": 100_000}
    for options in ({"size": 400}, {"margin": 50}):
        result = batch.run(folder / "a.png", tmp_path / "out", model, **more, **options)
        assert "its picture would have " in result.reasons[0] and "0.1 megapixels" in result.reasons[0]
    assert batch.run(folder / "a.png", tmp_path / "out", model, margin=5, size=330, **more).failed
    assert batch.run(folder / "a.png", tmp_path / "out", model, margin=5, size=300, **more).done == 1
    with Image.open(tmp_path / "out" / "a.png") as picture:
        alpha = np.asarray(picture)[..., 3]
    assert alpha.shape == (300, 300) and alpha[150, 150] == 255 and not alpha[:, :120].any()


def test_large_photos_are_in_memory_one_at_a_time(folder, model, tmp_path, monkeypatch):
    steps, decode, write = [], photos.from_pil, photos.write
    monkeypatch.setattr(photos, "from_pil", lambda image: steps.append("read") or decode(image))
    monkeypatch.setattr(photos, "write", lambda *how: write(*how) or steps.append("written"))
    monkeypatch.setattr(one_photo, "LARGE", 80 * 60 - 1)
    for name in "bcd":
        Image.fromarray(scene()).save(folder / f"{name}.png")
    assert batch.run(f"{folder}/*.png", tmp_path / "out", model, progress=False).done == 4
    assert steps == ["read", "written"] * 4


# engines ----------------------------------------------------------------------------------------------------


def test_steps_of_neighbours_overlap_and_stay_in_order():
    """One photo is written, the next one cut and the one after it read, none before all three are begun."""
    three = threading.Barrier(3, timeout=WATCHDOG)

    def step(first, last):
        def work(item):
            number, done = item
            if first <= number <= last:
                three.wait()
            return number, done + 1

        return work

    items = [(number, 0) for number in range(8)]
    done = executors.in_threads(items, step(2, 7), step(1, 6), step(0, 5))
    assert list(done) == [(number, 3) for number in range(8)]


def test_few_photos_are_in_memory_at_once():
    alive, most = set(), []

    def read(item):
        alive.add(item)
        most.append(len(alive))
        return item

    def write(item):
        alive.remove(item)
        return item

    assert list(executors.in_threads(range(20), read, lambda item: item, write)) == list(range(20))
    assert max(most) <= 5


def test_a_task_that_kills_its_process_is_lost_alone():
    tasks = ["1", "2", "__import__('os')._exit(1)", "3", "4", "5"]
    rows = executors.in_processes(tasks, eval, 2, None, (), lambda task: f"lost {task}")
    assert sorted(map(str, rows)) == ["1", "2", "3", "4", "5", f"lost {tasks[2]}"]


# the model's card -------------------------------------------------------------------------------------------


def test_about_names_model_data_and_licences(tmp_path):
    info = models.meta("segmenter_vit_t", PERSON, "mini") | {
        "run": "my-run",
        "epoch": 7,
        "recipe": {"preset": "quick"},
        "data": "ccp-person",
        "class_set": "person",
        "init_report": {"source": "DINOv2 here", "licence": "Apache-2.0 there", "note": "Beware."},
    }
    real = models.build("segmenter_vit_t", len(PERSON), scale="mini")
    path = models.save(real, tmp_path / "model.safetensors", info)
    text = about.about(path)
    facts = (
        "segmenter_vit_t",
        "my-run, epoch 7, preset quick",
        "bag, wallet",
        "class set person",
        "released under Apache-2.0",
        "DINOv2 here",
        "Apache-2.0 there",
        "Beware.",
        "THIRD_PARTY.md",
    )
    for fact in facts:
        assert fact in text
    again = info["init_report"] | {
        "source": "cache/b.pth",
        "note": "It started from cache/a.pth. It started from DINOv2 here. Beware.",
    }
    text = about.about(models.save(real, path, info | {"init_report": again}))
    assert "cache/" not in text and "Beware." in text
    assert "DINOv2 here, trained in 2 earlier runs, each from what the one before had learnt." in text
    (tmp_path / "model.md").write_text("# A card")
    assert str(tmp_path / "model.md") in about.about(path)


# memory -----------------------------------------------------------------------------------------------------

TWENTY_MEGAPIXELS = """
import re, sys
import pytest
from cutout_stub import stub_model
from fashionlib.cutout import batch
model = stub_model(pytest.MonkeyPatch())
assert batch.run(sys.argv[1], sys.argv[2], model, edge="soft", progress=False).done == 1
# not ru_maxrss, which begins with what the process that started this one had
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory it took")
def test_twenty_megapixels_leave_a_model_room_within_two_gigabytes(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(scene()).resize((3873, 5164), Image.Resampling.NEAREST).save(tmp_path / "in" / "a.jpg")
    command = [sys.executable, "-c", TWENTY_MEGAPIXELS, str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1.15e9  # a detail_vit_s takes 0.3 more
