"""From a plan's scene to a photo: the background, the wearers or the flat-lay, the light and the camera."""

import cv2
import numpy as np

from tools.draw_sample import accessories, backgrounds, garments, geometry, people, props
from tools.draw_sample.paint import Canvas, Item
from tools.draw_sample.plan import Scene

# kind -> the heights (figure units) at the upper and lower edge of the picture
_FRAMES = {"full": (-21, 87), "upper": (-21, 29), "lower": (24.4, 88), "portrait": (-22, 18)}
# how much room a class takes on a flat-lay; the others 1.5
_ROOM = {2: 2.2, 3: 2.4, 4: 2.2, 6: 2.4, 9: 2.8, 10: 2.6, 11: 2.8, 12: 2.6, 13: 1.2, 14: 1.2, 15: 1.2,
         16: 0.8, 17: 1.2, 18: 1.1, 19: 1.2, 26: 1.8}  # fmt: skip


def draw(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """The photo, uint8 RGB (H, W, 3), and its instances (category id, bool mask), bottom first."""
    flat = scene.kind == "flat"
    choice = (backgrounds.BENEATH if flat else backgrounds.BEHIND)[scene.cluttered]
    background = choice[rng.integers(len(choice))]
    picture = background(rng, scene.height, scene.width).astype(np.float32)
    light = (rng.choice([-1, 1]) * rng.uniform(0.4, 0.9), rng.uniform(-0.9, -0.4))
    canvas = Canvas(picture, light, 0.6 if flat else 1.0, rng)
    if flat and scene.cluttered:
        props.scatter(canvas, rng)
    elif background in backgrounds.WALLS:
        props.furnish(canvas, rng)
    (_lay if flat else _stand)(canvas, scene, rng)
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
    share = canvas.width / len(scene.outfits)
    for k, outfit in enumerate(scene.outfits):
        size = scale * rng.uniform(1.0, 1.04)
        x = share * (k + 0.5) + rng.uniform(-0.05, 0.05) * share
        canvas.draw(dressed(outfit, rng), geometry.frame(size, x, -top * scale, rng.uniform(-0.03, 0.03)))


def dressed(outfit, rng) -> list[Item]:
    """A wearer and what they wear."""
    arms = rng.choice(["down", "down", "loose", "hip", "bent"], 2).tolist()
    if {17, 18} & set(outfit):  # gloves and watches: a hand that can't hang out of the picture
        arms = ["hip", "hip"]
    if 26 in outfit:
        arms[1] = "up"
    body = people.pose(rng, tuple(arms))
    items = people.wearer(body, rng)
    for class_id in outfit:
        items += _garment(class_id, body, rng)
    return items


def _garment(class_id: int, body: people.Pose | None, rng) -> list[Item]:
    if class_id == 23:
        return accessories.shoes(body, rng)
    if class_id in garments.WORN:
        return [garments.WORN[class_id](body or people.laid_out(rng), rng)]
    return [accessories.WORN[class_id](body, rng)]


def _lay(canvas: Canvas, scene: Scene, rng) -> None:
    """A flat-lay: the picture is cut into cells, one an item; items may reach over the edges."""
    laid = [(_ROOM.get(class_id, 1.5), _garment(class_id, None, rng)) for class_id in scene.outfits[0]]
    whole = (0, 0, canvas.width, canvas.height)
    layouts = [_cells(whole, [laid[i] for i in rng.permutation(len(laid))]) for _ in range(24)]
    best = max(layouts, key=lambda layout: sum(np.log(_fit(items, cell)[0]) for _, items, cell in layout))
    for _, items, cell in sorted(best, key=lambda entry: -entry[0]):  # small things on top
        scale, across = _fit(items, cell)
        turn = (np.pi / 2 if across else 0) + rng.normal(0, 0.12)
        matrix = geometry.frame(scale * rng.uniform(0.98, 1.12), 0, 0, turn)
        low, high = _bounds(items)
        centre = geometry.moved([(low + high) / 2], matrix)[0]
        matrix[:, 2] = (np.add(cell[:2], cell[2:]) / 2 - centre) + rng.normal(0, 0.01, 2) * canvas.width
        canvas.draw(items, matrix)


def _bounds(items: list[Item]) -> tuple[np.ndarray, np.ndarray]:
    low, high = zip(*(item.bounds() for item in items), strict=True)
    return np.min(low, axis=0), np.max(high, axis=0)


def _fit(items: list[Item], cell) -> tuple[float, bool]:
    """The scale at which `items` fill their cell, and whether they are laid across for that."""
    low, high = _bounds(items)
    (w, h), width, height = high - low, cell[2] - cell[0], cell[3] - cell[1]
    upright, across = min(width / w, height / h), min(width / h, height / w)
    return (across, True) if across > 1.8 * upright else (upright, False)


def _cells(cell, laid) -> list[tuple]:
    """(room, items, cell) for each (room, items) of `laid`: `cell` (x0, y0, x1, y1) is halved by room."""
    if len(laid) == 1:
        return [(*laid[0], cell)]
    x0, y0, x1, y1 = cell
    half = (len(laid) + 1) // 2
    part = sum(room for room, _ in laid[:half]) / sum(room for room, _ in laid)
    if x1 - x0 > y1 - y0:
        cut = x0 + part * (x1 - x0)
        first, second = (x0, y0, cut, y1), (cut, y0, x1, y1)
    else:
        cut = y0 + part * (y1 - y0)
        first, second = (x0, y0, x1, cut), (x0, cut, x1, y1)
    return _cells(first, laid[:half]) + _cells(second, laid[half:])


def _expose(rgb: np.ndarray, rng) -> np.ndarray:
    """What a camera makes of it: white balance, vignette, a slight blur and grain."""
    height, width = rgb.shape[:2]
    x, y = geometry.grid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    vignette = 1 - rng.uniform(0.03, 0.12) * (x * x + y * y)
    balance = np.float32(rng.normal(1, 0.03, 3) * rng.uniform(0.9, 1.08))
    picture = cv2.GaussianBlur(rgb, (0, 0), 0.55) * vignette[..., None] * balance
    grain = rng.standard_normal((height, width), np.float32)[..., None]
    grain = grain * np.float32(rng.uniform(0.004, 0.012))
    return np.clip((picture + grain) * 255 + 0.5, 0, 255).astype(np.uint8)
