"""Flat-lays: whole garments only, from one split only, the same from the same seed."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from fashionlib.core.classes import CATEGORIES, CLASS_SETS
from fashionlib.data import prepare, raw, rle
from tools.cutout_model import flatlay
from tools.cutout_model.flatlay import pieces, scene

NAMES = list(CLASS_SETS["person"])
DRESS, SKIRT, SHOE, BAG, COAT = (NAMES.index(n) for n in ("dress", "skirt", "shoe", "bag, wallet", "coat"))
IDS = {value: value - 1 for value in (DRESS, SKIRT, SHOE, BAG, COAT)}
COLOURS = {DRESS: (200, 30, 40), SHOE: (20, 160, 60)}


def labels() -> np.ndarray:
    """300 x 200: a dress 120 x 60 and two shoes below it."""
    label = np.zeros((300, 200), np.uint8)
    label[60:180, 70:130] = DRESS
    label[240:270, 30:80] = label[235:270, 120:170] = SHOE
    return label


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A prepared folder whose test photos alone are tinted blue."""
    root, rng = tmp_path_factory.mktemp("flatlay"), np.random.default_rng(0)
    for name in ("images", "labels", "splits"):
        (root / name).mkdir()
    about = dict(data="x", class_set="person", source="drawn", classes=NAMES, fingerprint="", counts={})
    (root / "dataset.json").write_text(json.dumps(about))
    for split, ids in {"train": ("0001", "0002", "0003"), "test": ("0004",)}.items():
        (root / "splits" / f"{split}.txt").write_text("".join(f"{i}\n" for i in ids))
        for i in ids:
            rgb = rng.integers(100, 130, (300, 200, 3)).astype(np.uint8)
            for value, colour in COLOURS.items():
                rgb[labels() == value] = (20, 30, 250) if split == "test" else colour
            Image.fromarray(rgb).save(root / "images" / f"{i}.jpg", quality=95)
            Image.fromarray(labels()).save(root / "labels" / f"{i}.png")
    return root


def make(prepared, out, **options):
    return flatlay.make(prepared, out, **{"count": 12, "workers": 1, "progress": False} | options)


# pieces ----------------------------------------------------------------------------------------------------


def found(label) -> set[int]:
    return {piece.value for piece in pieces.find(label, "p", IDS)}


def test_a_whole_garment_and_a_pair_are_found():
    dress, shoes = pieces.find(labels(), "p", IDS)
    assert (dress.class_id, dress.box) == (CATEGORIES.index("dress"), (60, 70, 180, 130))
    assert shoes.box == (235, 30, 270, 170), "both shoes are one piece"


def _cut_by_the_frame(label):
    label[0:180, 70:130] = DRESS


def _torn(label):
    label[110:125, 60:140] = 0


def _with_a_hole(label):
    label[100:130, 85:115] = 0


def _a_rag(label):
    label[60:180, 70:130][np.tri(120, 60, k=40)[:, ::-1] + np.tri(120, 60, k=-20) > 0] = 0


def _tiny(label):
    label[label == DRESS] = 0
    label[60:90, 70:95] = DRESS


def _under_a_coat(label):
    label[50:190, 40:70] = label[50:190, 130:160] = COAT


@pytest.mark.parametrize("harm", [_cut_by_the_frame, _torn, _with_a_hole, _a_rag, _tiny, _under_a_coat])
def test_a_garment_that_is_not_whole_is_left_out(harm):
    label = labels()
    harm(label)
    assert DRESS not in found(label) and SHOE in found(label)


def test_a_bag_may_lie_on_clothes_and_a_button_in_them():
    label = labels()
    label[100:170, 80:120] = BAG
    assert BAG in found(label)
    label = labels()
    label[100:104, 98:102] = 0
    (dress, _) = pieces.find(label, "p", IDS)
    _, mask = pieces.cut(np.zeros((300, 200, 3), np.uint8), label, dress)
    assert mask[40:44, 36:40].all(), "the hole is filled"


def test_no_colour_of_the_old_background_is_cut_out():
    rgb = np.full((300, 200, 3), 120, np.uint8)
    rgb[labels() == DRESS] = COLOURS[DRESS]
    dress = pieces.find(labels(), "p", IDS)[0]
    cloth, mask = pieces.cut(rgb, labels(), dress)
    assert cloth.shape == (120 + 16, 60 + 16, 3) and (cloth == COLOURS[DRESS]).all()
    assert 0.93 < mask.sum() / (120 * 60) < 1, "the label but for corners and outermost pixels"


