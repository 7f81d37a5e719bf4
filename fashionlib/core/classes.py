"""Class numbers, names, groups and colours, stated once.

Category ids are those of the Fashionpedia ontology (``label_descriptions.json`` of iMaterialist
(Fashion) 2020): 0-26 main apparel, 27-45 garment parts. Ids 46 and 47 are ours, for the hair and
skin that Clothing Co-Parsing labels and iMaterialist does not.

A label map holds *label values*, not category ids: 0 is background and category ``id`` has the
value ``id + 1`` (except in the class set ``person``, where hair is 28 and skin 29).
255 means "ignore".
"""

import colorsys
import difflib
from collections.abc import Sequence

IGNORE = 255
BACKGROUND = "background"

# name -> supercategory, in category-id order; https://github.com/cvdfoundation/fashionpedia
_ONTOLOGY = {
    "shirt, blouse": "upperbody",
    "top, t-shirt, sweatshirt": "upperbody",
    "sweater": "upperbody",
    "cardigan": "upperbody",
    "jacket": "upperbody",
    "vest": "upperbody",
    "pants": "lowerbody",
    "shorts": "lowerbody",
    "skirt": "lowerbody",
    "coat": "wholebody",
    "dress": "wholebody",
    "jumpsuit": "wholebody",
    "cape": "wholebody",
    "glasses": "head",
    "hat": "head",
    "headband, head covering, hair accessory": "head",
    "tie": "neck",
    "glove": "arms and hands",
    "watch": "arms and hands",
    "belt": "waist",
    "leg warmer": "legs and feet",
    "tights, stockings": "legs and feet",
    "sock": "legs and feet",
    "shoe": "legs and feet",
    "bag, wallet": "others",
    "scarf": "others",
    "umbrella": "others",
    "hood": "garment parts",
    "collar": "garment parts",
    "lapel": "garment parts",
    "epaulette": "garment parts",
    "sleeve": "garment parts",
    "pocket": "garment parts",
    "neckline": "garment parts",
    "buckle": "closures",
    "zipper": "closures",
    "applique": "decorations",
    "bead": "decorations",
    "bow": "decorations",
    "flower": "decorations",
    "fringe": "decorations",
    "ribbon": "decorations",
    "rivet": "decorations",
    "ruffle": "decorations",
    "sequin": "decorations",
    "tassel": "decorations",
}

CATEGORIES: tuple[str, ...] = tuple(_ONTOLOGY)  # the 46 names, position = category id
MAIN = 27  # ids below are main apparel, the others are parts
HAIR_ID, SKIN_ID = 46, 47  # ours; only Clothing Co-Parsing has them
PERSON = {HAIR_ID: "hair", SKIN_ID: "skin"}

CLASSES: tuple[str, ...] = (BACKGROUND, *CATEGORIES[:MAIN])  # the paper's 28, position = label value

CLASS_SETS: dict[str, tuple[str, ...]] = {
    "main": CLASSES,
    "person": (*CLASSES, *PERSON.values()),
    "all": (BACKGROUND, *CATEGORIES),
}

GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(name for name in CATEGORIES if _ONTOLOGY[name] == group)
    for group in dict.fromkeys(_ONTOLOGY.values())
} | {"person": tuple(PERSON.values())}


def label_values(class_set: str = "main") -> dict[int, int]:
    """Category id -> label value for every category that `class_set` keeps; the others are dropped."""
    names = CLASS_SETS[check_name(class_set, CLASS_SETS, "class set")]
    ids = {name: i for i, name in [*enumerate(CATEGORIES), *PERSON.items()]}
    return {ids[name]: value for value, name in enumerate(names) if value}


def garment_values(classes: Sequence[str]) -> list[int]:
    """Label values of garments and accessories among `classes`: all but background, hair and skin."""
    others = {BACKGROUND, *PERSON.values()}
    return [value for value, name in enumerate(classes) if name not in others]


def supercategory(category_id: int) -> str:
    """The ontology's group of a category id (0-45), or ``person`` for our hair and skin (46, 47)."""
    return "person" if category_id in PERSON else _ONTOLOGY[CATEGORIES[category_id]]


def check_name(name: str, allowed, what: str = "name") -> str:
    """`name` if it is one of `allowed`, else a ValueError that lists them and guesses what was meant."""
    if name in allowed:
        return name
    close = difflib.get_close_matches(str(name), list(allowed), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"Unknown {what} {name!r}.{hint} Known: {', '.join(map(repr, allowed))}.")


def _palette(n: int) -> tuple[tuple[int, int, int], ...]:
    """`n` RGB colours (0-255): black, then hues a golden ratio apart in three alternating lightnesses.

    Neighbouring label values differ in lightness as well as in hue, so that they stay apart for
    colour-blind readers and in greyscale print.
    """
    colours = [(0, 0, 0)]
    for i in range(n - 1):
        lightness = (0.45, 0.75, 0.60)[(i + i // 21) % 3]  # 21 is a Fibonacci number: the hue comes back
        rgb = colorsys.hls_to_rgb(i * 0.618034, lightness, 0.85)
        colours.append(tuple(round(255 * channel) for channel in rgb))
    return tuple(colours)


FULL_PALETTE = _palette(max(map(len, CLASS_SETS.values())))  # long enough for every class set
PALETTE = FULL_PALETTE[: len(CLASSES)]
