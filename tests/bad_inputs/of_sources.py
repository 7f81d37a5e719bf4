"""What is converted to raw folders: Fashionpedia's JSON, CCP's .mat files, painted masks, archives."""

import io
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from fashionlib.data.sources import ccp, download, fashionpedia
from fashionlib.data.sources import folder as own

from . import PIPE, Case, Files, cases, changed, encoded, huge_png, picture

NOT_READ, SPECIAL = "can't be read", "is a pipe, a socket or a device and must be a file"

# Fashionpedia: the photo a, 3 high and 4 wide -------------------------------------------------------------

IMAGE = {"id": 5, "file_name": "a.jpg", "height": 3, "width": 4}
DRESS = {"image_id": 5, "category_id": 3, "segmentation": [[0, 0, 2, 0, 2, 2]]}


def coco(image=(), dress=(), **more) -> Files:
    """A data set with changes to its photo, to its only annotation, or to the whole."""
    content = {
        "images": [IMAGE | dict(image)],
        "categories": [{"id": 3, "name": "dress"}, {"id": 4, "name": "earmuffs"}],
        "annotations": [DRESS | dict(dress)],
    }
    return {fashionpedia.TRAIN: json.dumps(content | more), "train/a.jpg": picture()}


def drawn(segmentation) -> Files:
    return coco(dress={"segmentation": segmentation})


def counted(counts, size=(3, 4)) -> Files:
    return drawn({"size": size, "counts": counts})


def convert_coco(source: Path, out: Path) -> None:
    fashionpedia.convert(source, out, workers=1, progress=False)


NOT_WHOLE = r"train2020\.json is not a whole Fashionpedia JSON \({}.*\): fetch it again"
TEXTS = [
    ("torn", '{"images": [{"id"', "JSONDecodeError"),
    ("list", "[]", "TypeError"),
    ("no-categories", '{"images": []}', "KeyError.*categories"),
    ("no-category", coco(annotations=[{"image_id": 5}])[fashionpedia.TRAIN], "KeyError.*category_id"),
    ("latin-1", b'{"images": "\xe9"}', "UnicodeDecodeError"),
    ("deep", "[" * 100_000, "RecursionError"),
    ("id-infinite", json.dumps({"images": [IMAGE], "categories": []}).replace("5", "1e999"), "OverflowError"),
    ("id-list", coco(image={"id": [5]})[fashionpedia.TRAIN], "TypeError"),
    ("name-number", coco(image={"file_name": 5})[fashionpedia.TRAIN], "AttributeError"),
    ("images-words", coco(images=["a"])[fashionpedia.TRAIN], "TypeError"),
    ("no-annotations", coco(annotations=None)[fashionpedia.TRAIN], "TypeError"),
]
NAMES = [
    ("no-json", {"train/a.jpg": picture()}, r" nor instances_attributes_val2020\.json: see `fashionlib"),
    ("climbs-out", coco(image={"file_name": "../a.jpg"}), r": .*'\.\./a' is not a plain file name"),
    ("absolute", coco(image={"file_name": "/etc/a.jpg"}), ": .*'/etc/a' is not a plain file name"),
    ("newline", coco(image={"file_name": "a\n.jpg"}), r": .*'a\\n' is not a plain file name"),
    ("unknown-image", coco(dress={"image_id": 6}), ", annotation 0: there is no image 6"),
    ("unknown-category", coco(dress={"category_id": 9}), ", .* 0: there is no image 5 or no category 9"),
    ("category-not-ours", coco(dress={"category_id": 4}), ", .* 0: 'earmuffs' is none of Fashionpedia's"),
]
COCO_PHOTOS = [
    ("missing", coco() | {"train/a.jpg": None}, r"1 of 1 photos .* The photo .*train/a\.jpg is missing"),
    ("text", coco() | {"train/a.jpg": "no"}, rf"1 of 1 photos .*train/a\.jpg {NOT_READ}"),
    ("of-kaggle", coco(image={"height": 6}), r"a\.jpg is 3 high and 4 wide, the JSON says 6 and 4: .*CVDF"),
    ("pipe", coco() | {"train/a.jpg": PIPE}, rf"train/a\.jpg {SPECIAL}"),
]
INSTANCE = r"1 of 1 photos can't be converted\. The first: The photo .*train/a\.jpg, instance 0 of 1: {}"
LEAVES, NO_PAIRS = "a polygon leaves the 4 x 3 photo at x = ", "a polygon is not a list of x, y pairs"
POLYGONS = [
    ("outside", [[0, 0, 9, 0, 2, 2]], LEAVES + "9, y = 0"),
    ("odd", [[0, 0, 2, 0, 2]], NO_PAIRS),
    ("nan", [[0, 0, 2, 0, 2, np.nan]], LEAVES + "2, y = nan"),
    ("infinite", [[0, 0, 2, 0, np.inf, 2]], LEAVES + "inf"),
    ("huge", [[0, 0, 2, 0, 2, 10**400]], NO_PAIRS),
    ("line", [[0, 0, 2, 2]], "a polygon has 2 points, it takes at least 3"),
    ("words", [["left", "top", "right"]], NO_PAIRS),
    ("none", [], "its segmentation is neither polygons nor a run-length code"),
]
UNCOVERED, IMPROPER = "does not cover the photo's 12 pixels", "lacks a proper 'size' or 'counts'"
RUNS = [
    ("runs-of-another-size", counted([12], (4, 3)), r"is for \[4, 3\] pixels, not"),
    ("runs-negative", counted([5, -2, 9]), UNCOVERED),
    ("runs-short", counted([5, 2]), UNCOVERED),
    ("runs-infinite", counted([1e999]), IMPROPER),
    ("packed-garbage", counted("~~\u00e9\x01"), IMPROPER),
    ("packed-endless", counted("o" * 200_000), IMPROPER),
    ("packed-short", counted("5"), UNCOVERED),
    ("packed-empty", counted(""), UNCOVERED),
    ("runs-without-size", drawn({"counts": [12]}), IMPROPER),
]

