"""Raw folders: train.csv, label_descriptions.json, photos."""

import json
from pathlib import Path

from fashionlib.data import prepare as preparing
from fashionlib.data import raw

from . import Case, cases, change, file, huge_jpeg, huge_png, picture, pipe, without

HEADER = ",".join(raw.COLUMNS)
GOOD = "a,1 2,3,4,0,"
BELT = {"id": 19, "name": "belt"}


def folder(*rows: str, header: str = HEADER, ends: str = "\n"):
    """A build: photos a and b, 3 high and 4 wide, one good row of a, then `rows`; they begin in row 3."""

    def build(root: Path) -> None:
        for name in "ab":
            file(f"train/{name}.jpg", picture())(root)
        file(raw.CSV, ends.join([header, GOOD, *rows, ""]))(root)
        file(raw.DESCRIPTIONS, json.dumps({"info": {"source": "x"}, "categories": [BELT]}))(root)

    return build


def row(image_id="b", code="1 2", height="3", width="4", class_id="0"):
    """A build with a third row of these fields."""
    return folder(f"{image_id},{code},{height},{width},{class_id},")


def one_bad_line_in(rows: int):
    """A build of many good rows of photo a; a bad one of photo b is the last but one."""
    return folder(*[GOOD] * (rows - 2), "b,1 2 3,3,4,0,", GOOD)


def table(content):
    return change(folder(), raw.CSV, content)


def described(content):
    return change(folder(), raw.DESCRIPTIONS, content)


def photo(content):
    return change(row(), "train/b.jpg", content)


def read(source: Path, out: Path) -> None:
    raw.read(source)


def prepare(source: Path, out: Path) -> None:
    preparing.prepare(source, out, max_bad=0, fractions=(1, 0, 0), workers=1, progress=False)


def no_file_name(name: str) -> str:
    return rf"train\.csv, row 3 \(photo .*: ImageId {name} is no plain file name: it could lead out of train/"


