"""Answers of one version of the code as hashes, to be compared with those of another.

    python -m tools.golden OUT.json HOME [CCP]

Run it in two worktrees with a HOME each (scratch folders with the same raw/sample), then compare the files.
Everything in fp32: label maps and splits of `prepare`; label maps and hard cut-outs of 20 drawn photos and 20
of Clothing Co-Parsing by the shipped model; one epoch of each of the paper's four at scale mini, its weights
and its confusion matrix on the validation split. (Names of before the rooms: see the commit before it.)
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from fashionlib import cutout, models, train
from fashionlib.data.prepare import prepare
from fashionlib.data.sources import ccp
from fashionlib.evaluate.score import Scorer
from fashionlib.evaluate.split import Split

MINIS = dict(segmenter_vit_t=(8, 3e-4), segmenter_vit_b=(8, 3e-4), setr_mla=(4, 1e-3), setr_pup=(4, 1e-3))


def digest(*parts: bytes) -> str:
    """The first 16 hex digits of a SHA-256."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def pictures(data: str, home: Path) -> dict[str, str]:
    """Label maps, splits, predictions and cut-outs of a raw data set."""
    folder, found = home / "data" / data, {}
    prepare(
        home / "raw" / data,
        folder,
        stratify=True,
        class_set="person" if data == "ccp" else "main",
        progress=False,
    )
    labels = sorted((folder / "labels").iterdir())
    found[f"{data} labels ({len(labels)})"] = digest(*(np.asarray(Image.open(f)).tobytes() for f in labels))
    found[f"{data} splits (3)"] = digest(*(f.read_bytes() for f in sorted((folder / "splits").iterdir())))
    model = cutout.load_model()
    for photo in sorted((folder / "images").iterdir())[::17][:20]:
        rgb = np.asarray(Image.open(photo).convert("RGB"))
        found[f"{data} label map {photo.stem}"] = digest(models.predict(model, rgb).tobytes())
        found[f"{data} cut-out {photo.stem}"] = digest(cutout.remove_background(rgb, model).tobytes())
    return found


def epoch(name: str, home: Path) -> dict[str, str]:
    """Weights and validation counts of one epoch of a model on the sample."""
    batch, lr = MINIS[name]
    given = dict(scale="mini", epochs=1, batch=batch, lr=lr, precision="fp32", variant="golden")
    recipe = train.Recipe.from_preset("quick", model=name, data="sample", **given)
    file = train.train(recipe, home=home, progress=False) / "epoch_1.safetensors"
    weights = load_file(file)
    bar = SimpleNamespace(update=lambda n: None)
    counts = Scorer(Split.read("sample", "val", home)).score(file, bar)
    return {
        f"{name} weights": digest(*(weights[key].numpy().tobytes() for key in sorted(weights))),
        f"{name} confusion": digest(counts.cm.tobytes()),
    }


def main() -> None:
    """Write the hashes."""
    out, home = Path(sys.argv[1]), Path(sys.argv[2])
    os.environ["FASHION_HOME"] = str(home)
    torch.cpu._is_avx512_bf16_supported = lambda: False  # "auto" is fp32 then
    if len(sys.argv) > 3 and not (home / "raw/ccp").exists():
        ccp.convert(sys.argv[3], home / "raw/ccp")
    found = {}
    for data in ("sample", "ccp"):
        found |= pictures(data, home) if (home / "raw" / data).exists() else {}
    for name in MINIS:
        found |= epoch(name, home)
    out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
