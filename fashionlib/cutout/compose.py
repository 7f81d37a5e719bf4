"""From a cut-out to a picture: crop, size and background; and contact sheets."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageOps

from fashionlib.core.pictures import checkerboard
from fashionlib.cutout import edges, photos

PRESENT = 10  # alpha from which a pixel counts as subject: 1 or 2 are noise that would defeat a crop
BLUR = 1 / 40  # of the longer side: the blurred ground's standard deviation


@dataclass(frozen=True)
class Frame:
    """The picture's box in the photo's pixels (it may reach beyond the photo), and the picture's size."""

    top: int
    left: int
    bottom: int
    right: int
    size: tuple[int, int]  # (height, width) of the picture

    def __call__(self, pixels: np.ndarray, outside: int = cv2.BORDER_CONSTANT) -> np.ndarray:
        """`pixels` uint8 (H, W, 3 or 4) in this frame; colours of RGBA are resized weighted by alpha."""
        height, width = pixels.shape[:2]
        beyond = -self.top, self.bottom - height, -self.left, self.right - width
        margins = [max(0, pixels) for pixels in beyond]
        inside = pixels[max(0, self.top) : self.bottom, max(0, self.left) : self.right]
        factor = self.size[0] / (self.bottom - self.top)
        if any(margins) and factor < 1:  # smaller first: margins may be far larger than the photo
            margins = [round(margin * factor) for margin in margins]
            size = self.size[0] - sum(margins[:2]), self.size[1] - sum(margins[2:])
            inside = _resized(inside, (max(1, size[0]), max(1, size[1])))
        framed = cv2.copyMakeBorder(inside, *margins, outside) if any(margins) else inside
        return framed if framed.shape[:2] == self.size else _resized(framed, self.size)


def frame(alpha: np.ndarray, crop: bool = False, margin: float = 0.0, size: int | None = None) -> Frame:
    """The frame of a cut-out: the whole photo, or cropped to its subject.

    `crop` ends at the pixels with alpha >= PRESENT, and `margin` adds that share of the subject's longer side
    all around, beyond the photo too. `size` is the picture's longer side in pixels. Without a subject the
    whole photo stays.
    """
    box = edges.bounding_box(alpha >= PRESENT) if crop else None
    top, left, bottom, right = box or (0, 0, *alpha.shape)
    if box:
        wide = round(margin * max(bottom - top, right - left))
        top, left, bottom, right = top - wide, left - wide, bottom + wide, right + wide
    height, width = bottom - top, right - left
    factor = size / max(height, width) if size else 1
    return Frame(top, left, bottom, right, (max(1, round(height * factor)), max(1, round(width * factor))))


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    way = cv2.INTER_AREA if size[0] < pixels.shape[0] else cv2.INTER_LINEAR  # cubic would overshoot alpha
    if pixels.shape[2] == 3:
        return cv2.resize(pixels, size[::-1], interpolation=way)
    opaque = pixels[..., 3:].astype(np.float32) / 255
    colour = cv2.resize(pixels[..., :3] * opaque, size[::-1], interpolation=way)
    alpha = cv2.resize(opaque, size[::-1], interpolation=way)[..., None]
    rgb = np.where(alpha > 0, colour / np.maximum(alpha, 1e-6), 0)
    return np.round(np.dstack([rgb, alpha * 255]).clip(0, 255)).astype(np.uint8)


def check_background(background: str) -> str:
    """`background` if it is none, white, blur, #RRGGBB or the path of a photo, else a ValueError."""
    if background in ("none", "white", "blur"):
        return background
    if Path(background).is_file():
        photos.read(background)  # its PhotoError names the file
        return background
    if background.startswith("#"):
        ImageColor.getrgb(background)  # its ValueError names the colour
        return background
    raise ValueError(f"The background {background!r} is not none, white, blur, #RRGGBB or a file.")


def over(rgba: np.ndarray, ground) -> np.ndarray:
    """A cut-out uint8 (H, W, 4) over `ground`, uint8 RGB (H, W, 3) or one colour (3,): uint8 (H, W, 3)."""
    opaque = rgba[..., 3:].astype(np.uint16)
    mixed = rgba[..., :3] * opaque + np.asarray(ground, np.uint16) * (255 - opaque)
    return ((mixed + 127) // 255).astype(np.uint8)


def picture(rgba: np.ndarray, photo: np.ndarray, place: Frame, background: str = "none") -> np.ndarray:
    """The cut-out `rgba` of `photo` in its frame: RGBA (h, w, 4), or RGB (h, w, 3) over a background."""
    framed = place(rgba)
    if background == "none":
        return framed
    if background == "blur":
        return over(framed, place(_blurred(photo, rgba[..., 3]), outside=cv2.BORDER_REPLICATE))
    if background == "white" or background.startswith("#"):
        return over(framed, ImageColor.getrgb(background)[:3])
    return over(framed, _covering(photos.read(background).rgb, place.size))


def _blurred(photo: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The photo's background, blurred without the subject, whose colours would glow around it otherwise."""
    factor = min(1.0, 512 / max(alpha.shape))  # what is blurred this far needs no more pixels
    size = max(1, round(alpha.shape[1] * factor)), max(1, round(alpha.shape[0] * factor))
    rgb = cv2.resize(photo, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    ground = 1 - cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255 + 1e-4
    sigma = max(1.0, BLUR * max(size))
    weight = cv2.GaussianBlur(ground, (0, 0), sigma)[..., None]
    mean = cv2.GaussianBlur(rgb * ground[..., None], (0, 0), sigma) / weight
    return cv2.resize(np.round(mean).astype(np.uint8), alpha.shape[::-1])


def _covering(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` scaled to cover `size` = (height, width) and centre-cropped to it."""
    factor = max(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(want, round(side * factor)) for want, side in zip(size, image.shape, strict=False))
    big = _resized(image, (height, width))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return big[top : top + size[0], left : left + size[1]]


def contact_sheet(pictures, columns: int | None = None, side: int = 240) -> np.ndarray:
    """Cut-outs side by side over a checkerboard: uint8 RGB (H, W, 3).

    `pictures` are uint8 arrays (H, W, 3 or 4) or paths, of photos too; each is shrunk into a square of
    `side` pixels. `columns` is by default what makes the sheet about as wide as high.
    """
    pictures = list(pictures)
    if not pictures:
        raise ValueError("A contact sheet needs at least one picture.")
    columns = columns or int(np.ceil(len(pictures) ** 0.5))
    sheet = np.full((-(-len(pictures) // columns) * (side + 8), columns * (side + 8), 3), 255, np.uint8)
    for i, item in enumerate(pictures):
        thumb = _thumbnail(item, side)
        height, width = thumb.shape[:2]
        top = i // columns * (side + 8) + (side + 8 - height) // 2
        left = i % columns * (side + 8) + (side + 8 - width) // 2
        sheet[top : top + height, left : left + width] = checkerboard(thumb, square=8)
    return sheet


def _thumbnail(item, side: int) -> np.ndarray:
    if isinstance(item, str | Path):
        with Image.open(item) as image:
            item = np.array(ImageOps.exif_transpose(image).convert("RGBA"))
    if item.shape[2] == 3:
        item = np.dstack([item, np.full(item.shape[:2], 255, np.uint8)])
    return frame(item[..., 3], size=min(side, max(item.shape[:2])))(item)
