"""Raw folders: train.csv, label_descriptions.json, photos."""

import json
from pathlib import Path

from fashionlib.data import prepare as preparing
from fashionlib.data import raw

from . import FOLDER, PIPE, Case, Files, cases, changed, huge_jpeg, huge_png, picture

HEADER = ",".join(raw.COLUMNS)
GOOD = "a,1 2,3,4,0,"


def table(*rows: str, header: str = HEADER, ends: str = "\n") -> str:
    """A train.csv with one good row of the photo a, then `rows`; they begin in row 3."""
    return ends.join([header, GOOD, *rows, ""])


def folder(csv: str | None = None) -> Files:
    """A raw folder of the photos a and b, 3 high and 4 wide."""
    descriptions = json.dumps({"info": {"source": "x"}, "categories": [{"id": 19, "name": "belt"}]})
    photos = {f"train/{name}.jpg": picture() for name in "ab"}
    return photos | {raw.CSV: table() if csv is None else csv, raw.DESCRIPTIONS: descriptions}


def row(image_id="b", code="1 2", height="3", width="4", class_id="0") -> Files:
    """A raw folder with a third row of these fields."""
    return folder(table(f"{image_id},{code},{height},{width},{class_id},"))


def coded(code: str) -> Files:
    return row(code=code)


def one_bad_line_in(rows: int) -> Files:
    """A raw folder with many good rows of photo a; a bad one of photo b is the last but one."""
    return folder(table(*[GOOD] * (rows - 2), "b,1 2 3,3,4,0,", GOOD))


def read(source: Path, out: Path) -> None:
    raw.read(source)


def prepare(source: Path, out: Path) -> None:
    preparing.prepare(source, out, max_bad=0, fractions=(1, 0, 0), workers=1, progress=False)


