"""Batches of cut-outs, with a stub in the place of the model."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cutout_stub
import numpy as np
import pandas as pd
import pytest
import torch
from cutout_stub import PERSON, files_below, report, scene
from PIL import Image

from fashionlib import models
from fashionlib.cutout import batch, one_photo, photos, remove_background
from fashionlib.cutout.one_photo import Cutout
from fashionlib.cutout.quality import Quality

folder, model = cutout_stub.folder, cutout_stub.model  # fixtures


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


def test_a_folder_of_the_version_with_votes_goes_on(folder, model, tmp_path):
    path = batch.run(folder, tmp_path / "out", model, progress=False).report
    table = pd.read_csv(path)
    table.insert(9, "votes", 0)
    table.to_csv(path, index=False)
    again = batch.run(folder, tmp_path / "out", model, progress=False)
    assert again[:3] == (0, 2, 2) and "votes" not in path.read_text()


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
    info = models.metadata_for("segmenter_vit_t", PERSON, "mini")
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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"format": "jpg"}, "JPEG has no transparency"),
        ({"format": "gif"}, "Unknown format 'gif'"),
        ({"background": "gre"}, "The background 'gre' is not"),
        ({"canvas": "2000"}, "The canvas '2000' is not WIDTHxHEIGHT in pixels, such as 2000x2000"),
        ({"canvas": "0x20"}, "The canvas '0x20' is not"),
        ({"canvas": "20x20", "crop": True}, "leave those out, and say fill"),
        ({"canvas": "20x20", "margin": 0.1}, "leave those out, and say fill"),
        ({"canvas": "20x20", "size": 9}, "leave those out, and say fill"),
        ({"canvas": "20x20", "fill": 0.0}, "fill=0.0 is no share of the canvas: above 0, at most 1"),
        ({"canvas": "20x20", "fill": 1.01}, "fill=1.01 is no share"),
        ({"canvas": "20x20", "fill": float("nan")}, "fill=nan is no share"),
        ({"canvas": "9000x9000"}, "9000x9000 has more than 50 megapixels: take a smaller one"),
        ({"fill": 0.9}, "fill=0.9 is a share of a canvas: say which"),
        ({"shadow": "sofd"}, "Did you mean 'soft'"),
        ({"shadow": "soft", "mask": True}, "A mask is the subject's alone: it has no shadow"),
        ({"margin": -1}, "margin=-1 is no share"),
        ({"margin": float("nan")}, "margin=nan is no share"),
        ({"margin": float("inf")}, "margin=inf is no share"),
        ({"size": 0}, "size=0"),
        ({"max_pixels": 0}, "max_pixels=0"),
        ({"edge": ""}, "Unknown edge"),
        ({"keep": ""}, "keep and drop name classes or groups"),
        ({"drop": ""}, "keep and drop name classes or groups"),
        ({"background": __file__}, "test_batch.py is not an image that Pillow can read"),
        ({"workers": 0}, "workers=0"),
        ({"workers": 2}, "need the model's path"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(folder, model, tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        batch.run(folder, tmp_path / "out", model, progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_the_report_and_the_page_put_the_doubtful_first(folder, model, tmp_path, monkeypatch):
    for name, colour in {"b & c": 1, "d": 2}.items():
        Image.fromarray(np.full((8, 8, 3), colour, np.uint8)).save(folder / f"{name}.png")
    scores = {1: Quality(0.4, ("two people", "<odd>")), 2: Quality(0.7), 90: Quality(0.9123)}

    def cut(photo, *_):
        rgba = np.dstack([photo.rgb, photo.rgb[..., 0]])
        return Cutout(rgba, None, ("a note",), scores[photo.rgb[0, 0, 0]])

    monkeypatch.setattr(one_photo, "cut", cut)
    result = batch.run(f"{folder}/*.*", tmp_path / "out", model, preview=True, progress=False)
    rows = list(report(result).values())
    assert [row["output"] for row in rows] == ["text.png", "zero.png", "b & c.png", "d.png", "a.png"]
    assert (rows[2]["quality"], rows[2]["reasons"]) == ("0.4", "two people; <odd>")
    assert rows[4]["quality"] == "0.912"
    page = (tmp_path / "out" / "preview.html").read_text()
    assert re.findall(r'<img loading="lazy" src="([^"]*)"', page) == ["b%20%26%20c.png", "d.png", "a.png"]
    assert "two people; &lt;odd&gt;" in page and "Failed: 2" in page and "zero.jpg is empty" in page
    assert "http" not in page and "<script" not in page
    worst, first = (Image.open(tmp_path / "out" / name) for name in ("worst.png", "preview.png"))
    assert worst.size == first.size and worst.tobytes() != first.tobytes()


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


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({"format": "jpg", "background": "white"}, "RGB"),
        ({"format": "webp"}, "RGBA"),
        ({"format": "jpg", "mask": True}, "L"),
    ],
)
def test_formats_and_masks(folder, model, tmp_path, options, mode):
    batch.run(folder / "a.png", tmp_path / "out", model, progress=False, **options)
    assert Image.open(tmp_path / "out" / f"a.{options['format']}").mode == mode


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
