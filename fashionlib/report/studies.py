"""Tables and figures of studies, made of what `fashionlib study` stored, without photos.

``<name>.csv`` has a row an arm: means over seeds, and the paired difference to the headline's second arm.
``<name>.md`` is its page. The figure goes to ``figures/<data>/studies`` where the results are committed ones.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from fashionlib.core import paths
from fashionlib.core.files import write_csv, write_text
from fashionlib.evaluate import areas, compare
from fashionlib.report import style
from fashionlib.report.table1 import markdown

THIRDS = ("mIoU rare", "mIoU middle", "mIoU common")
_MACHINE = ("device", "precision", "commit")
SHOWN = ("mIoU", "aAcc", "apparel IoU", *THIRDS)


@dataclass(frozen=True)
class Results:
    """What is known of a study: `arms` maps a title to the names of its runs, one a seed from 0 on."""

    data: str
    name: str
    question: str
    headline: dict
    arms: dict[str, list[str]]
    folder: Path  # of the results

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows of ``runs.csv``, with the arm's title; arms in order, seeds that are done."""
        table = pd.read_csv(self.folder / "runs.csv").set_index("run", drop=False)
        found = [
            table.loc[[run]].assign(arm=arm)
            for arm, runs in self.arms.items()
            for run in runs
            if run in table.index
        ]
        if not found:
            raise FileNotFoundError(f"No run of {self.name} is done: `fashionlib study {self.name}`.")
        return pd.concat(found, ignore_index=True)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The rows of ``epochs.csv``: validation mIoU after an epoch, with the arm's title and seed."""
        table = pd.read_csv(self.folder / "epochs.csv")
        return self.rows[["run", "arm", "seed"]].merge(table, on="run").dropna(subset="mIoU")

    @cached_property
    def pixels(self) -> dict[str, compare.Arm]:
        """Arm -> seed -> areas of the scored epoch."""
        return {
            arm: {row.seed: areas.read(areas.path(self.folder, row.run)) for row in rows.itertuples()}
            for arm, rows in self.rows.groupby("arm", sort=False)
        }

    @cached_property
    def thirds(self) -> compare.Groups:
        """The classes in thirds by their true pixels on the scored photos."""
        first = next(iter(next(iter(self.pixels.values())).values()))
        return compare.thirds(first.groupby("class").truth.sum())

    def difference(self, a: str, b: str, measure: str = "mIoU") -> compare.Difference:
        """Arm `a` minus arm `b` on the seeds that both have from one kind of device and precision."""
        rows = [self.rows[self.rows.arm == arm].set_index("seed")[["device", "precision"]] for arm in (a, b)]
        both = rows[0].join(rows[1], rsuffix=" b", how="inner")
        same = both[(both.device == both["device b"]) & (both.precision == both["precision b"])].index
        if measure == "irregularity":
            curves = [self._curves(arm) for arm in (a, b)]
            return compare.curves(*({seed: curve[seed] for seed in same} for curve in curves))
        pixels = [{seed: self.pixels[arm][seed] for seed in same} for arm in (a, b)]
        return compare.difference(*pixels, measure, groups=self.thirds)

    def _curves(self, arm: str) -> dict[int, np.ndarray]:
        mine = self.epochs[self.epochs.arm == arm]
        return {seed: rows.mIoU.to_numpy() for seed, rows in mine.groupby("seed")}

    def verdict(self) -> str:
        """The headline as a sentence with its interval."""
        (a, b), by = self.headline["arms"], self.headline["by"]
        found = self.difference(a, b, by)
        low, high, told = (100 * value for value in (found.low, found.high, found.detectable))
        said = {"A": f"{a} is higher", "B": f"{b} is higher"}.get(found.verdict[0], found.verdict)
        return (
            f"{a} against {b}, {by}: {100 * found.a:.1f} against {100 * found.b:.1f}, a difference of "
            f"{100 * found.difference:+.1f} points (95 %: {low:+.1f} to {high:+.1f}): {said}. {found.seeds} "
            f"seeds, sign-flip test over seeds p = {found.p:.2g} (no less than {found.p_floor:.2g} with so "
            f"many); a difference of {told:.1f} points would have been told with 80 % power."
        )

    def table(self) -> pd.DataFrame:
        """A row an arm: means over its seeds, and the difference to the headline's second arm."""
        reference = self.headline["arms"][1]
        rows = []
        for arm, mine in self.rows.groupby("arm", sort=False):
            row = {"arm": arm, "seeds": len(mine), "sd": mine.mIoU.std()}
            totals = [frame.groupby("class")[areas.COUNTS].sum() for frame in self.pixels[arm].values()]
            row |= {measure: _mean(totals, measure, self.thirds) for measure in SHOWN}
            curves = self._curves(arm).values()
            row["irregularity"] = np.mean([compare.irregularity(curve) for curve in curves])
            row["falls"] = np.mean([-np.diff(curve).clip(max=0).sum() for curve in curves])
            if arm != reference and reference in self.pixels:
                found = self.difference(arm, reference)
                row |= {"difference": found.difference, "low": found.low, "high": found.high}
                row |= {"verdict": found.verdict, "p": found.p}
            row |= {name: mine[name].mean() for name in ("parameters", "train_seconds", "seconds_per_step")}
            row["peak_memory_mb"] = mine.peak_memory_mb.max()
            rows.append(row)
        return pd.DataFrame(rows)


