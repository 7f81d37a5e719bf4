"""Cut-outs x split -> scores: how good a model's cut-outs are, beside ways that learn nothing.

One floor above the stages: it cuts photos out as `fashionlib cutout` does and scores the files that come of
it against the label maps that `fashionlib prepare` made.

    classical   GrabCut and the paper's colour threshold
    methods     what is scored: a model's cut-outs, the classical ways
    boundary    boundary F at 3 px
    measure     a row a photo, kept: a stopped run goes on
    scores      from rows to scores with their intervals
    timing      seconds a photo on one core and on two
    page        scores.md
    composites  garments with a known alpha on real grounds
    edgescore   errors of alpha and colour at their rims: edges.csv, edges.md
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from fashionlib.core import paths
from fashionlib.core.files import write_text
from fashionlib.core.outputs import begins, claim_file
from fashionlib.cutout.segment import DEFAULT_MODEL
from fashionlib.evaluate import result_tables
from fashionlib.evaluate.split import Split
from fashionlib.report.run_record import commit
from tools.cutout_model.score import page, scores, timing
from tools.cutout_model.score.measure import rows
from tools.cutout_model.score.methods import CLASSICAL, ModelCutouts

CORES = (1, 2)
_KEY = ["data", "split", "method", "edge"]  # what tells rows of scores.csv apart
_ORDER = ["data", "split"]  # methods stand as they were scored, the model first
_FILES = {"scores.csv": "data,split,", "per_class.csv": "class,IoU,", "scores.md": page.TITLE}
_DEFAULTS = {"split": "test", "edge": "hard", "timed": 20}


def score(
    data: str,
    model: str | Path | None = None,
    out: str | Path = "results/cutouts",
    split: str = _DEFAULTS["split"],
    edge: str = _DEFAULTS["edge"],
    photos: int | None = None,
    timed: int = _DEFAULTS["timed"],
    classical: bool = True,
    home: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Score a model's cut-outs on a split of the prepared data set `data`, and the classical ways beside it.

    Args:
        model: a checkpoint; None: the one that ships.
        out: gets scores.csv (fractions and seconds; rows of other data, splits, models and edges stay),
            per_class.csv and scores.md, each written whole.
        edge: of the model's cut-outs, as in `fashionlib cutout`.
        photos: only so many of the split, evenly spread, for a trial; the tables say so.
        timed: how many photos of the split are timed, evenly spread, on one core and on two; 0: none.
        classical: also GrabCut and the paper's colour threshold.

    Returns:
        scores.csv. The rows of each photo are kept in ``runs/<data>/cutscore/``, but for the seconds.

    Raises ValueError where the model's classes are not the data's, or it may know the photos, and
    FileNotFoundError where there is no such model or data.
    """
    part = Split.read(data, split, home)
    for name, words in _FILES.items():
        claim_file(Path(out) / name, "scores", [part.folder], begins(words))
    if photos:
        part = replace(part, ids=spread(part.ids, photos))
    methods = [ModelCutouts(Path(model or DEFAULT_MODEL), edge), *(CLASSICAL if classical else ())]
    given = {"data": data, "model": model, "split": split, "edge": edge, "photos": photos, "timed": timed}
    for method in methods:
        method.check(part)
        done = list(_with_bar(rows(method, part, _cache(data, home)), part.ids, method.name, progress))
        who = {"data": data, "split": split, "photos": len(done), "method": method.name, **method.about()}
        row = who | scores.summary(done) | _seconds(method, part, timed, progress)
        row |= {"fingerprint": part.fingerprint, "commit": commit(), "command": _command(given)}
        result_tables.put(Path(out) / "scores.csv", pd.DataFrame([row]), _KEY, _ORDER)
        if done[0]["areas"]:
            table = scores.per_class(done, part.classes)
            table[_KEY] = [row[name] for name in _KEY]
            result_tables.put(Path(out) / "per_class.csv", table, _KEY, _ORDER)
    table = pd.read_csv(Path(out) / "scores.csv")
    write_text(Path(out) / "scores.md", page.markdown(table))
    return table


def spread(ids: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` of `ids`, evenly spread; all of them if there are no more."""
    if count < 1:
        raise ValueError(f"{count} photos are none to score: give at least 1.")
    if count >= len(ids):
        return tuple(ids)
    return tuple(ids[i] for i in np.linspace(0, len(ids) - 1, count).round().astype(int))


def _cache(data: str, home) -> Path:
    return paths.runs_folder(data, home) / "cutscore"


def _with_bar(items, total, what: str, progress: bool):
    with result_tables.progress_bar(len(total), what, progress) as bar:
        for item in items:
            yield item
            bar.update()


def _seconds(method, part: Split, timed: int, progress: bool) -> dict:
    """Seconds a photo with their intervals as columns, for each of CORES that this machine has."""
    if not timed:
        return {}
    files = [part.folder / "images" / f"{photo}.jpg" for photo in spread(part.ids, timed)]
    columns, ones = {"timed": len(files)} | timing.machine(), np.ones(len(files))
    for cores in CORES:
        if cores <= len(timing.cores_here()):
            what = f"{method.name}, {cores} core{'s' * (cores > 1)}"
            pairs = list(_with_bar(timing.seconds(method, files, cores), files, what, progress))
            for name, values in zip(("cutout", "inference"), zip(*pairs, strict=True), strict=True):
                columns |= scores.with_interval(f"{name}_seconds_{cores}", values, ones)
    return columns


def _command(given: dict) -> str:
    """The command line that asks for the same."""
    words = [f"--{name}={value}" for name, value in given.items() if value not in (None, _DEFAULTS.get(name))]
    return shlex.join(["fashionlib", "score-cutouts", *words])
