"""Drawings of the networks, made from the built ones.

Shapes come from forward hooks, parameters from the modules. The networks are built on torch's device
``meta``, which has shapes but no numbers: half a second and no memory for a ViT-L.
"""

import math
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from mmcv.cnn import ConvModule
from mmseg.models.backbones.vit import PatchEmbed, TransformerEncoderLayer
from mmseg.models.utils import Upsample
from torch import nn

from fashionlib.core import paths
from fashionlib.models import patch_size
from fashionlib.models.network import network
from fashionlib.report import style
from fashionlib.report.captions import model_title

# modules that are drawn, and what they are called; what is inside them is not drawn
_DRAWN = {
    PatchEmbed: "patch embedding",
    nn.Dropout: "+ positions and class token",  # of the encoder: it follows the sum
    TransformerEncoderLayer: "transformer layer",
    nn.LayerNorm: "layer norm",
    nn.Linear: "linear layer",
    ConvModule: "convolution, norm, ReLU",
    nn.Conv2d: "convolution",
    Upsample: "bilinear enlargement",
}
_AT = {
    "conv_seg": "classes",
    "patch_proj": "patches",
    "classes_proj": "classes",
    "mask_norm": "patches · classes",
}
_PARTS = {"backbone": "encoder", "neck": "neck", "decode_head": "decode head"}
_FILL = dict(zip(_PARTS.values(), ("#b3d5e7", "#f8ddb4", "#b3e2d5"), strict=True))
_EDGE = dict(edgecolor="0.4", linewidth=0.6)


class Block(NamedTuple):
    """One box of a drawing: `times` modules of the same kind, each with this output and these parameters."""

    part: str  # photo, encoder, neck, decode head
    title: str
    shape: tuple[int, ...]  # of the output for one photo: (tokens, channels) or (channels, rows, columns)
    parameters: int = 0
    times: int = 1
    in_parallel: bool = False  # else one after the other

    @property
    def places(self) -> int:
        """Number of tokens, or of pixels."""
        return self.shape[0] if len(self.shape) == 2 else math.prod(self.shape[1:])


def blocks(name: str, scale: str = "full", num_classes: int = 28) -> list[Block]:
    """The blocks of a row of the table of models, as a crop meets them; auxiliary heads are left out.

    ValueError for a convolutional row.
    """
    if not patch_size(name, scale):
        raise ValueError(f"{name} is convolutional: only transformers are drawn.")
    on_cpu = partial(torch.linspace, device="cpu")  # MMSegmentation reads numbers from one while it builds
    with mock.patch.object(torch, "linspace", on_cpu), torch.device("meta"):
        model = network(name, num_classes, scale, None).eval()
        photo = torch.zeros(1, 3, *model.data_preprocessor.size)
    calls: list[tuple[str, nn.Module, torch.Tensor, torch.Tensor]] = []
    drawn: list[str] = []
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in drawn)
        if type(module) in _DRAWN and not inside and not path.startswith("auxiliary"):
            drawn.append(path)
            module.register_forward_hook(partial(_note, calls, path))
    with torch.no_grad():
        logits = model.encode_decode(photo, [dict(img_shape=photo.shape[2:])])
    groups: dict[tuple, list] = {}
    for call in calls:  # 12 layers are one group, also the same step of four branches
        groups.setdefault((re.sub(r"\d+", "*", call[0], count=1), call[3].shape), []).append(call)
    found = [Block("photo", "crop of the photo", tuple(photo.shape[1:]))]
    for same in groups.values():
        found += _folded(same, model)
    if found[-1].places != logits[0, 0].numel():
        found.append(Block("decode head", "bilinear enlargement", tuple(logits.shape[1:])))
    return found


