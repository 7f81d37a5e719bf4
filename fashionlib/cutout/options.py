"""What is made of each photo: the flags of ``fashionlib cutout``, checked once."""

import math
from dataclasses import dataclass

from fashionlib.core.classes import check_name
from fashionlib.cutout import compose, edges, photos, segment


@dataclass(frozen=True)
class Options:
    """The options of a batch. Raises ValueError, with one sentence, for values that make no sense."""

    subject: str = "apparel"  # or person
    keep: str | list[str] | None = None  # only these classes or groups
    drop: str | list[str] | None = None  # all but these
    edge: str | None = None  # hard (a model's, if not said), soft, matting; a given mask keeps its own
    grow: int = 0  # pixels outwards; negative: inwards
    layers: bool = False  # also a PNG a class, and a manifest
    background: str = "none"  # none, white, #RRGGBB, blur, or a photo's path
    crop: bool = False  # to the subject
    margin: float = 0.0  # around the crop, as a share of the subject's longer side
    size: int | None = None  # the longer side in pixels
    format: str = "png"  # png, webp, jpg
    mask: bool = False  # the alpha alone, as a grey picture
    strip: bool = False  # leave out what the photo says about itself (EXIF, XMP, dots per inch)
    max_pixels: int = photos.MAX_PIXELS

    def __post_init__(self):
        check_name(self.subject, segment.SUBJECTS, "subject")
        check_name("hard" if self.edge is None else self.edge, edges.EDGES, "edge")
        check_name(self.format, photos.FORMATS, "format")
        compose.check_background(self.background)
        if self.format == "jpg" and self.background == "none" and not self.mask:
            raise ValueError("JPEG has no transparency: choose the format png or webp, or a background.")
        if not 0 <= self.margin < math.inf:
            raise ValueError(f"margin={self.margin} is no share of the subject's longer side: 0 or more.")
        for name in ("size", "max_pixels"):
            if (pixels := getattr(self, name)) is not None and pixels < 1:
                raise ValueError(f"{name}={pixels} is not a number of pixels.")

    def choice(self, classes) -> segment.Choice:
        """Label values to keep, for a model with these `classes`."""
        return segment.wanted(classes, self.subject, self.keep, self.drop)
