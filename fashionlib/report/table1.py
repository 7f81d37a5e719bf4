"""Table I: the paper's numbers beside ours, and how the two differ."""

from pathlib import Path

import pandas as pd

from fashionlib.core import paths
from fashionlib.core.files import write_csv, write_text
from fashionlib.core.run_files import PAPERS_RUN
from fashionlib.data import prepared
from fashionlib.evaluate import areas, compare
from fashionlib.evaluate.runs import find
from fashionlib.report.captions import (
    NOTHING,
    circumstances,
    in_order,
    model_title,
    number,
    outside,
    scored,
    variant,
)

# aAcc and mIoU of the paper's Table I: iMaterialist (Fashion) 2020, its own 10 % test split
PAPER = {
    "segmenter_vit_t": (0.9235, 0.3864),
    "segmenter_vit_b": (0.9476, 0.4711),
    "setr_mla": (0.9442, 0.4259),
    "setr_pup": (0.9422, 0.4123),
}
_VERDICTS = {"A better": "higher", "B better": "lower", "tie": "a tie"}


def table1(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> pd.DataFrame:
    """Write table1.csv (fractions), table1.md and table1.tex (percent) from test.csv; returns the CSV.

    The CSV has every score, and the paper's four first, with or without a run of ours. The other two have our
    runs in at most seven columns; their text says which mIoU it is, and how our runs differ from the paper's.
    """
    folder = paths.results_folder(data, home)
    ours, others = scored(data, "test.csv", (), runs, home), outside(data, home)
    told = _against_best(data, pd.concat([ours, others]), ours.run[ours.mIoU.idxmax()], home)
    ours, others = (rows.merge(told, on="run") for rows in (ours, others))
    commands = {run.name: run.card["command"] for run in find(data, None, home)}
    table = _with_paper(ours.assign(command=ours.run.map(commands)))
    write_csv(folder / "table1.csv", table)
    cells, above, below = _cells(table, ours, others), _what_it_is(ours), _what_it_is_not(ours, others)
    made = [
        f"- `{row.run}`: `{commands.get(row.run)}`, epoch {_picked(row.epoch, row.epochs)}; {row.init_source}"
        for row in ours.itertuples()
    ]
    paragraphs = [f"# Table I on {data}", above, markdown(cells), *below, "Made by:", "\n".join(made)]
    write_text(folder / "table1.md", "\n\n".join(paragraphs) + "\n")
    write_text(folder / "table1.tex", _latex(cells, _caption(data, ours), [above, *below]))
    return table


def _with_paper(ours: pd.DataFrame) -> pd.DataFrame:
    """Our rows with the paper's numbers in front, and rows for those of its models that we have not run."""
    missing = pd.DataFrame({"model": [model for model in PAPER if model not in set(ours.model)]})
    table = in_order(pd.concat([ours, missing.assign(run="")])).reset_index(drop=True)
    for i, column in enumerate(("paper_aAcc", "paper_mIoU")):
        table.insert(1 + i, column, table.model.map({model: scores[i] for model, scores in PAPER.items()}))
    return table


def _against_best(data: str, rows: pd.DataFrame, best: str, home: str | Path | None) -> pd.DataFrame:
    """Difference of the mIoU of each of `rows` to that of the run `best`, paired by test photo."""
    folder = paths.results_folder(data, home)
    classes = prepared.require(paths.data_folder(data, home))["classes"]
    pixels = {
        row.run: areas.of_epoch(areas.path(folder, row.run), row.scored_on, row.epoch)
        for row in rows.itertuples()
    }
    told = []
    for run, mine in pixels.items():
        found = compare.difference({0: mine}, {0: pixels[best]}, classes=classes)
        verdict = "the best" if run == best else _VERDICTS.get(found.verdict, found.verdict)
        told.append((run, found.difference, found.low, found.high, verdict))
    return pd.DataFrame(told, columns=["run", "to_best", "to_best_low", "to_best_high", "verdict"])


def _cells(table: pd.DataFrame, ours: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Our rows as texts in percent, then those from outside and background everywhere; no empty columns."""
    rows = pd.concat([table[table.run != ""], others.assign(init=NOTHING)])
    cells = pd.DataFrame(
        {
            "model": [*map(_title, table[table.run != ""].itertuples()), *others.title],
            "parameters [M]": [number(n / 1e6, factor=1) for n in rows.parameters],
            "from": rows.init,
            "paper aAcc / mIoU": [_pair(row.paper_aAcc, row.paper_mIoU) for row in rows.itertuples()],
            "aAcc / mAcc": [_pair(row.aAcc, row.mAcc, 1) for row in rows.itertuples()],
            "mIoU (95 %)": [_with_interval(row) for row in rows.itertuples()],
            "difference to best (95 %)": [_to_best(row) for row in rows.itertuples()],
        }
    )
    floor = dict.fromkeys(cells, NOTHING) | {
        "model": "background everywhere",
        "aAcc / mAcc": number(ours.background_aAcc.iloc[0]),
        "mIoU (95 %)": number(ours.background_mIoU.iloc[0]),
    }
    cells = pd.concat([cells, pd.DataFrame([floor])], ignore_index=True)
    if ours.model.isin(PAPER).mean() < 0.5:  # a number of the paper's among other models is no comparison
        cells = cells.drop(columns="paper aAcc / mIoU")
    return cells.loc[:, (cells != NOTHING).any()]


def _with_interval(row) -> str:
    return f"{number(row.mIoU)} ({number(row.mIoU_low)}–{number(row.mIoU_high)})"


def _to_best(row) -> str:
    """``-2.6 (-4.4 to -1.1)``, of a tie with that word."""
    if row.verdict == "the best":
        return NOTHING
    told, low, high = (number(value, sign="+") for value in (row.to_best, row.to_best_low, row.to_best_high))
    return f"{told} ({low} to {high})" + (", a tie" if row.verdict == "a tie" else "")


def _pair(first: float, second: float, digits: int = 2) -> str:
    """Two scores; two digits are the paper's."""
    return NOTHING if pd.isna(first) else f"{number(first, digits)} / {number(second, digits)}"


def _title(row) -> str:
    """The model's title; with the run's variant, and how long an unfinished run was trained."""
    known = variant(row.run, row.model, row.scale, row.init)
    short = f"{row.epochs} epochs" if isinstance(row.epochs, str) else ""
    said = ", ".join(filter(None, (known, short)))
    return model_title(row.model, row.scale) + (f" ({said})" if said else "")


def _picked(epoch: float, epochs: float | str) -> str:
    """``8 of 10``; of an unfinished run ``2 (unfinished: 2 of 10 epochs)``."""
    if isinstance(epochs, str):
        return f"{epoch:.0f} (unfinished: {epochs} epochs)"
    return f"{epoch:.0f} of {epochs:.0f}"


def _what_it_is(ours: pd.DataFrame) -> str:
    """Which mIoU heads the table, and on what it was scored."""
    counted = "/".join(map(str, sorted(ours.n_classes.unique())))
    return (
        f"mIoU is the mean IoU over the {counted} classes that occur, background included (the paper does "
        f"not say whether it is; in its authors' code it is), on the {ours.photos.iloc[0]} photos of our "
        f"{ours.scored_on.iloc[0]} split, in percent, at the picked epoch."
    )


def _caption(data: str, ours: pd.DataFrame) -> str:
    """A caption for print, at most 40 words."""
    whose = " Not the paper's." if _differences(ours) else ""
    counted = "/".join(map(str, sorted(ours.n_classes.unique())))
    where = f"the {ours.photos.iloc[0]} {ours.scored_on.iloc[0]} photos of {data}"
    return (
        f"Scores in percent on {where}; mIoU over {counted} classes, background included, with its 95 % "
        f"bootstrap interval.{whose}"
    )


def _differences(ours: pd.DataFrame) -> list[str]:
    """What our runs had that the paper's did not, one phrase each."""
    wanted_of = {"data": PAPERS_RUN["data"], "class_set": "main", **PAPERS_RUN}
    differences = [
        f"{name.replace('_', ' ')} {'/'.join(map(str, ours[name].unique()))} instead of {wanted}"
        for name, wanted in wanted_of.items()
        if set(ours[name]) != {wanted}
    ]
    differences += [f"given {text}" for text in ours.given.unique() if text]
    if ours.train_photos.nunique() > 1:
        differences.append("some runs on a part of the training photos")
    return differences


def _what_it_is_not(ours: pd.DataFrame, others: pd.DataFrame) -> list[str]:
    """Differences between our runs and the paper's, and the limits of the other numbers."""
    differences = _differences(ours)
    verdict = (
        f"**These are not the paper's experiments: {'; '.join(differences)}.** The two are not comparable."
        if differences
        else "Data, scale, initial weights and preset are the paper's; its test photos are other ones."
    )
    eq1 = "–".join(dict.fromkeys(map(number, (ours.eq1_accuracy.min(), ours.eq1_accuracy.max()))))
    return [
        verdict,
        f"Ours: {circumstances(ours)}.",
        *others.note.unique(),
        "95 %: bootstrap over the test photos; it says nothing of other seeds or other training runs. "
        "Difference to best: mIoU minus that of our best run, paired by photo; a tie has 0 in its interval.",
        f"The paper's equation 1, averaged over classes, gives {eq1} for all: fixed by aAcc.",
    ]


def markdown(cells: pd.DataFrame) -> str:
    """A Markdown table of texts: the first column to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(cells.columns) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [list(cells), rule, *cells.to_numpy().tolist()])


def _latex(cells: pd.DataFrame, caption: str, notes: list[str]) -> str:
    """A ``table`` that needs no package; the last row, the floor, stands apart, the notes below."""
    head, *rows, floor = (
        " & ".join(map(_escape, row)) + r" \\" for row in [list(cells), *cells.to_numpy().tolist()]
    )
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(cells.columns) - 1)}}}",
        *(r"\hline", head, r"\hline", *rows, r"\hline", floor, r"\hline"),
        r"\end{tabular}",
        rf"\par\footnotesize {_escape(' '.join(notes).replace('**', ''))}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    for plain, escaped in (("&", r"\&"), ("%", r"\%"), ("_", r"\_"), ("–", "--"), ("·", r"$\cdot$")):
        text = text.replace(plain, escaped)
    return text
