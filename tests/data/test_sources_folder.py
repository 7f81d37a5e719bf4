"""Own photos with painted masks -> raw layout."""

import numpy as np
import pytest
from PIL import Image

from fashionlib.core import classes
from fashionlib.data import raw
from fashionlib.data.sources import folder

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)
COLOURS = 'colour,class\n#ff0000,dress\n#00FF00,"bag, wallet"\n#ffffff,background\n'
VALUES = "value,class\n1,dress\n2,skin\n255,dress\n"
MASK = np.zeros((2, 3, 3), np.uint8)
MASK[0, 1:], MASK[1, 0], MASK[1, 2] = RED, GREEN, WHITE


def make(src, table=COLOURS, mask=MASK, photos=("a.jpg",)):
    """A folder with the given table, photos and one mask."""
    (src / "photos").mkdir(parents=True)
    (src / "masks").mkdir()
    (src / "classes.csv").write_text(table)
    for name in photos:
        Image.new("RGB", (3, 2), (10, 200, 30)).save(src / "photos" / name)
    Image.fromarray(mask).save(src / "masks" / "a.png")
    return src


def convert(src, tmp_path):
    return folder.convert(src, tmp_path / "raw", workers=1, progress=False)


def test_each_colour_becomes_an_instance(tmp_path):
    out = convert(make(tmp_path / "src", photos=("a.jpg", "b.jpg")), tmp_path)
    rows = raw.read(out)
    assert rows.ClassId.tolist() == [10, classes.CATEGORIES.index("bag, wallet")]
    assert rows.EncodedPixels.tolist() == ["3 1 5 1", "2 1"]
    assert (out / "test" / "b.jpg").exists()
    assert (out / "train" / "a.jpg").read_bytes() == (tmp_path / "src" / "photos" / "a.jpg").read_bytes()


@pytest.mark.parametrize("mode", [None, "P", "RGB"])
def test_values_in_a_greyscale_palette_or_grey_rgb_mask(tmp_path, mode):
    values = np.array([[0, 1, 255], [2, 0, 1]], np.uint8)
    src = make(tmp_path / "src", VALUES, values)
    if mode == "P":
        image = Image.fromarray(values)
        image.putpalette([7, 8, 9] * 256)  # the colours say nothing, the indices do
        image.save(src / "masks" / "a.png")
    elif mode:
        Image.fromarray(values).convert(mode).save(src / "masks" / "a.png")
    rows = raw.read(convert(src, tmp_path))
    assert rows.ClassId.tolist() == [10, classes.SKIN_ID]  # values 1 and 255 mean the same
    assert rows.EncodedPixels.tolist() == ["3 1 5 2", "2 1"]


def test_what_is_transparent_is_background(tmp_path):
    alpha = np.full((2, 3, 1), 255, np.uint8)
    alpha[0] = 0
    rows = raw.read(convert(make(tmp_path / "src", mask=np.dstack([MASK, alpha])), tmp_path))
    assert rows.EncodedPixels.tolist() == ["2 1"]


def test_a_photo_that_exif_turns_is_saved_as_it_is_seen(tmp_path):
    src = make(tmp_path / "src", photos=())
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees
    Image.new("RGB", (2, 3)).save(src / "photos" / "a.jpg", exif=exif)
    out = convert(src, tmp_path)
    with Image.open(out / "train" / "a.jpg") as image:
        assert image.size == (3, 2)
        assert image.getexif().get(0x0112, 1) == 1
    raw.read(out)


def test_other_formats_become_jpeg(tmp_path):
    out = convert(make(tmp_path / "src", photos=("a.png",)), tmp_path)
    with Image.open(out / "train" / "a.jpg") as image:
        assert image.format == "JPEG"
