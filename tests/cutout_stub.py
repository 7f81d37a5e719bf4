"""A stub in the place of a cut-out model, whose probabilities are known, and a photo that it understands."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from fashionlib import models
from fashionlib.core.classes import CLASS_SETS

PERSON = list(CLASS_SETS["person"])
DRESS, BAG, HAIR = PERSON.index("dress"), PERSON.index("bag, wallet"), PERSON.index("hair")


class Stub(torch.nn.Module):
    """Has the names and the weight that a model has; `stub_model` answers for it."""

    def __init__(self, classes=PERSON):
        super().__init__()
        self.metadata = {"classes": list(classes), "model": "stub"}
        self.weight = torch.nn.Parameter(torch.ones(1))


def stub_model(monkeypatch):
    """Sees red as dress, green as bag, blue as hair, anything else as background, each for certain."""

    def probabilities(model, rgb, ask="auto"):
        assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
        scores = np.zeros((len(model.metadata["classes"]), *rgb.shape[:2]), np.float32)
        brightest = rgb.argmax(axis=2)
        seen = rgb.max(axis=2).astype(int) - rgb.min(axis=2) > 100
        for channel, value in enumerate((DRESS, BAG, HAIR)):
            scores[value][seen & (brightest == channel)] = 1
        scores[0] = 1 - scores[1:].sum(axis=0)
        return scores

    monkeypatch.setattr(models, "probabilities", probabilities)
    return Stub()


def scene(height=80, width=60):
    """Grey ground; a red dress 20 x 30 with a green bag 10 x 10 on its side and blue hair on top."""
    rgb = np.full((height, width, 3), 90, np.uint8)
    rgb[30:60, 20:40] = (200, 20, 30)
    rgb[40:50, 40:50] = (20, 210, 40)
    rgb[20:30, 25:35] = (30, 20, 220)
    return rgb


@pytest.fixture
def model(monkeypatch):
    """A `Stub` that `stub_model` answers for."""
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
