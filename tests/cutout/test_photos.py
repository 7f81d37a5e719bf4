"""Photos as they come: turned, grey, of 16 bits, transparent, torn, and what they say about themselves."""

import io

import cv2
import numpy as np
import pytest
from cutout_stub import scene
from PIL import Image, ImageCms, features

from fashionlib.cutout import photos


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_are_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "a camera"
    image = Image.fromarray(scene())
    image.save(tmp_path / "turned.png", exif=exif)
    photo = photos.read(tmp_path / "turned.png")
    turns = [
        "FLIP_LEFT_RIGHT",
        "ROTATE_180",
        "FLIP_TOP_BOTTOM",
        "TRANSPOSE",
        "ROTATE_270",
        "TRANSVERSE",
        "ROTATE_90",
    ]
    upright = image.transpose(Image.Transpose[turns[orientation - 2]]) if orientation > 1 else image
    assert np.array_equal(photo.rgb, np.asarray(upright))
    photos.write(tmp_path / "out.png", photo.rgb, "png", photo)
    with Image.open(tmp_path / "out.png") as written:
        assert written.getexif().get(0x010F) == "a camera" and written.getexif().get(0x0112, 1) == 1
    photos.write(tmp_path / "out.png", photo.rgb, "png", photo, strip=True)
    with Image.open(tmp_path / "out.png") as written:
        assert not written.getexif()


def test_the_thumbnail_in_exif_does_not_keep_the_old_ground(tmp_path):
    thumb = io.BytesIO()
    Image.fromarray(scene()).save(thumb, "JPEG")
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    raw = exif.tobytes() + b"thumbnail" + thumb.getvalue()
    Image.fromarray(scene()).save(tmp_path / "a.jpg", exif=raw)
    photo = photos.read(tmp_path / "a.jpg")
    assert b"thumbnail" not in photo.exif and b"a camera" in photo.exif


def sixteen_bits(image):
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