NOT_CSV = " can't be read as CSV: "
TABLES = [
    ("missing", None, " does not exist: fill .* first"),
    ("folder", FOLDER, " is a folder and must be a file"),
    ("pipe", PIPE, " is a pipe, a socket or a device and must be a file"),
    ("empty", "", NOT_CSV + "No columns"),
    ("no-rows", HEADER, " has no rows below its header"),
    ("no-column", table(header=HEADER.replace("Width", "W")), " has no column 'Width': .* 'ImageId', .*'W'"),
    ("column-twice", table(header=f"{HEADER},ClassId"), " has the column 'ClassId' twice"),
    ("semicolons", f"{HEADER}\n{GOOD}".replace(",", ";"), " has no column 'ImageId'"),
    ("web-page", "<!DOCTYPE html>\n<html>Sign in\n</html>", " has no column .*names '<!DOCTYPE html>'"),
    ("utf-16", f"{HEADER}\n{GOOD}".encode("utf-16"), NOT_CSV + "'utf-8' codec"),
    ("latin-1", f"{HEADER}\ncaf\xe9,1 2,3,4,0,".encode("latin-1"), NOT_CSV + "'utf-8' .*decode byte 0xe9"),
    ("long-row", table("b,1 2,3,4,0,,7,8"), NOT_CSV + ".*Expected 6 fields in line 3"),
    ("long-rows", f"{HEADER}\n{GOOD},7", NOT_CSV + "its rows have more fields than its header names"),
    ("short-row", table("b,1 2"), r", row 3 \(photo 'b'\): Height '' is not a whole number"),
    ("open-quote", table('b,"1 2,3,4,0,', GOOD), NOT_CSV + ".*EOF inside string"),
    (
        "quote-closed-later",
        table('b,"1 2,3,4,0,', 'b,1 2",3,4,0,'),
        r", row 3 .*b,1 2' holds a line break",
    ),
]
IDS = [
    ("climbs-out", "../../etc/passwd", r"'\.\./\.\./etc/passwd'"),
    ("absolute", "/etc/passwd", "'/etc/passwd'"),
    ("backslash", "..\\x", r"'\.\.\\\\x'"),
    ("drive", "C:x", "'C:x'"),
    ("dots", "..", r"'\.\.'"),
    ("none", "", "''"),
    ("newline", '"b\n"', r"'b\\n'"),
    ("nul", "b\0", r"'b\\x00'"),
    ("escape", "\x1b[2Jb", r"'\\x1b\[2Jb'"),
    ("right-to-left", "\u202egpj.b", r"'\\u202egpj\.b'"),
    ("long", "/" * 100_000, r"'/{37}\.\.\.'"),
]
NO_INTEGER, NO_RUN = "holds something other than integers", "is not a start and a length of at least 1"
CODES = [
    ("odd", "1 2 3", "code '1 2 3' has an odd number of integers"),
    ("word", "1 x", f"code '1 x' {NO_INTEGER}"),
    ("float", "1 2.5", rf"code '1 2\.5' {NO_INTEGER}"),
    ("hex", "0x1 2", f"code '0x1 2' {NO_INTEGER}"),
    ("lone-sign", "+ 1 2", rf"code '\+ 1 2' {NO_INTEGER}"),
    ("nul", "1 2\0", rf"code '1 2\\x00' {NO_INTEGER}"),
    ("foreign-digits", "\uff11 2", NO_INTEGER),
    ("start-0", "0 2", rf"the run '0 2' \(pair 1\) {NO_RUN}"),
    ("negative-start", "1 2 -3 1", rf"the run '-3 1' \(pair 2\) {NO_RUN}"),
    ("length-0", "1 0", rf"the run '1 0' \(pair 1\) {NO_RUN}"),
    ("negative-length", "5 -4", rf"the run '5 -4' \(pair 1\) {NO_RUN}"),
    ("past-the-end", "12 2", r"the run '12 2' \(pair 1\) goes past the photo's 12 pixels"),
    ("beyond-64-bits", "1 99999999999999999999", r"the run '1 9{20}' \(pair 1\) goes past"),
    ("start-beyond-64-bits", f"{2**64 + 1} 1", rf"the run '{2**64 + 1} 1' \(pair 1\) goes past"),
    ("empty", "", "EncodedPixels is empty"),
    ("blank", '"   "', "EncodedPixels is empty"),
    ("long", "7 " * 100_001, r"'(7 )+7?\.\.\.' has an odd number of integers \(100001\)"),
]
ROWS = [
    ("height-float", row(height="3.5"), r"Height '3\.5' is not a whole number"),
    ("height-word", row(height="high"), "Height 'high' is not a whole number"),
    ("height-0", row(height="0"), "Height 0 is not positive"),
    ("width-negative", row(width="-4"), "Width -4 is not positive"),
    ("width-huge", row(width="1e30"), "Width '1e30' is not a whole number"),
    ("width-infinite", row(width="inf"), "Width 'inf' is not a whole number"),
    ("size-of-another-row", row("a", height="4"), "Height 4 differs from the photo's first row"),
    ("size-of-the-photo", row(height="4", width="3"), r"4 x 3 differ from the photo .*b\.jpg, .* 3 x 4"),
    ("class-46", row(class_id="46"), r"ClassId 46 is not one of the known ids \(0-45\)"),
    ("class-negative", row(class_id="-1"), "ClassId -1 is not one of the known ids"),
    ("class-word", row(class_id="dress"), "ClassId 'dress' is not a whole number"),
    ("class-none", row(class_id=""), "ClassId '' is not a whole number"),
]
CATEGORIES = ": 'categories' must be a list of objects with"
INFO = ": 'info' must be an object, and its 'source'"
OTHER = '{"categories": [{"id": 0, "name": "n0"}, {"id": 1, "name": "n1"}]}'
OWN = '{"info": {"classes": "own"}, "categories": [{"id": 0, "name": "a"}]}'
DESCRIPTIONS = [
    ("torn", '{"info": {', r" is not valid JSON .*: fetch or convert it again"),
    ("list", "[]", " holds no JSON object"),
    ("latin-1", b'{"info": "\xe9"}', r" is no UTF-8 text \(byte 10\)"),
    ("deep", "[" * 100_000, r" is not valid JSON \(maximum recursion"),
    ("folder", FOLDER, " is a folder and must be a file"),
    ("pipe", PIPE, " is a pipe, a socket or"),
    ("other-names", OTHER, " names the id 0 'n0', and here it is 'shirt, blouse': convert the data"),
    ("categories-null", '{"categories": null}', CATEGORIES),
    ("categories-words", '{"categories": ["belt"]}', CATEGORIES),
    ("id-list", '{"categories": [{"id": [1]}]}', CATEGORIES),
    ("own-ids", OWN.replace("0", "1"), ": own classes need the ids 0, 1, … and 1 to 254 different names"),
    ("own-none", OWN.replace('[{"id": 0, "name": "a"}]', "[]"), ": own classes need the ids 0"),
    ("own-background", OWN.replace('"a"', '"background"'), ": own classes need the ids 0"),
    ("own-name-number", OWN.replace('"a"', "7"), ": own classes need the ids 0"),
    ("info-list", '{"info": [1]}', INFO),
    ("source-number", '{"info": {"source": 1}}', INFO),
]
OWN_ROW = [("class-of-own", row(class_id="1") | {raw.DESCRIPTIONS: OWN}, r"ClassId 1 is not .* \(0-0\)")]
MISSING = ("missing", None, r"b\.jpg is missing")
PHOTOS = [
    MISSING,
    ("empty", "", r"b\.jpg can't be read \(cannot identify"),
    ("text", "no photo", r"b\.jpg can't be read"),
    ("web-page", "<html>Sign in</html>", r"b\.jpg can't be read"),
    ("head-only", picture()[:60], r"b\.jpg can't be read"),
    ("folder", FOLDER, r"b\.jpg can't be read \(.* is a folder and must"),
    ("pipe", PIPE, r"b\.jpg can't be read \(.* is a pipe, a"),
    ("gigapixel-jpeg", huge_jpeg(), r"b\.jpg can't be read \(Image size \(4290250000 pixels\)"),
    ("gigapixel-png", huge_png(), r"b\.jpg can't be read \(Image size \(3600000000 pixels\)"),
]
PREPARED_PHOTOS = [MISSING, ("cut-short", picture(quality=95)[:-12], r"b\.jpg is damaged \(.*truncated")]

