"""Which photo shows what: the share of each class, decided before anything is drawn."""

from dataclasses import dataclass

import numpy as np

# instances a class in iMaterialist (Fashion) 2020, by category id
INSTANCES = (6161, 16548, 1494, 1107, 7833, 719, 12414, 2756, 5046, 3124, 18739, 922, 152, 4855, 2518, 3470, 1457,
             1385, 3389, 6851, 112, 4326, 2582, 46374, 7217, 1374, 135)  # fmt: skip
FLOOR = 0.115  # at least this share of the photos shows each class: 46 of 400, so 4 of a tenth

# name -> (share of the photos, sizes (width, height) in pixels)
KINDS = {
    "flat": (0.38, ((600, 600), (640, 480), (480, 640), (720, 480), (400, 600), (450, 800), (500, 400))),
    "full": (0.33, ((360, 600), (400, 640), (360, 640), (320, 640), (640, 480), (720, 480), (300, 600))),
    "upper": (0.11, ((480, 640), (480, 480), (480, 600), (720, 480))),
    "lower": (0.10, ((400, 600), (360, 640), (600, 480))),
    "portrait": (0.08, ((480, 480), (480, 600), (400, 500))),
}
FIGURES = {"full": 3, "upper": 2, "lower": 2, "portrait": 1, "flat": 1}  # side by side, where the photo is wide
LARGER = (1.0, 1.0, 1.0, 1.25, 1.5)  # some photos have more pixels

UPPER, LOWER, WHOLE, OUTER = (0, 1, 2), (6, 7, 8), (10, 11), (3, 4, 5, 9, 12)
LEGS, HEAD = (20, 21, 22), (14, 15)
PART_ONLY = 0.01  # share of the photos on which only parts are annotated


@dataclass(frozen=True)
class Scene:
    """One photo to draw: `outfits` are the category ids of each figure, or of the one flat-lay."""

    kind: str
    width: int
    height: int
    cluttered: bool
    outfits: tuple[tuple[int, ...], ...]
    part_only: bool = False


class Needs:
    """How many more photos each class should be on."""

    def __init__(self, photos: int):
        share = np.sqrt(INSTANCES)
        self.target = np.maximum(photos * FLOOR, 0.95 * photos * share / 400)
        self.left = self.target.copy()

    def pick(self, ids, rng: np.random.Generator) -> int:
        """One of `ids`, the more likely the more of its photos are missing."""
        weight = np.maximum(self.left[list(ids)], 0.02 * self.target[list(ids)])
        return int(rng.choice(ids, p=weight / weight.sum()))

    def wants(self, ids, rest: int, rng: np.random.Generator) -> bool:
        """Whether a photo should show one of `ids`, with `rest` photos to come that could."""
        return rng.random() < np.clip(1.25 * self.left[list(ids)].sum() / max(rest, 1), 0.04, 0.85)

    def met(self, outfits) -> None:
        """Count a photo."""
        for class_id in {i for outfit in outfits for i in outfit}:
            self.left[class_id] -= 1


def plan(photos: int, seed: int) -> list[Scene]:
    """The scenes of a data set. Figures come first, so that flat-lays can even out what they lack."""
    rng = np.random.default_rng([seed, 0])
    kinds = [kind for kind, (share, _) in KINDS.items() for _ in range(round(share * photos))]
    kinds = (kinds + ["full"] * photos)[:photos]
    kinds.sort(key="flat".__eq__)
    needs, scenes = Needs(photos), []
    for i, kind in enumerate(kinds):
        width, height = KINDS[kind][1][rng.integers(len(KINDS[kind][1]))]
        factor = rng.choice(LARGER)
        part_only = i < round(PART_ONLY * photos)
        figures = FIGURES[kind] if width > height else 1
        outfits = tuple(_outfit(kind, needs, photos - i, rng) for _ in range(figures))
        if part_only:
            outfits = ((2, 6), (0, 8), (9, 6), (4, 1, 7))[i % 4 :][:1]
        else:
            needs.met(outfits)
        scenes.append(Scene(kind, round(width * factor), round(height * factor), rng.random() < 0.55, outfits, part_only))
    return [scenes[i] for i in rng.permutation(photos)]


def _outfit(kind: str, needs: Needs, rest: int, rng: np.random.Generator) -> tuple[int, ...]:
    if kind == "flat":
        return _laid(needs, rest, rng)
    worn: list[int] = []
    figures = max(rest - 0.38 * len(needs.left), 1)
    if kind == "lower":
        worn.append(needs.pick(LOWER, rng))
    elif kind in ("upper", "portrait"):
        worn.append(needs.pick(UPPER, rng))
    elif rng.random() < 0.45:
        worn.append(needs.pick(WHOLE, rng))
    else:
        worn += [needs.pick(UPPER, rng), needs.pick(LOWER, rng)]
    if kind in ("full", "upper") and 11 not in worn and rng.random() < 0.5:
        worn.append(needs.pick(OUTER[:-1] if kind == "upper" else OUTER, rng))
    if kind in ("full", "lower"):
        if not {6, 11} & set(worn) and rng.random() < 0.75:
            worn.append(needs.pick(LEGS, rng))
        if rng.random() < 0.85:
            worn.append(23)
        if 11 not in worn and 9 not in worn and 12 not in worn and needs.wants((19,), figures, rng):
            worn.append(19)
    if kind != "lower":
        worn += [needs.pick(HEAD, rng)] if needs.wants(HEAD, figures, rng) else []
        worn += [13] if needs.wants((13,), figures, rng) else []
        if 12 not in worn and needs.wants((16, 25), figures, rng):
            worn.append(16 if worn[0] == 0 and needs.pick((16, 25), rng) == 16 else 25)
    if kind in ("full", "upper"):
        worn += [needs.pick((17, 18), rng)] if needs.wants((17, 18), figures, rng) else []
        worn += [24] if kind == "full" and needs.wants((24,), figures, rng) else []
        worn += [26] if kind == "full" and needs.wants((26,), figures, rng) else []
    return tuple(worn)


def _laid(needs: Needs, rest: int, rng: np.random.Generator) -> tuple[int, ...]:
    """The 3 to 6 classes of a flat-lay that are furthest behind."""
    count = int(np.clip(np.round(np.maximum(needs.left, 0).sum() / rest + rng.uniform(-1, 1)), 2, 6))
    weight = np.maximum(needs.left, 0.01) ** 2
    chosen = rng.choice(len(weight), count, replace=False, p=weight / weight.sum())
    return tuple(int(i) for i in chosen)