def shapes(model: nn.Module, crop: torch.Tensor) -> pd.DataFrame:
    """Shapes on the way of one normalised crop, (1, 3, H, W), through a built model: a row a station.

    Tokens are those of the last transformer layer; a convolutional model has none.
    """
    tokens: list[torch.Tensor] = []
    layers = [module for module in model.backbone.modules() if isinstance(module, TransformerEncoderLayer)]
    hooks = [layer.register_forward_hook(lambda *call: tokens.append(call[2])) for layer in layers[-1:]]
    try:
        with torch.no_grad():
            features = model.extract_feat(crop)
            masks = model.decode_head(features)
    finally:
        for hook in hooks:
            hook.remove()
    maps = " and ".join(dict.fromkeys(_times(each.shape[1:]) for each in features))
    rows = [("crop", _times(crop.shape[1:]), "three colours of each pixel")]
    rows += [("tokens", _times(each.shape[1:]), "a list of numbers for each patch") for each in tokens]
    maps = maps if len(features) == 1 else f"{len(features)} of {maps}"
    rows += [
        ("features", maps, "what the encoder hands on: channels of a coarse picture"),
        ("class masks", _times(masks.shape[1:]), "a score of each class at each place of that picture"),
        ("logits", _times((masks.shape[1], *crop.shape[2:])), "the masks, enlarged to the crop's pixels"),
        ("label map", _times(crop.shape[2:]), "the class with the highest logit of each pixel"),
    ]
    return pd.DataFrame(rows, columns=["", "shape", "what it is"]).set_index("")


def _times(shape) -> str:
    return " × ".join(f"{n:,}" for n in shape)