BAD_FILES = cases(
    read,
    ("missing", without(folder(), raw.CSV), r"train\.csv does not exist: fill .* first"),
    ("folder", table(None), r"train\.csv is a folder and must be a file"),
    ("pipe", pipe(folder(), raw.CSV), r"train\.csv is a pipe, a socket or a device and must be a file"),
    ("empty", table(""), r"train\.csv can't be read as CSV: No columns"),
    ("no-rows", table(HEADER), r"train\.csv has no rows below its header"),
    (
        "no-column",
        folder(header=HEADER.replace("Width", "W")),
        r"no column 'Width': .* names 'ImageId', .*'W'",
    ),
    ("column-twice", folder(header=f"{HEADER},ClassId"), r"train\.csv has the column 'ClassId' twice"),
    ("semicolons", table(f"{HEADER}\n{GOOD}".replace(",", ";")), r"train\.csv has no column 'ImageId'"),
    ("web-page", table("<!DOCTYPE html>\n<html>Sign in\n</html>"), r"no column .*names '<!DOCTYPE html>'"),
    (
        "utf-16",
        table(f"{HEADER}\n{GOOD}".encode("utf-16")),
        r"train\.csv can't be read as CSV: 'utf-8' codec",
    ),
    (
        "latin-1",
        table(f"{HEADER}\ncaf\xe9,1 2,3,4,0,".encode("latin-1")),
        r"train\.csv can't be read as CSV: 'utf-8' codec can't decode byte 0xe9",
    ),
    (
        "long-row",
        folder("b,1 2,3,4,0,,7,8"),
        r"train\.csv can't be read as CSV: .*Expected 6 fields in line 3",
    ),
    ("long-rows", table(f"{HEADER}\n{GOOD},7"), "its rows have more fields than its header names"),
    ("short-row", folder("b,1 2"), r"row 3 \(photo 'b'\): Height '' is not a whole number"),
    ("open-quote", folder('b,"1 2,3,4,0,', GOOD), r"train\.csv can't be read as CSV: .*EOF inside string"),
    (
        "quote-closed-later",
        folder('b,"1 2,3,4,0,', 'b,1 2",3,4,0,'),
        r"row 3 .*EncodedPixels '1 2,3,4,0,\\nb,1 2"
        r"' holds a line break: a quote was left open",
    ),
    ("200000-rows-one-bad", one_bad_line_in(200_000), r"row 200001 \(photo 'b'\): .* odd number of integers"),
    prefix="csv-",
)
BAD_ROWS = (
    cases(
        read,
        ("climbs-out", row("../../etc/passwd"), no_file_name(r"'\.\./\.\./etc/passwd'")),
        ("absolute", row("/etc/passwd"), no_file_name("'/etc/passwd'")),
        ("backslash", row("..\\x"), no_file_name(r"'\.\.\\\\x'")),
        ("drive", row("C:x"), no_file_name("'C:x'")),
        ("dots", row(".."), no_file_name(r"'\.\.'")),
        ("none", row(""), no_file_name("''")),
        ("newline", row('"b\n"'), no_file_name(r"'b\\n'")),
        ("nul", row("b\0"), no_file_name(r"'b\\x00'")),
        ("escape", row("\x1b[2Jb"), no_file_name(r"'\\x1b\[2Jb'")),
        ("right-to-left", row("\u202egpj.b"), no_file_name(r"'\\u202egpj\.b'")),
        ("long", row("/" * 100_000), no_file_name(r"'/{37}\.\.\.'")),
        prefix="id-",
    )
    + cases(
        read,
        (
            "odd",
            row(code="1 2 3"),
            r"row 3 \(photo 'b'\): the run-length code '1 2 3' has an odd number of integ",
        ),
        ("word", row(code="1 x"), r"row 3 .*'1 x' holds something other than integers"),
        ("float", row(code="1 2.5"), r"row 3 .*'1 2\.5' holds something other"),
        ("hex", row(code="0x1 2"), r"row 3 .*'0x1 2' holds something other"),
        ("lone-sign", row(code="+ 1 2"), r"row 3 .*'\+ 1 2' holds something other"),
        ("nul", row(code="1 2\0"), r"row 3 .*'1 2\\x00' holds something other"),
        ("foreign-digits", row(code="\uff11 2"), r"row 3 .* holds something other"),
        (
            "start-0",
            row(code="0 2"),
            r"row 3 .*the run '0 2' \(pair 1\) is not a start and a length of at least 1",
        ),
        ("negative-start", row(code="1 2 -3 1"), r"row 3 .*the run '-3 1' \(pair 2\) is not"),
        ("length-0", row(code="1 0"), r"row 3 .*the run '1 0' \(pair 1\) is not"),
        ("negative-length", row(code="5 -4"), r"row 3 .*the run '5 -4' \(pair 1\) is not"),
        (
            "past-the-end",
            row(code="12 2"),
            r"row 3 .*the run '12 2' \(pair 1\) goes past the photo's 12 pixels",
        ),
        (
            "beyond-64-bits",
            row(code="1 99999999999999999999"),
            r"run '1 99999999999999999999' \(pair 1\) goes past",
        ),
        (
            "start-beyond-64-bits",
            row(code=f"{2**64 + 1} 1"),
            rf"the run '{2**64 + 1} 1' \(pair 1\) goes past",
        ),
        ("empty", row(code=""), r"row 3 .*EncodedPixels is empty"),
        ("blank", row(code='"   "'), r"row 3 .*EncodedPixels is empty"),
        (
            "long",
            row(code="7 " * 100_001),
            r"row 3 .*'(7 )+7?\.\.\.' has an odd number of integers \(100001\)",
        ),
        prefix="code-",
    )
    + cases(
        read,
        ("height-float", row(height="3.5"), r"row 3 .*Height '3\.5' is not a whole number"),
        ("height-word", row(height="high"), r"row 3 .*Height 'high' is not a whole number"),
        ("height-0", row(height="0"), r"row 3 .*Height 0 is not positive"),
        ("width-negative", row(width="-4"), r"row 3 .*Width -4 is not positive"),
        ("width-huge", row(width="1e30"), r"row 3 .*Width '1e30' is not a whole number"),
        ("width-infinite", row(width="inf"), r"row 3 .*Width 'inf' is not a whole number"),
        ("size-of-another-row", row("a", height="4"), r"row 3 .*Height 4 differs from the photo's first row"),
        (
            "size-of-the-photo",
            row(height="4", width="3"),
            r"row 3 .*4 x 3 differ from the photo .*b\.jpg, .* 3 x 4",
        ),
        ("class-46", row(class_id="46"), r"row 3 .*ClassId 46 is not one of the known ids \(0-45\)"),
        ("class-negative", row(class_id="-1"), r"row 3 .*ClassId -1 is not one of the known ids"),
        ("class-word", row(class_id="dress"), r"row 3 .*ClassId 'dress' is not a whole number"),
        ("class-none", row(class_id=""), r"row 3 .*ClassId '' is not a whole number"),
        prefix="row-",
    )
)
DESCRIPTIONS = cases(
    read,
    (
        "torn",
        described('{"info": {'),
        r"label_descriptions\.json is not valid JSON .*: fetch or convert it again",
    ),
    ("list", described("[]"), r"label_descriptions\.json holds no JSON object"),
    ("latin-1", described(b'{"info": "\xe9"}'), r"label_descriptions\.json is no UTF-8 text \(byte 10\)"),
    ("deep", described("[" * 100_000), r"label_descriptions\.json is not valid JSON \(maximum recursion"),
    ("folder", described(None), r"label_descriptions\.json is a folder and must be a file"),
    ("pipe", pipe(folder(), raw.DESCRIPTIONS), r"label_descriptions\.json is a pipe, a socket or"),
    (
        "other-names",
        described('{"categories": [{"id": 0, "name": "n0"}, {"id": 1, "name": "n1"}]}'),
        r"label_descriptions\.json names the id 0 'n0', and here it is 'shirt, blouse': convert the data",
    ),
    ("categories-null", described('{"categories": null}'), r"\.json: 'categories' must be a list of objects"),
    (
        "categories-words",
        described('{"categories": ["belt"]}'),
        r"\.json: 'categories' must be a list of objects",
    ),
    (
        "id-list",
        described('{"categories": [{"id": [1]}]}'),
        r"\.json: 'categories' must be a list of objects with",
    ),
    ("info-list", described('{"info": [1]}'), r"\.json: 'info' must be an object, and its 'source' a text"),
    (
        "source-number",
        described('{"info": {"source": 1}}'),
        r"\.json: 'info' must be an object, and its 'source'",
    ),
    prefix="descriptions-",
)
PHOTOS = (
    cases(
        read,
        ("missing", without(row(), "train/b.jpg"), r"row 3 .*The photo .*train/b\.jpg is missing"),
        ("empty", photo(""), r"row 3 .*The photo .*b\.jpg can't be read \(cannot identify"),
        ("text", photo("no photo"), r"row 3 .*The photo .*b\.jpg can't be read"),
        ("web-page", photo("<html>Sign in</html>"), r"row 3 .*The photo .*b\.jpg can't be read"),
        ("head-only", photo(picture()[:60]), r"row 3 .*The photo .*b\.jpg can't be read"),
        ("folder", photo(None), r"row 3 .*The photo .*b\.jpg can't be read \(.* is a folder and must"),
        ("pipe", pipe(row(), "train/b.jpg"), r"row 3 .*The photo .*b\.jpg can't be read \(.* is a pipe, a"),
        (
            "gigapixel-jpeg",
            photo(huge_jpeg()),
            r"row 3 .*b\.jpg can't be read \(Image size \(4290250000 pixels\)",
        ),
        (
            "gigapixel-png",
            photo(huge_png()),
            r"row 3 .*b\.jpg can't be read \(Image size \(3600000000 pixels\)",
        ),
        prefix="photo-",
    )
    + cases(
        prepare,
        (
            "cut-short",
            photo(picture(size=(4, 3), quality=95)[:-12]),
            r"1 of 2 photos .* are bad.*row 3 \('b'\): the "
            r"photo .*b\.jpg is damaged \(.*truncated",
        ),
        (
            "missing",
            without(row(), "train/b.jpg"),
            r"1 of 2 photos .*row 3 \('b'\): .*is missing.*Repair them, or",
        ),
        prefix="prepare-photo-",
    )
    + cases(
        prepare,
        (
            "csv-pipe",
            pipe(folder(), raw.CSV),
            r"train\.csv is a pipe, a socket or a device and must be a file",
        ),
        ("csv-missing", without(folder(), raw.CSV), r"train\.csv does not exist: fill .* first"),
        prefix="prepare-",
    )
)
RAW: list[Case] = BAD_FILES + BAD_ROWS + DESCRIPTIONS + PHOTOS
