"""What one photo leaves inside a vision transformer: its tokens after each layer, and who attends to whom.

A head of an attention layer turns each token into a query q, a key k and a value v of d numbers. A token
takes the mean of all values, weighted by softmax(q kᵀ / √d) (Dosovitskiy et al., arXiv 2010.11929, appendix
A). The network never stores these weights (`fashionlib.models.fast`): torch's own attention computes them
again, with the layer's parameters, from what went into the layer.
"""

import fashionlib.core.engine  # noqa: F401  (first: it keeps the engine quiet)

# isort: split
import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmseg.models import EncoderDecoder
from torch import Tensor

from fashionlib.models import inference
from fashionlib.models.specs import patch_size
from fashionlib.models.two_stage import fitted_size


class Attention(NamedTuple):
    """An attention layer, and the tokens (L, C) that went into it."""

    layer: MultiheadAttention
    tokens: Tensor

    @torch.inference_mode()
    def weights(self, queries: Sequence[int]) -> np.ndarray:
        """Weights float32 (heads, queries, L): how much each of `queries` attends to every token."""
        keys = self.tokens
        return self.layer.attn(keys[list(queries)], keys, keys, average_attn_weights=False)[1].cpu().numpy()


class Inside(NamedTuple):
    """One photo in a ViT, seen in one piece.

    Attributes:
        photo: uint8 RGB (h, w, 3), at the size at which the model saw it.
        patch: side length of a patch in pixels.
        grid: rows and columns of patches.
        classes: names of the classes.
        logits: (C, h, w).
        tokens: for each layer of the encoder its output at the patches, float32 (rows * columns, channels).
        encoder: for each layer of the encoder its attention. Its tokens are a class token, if the encoder has
            one, and the patches.
        decoder: the same of Segmenter's mask decoder: the patches, then a token a class. Else empty.
    """

    photo: np.ndarray
    patch: int
    grid: tuple[int, int]
    classes: list[str]
    logits: Tensor
    tokens: list[np.ndarray]
    encoder: list[Attention]
    decoder: list[Attention]

    @property
    def label_map(self) -> np.ndarray:
        """Label map uint8 (h, w): for each pixel the class with the highest logit."""
        return self.logits.argmax(0).byte().cpu().numpy()

    def patch_at(self, across: float, down: float) -> int:
        """The patch, counted along the rows, at a place in fractions of the photo's width and height."""
        row, column = (min(int(f * n), n - 1) for f, n in zip((down, across), self.grid, strict=True))
        return row * self.grid[1] + column

    def patch_attention(self, layer: int, patch: int) -> np.ndarray:
        """Weights (heads, rows, columns) from `patch` to each patch, in a `layer` of the encoder."""
        first = len(self.encoder[layer].tokens) - math.prod(self.grid)
        return self.encoder[layer].weights([first + patch])[:, 0, first:].reshape(-1, *self.grid)

    def class_attention(self, layer: int, value: int) -> np.ndarray:
        """Weights (heads, rows, columns) from a class's token to each patch, in a `layer` of the decoder."""
        patches = math.prod(self.grid)
        weights = self.decoder[layer].weights([patches + value])
        return weights[:, 0, :patches].reshape(-1, *self.grid)

    def distance(self, layer: int) -> np.ndarray:
        """Mean distance in patches, weighted by attention, from a patch to all patches: a number a head.

        ViT's "attention distance" (arXiv 2010.11929, appendix D.7), in a `layer` of the encoder.
        """
        patches = math.prod(self.grid)
        first = len(self.encoder[layer].tokens) - patches
        weights = self.encoder[layer].weights(range(first, first + patches))[..., first:]
        return (np.einsum("hqk,qk->hq", weights, self.apart()) / weights.sum(2)).mean(1)

    def apart(self) -> np.ndarray:
        """Distance in patches between any two patches, (patches, patches)."""
        places = np.indices(self.grid).reshape(2, -1)
        return np.hypot(*(places[:, :, None] - places[:, None]))


def look(model: EncoderDecoder, photo: np.ndarray) -> Inside:
    """What `model`, a loaded ViT, makes of a uint8 RGB `photo` (H, W, 3) that fills its training crop.

    ValueError for a convolutional model.
    """
    metadata = model.metadata
    patch = patch_size(metadata["model"], metadata["scale"], metadata.get("patch"))
    if not patch:
        raise ValueError(f"{metadata['model']} is convolutional: it has no patches to show.")
    size = fitted_size(photo.shape[:2], metadata | dict(resize=sorted(metadata["crop"], reverse=True)))
    grid = tuple(math.ceil(side / patch) for side in size)
    layers, tokens, encoder, decoder = model.backbone.layers, [], [], []
    hooks = [layer.register_forward_hook(lambda *call: tokens.append(call[2][0])) for layer in layers]
    own = model.decode_head.layers if hasattr(model.decode_head, "cls_emb") else []
    for found, those in ((encoder, layers), (decoder, own)):
        hooks += [layer.attn.register_forward_pre_hook(_noting(found)) for layer in those]
    try:
        logits = inference.upsampled_logits(model, photo, "fp32", size)
    finally:
        for hook in hooks:
            hook.remove()
    seen = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA)
    patches = [each[-math.prod(grid) :].float().cpu().numpy() for each in tokens]
    return Inside(seen, patch, grid, metadata["classes"], logits, patches, encoder, decoder)


def class_vectors(model: EncoderDecoder) -> Tensor:
    """What a class is before any photo, (classes, channels): its embedding, or the classifier's weights."""
    head = model.decode_head
    return head.cls_emb[0] if hasattr(head, "cls_emb") else head.conv_seg.weight.flatten(1)


def _noting(found: list[Attention]):
    """A hook that appends an attention layer and what goes into it."""
    return lambda layer, inputs: found.append(Attention(layer, inputs[0][0]))
