"""Cache keys of pictures: hashes of everything they depend on, to tell which are up to date."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

from fashionlib.cutout.options import Options


def digest_of(model, options: Options) -> str:
    """Hash of the model (metadata and weights; None: no model) and of the options that change a picture."""
    changing = asdict(options) | {"max_pixels": None}
    metadata = model.metadata if model is not None else None
    digest = hashlib.sha256(json.dumps([metadata, changing], sort_keys=True, default=str).encode())
    if Path(options.background).is_file():
        digest.update(Path(options.background).read_bytes())
    for tensor in model.state_dict().values() if model is not None else ():
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def key_of(digest: str, *versions: str) -> str:
    """Key of a picture made from files of these `versions`."""
    return hashlib.sha256(" ".join([digest, *versions]).encode()).hexdigest()[:16]


def version_of(path: Path | None) -> str:
    """Size and time of a file's last change; empty where there is no file to be read."""
    try:
        return f"{path.stat().st_size} {path.stat().st_mtime_ns}" if path else ""
    except OSError:
        return ""
