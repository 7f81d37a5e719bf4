"""Answers of one version of the code, as hashes: run in two worktrees, then compare.

    python -m tools.golden OUT.json HOME [CCP]        # HOME: a scratch folder with raw/sample

Everything in fp32. Label maps and hard cut-outs of 20 drawn photos and 20 of Clothing Co-Parsing by the shipped
model; `prepare`'s label maps and splits; one epoch of each of the paper's four at scale mini: weights, and the
confusion matrix of the validation split.
"""

import hashlib
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def main():
    out, home, ccp = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None
    os.environ["FASHION_HOME"] = str(home)

    def first(*names):
        """The first of some modules or `module:attribute`s that exists: names changed between versions."""
        for name in names:
            module, _, attribute = name.partition(":")
            try:
                found = importlib.import_module(module)
                return getattr(found, attribute) if attribute else found
            except (ImportError, AttributeError):
                continue
        raise ImportError(names)

    import torch  # noqa: E402

    torch.cpu._is_avx512_bf16_supported = lambda: False  # "auto" is fp32 then

    models = first("fashionlib.models")
    cutout = first("fashionlib.cutout")
    prepare = first("fashionlib.data.prepare:prepare", "fashionlib.prepare:prepare")
    train = first("fashionlib.train")
    Split = first("fashionlib.evaluate.split:Split")
    Scorer = first("fashionlib.evaluate.score:Scorer")
    convert = first("fashionlib.data.sources.ccp:convert", "fashionlib.sources.ccp:convert")

    def digest(*blobs) -> str:
        h = hashlib.sha256()
        for blob in blobs:
            h.update(blob)
        return h.hexdigest()[:16]

    found = {}
    for data, source in (("sample", None), ("ccp", ccp)):
        raw = home / "raw" / data
        if source and not (raw / "train.csv").is_file():
            convert(source, raw)
        if not (raw / "train.csv").is_file():
            continue
        prepared = home / "data" / data
        prepare(
            raw, prepared, stratify=True, progress=False, **({"class_set": "person"} if data == "ccp" else {})
        )
        for kind in ("labels", "splits"):
            files = sorted((prepared / kind).iterdir())
            decoded = [
                np.asarray(Image.open(f)).tobytes() if kind == "labels" else f.read_bytes() for f in files
            ]
            found[f"{data} {kind} ({len(files)})"] = digest(*decoded)
        model = cutout.load_model()
        names = sorted((prepared / "images").iterdir())[::17][:20]
        for name in names:
            rgb = np.asarray(Image.open(name).convert("RGB"))
            found[f"{data} label map {name.stem}"] = digest(models.predict(model, rgb).tobytes())
            found[f"{data} cut-out {name.stem}"] = digest(cutout.remove_background(rgb, model).tobytes())
        print(data, "done", flush=True)

    for name, batch, lr in (
        ("segmenter_vit_t", 8, 3e-4),
        ("segmenter_vit_b", 8, 3e-4),
        ("setr_mla", 4, 1e-3),
        ("setr_pup", 4, 1e-3),
    ):
        recipe = train.Recipe.from_preset(
            "quick",
            model=name,
            data="sample",
            scale="mini",
            epochs=1,
            batch=batch,
            lr=lr,
            precision="fp32",
            variant="golden",
        )
        folder = train.train(recipe, home=home, progress=False)
        epoch = folder / "epoch_1.safetensors"
        from safetensors.torch import load_file

        weights = load_file(epoch)
        found[f"{name} weights"] = digest(*(weights[k].numpy().tobytes() for k in sorted(weights)))

        class Bar:
            def update(self, n=1): ...

        found[f"{name} confusion"] = digest(
            Scorer(Split.read("sample", "val", home)).score(epoch, Bar()).cm.tobytes()
        )
        print(name, "done", flush=True)
    out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
