"""Class numbers, names, groups and colours.

Category ids are those of the Fashionpedia ontology (``label_descriptions.json`` of iMaterialist
(Fashion) 2020): 0-26 main apparel, 27-45 garment parts. Ids 46 and 47 are ours, for the hair and
skin that Clothing Co-Parsing labels and iMaterialist does not.

A label map holds *label values*, not category ids: 0 is background and category ``id`` has the
value ``id + 1`` (except in the class set ``person``, where hair is 28 and skin 29).
255 means "ignore".
"""

import colorsys
import difflib

IGNORE = 255
BACKGROUND = "background"

# supercategory -> names, in category-id order; https://github.com/cvdfoundation/fashionpedia
_ONTOLOGY = {
    "upperbody": "shirt, blouse; top, t-shirt, sweatshirt; sweater; cardigan; jacket; vest",
    "lowerbody": "pants; shorts; skirt",
    "wholebody": "coat; dress; jumpsuit; cape",
    "head": "glasses; hat; headband, head covering, hair accessory",
    "neck": "tie",
    "arms and hands": "glove; watch",
    "waist": "belt",
    "legs and feet": "leg warmer; tights, stockings; sock; shoe",
    "others": "bag, wallet; scarf; umbrella",
    "garment parts": "hood; collar; lapel; epaulette; sleeve; pocket; neckline",
    "closures": "buckle; zipper",
    "decorations": "applique; bead; bow; flower; fringe; ribbon; rivet; ruffle; sequin; tassel",
}

GROUPS: dict[str, tuple[str, ...]] = {group: tuple(names.split("; ")) for group, names in _ONTOLOGY.items()}
CATEGORIES: tuple[str, ...] = sum(GROUPS.values(), ())  # the 46 names, position = category id
MAIN = 27  # ids below are main apparel, the others are parts
IMATERIALIST = (  # instances of each main class in the train.csv of iMaterialist (Fashion) 2020
    6161, 16548, 1494, 1107, 7833, 719, 12414, 2756, 5046, 3124, 18739, 922, 152, 4855, 2518, 3470, 1457,
    1385, 3389, 6851, 112, 4326, 2582, 46374, 7217, 1374, 135,
)  # fmt: skip
HAIR_ID, SKIN_ID = 46, 47  # ours; only Clothing Co-Parsing has them
PERSON = {HAIR_ID: "hair", SKIN_ID: "skin"}
GROUPS["person"] = tuple(PERSON.values())
NAMES: dict[int, str] = dict(enumerate(CATEGORIES)) | PERSON  # category id -> name
IDS: dict[str, int] = {name: i for i, name in NAMES.items()}

CLASSES: tuple[str, ...] = (BACKGROUND, *CATEGORIES[:MAIN])  # the paper's 28, position = label value

CLASS_SETS: dict[str, tuple[str, ...]] = {
    "main": CLASSES,
    "person": (*CLASSES, *PERSON.values()),
    "all": (BACKGROUND, *CATEGORIES),
}


def label_values(class_set: str = "main") -> dict[int, int]:
    """Label value of each category id in `class_set`; other categories are omitted."""
    names = CLASS_SETS[check_name(class_set, CLASS_SETS, "class set")]
    return {IDS[name]: value for value, name in enumerate(names) if value}


def is_class_set(names) -> bool:
    """Whether `names` can be classes: background first, at most `IGNORE` different printable names."""
    plain = all(isinstance(name, str) and name.isprintable() and name == name.strip() != "" for name in names)
    return plain and 1 < len(names) == len(set(names)) <= IGNORE and names[0] == BACKGROUND


def garment_values(names) -> list[int]:
    """Label values of garments and accessories: all of the class `names` but background, hair and skin."""
    return [value for value, name in enumerate(names) if name not in (BACKGROUND, *PERSON.values())]


def supercategory(category_id: int) -> str:
    """The ontology's group of a category id (0-45), or ``person`` for our hair and skin (46, 47)."""
    return next(group for group, names in GROUPS.items() if NAMES[category_id] in names)


def check_name(name: str, allowed, what: str = "name") -> str:
    """Return `name` if it is in `allowed`, else raise ValueError with the list and the closest match."""
    if name in allowed:
        return name
    close = difflib.get_close_matches(str(name), list(allowed), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"Unknown {what} {name!r}.{hint} Known: {', '.join(map(repr, allowed))}.")


def palette(n: int) -> tuple[tuple[int, int, int], ...]:
    """`n` RGB colours (0-255): black, then hues a golden ratio apart in three alternating lightnesses.

    Neighbouring label values differ in lightness as well as in hue. So many colours can't all stay apart
    for colour-blind readers.
    """
    colours = [(0, 0, 0)]
    for i in range(n - 1):
        lightness = (0.45, 0.75, 0.60)[(i + i // 21) % 3]  # 21 is a Fibonacci number: the hue comes back
        rgb = colorsys.hls_to_rgb(i * 0.618034, lightness, 0.85)
        colours.append(tuple(round(255 * channel) for channel in rgb))
    return tuple(colours)


FULL_PALETTE = palette(max(map(len, CLASS_SETS.values())))  # long enough for every class set
PALETTE = FULL_PALETTE[: len(CLASSES)]