# Clothing Co-Parsing: the photo 0007, 3 high and 4 wide ---------------------------------------------------

LABELS = np.array([[0, 1, 1, 1], [1, 1, 1, 0], [0, 0, 1, 1]], np.uint8)
LIST, MAP, TAGS = "label_list.mat", "annotations/pixel-level/0007.mat", "annotations/image-level/0008.mat"


def mat(**arrays) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scipy.io.savemat(buffer, arrays)
    return buffer.getvalue()


def listed(*names: str) -> bytes:
    return mat(label_list=np.array([names], object))


RELEASE = {
    LIST: listed("null", "dress"),
    MAP: mat(groundtruth=LABELS),
    TAGS: mat(tags=np.array([[1]], np.uint8)),
    "photos/0007.jpg": picture(),
    "photos/0008.jpg": picture(),
}


def labelled(labels) -> Files:
    return RELEASE | {MAP: mat(groundtruth=labels)}


def convert_ccp(source: Path, out: Path) -> None:
    ccp.convert(source, out, workers=1, progress=False)


NOT_UTF_8 = r"'caf\\udce9' is not a plain file name: use printable UTF-8"
RELEASES = [
    ("no-list", {LIST: None}, r"label_list\.mat is missing: give the unpacked"),
    ("no-maps", {MAP: None}, r"holds no annotations/pixel-level/\*\.mat: give the unpacked archive"),
    ("tag-unknown", {TAGS: mat(tags=np.array([[9]]))}, r"0008\.mat holds the tag 9, label_list"),
    ("tag-word", {TAGS: mat(tags="dress")}, r"0008\.mat holds tags that are .*, not whole numbers"),
    ("list-unknown", {LIST: listed("null", "crown")}, r"list\.mat lists the label 'crown', which Clothing"),
    ("list-numbers", {LIST: mat(label_list=np.arange(3))}, r"label_list\.mat lists the label '0'"),
    ("photo-missing", {"photos/0007.jpg": None}, r"The photo .*0007\.jpg is missing"),
    ("photo-pipe", {"photos/0008.jpg": PIPE}, rf"photos/0008\.jpg {SPECIAL}"),
    ("photo-not-utf-8", {"photos/caf\udce9.jpg": picture()}, NOT_UTF_8),
    ("photo-text", {"photos/0007.jpg": "GIF"}, rf"The photo .*0007\.jpg {NOT_READ}"),
]
MAPS = [
    ("no-mat", "MATLAB 5.0 no more", r"no readable 'groundtruth' .*fetch it"),
    ("empty", "", "no readable 'groundtruth'"),
    ("cut-short", mat(groundtruth=LABELS)[:-20], "no readable 'groundtruth'"),
    ("another-array", mat(other=LABELS), "no readable 'groundtruth'"),
    ("map-pipe", PIPE, r"no readable 'groundtruth' \(.*0007\.mat is a pipe, a socket"),
]
SHAPES = [
    ("shape", LABELS.T, r"has the shape \(4, 3\), its photo \(3, 4\)"),
    ("three-dimensions", np.dstack([LABELS] * 2), r"has the shape \(3, 4, 2\), its photo"),
    ("unknown-label", LABELS * 2, r"holds the label 2, label_list\.mat ends at 1"),
    ("negative-label", -LABELS.astype(np.int8), r"holds the label -1, label_list\.mat ends"),
    ("fractions", LABELS + 0.5, "holds labels that are float64, not whole numbers"),
    ("words", np.array([["a"] * 4] * 3, object), "holds labels that are object, not whole"),
]

