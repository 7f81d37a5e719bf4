"""Alpha at the edge of a cut-out, and the foreground's colour there.

hard     255 where the probability reaches 1/2, else 0
soft     that mask refined by a guided filter along the photo's own edges, in a band around its border
matting  closed-form matting in the band, slower: finer on hair and fur, worse on cloth
"""

import time
from importlib.util import find_spec

import cv2
import numpy as np

EDGES = ("hard", "soft", "matting")
BAND = 1 / 64  # half the band's width as a fraction of the shorter side, about half a patch of the model
GUIDE_PIXELS = 1_000_000  # size at which the filter is fitted
NOISE = 1e-4  # regularisation of filter and matting: less would follow what JPEG leaves of flat colours
GUIDE_CONTRAST = 3.0  # its output is too flat; this more than halves the error of alpha on composites
NEAR, STEP = 16, 15  # pixels up to which a disc dilates; levels of alpha beyond (of 255)
NEARNESS = 1e-4  # weight of the soft alpha as a prior of matting; the entries of the Laplacian are about 1
BLURS = 30, 6  # sides of blur fusion's boxes: the paper's 90 and 6 left a third more error
TILE, OVERLAP = 768, 48  # pixels: bounds the memory that one system of equations takes
SECONDS = 20.0  # processor time for the matting of one photo; the rest of its edge stays soft


def alpha_of(rgb: np.ndarray, p: np.ndarray, edge: str) -> tuple[np.ndarray, str]:
    """Alpha uint8 (H, W) from probabilities float32 (H, W), and a note on any problem (else "")."""
    mask = p >= 0.5
    if edge == "hard" or mask.all() or not mask.any():
        return mask * np.uint8(255), ""
    alpha, note = _guided(rgb, mask), ""
    alpha *= GUIDE_CONTRAST  # around 1/2
    alpha += 0.5 - 0.5 * GUIDE_CONTRAST
    least = _least(mask)  # in place from here on: a map of floats takes more than the photo
    np.maximum(alpha, least, out=alpha)
    least += 1  # the greatest
    np.minimum(alpha, least, out=alpha)
    alpha.clip(0, 1, out=alpha)
    if edge == "matting":
        alpha, note = _matting(rgb, alpha, (least < 2) & (least > 0))
    del least
    alpha *= 255
    return np.round(alpha, out=alpha).astype(np.uint8), note


def _least(mask: np.ndarray) -> np.ndarray:
    """Lower bound d/r of alpha, float32 (H, W); the upper bound is 1 + d/r.

    d is the signed distance to the border of `mask` (inside > 0), r half the band's width. Alpha is thus
    unconstrained at the border, and 0 or 1 outside the band.
    """
    r = max(2.0, BAND * min(mask.shape))
    least = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    least -= cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    least /= np.float32(r)
    return least


