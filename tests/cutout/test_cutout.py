"""Cut-outs, with a stub in the model's place whose probabilities are known."""

import cv2
import numpy as np
import pytest
from cutout_stub import DRESS, PERSON, Stub, scene, stub_model
from PIL import Image

from fashionlib.core.classes import CLASS_SETS
from fashionlib.cutout import compose, contact_sheet, edges, load_model, photos, remove_background, segment
from fashionlib.cutout.cut import cut, layers


@pytest.fixture
def model(monkeypatch):
    return stub_model(monkeypatch)


def masks(rgb):
    return {name: rgb[..., channel] > 190 for channel, name in enumerate(("dress", "bag", "hair"))}


# one photo -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "stay"),
    [
        ({}, ["dress", "bag"]),
        ({"subject": "person"}, ["dress", "bag", "hair"]),
        ({"keep": "dress"}, ["dress"]),
        ({"keep": ["wholebody", "hair"]}, ["dress", "hair"]),
        ({"drop": "bag"}, ["dress"]),
        ({"drop": ["bag, wallet"], "subject": "person"}, ["dress", "hair"]),
        ({"keep": "dress,shoe,bag, wallet", "drop": "others"}, ["dress"]),
    ],
)
def test_hard_alpha_is_the_mask_of_what_stays(model, options, stay):
    rgb = scene()
    before = rgb.copy()
    rgba = remove_background(rgb, model, **options)
    expected = np.any([masks(rgb)[name] for name in stay], axis=0)
    assert rgba.dtype == np.uint8 and rgba.shape == (80, 60, 4)
    assert np.array_equal(rgba[..., 3], expected * 255)
    assert np.array_equal(rgba[expected][:, :3], rgb[expected])
    assert not rgba[~expected].any()
    assert np.array_equal(rgb, before)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"keep": "dres"}, r"Unknown class or group 'dres'. Did you mean 'dress'\?"),
        ({"drop": "uperbody"}, "Did you mean 'upperbody'"),
        ({"keep": "background"}, "Unknown class or group 'background'"),
        ({"subject": "persn"}, "Did you mean 'person'"),
        ({"edge": "sof"}, "Did you mean 'soft'"),
        ({"keep": "dress", "drop": "wholebody"}, "leave no class to keep"),
    ],
)
def test_wrong_names_are_refused_with_a_guess(model, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        remove_background(scene(), model, **options)


def test_person_needs_a_model_that_knows_hair_and_skin(model):
    plain = Stub(CLASS_SETS["main"])
    with pytest.raises(ValueError, match="no hair and skin.*use subject='apparel'"):
        remove_background(scene(), plain, subject="person")
    with pytest.raises(ValueError, match="Unknown class or group 'hair'"):
        remove_background(scene(), plain, drop="hair")


def test_every_class_name_and_every_part_of_one_names_its_class():
    for value, name in enumerate(PERSON[1:], start=1):
        assert segment.wanted(PERSON, keep=name).kept == segment.wanted(PERSON, keep=[name]).kept == [value]
        assert all(segment.wanted(PERSON, keep=part).kept == [value] for part in name.split(", "))


def test_what_may_be_one_of_two_garments_is_the_stronger_one_not_lost():
    scores = np.zeros((len(PERSON), 20, 20), np.float32)
    skirt = PERSON.index("skirt")
    scores[skirt], scores[DRESS], scores[0] = 0.45, 0.4, 0.15
    for names, stays in [({}, 1), ({"keep": "skirt"}, 1), ({"drop": "dress"}, 1), ({"keep": "dress"}, 0)]:
        p = segment.keep_probability(scores, segment.wanted(PERSON, **names), (20, 20))
        assert ((p >= 0.5) == stays).all()


def test_specks_and_pinholes_go_but_a_watch_stays(model):
    p = np.zeros((400, 300), np.float32)  # a speck is below 12 pixels
    p[100:300, 100:200] = 1
    p[200, 150:155] = 0  # a pinhole
    p[150:154, 150:154] = 0  # a hole worth keeping
    p[20:22, 20:22] = 1  # a speck
    p[20:24, 280:284] = 1  # a watch
    p[350:360, 10:20] = 0.3  # a faint cloud, nowhere likely
    tidy = segment.remove_specks(p)
    assert (tidy[200, 150:155] == 1).all() and (tidy[150:154, 150:154] == 0).all()
    assert (tidy[20:22, 20:22] == 0).all() and (tidy[20:24, 280:284] == 1).all()
    assert (tidy[350:360, 10:20] == 0).all()


def test_a_big_photo_is_shown_small_and_cut_out_at_its_own_size(model):
    rgb = np.kron(scene(), np.ones((20, 20, 1), np.uint8))  # 1600 x 1200 = 1.9 megapixels
    assert segment.probabilities(rgb, model)[0].size <= segment.WORK_PIXELS
    rgba = remove_background(rgb, model)
    expected = np.kron(masks(scene())["dress"] | masks(scene())["bag"], np.ones((20, 20), bool))
    wrong = (rgba[..., 3] > 0) != expected
    assert rgba.shape == (1600, 1200, 4) and wrong.mean() < 0.002


def test_nothing_found_gives_an_empty_cutout(model):
    assert not remove_background(np.full((30, 20, 3), 128, np.uint8), model, edge="matting").any()


def test_what_was_transparent_stays_transparent(model):
    rgba = np.dstack([scene(), np.full((80, 60), 255, np.uint8)])
    rgba[30:45, :, 3] = 0
    out = remove_background(rgba, model)
    assert not out[30:45].any()
    assert np.array_equal(out[45:60, 20:40, 3], np.full((15, 20), 255))


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4, 3), float), ((4, 4, 2), "uint8"), ((0, 4, 3), "uint8")])
def test_arrays_that_are_no_photo_are_refused(model, shape, dtype):
    with pytest.raises(ValueError, match=r"A photo is a uint8 array \(H, W, 3\), not"):
        remove_background(np.zeros(shape, dtype), model)