# own folders: the photo a with a red dress on white -------------------------------------------------------

VALUES = "value,class\n1,dress\n"
COLOURS = "colour,class\n#ff0000,dress\n#ffffff,background\n"
GREY = [Image.new("L", (4, 3), value) for value in (0, 7)]
RED, BLUE = (encoded(Image.new("RGB", (4, 3), colour)) for colour in ((255, 0, 0), (1, 2, 3)))
OWN = {"classes.csv": COLOURS, "photos/a.jpg": picture(), "masks/a.png": RED}


def convert_own(source: Path, out: Path) -> None:
    own.convert(source, out, workers=1, progress=False)


TABLES = [
    ("no-table", None, r"classes\.csv is missing: it says which colour"),
    ("no-header", "#ff0000,dress\n", r"classes\.csv must have the columns 'colour,class' or 'value,class'"),
    ("no-rows", "colour,class\n", r"classes\.csv must have the columns .* and a row a class"),
    ("comma-unquoted", COLOURS + "#00ff00,bag, wallet\n", "can't be read .*: quote names with commas"),
    ("unknown-class", "colour,class\n#ff0000,dres\n", r"row 2: Unknown class 'dres'\. Did you mean 'dress'"),
    ("colour-word", "colour,class\nred,dress\n", "row 2: The colour 'red' is not of the form #rrggbb"),
    ("colour-twice", COLOURS + "#FF0000,skirt\n", "row 4: The colour '#FF0000' means another class further"),
    ("value-float", "value,class\n1.5,dress\n", r"row 2: The value '1\.5' is not a whole number"),
    ("value-huge", f"value,class\n{'9' * 5000},dress\n", r"row 2: The value '9{37}\.\.\.' is not a whole"),
    ("table-utf-16", COLOURS.encode("utf-16"), r"classes\.csv is no UTF-8 text: save it with the encoding"),
    ("table-pipe", PIPE, rf"classes\.csv {SPECIAL}"),
    ("mask-colours-for-values", VALUES, r"a\.png is a colour image, but classes\.csv list"),
]
VALUES_AND_7 = {"classes.csv": VALUES, "masks/a.png": encoded(GREY[1])}
FOLDERS = [
    ("mask-twice", {"masks/a.tif": RED}, r"a\.tif and a\.png would get the same id: keep one"),
    ("mask-value", VALUES_AND_7, r"a\.png has values that classes\.csv lacks.*7 \(12\)"),
    (
        "mask-bmp",
        {"masks/b.bmp": RED, "photos/b.jpg": picture()},
        r"b\.bmp is no mask of the kind \.png: save",
    ),
    ("no-masks", {"masks/a.png": None}, r"masks holds no \.png: put a painted mask"),
    ("photo-pipe", {"photos/a.jpg": PIPE}, rf"photos/a\.jpg {SPECIAL}"),
    ("photo-tiff", {"photos/b.tif": picture("TIFF")}, r"b\.tif is no photo of the kind \.jpg"),
    ("photo-not-utf-8", {"photos/caf\udce9.jpg": picture()}, NOT_UTF_8),
    ("photo-web-page", {"photos/a.jpg": "<html>"}, rf"a\.jpg {NOT_READ}"),
    ("photo-gone", {"photos/a.jpg": None}, r"a\.png has no photo of the same name"),
    ("photo-newline", {"photos/a\n.jpg": picture()}, r"'a\\n' is not a plain file name"),
]
MASKS = [
    ("pipe", PIPE, NOT_READ + r" \(.*masks/a\.png is a pipe, a"),
    ("animated", encoded(GREY[0], save_all=True, append_images=GREY[1:]), "holds 2 pictures: save the one"),
    ("of-another-size", picture("PNG", (5, 3)), "is 3 high and 5 wide, its photo .* 4 wide"),
    ("colour", BLUE, r"has colours that classes\.csv lacks, on 12 pixels: #010203 \(12\); list them"),
    ("cut-short", RED[:-30], NOT_READ),
    ("text", "no", NOT_READ),
    ("gigapixel", huge_png(), NOT_READ + r" \(Image size"),
]

