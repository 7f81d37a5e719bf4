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

from . import Case, cases, change, encoded, file, huge_png, picture, pipe, without

# Fashionpedia: the photo a, 3 high and 4 wide -------------------------------------------------------------

IMAGE = {"id": 5, "file_name": "a.jpg", "height": 3, "width": 4}
DRESS = {"image_id": 5, "category_id": 3, "segmentation": [[0, 0, 2, 0, 2, 2]]}


def coco(image=(), dress=(), **more):
    """A build of a data set with changes to its photo, to its only annotation, or to the whole."""
    content = {
        "images": [IMAGE | dict(image)],
        "categories": [{"id": 3, "name": "dress"}, {"id": 4, "name": "earmuffs"}],
        "annotations": [DRESS | dict(dress)],
    }
    return written(json.dumps(content | more))


def written(text: str | bytes):
    """A build of a data set whose JSON has this text."""

    def build(root: Path) -> None:
        file(fashionpedia.TRAIN, text)(root)
        file("train/a.jpg", picture())(root)

    return build


def drawn(segmentation):
    return coco(dress={"segmentation": segmentation})


def counted(counts, size=(3, 4)):
    return drawn({"size": size, "counts": counts})


def convert_coco(source: Path, out: Path) -> None:
    fashionpedia.convert(source, out, workers=1, progress=False)


NOT_WHOLE = r"train2020\.json is not a whole Fashionpedia JSON .*: fetch it again"
INSTANCE = r"1 of 1 photos can't be converted\. The first: The photo .*train/a\.jpg, instance 0 of 1: "
COCO = cases(
    convert_coco,
    ("no-json", file("train/a.jpg", picture()), "holds neither instances_attributes_train2020.json nor"),
    ("torn", written('{"images": [{"id"'), NOT_WHOLE),
    ("list", written("[]"), NOT_WHOLE),
    ("latin-1", written(b'{"images": "\xe9"}'), NOT_WHOLE),
    ("deep", written("[" * 100_000), NOT_WHOLE),
    (
        "id-infinite",
        written(json.dumps({"images": [IMAGE], "categories": []}).replace("5", "1e999")),
        NOT_WHOLE,
    ),
    ("id-list", coco(image={"id": [5]}), NOT_WHOLE),
    ("name-number", coco(image={"file_name": 5}), NOT_WHOLE),
    ("images-words", coco(images=["a"]), NOT_WHOLE),
    ("no-annotations", coco(annotations=None), NOT_WHOLE),
    (
        "climbs-out",
        coco(image={"file_name": "../a.jpg"}),
        r"train2020\.json: .*'\.\./a' is not a plain file name",
    ),
    (
        "absolute",
        coco(image={"file_name": "/etc/a.jpg"}),
        r"train2020\.json: .*'/etc/a' is not a plain file name",
    ),
    ("newline", coco(image={"file_name": "a\n.jpg"}), r"train2020\.json: .*'a\\n' is not a plain file name"),
    ("unknown-image", coco(dress={"image_id": 6}), "annotation 0: there is no image 6"),
    (
        "unknown-category",
        coco(dress={"category_id": 9}),
        "annotation 0: there is no image 5 or no category 9",
    ),
    (
        "category-not-ours",
        coco(dress={"category_id": 4}),
        "annotation 0: 'earmuffs' is none of Fashionpedia's",
    ),
    (
        "photo-missing",
        without(coco(), "train/a.jpg"),
        r"1 of 1 photos .* The photo .*train/a\.jpg is missing",
    ),
    ("photo-text", change(coco(), "train/a.jpg", "no"), r"1 of 1 photos .*train/a\.jpg can't be read"),
    (
        "photo-of-kaggle",
        coco(image={"height": 6}),
        r"a\.jpg is 3 high and 4 wide, the JSON says 6 and 4: .*CVDF",
    ),
    ("photo-pipe", pipe(coco(), "train/a.jpg"), r"train/a\.jpg is a pipe, a socket or a device"),
    (
        "polygon-outside",
        drawn([[0, 0, 9, 0, 2, 2]]),
        INSTANCE + "a polygon leaves the 4 x 3 photo at x = 9, y = 0",
    ),
    ("polygon-odd", drawn([[0, 0, 2, 0, 2]]), INSTANCE + "a polygon is not a list of x, y pairs"),
    ("polygon-nan", drawn([[0, 0, 2, 0, 2, np.nan]]), INSTANCE + "a polygon leaves the 4 x 3 photo"),
    ("polygon-infinite", drawn([[0, 0, 2, 0, np.inf, 2]]), INSTANCE + "a polygon leaves .* x = inf"),
    ("polygon-huge", drawn([[0, 0, 2, 0, 2, 10**400]]), INSTANCE + "a polygon is not a list of x, y pairs"),
    ("polygon-line", drawn([[0, 0, 2, 2]]), INSTANCE + "a polygon has 2 points, it takes at least 3"),
    ("polygon-words", drawn([["left", "top", "right"]]), INSTANCE + "a polygon is not a list of x, y pairs"),
    ("polygon-none", drawn([]), INSTANCE + "its segmentation is neither polygons nor a run-length code"),
    (
        "runs-of-another-size",
        counted([12], (4, 3)),
        INSTANCE + r"its run-length code is for \[4, 3\] pixels, not",
    ),
    (
        "runs-negative",
        counted([5, -2, 9]),
        INSTANCE + "its run-length code does not cover the photo's 12 pixels",
    ),
    ("runs-short", counted([5, 2]), INSTANCE + "its run-length code does not cover"),
    (
        "runs-infinite",
        drawn({"size": [3, 4], "counts": [1e999]}),
        INSTANCE + "its run-length code lacks a proper",
    ),
    (
        "packed-garbage",
        counted("~~\u00e9\x01"),
        INSTANCE + "its run-length code lacks a proper 'size' or 'counts'",
    ),
    (
        "packed-endless",
        counted("o" * 200_000),
        INSTANCE + "its run-length code lacks a proper 'size' or 'counts'",
    ),
    ("packed-short", counted("5"), INSTANCE + "its run-length code does not cover"),
    prefix="fashionpedia-",
)

