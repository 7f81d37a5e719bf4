"""Pictures of the inside: what is bright where, colours that photos share, a panel for every epoch."""

from types import SimpleNamespace

import IPython.display
import numpy as np
import pytest
import torch

from fashionlib import models
from fashionlib.core.classes import CLASSES, IGNORE
from fashionlib.evaluate.runs import Run
from fashionlib.models import attention
from fashionlib.report import inside
from fashionlib.report.photo_steps import principal_colours

PHOTO = np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def seen():
    torch.manual_seed(0)
    return attention.look(models.build("segmenter_vit_t", scale="mini").eval(), PHOTO)


def test_light_falls_on_the_patches_with_most_attention(seen):
    weights = np.zeros(seen.grid)
    weights[2, 5] = 0.3
    dark, bright = inside.lit(seen, np.full_like(weights, 1e-9) * 0), inside.lit(seen, weights)
    changed = np.argwhere((bright != dark).any(2))
    assert changed.min(0).tolist() == [16, 40] and changed.max(0).tolist() == [23, 47]
    patch = 2 * seen.grid[1] + 5
    border = np.argwhere((inside.outlined(seen, dark, patch) != dark).any(2))
    assert border.min(0).tolist() == [15, 39] and border.max(0).tolist() == [24, 48]
    assert bright.dtype == np.uint8 and bright.shape == seen.photo.shape


def test_principal_colours_are_the_components_and_know_no_order():
    places = np.random.default_rng(0).normal(size=(200, 3)) * [9, 3, 1]
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0][:3]
    colours = principal_colours(places @ turned + 5)
    assert colours.dtype == np.uint8 and colours.min() == 0 and colours.max() == 255
    for component, place in zip(colours.T, places.T, strict=True):
        assert abs(np.corrcoef(component, place)[0, 1]) > 0.95
    assert np.array_equal(principal_colours((places @ turned)[::-1]), colours[::-1])


def test_figures_are_written_where_they_go(seen, tmp_path):
    inside.fig_attention("toy", seen, 20, tmp_path)
    distances = inside.fig_attention_distance("toy", seen, tmp_path)
    tokens = inside.fig_tokens("toy", [seen, seen], tmp_path)
    classes = inside.fig_class_tokens("toy", seen, home=tmp_path)
    drawn = distances.axes[0].lines[: len(seen.encoder[0].weights([0]))]
    assert np.allclose(
        [line.get_ydata() for line in drawn], np.transpose([seen.distance(n) for n in range(4)])
    )
    pictures = [axes.images[0].get_array() for axes in tokens.axes]
    assert len(pictures) == 2 * (1 + 4) and np.array_equal(pictures[1], pictures[6])  # the same photo twice
    assert len(classes.axes) == 3 * (1 + 2 + 2)
    names = {path.stem for path in tmp_path.glob("runs/toy/pictures/*.png")}
    assert names == {"fig_attention", "fig_tokens", "fig_class_tokens"}


def test_the_panels_picture_is_the_heads_or_their_mean(seen):
    made = [np.asarray(inside.picture(seen, 0.5, 0.5, 4, head)) for head in (0, 1, 2)]
    assert made[0].shape == (588, 588, 3)
    assert np.array_equal(made[0][:, :280], made[1][:, :280])  # the photo
    assert not np.array_equal(made[1][:, 300:], made[2][:, 300:])


def test_the_panel_shows_another_picture_when_a_slider_moves(seen, monkeypatch):
    shown = []
    handle = SimpleNamespace(update=shown.append)
    monkeypatch.setattr(IPython.display, "display", lambda made, **_: shown.append(made) or handle)
    controls = inside.panel(seen, 0.5, 0.5)
    first, choices = shown[1], dict(across=0.5, down=0.5, layer=4, head=0)
    assert {name: control.value for name, control in controls.items()} == choices
    assert first == inside.picture(seen, **choices)
    for name, value in dict(across=0.1, down=0.9, layer=2, head=2).items():
        controls[name].value = choices[name] = value
        assert shown[-1] == inside.picture(seen, **choices)
    assert len(shown) == 2 + 4


def test_cosines_and_their_mean(tmp_path):
    vectors = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    expected = [[1, 1, 0, -1], [1, 1, 0, -1], [0, 0, 1, 0], [-1, -1, 0, 1]]
    assert inside.cosines(vectors) == pytest.approx(np.array(expected))
    figure = inside.fig_class_similarity("toy", {"both": (vectors, CLASSES[:4])}, tmp_path)
    assert figure.get_suptitle().replace("\n", " ").endswith("both -0.17.")  # (1 + 0 - 1 + 0 - 1 + 0) / 6


def test_a_film_strip_has_a_panel_for_every_epoch(tmp_path, monkeypatch):
    truth = np.zeros((30, 20), np.uint8)
    truth[10:20], truth[20:] = 1, IGNORE
    answers = {1: np.zeros_like(truth), 2: (truth == 1).astype(np.uint8), 7: np.ones_like(truth)}
    for epoch in answers:
        (tmp_path / f"epoch_{epoch}.safetensors").touch()
    model = SimpleNamespace(metadata=dict(classes=CLASSES), epoch=None)

    def load(file, reuse):
        model.epoch = int(file.stem.removeprefix("epoch_"))
        return model

    monkeypatch.setattr(inside.models, "load", load)
    monkeypatch.setattr(inside.models, "predict", lambda model, photo: answers[model.epoch])
    photo = np.full((30, 20, 3), 90, np.uint8)
    figure = inside.fig_film_strip("toy", Run("small", tmp_path, {}), photo, truth, tmp_path)
    notes = [axes.get_xlabel() for axes in figure.axes]
    assert notes == ["photo", "truth", "epoch 1: 50 %", "epoch 2: 100 %", "epoch 7: 50 %", ""]
    said = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert said.endswith("best after epoch 2 (100 % of pixels right), 50 % after the last, epoch 7.")


def test_classes_that_the_shipped_model_never_saw_are_one_to_it():
    """As notebook 09 and the model's card say."""
    from fashionlib.cutout import load_model

    model = load_model(None, runtime="torch")
    cosines = inside.cosines(attention.class_vectors(model))
    short = [name.split(",")[0] for name in model.metadata["classes"]]
    pairs = {(short[i], short[j]) for i, j in np.argwhere(np.triu(cosines > 0.99, 1))}
    assert pairs == {("headband", "leg warmer"), ("headband", "umbrella"), ("leg warmer", "umbrella")}
