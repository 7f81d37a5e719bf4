"""The canvas: cloth cut to an outline, shaded as if it were round, lying over what was painted before."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from tools.draw_sample import geometry, textures

_SHIFT = 4  # fractional bits of a corner handed to OpenCV


@dataclass
class Part:
    """One outline of an item. `z` orders the parts of all items that are drawn together.

    `round_` is the radius in figure units over which the edge bends away from the light, `grain` the
    angle of the cloth, `part_id` a category id (27-45) if the part is annotated by itself.
    """

    outline: np.ndarray
    z: float = 0.0
    cloth: textures.Cloth | None = None
    round_: float = 3.0
    grain: float = 0.0
    shadow: float = 0.35
    part_id: int | None = None


@dataclass
class Item:
    """A garment (category id 0-26) or, with `class_id` None, something that is not annotated."""

    class_id: int | None
    cloth: textures.Cloth
    parts: list[Part] = field(default_factory=list)

    def add(self, outline, z=0.0, **options) -> "Item":
        """Append a part and return the item."""
        self.parts.append(Part(np.asarray(outline, float), z, **options))
        return self

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The corners (x, y) of the box around all parts, in figure units."""
        points = np.concatenate([part.outline for part in self.parts])
        return points.min(axis=0), points.max(axis=0)


class Canvas:
    """A float RGB picture (H, W, 3) in 0-1 and, for each pixel, which item is seen there."""

    def __init__(
        self, background: np.ndarray, light: tuple[float, float], bulk: float, rng: np.random.Generator
    ):
        self.rgb = background
        self.bulk = bulk  # how far things stand out: 1 for a body, less for cloth on a table
        self.height, self.width = background.shape[:2]
        self.light = light
        self.rng = rng
        self.owner = np.full((self.height, self.width), -1, np.int16)
        self.covered: list[tuple[int | None, np.ndarray]] = []  # class id, all pixels the item lies on
        self.pieces: list[tuple[int, int, np.ndarray]] = []  # item's number, part id, pixels

    def draw(self, items: list[Item], matrix: np.ndarray) -> None:
        """Paint `items` through `matrix` (figure units to pixels), their parts sorted by depth."""
        first = len(self.covered)
        self.covered += [(item.class_id, np.zeros(self.owner.shape, bool)) for item in items]
        stack = [(part.z, first + i, part, item) for i, item in enumerate(items) for part in item.parts]
        for _, number, part, item in sorted(stack, key=lambda entry: entry[0]):
            self._paint(replace(part, cloth=part.cloth or item.cloth), number, matrix)

    def instances(self) -> list[tuple[int, np.ndarray]]:
        """(category id, mask) of each visible item and annotated part, bottom first.

        Masks overlap as in iMaterialist: a dress goes on under its belt. That holds only below things
        less than half as large, so painting the larger instances first always gives what is seen.
        """
        seen = [self.owner == i for i in range(len(self.covered))]
        found = []
        for i, (class_id, covered) in enumerate(self.covered):
            if class_id is None or not seen[i].any():
                continue
            mask, limit = seen[i].copy(), seen[i].sum() / 2
            for j, (other, above) in enumerate(self.covered):
                if j != i and other is not None and above.sum() < limit:
                    mask |= covered & seen[j]
            found.append((class_id, mask))
        return found + [(part_id, p & seen[i]) for i, part_id, p in self.pieces if (p & seen[i]).sum() > 20]

    def _paint(self, part: Part, number: int, matrix: np.ndarray) -> None:
        scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
        outline = geometry.moved(part.outline, matrix)
        margin = int(2 * scale) + 3
        x0, y0 = np.maximum(np.floor(outline.min(axis=0)).astype(int) - margin, 0)
        x1, y1 = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + margin, (self.width, self.height))
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        window = np.s_[y0:y1, x0:x1]
        alpha = fill(outline - (x0, y0), y1 - y0, x1 - x0)
        hard = alpha >= 0.5
        if not hard.any():
            return
        if part.shadow:
            self._shade_below(window, alpha, part.shadow, scale)
        u, v = _cloth_grid(matrix, part.grain, x0, y0, alpha.shape)
        light = self._relief(alpha, part.round_ * scale) * self._folds(alpha.shape, scale, part.cloth.folds)
        colour = part.cloth.colour(u, v) * light[..., None]
        colour += part.cloth.gloss * np.clip(light - 1.02, 0, 1)[..., None] * 2
        self.rgb[window] += alpha[..., None] * (colour - self.rgb[window])
        if part.part_id is not None:
            whole = np.zeros(self.owner.shape, bool)
            whole[window] = hard
            self.pieces.append((number, part.part_id, whole))
        self.owner[window][hard] = number
        self.covered[number][1][window] |= hard

    def _shade_below(self, window, alpha: np.ndarray, strength: float, scale: float) -> None:
        move = np.float32([[1, 0, -self.light[0] * scale], [0, 1, -self.light[1] * scale]])
        cast = cv2.warpAffine(alpha, move, alpha.shape[::-1])
        cast = cv2.GaussianBlur(cast, (0, 0), max(0.8 * scale, 0.6))
        self.rgb[window] *= 1 - strength * cast[..., None]

    def _relief(self, alpha: np.ndarray, radius: float) -> np.ndarray:
        """Brightness (about 1) of a cushion whose edge is rounded over `radius` pixels."""
        radius = max(radius, 1.0)
        inside = np.pad((alpha >= 0.5).astype(np.uint8), 1)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1]
        rim = 1 - np.minimum(depth / radius, 1)
        bulge = cv2.GaussianBlur(1 - rim * rim, (0, 0), max(radius / 6, 0.6)) * (self.bulk * radius)
        slope_x = cv2.Sobel(bulge, -1, 1, 0, scale=1 / 8)
        slope_y = cv2.Sobel(bulge, -1, 0, 1, scale=1 / 8)
        facing = 1 - 0.7 * (self.light[0] * slope_x + self.light[1] * slope_y)
        return 0.5 + 0.52 * np.clip(facing / np.sqrt(1 + slope_x**2 + slope_y**2), 0.2, 1.6)

    def _folds(self, shape: tuple[int, int], scale: float, strength: float) -> np.ndarray:
        """Brightness (about 1) of soft folds that run more down than across."""
        if not strength:
            return np.ones(shape, np.float32)
        cells = (int(shape[0] / scale / 9) + 3, int(shape[1] / scale / 3.5) + 3)
        coarse = self.rng.standard_normal(cells).astype(np.float32)
        return 1 + strength * cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def fill(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    """The anti-aliased coverage (H, W) float32 in 0-1 of a closed outline in pixels."""
    mask = np.zeros((height, width), np.uint8)
    corners = np.round((outline - 0.5) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, _SHIFT)
    return mask.astype(np.float32) / 255


def _cloth_grid(matrix, grain: float, x0: int, y0: int, shape) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's place (u, v) on the cloth, in figure units."""
    inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))
    c, s = np.cos(grain), np.sin(grain)
    a = np.array([[c, s], [-s, c]]) @ inverse[:2]
    x = (np.arange(shape[1], dtype=np.float32) + np.float32(x0 + 0.5))[None]
    y = (np.arange(shape[0], dtype=np.float32) + np.float32(y0 + 0.5))[:, None]
    a = a.astype(np.float32)
    return a[0, 0] * x + a[0, 1] * y + a[0, 2], a[1, 0] * x + a[1, 1] * y + a[1, 2]
