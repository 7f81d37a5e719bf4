"""A prepared data set and run folders without any training, and a stand-in for `fashionlib.models`.

A photo's red channel is 8 times its label map, and a fake checkpoint is a text that says what share
of each photo's columns is predicted right (the others are called background): every score is known.
"""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
from PIL import Image

import fashionlib
from fashionlib.core.classes import CLASS_SETS

DATA, HEIGHT, WIDTH = "toy", 48, 40
NAMES = list(CLASS_SETS["person"])
SPLITS = {"train": 6, "val": 4, "test": 5}


def label_map(i: int) -> np.ndarray:
    """Background, a garment that changes from photo to photo, and skin; one ignored row."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[8:40, 8:32] = 1 + i % 5
    label[:8, 16:24] = NAMES.index("skin")
    label[-1] = 255
    return label


def make_data(home, fingerprint="abc") -> dict:
    """``data/toy`` with 15 photos; returns its dataset.json."""
    folder, photo = home / "data" / DATA, 0
    for name in ("images", "labels", "splits"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for split, count in SPLITS.items():
        ids = [f"{i:04}" for i in range(photo, photo + count)]
        for i in range(photo, photo + count):
            label = label_map(i)
            rgb = np.stack([np.where(label == 255, 0, label) * 8] * 3, axis=-1)
            Image.fromarray(rgb.astype(np.uint8)).save(
                folder / "images" / f"{i:04}.jpg", quality=100, subsampling=0
            )
            Image.fromarray(label).save(folder / "labels" / f"{i:04}.png")
        (folder / "splits" / f"{split}.txt").write_text("".join(f"{i}\n" for i in ids))
        photo += count
    counts = {"photos": 15, **SPLITS, "instances": 30, "per_class": {}}
    info = dict(
        data=DATA, class_set="person", classes=NAMES, fingerprint=fingerprint, counts=counts, options={}
    )
    (folder / "dataset.json").write_text(json.dumps(info))
    return info


def make_run(home, model="segmenter_vit_t", scale="mini", init="none", qualities=(0.3, 0.6, 0.5), **recipe):
    """``runs/toy/<run>`` with a fake checkpoint of each quality, and a history; returns the folder."""
    values = dict(model=model, data=DATA, preset="quick", scale=scale, init=init, variant="", photos=None)
    values |= dict(epochs=len(qualities), batch=2, seed=0, crop=[128, 128], accumulate=1) | recipe
    name = "-".join(filter(None, (model, scale, init, values["variant"])))
    folder = home / "runs" / DATA / name
    folder.mkdir(parents=True, exist_ok=True)
    command = f"papermill notebooks/03_train.ipynb -p model {model} -p data {DATA} -p preset quick"
    card = dict(recipe=values, classes=NAMES, fingerprint="abc", origin={}, command=command)
    card["versions"] = dict(python="3.11.2", torch="2.13.0", device="a processor, 2 threads")
    (folder / "recipe.json").write_text(json.dumps(card))
    for epoch, quality in enumerate(qualities, 1):
        set_quality(folder, epoch, quality)
    done = dict(epochs=len(qualities), finished="2026-11-23T16:00:00Z", last_session_seconds=12.5)
    (folder / "done.json").write_text(json.dumps(done))
    history(len(qualities), seed=len(name)).to_csv(folder / "history.csv", index=False)
    return folder


def set_quality(folder, epoch: int, quality: float) -> None:
    """Write a fake checkpoint."""
    (folder / f"epoch_{epoch}.safetensors").write_text(str(quality))


def history(epochs: int, seed: int = 0, per_epoch: int = 400) -> pd.DataFrame:
    """A history that looks like one: loss falls, accuracy rises, both are noisy."""
    rng, n = np.random.default_rng(seed), epochs * per_epoch
    progress = np.linspace(0, 1, n)
    loss = (0.4 + 2.6 * np.exp(-(3 + seed % 4) * progress)) * rng.lognormal(0, 0.15, n)
    acc = 100 - 60 * np.exp(-(2 + seed % 3) * progress) - 5 + rng.normal(0, 4, n)
    columns = dict(
        epoch=1 + np.arange(n) // per_epoch, iter=1 + np.arange(n), loss=loss * (1 + 0.4 * (seed % 3))
    )
    columns |= dict(loss_decode=loss, acc=acc.clip(0, 100), lr=1e-3 * (1 - progress) ** 0.9, seconds=0.1)
    return pd.DataFrame(columns | dict(memory_mb=900))


def fake_models(monkeypatch) -> list:
    """Put a stand-in for `fashionlib.models` in place; returns the list of checkpoints it loads."""
    loaded = []

    def load(path, reuse=None):
        loaded.append(f"{path.parent.name}/{path.stem}")
        metadata = {"resize": [512, 128], "classes": NAMES}
        return SimpleNamespace(quality=float(path.read_text()), metadata=metadata, parameters=list)

    def read_metadata(path):
        report = dict(source="random values", note="drawn for a test")
        return dict(init_report=report, model="detail_vit_s", data="toy and more")

    def predict(model, image):
        pred = ((image[..., 0].astype(int) + 4) // 8).astype(np.uint8)
        pred[:, round(model.quality * WIDTH) :] = 0
        return pred

    module = ModuleType("fashionlib.models")
    module.load, module.predict, module.read_metadata = load, predict, read_metadata
    module.predict_batch = lambda model, images: [predict(model, image) for image in images]
    module.fitted_size = lambda size, metadata: size
    monkeypatch.setitem(sys.modules, "fashionlib.models", module)
    monkeypatch.setattr(fashionlib, "models", module, raising=False)
    return loaded