def _note(calls: list, path: str, module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
    """Forward hook; the patch embedding also returns its number of rows and columns."""
    calls.append((path, module, inputs[0], output[0] if isinstance(output, tuple) else output))


def _folded(same: list[tuple], model: nn.Module) -> list[Block]:
    """The block of a group of calls; before it, what the model adds to its input."""
    path, module, given, made = same[0]
    part, _, rest = path.partition(".")
    title = _DRAWN[type(module)]
    if kernel := getattr(getattr(module, "conv", module), "kernel_size", None):
        title = f"{kernel[0]} × {kernel[1]} {title}"
    title = ": ".join([*(_AT[key] for key in [rest] if key in _AT), title])
    parameters = sum(p.numel() for p in module.parameters())
    before = []
    if rest == "drop_after_pos":
        parameters = model.backbone.pos_embed.numel() + model.backbone.cls_token.numel()
    if path == "decode_head.layers.0":
        tokens = model.decode_head.cls_emb
        before = [Block(_PARTS[part], "+ class tokens", tuple(given.shape[1:]), tokens.numel())]
    if path == "backbone.layers.0" and model.with_neck:
        title += f"; outputs {', '.join(str(i + 1) for i in model.backbone.out_indices)}"
    parallel = len(same) > 1 and same[1][2] is not made
    return [*before, Block(_PARTS[part], title, tuple(made.shape[1:]), parameters, len(same), parallel)]


def fig1_segmenter(data: str, home: str | Path | None = None) -> Figure:
    """The paper's figure 1 from the built networks: ViT-T under Segmenter's two decode heads."""
    names = ("segmenter_vit_t", "segmenter_vit_t_linear")
    mask = blocks(names[0])
    tokens, classes = mask[-2].shape
    message = f"Segmenter asks each of {tokens:,} patches how well it fits each of {classes} class tokens."
    return _save(_drawn({name: blocks(name) for name in names}), "fig1_segmenter", message, data, home)


def fig2_setr(data: str, home: str | Path | None = None) -> Figure:
    """The paper's figure 2 from the built network: SETR's ViT-L under its simplest decode head."""
    found = blocks("setr_naive")
    share = _parameters([block for block in found if block.part == "encoder"]) / _parameters(found)
    message = f"SETR is its encoder: {100 * share:.1f} % of the parameters."
    return _save(_drawn({"setr_naive": found}), "fig2_setr", message, data, home)


def fig3_decoders(data: str, home: str | Path | None = None) -> Figure:
    """The paper's figure 3 from the built networks: SETR's PUP and MLA above the encoder's layers."""
    found = {name: blocks(name) for name in ("setr_pup", "setr_mla")}
    pup = sum(block.title == _DRAWN[Upsample] for block in found["setr_pup"])
    maps = max(block.times for block in found["setr_mla"] if block.in_parallel)
    message = f"PUP enlarges one map in {pup} steps; MLA joins maps from {maps} depths."
    return _save(_drawn(found, skip=3), "fig3_decoders", message, data, home)


def _parameters(found: list[Block]) -> int:
    return sum(block.parameters * block.times for block in found)


def _drawn(models: dict[str, list[Block]], skip: int = 0) -> Figure:
    """Blocks as boxes from top to bottom, a column a model, without the first `skip` of each."""
    rows = max(map(len, models.values())) - skip
    width = style.PAGE if len(models) > 1 else style.COLUMN
    figure, axes = style.panels(width, 0.32 * rows + 0.5, 1, len(models))
    for axis, (name, found) in zip(axes[0], models.items(), strict=True):
        axis.set(xlim=(-0.52, 0.52), ylim=(rows, 0))
        axis.axis("off")
        total = sum(block.parameters * block.times for block in found) / 1e6
        axis.set_title(f"{model_title(name)}, {total:.1f} M parameters", pad=2)
        for row, block in enumerate(found[skip:]):
            _box(axis, block, row)
    parts = {block.part for found in models.values() for block in found[skip:]}
    fills = {part: fill for part, fill in _FILL.items() if part in parts} | {"no parameters": "white"}
    patches = [Patch(facecolor=fill, label=name, **_EDGE) for name, fill in fills.items()]
    figure.legend(handles=patches, loc="outside upper center", ncols=4, fontsize=6, handlelength=1)
    return figure


def _box(axis: Axes, block: Block, row: int) -> None:
    """One block: its title, its output's shape and its parameters."""
    width = 0.58 + 0.042 * min(10, max(0, math.log2(block.places) - 8))  # 512 x 512 pixels fill the column
    fill = _FILL[block.part] if block.parameters else "white"
    for shift in (0.02, 0.01, 0) if block.in_parallel else (0,):
        place = (shift - width / 2, row + 0.1 - 5 * shift)
        axis.add_patch(Rectangle(place, width, 0.76, facecolor=fill, **_EDGE))
    if row and block.title != "classes: linear layer":  # that one stands beside the box above
        looks = dict(arrowstyle="-|>", color="0.4", linewidth=0.6, mutation_scale=4, shrinkA=0, shrinkB=0)
        axis.annotate("", (0, row + 0.1), (0, row - 0.14), arrowprops=looks)
    shape = _times(block.shape)
    shape = shape.replace(" ×", " tokens ×", 1) if len(block.shape) == 2 else shape
    if block.parameters:
        millions = block.parameters / 1e6
        shape += f"  ·  {millions:.3g} M" if millions >= 0.1 else f"  ·  {block.parameters:,}"
    axis.text(0, row + 0.33, block.title, ha="center", va="center", fontsize=6)
    axis.text(0, row + 0.65, shape, ha="center", va="center", fontsize=5.5, color="0.25")
    if block.times > 1:
        times = f"{block.times} in\nparallel" if block.in_parallel else f"{block.times} ×"
        axis.text(-width / 2 - 0.02, row + 0.48, times, ha="right", va="center", fontsize=6)


def _save(figure: Figure, name: str, message: str, data: str, home: str | Path | None) -> Figure:
    text = "In each box: the shape of its output for one crop, as channels × rows × columns or tokens × "
    text += (
        "channels, and its parameters, of one where there are several. The wider a box, the more pixels or "
    )
    text += "tokens. The auxiliary heads, which only training uses, are left out."
    return style.save(figure, name, paths.figures_folder(data, home), text, message)
