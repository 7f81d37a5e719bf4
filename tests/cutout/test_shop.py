"""Pictures as marketplaces ask for them, through the batch: canvas, white, shadow, formats."""

import json

import cutout_stub
import numpy as np
import pytest
from cutout_stub import report, scene
from PIL import Image, features

from fashionlib.cutout import batch, remove_background

folder, model = cutout_stub.folder, cutout_stub.model  # fixtures

SHOP = {"canvas": "60x80", "shadow": "soft", "progress": False}


def test_pictures_for_a_shop(folder, model, tmp_path):
    out, exif = tmp_path / "out", Image.Exif()
    exif[0x010F] = "a camera"
    Image.fromarray(scene()).save(folder / "a.jpg", dpi=(300, 300), exif=exif)
    (folder / "a.png").unlink()
    options = {**SHOP, "background": "#fff", "format": "jpg"}
    result = batch.run(folder / "a.jpg", out, model, **options)
    assert report(result)["a.jpg"]["reasons"].split("; ")[-1] == "enlarged 1.7 times"  # 30 pixels are 51
    with Image.open(out / "a.jpg") as picture:
        assert (picture.mode, picture.size, picture.info["dpi"]) == ("RGB", (60, 80), (300, 300))
        assert picture.getexif()[0x010F] == "a camera" and picture.getpixel((59, 0)) == (255, 255, 255)
    assert batch.run(folder / "a.jpg", out, model, **options).skipped == 1
    for other in ({"canvas": "80x60"}, {"fill": 0.5}, {"shadow": "none"}, {}):  # other pictures
        assert batch.run(folder / "a.jpg", out, model, **(options | other)).done == 1
    shrunk = batch.run(folder / "a.jpg", out, model, **(options | {"canvas": "20x20"}))
    assert "enlarged" not in report(shrunk)["a.jpg"]["reasons"]


def test_a_jpeg_for_a_shop_is_white_up_to_the_blocks_that_show_something(folder, model, tmp_path):
    options = {**SHOP, "canvas": "240x240", "fill": 0.5}
    batch.run(folder / "a.png", tmp_path / "jpg", model, background="white", format="jpg", **options)
    batch.run(folder / "a.png", tmp_path / "png", model, **options)
    alpha = np.asarray(Image.open(tmp_path / "png" / "a.png"))[..., 3]
    empty = alpha.reshape(30, 8, 30, 8).max(axis=(1, 3)) == 0
    picture = np.asarray(Image.open(tmp_path / "jpg" / "a.jpg")).reshape(30, 8, 30, 8, 3)
    assert 0.3 < empty.mean() < 0.8 and (picture.min(axis=(1, 3, 4)) == 255)[empty].all()


def test_a_canvas_with_layers_masks_and_other_renditions(folder, model, tmp_path):
    out = tmp_path / "out"
    batch.run(folder / "a.png", out, model, layers=True, **SHOP)
    layers = sorted((out / "a.layers").glob("*.png"))
    parts = [np.asarray(Image.open(path)).astype(int) for path in layers]
    picture = np.asarray(Image.open(out / "a.png")).astype(int)
    assert [part.shape for part in parts] == 2 * [(80, 60, 4)]
    whole = sum(parts)[..., 3]
    assert np.abs(picture[..., 3] - whole)[whole >= 254].max() <= 1
    assert ((picture[..., 3] > 0) & (whole == 0)).any()  # the shadow is the picture's alone
    frame = json.loads((out / "a.layers" / "manifest.json").read_text())["frame"]
    assert frame == {"left": 17.35, "top": 21.47, "right": 52.65, "bottom": 68.53}
    given = remove_background(folder / "a.png", model, canvas="60x80", shadow="soft")
    assert np.array_equal(given, picture)
    batch.run(folder / "a.png", tmp_path / "masks", model, mask=True, canvas="60x80", progress=False)
    assert Image.open(tmp_path / "masks" / "a.png").size == (60, 80)
    Image.fromarray(scene()).resize((120, 160)).save(tmp_path / "big.png")
    batch.run(folder / "a.png", out, model, apply_to=tmp_path / "big.png", **SHOP)
    big = np.asarray(Image.open(out / "big.png")).astype(int)
    assert big.shape == (80, 60, 4) and np.abs(big - picture).mean() < 6


def test_avif_is_written_where_pillow_can(folder, model, tmp_path, monkeypatch):
    if features.check("avif"):
        batch.run(folder / "a.png", tmp_path / "out", model, format="avif", progress=False)
        with Image.open(tmp_path / "out" / "a.avif") as picture:
            assert (picture.format, picture.mode) == ("AVIF", "RGBA")
    monkeypatch.setattr(features, "check", lambda feature: False)
    with pytest.raises(ValueError, match="writes no AVIF here: pip install --upgrade pillow"):
        batch.run(folder / "a.png", tmp_path / "out", model, format="avif", progress=False)