def _guided(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`mask` as a locally linear function of the photo's colours: float32 (H, W).

    Guided filter with a colour guide (He, Sun, Tang, TPAMI 2013, section 3.3), fitted at a smaller size.
    """
    height, width = mask.shape
    factor = min(1.0, (GUIDE_PIXELS / mask.size) ** 0.5)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    guide = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255  # (h, w, 3)
    p = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    side = 2 * max(2, round(2 * BAND * min(size))) + 1

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, (side, side))

    products = (guide[..., None] * guide[..., None, :]).reshape(*p.shape, 9)
    mean_i, mean_p = mean(guide), mean(p)
    variance = mean(products).reshape(*p.shape, 3, 3) - mean_i[..., None] * mean_i[..., None, :]
    covariance = mean(guide * p[..., None]) - mean_i * mean_p[..., None]
    variance += NOISE * np.eye(3, dtype=np.float32)
    slope = np.linalg.solve(variance, covariance[..., None])[..., 0]
    offset = mean_p - (slope * mean_i).sum(axis=-1)
    alpha = cv2.resize(mean(offset), (width, height))
    for channel, factors in enumerate(cv2.split(mean(slope))):  # one at a time: big photos
        part = cv2.resize(factors / 255, (width, height))
        part *= rgb[..., channel]  # in place: a map of 20 megapixels takes 80 MB
        alpha += part
    return alpha


def _matting(rgb: np.ndarray, alpha: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, str]:
    """`alpha` float32 (H, W) refined by matting where `unknown` bool (H, W), and a note (else "").

    Closed-form matting (Levin, Lischinski, Weiss, CVPR 2006), tile by tile. Tiles that do not converge, or
    are unfinished after SECONDS, retain their alpha.
    """
    refined, begun, failed = alpha.copy(), time.process_time(), 0
    boxes = list(_tiles(unknown))
    for done, (box, inner) in enumerate(boxes):
        if time.process_time() - begun > SECONDS:
            left = f"{len(boxes) - done} of {len(boxes)} tiles"
            return refined, f"matting stopped after {SECONDS:g} s: the edge is soft in {left}"
        try:
            refined[box][inner] = _closed_form(rgb[box], alpha[box], unknown[box])[inner]
        except ValueError:  # pymatting's solver: no convergence
            failed += 1
    note = f"matting did not converge in {failed} of {len(boxes)} tiles: the edge is soft there"
    return refined, note if failed else ""


def _closed_form(rgb: np.ndarray, alpha: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Alpha (h, w) that follows the colours where `unknown`, near `alpha`, and equals `alpha` elsewhere."""
    from pymatting import cf_laplacian, cg, jacobi  # here: it compiles when it is first imported

    flat, unknown = alpha.ravel().astype(np.float64), unknown.ravel()
    laplacian = cf_laplacian(rgb / 255.0, NOISE, is_known=~unknown)[unknown]
    system = laplacian[:, unknown].tocsr()
    system.setdiag(system.diagonal() + NEARNESS)
    right = NEARNESS * flat[unknown] - laplacian[:, ~unknown] @ flat[~unknown]
    flat[unknown] = cg(system, right, x0=flat[unknown], M=jacobi(system), rtol=1e-4, maxiter=500)
    return flat.clip(0, 1).reshape(alpha.shape).astype(np.float32)


def dilate(alpha: np.ndarray, pixels: int) -> np.ndarray:
    """`alpha` dilated by `pixels`, or eroded where negative.

    Up to NEAR pixels this uses a disc; beyond, where discs are slow, the distance transform, which
    quantises a soft edge in steps of STEP.
    """
    if abs(pixels) <= NEAR:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(pixels) + 1,) * 2)
        return (cv2.dilate if pixels > 0 else cv2.erode)(alpha, disc) if pixels else alpha
    if pixels < 0:
        return 255 - dilate(255 - alpha, -pixels)
    wider = alpha.copy()
    for level in np.unique(alpha // STEP * STEP)[1:]:
        far = cv2.distanceTransform((alpha < level).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        np.maximum(wider, level, out=wider, where=far <= pixels)
    return wider


def estimate_foreground(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """RGBA uint8 (H, W, 4), straight alpha: the photo's own colours where opaque, black where transparent.

    In between, the foreground's colour is estimated (multi-level estimation, Germer et al., ICPR 2020, or
    blur fusion where PyMatting is not installed); otherwise the old background would leave a rim.
    """
    rgba = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2RGBA)
    rgba[..., 3] = alpha
    for box, inner in _tiles((alpha > 0) & (alpha < 255)):
        estimate = _foreground(rgb[box], alpha[box])[inner]
        mixed = (alpha[box][inner] > 0) & (alpha[box][inner] < 255)
        rgba[box][inner][mixed, :3] = estimate[mixed]
    rgba.view(np.uint32)[alpha == 0] = 0  # removed background is not stored
    return rgba


def _foreground(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    if has_matting():
        from pymatting import estimate_foreground_ml

        estimate = estimate_foreground_ml(rgb / 255.0, alpha / 255.0)
    else:
        estimate = _blur_fusion(np.float32(rgb) / 255, np.float32(alpha)[..., None] / 255)
    return np.round(estimate.clip(0, 1) * 255).astype(np.uint8)


def has_matting() -> bool:
    """Whether the extra ``[matting]`` is installed."""
    return find_spec("pymatting") is not None


def _blur_fusion(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The foreground's colours by blur fusion (Forte, "Approximate fast foreground colour estimation", 2021).

    Foreground and background are means of the colours around, weighted by alpha and by 1 - alpha; what the
    two do not explain is the foreground's. On composites of 24 photos of Clothing Co-Parsing with edges of
    1.5 pixels the error is 3.0 of 255, that of multi-level estimation 2.6 and of colours left alone 8.3, in
    a tenth of multi-level estimation's time.
    """
    foreground = background = image
    for side in BLURS:
        kernel = side, side
        weight = cv2.blur(alpha, kernel)[..., None]
        near = cv2.blur(foreground * alpha, kernel) / (weight + 1e-5)
        background = cv2.blur(background * (1 - alpha), kernel) / (1 - weight + 1e-5)
        foreground = (near + alpha * (image - alpha * near - (1 - alpha) * background)).clip(0, 1)
    return foreground


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """(top, left, bottom, right), exclusive, of the true pixels of `mask` bool (H, W); None without any."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)).tolist() for axis in (1, 0))
    return (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1) if rows else None


def _tiles(where: np.ndarray):
    """Tiles with true pixels of `where`, as (box, inner): slices of the photo, and slices of the box.

    The inner parts tile the bounding box of the true pixels; the boxes reach OVERLAP pixels further, to avoid
    seams.
    """
    if (found := bounding_box(where)) is None:
        return
    for top in range(found[0], found[2], TILE):
        for left in range(found[1], found[3], TILE):
            bottom, right = min(top + TILE, found[2]), min(left + TILE, found[3])
            if where[top:bottom, left:right].any():
                y, x = max(0, top - OVERLAP), max(0, left - OVERLAP)
                box = np.s_[y : bottom + OVERLAP, x : right + OVERLAP]
                yield box, np.s_[top - y : bottom - y, left - x : right - x]
