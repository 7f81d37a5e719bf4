"""What the shortcuts of a cut-out cost: the differences are those of models that are known."""

import numpy as np
import pandas as pd
import pytest
from fake_runs import DATA, NAMES, make_data
from PIL import Image

from fashionlib.evaluate.split import Split
from fashionlib.models.graph import GROUP
from tools.cutout_model import shortcuts


class Model:
    """Knows the truth; in int8 it misses a photo's first garment pixel, and 9 more from least 0.02 on."""

    def __init__(self, checkpoint, threads, group):
        self.metadata, self.group = {"closer": {"first": [8, 8]}}, group

    def probabilities(self, image):
        label = Model.truth[image.tobytes()].copy()
        missed = (10 if self.metadata["closer"]["least"] >= 0.02 else 1) if self.group == GROUP else 0
        label.ravel()[np.flatnonzero((label > 0) & (label < 6))[:missed]] = 0
        return np.eye(len(NAMES), dtype=np.float32)[label % 255].transpose(2, 0, 1)


@pytest.fixture
def split(tmp_path, monkeypatch) -> Split:
    make_data(tmp_path)
    part = Split.read(DATA, "test", tmp_path)
    pictures = [(part.folder / f"images/{i}.jpg", part.folder / f"labels/{i}.png") for i in part.ids]
    Model.truth = {np.asarray(Image.open(a)).tobytes(): np.asarray(Image.open(b)) for a, b in pictures}
    monkeypatch.setattr(shortcuts, "GraphModel", Model)
    monkeypatch.setattr(shortcuts, "read_metadata", lambda _: {"closer": {"least": 0.1}})
    monkeypatch.setenv("FASHION_HOME", str(tmp_path))
    return part


def test_a_row_a_way_against_the_first(split, tmp_path):
    out = tmp_path / "shortcuts.csv"
    shortcuts.compare(DATA, tmp_path / "m.safetensors", out, "test")
    table = pd.read_csv(out).set_index("way")
    assert list(table.index) == list(shortcuts.WAYS) and (table.photos == len(split.ids)).all()
    exact, int8, *_, last = (table.loc[way] for way in shortcuts.WAYS)
    assert exact.same_pixels == 1 and exact.person_IoU == 1 and exact.person_IoU_difference == 0
    assert 1 > int8.same_pixels > last.same_pixels
    for name in ("person_IoU", "apparel_IoU", "mIoU"):
        assert last[f"{name}_low"] <= last[f"{name}_difference"] <= last[f"{name}_high"] < 0
        assert last[f"{name}_difference"] < int8[f"{name}_difference"] < 0
        assert last[f"{name}_difference"] == pytest.approx(last[name] - exact[name], abs=2e-5)
