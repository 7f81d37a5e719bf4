"""A checkpoint run by OpenVINO instead of torch: the network is an ONNX graph that lies beside it.

``<name>.onnx`` holds no weights but refers to those in ``<name>.safetensors``, byte for byte: one set of
weights ships, and a graph fits one file alone. `tools.cutout_model.graph` writes it. It takes photos
uint8 RGB (N, H, W, 3) of whole patches and gives logits (N, C, ·, ·), normalisation included.
"""

from pathlib import Path

import cv2
import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from fashionlib.core.files import sha256
from fashionlib.core.processes import cores
from fashionlib.models import maps, two_stage
from fashionlib.models.metadata import WeightsError, read_metadata
from fashionlib.models.two_stage import Crop, cells, fitted_size


def path_of(checkpoint: str | Path) -> Path:
    """Where the graph of a checkpoint lies, if it has one."""
    return Path(checkpoint).with_suffix(".onnx")


class GraphModel:
    """The network of a checkpoint under OpenVINO, with the checkpoint's `metadata` and its file's `digest`.

    Args:
        checkpoint: a safetensors file with its graph beside it.
        threads: of the CPU; None: all that this process may use.
        precision: ``f32`` or ``bf16``; None: bf16 where the CPU multiplies in it, as torch does here.

    Raises FileNotFoundError for a missing file, and WeightsError where the two do not belong together.
    """

    def __init__(self, checkpoint: str | Path, threads: int | None = None, precision: str | None = None):
        import openvino  # here: only a photo needs it

        self.metadata, self.digest = read_metadata(checkpoint), sha256(checkpoint)
        graph = path_of(checkpoint)
        if self.digest.encode() not in graph.read_bytes():
            raise WeightsError(
                f"{graph} was not made from {checkpoint} as it is now: make it again with"
                f" `python -m tools.cutout_model graph {checkpoint}`, or choose the runtime torch."
            )
        core = openvino.Core()
        bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        settings = {
            "INFERENCE_PRECISION_HINT": precision or ("bf16" if bf16 else "f32"),
            "INFERENCE_NUM_THREADS": threads or cores(),
            "PERFORMANCE_HINT": "LATENCY",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # as exact as the precision: activations stay unquantised
        }
        self._compiled = core.compile_model(core.read_model(graph), "CPU", settings)

    def logits(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Logits float32 (C, ·, ·) of a photo uint8 RGB (H, W, 3) that the network sees at `size` (h, w)."""
        small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        return self._compiled([np.ascontiguousarray(small)[None]])[0][0].astype(np.float32)

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """`fashionlib.models.probabilities` of a photo uint8 RGB (H, W, 3)."""
        shape, metadata = image.shape[:2], self.metadata
        crop = two_stage.whole_photo(shape, metadata)
        if closer := metadata.get("closer"):
            first = self.logits(image, fitted_size(shape, metadata | {"resize": closer["first"]}))
            crop = two_stage.subject(first, shape, metadata) or crop
        part = crop.cut(image)
        answer = _blend(crop, self.logits(part, crop.size), shape)
        finer = tuple(map(cells, crop.size, part.shape[:2], answer.shape[1:]))
        return maps.paste(softmax(_resized(answer, finer), axis=0), crop, shape)


def _blend(crop: Crop, logits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`Crop.blend`, of arrays."""
    if crop.context is None:
        return logits
    first, weight, garments = crop.context
    sides = zip((crop.rows, crop.columns), shape, strict=True)
    places = [(part.start / side, part.stop / side) for part, side in sides]
    now, before = logits[garments], _resized(first[garments], logits.shape[1:], *places)
    which = (1 - weight) * log_softmax(now, axis=0) + weight * log_softmax(before, axis=0)
    blended = logits.copy()
    blended[garments] = log_softmax(which, axis=0) + logsumexp(now, axis=0)
    return blended


def _resized(whole: np.ndarray, size: tuple[int, int], rows=(0, 1), columns=(0, 1)) -> np.ndarray:
    """Maps (C, ·, ·) bilinearly at `size` (h, w), or a part of them: `rows` and `columns` are shares."""
    down, across = (_bilinear(*one) for one in zip(whole.shape[1:], size, (rows, columns), strict=True))
    return down @ whole @ across.T


def _bilinear(own: int, wanted: int, part: tuple[float, float]) -> np.ndarray:
    """The matrix float32 (wanted, own) of linear interpolation between centres of pixels, along a side."""
    first, end = part
    at = (first + (end - first) * (np.arange(wanted) + 0.5) / wanted) * own - 0.5
    at = at.clip(0, own - 1)[:, None]
    return (1 - np.abs(at - np.arange(own))).clip(0).astype(np.float32)
