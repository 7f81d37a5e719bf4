"""The cut-out of one photo: `segment` finds what stays, `edges` its alpha and colours."""

from dataclasses import dataclass

import cv2
import numpy as np

from fashionlib.core.classes import check_name
from fashionlib.cutout import compose, edges, photos, quality, segment

ASPECT = 0.01  # share by which the aspect ratios of a shot's renditions may differ


@dataclass(frozen=True)
class Cutout:
    """`rgba` uint8 (H, W, 4), straight alpha; `scores`: its class probabilities float32 (C, h, w), or None.

    `notes` are sentences on what did not go as asked, such as an empty cut-out. `votes` is the number
    of regions in which a conflict of garments was resolved.
    """

    rgba: np.ndarray
    scores: np.ndarray | None
    notes: tuple[str, ...]
    quality: quality.Quality
    votes: int = 0


def cut(photo: photos.Photo, model, choice: segment.Choice, edge: str = "hard", grow: int = 0) -> Cutout:
    """The cut-out of `photo` with the classes of `choice`; the arguments are checked already."""
    scores, votes = segment.class_probabilities(_on_white(photo), model)
    p = segment.keep_probability(scores, choice, photo.rgb.shape[:2])
    judged = quality.of(scores, p, model.metadata["classes"], model.metadata.get("quality"))
    return _finished(photo, *edges.alpha_of(photo.rgb, p, edge), grow, scores, judged, votes)


def from_mask(
    photo: photos.Photo, mask: np.ndarray, edge: str | None = None, grow: int = 0, model=None
) -> Cutout:
    """The cut-out of `photo` by a mask that was made elsewhere, or on another rendition of the shot.

    `mask` is uint8 (h, w), 255 where opaque, and is resized to the photo. `edge` refines its edge (at 128);
    None leaves the mask as soft as it is. A `model` adds the probabilities that layers need. Raises
    ValueError if mask and photo differ in aspect ratio (by more than ASPECT and a pixel).
    """
    size, (height, width) = photo.rgb.shape[:2], mask.shape[:2]
    if mask.ndim != 2 or abs(height - width * size[0] / size[1]) > 1 + ASPECT * height:
        raise ValueError(
            f"The mask is {width} x {height}, the photo {size[1]} x {size[0]} pixels:"
            " they must have the same shape."
        )
    way = cv2.INTER_AREA if size[0] < height else cv2.INTER_LINEAR
    p = cv2.resize(mask.astype(np.float32) / 255, size[::-1], interpolation=way)
    alpha, note = edges.alpha_of(photo.rgb, p, edge) if edge else (np.round(p * 255).astype(np.uint8), "")
    scores, votes = (None, 0) if model is None else segment.class_probabilities(_on_white(photo), model)
    return _finished(photo, alpha, note, grow, scores, quality.GIVEN, votes)


def _finished(photo: photos.Photo, alpha, note: str, grow: int, scores, judged, votes: int) -> Cutout:
    alpha = edges.dilate(alpha, grow)
    if photo.alpha is not None:
        alpha = np.minimum(alpha, photo.alpha)  # what was transparent in the photo stays so
    empty = "" if (alpha >= 128).any() else "nothing to keep was found in it"
    rgba = edges.estimate_foreground(photo.rgb, alpha)
    return Cutout(rgba, scores, tuple(filter(None, [note, empty])), judged, votes)


def remove_background(
    image, model, subject: str = "apparel", keep=None, drop=None, edge: str = "hard", grow: int = 0
) -> np.ndarray:
    """The cut-out of a photo: RGBA uint8 (H, W, 4), straight alpha, at the photo's own size.

    Args:
        image: uint8 RGB (H, W, 3), grey (H, W) or RGBA (H, W, 4); or a path, or a Pillow image, whose EXIF
            orientation is applied. It is not changed.
        model: from `load_model`.
        subject: what stays, ``apparel`` or the whole ``person``.
        keep: only these classes or groups instead, as in `segment.wanted`: ``"dress, shoe"``.
        drop: all but these: ``["bag", "umbrella"]``.
        edge: ``hard`` (alpha 0 or 255), ``soft`` or ``matting`` (see `edges`). A pixel's colour is the
            photo's own where alpha is 255, black where it is 0, and the estimated foreground's in between.
        grow: pixels by which the cut-out is dilated, or eroded where negative.

    Raises ValueError with one sentence for unknown names, ``person`` on a model without hair and skin,
    and images that are none.
    """
    check_name(edge, edges.EDGES, "edge")
    choice = segment.wanted(model.metadata["classes"], subject, keep, drop)
    return cut(photos.as_photo(image), model, choice, edge, grow).rgba


def layers(result: Cutout, classes, values: list[int]) -> tuple[np.ndarray, list[dict]]:
    """(label values uint8 (H, W) of the classes `values`, a description of each class present).

    Every pixel of the cut-out belongs to the most probable of the classes kept, so its alpha is the sum of
    its layers' alphas. A description: class, value, pixels (alpha >= 128), box (left, top, right, bottom;
    exclusive) of them, and confidence (their mean probability).
    """
    alpha = result.rgba[..., 3]
    label = segment.strongest(result.scores, values, alpha.shape)
    found = []
    for value in values:
        mask = (label == value) & (alpha >= 128)
        if box := edges.bounding_box(mask):
            top, left, bottom, right = box
            confidence = segment.resized(result.scores[value], alpha.shape)[mask].mean()
            entry = {"class": classes[value], "value": value, "pixels": int(mask.sum())}
            entry |= {"box": [left, top, right, bottom], "confidence": round(float(confidence), 4)}
            found.append(entry)
    return label, found


def _on_white(photo: photos.Photo) -> np.ndarray:
    """The photo as the model sees it, over white: RGB behind alpha 0 is arbitrary."""
    return photo.rgb if photo.alpha is None else compose.over(np.dstack([photo.rgb, photo.alpha]), (255,) * 3)