def _mean(totals: list[pd.DataFrame], measure: str, groups: compare.Groups) -> float:
    """A measure of each seed's summed areas, averaged."""
    classes = compare.CLASSES
    arrays = [total.reindex(classes, fill_value=0).to_numpy().T for total in totals]
    return float(np.mean([compare.score(array, measure, classes, groups) for array in arrays]))


def write(results: Results) -> str:
    """Write ``<name>.csv``, ``<name>.md`` and the figure of a study; returns the headline's sentence."""
    table, folder = results.table(), results.folder
    write_csv(folder / f"{results.name}.csv", table)
    verdict = results.verdict()
    page = [f"# {results.question}", verdict, markdown(_cells(table)), _small_print(results)]
    write_text(folder / f"{results.name}.md", "\n\n".join(page) + "\n")
    figure(results)
    return verdict


def _cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table as texts in percent, in eight columns."""
    rows = list(table.to_dict("records"))
    against = [
        f"{100 * row['difference']:+.1f} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"
        if pd.notna(row.get("difference"))
        else "–"
        for row in rows
    ]
    return pd.DataFrame(
        {
            "": [row["arm"] for row in rows],
            "seeds": [str(row["seeds"]) for row in rows],
            "mIoU ± sd": [f"{100 * row['mIoU']:.1f} ± {100 * row['sd']:.1f}" for row in rows],
            "difference (95 %)": against,
            "aAcc": [f"{100 * row['aAcc']:.1f}" for row in rows],
            "rare / middle / common": [
                " / ".join(f"{100 * row[name]:.1f}" for name in THIRDS) for row in rows
            ],
            "irregularity / falls": [
                f"{100 * row['irregularity']:.1f} / {100 * row['falls']:.1f}" for row in rows
            ],
            "parameters [M]": [f"{row['parameters'] / 1e6:.1f}" for row in rows],
        }
    )


def _percents(row: dict, names: tuple[str, ...]) -> str:
    return " / ".join(f"{100 * row[name]:.1f}" for name in names)


def _small_print(results: Results) -> str:
    rows = results.rows
    device, precision, commit = (", ".join(map(str, rows[c].dropna().unique())) for c in _MACHINE)
    photos, side = rows.photos.iloc[0], rows.max_side.iloc[0]
    shrunk = "" if pd.isna(side) else f", photos of at most {side:.0f} pixels"
    return (
        f"Scored: the last epoch on {photos} validation and test photos of {results.data}{shrunk}. "
        f"Nothing is picked. Difference: to *{results.headline['arms'][1]}*, paired by photo and seed, BCa "
        "interval. Thirds: mean IoU of the classes in thirds by true pixels. Irregularity: mean absolute step"
        " of validation mIoU between epochs; falls: sum of its downward steps; both in points. "
        f"Device: {device}, {precision}; commit {commit}. Made by `fashionlib study {results.name} --data "
        f"{results.data}`. Not the paper's data."
    )


def figure(results: Results) -> Figure:
    """A dot a seed and the mean of each arm; of a study of curves, their means and bands instead."""
    if results.headline["by"] == "irregularity":
        fig, axes = style.panels(style.PAGE, 3.2)
        sns.lineplot(
            results.epochs.assign(mIoU=100 * results.epochs.mIoU),
            **dict(x="epoch", y="mIoU", hue="arm", style="arm", errorbar="sd", ax=axes[0, 0]),
        )
        axes[0, 0].set(ylabel="validation mIoU [%]")
        sns.move_legend(axes[0, 0], "center left", bbox_to_anchor=(1, 0.5), title="", fontsize=6)
        about = "Mean and standard deviation over seeds."
    else:
        fig, axes = style.panels(style.PAGE, 0.8 + 0.25 * len(results.pixels))
        shown = dict(data=results.rows.assign(mIoU=100 * results.rows.mIoU), x="mIoU", y="arm", ax=axes[0, 0])
        sns.stripplot(**shown, size=3, color="0.6", jitter=False)
        sns.pointplot(**shown, linestyle="none", marker="|", markersize=12, errorbar=None)
        axes[0, 0].set(xlabel="mIoU [%]", ylabel="", xlim=(0, None))
        axes[0, 0].grid(axis="x")
        about = "Grey: a seed; bar: their mean."
    committed = results.folder == paths.published_results(results.data) / "studies"
    folder = paths.published_figures(results.data) / "studies" if committed else results.folder
    fig.suptitle(results.question, fontsize=8)
    saved = style.save(fig, results.name, folder, f"{results.verdict()} {about}")
    plt.close(fig)
    return saved
