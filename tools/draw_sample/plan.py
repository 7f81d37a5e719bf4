"""Which photo shows what: the share of each class, decided before anything is drawn."""

from dataclasses import dataclass

import numpy as np

from fashionlib.core.classes import IMATERIALIST

FLOOR = 0.13  # at least this share of the photos shows each class: 52 of 400, some 5 of a tenth

# name -> (share of the photos, sizes (width, height) in pixels)
KINDS = {
    "flat": (0.36, ((600, 600), (640, 480), (480, 640), (720, 480), (400, 600), (450, 800), (500, 400))),
    "full": (0.28, ((300, 600), (320, 640), (360, 640), (320, 560), (640, 480), (300, 600))),
    "upper": (0.14, ((480, 640), (480, 480), (480, 600), (720, 480))),
    "lower": (0.12, ((400, 600), (360, 640), (600, 480))),
    "portrait": (0.10, ((480, 480), (480, 600), (400, 500))),
}
FIGURES = {"full": 3, "upper": 2, "lower": 2, "portrait": 1, "flat": 1}  # abreast in a wide photo
LARGER = (1.0, 1.0, 1.0, 1.25, 1.5)  # some photos have more pixels

UPPER, LOWER, WHOLE, OUTER = (0, 1, 2), (6, 7, 8), (10, 11), (3, 4, 5, 9, 12)
# what an outfit may be completed with: category ids, kinds of scene, what it isn't worn with
EXTRAS = (
    ((20, 21, 22), ("full", "lower"), {6, 11}),
    ((23,), ("full", "lower"), set()),
    ((19,), ("full", "lower"), {3, 4, 9, 11, 12}),
    ((14, 15), ("full", "upper", "portrait"), set()),
    ((13,), ("full", "upper", "portrait"), set()),
    ((16,), ("full", "upper", "portrait"), {1, 2, 10, 11, 12}),
    ((25,), ("full", "upper", "portrait"), {12, 16}),
    ((17, 18), ("full", "upper"), set()),
    ((24,), ("full",), set()),
    ((26,), ("full",), set()),
)
PART_ONLY = ((2, 6), (0, 8), (9, 6), (4, 1, 7))  # worn where only the parts are annotated: one photo in 100


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
        share = np.sqrt(IMATERIALIST)
        self.target = np.maximum(photos * FLOOR, 0.85 * photos * share / 400)
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
        rest = photos - i if kind == "flat" else photos - i - kinds.count("flat")
        if i < round(0.01 * photos):
            scenes.append(_scene("full", (PART_ONLY[i % len(PART_ONLY)],), rng, part_only=True))
        else:
            scenes.append(_scene(kind, None, rng, needs=needs, rest=rest))
    return [scenes[i] for i in rng.permutation(photos)]


def _scene(kind: str, outfits, rng: np.random.Generator, needs=None, rest: int = 0, part_only=False) -> Scene:
    sizes = KINDS[kind][1]
    size = np.array(sizes[rng.integers(len(sizes))])
    if outfits is None:
        figures = FIGURES[kind] if size[0] > size[1] else 1
        choose = _laid if kind == "flat" else _worn
        outfits = tuple(choose(kind, needs, rest, rng) for _ in range(figures))
        needs.met(outfits)
    width, height = np.round(size * rng.choice(LARGER)).astype(int).tolist()
    return Scene(kind, width, height, bool(rng.random() < 0.55), outfits, part_only)


def _worn(kind: str, needs: Needs, rest: int, rng: np.random.Generator) -> tuple[int, ...]:
    """What one figure wears, as far as the scene shows it, with `rest` scenes of figures to come."""
    if kind == "lower":
        worn = [needs.pick(LOWER, rng)]
    elif kind in ("upper", "portrait"):
        worn = [needs.pick(UPPER, rng)]
    elif rng.random() < 0.45:
        worn = [needs.pick(WHOLE, rng)]
    else:
        worn = [needs.pick(UPPER, rng), needs.pick(LOWER, rng)]
    if kind in ("full", "upper") and 11 not in worn and rng.random() < 0.4:
        worn.append(needs.pick(OUTER if worn[0] in WHOLE else OUTER[:-1], rng))  # a cape hides what is short
    for ids, kinds, clash in EXTRAS:
        if kind in kinds and not clash & set(worn) and needs.wants(ids, rest, rng):
            worn.append(needs.pick(ids, rng))
    return tuple(worn)


def _laid(kind: str, needs: Needs, rest: int, rng: np.random.Generator) -> tuple[int, ...]:
    """The 2 to 6 classes of a flat-lay, likely those furthest behind, with `rest` flat-lays to come."""
    count = int(np.clip(np.round(np.maximum(needs.left, 0).sum() / rest + rng.uniform(-1, 1)), 2, 6))
    weight = np.maximum(needs.left, 0.01) ** 2
    return tuple(rng.choice(len(weight), count, replace=False, p=weight / weight.sum()).tolist())
