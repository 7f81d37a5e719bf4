"""Crop, canvas, size, background, shadow and contact sheet."""

import cutout_stub
import numpy as np
import pytest
from cutout_stub import scene
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fashionlib.cutout import compose, contact_sheet, edges, remove_background

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


def box_of(alpha):
    return np.array(edges.bounding_box(alpha >= 128))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_on_a_canvas_the_subject_has_its_share_and_the_middle_to_the_pixel(data):
    def drawn(least, most):
        return data.draw(st.integers(least, most))

    height, width, fill = drawn(10, 40), drawn(10, 40), data.draw(st.floats(0.4, 1))
    top, left, below, right = (drawn(0, 30) for _ in range(4))  # 0: the subject ends at the photo's rim
    canvas = drawn(80, 300), drawn(80, 300)
    rgba = np.zeros((top + height + below, left + width + right, 4), np.uint8)
    rgba[top : top + height, left : left + width] = (10, 200, 90, 255)
    place = compose.frame(rgba[..., 3], canvas=canvas, fill=fill)
    made = place(rgba)
    scale = fill * min(canvas[0] / width, canvas[1] / height)
    assert made.shape == (canvas[1], canvas[0], 4) and place.scale == pytest.approx(scale)
    half = scale * np.array([height, width]) / 2
    middle = np.array(canvas[::-1]) / 2
    assert np.abs(box_of(made[..., 3]) - [*(middle - half), *(middle + half)]).max() <= 1
    assert (made[made[..., 3] == 255][:, :3] == (10, 200, 90)).all()


def test_the_canvas_moves_by_parts_of_a_pixel():
    rgba = np.zeros((50, 50, 4), np.uint8)
    rgba[10:31, 10:31] = 255  # 21 pixels, whose middle is no border of pixels
    even, odd = (compose.frame(rgba[..., 3], canvas=(side, side), fill=21 / side)(rgba) for side in (42, 43))
    assert np.array_equal(odd[11:32, 11:32, 3], np.full((21, 21), 255)) and odd[..., 3].sum() == 255 * 21**2
    assert np.array_equal(even, even[::-1]) and np.array_equal(even, even[:, ::-1])
    assert even[20, 10, 3] == pytest.approx(128, abs=2)  # half a pixel
    assert (
        compose.frame(np.zeros((8, 6), np.uint8), canvas=(90, 90))(np.zeros((8, 6, 4), np.uint8)).shape[0]
        == 90
    )


def test_a_photo_of_less_than_a_pixel_is_one():
    rgba = np.full((3, 2, 4), 255, np.uint8)
    for margin in range(1, 4000, 37):
        made = compose.frame(rgba[..., 3], crop=True, margin=margin, size=10)(rgba)
        assert made.shape[0] == 10 and (made[..., 3] > 0).sum() in (1, 2, 4)


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
    for bad in ("whit", "#12345", "#ffffff80", "none.png"):
        with pytest.raises(ValueError, match=f"{bad}.* is not none, blur, an opaque colour"):
            compose.check_background(bad)


@pytest.mark.parametrize("white", ["white", "#fff", "#FFFFFF", "rgb(255,255,255)"])
@pytest.mark.parametrize("shadow", compose.SHADOWS)
def test_white_is_white_wherever_neither_subject_nor_shadow_is(white, shadow, model):
    framing = {"edge": "soft", "canvas": "200x300", "shadow": shadow}
    transparent = remove_background(scene(), model, **framing)
    picture = remove_background(scene(), model, **framing, background=compose.check_background(white))
    assert picture.shape == (300, 200, 3) and transparent.shape == (300, 200, 4)
    outside = transparent[..., 3] == 0
    assert outside.mean() > 0.2 and (picture[outside] == 255).all()
    assert np.array_equal(picture, compose.over(transparent, (255, 255, 255)))


@pytest.mark.parametrize("side", [60, 240])
def test_a_shadow_is_soft_lower_and_only_where_the_subject_is_not(side):
    rgba = np.zeros((2 * side, 2 * side, 4), np.uint8)
    own = np.s_[side // 2 : side // 2 + side, side // 2 : side // 2 + side]
    rgba[own] = (200, 30, 40, 255)
    made = compose._over_shadow(rgba)
    assert np.array_equal(made[own], rgba[own])
    shade = made.copy()
    shade[own] = 0
    assert not shade[..., :3].any()  # black
    top, left, bottom, right = edges.bounding_box(shade[..., 3] > 0)
    middle = shade[:, side, 3]
    assert bottom - (side // 2 + side) > side // 2 - top  # lower
    assert (
        left + right == 2 * side and side * 0.02 < bottom - 1.5 * side < side * 0.07
    )  # scaled with the subject
    assert (
        np.diff(middle[side // 2 + side :].astype(int)) <= 0
    ).all() and 20 < middle.max() <= 0.35 * 255 + 1
    assert not compose._over_shadow(np.zeros((9, 9, 4), np.uint8)).any()
    filled = np.full((9, 9, 4), 255, np.uint8)
    assert np.array_equal(compose._over_shadow(filled), filled)


def test_a_soft_edge_over_its_shadow_keeps_its_colour():
    rgba = np.full((100, 100, 4), 0, np.uint8)
    rgba[20:80, 20:80] = (100, 150, 200, 255)
    rgba[80:82, 20:80] = (100, 150, 200, 128)
    white, black = (
        compose.over(compose._over_shadow(rgba), (grey,) * 3)[80, 50].astype(int) for grey in (255, 0)
    )
    assert np.abs(black - np.array([50, 75, 100])).max() <= 1  # half the subject, the rest black
    lit = white - black
    assert lit.max() - lit.min() <= 1 and 127 * 0.65 - 2 <= lit[0] < 120  # white, dimmed by the shadow


def test_contact_sheet_shows_what_is_transparent(model):
    rgba = remove_background(scene(), model)
    sheet = contact_sheet([rgba, scene(), rgba], columns=2, side=80)
    assert sheet.shape == (2 * 88, 2 * 88, 3) and sheet.dtype == np.uint8
    assert tuple(sheet[4 + 35, 4 + 10 + 25]) == (200, 20, 30)
    assert {tuple(pixel) for pixel in sheet[4:24, 14:34].reshape(-1, 3)} == {(204,) * 3, (255,) * 3}
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([])
