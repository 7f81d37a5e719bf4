"""A checkpoint run by OpenVINO instead of torch: the network is an ONNX graph that lies beside it.

``<name>.onnx`` holds no weights but refers to those in ``<name>.safetensors``, byte for byte: one set of
weights ships, and a graph fits one file alone. `tools.cutout_model.graph` writes it. It takes a photo
uint8 RGB (1, H, W, 3) of whole patches and gives logits (1, C, ·, ·), normalisation included. Where the
second stage keeps some tokens only, it also takes which, and what stands for the others, and gives its joined
token maps (`detail.look`).
"""

import math
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from fashionlib.core.files import sha256
from fashionlib.core.processes import cores
from fashionlib.models import maps, two_stage
from fashionlib.models.metadata import WeightsError, read_metadata
from fashionlib.models.two_stage import Crop, cells, resampled

GROUP = 128  # activations; 64, 192 and 384 are slower


def path_of(checkpoint: str | Path) -> Path:
    """Where the graph of a checkpoint lies, if it has one."""
    return Path(checkpoint).with_suffix(".onnx")


class GraphModel:
    """The network of a checkpoint under OpenVINO, with the checkpoint's `metadata` and its file's `digest`.

    Args:
        checkpoint: a safetensors file with its graph beside it.
        threads: of the CPU; None: all that this process may use.
        precision: ``f32`` or ``bf16``; None: bf16 where the CPU multiplies in it, as torch does here.
        group: so many activations share a scale where layers whose weights are int8 multiply in int8, which
            OpenVINO does on CPUs with VNNI; 0: none do. None: GROUP, or 0 with a given precision.

    Raises FileNotFoundError for a missing file, and WeightsError where the two do not belong together.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        threads: int | None = None,
        precision: str | None = None,
        group: int | None = None,
    ):
        self.metadata, self.digest = read_metadata(checkpoint), sha256(checkpoint)
        graph = path_of(checkpoint)
        if self.digest.encode() not in graph.read_bytes():
            raise WeightsError(
                f"{graph} was not made from {checkpoint} as it is now: make it again with"
                f" `python -m tools.cutout_model graph {checkpoint}`, or choose the runtime torch."
            )
        core = _core()
        bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        settings = {
            "INFERENCE_PRECISION_HINT": precision or ("bf16" if bf16 else "f32"),
            "INFERENCE_NUM_THREADS": threads or cores(),
            "PERFORMANCE_HINT": "LATENCY",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": (0 if precision else GROUP) if group is None else group,
        }
        self._compiled = core.compile_model(core.read_model(graph), "CPU", settings)

    def look(self, image: np.ndarray, crop: Crop) -> list[np.ndarray]:
        """Logits float32 (C, ·, ·) of a crop of a photo uint8 RGB (H, W, 3); joined token maps, if any."""
        small = cv2.resize(crop.cut(image), crop.size[::-1], interpolation=cv2.INTER_LINEAR)
        fed = [np.ascontiguousarray(small)[None]]
        if two_stage.keeps_tokens(self.metadata):
            fed += self._tokens(crop, image.shape[:2])
        return [found.astype(np.float32).squeeze(0) for found in self._compiled(fed).values()]

    def _tokens(self, crop: Crop, shape: tuple[int, int]) -> list[np.ndarray]:
        """Tokens that the encoder sees, int64 (K,), and joined token maps (D, h, w) for the others."""
        grid = two_stage.patches(crop.size, self.metadata)
        if crop.kept is None:  # all
            depth = self._compiled.input(2).partial_shape[0].get_length()
            return [np.arange(math.prod(grid)), np.zeros((depth, *grid), np.float32)]
        return [crop.kept.patches, resampled(crop.kept.tokens, grid, *crop.places(shape))]

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """`fashionlib.models.probabilities` of a photo uint8 RGB (H, W, 3)."""
        shape, metadata = image.shape[:2], self.metadata
        crop = two_stage.whole_photo(shape, metadata)
        if metadata.get("closer"):
            first, *tokens = self.look(image, two_stage.first_look(shape, metadata))
            crop = two_stage.subject(first, shape, metadata, *tokens) or crop
        answer = _blend(crop, self.look(image, crop)[0], shape)
        finer = tuple(map(cells, crop.size, crop.cut(image).shape[:2], answer.shape[1:]))
        return maps.paste(maps.probabilities(answer, finer), crop, shape)


@cache
def _core():
    """OpenVINO itself, once in a process.

    Each of its CPU plugins puts a stack for signals in place of the one before, and puts that one back when
    it goes, though it may be gone: the next signal (a stop button's) would be a segmentation fault.
    """
    import openvino  # here: only a photo needs it

    return openvino.Core()


def _blend(crop: Crop, logits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`Crop.blend`, of arrays."""
    if crop.context is None:
        return logits
    first, weight, garments = crop.context
    now, before = logits[garments], resampled(first[garments], logits.shape[1:], *crop.places(shape))
    which = (1 - weight) * now + weight * before
    blended = logits.copy()
    blended[garments] = which + (_logsumexp(now) - _logsumexp(which))
    return blended


def _logsumexp(x: np.ndarray) -> np.ndarray:
    top = x.max(axis=0)
    return top + np.log(np.exp(x - top).sum(axis=0))  # a third of scipy's time
