"""Five photos of 3000 x 2000 pixels, drawn by `tools.draw_sample` with 10 to 17 overlapping
instances each, in run-length codes. Every way paints larger instances first and shows row
floor((i + 0.5) * H / h) of the full map, which is Pillow's NEAREST; the label maps are equal, pixel by pixel.
One thread each. Preparing is measured on the same photos as JPEGs of quality 92.
"""

import cProfile
import pstats
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco

from fashionlib.data import prepared, rle
from fashionlib.data.prepared import Photo
from tests.benchmarks.frame import Line, faster, seconds
from tools.draw_sample.plan import plan
from tools.draw_sample.scenes import draw

HEIGHT, WIDTH = 3000, 2000
SIZE = (768, 512)  # the short side as MMSegmentation's test pipeline has it
PHOTOS, MAX_SIDE = 5, 1024
IMATERIALIST = 45_623  # photos
_LANCZOS = Image.Resampling.LANCZOS
_NOT_DECODED = (
    ". A photo that keeps its size is only linked, and read at 1/8 to find damage: little JPEG to be bound "
    "by. What remains is the PNG of 6 million pixels, which takes Pillow 7 ms even without compression; no "
    "other strategy of zlib is faster"
)
_JPEG = {  # functions below `prepared.write` and what they do: with the JPEG …
    ("prepared.py", "shrink"): "JPEG decoded and shrunk",
    ("prepared.py", "_whole"): "JPEG read at 1/8 to find damage",
    ("JpegImagePlugin.py", "_save"): "JPEG written",
}
_MASKS = {  # … and with the masks
    ("rle.py", "label_map"): "codes to label map",
    ("prepared.py", "_palette_image"): "palette",
    ("PngImagePlugin.py", "_save"): "PNG written",
    ("Image.py", "histogram"): "pixels counted",
}


def measure() -> Iterator[Line]:
    """The label maps alone, then all of `prepare`'s work on a photo."""
    cv2.setNumThreads(1)
    pictures, photos = zip(*_drawn(), strict=True)
    ways = (  # words, target, rounds
        (usual, "the usual `rle_decode` loop at full size, merged, then nearest", ">= 20", 3),
        (with_pycocotools, "pycocotools, nearest of each mask, merged at that size", ">= 5", 3),
        (full_then_nearest, "our own map at full size, then nearest", "", 10),
    )
    mine = "straight at that size", _all(ours, photos)
    for way, words, target, rounds in ways:
        for photo in photos:
            np.testing.assert_array_equal(way(photo), ours(photo))
        what = f"codes to a label map of {SIZE[0]} x {SIZE[1]}"
        yield faster(what, (words, _all(way, photos)), mine, target, per=PHOTOS, rounds=rounds)
    with tempfile.TemporaryDirectory() as folder:
        yield from _preparing(Path(folder), pictures, photos)


def ours(photo: Photo) -> np.ndarray:
    """As `prepare` does it."""
    return rle.label_map(photo.codes, [value - 1 for value in photo.values], HEIGHT, WIDTH, SIZE)


def usual(photo: Photo) -> np.ndarray:
    """Every mask filled and merged at full size, then shrunk."""
    masks = [_rle_decode(code) for code in photo.codes]
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    for i in sorted(range(len(masks)), key=lambda i: -int(masks[i].sum())):
        label[masks[i] > 0] = photo.values[i]
    return _nearest(label)


def _rle_decode(code: str) -> np.ndarray:
    """As in the public notebooks of Kaggle's competitions (paulorzp, "RLE functions")."""
    starts, lengths = np.array(code.split(), int).reshape(-1, 2).T
    img = np.zeros(HEIGHT * WIDTH, dtype=np.uint8)
    for lo, hi in zip(starts - 1, starts - 1 + lengths, strict=True):
        img[lo:hi] = 1
    return img.reshape((HEIGHT, WIDTH), order="F")


def with_pycocotools(photo: Photo) -> np.ndarray:
    """Its fastest use we found: areas without decoding, each mask decoded and shrunk before it is painted."""
    masks = coco.frPyObjects([_uncompressed(code) for code in photo.codes], HEIGHT, WIDTH)
    label = np.zeros(SIZE, np.uint8)
    rows, columns = _sampled(SIZE[0], HEIGHT), _sampled(SIZE[1], WIDTH)
    for i in np.argsort(-coco.area(masks).astype(np.int64), kind="stable"):
        label[coco.decode(masks[i])[np.ix_(rows, columns)] > 0] = photo.values[i]
    return label


