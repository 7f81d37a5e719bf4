"""Looking closer: the box is the subject's, nothing shifts on the way back, and cards that ask for it."""

from functools import partial

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionlib import models
from fashionlib.models import detail, inference, two_stage
from fashionlib.models.two_stage import Crop, GlobalContext

CARD = {"first": [512, 128], "margin": 0.1, "pixels": 40_000}


class Red:
    """Stands for a network: what is red is class 1, to the pixel; it answers at half the size."""

    def __init__(self, **more):
        self.metadata = dict(model="segmenter_vit_t", scale="mini", classes=["background", "red"])
        self.metadata |= dict(resize=[512, 128], test_cfg=dict(mode="whole")) | more

    def __call__(self, model, images, size, precision):
        self.shown = [*getattr(self, "shown", ()), size]
        half = size[1] // 2, size[0] // 2
        red = [cv2.resize(image[..., 0], half, interpolation=cv2.INTER_AREA) / 255.0 for image in images]
        red = torch.from_numpy(np.stack(red)).float()
        return torch.stack([0.5 - red, red - 0.5], 1) * 40


def stand_in(patch, **more) -> Red:
    model = Red(**more)
    patch.setattr(inference, "logits", model)
    return model


@pytest.fixture
def red(monkeypatch):
    return partial(stand_in, monkeypatch)


def photo(height, width, *boxes):
    image = np.zeros((height, width, 3), np.uint8)
    for top, bottom, left, right in boxes:
        image[top:bottom, left:right, 0] = 255
    return image


def test_a_card_that_says_nothing_shows_the_whole_photo_once(red):
    model = red()
    (crop,) = models.crops(model, [photo(300, 200, (100, 150, 90, 120))])
    assert crop[:3] == (slice(0, 300), slice(0, 200), (192, 128)) and not hasattr(model, "shown")


def test_the_second_look_is_at_the_box_with_its_margin_as_large_as_asked(red):
    model = red(closer=CARD)
    (crop,) = models.crops(model, [photo(600, 400, (200, 400, 300, 340))])
    for part, first, end in ((crop.rows, 200 - 20, 400 + 20), (crop.columns, 300 - 20, 340 + 20)):
        # a cell of the first look is 6 pixels
        assert abs(part.start - first) <= 8 and abs(part.stop - end) <= 8
    height, width = crop.size
    assert height % 8 == width % 8 == 0 and abs(height * width / 40_000 - 1) < 0.1
    shape = crop.cut(np.zeros((600, 400))).shape
    assert abs(height / width / (shape[0] / shape[1]) - 1) < 0.1


def test_all_pieces_count_but_specks(red):
    model = red(closer=CARD)
    pieces = photo(600, 400, (100, 200, 50, 100), (400, 500, 300, 350), (590, 594, 390, 394))
    (crop,) = models.crops(model, [pieces])
    assert crop.rows.start < 100 and 500 < crop.rows.stop < 550
    assert crop.columns.start < 50 and 350 < crop.columns.stop < 395


