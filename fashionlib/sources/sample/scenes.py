"""From a plan's scene to a photo: the ground, the wearers or the flat-lay, the light and the camera."""

import cv2
import numpy as np

from . import accessories, garments, geometry, grounds, people
from .paint import Canvas, Item
from .plan import Scene

# kind -> the heights (figure units) at the upper and lower edge of the picture
_FRAMES = {"full": (-21, 87), "upper": (-21, 34), "lower": (21, 88), "portrait": (-22, 18)}
# how much room a class takes on a flat-lay
_ROOM = {2: 2.2, 3: 2.4, 4: 2.2, 6: 2.4, 9: 2.8, 10: 2.6, 11: 2.8, 12: 2.6, 16: 0.8, 18: 0.7, 13: 0.9, 19: 1.0,
         15: 0.9, 14: 1.1, 17: 1.2, 26: 1.8}  # fmt: skip


def draw(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """The photo, uint8 RGB (H, W, 3), and its instances (category id, bool mask), bottom first."""
    flat = scene.kind == "flat"
    ground = (grounds.BENEATH if flat else grounds.BEHIND)[scene.cluttered]
    picture = ground[rng.integers(len(ground))](rng, scene.height, scene.width).astype(np.float32)
    light = (rng.choice([-1, 1]) * rng.uniform(0.4, 0.9), rng.uniform(-0.9, -0.4))
    canvas = Canvas(picture, light, 0.6 if flat else 1.0, rng)
    if flat:
        _lay(canvas, scene, rng)
    else:
        _stand(canvas, scene, rng)
    instances = canvas.instances()
    if scene.part_only:
        instances = [(i, mask) for i, mask in instances if i >= 27]
    return _expose(canvas.rgb, rng), instances


def _stand(canvas: Canvas, scene: Scene, rng) -> None:
    """Figures side by side, cut off where the kind of scene says."""
    top, bottom = _FRAMES[scene.kind]
    worn = {class_id for outfit in scene.outfits for class_id in outfit}
    if 26 in worn:
        top = -41
    elif {14, 15} & worn:
        top = min(top, -25.5)
    scale = canvas.height / (bottom - top)
    if scene.cluttered and scene.kind != "portrait":
        grounds.scatter(canvas, rng, int(rng.integers(2, 6)))
    share = canvas.width / len(scene.outfits)
    for k, outfit in enumerate(scene.outfits):
        size = scale * rng.uniform(0.96, 1.03)
        x = share * (k + 0.5) + rng.uniform(-0.05, 0.05) * share
        canvas.draw(dressed(outfit, rng), geometry.frame(size, x, -top * scale, rng.uniform(-0.03, 0.03)))


def dressed(outfit, rng) -> list[Item]:
    """A wearer and what they wear."""
    arms = [str(a) for a in rng.choice(["down", "down", "loose", "hip", "bent"], 2)]
    if 26 in outfit:
        arms[1] = "up"
    body = people.pose(rng, tuple(arms))
    items = people.wearer(body, rng)
    for class_id in outfit:
        items += _garment(class_id, body, rng)
    if not {0, 1, 2, 10, 11} & set(outfit):  # something must be worn above the frame of legs
        items += [Item(None, garments.dye(1, rng)).add(body.band([(1, 0.4), (10, 1), (25, 1)]), 5.5)]
    return items


def _garment(class_id: int, body: people.Pose | None, rng) -> list[Item]:
    if class_id == 23:
        return accessories.shoes(body, rng)
    if class_id in garments.WORN:
        return [garments.WORN[class_id](body or people.laid_out(rng), rng)]
    return [accessories.WORN[class_id](body, rng)]


def _lay(canvas: Canvas, scene: Scene, rng) -> None:
    """A flat-lay: the picture is cut into cells, one an item; items may reach over the edges."""
    if scene.cluttered:
        grounds.scatter(canvas, rng, int(rng.integers(5, 12)))
    outfit = list(scene.outfits[0])
    cells = _cells((0, 0, canvas.width, canvas.height), outfit)
    for class_id, cell in sorted(zip(outfit, cells, strict=True), key=lambda pair: -_ROOM.get(pair[0], 1.5)):
        items = _garment(class_id, None, rng)
        low, high = (np.array(corner) for corner in zip(*(item.bounds() for item in items), strict=True))
        low, high = low.min(axis=0), high.max(axis=0)
        x0, y0, x1, y1 = cell
        turn = rng.normal(0, 0.16) + (np.pi / 2 if _lies_better(high - low, (x1 - x0, y1 - y0)) else 0)
        extent = np.abs([[np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ (high - low)
        scale = min((x1 - x0) / extent[0], (y1 - y0) / extent[1]) * rng.uniform(1.02, 1.2)
        centre = geometry.moved([(low + high) / 2], geometry.frame(scale, 0, 0, turn))[0]
        canvas.draw(items, geometry.frame(scale, (x0 + x1) / 2 - centre[0], (y0 + y1) / 2 - centre[1], turn))


def _lies_better(size, cell) -> bool:
    """Whether an item should be turned on its side to fill its cell."""
    upright = min(cell[0] / size[0], cell[1] / size[1])
    return min(cell[0] / size[1], cell[1] / size[0]) > 1.5 * upright


def _cells(cell, outfit) -> list[tuple]:
    """`cell` (x0, y0, x1, y1) cut along its longer side until every item has its share."""
    if len(outfit) == 1:
        return [cell]
    x0, y0, x1, y1 = cell
    half = (len(outfit) + 1) // 2
    room = [_ROOM.get(i, 1.5) for i in outfit]
    part = sum(room[:half]) / sum(room)
    if x1 - x0 > y1 - y0:
        cut = x0 + part * (x1 - x0)
        first, second = (x0, y0, cut, y1), (cut, y0, x1, y1)
    else:
        cut = y0 + part * (y1 - y0)
        first, second = (x0, y0, x1, cut), (x0, cut, x1, y1)
    return _cells(first, outfit[:half]) + _cells(second, outfit[half:])


def _expose(rgb: np.ndarray, rng) -> np.ndarray:
    """What a camera makes of it: white balance, vignette, a slight blur and grain."""
    height, width = rgb.shape[:2]
    x, y = np.linspace(-1, 1, width, dtype=np.float32)[None], np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    vignette = 1 - rng.uniform(0.03, 0.12) * (x * x + y * y)
    balance = np.float32(rng.normal(1, 0.03, 3) * rng.uniform(0.9, 1.08))
    picture = cv2.GaussianBlur(rgb, (0, 0), 0.55) * vignette[..., None] * balance
    grain = rng.standard_normal((height, width), np.float32)[..., None] * np.float32(rng.uniform(0.004, 0.012))
    return np.clip((picture + grain) * 255 + 0.5, 0, 255).astype(np.uint8)
