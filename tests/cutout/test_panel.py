"""What notebook 06 shows: steps, garments, edges; and a panel that follows where somebody clicks."""

import json
from datetime import datetime

import IPython.display
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fashionlib import models
from fashionlib.core import paths
from fashionlib.core.classes import CLASSES
from fashionlib.cutout import panel, segment
from fashionlib.evaluate import runs

DRESS, BAG = CLASSES.index("dress"), CLASSES.index("bag, wallet")
ALL = segment.wanted(CLASSES)


def seeing(dress=0, bag=1):
    """A model that sees the colour channels `dress` and `bag` as dress and as bag."""
    stub = torch.nn.Module()
    stub.metadata, stub.dress, stub.bag = {"classes": list(CLASSES)}, dress, bag
    return stub


@pytest.fixture(autouse=True)
def stubs(monkeypatch):
    def probabilities(model, rgb, ask="auto"):
        scores = np.zeros((len(CLASSES), *rgb.shape[:2]), np.float32)
        scores[DRESS], scores[BAG] = rgb[..., model.dress] > 150, rgb[..., model.bag] > 150
        scores[0] = 1 - scores.sum(axis=0)
        return scores

    monkeypatch.setattr(models, "probabilities", probabilities)
    monkeypatch.setattr(models, "predict", lambda *given: probabilities(*given).argmax(axis=0))


@pytest.fixture
def model():
    """Sees red as dress and green as bag."""
    return seeing()


def pixels():
    rgb = np.full((1200, 900, 3), 90, np.uint8)
    rgb[300:900, 200:500], rgb[300:900, 500:700] = (200, 20, 30), (20, 200, 30)
    return rgb


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def screen(monkeypatch):
    """What `display` was given, and what then took the picture's place."""
    shown, updates = [], []

    class Handle:
        def update(self, picture):
            updates.append(np.asarray(picture).astype(int))

    def display(thing, display_id=None):
        shown.append(thing)
        return Handle() if display_id else None

    monkeypatch.setattr(IPython.display, "display", display)
    return shown, updates


def test_photo_and_cutout_side_by_side(photo, model):
    made, said = panel.picture(model, photo, ["dress"], "hard", "white")
    made = np.asarray(made).astype(int)
    assert made.shape == (panel.SIDE, 720, 3) and "at 360 x 480 of 900 x 1200" in said
    left, right = made[:, :360], made[:, 360:]
    assert np.abs(right[130:350, 90:190] - left[130:350, 90:190]).max() == 0  # the dress
    assert (right[130:350, 210:270] == 255).all() and (right[:100] == 255).all()  # no bag, no ground


def test_the_panel_says_what_is_not_there_and_what_is_no_photo(photo, model, tmp_path):
    made, said = panel.picture(model, photo, ["tie"], "hard", "white")
    assert "nothing to keep was found" in said and (np.asarray(made)[:, 360:] == 255).all()
    (tmp_path / "b.jpg").write_text("no photo")
    assert "b.jpg is not an image" in panel.picture(model, tmp_path / "b.jpg")[1]


def test_the_picture_is_an_output_of_its_own_and_follows_the_controls(photo, model, screen):
    shown, updates = screen
    controls = panel.panel([photo], {"a": model}, edge="hard")
    assert isinstance(shown[-1], Image.Image) and not updates  # what papermill keeps
    controls["keep"].value = ("bag, wallet",)
    controls["background"].value = "white"
    assert len(updates) == 2
    last = updates[-1][:, 360:]
    assert (last[130:350, 90:190] == 255).all() and (last[200, 240] == (20, 200, 30)).all()


def test_the_panel_begins_with_the_notebooks_choice_and_changes_models(photo, model, screen):
    _, updates = screen
    controls = panel.panel([photo], {"a": model, "b": seeing(dress=1, bag=0)}, keep=["bag"], edge="matting")
    assert controls["keep"].value == ("bag, wallet",) and controls["edge"].value == "matting"
    controls["edge"].value, controls["background"].value = "hard", "white"
    assert (updates[-1][200, 360 + 240] == (20, 200, 30)).all()
    controls["model"].value = controls["model"].options[1][1]  # whose bag is the red part
    assert (updates[-1][200, 360 + 240] == 255).all() and (updates[-1][200, 360 + 140] == (200, 20, 30)).all()


def test_an_upload_becomes_one_more_photo(photo, model, screen):
    _, updates = screen
    controls = panel.panel([photo], {"a": model}, edge="hard", background="white")
    Image.fromarray(np.ascontiguousarray(pixels()[:, ::-1])).save(photo)  # the dress on the other side
    file = {"name": "mine.png", "content": memoryview(photo.read_bytes()), "type": "image/png", "size": 1}
    controls["upload"].value = (file | {"last_modified": datetime.now()},)
    assert [name for name, _ in controls["photo"].options] == ["a.png", "mine.png"]
    assert (updates[-1][200, 360 + 240] == (200, 20, 30)).all()


def test_the_steps_show_what_each_changed(model):
    rgb = pixels()[::2, ::2]  # small enough for the network to see every pixel
    rgb[50, 50] = (200, 20, 30)  # a speck
    made = panel.steps(rgb, model, segment.wanted(CLASSES, keep=["dress"]))
    assert list(made) == ["1 probabilities", "2 kept classes", "3 tidied mask", "4 alpha", "cut-out"]
    stays, tidied, alpha = (made[title] for title in list(made)[1:4])
    speck = stays[50, 50].min(), tuple(tidied[50, 50]), alpha[50, 50].max()
    assert speck == (255, panel.REMOVED, 0)
    assert (alpha[200, 150] == 255).all() and not alpha[200, 300].any()  # the dress without the bag
    assert len({tuple(made["1 probabilities"][200, x]) for x in (5, 150, 300)}) == 3  # a colour a class


