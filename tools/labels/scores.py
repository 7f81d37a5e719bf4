"""Table I with all photos and without those whose label map is judged wrong, from stored pixel counts.

Counts of a row are int64 (P, 3, C), as in `compare.counts`. Only the photos with a verdict can be left out.
"""

import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from fashionlib.core import paths
from fashionlib.core.classes import CLASSES
from fashionlib.core.files import write_csv, write_text
from fashionlib.cutout.about import DEFAULT_MODEL
from fashionlib.evaluate import areas, compare
from fashionlib.report.captions import model_title
from fashionlib.report.table1 import markdown
from tools.labels import CAUSES, GROUPS, SPLITS, TRUTHS, read_verdicts

MEASURES = ("mIoU", "aAcc", "apparel IoU")
SHIPPED, FLOOR = "shipped cut-out model", "background everywhere"
PHRASES = dict(zip(GROUPS, ("of largest disagreement", "drawn at random"), strict=True))
STRICTNESS = {"wrong": TRUTHS[2:], "wrong or doubtful": TRUTHS[1:]}


def counts(results: Path, splits: tuple[str, ...], shipped: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Photos of `splits`, and the counts of each row of Table I on them.

    The shipped model's are in `shipped`; on validation photos it has none, because it has learnt from those.
    """
    picked = pd.read_csv(results / "picked_epochs.csv").set_index("run").epoch
    runs = pd.read_csv(results / "test.csv")
    files = {
        model_title(row.model, row.scale): (areas.path(results, row.run), picked[row.run])
        for row in runs.itertuples()
    }
    if "val" not in splits:
        files[SHIPPED] = shipped, 0
    tables = {}
    for name, (file, epoch) in files.items():
        rows = areas.read(file)
        tables[name] = rows[rows.split.isin(splits) & (rows.epoch == epoch)]
    photos = sorted(set(next(iter(tables.values())).photo))
    found = {name: compare.counts(rows, CLASSES, photos) for name, rows in tables.items()}
    truth = next(iter(found.values()))[:, 1]
    floor = np.stack([np.zeros_like(truth), truth, np.zeros_like(truth)], axis=1)
    floor[:, 0, 0], floor[:, 2, 0] = truth[:, 0], truth.sum(axis=1)
    return photos, found | {FLOOR: floor}


def without(found: np.ndarray, left_out: np.ndarray, measure: str, redraws: int = 2000) -> dict[str, float]:
    """A score with all photos and without those in `left_out`, (P,) bool.

    The change has a 95 % interval: BCa bootstrap over photos, in which the same redraw gives both scores.
    """

    def change(index: np.ndarray, axis: int = -1) -> np.ndarray:
        drawn = found[index].astype(float)  # (…, P, 3, C)
        kept = (drawn * ~left_out[index][..., None, None]).sum(axis=-3)
        return compare.score(kept, measure) - compare.score(drawn.sum(axis=-3), measure)

    every = np.arange(len(found))
    official, changed = float(compare.score(found.sum(axis=0), measure)), float(change(every))
    options = dict(n_resamples=redraws, batch=100, rng=np.random.default_rng(0), method="BCa")
    with np.errstate(invalid="ignore"), warnings.catch_warnings(action="ignore"):
        interval = stats.bootstrap((every,), change, **options).confidence_interval  # NaN: nothing varies
    row = {"official": official, "without": official + changed, "change": changed}
    return row | {"low": float(interval.low), "high": float(interval.high)}


def shuffled(
    found: np.ndarray, left_out: np.ndarray, groups: np.ndarray, measure: str, n: int = 1000
) -> dict:
    """The mean change if verdicts meant nothing: those of a group's photos are dealt out anew, `n` times.

    `groups`, (P,), has no group for photos without a verdict. ``p`` is how often the change is as large as
    with the true verdicts, these included.
    """
    rng, kept = np.random.default_rng(0), np.tile(~left_out, (n + 1, 1)).astype(float)
    for group in GROUPS:
        places = np.flatnonzero(groups == group)
        kept[1:, places] = rng.permuted(kept[1:, places], axis=1)
    totals = (kept @ found.reshape(len(found), -1)).reshape(n + 1, *found.shape[1:])
    changes = compare.score(totals, measure) - compare.score(found.sum(axis=0), measure)
    return {"shuffled": changes[1:].mean(), "p": np.mean(changes >= changes[0] - 1e-12)}


def table(results: Path, verdicts: pd.DataFrame, shipped: Path) -> pd.DataFrame:
    """A row for each list of photos, strictness, row of Table I and measure; scores are fractions."""
    rows, judged = [], verdicts.set_index("photo")
    for splits in (SPLITS[1:], SPLITS):
        photos, found = counts(results, splits, shipped)
        truth, groups = (judged[column].reindex(photos).to_numpy() for column in ("truth", "group"))
        for strictness, (name, per_photo), measure in product(STRICTNESS, found.items(), MEASURES):
            left_out = pd.Series(truth).isin(STRICTNESS[strictness]).to_numpy()
            what = {"photos": len(photos), "truth": strictness, "left_out": left_out.sum()}
            what = {"split": " and ".join(splits)} | what | {"row": name, "measure": measure}
            scores = without(per_photo, left_out, measure) | shuffled(per_photo, left_out, groups, measure)
            rows.append(what | scores)
    return pd.DataFrame(rows)


def report(data: str) -> Path:
    """Write labels.csv and labels.md beside verdicts.csv; returns the page.

    Raises FileNotFoundError without the counts of the shipped model, which notebook 05 stores.
    """
    results = paths.published_results(data)
    folder, shipped = results / "labels", areas.path(results, DEFAULT_MODEL.stem)
    if not shipped.is_file():
        raise FileNotFoundError(f"There is no {shipped}: run notebook 05 with shipped=True, and publish.")
    verdicts = read_verdicts(folder / "verdicts.csv")
    scores = table(results, verdicts, shipped)
    write_csv(folder / "labels.csv", scores)
    return write_text(folder / "labels.md", page(verdicts, scores))


def page(verdicts: pd.DataFrame, scores: pd.DataFrame) -> str:
    """labels.md: what was judged and by whom, counts by group, scores and what becomes of their order."""
    wrong = verdicts[verdicts.truth == "wrong"].sort_values(["group", "photo"])
    notes = [f"- {row.photo} ({row.group}): {row.note}" for row in wrong.itertuples()]
    result = f"**{_shares(verdicts, scores.photos.max())} {_order(scores[scores.truth == 'wrong'])}**"
    parts = ["# How good are the labels?", _JUDGE, result, _counts_by_group(verdicts)]
    parts += ["What is plainly wrong:", "\n".join(notes)]
    for split, rows in scores[scores.truth == "wrong"].groupby("split", sort=False):
        first = rows.iloc[0]
        parts += [
            f"**{split.capitalize()} photos, {first.left_out} of {first.photos} left out**",
            _cells(rows),
        ]
    return "\n\n".join([*parts, _LIMITS]) + "\n"


def _counts_by_group(verdicts: pd.DataFrame) -> str:
    """A row a group, a column a verdict."""
    columns = [(column, value) for column, known in (("truth", TRUTHS), ("cause", CAUSES)) for value in known]
    cells = {
        f"{column}: {value}": [
            str(((verdicts.group == g) & (verdicts[column] == value)).sum()) for g in GROUPS
        ]
        for column, value in columns
    }
    return markdown(pd.DataFrame({"photos of": GROUPS} | cells))


def _cells(rows: pd.DataFrame) -> str:
    """A row for each of Table I, in its order."""
    cells = []
    for name, of_row in rows.groupby("row", sort=False):
        line = {"row": name}
        for each in of_row.itertuples():
            line[each.measure] = f"{100 * each.official:.1f} → {100 * each.without:.1f}"
            interval = "" if np.isnan(each.low) else f" ({100 * each.low:+.2f} to {100 * each.high:+.2f})"
            line[f"{each.measure}, change"] = (
                f"{100 * each.change:+.2f}{interval} [{100 * each.shuffled:+.2f}]"
            )
        cells.append(line)
    return markdown(pd.DataFrame(cells))


def _shares(verdicts: pd.DataFrame, photos: int) -> str:
    """How often the label map is wrong: in each group, and in all the `photos` that they are from."""
    wrong = pd.crosstab(verdicts.group, verdicts.truth == "wrong").reindex(
        columns=[False, True], fill_value=0
    )
    texts, shares = [], {}
    for group in GROUPS:
        hits, n = int(wrong.loc[group, True]), int(wrong.loc[group].sum())
        interval = stats.binomtest(hits, n).proportion_ci(method="wilson")
        shares[group] = np.array([hits / n, interval.low, interval.high])
        texts.append(f"{hits} of the {n} photos {PHRASES[group]} ({_range(*shares[group][1:])})")
    worst = int(wrong.loc[GROUPS[0]].sum())
    total = (shares[GROUPS[0]][0] * worst + shares[GROUPS[1]] * (photos - worst)) / photos  # all of the worst
    return (
        f"The label map is plainly wrong in {' and in '.join(texts)}; Fisher's exact test of the two groups "
        f"has p = {stats.fisher_exact(wrong).pvalue:.2f}. For all {photos} photos that makes "
        f"{100 * total[0]:.0f} % ({_range(*total[1:])}) wrong."
    )


def _range(low: float, high: float) -> str:
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def _order(scores: pd.DataFrame) -> str:
    """Which measures' order of rows changes, and how far apart the rows are that change places."""
    gaps = dict.fromkeys(MEASURES, 0.0)
    for (_, measure), rows in scores.groupby(["split", "measure"]):
        apart, after = (
            np.subtract.outer(*[rows[column].to_numpy()] * 2) for column in ("official", "without")
        )
        gaps[measure] = max(gaps[measure], np.abs(apart[apart * after < 0]).max(initial=0))
    same = [measure for measure, gap in gaps.items() if not gap]
    texts = [f"the order of Table I's rows by {' and by '.join(same)} stays the same"] if same else []
    texts += [
        f"by {measure} rows that are up to {100 * gap:.2f} points apart change places"
        for measure, gap in gaps.items()
        if gap
    ]
    return f"Without the wrong ones {'; '.join(texts)}."


_JUDGE = """\
Sixty validation and test photos: the 30 on which the five runs from DINOv2 agree least with the label maps,
and 30 drawn from the other 240, shuffled and judged without knowing which is which, the label map before
any prediction was seen, by criteria written down before ([tools/labels](../../../tools/labels/README.md)).
There is one judge, an AI model that looked at photos some 600 pixels high: no second opinion, no measure of
its own errors. It saw the label maps as they are scored, in our 27 classes. Verdicts, photo by photo:
[verdicts.csv](verdicts.csv)."""
_LIMITS = """\
Percent, and the change in points with its 95 % interval (BCa bootstrap over photos, paired). Only photos
with a verdict can be left out: some of the other 210 will be as wrong. Half of the 60 were picked because
models do badly on them, so leaving out any of these raises scores: square brackets give the mean change if
the verdicts are dealt out anew among the photos of the same group. The validation photos picked the epochs,
and the shipped model has learnt from them: it stands in the table of the test photos alone. Shares:
Wilson's 95 % interval. Every number, also without the doubtful ones, and the p of the comparison in square
brackets: [labels.csv](labels.csv). `python -m tools.labels report` writes this page."""
