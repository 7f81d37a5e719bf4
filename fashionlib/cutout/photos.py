"""Reading and writing photos: any file that Pillow reads becomes upright 8-bit RGB.

The EXIF orientation is applied to the pixels and its tag dropped, so that every viewer shows the same. An RGB
colour profile, the other EXIF tags, XMP and dots per inch are kept for the output. CMYK and greyscale with a
profile of their own are converted to sRGB, 16-bit values rounded to 8 bits, palettes looked up.
"""

import io
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError, features
from PIL.PngImagePlugin import PngInfo

from fashionlib.core import files
from fashionlib.core.classes import check_name

MAX_PIXELS = 50_000_000  # take 1.4 GB of memory with a hard edge, 1.8 with a soft one
FORMATS = {  # Pillow's name and how to save; PNG at level 4 takes half the time of 6 for 3 % more bytes
    "png": ("PNG", {"compress_level": 4}),
    "webp": ("WEBP", {"quality": 95}),
    "avif": ("AVIF", {"quality": 90}),
    "jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
}
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_opening = threading.Lock()  # Pillow's pixel limit is one variable of its module


class PhotoError(ValueError):
    """A file that can't be read as a photo; the message is one sentence that names it."""


@dataclass(frozen=True)
class Photo:
    """An upright photo: `rgb` uint8 (H, W, 3), `alpha` uint8 (H, W) if the file was transparent somewhere.

    `icc` is the RGB colour profile of `rgb`, `exif` (without the orientation) and `xmp` the file's metadata,
    `dpi` its dots per inch (across, down), `frames` the number of pictures in it.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    frames: int = 1


def read(path, max_pixels: int = MAX_PIXELS, convert=None) -> Photo:
    """The photo in the file `path`, by ``convert(image)`` of the Pillow image (None: `from_pil`).

    Raises PhotoError, with one sentence, for a file that is no photo.
    """
    path = Path(path)
    try:
        if not path.is_file() and path.exists():  # neither opened, where a pipe would wait for a writer
            raise PhotoError(f"{path} can't be read: it is {_no_file(path)}.")
        if path.stat().st_size == 0:
            raise PhotoError(f"{path} is empty (0 bytes).")
        with _open(path) as image:
            if image.width * image.height > max_pixels:
                raise PhotoError(
                    f"{path} has {image.width} x {image.height} pixels, more than"
                    f" {max_pixels / 1e6:g} megapixels: shrink it, or raise --max-pixels."
                )
            return (convert or from_pil)(image)
    except PhotoError:
        raise
    except FileNotFoundError:
        nowhere = "is a link that leads nowhere" if path.is_symlink() else "does not exist"
        raise PhotoError(f"{path} {nowhere}.") from None
    except UnidentifiedImageError:
        raise PhotoError(f"{path} is not an image that Pillow can read.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises on torn files
        raise PhotoError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}.") from None


def _no_file(path: Path) -> str:
    """Description of what `path` is instead of a file; OSError for a folder that can't be listed."""
    if not path.is_dir():
        return "a pipe or a device"
    next(os.scandir(path), None)
    return f"a {'link to a ' * path.is_symlink()}directory: name it as an input of its own"


def _open(path: Path) -> Image.Image:
    """`Image.open` without Pillow's own limit, which lies below ours and would refuse with other words."""
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def from_pil(image: Image.Image) -> Photo:
    """The photo in a Pillow image: the first of its frames, pages, or what it calls them."""
    frames = _frames(image)
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)  # which copies, and 20 megapixels are 80 MB
    exif, info = image.getexif(), image.info
    profile = info.get("icc_profile") or b""
    space = profile[16:20]  # ICC.1:2022, 7.2.8: the colour space of the data
    alpha = None
    if image.mode == "F":
        raise ValueError("its pixels are fractions whose white nobody states: save it with 8 or 16 bits")
    if image.mode in _SIXTEEN_BIT:
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.array(image.getchannel("A"))
    elif (image.mode, space) in (("CMYK", b"CMYK"), ("L", b"GRAY")):
        image = _to_srgb(image, profile)
    rgb = np.array(image if image.mode == "RGB" else image.convert("RGB"))  # a copy: writeable, file closed
    return Photo(
        rgb,
        alpha if alpha is not None and alpha.min() < 255 else None,
        profile if space == b"RGB " else None,
        exif.tobytes() if len(exif) else None,
        info.get("xmp"),
        info.get("dpi"),
        frames,
    )