# composites ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_piece_lies_whole_and_large_in_its_composite(seed):
    cloth, mask = np.full((60, 40, 3), 30, np.uint8), np.zeros((60, 40), bool)
    mask[5:55, 5:35] = True
    picture, laid = scene.lay(cloth, mask, np.random.default_rng(seed))
    assert picture.dtype == np.uint8 and picture.shape == (*laid.shape, 3)
    assert not (laid[0].any() or laid[-1].any() or laid[:, 0].any() or laid[:, -1].any()), "cut by the frame"
    y, x = np.argwhere(laid).T
    assert max(np.ptp(y) / laid.shape[0], np.ptp(x) / laid.shape[1]) > 0.55
    assert np.sqrt(laid.sum() / mask.sum()) < scene.ENLARGED + 0.05
    assert cv2.connectedComponents(laid.astype(np.uint8))[0] == 2


def test_the_mask_is_where_the_garment_is(prepared, tmp_path):
    out = make(prepared, tmp_path / "raw")
    table = raw.read(out)
    for row in table.itertuples():
        rgb = np.asarray(Image.open(raw.image_path(out, row.ImageId))).astype(int)
        mask = rle.decode(row.EncodedPixels, row.Height, row.Width)
        inner = cv2.erode(mask.astype(np.uint8), np.ones((9, 9))) > 0
        strong = {CATEGORIES.index("dress"): 0, CATEGORIES.index("shoe"): 1}[row.ClassId]
        assert (rgb[inner].argmax(axis=1) == strong).mean() > 0.99


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_processes(prepared, tmp_path):
    first, second, other = (make(prepared, tmp_path / str(i), workers=w, seed=s, count=6)
                            for i, (w, s) in enumerate([(1, 0), (2, 0), (1, 1)]))  # fmt: skip
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == 6 + 2
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)
    assert (first / raw.CSV).read_bytes() != (other / raw.CSV).read_bytes()


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_photo_of_another_split_gives_a_garment(prepared, tmp_path, split):
    out = make(prepared, tmp_path / "raw", split=split)
    theirs = set((prepared / "splits" / f"{split}.txt").read_text().split())
    info = raw.descriptions(out)["info"]
    assert set(info["origins"].values()) <= theirs and info["split"] == split
    table = raw.read(out)
    assert set(info["origins"]) == set(table.ImageId) == {f"flat-{split}-{i:04}" for i in range(12)}
    for row in table.itertuples():  # the pixels say so too: the test photos' garments are blue
        rgb = np.asarray(Image.open(raw.image_path(out, row.ImageId)))
        mask = rle.decode(row.EncodedPixels, row.Height, row.Width)
        assert (rgb[mask].mean(axis=0).argmax() == 2) == (split == "test")


def test_composites_prepare_like_any_raw_folder(prepared, tmp_path):
    make(prepared, tmp_path / "raw", split="test")
    done = prepare.prepare(tmp_path / "raw", tmp_path / "data", "person", fractions=(0, 0, 1), workers=1,
                           progress=False)  # fmt: skip
    assert done["counts"]["test"] == 12 and done["counts"]["per_class"]["skin"]["photos"] == 0


def test_rare_classes_are_drawn_more_often_than_they_are_worn():
    many = [pieces.Piece(f"{i}", 10, 11, (0, 0, 1, 1)) for i in range(100)]
    few = [pieces.Piece(f"{i}", 26, 27, (0, 0, 1, 1)) for i in range(4)]
    drawn = flatlay._draw(many + few, 120, np.random.default_rng(0))
    umbrellas = [piece.photo for piece in drawn if piece.class_id == 26]
    assert 10 < len(umbrellas) < 35  # 120 * 2 / (10 + 2) = 20, where 120 * 4 / 104 = 5 are worn
    assert set(umbrellas[:4]) == {"0", "1", "2", "3"}, "none twice before all were drawn"


def test_bad_input_is_one_sentence(prepared, tmp_path):
    with pytest.raises(FileNotFoundError, match="fashionlib prepare"):
        make(tmp_path / "none", tmp_path / "raw")
    with pytest.raises(ValueError, match="Unknown split 'trian'. Did you mean 'train'"):
        make(prepared, tmp_path / "raw", split="trian")
    with pytest.raises(ValueError, match="at least 1"):
        make(prepared, tmp_path / "raw", count=0)
    make(prepared, tmp_path / "raw", count=1)
    with pytest.raises(raw.RawError, match="already holds"):
        make(prepared, tmp_path / "raw", count=1)
