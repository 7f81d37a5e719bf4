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
from fashionlib.train import Recipe, run_folder, runner
from tools.cutout_model import pseudo_labels

from . import FOLDER, Case, cases, changed, encoded, huge_jpeg, huge_png, palette_png, picture
from .of_raw import folder as raw_folder

# prepared folders: data/x with the photo a, 3 high and 4 wide ----------------------------------------------

LABELS = np.array([[0, 1, 1, 1], [1, 255, 27, 0], [0, 0, 1, 1]], np.uint8)
GOOD = palette_png(LABELS)
DAMAGED = GOOD[:-17] + b"\0" + GOOD[-16:]
MAIN = list(CLASS_SETS["main"])
INFO = {"data": "x", "class_set": "main", "classes": MAIN, "fingerprint": "abc", "counts": {}}


def told(**changes) -> str:
    return json.dumps(INFO | changes)


NAMED, LIST, LABEL = (f"data/x/{name}" for name in (prepared.INFO, "splits/val.txt", "labels/a.png"))
HOME = {NAMED: told(), LIST: "a\n", LABEL: GOOD, "data/x/images/a.jpg": picture()}


def score(source: Path, out: Path) -> None:
    split = Split.read("x", "val", source)
    for photo in split.ids:
        split.load(photo)


def prepare_over(source: Path, out: Path) -> None:
    preparing.prepare(source / "raw", source / "out", fractions=(1, 0, 0), workers=1, progress=False)


AGAIN = ": prepare the data again"
INFOS = [
    ("torn", '{"classes": [', rf"dataset\.json is not valid JSON .*{AGAIN}"),
    ("list", "[]", rf"dataset\.json holds no JSON object{AGAIN}"),
    ("folder", FOLDER, r"dataset\.json is a folder and must be a file"),
    ("latin-1", b"\xe9", r"dataset\.json is no UTF-8 text \(byte 0\)"),
    ("no-classes", '{"data": "x", "class_set": "main"}', r"dataset\.json lacks 'classes'"),
    ("classes-word", told(classes="dress"), rf"dataset\.json has no list as 'classes'{AGAIN}"),
    ("foreign-classes", told(classes=["background", "dress"]), "its classes are not .* class set 'main'"),
    ("class-set-unknown", told(class_set="mine"), r"dataset\.json: its classes are not .* class set 'mine'"),
    ("none", None, r"No prepared data in .*: make it with `fashionlib prepare raw/\w+ data/\w+`"),
]
SPLITS = [
    ("no-split", None, "Unknown split 'val'"),
    ("empty-split", "\n", r"val\.txt is empty: there is nothing to score on"),
    ("split-climbs-out", "a\n../../x\n", r"val\.txt: .*'\.\./\.\./x' is not a plain file name"),
    ("split-latin-1", b"a\n\xe9\n", r"val\.txt is no UTF-8 text \(byte 2\)"),
]
PHOTOS = [("missing", None, f"can't be read .*{AGAIN}"), ("text", "no", "can't be read")]
KIND = r"can't be decoded \(it is an image of the kind "
LABEL_MAPS = [
    ("missing", None, f"can't be read .*{AGAIN}"),
    ("empty", "", rf"can't be decoded \(it is no image\){AGAIN}"),
    ("text", "no", r"can't be decoded \(it is no image\)"),
    ("cut-short", GOOD[:-30], r"can't be decoded \(it is cut short\)"),
    ("checksum", DAMAGED, r"can't be decoded \(the checksum of its part 'IDAT' is wrong\)"),
    ("beyond-palette", palette_png(LABELS % 2 + 27), f"holds the label 28, but there are 28 classes{AGAIN}"),
    ("colour", picture("PNG"), KIND + "'RGB'"),
    ("16-bits", encoded(Image.fromarray(LABELS.astype(np.uint16))), KIND + "'I;16'"),
    ("gigapixel", huge_png(), r"can't be decoded \(its head promises 60000 x 60000 pixels"),
    ("gigapixel-grey", huge_png(kind=(8, 0)), r"can't be decoded \(Image size"),
    ("of-another-size", palette_png(LABELS.T), r"is \(4, 3\), its photo \(3, 4\)"),
]

# plan.yaml -------------------------------------------------------------------------------------------------


def read_plan(source: Path, out: Path) -> None:
    plan._check(plan.read("x", source / "plan.yaml"))


