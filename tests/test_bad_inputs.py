"""Data that others made, at every door it comes in by: one sentence that says which and what, and no more."""

import re

import pytest
from bad_inputs import of_raw, picture, write
from bad_inputs.of_exports import EXPORTED
from bad_inputs.of_raw import RAW
from bad_inputs.of_sources import SOURCES
from bad_inputs.of_stages import STAGES
from click.testing import CliRunner

from fashionlib import cli
from fashionlib.cli import errors
from fashionlib.data import prepare, prepared, raw
from fashionlib.data.transforms import LoadCrop, Span
from tools.cutout_model.__main__ import main as workshop

CASES = [*RAW, *SOURCES, *EXPORTED, *STAGES]


def test_over_two_hundred_distinct_inputs():
    assert len({repr(case.files) for case in CASES}) > 200
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_bad_input_is_one_sentence_and_leaves_nothing_half_done(case, tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    write(case.files, source)
    before = {path for path in source.rglob("*")}
    with pytest.raises(Exception) as caught:  # noqa: B017  (any, and the next line says which)
        case.door(source, out)
    said = errors.sentence(caught.value)
    assert said == str(caught.value), repr(caught.value)
    assert re.search(case.sentence, said), said
    assert "\n" not in said and len(said.replace(str(tmp_path), "")) < 700
    assert {path for path in source.rglob("*")} == before
    assert not any(out.rglob("*"))


COMMANDS = [  # id of a case, and how its input gets to its door from the command line
    ("csv-open-quote", "prepare {source} {out} --workers 1"),
    ("csv-column-twice", "audit {source}"),
    ("descriptions-categories-words", "prepare {source} {out}"),
    ("prepare-over-torn", "prepare {source}/raw {source}/out"),
    ("fashionpedia-deep", "convert fashionpedia {source} {out}"),
    ("fashionpedia-polygon-outside", "convert fashionpedia {source} {out}"),
    ("ccp-negative-label", "convert ccp {source} {out}"),
    ("export-box", "convert coco {source} {out}"),
    ("labelme-line", "convert labelme {source} {out}"),
    ("own-colour-twice", "convert folder {source} {out}"),
    ("own-mask-gigapixel", "convert folder {source} {out}"),
    ("prepared-torn", "flatlay {source}/data/x {out} --split val"),
    ("prepared-split-climbs-out", "flatlay {source}/data/x {out} --split val"),
    ("plan-torn", "reproduce --data x --plan {source}/plan.yaml"),
    ("cutout-no-photos", "cutout {source}/a.jpg --out {out}"),
    ("mask-of-no-photo", "cutout {source}/photos --mask-in {source}/masks --out {out}"),
]


def invoke(*words):
    group = workshop if words[0] in workshop.commands else cli.main
    return CliRunner().invoke(group, [*map(str, words)])


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_the_command_line_says_no_more_than_the_sentence(name, command, tmp_path):
    (case,) = (case for case in CASES if case.id == name)
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    write(case.files, source)
    words = [word.format(source=source, out=out) for word in command.split()]
    result = invoke(*words)
    assert isinstance(result.exception, SystemExit) and result.exit_code == (2 if words[0] == "cutout" else 1)
    (said,) = (line for line in result.stderr.splitlines() if line.startswith("Error: "))
    assert re.search(case.sentence, said), said
    assert "Traceback" not in result.output and not result.stdout


WRITERS = [*("convert ccp", "convert fashionpedia", "convert folder", "convert coco", "convert labelme")]
WRITERS += ["prepare", "flatlay", "pseudo-labels"]


def refused(tmp_path, *words) -> str:
    """The sentence of a command that fails and changes no file below `tmp_path`."""
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    result = invoke(*words)
    assert isinstance(result.exception, SystemExit) and result.exit_code == 1, result.output
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before
    return result.stderr


@pytest.mark.parametrize("command", WRITERS)
def test_a_folder_that_is_not_ours_is_left_alone(command, tmp_path):
    write(of_raw.folder(), tmp_path / "source")
    mine = ("train/holiday.jpg", "test/a.jpg", "images/b.jpg", "notes/.x.12.part")
    write(dict.fromkeys(mine, "mine"), tmp_path / "out")
    said = refused(tmp_path, *command.split(), tmp_path / "source", tmp_path / "out")
    assert re.search("out holds 'images' and nothing that shows .* of ours: choose another folder", said)


NESTED = {
    "itself": (".", "."),
    "below": (".", "train/out"),
    "above": ("train", "."),
    "link": ("../link", "."),
}


@pytest.mark.parametrize("command", WRITERS)
@pytest.mark.parametrize("how", NESTED)
def test_input_and_output_lie_apart(command, how, tmp_path):
    folder = tmp_path / "folder"
    write(of_raw.folder() | {raw.CSV: None}, folder)
    (tmp_path / "link").symlink_to(folder / "train")
    said = refused(tmp_path, *command.split(), *(folder / name for name in NESTED[how]))
    assert "are the same, or one lies in the other: choose another place for the output" in said


def test_photos_that_lead_into_the_output_stay(tmp_path):
    write(of_raw.folder(of_raw.table("b,1 2,3,4,0,", "b,1 2,3,4,1,")), tmp_path / "raw")
    words = "--fractions", 1, 0, 0, "--workers", 1
    prepare.prepare(tmp_path / "raw", tmp_path / "out", fractions=(1, 0, 0), workers=1, progress=False)
    photo = tmp_path / "raw" / "train" / "a.jpg"
    photo.unlink()
    photo.symlink_to(tmp_path / "out" / "images" / "a.jpg")
    said = refused(tmp_path, "prepare", tmp_path / "raw", tmp_path / "out", "--seed", 1, *words)
    assert f"the input {photo} are the same, or one lies in the other" in said


def test_a_bad_mask_fails_its_photo_alone(tmp_path):
    write(dict.fromkeys(("photos/a.jpg", "photos/b.jpg"), picture()), tmp_path)
    write({"masks/a.png": "no mask", "masks/b.png": picture("PNG", mode="L")}, tmp_path)
    words = ["cutout", tmp_path / "photos", "--mask-in", tmp_path / "masks", "--out", tmp_path / "out"]
    result = invoke(*words)
    assert result.exit_code == 1 and "1 cut out, 0 up to date, 1 failed" in result.stdout
    rows = (tmp_path / "out" / "report.csv").read_text()
    assert re.search(r"^a\.png,.*masks/a\.png is not an image that Pillow can read", rows, re.MULTILINE)
    assert [path.name for path in sorted((tmp_path / "out").glob("*.png"))] == ["b.png"]


ROW = "b,1 2,3,4,19,7"
GOOD = of_raw.folder(of_raw.table(ROW))
ACCEPTED = {  # what is unusual and still says what it says
    "byte-order-mark": {raw.CSV: of_raw.table(ROW, header="\ufeff" + of_raw.HEADER)},
    "crlf": {raw.CSV: of_raw.table(ROW, ends="\r\n")},
    "blank-lines": {raw.CSV: of_raw.table("", ROW, "", "")},
    "descriptions-byte-order-mark": {raw.DESCRIPTIONS: b"\xef\xbb\xbf{}"},
    "overlapping-runs": {raw.CSV: of_raw.table("b,1 2 2 1 1 1,3,4,19,7")},
    "sides-with-fractions-of-0": {raw.CSV: of_raw.table("b,1 2,3.0,4.0,19,7")},
    "garbage-after-the-jpeg": {"train/b.jpg": picture() + b"<?php" + bytes(1000)},
    "cmyk-jpeg": {"train/b.jpg": picture(mode="CMYK")},
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_unusual_and_harmless_is_prepared_as_ever(name, tmp_path):
    source, out = tmp_path / "raw", tmp_path / "out"
    write(GOOD | ACCEPTED[name], source)
    made = prepare.prepare(source, out, fractions=(1, 0, 0), max_bad=0, workers=1, progress=False)
    counts = made["counts"]
    assert (counts["photos"], counts["instances"]) == (2, 2)
    label = prepared.label_map(out, "b", 28)
    assert label.ravel(order="F").tolist() == [20, 20] + [0] * 10
    assert (out / "images" / "b.jpg").read_bytes() == (source / "train" / "b.jpg").read_bytes()
    window = LoadCrop((4, 3), (1, 1), (3, 4))
    whole = window.read_photo(str(out / "images" / "b.jpg"), Span(3, 3, 0, 3), Span(4, 4, 0, 4))
    assert whole.shape == (3, 4, 3)  # what training sees of it