MANY = [("200000-rows-one-bad", 200_000, "")]
ROW_3, PHOTO = r"train\.csv, row 3 \(photo .*\): ", changed(row(), "train/b.jpg")
NO_NAME = ROW_3 + r"ImageId {} is no plain file name: it could lead out of train/"
BAD_PHOTOS = r"1 of 2 photos .* are bad.*row 3 \('b'\): [Tt]he photo .*{}.*Repair them, or"
RAW: list[Case] = [
    *cases("csv", read, changed(folder(), raw.CSV), r"train\.csv{}", TABLES),
    *cases("csv", read, one_bad_line_in, r"row 200001 \(photo 'b'\): .* odd number of", MANY),
    *cases("id", read, row, NO_NAME, IDS),
    *cases("code", read, coded, ROW_3 + ".*{}", CODES),
    *cases("row", read, dict, ROW_3 + ".*{}", [*ROWS, *OWN_ROW]),
    *cases("descriptions", read, changed(folder(), raw.DESCRIPTIONS), r"descriptions\.json{}", DESCRIPTIONS),
    *cases("photo", read, PHOTO, ROW_3 + r"The photo .*train/{}", PHOTOS),
    *cases("prepare-photo", prepare, PHOTO, BAD_PHOTOS, PREPARED_PHOTOS),
    *cases("prepare-csv", prepare, changed(folder(), raw.CSV), r"train\.csv{}", [TABLES[0], TABLES[2]]),
]
