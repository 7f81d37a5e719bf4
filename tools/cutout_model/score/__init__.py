"""How good a model's cut-outs are, beside ways that learn nothing.

Photos are cut out as `fashionlib cutout` does, and the files that come of it are scored against the label
maps that `fashionlib prepare` made.

    methods     what is scored: a model's cut-outs, GrabCut, a colour threshold
    measure     a row of counts a photo, boundary F at 3 px; from rows to scores with their intervals
    timing      seconds a photo on one core and on two
    page        scores.md
    drawn       hair, fur and knit, strand by strand, with their alpha
    composites  these and garments, with a known alpha, on real backgrounds
    edges       errors of alpha and colour at their rims: edges.csv, edges.md
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from fashionlib.core.files import write_csv, write_text
from fashionlib.core.outputs import begins, claim_file
from fashionlib.cutout.segment import DEFAULT_MODEL
from fashionlib.evaluate.split import Split
from fashionlib.report.run_record import commit
from tools.cutout_model.score import measure, page, timing
from tools.cutout_model.score.methods import CLASSICAL, ModelCutouts

_KEY = ["data", "split", "method", "edge"]  # what tells rows of scores.csv apart
_FILES = {"scores.csv": "data,split,", "per_class.csv": "class,IoU,", "scores.md": page.TITLE}


def score(
    data: str,
    model: str | Path | None = None,
    out: str | Path = "results/cutouts",
    split: str = "test",
    edge: str = "hard",
    photos: int | None = None,
    timed: int = 20,
    classical: bool = True,
) -> pd.DataFrame:
    """Score a model's cut-outs on a split of the prepared data set `data`; returns scores.csv.

    Args:
        model: a checkpoint; None: the one that ships.
        out: gets scores.csv (fractions and seconds; rows of other data, splits, models and edges stay),
            per_class.csv and scores.md.
        edge: of the model's cut-outs, as in `fashionlib cutout`.
        photos: only so many of the split, evenly spaced, for a trial; the tables say so.
        timed: how many photos of the split are timed, evenly spaced, on one core and on two; 0: none.
        classical: also GrabCut and the paper's colour threshold.

    Raises ValueError where the model's classes are not the data's, or it may know the photos, and
    FileNotFoundError where there is no such model or data.
    """
    part, out = Split.read(data, split), Path(out)
    for name, words in _FILES.items():
        claim_file(out / name, "scores", [part.folder], begins(words))
    given = {"data": data, "model": model, "split": split, "edge": edge, "photos": photos, "timed": timed}
    made = {"commit": commit(), "command": command("score", given)}
    part = replace(part, ids=evenly_spaced(part.ids, photos or len(part.ids)))
    files = [part.folder / "images" / f"{i}.jpg" for i in (evenly_spaced(part.ids, timed) if timed else ())]
    for method in [ModelCutouts(Path(model or DEFAULT_MODEL), edge), *(CLASSICAL if classical else ())]:
        method.check(part)
        rows = list(tqdm(measure.rows(method, part), method.name, len(part.ids), unit="photo"))
        row = {"data": data, "split": split, "photos": len(rows), "method": method.name, **method.about()}
        row |= measure.summary(rows) | (timing.columns(method, files) if files else {})
        table = _put(out / "scores.csv", pd.DataFrame([row | {"fingerprint": part.fingerprint} | made]))
        if rows[0]["confusion"] is not None:
            classes = measure.per_class(rows, part.classes).assign(**{name: row[name] for name in _KEY})
            _put(out / "per_class.csv", classes)
    write_text(out / "scores.md", page.markdown(table))
    return table


def evenly_spaced(ids: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` of `ids`, evenly spaced; all of them if there are no more."""
    if count < 1:
        raise ValueError(f"{count} photos are none to score: give at least 1.")
    return tuple(ids[i] for i in np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int))


def command(name: str, given: dict) -> str:
    """The command line that asks for the same."""
    words = [f"--{option}={value}" for option, value in given.items() if value is not None]
    return shlex.join(["python", "-m", "tools.cutout_model", name, *words])


def _put(path: Path, new: pd.DataFrame) -> pd.DataFrame:
    """Put rows into the table at `path`, in place of those with the same `_KEY`; returns the table."""
    if path.is_file():
        old = pd.read_csv(path)
        new = pd.concat([old[~old.set_index(_KEY).index.isin(new.set_index(_KEY).index)], new])
    table = new.sort_values(["data", "split"], kind="stable")  # methods stand as they were scored
    write_csv(path, table)
    return table