# archives: the folder train of a zip ----------------------------------------------------------------------


def member(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def archive(*members) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as content:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, text in (("train/a.jpg", "photo"), *members):
            content.writestr(name, text)
    return buffer.getvalue()


def flagged() -> bytes:
    """An archive that says that its member is encrypted."""
    content = archive()
    local, central = content.index(b"PK\3\4") + 6, content.index(b"PK\1\2") + 8
    return b"".join([content[:local], b"\1", content[local + 1 : central], b"\1", content[central + 1 :]])


def unpack(source: Path, out: Path) -> None:
    out.mkdir()
    download.unpack(source / "t.zip", "train", out / "train", progress=False)


OUT = "holds '.*', which leads out of the folder or is no file: don't use it"
LINK = archive((member("train/x", 0o120777), "/etc/passwd"))
ARCHIVES = [
    ("no-zip", "<html>Sign in</html>", "is damaged .*: delete it and fetch it again"),
    ("damaged", archive().replace(b"photo", b"fotos"), r"is damaged \(Bad CRC-32"),
    ("cut-short", archive()[:-30], "is damaged"),
    ("another", archive().replace(b"train", b"tests"), "holds no folder 'train'"),
    ("climbs-out", archive(("train/../../x", "")), OUT),
    ("absolute", archive(("/etc/x", "")), OUT),
    ("drive", archive(("C:/x", "")), OUT),
    ("backslash", archive(("train\\..\\x", "")), OUT),
    ("link", LINK, OUT),
    ("device", archive((member("train/x", 0o020666), "")), OUT),
    ("file-as-folder", archive(("train/a.jpg/b", "")), "is damaged"),
    ("encrypted", flagged(), r"is damaged \(File .*train/a\.jpg.* is encrypted"),
]

SOURCES: list[Case] = [
    *cases("fashionpedia", convert_coco, changed(coco(), fashionpedia.TRAIN), NOT_WHOLE, TEXTS),
    *cases("fashionpedia", convert_coco, dict, r"train2020\.json{}", NAMES),
    *cases("fashionpedia-photo", convert_coco, dict, "{}", COCO_PHOTOS),
    *cases("fashionpedia-polygon", convert_coco, drawn, INSTANCE, POLYGONS),
    *cases("fashionpedia", convert_coco, dict, INSTANCE.replace("{}", "its run-length code {}"), RUNS),
    *cases("ccp", convert_ccp, changed(RELEASE), "{}", RELEASES),
    *cases("ccp", convert_ccp, changed(RELEASE, MAP), r"0007\.mat holds {}", MAPS),
    *cases("ccp", convert_ccp, labelled, r"0007\.mat {}", SHAPES),
    *cases("own", convert_own, changed(OWN, "classes.csv"), "{}", TABLES),
    *cases("own", convert_own, changed(OWN), "{}", FOLDERS),
    *cases("own-mask", convert_own, changed(OWN, "masks/a.png"), r"a\.png {}", MASKS),
    *cases("archive", unpack, lambda content: {"t.zip": content}, r"t\.zip {}", ARCHIVES),
]