# Clothing Co-Parsing: the photo 0007, 3 high and 4 wide ---------------------------------------------------

LABELS = np.array([[0, 1, 1, 1], [1, 1, 1, 0], [0, 0, 1, 1]], np.uint8)
LIST, MAP, TAGS = "label_list.mat", "annotations/pixel-level/0007.mat", "annotations/image-level/0008.mat"


def mat(**arrays) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scipy.io.savemat(buffer, arrays)
    return buffer.getvalue()


def release(root: Path) -> None:
    file(LIST, mat(label_list=np.array([["null", "dress"]], object)))(root)
    file(MAP, mat(groundtruth=LABELS))(root)
    file(TAGS, mat(tags=np.array([[1]], np.uint8)))(root)
    for name in ("0007", "0008"):
        file(f"photos/{name}.jpg", picture())(root)


def labelled(labels):
    return change(release, MAP, mat(groundtruth=labels))


def convert_ccp(source: Path, out: Path) -> None:
    ccp.convert(source, out, workers=1, progress=False)


CCP = cases(
    convert_ccp,
    ("no-list", without(release, LIST), r"label_list\.mat is missing: give the unpacked"),
    (
        "no-maps",
        without(release, MAP),
        r"holds no annotations/pixel-level/\*\.mat: give the unpacked archive",
    ),
    (
        "no-mat",
        change(release, MAP, "MATLAB 5.0 no more"),
        r"0007\.mat holds no readable 'groundtruth' .*fetch it",
    ),
    ("empty", change(release, MAP, ""), r"0007\.mat holds no readable 'groundtruth'"),
    (
        "cut-short",
        change(release, MAP, mat(groundtruth=LABELS)[:-20]),
        r"0007\.mat holds no readable 'groundtruth'",
    ),
    ("another-array", change(release, MAP, mat(other=LABELS)), r"0007\.mat holds no readable 'groundtruth'"),
    ("shape", labelled(LABELS.T), r"0007\.mat has the shape \(4, 3\), its photo \(3, 4\)"),
    (
        "three-dimensions",
        labelled(np.dstack([LABELS] * 2)),
        r"0007\.mat has the shape \(3, 4, 2\), its photo",
    ),
    ("unknown-label", labelled(LABELS * 2), r"0007\.mat holds the label 2, label_list\.mat ends at 1"),
    (
        "negative-label",
        labelled(-LABELS.astype(np.int8)),
        r"0007\.mat holds the label -1, label_list\.mat ends",
    ),
    ("fractions", labelled(LABELS + 0.5), r"0007\.mat holds labels that are float64, not whole numbers"),
    (
        "words",
        labelled(np.array([["a"] * 4] * 3, object)),
        r"0007\.mat holds labels that are object, not whole",
    ),
    (
        "tag-unknown",
        change(release, TAGS, mat(tags=np.array([[9]]))),
        r"0008\.mat holds the tag 9, label_list",
    ),
    (
        "tag-word",
        change(release, TAGS, mat(tags="dress")),
        r"0008\.mat holds tags that are .*, not whole numbers",
    ),
    (
        "list-unknown",
        change(release, LIST, mat(label_list=np.array([["null", "crown"]], object))),
        r"label_list\.mat lists the label 'crown', which Clothing Co-Parsing does not have",
    ),
    (
        "list-numbers",
        change(release, LIST, mat(label_list=np.arange(3))),
        r"label_list\.mat lists the label '0'",
    ),
    ("photo-missing", without(release, "photos/0007.jpg"), r"The photo .*0007\.jpg is missing"),
    (
        "map-pipe",
        pipe(release, MAP),
        r"0007\.mat holds no readable 'groundtruth' \(.*0007\.mat is a pipe, a socket",
    ),
    ("photo-pipe", pipe(release, "photos/0008.jpg"), r"photos/0008\.jpg is a pipe, a socket or a device and"),
    (
        "photo-not-utf-8",
        change(release, "photos/caf\udce9.jpg", picture()),
        r"'caf\\udce9' is not a plain file name: use printable UTF-8",
    ),
    ("photo-text", change(release, "photos/0007.jpg", "GIF"), r"The photo .*0007\.jpg can't be read"),
    prefix="ccp-",
)

