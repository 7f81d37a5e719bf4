"""Background removal without learning: the paper's classical baseline, and OpenCV's GrabCut.

Neither distinguishes classes: the same mask serves for the apparel and for the person.
"""

import cv2
import numpy as np

SIDES, ENDS = 0.20, 0.02  # GrabCut's box: margins as fractions of the width and of the height
ITERATIONS = 5
BORDER = 0.02  # width of the frame of presumed background, as a fraction of the shorter side


def grabcut(rgb: np.ndarray) -> np.ndarray:
    """Foreground mask by GrabCut from a central box, bool (H, W); `rgb` uint8 (H, W, 3).

    GrabCut (Rother, Kolmogorov, Blake, SIGGRAPH 2004) as in OpenCV, ITERATIONS rounds from the box alone. The
    margins are the best of four pairs on six training photos of Clothing Co-Parsing: one upright person in
    the middle.
    """
    height, width = rgb.shape[:2]
    x, y = round(SIDES * width), round(ENDS * height)
    mask = np.zeros((height, width), np.uint8)
    state = np.zeros((1, 65)), np.zeros((1, 65))  # OpenCV's two mixtures of Gaussians
    cv2.setRNGSeed(0)  # otherwise k-means is seeded by a counter, and the mask of a photo varies
    box = (x, y, width - 2 * x, height - 2 * y)
    cv2.grabCut(rgb, mask, box, *state, ITERATIONS, cv2.GC_INIT_WITH_RECT)
    return (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)


def threshold(rgb: np.ndarray) -> np.ndarray:
    """Foreground mask by colour distance from the border, bool (H, W); `rgb` uint8 (H, W, 3).

    The paper's classical baseline: Otsu's threshold on each pixel's distance, in RGB, to the border's median.
    """
    wide = max(1, round(BORDER * min(rgb.shape[:2])))
    frame = np.ones(rgb.shape[:2], bool)
    frame[wide:-wide, wide:-wide] = False
    distance = np.linalg.norm(rgb - np.median(rgb[frame], axis=0), axis=2)
    grey = np.round(255 * distance / max(distance.max(), 1)).astype(np.uint8)
    level, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
    return grey > level
