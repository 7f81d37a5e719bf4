"""Masks made elsewhere, and other renditions of a shot."""

import cutout_stub
import numpy as np
import pytest
from cutout_stub import report, scene
from PIL import Image

from fashionlib.cutout import batch

folder, model = cutout_stub.folder, cutout_stub.model  # fixtures


def alpha_of(path):
    return np.asarray(Image.open(path))[..., 3]


@pytest.fixture
def square():
    """A soft square where the model sees nothing."""
    mask = np.zeros((80, 60), np.uint8)
    mask[5:15, 5:15] = 255
    mask[5:15, 15] = 100
    return mask


def test_a_given_mask_takes_the_models_place(folder, tmp_path, square):
    Image.fromarray(square).save(tmp_path / "mask.png")
    done = batch.run(
        folder / "a.png",
        tmp_path / "out",
        "no model is needed",
        mask_in=tmp_path / "mask.png",
        progress=False,
    )
    assert done[:3] == (1, 0, 0) and np.array_equal(alpha_of(tmp_path / "out" / "a.png"), square)
    again = {"mask_in": tmp_path / "mask.png", "progress": False, "edge": "hard", "crop": True}
    batch.run(folder / "a.png", tmp_path / "out", **again)
    assert np.array_equal(alpha_of(tmp_path / "out" / "a.png"), np.full((10, 10), 255))
    assert batch.run(folder / "a.png", tmp_path / "out", **again).skipped == 1
    Image.fromarray(square.T.copy()).save(tmp_path / "mask.png")
    failed = batch.run(folder / "a.png", tmp_path / "out", **again)  # another mask, of another shape
    assert failed.failed == 1
    assert "a.png: The mask is 80 x 60, the photo 60 x 80" in report(failed)["a.png"]["note"]


def test_a_folder_of_masks_serves_the_photos_that_it_names(folder, model, tmp_path, square):
    (tmp_path / "masks" / "sub").mkdir(parents=True)
    Image.fromarray(square).save(tmp_path / "masks" / "sub" / "a.webp", lossless=True)
    batch.run(folder, tmp_path / "out", model, mask_in=tmp_path / "masks", layers=True, progress=False)
    assert np.array_equal(alpha_of(tmp_path / "out" / "sub" / "a.png"), square)
    assert alpha_of(tmp_path / "out" / "a.png")[30, 20] == 255
    assert (tmp_path / "out" / "sub" / "a.layers" / "manifest.json").is_file()


def test_other_renditions_take_over_the_matte_with_their_own_colours(folder, model, tmp_path):
    grey = np.kron(np.full((80, 60, 3), 70, np.uint8), np.ones((2, 2, 1), np.uint8))  # the model sees nothing
    Image.fromarray(grey).save(tmp_path / "big.png")
    Image.fromarray(scene()[:, :30].copy()).save(tmp_path / "half.png")
    result = batch.run(
        folder / "a.png",
        tmp_path / "out",
        model,
        progress=False,
        apply_to=[tmp_path / "big.png", tmp_path / "half.png"],
    )
    assert result[:3] == (2, 0, 1) and "half.png: The mask is 60 x 80" in report(result)["half.png"]["note"]
    first, big = alpha_of(tmp_path / "out" / "a.png"), np.asarray(Image.open(tmp_path / "out" / "big.png"))
    assert (np.kron(first, np.ones((2, 2))) != big[..., 3]).mean() < 0.05
    assert (big[big[..., 3] == 255][:, :3] == 70).all() and (big[..., 3] == 255).mean() > 0.1
    assert (
        batch.run(
            folder / "a.png", tmp_path / "out", model, progress=False, apply_to=str(tmp_path / "big.png")
        ).skipped
        == 2
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mask_in": "none.png"}, "The mask none.png does not exist"),
        ({"mask_in": __file__}, "is one photo's, but there are 4"),
        ({"apply_to": __file__}, "One photo's matte is applied to others, but there are 4"),
        ({"engine": "spark"}, "Unknown engine 'spark'"),
        ({"engine": "ray", "mask_in": __file__}, "for the engine local"),
    ],
)
def test_masks_and_renditions_that_fit_nothing_are_refused(folder, model, tmp_path, options, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        batch.run(folder, tmp_path / "out", model, progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_an_output_never_replaces_a_mask_or_a_layer(folder, model, tmp_path, square):
    Image.fromarray(square).save(tmp_path / "a.png")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.png").symlink_to(tmp_path / "out" / "a.png")
    batch.run(folder / "a.png", tmp_path / "out", model, progress=False)
    with pytest.raises(ValueError, match="are the same, or one lies in the other"):
        batch.run(tmp_path / "links", tmp_path / "out", model, keep="bag", progress=False)
    (folder / "a.layers").mkdir()
    Image.fromarray(scene()).save(folder / "a.layers" / "dress.png")
    with pytest.raises(ValueError, match="dress.png would become .*that name is taken"):
        batch.run(folder, tmp_path / "more", model, layers=True, progress=False)
    assert batch.run(folder, tmp_path / "out", model, progress=False)[:2] == (2, 1)


def test_one_photo_has_one_mask(folder, model, tmp_path, square):
    (tmp_path / "masks").mkdir()
    for name in ("a.png", "a.tif"):
        Image.fromarray(square).save(tmp_path / "masks" / name)
    with pytest.raises(ValueError, match="masks/a.png and .*masks/a.tif are both masks of .*in/a.png"):
        batch.run(folder, tmp_path / "out", model, mask_in=tmp_path / "masks", progress=False)
