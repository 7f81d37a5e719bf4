"""Edges on composites: the truth is exact, errors are what they are called, tables say what they rest on."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fashionlib.core.classes import CLASS_SETS
from fashionlib.cutout.edges import EDGES
from fashionlib.evaluate.split import Split
from tools.cutout_model.score import composites, drawn, edges

NAMES = list(CLASS_SETS["person"])
DRESS = NAMES.index("dress")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """data/drawn: two photos 300 x 260, each a reddish dress on a bluish wall, right of the middle."""
    home = tmp_path_factory.mktemp("home")
    root, rng = home / "data" / "drawn", np.random.default_rng(0)
    for name in ("images", "labels", "splits"):
        (root / name).mkdir(parents=True)
    label = np.zeros((300, 260), np.uint8)
    label[60:180, 150:210] = DRESS
    about = {"data": "drawn", "class_set": "person", "classes": NAMES, "fingerprint": "f", "counts": {}}
    (root / "dataset.json").write_text(json.dumps(about))
    (root / "splits" / "test.txt").write_text("a\nb\n")
    (root / "splits" / "val.txt").write_text("c\n")
    for name in "ab":
        rgb = np.where((label == DRESS)[..., None], (190, 40, 50), (40, 70, 150))
        rgb = rgb + rng.integers(-15, 16, (300, 260, 1))
        Image.fromarray(rgb.astype(np.uint8)).save(root / "images" / f"{name}.jpg", quality=95)
        Image.fromarray(label).save(root / "labels" / f"{name}.png")
    Image.fromarray(rgb.astype(np.uint8)).save(root / "images" / "c.jpg")
    Image.fromarray(np.full_like(label, DRESS)).save(root / "labels" / "c.png")
    return home


@pytest.fixture
def small(monkeypatch):
    """Drawn pieces of at most 150 pixels."""
    monkeypatch.setattr(drawn, "LONG", (120, 150))


@pytest.fixture(scope="module")
def made(home):
    return list(composites.composites(Split.read("drawn", "test", home), 3, seed=1))


def test_a_composite_is_garment_and_ground_mixed_by_alpha(made):
    for photo, alpha, colours in made:
        assert photo.shape == (*alpha.shape, 3) == colours.shape
        assert np.abs(photo - colours)[alpha == 1].max() <= 0.5, "all garment"
        assert (photo[alpha == 0].argmax(axis=1) == 2).mean() > 0.99, "all wall: no dress of the other photo"
        mixed = (alpha > 0.3) & (alpha < 0.7)
        assert mixed.any() and (alpha >= 0.5).mean() > 0.05


def test_the_same_seed_makes_the_same_composites(home, made):
    part = Split.read("drawn", "test", home)
    again = composites.composites(part, 3, seed=1)
    assert all(np.array_equal(a.photo, b.photo) for a, b in zip(made, again, strict=True))
    assert not np.array_equal(next(composites.composites(part, 1, seed=2)).photo, made[0].photo)


def test_without_a_whole_garment_or_ground_one_sentence_says_so(home):
    with pytest.raises(ValueError, match="No photo of split 'val' of .* has a garment that is whole"):
        next(composites.composites(Split.read("drawn", "val", home), 1))


def test_the_true_cutout_has_no_error_and_a_photo_uncut_has_its_grounds(made):
    composite = made[0]
    photo, alpha, colours = composite
    rim = composites.rim_of(alpha, edges.RIM)
    true = np.dstack([np.round(colours), np.round(alpha * 255)]).astype(np.uint8)
    assert edges.colour_error(true, composite, rim, 255) < 1
    uncut = np.dstack([photo, np.full(alpha.shape, 255, np.uint8)])
    ground = (alpha == 0) & rim
    by_hand = np.abs(photo[ground].astype(float) - 255).mean()
    assert edges.colour_error(uncut, composite, ground, 255) == pytest.approx(by_hand)


def test_each_edge_is_measured_and_new_colours_are_nearer(made):
    p = (np.roll(made[0].alpha, 3, axis=1) >= 0.5).astype(np.float32)  # found, but three pixels off
    errors = edges.errors_of(made[0], p)
    assert set(errors) == {*EDGES, edges.RAW}
    assert errors["matting"]["alpha"] < errors["hard"]["alpha"]
    assert errors["matting"]["alpha"] == errors[edges.RAW]["alpha"]
    assert errors["matting"]["white"] < errors[edges.RAW]["white"]


@pytest.mark.parametrize("width", [0.3, 0.5, 1, 4])
@pytest.mark.parametrize("degrees", [0, 17, 60, 90])
def test_a_strand_covers_what_its_outline_covers(width, degrees):
    turn, tone = np.radians(degrees), np.array([200, 100, 50])
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    canvas = np.zeros((40 * drawn.FINE, 40 * drawn.FINE, 4), np.uint8)
    drawn.strand(canvas, np.array([20.3, 20.4]) + np.outer([-12, 0, 12], along), width, tone)
    alpha, colours = drawn.averaged(canvas)
    samples = (np.arange(40 * 40) + 0.5) / 40  # 40 of them a pixel, in each direction
    from_centre = np.stack(np.meshgrid(samples, samples), axis=-1) - (20.3, 20.4)
    within = (np.abs(from_centre @ along) <= 12) & (np.abs(from_centre @ across) <= width / 2)
    true = within.reshape(40, 40, 40, 40).mean(axis=(1, 3))
    whole = 1 / drawn.FINE if degrees % 90 == 0 else 0  # along rows and columns: a whole number of samples
    assert alpha.sum() / 24 == pytest.approx(width, rel=0.1, abs=whole)
    assert np.abs(alpha - true).max() < 0.2 and np.abs(alpha - true)[true > 0].mean() < 0.1
    assert width >= 1 or alpha.max() < 0.9, "thinner than a pixel: never opaque"
    np.testing.assert_allclose(colours[alpha > 0.25], np.tile(tone, ((alpha > 0.25).sum(), 1)), atol=3)


@pytest.mark.parametrize("material", drawn.MATERIALS)
def test_drawn_pieces_are_mixed_by_alpha_and_the_same_for_a_seed(home, small, material):
    part = Split.read("drawn", "test", home)
    (photo, alpha, colours), (other, *_) = composites.composites(part, 2, 1, material)
    assert np.array_equal(photo, next(composites.composites(part, 1, 1, material)).photo)
    assert photo.shape != other.shape or (photo != other).any()
    behind = (photo - alpha[..., None] * colours)[alpha < 0.5] / (1 - alpha[alpha < 0.5])[:, None]
    assert (np.abs(behind - (40, 70, 150)).max(axis=1) < 30).mean() > 0.99, "the wall of the photo"
    assert np.abs(photo - colours)[alpha == 1].max() <= 0.5, "all piece"
    assert min((alpha == 1).mean(), (alpha == 0).mean(), ((alpha > 0) & (alpha < 1)).mean()) > 0.05


def test_errors_are_compared_on_the_same_composite(made):
    errors = edges.errors_of(made[0], (made[0].alpha >= 0.5).astype(np.float32))
    assert all(errors["soft"][f"{name}_vs_soft"] == 0 for name in ("alpha", "white", "black"))
    assert errors["hard"]["white_vs_soft"] == errors["hard"]["white"] - errors["soft"]["white"]


@pytest.mark.parametrize(
    ("alpha", "white", "verdict"),
    [
        ((-2, -1), (-1, 1), "better"),
        ((1, 2), (-1, 1), "worse"),
        ((-1, 1), (-3, 0), "a tie"),
        ((-2, -1), (1, 2), "better and worse"),
    ],
)
def test_an_edge_wins_only_beyond_its_interval(alpha, white, verdict):
    bounds = {"alpha": alpha, "white": white, "black": (-1, 1)}
    row = {
        f"{name}_vs_soft_{end}": of[i] for name, of in bounds.items() for i, end in enumerate(("low", "high"))
    }
    assert edges.verdict(row) == verdict


def test_tables_say_what_they_rest_on(home, tmp_path, monkeypatch, small):
    monkeypatch.setenv("FASHION_HOME", str(home))
    table = edges.score("drawn", None, tmp_path, count=2, seed=4)
    assert list(table.edge) == [*EDGES, edges.RAW] * 8 and (table.found == 2).all()
    assert list(table.material) == [m for m in ("cloth", "hair", "fur", "knit") for _ in range(8)]
    assert list(table.start) == (["truth"] * 4 + ["JPEG"] * 4) * 4
    assert (table.alpha_low <= table.alpha).all() and (table.alpha <= table.alpha_high).all()
    hard, soft = (table[table.edge == edge].alpha.to_numpy() for edge in ("hard", "soft"))
    np.testing.assert_allclose(table[table.edge == "hard"].alpha_vs_soft, hard - soft)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "edges.csv"), table, check_dtype=False, rtol=1e-5)
    page = (tmp_path / "edges.md").read_text()
    assert "2 garments (cloth) cut out of the test photos of drawn" in page
    said = next(line for line in page.splitlines() if line.startswith("- **matting**, from the true mask"))
    for _, row in table[(table.edge == "matting") & (table.start == "truth")].iterrows():
        assert row.material in said.split(f"{edges.verdict(row)} on ")[1].split(";")[0]
    assert "score-edges --data=drawn --split=test --composites=2 --seed=4" in page
