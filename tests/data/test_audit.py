"""The audit, on a raw folder drawn by hand so that every number on the page is known."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fashionlib.data import raw, rle
from fashionlib.data.audit import audit, near_pairs

TOP, SKIRT, DRESS, SLEEVE = 1, 8, 10, 31


def box(top, bottom, left, right, height=40, width=30):
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return rle.encode(mask)


def photo(path, seed, size=(30, 40), orientation=None):
    """A photo of smooth random blobs: unlike any other seed's to a perceptual hash."""
    blobs = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blobs).resize(size, Image.Resampling.BICUBIC).save(path, quality=95, exif=exif)


@pytest.fixture
def folder(tmp_path):
    """Six photos: a and b look alike, c holds parts only, d is turned by EXIF, e disagrees with its row."""
    rows = [
        ("a", box(0, 20, 0, 30), TOP),
        ("a", box(16, 40, 0, 30), SKIRT),
        ("b", box(0, 40, 0, 10), DRESS),
        ("b", box(0, 40, 0, 10), DRESS),
        ("b", box(0, 40, 0, 10), SKIRT),
        ("c", box(0, 5, 0, 5), SLEEVE),
        ("d", box(0, 40, 0, 30), DRESS),
        ("e", box(0, 40, 0, 30), DRESS),
        ("f", "1 99999", DRESS),
    ]
    data = tmp_path / "raw" / "drawn"
    for name, seed in {"a": 1, "b": 1, "c": 3, "e": 5, "f": 6}.items():
        photo(data / "train" / f"{name}.jpg", seed, size=(31, 40) if name == "e" else (30, 40))
    photo(data / "train" / "d.jpg", 4, orientation=6)
    instances = pd.DataFrame(rows, columns=["ImageId", "EncodedPixels", "ClassId"])
    raw.write(data, instances.assign(Height=40, Width=30), "drawn for a test", {})
    return data


@pytest.fixture
def prepared(tmp_path):
    splits = tmp_path / "data" / "drawn" / "splits"
    splits.mkdir(parents=True)
    for name, ids in {"train": "a\nd\n", "val": "b\n", "test": "c\nelsewhere\n"}.items():
        (splits / f"{name}.txt").write_text(ids)
    return splits.parent


def test_counts(folder):
    page = audit(folder, progress=False)
    assert "# Audit of `drawn`" in page
    assert "| photos with good rows | 4 |" in page
    assert "| instances | 7 |" in page
    assert "| … of garment parts | 1 |" in page
    assert "photos with parts only (`part_only` decides what happens to them) | 1 |" in page
    assert "EXIF turns (d); masks are taken as drawn before the turn | 1 |" in page


def test_bad_rows_and_sizes_are_named(folder):
    page = audit(folder, progress=False)
    assert "2 in 2 photos" in page
    assert "goes past the photo's 1200 pixels" in page
    assert "Files that differ from the CSV's Width × Height: 1 (e)" in page
    assert "1 distinct sizes; the commonest is 30 × 40 (100% of the photos)" in page


def test_repeated_rows(folder):
    page = audit(folder, progress=False)
    assert "| the same photo, class and mask as an earlier row | 1 | 1 |" in page
    assert "| the same photo and mask, another class | 1 | 1 |" in page


def test_overlaps_count_pixels_of_competing_classes(folder):
    page = audit(folder, progress=False)
    # a: rows 16-19 of 30 columns belong to top and skirt; b: dress and skirt share all 400 pixels
    assert "| top, t-shirt, sweatshirt | skirt | 1 | 120 | 20.0% | 16.7% |" in page
    assert "| skirt | dress | 1 | 400 | 100.0% | 100.0% |" in page
    assert page.count("sleeve |") == 1  # only among the classes: parts lie on garments by design


def test_splits_and_look_alikes_across_them(folder, prepared):
    page = audit(folder, data_folder=prepared, progress=False)
    assert "| class | instances | photos | in train | in val | in test |" in page
    assert "| dress | 3 | 2 | 1 | 1 | 0 |" in page
    assert "1 photos of the splits have no good row here (elsewhere)" in page
    assert "1 of them lie across two splits" in page
    assert "| a | train | b | val | 0 |" in page


def test_prepared_data_is_found_and_the_page_written_whole(folder, prepared, monkeypatch, tmp_path):
    monkeypatch.setenv("FASHION_HOME", str(prepared.parent.parent))
    out = tmp_path / "new" / "audit.md"
    assert "in train" in audit(folder, out, progress=False)
    assert out.read_text(encoding="utf-8") == audit(folder, progress=False)
    assert list(out.parent.iterdir()) == [out]


def test_the_page_replaces_no_file_but_a_page(folder, tmp_path):
    refused = {folder / "train.csv": "one lies in the other", tmp_path / "mine.md": "is not an audit page"}
    for out, words in refused.items():
        out.touch()
        before = out.read_bytes()
        with pytest.raises(FileExistsError, match=words):
            audit(folder, out, progress=False)
        assert out.read_bytes() == before
    page = audit(folder, tmp_path / "page.md", progress=False)
    (tmp_path / "page.md").write_text(f"{page}\nedited")
    audit(folder, tmp_path / "page.md", progress=False)
    assert (tmp_path / "page.md").read_text() == page


def test_a_photo_that_breaks_off_is_named_and_stops_nothing(folder):
    whole = (folder / "train" / "a.jpg").read_bytes()
    (folder / "train" / "a.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    page = audit(folder, progress=False)
    assert "| a |" in page and "truncated" in page


def test_not_a_raw_folder(tmp_path):
    with pytest.raises(raw.RawError, match=r"train\.csv does not exist"):
        audit(tmp_path, progress=False)


def test_near_pairs_equals_counting_bits_pair_by_pair():
    rng = np.random.default_rng(0)
    hashes = [int(h) for h in rng.integers(0, 2**63, 600, dtype=np.uint64)]
    hashes[300:320] = [h ^ (1 << i) ^ (1 << 63) for i, h in enumerate(hashes[:20])]  # across the block's edge
    expected = {
        (i, j, (hashes[i] ^ hashes[j]).bit_count())
        for j in range(len(hashes))
        for i in range(j)
        if (hashes[i] ^ hashes[j]).bit_count() <= 20
    }
    found = near_pairs(hashes, 20)
    assert set(found) == expected and len(found) == len(expected)
    assert [pair[2] for pair in found] == sorted(pair[2] for pair in found)
    assert near_pairs([]) == []