INVALID, MAPS = r"plan\.yaml is not valid YAML: ", r"plan\.yaml: a plan maps a notebook to its parameters"
UNET = "03_train: [{model: unet}]"
PLANS = [
    ("missing", None, r"There is no plan at .*plan\.yaml"),
    ("torn", "03_train: [{model", INVALID + ".*line 1"),
    ("tag", "03_train: !!python/object/apply:os.system [id]", INVALID + "could not det"),
    ("latin-1", b"# \xe9", r"plan\.yaml is no UTF-8 text \(byte 2\)"),
    ("deep", "[" * 100_000, INVALID + "maximum recursion"),
    ("no-date", "03_train: [{model: 2026-99-99}]", INVALID + "month must be"),
    ("list", "- 03_train", MAPS),
    ("runs-mapping", "03_train: {model: unet}", MAPS),
    ("runs-words", "03_train: [unet]", MAPS),
    ("notebook", "03_trian: {model: unet}\n" + UNET, "Unknown notebook '03_trian'. Did you mean '03_train'"),
    ("number", "3: {model: unet}\n" + UNET, "Unknown notebook 3"),
    ("parameter", "03_train: [{modle: unet}]", "Unknown parameter of 03_train 'modle'. Did you mean 'model'"),
    ("parameter-list", "03_train: [{[1]: unet}]", INVALID + ".*unhashable key"),
]

# runs and tables of scores ---------------------------------------------------------------------------------

RUN, RESULTS = "runs/x/segmenter_vit_t-mini-none", "runs/x/results"
RECIPE = {"model": "segmenter_vit_t", "data": "x", "scale": "mini", "init": "none", "preset": "quick"}
RECIPE |= {"epochs": 10, "batch": 8, "seed": 0, "photos": None}
CARD = {"recipe": RECIPE, "classes": MAIN, "fingerprint": "abc", "command": "papermill …"}
COLUMNS = ",".join(run_files.HISTORY)
SCORES = "run,epoch,epochs,mIoU,checkpoint\nsegmenter_vit_t-mini-none,1,10,0.5,ab\n"
A_RUN = {
    f"{RUN}/recipe.json": json.dumps(CARD),
    f"{RUN}/history.csv": COLUMNS + "\n1,1,2,2,50,0.1,1,900\n",
    f"{RESULTS}/picked_epochs.csv": SCORES,
}


def find_runs(source: Path, out: Path) -> None:
    runs.find("x", home=source)


def read_history(source: Path, out: Path) -> None:
    run_files.read_history(source / RUN)


def keep_history(source: Path, out: Path) -> None:
    runner._keep_until(source / RUN / "history.csv", 1)


def read_picked(source: Path, out: Path) -> None:
    runs.read_picked("x", home=source)


def read_tests(source: Path, out: Path) -> None:
    result_tables.read(source / RESULTS / "test.csv")


def claim(source: Path, out: Path) -> None:
    recipe = Recipe.from_preset("quick", model="segmenter_vit_t", data="x", scale="mini")
    run_folder.claim(source / RUN, recipe, INFO, overwrite=False)


def go_on(source: Path, out: Path) -> None:
    run_folder.newest_state(source / RUN)


CARDS = [
    ("cut-short", '{"recipe": {', " is not valid JSON"),
    ("empty-object", "{}", " lacks 'recipe': "),
    ("list", "[]", " holds no JSON object: "),
]
NAMELESS = (
    "no-recipe",
    json.dumps(CARD | {"recipe": {"model": "unet"}}),
    ": its recipe has no str as 'data'",
)
HISTORIES = [
    ("words", COLUMNS + "\n1,one,2,2,50,0.1,1,900\n", ", row 2: iter is 'one', which is no number"),
    ("bytes", b"\xff\xfe\0\1", " can't be read as CSV: "),
    ("other-columns", "a,b\n1,2\n", " has no column 'epoch'"),
]
PICK = "; delete it and run notebook 04 again"
PICKED = [
    ("none", None, "No run on x has .* run notebook 04 first"),
    ("words", SCORES.replace("0.5", "good"), rf"picked_epochs\.csv, row 2: mIoU is 'good', .*{PICK}"),
    ("bytes", b"\xff\0", rf"picked_epochs\.csv can't be read as CSV: .*{PICK}"),
    ("empty", "", rf"picked_epochs\.csv can't be read as CSV: .*{PICK}"),
]
STATES = [("words", "abc", ": remove last.pth"), ("empty", "", ""), ("bytes", b"\xff", "")]

# cut-outs and tags.csv -------------------------------------------------------------------------------------


def read_photo(source: Path, out: Path) -> None:
    photos.read(source / "a.jpg")


def read_mask(source: Path, out: Path) -> None:
    photos.read_mask(source / "a.jpg")


def cut_out(source: Path, out: Path) -> None:
    batch.run(source / "a.jpg", out, model=source / "model.safetensors", progress=False)


def cut_out_by(source: Path, out: Path) -> None:
    batch.run(source / "photos", out, mask_in=source / "masks", progress=False)