KINDS = {  # file -> (how the scene becomes that kind of picture, how it is saved)
    "grey.png": (lambda image: image.convert("L"), {}),
    "grey16.png": (sixteen_bits, {}),
    "grey16.tif": (sixteen_bits, {}),
    "palette.png": (lambda image: image.quantize(8), {}),
    "clear.gif": (lambda image: image.quantize(8), {"transparency": 0}),
    "alpha.webp": (lambda image: image.convert("RGBA"), {"lossless": True}),
    "grey_alpha.png": (lambda image: image.convert("LA"), {}),
    "cmyk.jpg": (lambda image: image.convert("CMYK"), {"quality": 100}),
    "one_bit.png": (lambda image: image.convert("1"), {}),
    "photo.tif": (lambda image: image, {}),
    "photo.bmp": (lambda image: image, {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_photos_of_all_kinds_become_rgb(tmp_path, kind):
    change, options = KINDS[kind]
    image = Image.fromarray(scene())
    change(image).save(tmp_path / kind, **options)
    expected = np.asarray((image.convert("L") if "16" in kind else change(image)).convert("RGB")).astype(int)
    photo = photos.read(tmp_path / kind)
    assert photo.rgb.dtype == np.uint8 and photo.rgb.shape == (80, 60, 3)
    seen = photo.alpha > 0 if photo.alpha is not None else np.ones((80, 60), bool)
    worst = 60 if kind == "cmyk.jpg" else 1  # JPEG blurs colour at edges
    assert np.abs(photo.rgb - expected)[seen].max() <= worst
    assert np.abs(photo.rgb - expected)[seen].mean() < 3
    assert (photo.alpha is not None) == (kind == "clear.gif")


def test_colour_profiles_stay_with_rgb_and_turn_grey_into_srgb(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(scene()).save(tmp_path / "a.jpg", icc_profile=srgb)
    photo = photos.read(tmp_path / "a.jpg")
    assert photo.icc == srgb
    photos.write(tmp_path / "b.webp", photo.rgb, "webp", photo)
    with Image.open(tmp_path / "b.webp") as written:
        assert written.info["icc_profile"] == srgb
    false = srgb[:16] + b"CMYK" + srgb[20:]
    Image.fromarray(scene()).convert("CMYK").save(tmp_path / "c.jpg", icc_profile=false)
    assert photos.read(tmp_path / "c.jpg").icc is None  # a profile that lies stops nothing


def test_photos_beyond_the_pixel_limit_are_refused_before_they_are_decoded(tmp_path):
    Image.new("1", (13_000, 13_000)).save(tmp_path / "huge.png")  # 21 kB
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(photos.PhotoError, match="13000 x 13000 pixels, more than 50 mega.*--max-pixels"):
        photos.read(tmp_path / "huge.png")
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("format", [*photos.FORMATS])
def test_what_a_photo_says_about_itself_travels_on_unless_stripped(tmp_path, format):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8769).update({0xA002: 60, 0xA003: 80, 0x9003: "2026:01:01 00:00:00"})
    exif.get_ifd(0x8825)[1] = "N"
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b"<x:xmpmeta>mine</x:xmpmeta>"
    Image.fromarray(scene()).save(tmp_path / "a.jpg", exif=exif, xmp=xmp, dpi=(300, 300), icc_profile=srgb)
    photo = photos.read(tmp_path / "a.jpg")
    photos.write(tmp_path / f"b.{format}", photo.rgb[:40, :30], format, photo)
    with Image.open(tmp_path / f"b.{format}") as written:
        kept = written.getexif()
        assert kept[0x010F] == "a camera" and kept.get_ifd(0x8825)[1] == "N"
        assert kept.get_ifd(0x8769) == {0xA002: 30, 0xA003: 40, 0x9003: "2026:01:01 00:00:00"}
        assert b"mine" in (written.info.get("xmp") or b"") and written.info["icc_profile"] == srgb
        stated = format in ("png", "jpg")  # the others have no place for it
        assert not stated or np.allclose(written.info["dpi"], 300, atol=0.1)
    photos.write(tmp_path / f"c.{format}", photo.rgb, format, photo, strip=True)
    with Image.open(tmp_path / f"c.{format}") as written:
        assert not written.getexif() and not written.info.get("xmp")
        assert written.info["icc_profile"] == srgb  # without it the colours would be others
        assert written.info.get("dpi", (0, 0))[0] < 100


def test_colour_of_sixteen_bits(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (8, 9, 3), np.uint16)
    for name in ("a.tif", "a.png"):
        cv2.imwrite(str(tmp_path / name), values[..., ::-1])
        assert np.abs(photos.read(tmp_path / name).rgb - values / 257).max() < 1


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif(tmp_path):
    Image.fromarray(scene()).save(tmp_path / "a.avif", quality=95)
    assert np.abs(photos.read(tmp_path / "a.avif").rgb.astype(int) - scene()).mean() < 6


def test_a_mask_is_a_files_alpha_or_else_its_grey(tmp_path):
    mask = np.zeros((80, 60), np.uint8)
    mask[10:20, 5:9] = 200
    Image.fromarray(mask).save(tmp_path / "matte.png")
    Image.fromarray(np.dstack([scene(), mask])).save(tmp_path / "cutout.png")
    for name in ("matte.png", "cutout.png"):
        assert np.array_equal(photos.read_mask(tmp_path / name), mask)


def test_a_mask_of_zeros_and_ones_is_a_mask_and_a_label_map_is_none(tmp_path):
    ones = np.zeros((80, 60), np.uint8)
    ones[10:20, 5:9] = 1
    for name, values in {"a.png": ones, "b.png": ones.astype(np.uint16), "c.png": ones > 0}.items():
        Image.fromarray(values).save(tmp_path / name)
        assert np.array_equal(photos.read_mask(tmp_path / name), ones * 255), name
    Image.fromarray(ones * 0).save(tmp_path / "empty.png")
    assert not photos.read_mask(tmp_path / "empty.png").any()
    Image.fromarray(ones * 27).save(tmp_path / "labels.png")
    with pytest.raises(photos.PhotoError, match="labels.png can't be read: its greatest value is 27"):
        photos.read_mask(tmp_path / "labels.png")
