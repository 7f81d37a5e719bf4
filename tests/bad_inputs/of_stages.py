"""What later stages read: prepared folders, plans, photos to cut out and their masks, tags.csv."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from fashionlib.core import run_files
from fashionlib.core.classes import CLASS_SETS
from fashionlib.cutout import batch, photos
from fashionlib.data import prepare as preparing
from fashionlib.data import prepared, raw
from fashionlib.evaluate import result_tables, runs
from fashionlib.evaluate.split import Split
from fashionlib.reproduce import plan
from fashionlib.train import Recipe, resume, run_folder, runner
from tools.cutout_model import pseudo_labels

from . import Case, cases, change, encoded, file, huge_jpeg, huge_png, palette_png, picture, without
from .of_raw import folder as raw_folder

# prepared folders: data/x with the photo a, 3 high and 4 wide ----------------------------------------------

LABELS = np.array([[0, 1, 1, 1], [1, 255, 27, 0], [0, 0, 1, 1]], np.uint8)
GOOD = palette_png(LABELS)
INFO = {
    "data": "x",
    "class_set": "main",
    "classes": list(CLASS_SETS["main"]),
    "fingerprint": "abc",
    "counts": {},
}
NAMED, LIST, LABEL, PHOTO = (f"data/x/{name}" for name in (prepared.INFO, "splits/val.txt", "labels/a.png",
                                                           "images/a.jpg"))  # fmt: skip


def home(root: Path) -> None:
    for name, content in {NAMED: json.dumps(INFO), LIST: "a\n", LABEL: GOOD, PHOTO: picture()}.items():
        file(name, content)(root)


def told(**changes):
    return change(home, NAMED, json.dumps(INFO | changes))


def labelled(content):
    return change(home, LABEL, content)


def score(source: Path, out: Path) -> None:
    split = Split.read("x", "val", source)
    for photo in split.ids:
        split.load(photo)


def prepare_over(source: Path, out: Path) -> None:
    preparing.prepare(source / "raw", source / "out", fractions=(1, 0, 0), workers=1, progress=False)


def both(*builds):
    return lambda root: [build(root) for build in builds]


FEW = {"classes": ["background", "dress"]}
PREPARED = cases(
    score,
    (
        "none",
        without(home, NAMED),
        r"No prepared data in .*: make it with `fashionlib prepare raw/\w+ data/\w+`",
    ),
    (
        "torn",
        change(home, NAMED, '{"classes": ['),
        r"dataset\.json is not valid JSON .*: prepare the data again",
    ),
    ("list", change(home, NAMED, "[]"), r"dataset\.json holds no JSON object: prepare the data again"),
    ("folder", change(home, NAMED, None), r"dataset\.json is a folder and must be a file"),
    ("latin-1", change(home, NAMED, b"\xe9"), r"dataset\.json is no UTF-8 text \(byte 0\)"),
    (
        "no-classes",
        change(home, NAMED, '{"data": "x", "class_set": "main"}'),
        r"dataset\.json lacks 'classes'",
    ),
    (
        "classes-word",
        told(classes="dress"),
        r"dataset\.json has no list as 'classes': prepare the data again",
    ),
    ("foreign-classes", told(**FEW), r"dataset\.json: its classes are not those of a class set 'main'"),
    ("class-set-unknown", told(class_set="mine"), r"dataset\.json: its classes are not .* class set 'mine'"),
    ("no-split", without(home, LIST), r"Unknown split 'val'"),
    ("empty-split", change(home, LIST, "\n"), r"val\.txt is empty: there is nothing to score on"),
    (
        "split-climbs-out",
        change(home, LIST, "a\n../../x\n"),
        r"val\.txt: .*'\.\./\.\./x' is not a plain file name",
    ),
    ("split-latin-1", change(home, LIST, b"a\n\xe9\n"), r"val\.txt is no UTF-8 text \(byte 2\)"),
    ("photo-missing", without(home, PHOTO), r"images/a\.jpg can't be read .*: prepare the data again"),
    ("photo-text", change(home, PHOTO, "no"), r"images/a\.jpg can't be read"),
    ("label-missing", without(home, LABEL), r"labels/a\.png can't be read .*: prepare the data again"),
    (
        "label-empty",
        labelled(""),
        r"labels/a\.png can't be decoded \(it is no image\): prepare the data again",
    ),
    ("label-text", labelled("no"), r"labels/a\.png can't be decoded \(it is no image\)"),
    ("label-cut-short", labelled(GOOD[:-30]), r"labels/a\.png can't be decoded \(it is cut short\)"),
    (
        "label-checksum",
        labelled(GOOD[:-17] + b"\0" + GOOD[-16:]),
        r"a\.png can't be decoded \(the checksum of its "
        r"part 'IDAT' is wrong\)",
    ),
    (
        "label-beyond-palette",
        labelled(palette_png(np.full((3, 4), 28, np.uint8))),
        r"labels/a\.png holds the label 28"
        ", but there are 28 classes: prepare the data again",
    ),
    (
        "label-colour",
        labelled(picture("PNG")),
        r"labels/a\.png can't be decoded \(it is an image of the kind 'RGB'",
    ),
    (
        "label-16-bits",
        labelled(encoded(Image.fromarray(LABELS.astype(np.uint16)))),
        r"a\.png can't be decoded \(it is an image of the kind 'I;16'",
    ),
    (
        "label-gigapixel",
        labelled(huge_png()),
        r"a\.png can't be decoded \(its head promises 60000 x 60000 pixels",
    ),
    ("label-gigapixel-grey", labelled(huge_png(kind=(8, 0))), r"a\.png can't be decoded \(Image size"),
    (
        "label-of-another-size",
        labelled(palette_png(LABELS.T)),
        r"labels/a\.png is \(4, 3\), its photo \(3, 4\)",
    ),
    prefix="prepared-",
) + cases(
    prepare_over,
    (
        "torn",
        both(lambda root: raw_folder()(root / "raw"), file("out/dataset.json", "{")),
        r"dataset\.json is not valid JSON .*: delete it to prep",
    ),
    prefix="prepare-over-",
)

# plan.yaml -------------------------------------------------------------------------------------------------


def read_plan(source: Path, out: Path) -> None:
    plan._check(plan.read("x", source / "plan.yaml"))


def planned(text: str | bytes):
    return file("plan.yaml", text)


MAPS = r"plan\.yaml: a plan maps a notebook to its parameters"
PLANS = cases(
    read_plan,
    ("missing", lambda _: None, r"There is no plan at .*plan\.yaml"),
    ("torn", planned("03_train: [{model"), r"plan\.yaml is not valid YAML: .*line 1"),
    (
        "tag",
        planned("03_train: !!python/object/apply:os.system [id]"),
        r"plan\.yaml is not valid YAML: could not det",
    ),
    ("latin-1", planned(b"# \xe9"), r"plan\.yaml is no UTF-8 text \(byte 2\)"),
    ("deep", planned("[" * 100_000), r"plan\.yaml is not valid YAML: maximum recursion"),
    ("no-date", planned("03_train: [{model: 2026-99-99}]"), r"plan\.yaml is not valid YAML: month must be"),
    ("list", planned("- 03_train"), MAPS),
    ("runs-mapping", planned("03_train: {model: unet}"), MAPS),
    ("runs-words", planned("03_train: [unet]"), MAPS),
    (
        "notebook",
        planned("03_trian: {model: unet}\n03_train: [{model: unet}]"),
        "Unknown notebook '03_trian'. Did you",
    ),
    ("number", planned("3: {model: unet}\n03_train: [{model: unet}]"), "Unknown notebook 3"),
    (
        "parameter",
        planned("03_train: [{modle: unet}]"),
        "Unknown parameter of 03_train 'modle'. Did you mean 'model'",
    ),
    ("parameter-list", planned("03_train: [{[1]: unet}]"), r"plan\.yaml is not valid YAML: .*unhashable key"),
    prefix="plan-",
)

# runs and tables of scores ---------------------------------------------------------------------------------

FOLDER = "runs/x/segmenter_vit_t-mini-none"
CARD = {
    "recipe": dict(model="segmenter_vit_t", data="x", scale="mini", init="none", preset="quick", epochs=10,
                   batch=8, seed=0, photos=None),
    "classes": INFO["classes"], "fingerprint": "abc", "command": "papermill …",
}  # fmt: skip
RESULTS = "runs/x/results"
SCORES = "run,epoch,epochs,mIoU,checkpoint\nsegmenter_vit_t-mini-none,1,10,0.5,ab\n"


def a_run(root: Path) -> None:
    file(f"{FOLDER}/recipe.json", json.dumps(CARD))(root)
    file(f"{FOLDER}/history.csv", ",".join(run_files.HISTORY) + "\n1,1,2,2,50,0.1,1,900\n")(root)
    file(f"{RESULTS}/picked_epochs.csv", SCORES)(root)


def find_runs(source: Path, out: Path) -> None:
    runs.find("x", home=source)


def read_history(source: Path, out: Path) -> None:
    run_files.read_history(source / FOLDER)


def keep_history(source: Path, out: Path) -> None:
    runner._keep_until(source / FOLDER / "history.csv", 1)


def read_picked(source: Path, out: Path) -> None:
    runs.read_picked("x", home=source)


def read_tests(source: Path, out: Path) -> None:
    result_tables.read(source / RESULTS / "test.csv")


def claim(source: Path, out: Path) -> None:
    recipe = Recipe.from_preset("quick", model="segmenter_vit_t", data="x", scale="mini")
    run_folder.claim(source / FOLDER, recipe, INFO, overwrite=False)


def go_on(source: Path, out: Path) -> None:
    resume.newest(source / FOLDER)


def card(content):
    return change(a_run, f"{FOLDER}/recipe.json", content)


def told_history(content):
    return change(a_run, f"{FOLDER}/history.csv", content)


def picked(content):
    return change(a_run, f"{RESULTS}/picked_epochs.csv", content)


NAMELESS = json.dumps(CARD | {"recipe": {"model": "unet"}})
CARDS = (("cut-short", card('{"recipe": {'), r"recipe\.json is not valid JSON"),
         ("empty-object", card("{}"), r"recipe\.json lacks 'recipe': "),
         ("list", card("[]"), r"recipe\.json holds no JSON object: "))  # fmt: skip
HISTORIES = (
    (
        "words",
        told_history(",".join(run_files.HISTORY) + "\n1,one,2,2,50,0.1,1,900\n"),
        r"history\.csv, row 2: iter is 'one', which is no number; remove it",
    ),
    ("bytes", told_history(b"\xff\xfe\0\1"), r"history\.csv can't be read as CSV: .*; remove it"),
    ("other-columns", told_history("a,b\n1,2\n"), r"history\.csv has no column 'epoch'.*; remove it"),
)
RUNS = (
    cases(find_runs, *CARDS, ("no-recipe", card(NAMELESS), r"recipe\.json: its recipe has no str as 'data'"),
          prefix="run-")
    + cases(claim, *CARDS, prefix="run-claimed-")
    + cases(read_history, *HISTORIES, prefix="history-")
    + cases(keep_history, *HISTORIES, prefix="history-resumed-")
    + cases(
        read_picked,
        ("none", without(a_run, f"{RESULTS}/picked_epochs.csv"), "No run on x has .* run notebook 04 first"),
        ("words", picked(SCORES.replace("0.5", "good")),
         r"picked_epochs\.csv, row 2: mIoU is 'good', .*; delete it and run notebook 04 again"),
        ("bytes", picked(b"\xff\0"), r"picked_epochs\.csv can't be read as CSV: .* run notebook 04 again"),
        ("empty", picked(""), r"picked_epochs\.csv can't be read as CSV: .* run notebook 04 again"),
        prefix="picked-",
    )
    + cases(read_tests, ("bytes", file(f"{RESULTS}/test.csv", b"\xff\0"), r"test\.csv .* run notebook 05"),
            prefix="scores-")
    + cases(
        go_on,
        ("words", change(a_run, f"{FOLDER}/{resume.LAST}", "abc"), r"last\.pth is torn: remove last\.pth"),
        ("empty", change(a_run, f"{FOLDER}/{resume.LAST}", ""), r"last\.pth is torn"),
        ("bytes", change(a_run, f"{FOLDER}/{resume.LAST}", b"\xff"), r"last\.pth is torn"),
        prefix="state-",
    )
)  # fmt: skip

# cut-outs --------------------------------------------------------------------------------------------------


def read_photo(source: Path, out: Path) -> None:
    photos.read(source / "a.jpg")


def read_mask(source: Path, out: Path) -> None:
    photos.read_mask(source / "a.jpg")


def cut_out(source: Path, out: Path) -> None:
    batch.run(source / "a.jpg", out, model=source / "model.safetensors", progress=False)


def cut_out_by(source: Path, out: Path) -> None:
    batch.run(source / "photos", out, mask_in=source / "masks", progress=False)


PHOTO_FILES = (
    ("missing", lambda _: None, r"a\.jpg does not exist"),
    ("empty", file("a.jpg", ""), r"a\.jpg is empty \(0 bytes\)"),
    ("text", file("a.jpg", "no photo"), r"a\.jpg is not an image that Pillow can read"),
    ("folder", file("a.jpg/b", ""), r"a\.jpg can't be read: .*directory"),
    ("cut-short", file("a.jpg", picture(size=(64, 64))[:1500]), r"a\.jpg can't be read: .*truncated"),
    (
        "gigapixel-jpeg",
        file("a.jpg", huge_jpeg()),
        r"a\.jpg has 65500 x 65500 pixels, more than 50 megapixels",
    ),
    (
        "gigapixel-png",
        file("a.jpg", huge_png()),
        r"a\.jpg has 60000 x 60000 pixels, .* shrink it, or raise --max-p",
    ),
    ("damaged-png", file("a.jpg", GOOD[:-17] + b"\0" + GOOD[-16:]), r"a\.jpg can't be read: "),
    (
        "fractions",
        file("a.jpg", picture("TIFF", mode="F")),
        r"a\.jpg can't be read: its pixels are fractions",
    ),
)
CUTOUTS = (
    cases(read_photo, *PHOTO_FILES, prefix="cutout-")
    + cases(read_mask, PHOTO_FILES[2], PHOTO_FILES[6], prefix="mask-")
    + cases(
        cut_out,
        ("input-missing", lambda _: None, r"a\.jpg does not exist"),
        ("no-photos", file("a.jpg/notes.txt", ""), r"a\.jpg holds no photo \(\.avif, "),
        (
            "model-missing",
            file("a.jpg", picture()),
            r"There is no model at .*model\.safetensors: give the checkpoint",
        ),
        prefix="cutout-",
    )
    + cases(
        cut_out_by,
        ("missing", file("photos/a.jpg", picture()), r"The mask .*masks does not exist"),
        (
            "of-no-photo",
            both(file("photos/a.jpg", picture()), file("masks/b.png", GOOD)),
            "holds no mask of any of",
        ),
        prefix="mask-",
    )
)

# tags.csv --------------------------------------------------------------------------------------------------


def read_tags(source: Path, out: Path) -> None:
    pseudo_labels._tags(source, ())


def tags(text):
    return file(raw.TAGS, text)


TAGS = cases(
    read_tags,
    ("missing", lambda _: None, r"tags\.csv does not exist: without it .*; convert again"),
    ("empty", tags(""), r"tags\.csv can't be read as CSV"),
    ("no-column", tags("ImageId,Class\na,1\n"), r"tags\.csv has no column 'ClassId'"),
    (
        "climbs-out",
        tags("ImageId,ClassId\na,1\n../b,1\n"),
        r"tags\.csv, row 3: '\.\./b' with the class '1' is not",
    ),
    (
        "class-word",
        tags("ImageId,ClassId\na,dress\n"),
        r"tags\.csv, row 2: 'a' with the class 'dress' is not a ph",
    ),
    (
        "class-48",
        tags("ImageId,ClassId\na,48\n"),
        r"tags\.csv, row 2: 'a' with the class '48' .*0-47: repair the row",
    ),
    prefix="tags-",
)
STAGES: list[Case] = PREPARED + PLANS + RUNS + CUTOUTS + TAGS
