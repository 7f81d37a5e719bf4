"""Cut-outs, with a stub in the model's place whose probabilities are known."""

import csv
import io
import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from fashionlib import models
from fashionlib.classes import CLASS_SETS
from fashionlib.cutout import (
    batch,
    compose,
    contact_sheet,
    edges,
    load_model,
    photos,
    remove_background,
    segment,
)
from fashionlib.cutout.cut import cut, layers
from fashionlib.cutout.options import Options

PERSON = list(CLASS_SETS["person"])
DRESS, BAG, HAIR = PERSON.index("dress"), PERSON.index("bag, wallet"), PERSON.index("hair")


class Stub(torch.nn.Module):
    """Has the names and the weight that a model has; the fixture `model` answers for it."""

    def __init__(self, classes=PERSON):
        super().__init__()
        self.meta = {"classes": list(classes), "model": "stub"}
        self.weight = torch.nn.Parameter(torch.ones(1))


@pytest.fixture
def model(monkeypatch):
    """Sees red as dress, green as bag, blue as hair, anything else as background, each for certain."""

    def probabilities(model, rgb, ask="auto"):
        assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
        scores = np.zeros((len(model.meta["classes"]), *rgb.shape[:2]), np.float32)
        brightest = rgb.argmax(axis=2)
        seen = rgb.max(axis=2).astype(int) - rgb.min(axis=2) > 100
        for channel, value in enumerate((DRESS, BAG, HAIR)):
            scores[value][seen & (brightest == channel)] = 1
        scores[0] = 1 - scores[1:].sum(axis=0)
        return scores

    monkeypatch.setattr(models, "probabilities", probabilities)
    return Stub()


def scene(height=80, width=60):
    """Grey ground; a red dress 20 x 30 with a green bag 10 x 10 on its side and blue hair on top."""
    rgb = np.full((height, width, 3), 90, np.uint8)
    rgb[30:60, 20:40] = (200, 20, 30)
    rgb[40:50, 40:50] = (20, 210, 40)
    rgb[20:30, 25:35] = (30, 20, 220)
    return rgb


def masks(rgb):
    return {name: rgb[..., channel] > 190 for channel, name in enumerate(("dress", "bag", "hair"))}


# one photo -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "stay"), [
    ({}, ["dress", "bag"]),
    ({"subject": "person"}, ["dress", "bag", "hair"]),
    ({"keep": "dress"}, ["dress"]),
    ({"keep": ["wholebody", "hair"]}, ["dress", "hair"]),
    ({"drop": "bag"}, ["dress"]),
    ({"drop": ["bag, wallet"], "subject": "person"}, ["dress", "hair"]),
    ({"keep": "dress,shoe,bag, wallet", "drop": "others"}, ["dress"]),
])
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


@pytest.mark.parametrize(("options", "sentence"), [
    ({"keep": "dres"}, r"Unknown class or group 'dres'. Did you mean 'dress'\?"),
    ({"drop": "uperbody"}, "Did you mean 'upperbody'"),
    ({"keep": "background"}, "Unknown class or group 'background'"),
    ({"subject": "persn"}, "Did you mean 'person'"),
    ({"edge": "sof"}, "Did you mean 'soft'"),
    ({"keep": "dress", "drop": "wholebody"}, "leave no class to keep"),
])
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
        p = segment.kept(scores, segment.wanted(PERSON, **names), (20, 20))
        assert ((p >= 0.5) == stays).all()