def test_a_garment_alone_or_the_words_that_none_is_seen(model):
    rgb = pixels()
    assert panel.seen(rgb, model) == ["dress", "bag, wallet"]  # the larger first
    bag, tie = panel.garments(rgb, model, ["bag, wallet", "tie"])
    assert (bag[400, 600] == (20, 200, 30)).all() and (bag[400, 300] != (200, 20, 30)).any()
    assert (bag == 0).all(axis=2).sum() == 0 < (tie == 0).all(axis=2).sum()  # black letters


def test_edges_are_looked_at_where_they_differ_on_the_true_border():
    truth = np.zeros((200, 300), bool)
    truth[50:150, 100:200] = True
    hard = truth * np.uint8(255)
    soft = hard.copy()
    soft[60:80, 190:210] = 128  # on the border
    soft[100:200, 250:300] = 255  # a larger difference, far from it
    rows, columns = panel.edge_window([hard, soft], truth, 40)
    assert rows.stop - rows.start == columns.stop - columns.start == 40
    assert rows.start <= 60 and rows.stop >= 80 and columns.start <= 190 and columns.stop >= 210
    corner = panel.edge_window([hard, hard], truth, 40)  # no difference: the longest border
    assert (truth[corner].mean() > 0.05) and not truth[corner].all()


def prepared(folder, truths):
    """A prepared data set ``toy`` of photos that `pixels` makes, with these label maps as its test split."""
    data = folder / "data" / "toy"
    for name in ("images", "labels", "splits"):
        (data / name).mkdir(parents=True)
    for name, truth in truths.items():
        Image.fromarray(pixels()).save(data / "images" / f"{name}.jpg", quality=95)
        Image.fromarray(truth).save(data / "labels" / f"{name}.png")
    (data / "splits" / "test.txt").write_text("\n".join(truths))


def test_photos_are_those_asked_for_else_outside_the_data_else_the_test_split(tmp_path, monkeypatch, photo):
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    prepared(tmp_path, {"x": np.zeros((1200, 900), np.uint8)})
    assert [path.name for path in panel.chosen_photos("toy", None, 9)] == ["x.jpg"]
    assert panel.chosen_photos("toy", str(photo), 9) == [photo]
    (tmp_path / "raw/toy/test").mkdir(parents=True)
    for name in "cba":
        Image.fromarray(pixels()[:9, :9]).save(tmp_path / f"raw/toy/test/{name}.jpg")
    assert [path.name for path in panel.chosen_photos("toy", None, 2)] == ["a.jpg", "b.jpg"]
    with pytest.raises(ValueError, match="count=0: at least 1"):
        panel.chosen_photos("toy", None, 0)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/mine does not exist"):
        panel.chosen_photos("toy", "mine", 2)


def test_the_worst_photos_by_the_truth_and_the_richest(tmp_path, monkeypatch, model):
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    right, half, none = (np.zeros((1200, 900), np.uint8) for _ in range(3))
    right[300:900, 200:500], right[300:900, 500:700] = DRESS, BAG
    half[300:600, 200:700] = DRESS
    prepared(tmp_path, {"right": right, "half": half, "none": none})
    assert panel.worst("toy", ALL.kept, model, ALL, among=9, count=2) == ["half", "right"]
    assert panel.richest("toy", ALL.kept) == "right"
    pictures, said = panel.against_truth("toy", "half", ALL.kept, [model], [ALL])
    rgb, true, ours = (picture[700, 300].tolist() for picture in pictures)
    assert said == "half: IoU 50%" and rgb == ours != true


def check_cell(monkeypatch, tmp_path, **given):
    """Run notebook 06 up to its check of the parameters, on data of which one run has a picked epoch."""
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    prepared(tmp_path, {"x": np.zeros((1200, 900), np.uint8)})
    info = {"data": "toy", "class_set": "main", "classes": list(CLASSES), "fingerprint": "", "counts": {}}
    (tmp_path / "data/toy/dataset.json").write_text(json.dumps(info))
    notebook = nbformat.read(paths.NOTEBOOKS / "06_background_removal.ipynb", as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"][:3]
    scope = {"In": cells}
    for text in cells[:2]:
        exec(text, scope)
    scope |= {"data": "toy"} | given
    exec(cells[2], scope)


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"keep": ["drss"]}, "Unknown class or group 'drss'"),
        ({"subject": "persn"}, "Unknown subject 'persn'"),
        ({"subject": "person"}, "has no hair and skin"),
        ({"edge": "hrad"}, "Unknown edge 'hrad'"),
        ({"checkpoint": "gone.safetensors"}, "There is no model at gone.safetensors"),
        ({"photos": "gone"}, "gone does not exist"),
        ({"count": 0}, "count=0"),
    ],
)
def test_notebook_06_checks_every_parameter_before_it_works(monkeypatch, tmp_path, given, sentence):
    epoch = tmp_path / "runs/toy/r/epoch_1.safetensors"
    epoch.parent.mkdir(parents=True)
    epoch.touch()
    table = pd.DataFrame({"run": ["r"], "epoch": [1]})
    monkeypatch.setattr(runs, "read_picked", lambda data, names=None: table)
    monkeypatch.setattr(models, "read_metadata", lambda path: {"classes": list(CLASSES)})
    monkeypatch.setattr(segment, "load_model", None)  # no network is loaded
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        check_cell(monkeypatch, tmp_path, **given)


def test_notebook_06_before_04_says_to_run_04_first(monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match="run notebook 04 first"):
        check_cell(monkeypatch, tmp_path)
