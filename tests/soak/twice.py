"""Same seed, same result: from data to weights, tables, figures and cut-outs, twice, in two homes.

All files of the two homes are compared byte for byte, with the times in them left out (`stages.Stage`).
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from . import Line, inputs, kills, stages
from .stages import Stage

EPOCHS = 2  # of each model of the sample's plan
KINDS = {  # what is compared, and which files have to be among it
    "histories": "runs/*/*/history.csv",
    "epoch files": "runs/*/*/epoch_*.safetensors",
    "tables": "runs/*/results/**/*.*",
    "figures": "runs/*/figures/*.*",
    "pictures": "runs/*/pictures/*.*",
}
_OF_ITS_PLACE = "cutouts/report.csv"  # its keys tell in which folder a photo lay, and since when


def twice(work: Callable[[Path, Path], None], root: Path, folder: Path) -> tuple[Counter, list[str]]:
    """How many files of each of KINDS ``work(root, home)`` left in a home, and what is wrong.

    The two homes are made in `folder`.
    """
    stage, homes = Stage("twice", work, "runs"), (folder / "one", folder / "the other")
    for home in homes:
        if code := kills.run(work, root, home):
            return Counter(), [f"{home}: exit code {code}: {kills.log(home)}"]
    one, other = map(stage.digests, homes)
    names = {name for name in one.keys() | other.keys() if not name.endswith(_OF_ITS_PLACE)}
    differing = sorted(name for name in names if one.get(name) != other.get(name))
    found = Counter({kind: len(list(homes[0].glob(pattern))) for kind, pattern in KINDS.items()})
    problems = [f"of the two homes in {folder} differ: {', '.join(differing)}"] if differing else []
    return found, problems + [f"there are no {kind}" for kind in KINDS if not found[kind]]


def few(root: Path, home: Path) -> None:
    """What the notebooks 03 to 05 do, with two models of an epoch on the inputs of `stages`.

    Four figures stand for all: every one is saved by `fashionlib.report.style.save`.
    """
    from fashionlib import evaluate, report
    from fashionlib.train import Recipe, train

    data = inputs.DATA
    stages.link(root / "data", home / "data")
    asked = dict(data=data, scale="mini", epochs=1, batch=4, photos=8, workers=0)
    for model in ("segmenter_vit_t", "setr_mla"):
        train(Recipe.from_preset("quick", model=model, **asked), home=home, progress=False)
    evaluate.validate(data, home=home, progress=False)
    evaluate.pick_epochs(data, home=home)
    evaluate.test(data, home=home, progress=False)
    report.table1(data, home=home)
    report.history(data, home=home)
    for figure in (report.fig4_train_accuracy, report.fig5_train_loss, report.fig6_validation_miou):
        figure(data, home=home)
    report.fig_label_maps(data, photos=2, home=home)


def everything(_, home: Path) -> None:
    """``make reproduce``, with all models of the sample's plan, but few epochs."""
    os.environ["FASHION_HOME"] = str(home)
    stages.command("reproduce", "--data", "sample", "-p", "epochs", EPOCHS)


def run_section(small: bool) -> Iterator[Line]:
    """One line."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = stages.make_inputs(Path(folder, "inputs"), small=True) if small else Path(folder)
        found, problems = twice(few if small else everything, root, Path(folder, "homes"))
    counts = ", ".join(f"{n} {kind}" for kind, n in found.items())
    tried = f"two homes in {time.monotonic() - begun:.0f} s, {counts or 'nothing'} in each"
    what = "two models" if small else "all models of the sample's plan"
    promise = f"{what}, trained, scored and drawn again, give the same bytes, times aside"
    yield Line(promise, tried, not problems, "; ".join(problems))