def test_specks_and_pinholes_go_but_a_watch_stays(model):
    p = np.zeros((400, 300), np.float32)  # a speck is below 12 pixels
    p[100:300, 100:200] = 1
    p[200, 150:155] = 0  # a pinhole
    p[150:154, 150:154] = 0  # a hole worth keeping
    p[20:22, 20:22] = 1  # a speck
    p[20:24, 280:284] = 1  # a watch
    p[350:360, 10:20] = 0.3  # a faint cloud, nowhere likely
    tidy = segment.tidy(p)
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
        ("dress", 600, [20, 30, 40, 60], 1.0), ("bag, wallet", 100, [40, 40, 50, 50], 1.0)]
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
    rgba = edges.coloured(photo, alpha)
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
    rgba = edges.coloured(photo, alpha)
    for ground in (0, 255):
        assert np.array_equal(compose.over(rgba, (ground,) * 3)[alpha == 255], photo[alpha == 255])
        assert (compose.over(rgba, (ground,) * 3)[alpha == 0] == ground).all()
    assert (alpha == 255).mean() > 0.2 and not rgba[alpha == 0].any()


def test_a_red_wall_leaves_no_red_rim():
    photo, truth, _, _ = composite(3)
    alpha = np.round(truth * 255).astype(np.uint8)  # the matte is right: only the colours are at stake
    mixed = (alpha > 30) & (alpha < 225)
    before, after = ((rgb[..., 0].astype(int) - rgb[..., 1])[mixed].mean()
                     for rgb in (photo, edges.coloured(photo, alpha)))
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
    assert (edges.grown(alpha, 2)[8:12, 6:14] == 255).all() and edges.grown(alpha, 2)[5].max() == 0
    assert (edges.grown(alpha, -1) > 0).sum() == 4
    assert edges.grown(alpha, 0) is alpha


# photos as they come ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_are_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "a camera"
    image = Image.fromarray(scene())
    image.save(tmp_path / "turned.png", exif=exif)
    photo = photos.read(tmp_path / "turned.png")
    turns = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE",
             "ROTATE_90"]
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


@pytest.mark.parametrize(("content", "sentence"), [
    (b"", r"bad.jpg is empty \(0 bytes\)"),
    (b"no image at all", "bad.jpg is not an image that Pillow can read"),
    ("truncated", "bad.jpg can't be read: .*truncated"),
])
def test_files_that_are_no_photos_are_named(tmp_path, content, sentence):
    path = tmp_path / "bad.jpg"
    if content == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
        Image.fromarray(noise).save(path)
        content = path.read_bytes()[:20_000]
    path.write_bytes(content)
    with pytest.raises(photos.PhotoError, match=sentence):
        photos.read(path)


def test_photos_beyond_the_pixel_limit_are_refused_before_they_are_decoded(tmp_path):
    Image.new("1", (20_000, 10_001)).save(tmp_path / "huge.png")
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(photos.PhotoError, match="20000 x 10001 pixels, more than 200 megapixels"):
        photos.read(tmp_path / "huge.png")
    assert Image.MAX_IMAGE_PIXELS == limit
    with pytest.raises(photos.PhotoError, match="does not exist"):
        photos.read(tmp_path / "none.png")


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


# batches ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """in/a.png, in/sub/a.jpg, an empty file, a text called .jpg, and files that are no photos."""
    (tmp_path / "in" / "sub" / ".cache").mkdir(parents=True)
    Image.fromarray(scene()).save(tmp_path / "in" / "a.png")
    Image.fromarray(scene()).save(tmp_path / "in" / "sub" / "a.jpg", quality=95)
    Image.fromarray(scene()).save(tmp_path / "in" / "sub" / ".cache" / "hidden.jpg")
    (tmp_path / "in" / "zero.jpg").touch()
    (tmp_path / "in" / "text.jpg").write_text("not an image")
    (tmp_path / "in" / "notes.txt").write_text("not a photo")
    return tmp_path / "in"