def read_tags(source: Path, out: Path) -> None:
    pseudo_labels._tags(source, ())


PHOTO_FILES = [
    ("missing", {}, "does not exist"),
    ("empty", {"a.jpg": ""}, r"is empty \(0 bytes\)"),
    ("text", {"a.jpg": "no photo"}, "is not an image that Pillow can read"),
    ("folder", {"a.jpg/b": ""}, "can't be read: .*directory"),
    ("cut-short", {"a.jpg": picture(size=(64, 64))[:1500]}, "can't be read: .*truncated"),
    ("gigapixel-jpeg", {"a.jpg": huge_jpeg()}, "has 65500 x 65500 pixels, more than 50 megapixels"),
    ("gigapixel-png", {"a.jpg": huge_png()}, "has 60000 x 60000 pixels, .* shrink it, or raise --max-p"),
    ("damaged-png", {"a.jpg": DAMAGED}, "can't be read: "),
    ("fractions", {"a.jpg": picture("TIFF", mode="F")}, "can't be read: its pixels are fractions"),
]
CUTOUTS = [
    ("input-missing", {}, r"a\.jpg does not exist"),
    ("no-photos", {"a.jpg/notes.txt": ""}, r"a\.jpg holds no photo \(\.avif, "),
    (
        "model-missing",
        {"a.jpg": picture()},
        r"no model at .*model\.safetensors: give the c",
    ),
]
MASKS = [
    ("missing", {}, "The mask .*masks does not"),
    ("of-no-photo", {"masks/b.png": GOOD}, "no mask of any of"),
]
NO_PAIR = "is not a photo's id and a class id of 0-47: repair the row"
TAGS = [
    ("missing", None, " does not exist: without it .*; convert again"),
    ("empty", "", " can't be read as CSV"),
    ("no-column", "ImageId,Class\na,1\n", " has no column 'ClassId'"),
    ("climbs-out", "ImageId,ClassId\na,1\n../b,1\n", rf", row 3: '\.\./b' with the class '1' {NO_PAIR}"),
    ("class-word", "ImageId,ClassId\na,dress\n", f", row 2: 'a' with the class 'dress' {NO_PAIR}"),
    ("class-48", "ImageId,ClassId\na,48\n", f", row 2: 'a' with the class '48' {NO_PAIR}"),
]

OVER_TORN = {f"raw/{name}": content for name, content in raw_folder().items()} | {"out/dataset.json": "{"}
A_CARD, A_HISTORY = changed(A_RUN, f"{RUN}/recipe.json"), changed(A_RUN, f"{RUN}/history.csv")
A_PHOTO = changed({"photos/a.jpg": picture()})
STAGES: list[Case] = [
    *cases("prepared", score, changed(HOME, NAMED), "{}", INFOS),
    *cases("prepared", score, changed(HOME, LIST), "{}", SPLITS),
    *cases("prepared-photo", score, changed(HOME, "data/x/images/a.jpg"), r"images/a\.jpg {}", PHOTOS),
    *cases("prepared-label", score, changed(HOME, LABEL), r"labels/a\.png {}", LABEL_MAPS),
    Case(
        "prepare-over-torn", OVER_TORN, prepare_over, r"dataset\.json is not valid JSON .*: delete it to prep"
    ),
    *cases("plan", read_plan, changed({}, "plan.yaml"), "{}", PLANS),
    *cases("run", find_runs, A_CARD, r"recipe\.json{}", [*CARDS, NAMELESS]),
    *cases("run-claimed", claim, A_CARD, r"recipe\.json{}", CARDS),
    *cases("history", read_history, A_HISTORY, r"history\.csv{}.*; remove it", HISTORIES),
    *cases("history-resumed", keep_history, A_HISTORY, r"history\.csv{}.*; remove it", HISTORIES),
    *cases("picked", read_picked, changed(A_RUN, f"{RESULTS}/picked_epochs.csv"), "{}", PICKED),
    Case("scores-bytes", {f"{RESULTS}/test.csv": b"\xff\0"}, read_tests, r"test\.csv .* run notebook 05"),
    *cases("state", go_on, changed(A_RUN, f"{RUN}/{run_folder.LAST}"), r"last\.pth is torn{}", STATES),
    *cases("cutout", read_photo, dict, r"a\.jpg {}", PHOTO_FILES),
    *cases("mask", read_mask, dict, r"a\.jpg {}", [PHOTO_FILES[2], PHOTO_FILES[6]]),
    *cases("cutout", cut_out, dict, "{}", CUTOUTS),
    *cases("mask", cut_out_by, A_PHOTO, "{}", MASKS),
    *cases("tags", read_tags, changed({}, raw.TAGS), r"tags\.csv{}", TAGS),
]
