"""Crop, size, background and contact sheet."""

import cutout_stub
import numpy as np
import pytest
from cutout_stub import scene
from PIL import Image

from fashionlib.cutout import compose, contact_sheet, remove_background

model = cutout_stub.model  # a fixture


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