def report(result):
    with result.report.open(newline="") as file:
        return {row["output"]: row for row in csv.DictReader(file)}


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_batch_keeps_the_tree_names_the_bad_and_leaves_the_inputs(folder, model, tmp_path):
    before, out = files_below(folder), tmp_path / "out"
    result = batch.run(folder, out, model, preview=True, progress=False)
    assert (result.done, result.skipped, result.failed, result.exit_code) == (2, 0, 2, 1)
    assert set(files_below(out)) == {"a.png", "sub/a.png", "report.csv", "preview.png"}
    rows = report(result)
    assert [row["status"] for row in rows.values()] == ["failed", "failed", "done", "done"]  # failures first
    assert "is empty (0 bytes)" in rows["zero.png"]["note"]
    assert "not an image" in rows["text.png"]["note"]
    assert (rows["a.png"]["width"], rows["a.png"]["height"], rows["a.png"]["kept"]) == ("60", "80", "0.1458")
    assert files_below(folder) == before
    with Image.open(out / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), remove_background(scene(), model))


def test_a_second_run_does_only_what_is_not_there(folder, model, tmp_path):
    out = tmp_path / "out"
    batch.run(folder, out, model, progress=False)
    (out / "sub" / "a.png").unlink()
    with (out / "report.csv").open("a") as file:
        file.write("torn/line.png,in/x")  # as a kill leaves it
    again = batch.run(folder, out, model, progress=False)
    assert (again.done, again.skipped, again.failed) == (1, 1, 2)
    assert set(report(again)) == {"a.png", "sub/a.png", "zero.png", "text.png"}
    assert batch.run(folder, out, model, progress=False, keep="dress").done == 2  # other options
    with torch.no_grad():
        model.weight += 1  # another model
    assert batch.run(folder, out, model, progress=False, keep="dress").done == 2
    Image.fromarray(scene()[:, ::-1].copy()).save(folder / "a.png")  # another photo
    assert batch.run(folder, out, model, progress=False, keep="dress").done == 1