def _uncompressed(code: str) -> dict:
    """The code as pycocotools reads it: lengths of runs outside and inside, in turns."""
    starts, lengths = np.array(code.split(), int).reshape(-1, 2).T
    edges = np.column_stack((starts - 1, starts - 1 + lengths)).ravel()
    counts = np.diff(edges, prepend=0, append=HEIGHT * WIDTH).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": counts}


def _sampled(n: int, full: int) -> np.ndarray:
    return (2 * np.arange(n) + 1) * full // (2 * n)


def full_then_nearest(photo: Photo) -> np.ndarray:
    """The same runs painted at full size: what never filling the full map is worth."""
    label = rle.label_map(photo.codes, [value - 1 for value in photo.values], HEIGHT, WIDTH)
    return _nearest(cv2.transpose(label.T))


def _nearest(label: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(label).resize(SIZE[::-1], Image.Resampling.NEAREST))


def _all(way, photos):
    return lambda: [way(photo) for photo in photos]


def _drawn() -> Iterator[tuple[np.ndarray, Photo]]:
    """Photos of one wearer from head to foot, drawn at full size, and their instances."""
    scenes = [s for s in plan(400, 0) if s.kind == "full" and len(s.outfits) == 1 and len(s.outfits[0]) >= 6]
    for i, scene in enumerate(scenes[:PHOTOS]):
        picture, instances = draw(replace(scene, height=HEIGHT, width=WIDTH), np.random.default_rng(i))
        codes = tuple(rle.encode(mask) for _, mask in instances)
        yield picture, Photo(f"{i}", i, HEIGHT, WIDTH, codes, tuple(c + 1 for c, _ in instances))


def _preparing(folder: Path, pictures, photos) -> Iterator[Line]:
    """`prepared.write`, which is `prepare`'s work on a photo, in one process."""
    for name in ("train", "images", "labels"):
        (folder / name).mkdir()
    for picture, photo in zip(pictures, photos, strict=True):
        Image.fromarray(picture).save(folder / "train" / f"{photo.id}.jpg", quality=92)

    def prepare(max_side: int | None = MAX_SIDE) -> None:
        for path in (*folder.glob("images/*"), *folder.glob("labels/*")):
            path.unlink()
        assert not any(prepared.write(photo, folder, folder, max_side, "area").problem for photo in photos)

    @patch.object(prepared, "shrink", lambda image, size: image.convert("RGB").resize(size, _LANCZOS))
    def decode_whole() -> None:
        prepare()

    def written(work) -> list[np.ndarray]:
        work()
        return [np.asarray(Image.open(folder / "images" / f"{photo.id}.jpg"), int) for photo in photos]

    apart = [abs(a - b).mean() for a, b in zip(written(prepare), written(decode_whole), strict=True)]
    assert max(apart) < 1, f"{max(apart)} of 255"  # equal sizes, too
    what = f"preparing a photo, max_side={MAX_SIDE}, on one core"
    mine = f"decoded at a fraction (mean difference {np.mean(apart):.1f} of 255)"
    yield faster(what, ("JPEG decoded whole", decode_whole), (mine, prepare), per=PHOTOS)
    megabytes = np.mean([path.stat().st_size for path in folder.glob("train/*")]) / 1e6
    yield _share_of_masks(prepare, MAX_SIDE, megabytes)
    yield _share_of_masks(prepare, None, megabytes, _NOT_DECODED)


def _share_of_masks(prepare, max_side: int | None, megabytes: float, more: str = "") -> Line:
    """Where the CPU time goes, by the profiler, which hardly slows calls this long."""
    profile = cProfile.Profile(time.process_time)
    for _ in range(3):
        profile.runcall(prepare, max_side)
    taken = {  # seconds a photo, with what is called from there
        (Path(file).name, name): times[3] / (3 * PHOTOS)
        for (file, _, name), times in pstats.Stats(profile).stats.items()
    }
    total, masks = taken["prepared.py", "write"], sum(taken.get(stage, 0) for stage in _MASKS)
    stages = {words: taken[stage] for stage, words in (_JPEG | _MASKS).items() if stage in taken}
    parts = ", ".join(f"{words} {seconds(value)}" for words, value in stages.items())
    what = f"the masks' share of preparing a photo, max_side={max_side}"
    sides = f"all of it: {seconds(total)}", f"the masks: {seconds(masks)}"
    note = f"""CPU time: {parts}; {IMATERIALIST:,} photos like these drawn ones (their JPEGs take \
{megabytes:.1f} MB on average) would take a core {IMATERIALIST * total / 60:.0f} minutes at this \
{1 / total:.0f} a second, disk not counted; `prepare` uses all cores{more}"""
    return Line(what, *sides, masks / total, target="<= 0.5", note=note)
