"""Exports of annotation tools: COCO JSON and LabelMe's files, of the photo a, 3 high and 4 wide."""

import json
from pathlib import Path

import numpy as np

from fashionlib.data.sources import coco, labelme
from fashionlib.data.sources.fashionpedia import TRAIN

from . import PIPE, Case, Files, cases, picture
from .of_sources import IMAGE, LEAVES, NOT_READ, SPECIAL, UNCOVERED
from .of_sources import coco as fashionpedia

SHOWN_AT = {"shape_type": "rectangle", "points": [[0, 0], [2, 2]], "label": "dress"}
SAVED = {"imagePath": "a.jpg", "imageData": None, "imageHeight": 3, "imageWidth": 4, "shapes": [SHOWN_AT]}


def exported(image=(), dress=(), **more) -> Files:
    content = json.loads(fashionpedia(image, dress)[TRAIN]) | more
    return {"annotations/instances_default.json": json.dumps(content), "images/a.jpg": picture()}


def saved(shape=(), **more) -> Files:
    """LabelMe's file of the photo a, with changes to its only shape, or to the whole."""
    return {"a.json": json.dumps(SAVED | {"shapes": [SHOWN_AT | dict(shape)]} | more), "a.jpg": picture()}


def convert_export(source: Path, out: Path) -> None:
    coco.convert(source, out, workers=1, progress=False)


def convert_labelme(source: Path, out: Path) -> None:
    labelme.convert(source, out, workers=1, progress=False)


NO_JSON, TWO = {"images/a.jpg": picture()}, [IMAGE, IMAGE | {"id": 6}]
EXPORTS = [
    ("no-json", NO_JSON, r" holds no \.json, nor does its annotations/: export it again, as COCO"),
    ("torn", NO_JSON | {"result.json": "{"}, r"result\.json is not valid JSON .*: export it again"),
    ("list", NO_JSON | {"result.json": "[]"}, r"result\.json holds no JSON object"),
    ("of-labelme", NO_JSON | {"a.json": json.dumps(SAVED)}, r"a\.json lacks 'images': export it again"),
    (
        "no-size",
        exported(images=[{"id": 5, "file_name": "a.jpg"}]),
        ", image 0 is not as .*KeyError: .*height",
    ),
    ("name-number", exported(image={"file_name": 5}), ", image 0 is not as COCO has it .*AttributeError"),
    ("name-none", exported(image={"file_name": "../"}), "'../' names no photo"),
    ("id-list", exported(image={"id": [5]}), ", image 0 is not as COCO has it .*TypeError"),
    ("id-twice", exported(images=[IMAGE, IMAGE]), ", image 1 has the id 5 of another"),
    (
        "photo-twice",
        exported(images=TWO),
        r", image 1 and .*, image 0 are of one photo, .*images/a\.jpg: keep",
    ),
    ("photo-missing", exported() | {"images/a.jpg": None}, r"The photo .*/a\.jpg is missing"),
    (
        "photo-elsewhere",
        exported(image={"file_name": "/etc/passwd"}),
        "The photo .*/source/passwd is missing",
    ),
    ("photo-text", exported() | {"images/a.jpg": "no"}, rf"images/a\.jpg {NOT_READ}"),
    ("photo-pipe", exported() | {"images/a.jpg": PIPE}, rf"images/a\.jpg {SPECIAL}"),
    ("photo-twice-there", exported() | {"b/a.jpg": picture()}, r"a\.jpg and .*a\.jpg may both be 'a\.jpg'"),
    (
        "size",
        exported(image={"height": 4}),
        ", image 0: the photo .* 3 high and 4 wide, the export says 4 and 4",
    ),
    ("image-unknown", exported(dress={"image_id": 6}), ", annotation 0: there is no image 6 or"),
    ("category-unknown", exported(dress={"category_id": 9}), "no image 5 or no category 9"),
    (
        "class-unknown",
        exported(dress={"category_id": 4}),
        "Unknown class 'earmuffs'.* --own-classes takes any",
    ),
    (
        "box",
        exported(dress={"segmentation": [], "bbox": [0, 0, 2, 2]}),
        "a box has no outline: draw a polygon",
    ),
    ("no-segmentation", exported(annotations=[{"image_id": 5, "category_id": 3}]), "KeyError"),
    ("polygon", exported(dress={"segmentation": [[0, 0, 9, 0, 2, 2]]}), f"dress'.: {LEAVES}9, y = 0"),
    ("runs", exported(dress={"segmentation": {"size": [3, 4], "counts": [5]}}), f"dress'.: .*{UNCOVERED}"),
    ("no-shapes", exported(annotations=[]), "no photo of the export has a shape"),
]
PIXELS = "a mask has 2 points, this one 1 or none that is a number"
SHAPES = [
    ("no-json", {"a.jpg": picture()}, r" holds no \.json: give the folder in which LabelMe saved"),
    ("torn", {"a.json": "{"}, r"a\.json is not valid JSON .*: save it again in LabelMe"),
    ("of-coco", exported(), r"default\.json lacks 'shapes': save it again"),
    ("no-label", saved(shapes=[{}]), r"a\.json is not as LabelMe writes it \(KeyError: .*label"),
    ("shapes-words", saved(shapes=["dress"]), r"a\.json is not as LabelMe writes it \(TypeError"),
    ("photo-missing", saved() | {"a.jpg": None}, r"The photo .*/a\.jpg is missing"),
    ("photo-in-it-torn", saved(imageData="AAAA") | {"a.jpg": None}, rf"a\.jpg {NOT_READ}"),
    ("photo-in-it-number", saved(imageData=5) | {"a.jpg": None}, r"a\.json is not as .*TypeError"),
    ("photo-of-two", saved() | {"b.json": saved()["a.json"]}, r"b\.json and .*a\.json are of one photo"),
    ("size", saved(imageWidth=5), r"a\.json: the photo .* 3 high and 4 wide, the export says 3 and 5"),
    ("class-unknown", saved({"label": "dres"}), "Unknown class 'dres'.* Did you mean 'dress'"),
    ("ignored", saved({"label": "__ignore__"}), "Unknown class '__ignore__'"),
    ("line", saved({"shape_type": "linestrip"}), r"shape 0 \('dress'\): a 'linestrip' has no area: draw"),
    ("points-words", saved({"points": "here"}), "its points are no list of x, y pairs"),
    ("points-odd", saved({"points": [[0, 0], [1]]}), "its points are no list of x, y pairs"),
    ("corner", saved({"shape_type": "mask", "points": [[0, 0]]}), PIXELS),
    (
        "circle-nan",
        saved({"shape_type": "circle", "points": [[0, 0], [1, np.nan]]}),
        "or none that is a number",
    ),
    ("polygon", saved({"shape_type": "polygon"}), "a polygon has 2 points, it takes at least 3"),
    ("outside", saved({"points": [[0, 0], [9, 2]]}), LEAVES + "9, y = 0"),
    ("no-mask", saved({"shape_type": "mask"}), "its mask is no PNG in base64"),
    ("mask-torn", saved({"shape_type": "mask", "mask": "iVBORw0KGgo="}), "its mask is no PNG in base64"),
    ("no-shapes", saved(shapes=[]), "no photo of the export has a shape"),
]
EXPORTED: list[Case] = [
    *cases("export", convert_export, dict, "{}", EXPORTS),
    *cases("labelme", convert_labelme, dict, "{}", SHAPES),
]