# own folders: the photo a with a red dress on white -------------------------------------------------------

TABLE = "colour,class\n#ff0000,dress\n#ffffff,background\n"


GREY = Image.new("L", (4, 3))
RED = encoded(Image.new("RGB", (4, 3), (255, 0, 0)))
VALUES = encoded(Image.new("L", (4, 3), 7))


def painted(root: Path) -> None:
    file("classes.csv", TABLE)(root)
    file("photos/a.jpg", picture())(root)
    file("masks/a.png", RED)(root)


def tabled(text, mask=RED):
    return change(change(painted, "classes.csv", text), "masks/a.png", mask)


def masked(content):
    return change(painted, "masks/a.png", content)


def convert_own(source: Path, out: Path) -> None:
    own.convert(source, out, workers=1, progress=False)


OWN = cases(
    convert_own,
    ("no-table", without(painted, "classes.csv"), r"classes\.csv is missing: it says which colour"),
    (
        "no-header",
        tabled("#ff0000,dress\n"),
        r"classes\.csv must have the columns 'colour,class' or 'value,class'",
    ),
    (
        "unknown-class",
        tabled("colour,class\n#ff0000,dres\n"),
        r"row 2: Unknown class 'dres'\. Did you mean 'dress'",
    ),
    (
        "colour-word",
        tabled("colour,class\nred,dress\n"),
        r"row 2: The colour 'red' is not of the form #rrggbb",
    ),
    (
        "colour-twice",
        tabled(TABLE + "#FF0000,skirt\n"),
        r"row 4: The colour '#FF0000' means another class further",
    ),
    ("value-float", tabled("value,class\n1.5,dress\n"), r"row 2: The value '1\.5' is not a whole number"),
    (
        "value-huge",
        tabled(f"value,class\n{'9' * 5000},dress\n"),
        r"row 2: The value '9{37}\.\.\.' is not a whole",
    ),
    (
        "table-utf-16",
        tabled(TABLE.encode("utf-16")),
        r"classes\.csv is no UTF-8 text: save it with the encoding UTF-8",
    ),
    ("table-pipe", pipe(painted, "classes.csv"), r"classes\.csv is a pipe, a socket or a device"),
    ("mask-pipe", pipe(painted, "masks/a.png"), r"a\.png can't be read \(.*masks/a\.png is a pipe, a"),
    ("mask-twice", change(painted, "masks/a.tif", RED), r"a\.tif and a\.png would get the same id: keep one"),
    (
        "mask-animated",
        masked(encoded(GREY, save_all=True, append_images=[Image.new("L", (4, 3), 7)])),
        r"a\.png holds 2 pictures: save the one that is meant",
    ),
    ("photo-pipe", pipe(painted, "photos/a.jpg"), r"photos/a\.jpg is a pipe, a socket or a device"),
    ("photo-tiff", change(painted, "photos/b.tif", picture("TIFF")), r"b\.tif is no photo of the kind \.jpg"),
    (
        "photo-not-utf-8",
        change(painted, "photos/caf\udce9.jpg", picture()),
        r"'caf\\udce9' is not a plain file name: use printable UTF-8",
    ),
    ("no-masks", without(painted, "masks/a.png"), r"masks holds no \.png: put a painted mask"),
    (
        "mask-of-another-size",
        masked(picture("PNG", (5, 3))),
        r"a\.png is 3 high and 5 wide, its photo .* 4 wide",
    ),
    (
        "mask-colour",
        masked(encoded(Image.new("RGB", (4, 3), (1, 2, 3)))),
        r"a\.png has colours that classes\.csv "
        r"lacks, on 12 pixels: #010203 \(12\); list them",
    ),
    (
        "mask-value",
        tabled("value,class\n1,dress\n", VALUES),
        r"a\.png has values that classes\.csv lacks.*7 \(12\)",
    ),
    (
        "mask-colours-for-values",
        tabled("value,class\n1,dress\n"),
        r"a\.png is a colour image, but classes\.csv list",
    ),
    ("mask-cut-short", masked(RED[:-30]), r"a\.png can't be read"),
    ("mask-text", masked("no"), r"a\.png can't be read"),
    ("mask-gigapixel", masked(huge_png()), r"a\.png can't be read \(Image size"),
    ("photo-web-page", change(painted, "photos/a.jpg", "<html>"), r"a\.jpg can't be read"),
    ("photo-gone", without(painted, "photos/a.jpg"), r"a\.png has no photo of the same name"),
    ("photo-newline", change(painted, "photos/a\n.jpg", picture()), r"'a\\n' is not a plain file name"),
    prefix="own-",
)

