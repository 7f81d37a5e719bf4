"""Export of a checkpoint to an ONNX graph that runs without fashionlib, checked against its model.

The graph takes decoded photos, uint8 RGB (N, H, W, 3), and gives class logits, float32 (N, C, H, W):
normalisation is part of it. H and W are fixed, because a ViT's position embedding is resized to them once,
while exporting; N is free. A model tested with sliding windows is exported for one window; laying windows
over a larger photo is left to the caller.
"""

import fashionlib.core.engine  # noqa: F401  (first: it keeps the engine quiet)

# isort: split
import importlib.util
import json
import warnings
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from mmseg.models import EncoderDecoder
from torch import Tensor, nn

from fashionlib import models
from fashionlib.core.files import atomic_write
from fashionlib.core.outputs import claim_file

OPSET = 17  # the first with layer normalisation as one operator
STRIDE = 16  # sides of the convolutional rows' inputs are multiples of it
TOLERANCE = 1e-3  # largest difference of logits, as a share of their standard deviation
_PRODUCER = "producer", "fashionlib"  # stands in the metadata of every graph
_FIELDS = ("model", "scale", "classes", "mean", "std", "resize", "test_cfg")
_FIELDS += ("run", "epoch", "data", "class_set")  # where known
_INSTALL = "pip install -c constraints.txt -e '.[onnx]'"


class Exported(NamedTuple):
    """The graph's file, and the distance of onnxruntime's logits from torch's."""

    path: Path
    size: tuple[int, int]  # (H, W) that the graph takes
    difference: float  # the largest, of any logit
    spread: float  # standard deviation of the logits, the scale to read `difference` on


def export(
    model: EncoderDecoder | str | PathLike, out: str | Path, size: tuple[int, int] | None = None
) -> Exported:
    """Write an ONNX graph of preprocessing and network to `out`, whole or not at all.

    Args:
        model: one of ours in eval mode and fp32, a checkpoint's path, or a run's folder: then its
            picked epoch, or its last while none is picked.
        size: (H, W) in pixels, multiples of the patch. None: the checkpoint's own, that is its window,
            or for whole-image inference its crop at the size at which photos are tested.

    Raises:
        FileNotFoundError, ValueError: no such checkpoint; the extra ``[onnx]`` is missing; a size of
            broken patches; or onnxruntime's logits differ from torch's, and then nothing is written.
    """
    if not importlib.util.find_spec("onnxruntime"):
        raise ValueError(f"An exported graph is checked with onnxruntime, which is not installed: {_INSTALL}")
    given = [checkpoint(Path(model))] if isinstance(model, (str, PathLike)) else []
    claim_file(out, "an exported graph", given, _is_ours)
    if given:
        model = models.load(given[0])
    metadata = model.metadata
    size = tuple(size) if size else own_size(metadata)
    step = models.patch_size(models.spec_of(metadata), metadata["scale"], metadata.get("patch")) or STRIDE
    if any(side % step or side <= 0 for side in size):
        near = " ".join(str(max(step, round(side / step) * step)) for side in size)
        raise ValueError(f"Size {size[0]} x {size[1]} is not of whole patches of {step}: try {near}.")
    graph = _Graph(model, size)
    with atomic_write(out) as part:
        _trace(graph, part)
        _describe(part, metadata, size)
        difference, spread = _compare(graph, part)
        if difference > TOLERANCE * spread:
            raise ValueError(
                f"onnxruntime's logits differ from torch's by up to {difference:.2g} (they spread by"
                f" {spread:.2g}), so {out} was not written: try other versions of torch or onnxruntime."
            )
    return Exported(Path(out), size, difference, spread)


def own_size(metadata: dict) -> tuple[int, int]:
    """(H, W) that a checkpoint suggests: its window, or its crop scaled to the size of testing."""
    test = metadata["test_cfg"]
    if test["mode"] == "slide":
        return tuple(test["crop_size"])
    return models.fitted_size(metadata["crop"], metadata)


def _is_ours(path: Path) -> bool:
    """Whether `export` wrote the file."""
    import onnx

    try:
        facts = onnx.load(path, load_external_data=False).metadata_props
    except Exception:  # whatever else the file is, it is not ours
        return False
    return any((fact.key, fact.value) == _PRODUCER for fact in facts)


class _Graph(nn.Module):
    """Photos uint8 (N, H, W, 3) -> logits float32 (N, C, H, W), normalisation included."""

    def __init__(self, model: EncoderDecoder, size: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.size = model, size
        device = next(model.parameters()).device
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(model.metadata[name], device=device))

    def forward(self, photos: Tensor) -> Tensor:
        x = ((photos.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        return self.model.encode_decode(x, [dict(img_shape=self.size)])


def _trace(graph: _Graph, path: Path) -> None:
    """torch's older exporter: it needs no package besides onnx, and these networks have no branches."""
    photos = torch.zeros(1, *graph.size, 3, dtype=torch.uint8, device=graph.mean.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation, and sizes that become constants: they are to
        torch.onnx.export(
            graph.eval(),
            (photos,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=["photos"],
            output_names=["logits"],
            dynamic_axes={"photos": {0: "batch"}, "logits": {0: "batch"}},
        )


def _describe(path: Path, metadata: dict, size: tuple[int, int]) -> None:
    """Write what a user must know into the graph's metadata; values that are not text as JSON."""
    import onnx

    init = metadata.get("init_report") or {}
    facts = {key: metadata[key] for key in _FIELDS if key in metadata} | dict(
        size=size,
        input="photos: uint8 RGB (N, H, W, 3); mean and std are applied inside the graph",
        output="logits: float32 (N, C, H, W); argmax over C is the label map",
        init="; ".join(filter(None, map(init.get, ("source", "licence", "note")))) or "not recorded",
        terms="Weights derive from the data and the initial weights named here: see THIRD_PARTY.md.",
    )
    facts = {key: fact if isinstance(fact, str) else json.dumps(fact) for key, fact in facts.items()}
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, facts | dict([_PRODUCER]))
    onnx.save(proto, path)


def _compare(graph: _Graph, path: Path) -> tuple[float, float]:
    """Largest difference of onnxruntime's logits from torch's on two photos of noise, and torch's spread."""
    photos = np.random.default_rng(0).integers(0, 256, (2, *graph.size, 3), np.uint8)
    with torch.inference_mode():
        ours = graph(torch.from_numpy(photos).to(graph.mean.device)).cpu().numpy()
    theirs = session(path).run(None, {"photos": photos})[0]
    return float(np.abs(ours - theirs).max()), float(ours.std())


def session(path: str | Path, threads: int = 0):
    """An onnxruntime session of an exported graph on the CPU; `threads` 0: all cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def checkpoint(path: Path) -> Path:
    """`path`, or of a run's folder the file of its picked epoch, or of its last while none is picked."""
    if not path.is_dir():
        return path
    files = {int(file.stem.removeprefix("epoch_")): file for file in path.glob("epoch_*.safetensors")}
    if not files:
        raise FileNotFoundError(f"No epoch_<n>.safetensors in {path}: give a run's folder or a checkpoint.")
    table = path.parent / "results" / "picked_epochs.csv"
    picked = pd.read_csv(table).set_index("run").epoch if table.is_file() else {}
    return files.get(picked.get(path.name), files[max(files)])