def test_a_batch_that_is_stopped_goes_on_where_it_was(folder, model, tmp_path, monkeypatch):
    for i in range(4):
        Image.fromarray(scene()).save(folder / f"photo{i}.png")
    answer, calls = models.probabilities, []

    def stop_at_the_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(*arguments)

    monkeypatch.setattr(models, "probabilities", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        batch.run(f"{folder}/*.png", tmp_path / "out", model, progress=False)
    assert not list((tmp_path / "out").rglob("*.part*"))
    result = batch.run(f"{folder}/*.png", tmp_path / "out", model, progress=False)
    assert (result.done, result.skipped, result.failed) == (3, 2, 0)


def test_several_workers_make_the_same_pictures(folder, tmp_path):
    """With a real, untrained model, loaded by each worker."""
    torch.manual_seed(0)
    real = models.build("segmenter_vit_t", len(PERSON), scale="mini")
    info = models.meta("segmenter_vit_t", PERSON, "mini")
    path = models.save(real, tmp_path / "model.safetensors", info)
    one = batch.run(folder, tmp_path / "one", path, progress=False)
    two = batch.run(folder, tmp_path / "two", path, workers=2, progress=False)
    assert one[:3] == two[:3] == (2, 0, 2)
    for name in ("a.png", "sub/a.png"):
        pair = [np.asarray(Image.open(tmp_path / run / name)).astype(int) for run in ("one", "two")]
        assert pair[0].shape == (80, 60, 4) and (pair[0] != pair[1]).mean() < 0.01
    assert {row["key"] for row in report(one).values()} == {row["key"] for row in report(two).values()}


def test_layers_and_manifest(folder, model, tmp_path):
    out = tmp_path / "out"
    batch.run(folder / "a.png", out, model, layers=True, crop=True, size=60, progress=False)
    assert set(files_below(out)) == {"a.png", "a.layers/dress.png", "a.layers/bag-wallet.png",
                                     "a.layers/manifest.json", "report.csv"}
    manifest = json.loads((out / "a.layers" / "manifest.json").read_text())
    assert manifest["frame"] == {"left": 20, "top": 30, "right": 50, "bottom": 60}
    assert [entry["file"] for entry in manifest["layers"]] == ["dress.png", "bag-wallet.png"]
    names = "a.png", "a.layers/dress.png", "a.layers/bag-wallet.png"
    whole, dress, bag = (np.asarray(Image.open(out / name)).astype(int) for name in names)
    assert whole.shape == dress.shape == bag.shape == (60, 60, 4)
    assert np.abs(whole - dress - bag)[..., 3].max() <= 1
    batch.run(folder / "a.png", out, model, layers=True, keep="dress", progress=False)
    assert not (out / "a.layers" / "bag-wallet.png").exists()


def test_formats_and_masks(folder, model, tmp_path):
    batch.run(folder / "a.png", tmp_path / "jpg", model, format="jpg", background="white", progress=False)
    batch.run(folder / "a.png", tmp_path / "webp", model, format="webp", progress=False)
    batch.run(folder / "a.png", tmp_path / "mask", model, mask=True, format="jpg", progress=False)
    assert Image.open(tmp_path / "jpg" / "a.jpg").mode == "RGB"
    assert Image.open(tmp_path / "webp" / "a.webp").mode == "RGBA"
    assert Image.open(tmp_path / "mask" / "a.jpg").mode == "L"


@pytest.mark.parametrize(("options", "sentence"), [
    ({"format": "jpg"}, "JPEG has no transparency"),
    ({"format": "gif"}, "Unknown format 'gif'"),
    ({"background": "grey"}, "The background 'grey' is not"),
    ({"margin": -1}, "margin=-1 is negative"),
    ({"size": 0}, "size=0"),
    ({"edge": "feather"}, "Unknown edge"),
    ({"keep": "dres"}, "Did you mean 'dress'"),
    ({"workers": 0}, "workers=0"),
    ({"workers": 2}, "need the model's path"),
])
def test_wrong_options_are_refused_before_anything_is_written(folder, model, tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        batch.run(folder, tmp_path / "out", model, progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_names_that_collide_are_refused_before_anything_is_written(folder, model, tmp_path):
    out = tmp_path / "out"
    Image.fromarray(scene()).save(folder / "A.webp")
    with pytest.raises(ValueError, match="would both become"):
        batch.run(folder, out, model, progress=False)
    (folder / "A.webp").rename(folder / "preview.webp")
    with pytest.raises(ValueError, match="preview.webp would become .*that name is taken"):
        batch.run(folder, out, model, progress=False)
    with pytest.raises(ValueError, match="would become .*a.png, which is a photo"):
        batch.run(folder / "a.png", folder, model, progress=False)
    with pytest.raises(ValueError, match="would both become"):
        batch.run([folder / "a.png", folder / "sub" / "a.jpg"], out, model, progress=False)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        batch.run(tmp_path / "nowhere", out, model, progress=False)
    with pytest.raises(ValueError, match="holds no photo"):
        batch.run(f"{folder}/*.txt", out, model, progress=False)
    assert not out.exists()


def test_an_output_folder_inside_the_input_is_not_cut_out_again(folder, model):
    first = batch.run(folder, folder / "cut", model, progress=False)
    again = batch.run([folder, f"{folder}/**/*.png"], folder / "cut", model, progress=False)
    assert (first.done, again.done, again.skipped) == (2, 0, 2)


def test_a_foreign_report_is_not_overwritten(folder, model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.csv").write_text("mine,yours\n1,2\n")
    with pytest.raises(ValueError, match="report.csv is not a report of cut-outs"):
        batch.run(folder, tmp_path / "out", model, progress=False)


def test_options_name_the_flags_of_the_command_line():
    flags = "subject keep drop layers background crop margin size format mask grow edge strip max_pixels"
    assert set(flags.split()) == set(Options.__dataclass_fields__)


def test_without_a_model_one_sentence_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(segment, "DEFAULT_MODEL", tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="No model ships with this version: give the checkpoint"):
        load_model()
    with pytest.raises(FileNotFoundError, match="There is no model at .*other.safetensors"):
        load_model(tmp_path / "other.safetensors")
