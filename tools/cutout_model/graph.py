"""The ONNX graph beside a checkpoint, whose weights stay where they are (`fashionlib.models.graph`).

The checkpoint stores most weights as int8 with a scale for each output channel. The graph refers to them as
ONNX's external data, by their place in the safetensors file, and begins by multiplying them out as
`weight_files.unpacked` does, so it computes with the checkpoint's own weights.
"""

import io
import json
import struct
import warnings
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from fashionlib import models
from fashionlib.core.files import atomic_write, sha256
from fashionlib.export import OPSET
from fashionlib.models import detail, two_stage
from fashionlib.models.graph import path_of
from fashionlib.models.weight_files import SCALE

_KINDS = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "I8": TensorProto.INT8}


class _Network(nn.Module):
    """A photo uint8 (1, H, W, 3) -> logits (1, C, ·, ·); parameters have the checkpoint's names.

    With tokens that are kept and stand around them: also joined token maps (1, D, h, w) (`detail.look`).
    """

    def __init__(self, model) -> None:
        super().__init__()
        self.backbone, self.decode_head = model.backbone, model.decode_head
        self.mean, self.std = (torch.tensor(model.metadata[name]) for name in ("mean", "std"))

    def forward(self, photos: Tensor, *kept: Tensor) -> Tensor | list[Tensor]:
        x = ((photos.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        if not kept:
            return self.decode_head(self.backbone(x))
        return [found[None] for found in detail.look(self.backbone, self.decode_head, x, *kept)]


def write(checkpoint: Path) -> Path:
    """Write the graph beside a checkpoint of ours; returns its path.

    Raises ValueError for a model that is tested with sliding windows.
    """
    model = models.load(checkpoint)
    if model.test_cfg.mode != "whole":
        raise ValueError(f"{checkpoint} is tested with sliding windows: a graph sees a photo in one piece.")
    graph = _traced(model)
    places, facts, nodes = _header(checkpoint), [], []
    for name in [tensor.name for tensor in graph.graph.initializer]:
        own, made = _unpacking(name, places, checkpoint.name)
        facts, nodes = facts + own, nodes + made
    nodes += graph.graph.node
    for field, content in ((graph.graph.initializer, facts), (graph.graph.node, nodes)):
        kept = list(content)
        del field[:]
        field.extend(kept)
    helper.set_model_props(graph, {"producer": "fashionlib", "weights": sha256(checkpoint)})
    with atomic_write(path_of(checkpoint)) as part:
        onnx.save(graph, part)
    return path_of(checkpoint)


def _traced(model) -> onnx.ModelProto:
    """The network's graph, for photos of whole patches; initializers have the state dict's names."""
    patch = models.patch_size(
        *(model.metadata[key] for key in ("model", "scale")), model.metadata.get("patch")
    )
    fed, file = {"photos": torch.zeros(1, 4 * patch, 3 * patch, 3, dtype=torch.uint8)}, io.BytesIO()
    free = {"photos": {1: "h", 2: "w"}, "logits": {2: "rows", 3: "columns"}}
    if two_stage.keeps_tokens(model.metadata):
        depth = model.decode_head.tokens[0].out_channels
        fed |= {"kept": torch.arange(12), "around": torch.zeros(depth, 4, 3)}
        free |= {"kept": {0: "k"}, "around": {1: "down", 2: "across"}, "tokens": {2: "down", 3: "across"}}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # deprecation, and branches on sizes: positions are resampled always
        torch.onnx.export(
            _Network(model).eval(), tuple(fed.values()), file, dynamo=False, opset_version=OPSET,
            input_names=list(fed), output_names=[name for name in ("logits", "tokens") if name in free],
            do_constant_folding=False, dynamic_axes=free,
            training=torch.onnx.TrainingMode.PRESERVE,  # else batch norms are folded into other weights
        )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def _header(checkpoint: Path) -> dict[str, dict]:
    """Tensor name -> its kind, shape, and (offset, length) in the safetensors file."""
    with checkpoint.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    for entry in entries.values():
        first, end = entry["data_offsets"]
        entry["place"] = 8 + length + first, end - first
    return entries


def _unpacking(name: str, places: dict, file: str) -> tuple[list, list]:
    """(initializers, nodes) that give the float32 weight `name` from what `file` stores."""
    entry = places[name]
    if entry["dtype"] == "F32":
        return [_stored(name, entry, entry["shape"], file)], []
    stored, scale = f"{name}:stored", places.get(name + SCALE)
    facts = [_stored(stored, entry, entry["shape"], file)]
    if scale is None:
        return facts, [helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT)]
    shape = scale["shape"] + [1] * (len(entry["shape"]) - 1)  # along the output channels
    facts.append(_stored(name + SCALE, scale, shape, file))
    parts = [(stored, f"{name}:float"), (name + SCALE, f"{name}{SCALE}:float")]
    nodes = [helper.make_node("Cast", [a], [b], to=TensorProto.FLOAT) for a, b in parts]
    return facts, [*nodes, helper.make_node("Mul", [b for _, b in parts], [name])]


def _stored(name: str, entry: dict, shape: list[int], file: str) -> TensorProto:
    """An initializer whose bytes are those of a safetensors file beside the graph."""
    tensor = TensorProto(
        name=name, data_type=_KINDS[entry["dtype"]], dims=shape, data_location=TensorProto.EXTERNAL
    )
    for key, value in zip(("location", "offset", "length"), (file, *entry["place"]), strict=True):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
