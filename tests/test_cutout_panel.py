"""The notebook's panel: a picture that stands where nobody can click, and follows where somebody does."""

import IPython.display
import numpy as np
import pytest
import torch
from PIL import Image

from fashionlib import models
from fashionlib.classes import CLASSES
from fashionlib.cutout import panel

DRESS, BAG = CLASSES.index("dress"), CLASSES.index("bag, wallet")


@pytest.fixture
def model(monkeypatch):
    """Sees red as dress and green as bag."""

    def probabilities(model, rgb, ask="auto"):
        scores = np.zeros((len(CLASSES), *rgb.shape[:2]), np.float32)
        scores[DRESS], scores[BAG] = rgb[..., 0] > 150, rgb[..., 1] > 150
        scores[0] = 1 - scores.sum(axis=0)
        return scores

    monkeypatch.setattr(models, "probabilities", probabilities)
    stub = torch.nn.Module()
    stub.meta = {"classes": list(CLASSES)}
    return stub


@pytest.fixture
def photo(tmp_path):
    rgb = np.full((1200, 900, 3), 90, np.uint8)
    rgb[300:900, 200:500], rgb[300:900, 500:700] = (200, 20, 30), (20, 200, 30)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_photo_and_cutout_side_by_side(photo, model):
    made = np.asarray(panel.picture(model, photo, ["dress"], "hard", "white")).astype(int)
    assert made.shape == (panel.SIDE, 720, 3)
    left, right = made[:, :360], made[:, 360:]
    assert np.abs(right[130:350, 90:190] - left[130:350, 90:190]).max() == 0  # the dress
    assert (right[130:350, 210:270] == 255).all() and (right[:100] == 255).all()  # no bag, no ground


def test_the_picture_is_an_output_of_its_own_and_follows_the_controls(photo, model, monkeypatch):
    shown, updates = [], []

    class Handle:
        def update(self, picture):
            updates.append(picture)

    def display(thing, display_id=None):
        shown.append(thing)
        return Handle() if display_id else None

    monkeypatch.setattr(IPython.display, "display", display)
    controls = panel.panel([photo], model, edge="hard")
    assert isinstance(shown[-1], Image.Image) and not updates  # what papermill keeps
    controls["keep"].value = ("bag, wallet",)
    controls["background"].value = "white"
    assert len(updates) == 2
    last = np.asarray(updates[-1])[:, 360:]
    assert (last[130:350, 90:190] == 255).all() and (last[200, 240] == (20, 200, 30)).all()
