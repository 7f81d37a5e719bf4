"""What cut-outs and figures both draw."""

import numpy as np


def checkerboard(rgba: np.ndarray, square: int = 16) -> np.ndarray:
    """A cut-out (H, W, 4) over a grey and white checkerboard; uint8 RGB (H, W, 3). `square` in pixels."""
    rows, columns = np.indices(rgba.shape[:2]) // square
    board = np.where((rows + columns) % 2, 255, 204)[..., None]
    alpha = rgba[..., 3:] / 255
    return (alpha * rgba[..., :3] + (1 - alpha) * board).round().astype(np.uint8)
