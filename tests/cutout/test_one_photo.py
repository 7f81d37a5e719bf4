"""Cut-outs of one photo, with a stub in the place of the model whose probabilities are known."""

import cutout_stub
import numpy as np
import pytest
from cutout_stub import DRESS, PERSON, Stub, scene

from fashionlib.core.classes import CLASS_SETS
from fashionlib.cutout import about, load_model, photos, remove_background, segment
from fashionlib.cutout.one_photo import cut, layers

model = cutout_stub.model  # a fixture


def masks(rgb):
    return {name: rgb[..., channel] > 190 for channel, name in enumerate(("dress", "bag", "hair"))}


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


def test_without_a_model_one_sentence_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(about, "DEFAULT_MODEL", tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="No model ships with this version: give the checkpoint"):
        load_model()