def test_a_photo_in_which_nothing_is_found_is_shown_whole(red):
    model = red(closer=CARD)
    empty = photo(300, 200)
    assert models.crops(model, [empty])[0].size == (192, 128)
    assert not models.predict(model, empty).any() and models.probabilities(model, empty).shape == (2, 96, 64)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nothing_shifts_on_the_way_back(data):
    """A rectangle anywhere in a photo of any shape is found where it is, to two pixels of the coarser."""
    height, width = data.draw(st.integers(80, 700)), data.draw(st.integers(80, 700))
    top, left = data.draw(st.integers(0, height - 60)), data.draw(st.integers(0, width - 60))
    bottom, right = data.draw(st.integers(top + 40, height)), data.draw(st.integers(left + 40, width))
    image = photo(height, width, (top, bottom, left, right))
    with pytest.MonkeyPatch.context() as patch:
        model = stand_in(patch, closer=CARD)
        label, p = models.predict(model, image), models.probabilities(model, image)
        (crop,) = models.crops(model, [image])
    assert p.shape[1] <= height and p.shape[2] <= width and np.allclose(p.sum(0), 1, atol=1e-5)
    fine = cv2.resize(p[1], (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5
    part = crop.cut(image).shape[:2]
    for mask, sides, seen in ((label == 1, part, crop.size), (fine, image.shape[:2], p.shape[1:])):
        # half a pixel: an edge lies between pixels, and a mask has whole ones
        off = [0.5 + 2 * max(1.0, own / shown) for own, shown in zip(sides, seen, strict=True)]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert abs(rows[0] - top) <= off[0] and abs(rows[-1] + 1 - bottom) <= off[0]
        assert abs(columns[0] - left) <= off[1] and abs(columns[-1] + 1 - right) <= off[1]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_was_seen_before_is_taken_from_its_place(data):
    """A ramp over the whole photo is, in any part of it, that part of the ramp."""
    height, width = data.draw(st.integers(50, 500)), data.draw(st.integers(50, 500))
    top, left = data.draw(st.integers(0, height - 20)), data.draw(st.integers(0, width - 20))
    bottom, right = data.draw(st.integers(top + 10, height)), data.draw(st.integers(left + 10, width))
    size = data.draw(st.integers(5, 60)), data.draw(st.integers(5, 60))
    crop = Crop(slice(top, bottom), slice(left, right), (0, 0))
    rows, columns = (torch.arange(side) + 0.5 for side in (height, width))  # centres of pixels
    ramps = torch.stack([rows[:, None].expand(height, width), columns.expand(height, width)])
    found = crop.resample(ramps, (height, width), size)
    for axis, first, end in ((0, top, bottom), (1, left, right)):
        centres = first + (end - first) * (torch.arange(size[axis]) + 0.5) / size[axis]
        centres = centres.clamp(0.5, (height, width)[axis] - 0.5)
        assert torch.allclose(found[axis], centres[:, None] if axis == 0 else centres, atol=0.01 * end)


def test_the_first_look_has_its_share_in_which_garment_it_is_and_in_nothing_else():
    logits, seen = torch.randn(4, 6, 5), torch.randn(4, 9, 9)
    crop = Crop(slice(10, 40), slice(0, 20), (60, 50), GlobalContext(seen, 0.25, [1, 2]))
    now, joined = logits.softmax(0), crop.blend(logits, (50, 40)).softmax(0)
    assert torch.allclose(joined[[0, 3]], now[[0, 3]], atol=1e-6)
    assert torch.allclose(joined[1:3].sum(0), now[1:3].sum(0), atol=1e-6)
    odds, before = (logits[1] - logits[2]), crop.resample(seen, (50, 40), (6, 5))
    expected = 0.75 * odds + 0.25 * (before[1] - before[2])
    assert torch.allclose((joined[1] / joined[2]).log(), expected, atol=1e-4)


def test_a_card_with_a_share_lets_the_first_look_speak(red):
    model = red(closer=CARD | {"share": 0.3}, classes=["background", "coat"])
    image = photo(300, 200, (100, 200, 60, 140))
    (crop,) = models.crops(model, [image])
    assert crop.context.context_weight == 0.3 and crop.context.garments == [1]
    plain = red(closer=CARD)
    assert np.array_equal(models.predict(model, image), models.predict(plain, image))  # one garment alone


def test_a_batch_is_looked_at_as_its_photos_are_alone(red):
    model = red(closer=CARD)
    photos = [photo(300, 200, (50, 90, 60, 160)), photo(200, 300), photo(300, 200, (150, 290, 20, 80))]
    together = models.predict_batch(model, photos)
    assert [label.shape for label in together] == [(300, 200), (200, 300), (300, 200)]
    for image, label in zip(photos, together, strict=True):
        assert np.array_equal(label, models.predict(model, image))


def test_a_real_network_looks_closer_too():
    model = models.build("detail_vit_s", 5, scale="mini").eval()
    model.metadata["closer"] = CARD | {"share": 0.3}
    image = np.random.default_rng(0).integers(0, 256, (150, 97, 3), np.uint8)
    model.decode_head.conv_seg.bias.data[2] += 9  # a subject is found
    assert models.crops(model, [image])[0].context is not None
    label, p = models.predict(model, image), models.probabilities(model, image)
    assert label.shape == (150, 97) and len(p) == 5 and np.allclose(p.sum(0), 1, atol=1e-5)


@pytest.fixture(scope="module")
def finder():
    """A real network of random weights that finds a subject, and a photo."""
    torch.manual_seed(0)
    model = models.build("detail_vit_s", 5, scale="mini").eval()
    model.decode_head.conv_seg.bias.data[2] += 2
    model.metadata["test_cfg"]["mode"] = model.test_cfg.mode = "whole"
    return model, np.random.default_rng(0).integers(0, 256, (150, 97, 3), np.uint8)


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_a_second_look_at_some_patches_has_the_first_ones_tokens_for_the_others(finder, least):
    model, image = finder
    model.metadata["closer"] = CARD
    plain, whole = models.crops(model, [image])[0], models.probabilities(model, image, "fp32")
    model.metadata["closer"] = CARD | {"least": least}
    (crop,) = models.crops(model, [image])
    height, width = two_stage.patches(crop.size, model.metadata)
    patches = crop.kept.patches
    assert crop[:4] == plain[:4] and (np.diff(patches) > 0).all() and patches[-1] < height * width
    kept = height * width if least == 0 else two_stage.ROUNDED
    assert len(patches) == kept < 10 * two_stage.ROUNDED
    some = models.probabilities(model, image, "fp32")
    assert np.allclose(some, whole, atol=1e-5) == (least == 0) and np.isfinite(some).all()


def test_what_the_encoder_does_not_see_stays_as_it_was(finder):
    model, _ = finder
    photo, parts = torch.randn(1, 3, 64, 48), (model.backbone, model.decode_head)
    with torch.no_grad():
        logits, joined = detail.look(*parts, photo)
        torch.testing.assert_close(logits, model.decode_head(model.backbone(photo))[0])
        around, kept = torch.randn_like(joined), torch.tensor([3, 4, 10])
        _, mixed = detail.look(*parts, photo, kept, around)
        every = torch.arange(joined[0].numel())
        torch.testing.assert_close(detail.look(*parts, photo, every, around)[0], logits)
    same = (mixed == around).all(0).flatten()
    assert (~same).nonzero().flatten().tolist() == kept.tolist()


def test_patches_with_a_subject_in_or_beside_them_are_kept():
    metadata = dict(model="detail_vit_s", scale="mini", classes=["background", "coat"], patch=None)
    metadata |= {
        "test_cfg": {"mode": "whole"},
        "closer": CARD | {"least": 0.1, "margin": 1.0, "pixels": 90_000},
    }
    logits = np.full((2, 40, 40), [[[9.0]], [[-9.0]]], np.float32)
    logits[:, 16:24, 12:20] *= -1
    crop = two_stage.subject(logits, (400, 400), metadata, np.zeros((4, 5, 5)))
    height, width = two_stage.patches(crop.size, metadata)
    kept = np.zeros(height * width, bool)
    kept[crop.kept.patches] = True
    rows = (np.arange(height) + 0.5) / height * (crop.rows.stop - crop.rows.start) + crop.rows.start
    columns = (np.arange(width) + 0.5) / width * (crop.columns.stop - crop.columns.start) + crop.columns.start
    inside = ((rows > 155) & (rows < 245))[:, None] & ((columns > 115) & (columns < 205))[None]
    assert inside.any() and kept.reshape(height, width)[inside].all() and kept.mean() < 0.6


@pytest.mark.parametrize("value", [
    {}, [], {**CARD, "first": [128]}, {**CARD, "margin": -0.1}, {**CARD, "margin": float("nan")},
    {**CARD, "pixels": 0}, {**CARD, "pixels": 10**9}, {**CARD, "pixels": "many"},
    {**CARD, "share": 1}, {**CARD, "share": "half"}, {**CARD, "least": 1.5}, {**CARD, "least": "some"},
    {**CARD, "least": 0.1},  # windows that slide
])  # fmt: skip
def test_a_card_that_asks_for_a_look_that_cannot_be_is_refused(tmp_path, value):
    model = models.build("detail_vit_s", 5, scale="mini")
    path = models.save(model, tmp_path / "a.safetensors", model.metadata | dict(closer=value))
    with pytest.raises(ValueError, match="its closer is"):
        models.load(path)