def _frames(image: Image.Image) -> int:
    """Number of pictures in a file, without what a camera adds to its JPEG (previews, depth)."""
    try:
        return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except (OSError, SyntaxError, ValueError, EOFError):  # torn behind the first, which may be whole
        return 1


def _eight_bits(values: np.ndarray) -> np.ndarray:
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its pixels run from {values.min()} to {values.max()}, but 16 bits end at 65535")
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)  # rounded


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # a damaged profile: Pillow's plain conversion is what viewers do
        return image.convert("RGB")


def as_photo(image) -> Photo:
    """A Photo from a Photo, a path, a Pillow image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4)."""
    if isinstance(image, Photo):
        return image
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, str | Path):
        return read(image)
    image = np.asarray(image)
    grey_or_colour = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
    if image.dtype != np.uint8 or not grey_or_colour or not image.size:
        raise PhotoError(f"A photo is a uint8 array (H, W, 3), not {image.dtype} {image.shape}.")
    return from_pil(Image.fromarray(image))


def read_mask(path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """A mask in the file `path` as uint8 (H, W), 255 where opaque: its alpha if it has one, else its grey.

    So both a corrected matte and a corrected cut-out are masks; values 0 and 1 are read as 0 and 255. Raises
    PhotoError as `read` does, and for a mask that is not empty and nowhere as opaque as a half.
    """
    return read(path, max_pixels, _mask)


def _mask(image: Image.Image) -> np.ndarray:
    if image.mode in _SIXTEEN_BIT and np.asarray(image).max() == 1:
        image = Image.fromarray(np.asarray(image) > 0)
    photo = from_pil(image)
    mask = np.array(Image.fromarray(photo.rgb).convert("L")) if photo.alpha is None else photo.alpha
    highest = mask.max()
    if 1 < highest < 128:
        raise ValueError(f"its greatest value is {highest}, and a mask has 255 where the photo stays")
    return mask * np.uint8(255) if highest == 1 else mask


def check_format(format: str) -> str:
    """`format` if pictures can be written in it, else a ValueError."""
    check_name(format, FORMATS, "format")
    if format == "avif" and not features.check("avif"):
        raise ValueError(
            f"Pillow {PIL.__version__} writes no AVIF here: pip install --upgrade pillow (11.3 or later),"
            " or choose webp."
        )
    return format


def write(path, pixels: np.ndarray, format: str, photo: Photo | None = None, strip: bool = False) -> None:
    """Write uint8 pixels (H, W), (H, W, 3) or (H, W, 4) to `path`, atomically.

    The colour profile and, unless `strip`, the other metadata of `photo` are written with them.
    """
    kind, options = FORMATS[format]
    if photo and photo.icc:
        options = options | {"icc_profile": photo.icc}
    if photo and not strip:
        options = options | _said(photo, pixels.shape[1], pixels.shape[0], format)
    with files.atomic_write(path) as part:
        Image.fromarray(pixels).save(part, kind, **options)


def _said(photo: Photo, width: int, height: int, format: str) -> dict:
    """Pillow's options for the metadata of `photo`; the size in EXIF is corrected to this one."""
    said = {"dpi": photo.dpi} if photo.dpi else {}
    if photo.exif:
        exif = Image.Exif()
        exif.load(photo.exif)
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        sizes = {ExifTags.Base.ExifImageWidth: width, ExifTags.Base.ExifImageHeight: height}
        inner.update({tag: size for tag, size in sizes.items() if tag in inner})
        said["exif"] = exif.tobytes()
    if photo.xmp and format == "png":
        said["pnginfo"] = PngInfo()
        said["pnginfo"].add_itxt("XML:com.adobe.xmp", photo.xmp.decode("utf-8", "replace"))
    elif photo.xmp:
        said["xmp"] = photo.xmp
    return said
