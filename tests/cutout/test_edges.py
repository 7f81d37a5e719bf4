"""Edges where the truth is known: composites of a shirt with a drawn, truly mixed edge over other grounds."""

import cv2
import numpy as np
import pytest

from fashionlib.cutout import compose, edges, one_photo, photos
from fashionlib.cutout.quality import GIVEN

RED = (190, 35, 40)
SIZE = (160, 140)


def composite(ground=RED, seed=0):
    """(photo uint8, alpha, shirt, and p as a model with patches of 8 sees it, float32) of a fuzzy shirt."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    big = np.zeros((height * 4, width * 4), np.uint8)
    cv2.ellipse(big, (width * 2, height * 2), (width, int(height * 1.2)), 10, 0, 360, 255, -1)
    for angle in rng.uniform(0, 2 * np.pi, 6):
        centre = int(width * (2 + np.cos(angle))), int(height * (2 + 1.2 * np.sin(angle)))
        cv2.circle(big, centre, int(rng.uniform(20, 70)), int(255 * (rng.random() > 0.4)), -1)
    alpha = cv2.GaussianBlur(cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA), (0, 0), 1.2)
    alpha = alpha.astype(np.float32) / 255
    noise = cv2.GaussianBlur(rng.normal(0, 1, (*SIZE, 6)).astype(np.float32), (0, 0), 3)
    shirt = np.clip(228 + 50 * noise[..., :3], 0, 255)
    wall = np.clip(np.asarray(ground, np.float32) + 80 * noise[..., 3:], 0, 255)
    photo = np.round(shirt * alpha[..., None] + wall * (1 - alpha[..., None])).astype(np.uint8)
    coarse = cv2.resize(alpha, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    return photo, alpha, shirt, cv2.resize(coarse, (width, height))


def rim_of(alpha, pixels=6):
    mixed = ((alpha > 0) & (alpha < 1)).astype(np.uint8)
    return cv2.dilate(mixed, np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


@pytest.fixture(scope="module")
def measured():
    """Of each edge mode: (SAD of alpha, colour error on white, on black) at the rim, over two composites."""
    table = {edge: np.zeros(3) for edge in edges.EDGES} | {"matting, colours as they were": np.zeros(3)}
    for seed, ground in enumerate([RED, (40, 70, 150)]):
        photo, truth, shirt, p = composite(ground, seed)
        rim = rim_of(truth)
        for edge in edges.EDGES:
            alpha, note = edges.alpha_of(photo, p, edge)
            assert note == ""
            cutouts = {edge: edges.estimate_foreground(photo, alpha)}
            if edge == "matting":
                cutouts["matting, colours as they were"] = np.dstack([photo, alpha])
            for name, rgba in cutouts.items():
                colours = [colour_error(rgba, shirt, truth, grey)[rim].mean() for grey in (255, 0)]
                table[name] += [np.abs(alpha / 255 - truth)[rim].sum(), *colours]
    return table


def colour_error(rgba, shirt, truth, grey) -> np.ndarray:
    """In grey levels, over a ground of that `grey`."""
    true = shirt * truth[..., None] + grey * (1 - truth[..., None])
    return np.abs(compose.over(rgba, (grey,) * 3) - true)


def test_each_finer_edge_is_nearer_to_the_truth_on_white_and_on_black(measured):
    assert (measured["soft"] < 0.8 * measured["hard"]).all(), measured
    assert (measured["matting"] < 0.9 * measured["soft"]).all(), measured


def test_decontaminated_colours_are_nearer_to_the_truth(measured):
    raw, clean = measured["matting, colours as they were"], measured["matting"]
    assert (clean[1:] < 0.7 * raw[1:]).all(), measured


def test_a_given_mask_is_kept_as_soft_as_it_is_or_given_a_new_edge():
    photo, truth, shirt, p = composite()
    soft = np.round(truth * 255).astype(np.uint8)
    kept = one_photo.from_mask(photos.Photo(photo), soft)
    assert np.array_equal(kept.rgba[..., 3], soft)
    assert (kept.quality, kept.scores, kept.notes) == (GIVEN, None, ())
    sure = (truth > 0.2) & (truth < 0.9)
    assert np.abs(kept.rgba[..., :3] - shirt)[sure].mean() < 0.4 * np.abs(photo - shirt)[sure].mean()
    drawn = ((p >= 0.5) * 255).astype(np.uint8)  # painted roughly
    refined = one_photo.from_mask(photos.Photo(photo), drawn, "matting").rgba[..., 3]
    rim = rim_of(truth)
    assert np.abs(refined / 255 - truth)[rim].sum() < 0.5 * np.abs(drawn / 255 - truth)[rim].sum()


@pytest.mark.parametrize("factor", [0.5, 2])
def test_a_matte_serves_other_renditions_of_the_shot(factor):
    photo, truth, _, _ = composite()
    size = tuple(round(side * factor) for side in SIZE)
    other = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    result = one_photo.from_mask(photos.Photo(other), np.round(truth * 255).astype(np.uint8))
    back = cv2.resize(result.rgba[..., 3], SIZE[::-1], interpolation=cv2.INTER_LINEAR) / 255
    assert result.rgba.shape == (*size, 4) and np.abs(back - truth).mean() < 0.01


def test_a_mask_of_another_shape_is_refused():
    photo = photos.Photo(composite()[0])
    with pytest.raises(ValueError, match="The mask is 100 x 160, the photo 140 x 160 pixels"):
        one_photo.from_mask(photo, np.zeros((160, 100), np.uint8))
    assert one_photo.from_mask(photo, np.zeros((53, 47), np.uint8)).notes == (
        "nothing to keep was found in it",
    )


def test_only_the_rectangle_of_the_edge_is_solved():
    where = np.zeros((300, 200), bool)
    where[100:120, 50:70] = True
    ((box, inner),) = edges._tiles(where)
    assert where[box].shape == (20 + 2 * edges.OVERLAP, 20 + 2 * edges.OVERLAP)
    assert where[box][inner].shape == (20, 20) and where[box][inner].all()
    assert not list(edges._tiles(np.zeros((300, 200), bool)))


@pytest.mark.parametrize("edge", edges.EDGES)
def test_inside_the_photo_is_untouched_on_white_and_on_black(edge):
    photo, _, _, p = composite(0)
    alpha, _ = edges.alpha_of(photo, p, edge)
    rgba = edges.estimate_foreground(photo, alpha)
    for ground in (0, 255):
        assert np.array_equal(compose.over(rgba, (ground,) * 3)[alpha == 255], photo[alpha == 255])
        assert (compose.over(rgba, (ground,) * 3)[alpha == 0] == ground).all()
    assert (alpha == 255).mean() > 0.2 and not rgba[alpha == 0].any()


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
    assert (edges.dilate(alpha, 2)[8:12, 6:14] == 255).all() and edges.dilate(alpha, 2)[5].max() == 0
    assert (edges.dilate(alpha, -1) > 0).sum() == 4
    assert edges.dilate(alpha, 0) is alpha
    assert (edges.dilate(alpha, 10**9) == 255).all() and not edges.dilate(alpha, -(10**9)).any()
    assert not edges.dilate(np.zeros_like(alpha), 10**9).any()


@pytest.mark.parametrize("pixels", [20, -20])
def test_growing_far_is_growing_by_a_disc(pixels):
    alpha = cv2.GaussianBlur(cv2.circle(np.zeros((200, 160), np.uint8), (80, 100), 40, 255, -1), (0, 0), 2)
    across = np.hypot(*(np.indices(alpha.shape) - np.reshape([100, 80], (2, 1, 1)))) - pixels
    far = edges.dilate(alpha, pixels)
    assert (far[across < 33] == 255).all() and not far[across > 48].any()
    assert np.abs(np.count_nonzero(far >= 128) / (np.pi * (40 + pixels) ** 2) - 1) < 0.1
    assert len(np.unique(far)) > 5  # still soft