# archives: the folder train of a zip ----------------------------------------------------------------------


def member(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def archive(*members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, text in (("train/a.jpg", "photo"), *members):
            content.writestr(name, text)
    return buffer.getvalue()


def zipped(*members):
    return file("t.zip", archive(*members))


def flagged() -> bytes:
    """An archive that says that its member is encrypted."""
    content = archive()
    local, central = content.index(b"PK\3\4") + 6, content.index(b"PK\1\2") + 8
    return b"".join([content[:local], b"\1", content[local + 1 : central], b"\1", content[central + 1 :]])


def unpack(source: Path, out: Path) -> None:
    out.mkdir()
    download.unpack(source / "t.zip", "train", out / "train", progress=False)


ODD = r"t\.zip holds '.*', which leads out of the folder or is no file: don't use it"
BROKEN = r"t\.zip is damaged .*: delete it and fetch it again"
ARCHIVES = cases(
    unpack,
    ("no-zip", file("t.zip", "<html>Sign in</html>"), BROKEN),
    ("damaged", file("t.zip", archive().replace(b"photo", b"fotos")), r"t\.zip is damaged \(Bad CRC-32"),
    ("cut-short", file("t.zip", archive()[:-30]), BROKEN),
    ("another", file("t.zip", archive().replace(b"train", b"tests")), r"t\.zip holds no folder 'train'"),
    ("climbs-out", zipped(("train/../../x", "")), ODD),
    ("absolute", zipped(("/etc/x", "")), ODD),
    ("drive", zipped(("C:/x", "")), ODD),
    ("backslash", zipped(("train\\..\\x", "")), ODD),
    ("link", zipped((member("train/x", 0o120777), "/etc/passwd")), ODD),
    ("device", zipped((member("train/x", 0o020666), "")), ODD),
    ("file-as-folder", zipped(("train/a.jpg/b", "")), BROKEN),
    ("encrypted", file("t.zip", flagged()), r"t\.zip is damaged \(File .*train/a\.jpg.* is encrypted"),
    prefix="archive-",
)
SOURCES: list[Case] = COCO + CCP + OWN + ARCHIVES