def test_layers_share_out_the_alpha(model):
    choice = segment.wanted(PERSON)
    result = cut(photos.as_photo(scene()), model, choice)
    label, found = layers(result, PERSON, choice.kept)
    assert [(entry["class"], entry["pixels"], entry["box"], entry["confidence"]) for entry in found] == [
        ("dress", 600, [20, 30, 40, 60], 1.0),
        ("bag, wallet", 100, [40, 40, 50, 50], 1.0),
    ]
    total = sum(result.rgba[..., 3].astype(int) * (label == entry["value"]) for entry in found)
    assert np.array_equal(total, result.rgba[..., 3])


# edges: composites whose alpha is known ---------------------------------------------------------------------


def composite(seed, ground=(190, 35, 40), height=240, width=200):
    """(photo, true alpha, true foreground, blurred alpha as a model would see it) of a white shirt on a wall.

    The shirt's outline is drawn at four times the size, so that its edge pixels are truly mixed.
    """
    rng = np.random.default_rng(seed)
    big = np.zeros((height * 4, width * 4), np.uint8)
    cv2.ellipse(big, (width * 2, height * 2), (width, int(height * 1.2)), 10, 0, 360, 255, -1)
    for angle in rng.uniform(0, 2 * np.pi, 8):
        centre = int(width * (2 + np.cos(angle))), int(height * (2 + 1.2 * np.sin(angle)))
        cv2.circle(big, centre, int(rng.uniform(20, 90)), int(255 * (rng.random() > 0.4)), -1)
    alpha = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    noise = cv2.GaussianBlur(rng.normal(0, 1, (height, width, 6)).astype(np.float32), (0, 0), 3)
    shirt = np.clip(225 + 60 * noise[..., :3], 0, 255)
    wall = np.clip(np.asarray(ground, np.float32) + 100 * noise[..., 3:], 0, 255)
    photo = np.round(shirt * alpha[..., None] + wall * (1 - alpha[..., None])).astype(np.uint8)
    coarse = cv2.resize(alpha, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    return photo, alpha, shirt, cv2.resize(coarse, (width, height))


def errors(edge, seed, ground=(190, 35, 40)):
    """Mean error of alpha, and of the colour on white in grey levels, within 8 pixels of the true edge."""
    photo, truth, shirt, p = composite(seed, ground)
    alpha, note = edges.alpha_of(photo, p, edge)
    assert note == ""
    rgba = edges.estimate_foreground(photo, alpha)
    rim = cv2.dilate(((truth > 0) & (truth < 1)).astype(np.uint8), np.ones((17, 17))) > 0
    best = shirt * truth[..., None] + 255 * (1 - truth[..., None])
    colour = np.abs(compose.over(rgba, (255, 255, 255)) - best)[rim].mean()
    return np.array([np.abs(alpha / 255 - truth)[rim].mean(), colour])


@pytest.mark.parametrize("ground", [(190, 35, 40), (40, 120, 60), (60, 60, 200)])
def test_softer_edges_come_nearer_to_the_truth(ground):
    hard, soft, matting = (errors(edge, 0, ground) + errors(edge, 1, ground) for edge in edges.EDGES)
    assert (soft < 0.7 * hard).all(), (hard, soft)
    assert (matting < 0.5 * hard).all(), (hard, matting)


@pytest.mark.parametrize("edge", edges.EDGES)
def test_inside_the_photo_is_untouched_on_white_and_on_black(edge):
    photo, _, _, p = composite(0)
    alpha, _ = edges.alpha_of(photo, p, edge)
    rgba = edges.estimate_foreground(photo, alpha)
    for ground in (0, 255):
        assert np.array_equal(compose.over(rgba, (ground,) * 3)[alpha == 255], photo[alpha == 255])
        assert (compose.over(rgba, (ground,) * 3)[alpha == 0] == ground).all()
    assert (alpha == 255).mean() > 0.2 and not rgba[alpha == 0].any()


def test_a_red_wall_leaves_no_red_rim():
    photo, truth, _, _ = composite(3)
    alpha = np.round(truth * 255).astype(np.uint8)  # the matte is right: only the colours are at stake
    mixed = (alpha > 30) & (alpha < 225)
    before, after = (
        (rgb[..., 0].astype(int) - rgb[..., 1])[mixed].mean()
        for rgb in (photo, edges.estimate_foreground(photo, alpha))
    )
    assert before > 60 and abs(after) < 12


def test_soft_alpha_ends_with_its_band_and_stays_opaque_inside():
    p = np.full((200, 200), 0.2, np.float32)
    p[50:150, 50:150] = 0.8  # never sure, nowhere
    alpha, _ = edges.alpha_of(np.full((200, 200, 3), 128, np.uint8), p, "soft")
    reach = 4  # 200 / 64, rounded up
    assert (alpha[50 + reach : 150 - reach, 50 + reach : 150 - reach] == 255).all()
    outside = np.ones((200, 200), bool)
    outside[50 - reach : 150 + reach, 50 - reach : 150 + reach] = False
    assert (alpha[outside] == 0).all()


def test_tiles_leave_no_seam(monkeypatch):
    photo, _, _, p = composite(1)
    whole = edges.alpha_of(photo, p, "matting")[0]
    monkeypatch.setattr(edges, "TILE", 64)
    tiled = edges.alpha_of(photo, p, "matting")[0]
    assert np.abs(whole.astype(int) - tiled).mean() < 1
    boxes = list(edges._tiles(np.ones((150, 100), bool)))
    covered = np.zeros((150, 100), int)
    for box, inner in boxes:
        covered[box][inner] += 1
    assert (covered == 1).all()


def test_matting_falls_back_in_words(monkeypatch):
    photo, _, _, p = composite(0)
    soft = edges.alpha_of(photo, p, "soft")[0]
    monkeypatch.setattr(edges, "SECONDS", -1)
    alpha, note = edges.alpha_of(photo, p, "matting")
    assert np.array_equal(alpha, soft)
    assert note == "matting stopped after -1 s: the edge is soft in 1 of 1 tiles"

    def unsolved(*_):
        raise ValueError("Conjugate gradient descent did not converge within 500 iterations")

    monkeypatch.setattr(edges, "SECONDS", 100)
    monkeypatch.setattr(edges, "_closed_form", unsolved)
    alpha, note = edges.alpha_of(photo, p, "matting")
    assert np.array_equal(alpha, soft) and "did not converge in 1 of 1 tiles" in note


def test_grow_and_shrink():
    alpha = np.zeros((20, 20), np.uint8)
    alpha[8:12, 8:12] = 255
    assert (edges.dilate(alpha, 2)[8:12, 6:14] == 255).all() and edges.dilate(alpha, 2)[5].max() == 0
    assert (edges.dilate(alpha, -1) > 0).sum() == 4
    assert edges.dilate(alpha, 0) is alpha
    assert (edges.dilate(alpha, 10**9) == 255).all() and not edges.dilate(alpha, -(10**9)).any()
    assert not edges.dilate(np.zeros_like(alpha), 10**9).any()


@pytest.mark.parametrize("pixels", [20, -20])
def test_growing_far_is_growing_by_a_disc(pixels):
    alpha = cv2.GaussianBlur(cv2.circle(np.zeros((200, 160), np.uint8), (80, 100), 40, 255, -1), (0, 0), 2)
    across = np.hypot(*(np.indices(alpha.shape) - np.reshape([100, 80], (2, 1, 1)))) - pixels
    far = edges.dilate(alpha, pixels)
    assert (far[across < 33] == 255).all() and not far[across > 48].any()
    assert np.abs(np.count_nonzero(far >= 128) / (np.pi * (40 + pixels) ** 2) - 1) < 0.1
    assert len(np.unique(far)) > 5  # still soft


# pictures ---------------------------------------------------------------------------------------------------


def test_crop_ends_at_alpha_ten_and_margins_may_leave_the_photo():
    alpha = np.zeros((40, 50), np.uint8)
    alpha[0, 0] = 9  # noise that must not count
    alpha[10:30, 5:15] = 10
    tight = compose.frame(alpha, crop=True)
    assert (tight.top, tight.left, tight.bottom, tight.right, tight.size) == (10, 5, 30, 15, (20, 10))
    wide = compose.frame(alpha, crop=True, margin=0.5)
    assert (wide.top, wide.left, wide.bottom, wide.right) == (0, -5, 40, 25)
    rgba = np.dstack([np.full((40, 50, 3), 7, np.uint8), alpha])
    framed = wide(rgba)
    assert framed.shape == (40, 30, 4) and not framed[:, :5].any() and (framed[10:30, 10:20, 3] == 10).all()
    assert compose.frame(alpha, size=100).size == (80, 100)
    assert compose.frame(np.zeros_like(alpha), crop=True).size == (40, 50)


def test_resizing_brings_no_dark_rim():
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[16:49, 16:49] = (240, 230, 220, 255)
    for size in (23, 101):
        small = compose.frame(rgba[..., 3], size=size)(rgba)
        seen = small[..., 3] > 8
        assert np.abs(small[seen][:, :3].astype(int) - (240, 230, 220)).max() <= 3


def test_backgrounds(tmp_path, model):
    photo = scene()
    rgba = remove_background(photo, model)
    place, inside = compose.frame(rgba[..., 3]), rgba[..., 3] == 255
    Image.new("RGB", (30, 10), (1, 2, 3)).save(tmp_path / "ground.png")
    file = str(tmp_path / "ground.png")
    for background, colour in {"white": (255, 255, 255), "#102030": (16, 32, 48), file: (1, 2, 3)}.items():
        picture = compose.picture(rgba, photo, place, background)
        assert picture.shape == (80, 60, 3)
        assert np.array_equal(picture[inside], photo[inside]) and (picture[~inside] == colour).all()
    blurred = compose.picture(rgba, photo, place, "blur")
    assert np.array_equal(blurred[inside], photo[inside])
    assert np.abs(blurred[5:15].astype(int) - 90).max() <= 1  # the grey ground, and no red or green in it
    for bad in ("whit", "#12345", "none.png"):
        with pytest.raises(ValueError, match=bad):
            compose.check_background(bad)


def test_contact_sheet_shows_what_is_transparent(model):
    rgba = remove_background(scene(), model)
    sheet = contact_sheet([rgba, scene(), rgba], columns=2, side=80)
    assert sheet.shape == (2 * 88, 2 * 88, 3) and sheet.dtype == np.uint8
    assert tuple(sheet[4 + 35, 4 + 10 + 25]) == (200, 20, 30)
    assert {tuple(pixel) for pixel in sheet[4:24, 14:34].reshape(-1, 3)} == {(204,) * 3, (255,) * 3}
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([])


def test_without_a_model_one_sentence_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(segment, "DEFAULT_MODEL", tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="No model ships with this version: give the checkpoint"):
        load_model()
    with pytest.raises(FileNotFoundError, match="There is no model at .*other.safetensors"):
        load_model(tmp_path / "other.safetensors")
