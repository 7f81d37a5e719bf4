"""Tables and figures of studies, made of what `fashionlib study` stored, without photos.

``<name>.csv`` has a row an arm: means over seeds, and the paired difference to the headline's second arm.
``<name>.md`` is its page. The figure goes to ``figures/<data>/studies`` where the results are committed ones.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fashionlib.core import paths
from fashionlib.core.files import write_csv, write_text
from fashionlib.evaluate import areas, compare, result_tables
from fashionlib.report import style
from fashionlib.report.captions import NOTHING, number
from fashionlib.report.table1 import markdown

THIRDS = ("mIoU rare", "mIoU middle", "mIoU common")
SHOWN = ("mIoU", "aAcc", "apparel IoU", *THIRDS)


@dataclass(frozen=True)
class Results:
    """What is known of a study: `arms` maps a title to the names of its runs, one a seed."""

    data: str
    name: str
    question: str
    headline: dict
    arms: dict[str, list[str]]
    folder: Path  # of the results

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows of ``runs.csv``, with the arm's title; arms in order, seeds that are done."""
        named = [(arm, run) for arm, runs in self.arms.items() for run in runs]
        table = result_tables.read(self.folder / "runs.csv")
        return pd.DataFrame(named, columns=["arm", "run"]).merge(table, on="run")

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The validated rows of ``epochs.csv``, with the arm's title and seed.

        Runs validated at fewer epochs than others, for another study, are left out.
        """
        table = pd.read_csv(self.folder / "epochs.csv").dropna(subset="mIoU")
        table = self.rows[["run", "arm", "seed"]].merge(table, on="run")
        points = table.groupby(["arm", "run"]).mIoU.transform("size")
        return table[points == points.max()]

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

    def difference(self, a: str, b: str, measure: str = "mIoU") -> compare.Difference | None:
        """Arm `a` minus arm `b` on the seeds that both have from one kind of device and precision.

        None without such a seed.
        """
        table = self.rows if measure != compare.IRREGULARITY else self.epochs[["run"]].merge(self.rows)
        table = table.drop_duplicates(["arm", "seed"])
        first, second = (table[table.arm == arm] for arm in (a, b))
        seeds = first.merge(second, on=["seed", "device", "precision"]).seed
        if seeds.empty:
            return None
        if measure == compare.IRREGULARITY:
            return compare.curves(*({seed: self._curves(arm)[seed] for seed in seeds} for arm in (a, b)))
        pixels = [{seed: self.pixels[arm][seed] for seed in seeds} for arm in (a, b)]
        return compare.difference(*pixels, measure, groups=self.thirds)

    def _curves(self, arm: str) -> dict[int, np.ndarray]:
        mine = self.epochs[self.epochs.arm == arm]
        return {seed: rows.mIoU.to_numpy() for seed, rows in mine.groupby("seed")}

    def verdict(self) -> str:
        """The headline as a sentence with its interval, or what is lacking for it."""
        (a, b), by = self.headline["arms"], self.headline["by"]
        if self.rows.empty:
            return "Not known yet: no run of it is stored."
        if (found := self.difference(a, b, by)) is None:
            return f'Not known yet: no seed of both "{a}" and "{b}" is stored that ran on one kind of device.'
        said = {"A": "the former is ", "B": "the latter is ", "t": "a "}.get(found.verdict[0], "")
        said += found.verdict.removeprefix("A ").removeprefix("B ")
        return (
            f'In {by}, "{a}" has {100 * found.a:.1f} and "{b}" {100 * found.b:.1f}, a difference of '
            f"{in_points(found)}: {said}. {strength(found)}"
        )

    def answer(self) -> str:
        """Question, verdict and the command that runs it again, in Markdown."""
        return f"**{self.question}** {self.verdict()}\n\n`{self.command}`"

    @property
    def command(self) -> str:
        """The command that trains what is missing and writes the page again."""
        return f"fashionlib study {self.name} --data {self.data}"

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row an arm: means over its seeds, and the differences to the headline's second arm."""
        reference, by = self.headline["arms"][1], self.headline["by"]
        rows = []
        for arm, mine in self.rows.groupby("arm", sort=False):
            row = {"arm": arm, "seeds": len(mine), "sd": mine.mIoU.std()}
            totals = [frame.groupby("class")[areas.COUNTS].sum() for frame in self.pixels[arm].values()]
            row |= {measure: _mean(totals, measure, self.thirds) for measure in SHOWN}
            row |= self._against(arm, reference, "mIoU")
            if by == compare.IRREGULARITY and (curves := self._curves(arm).values()):
                row[by] = np.mean([compare.irregularity(curve) for curve in curves])
                row["falls"] = np.mean([-np.diff(curve).clip(max=0).sum() for curve in curves])
                row |= self._against(arm, reference, by, f"{by} ")
            row |= {name: mine[name].mean() for name in ("parameters", "train_seconds", "seconds_per_step")}
            row["peak_memory_mb"] = mine.peak_memory_mb.max()
            rows.append(row)
        return pd.DataFrame(rows)

    def _against(self, arm: str, reference: str, measure: str, prefix: str = "") -> dict:
        """Columns of the table: the difference of `arm` to `reference`, NaN where there is none."""
        found = None if arm == reference else self.difference(arm, reference, measure)
        numbers = {
            name: getattr(found, name, np.nan) for name in ("difference", "low", "high", "verdict", "p")
        }
        numbers["pairs"] = getattr(found, "seeds", np.nan)
        return {f"{prefix}{name}": number for name, number in numbers.items()}


def in_points(found: compare.Difference) -> str:
    """A difference in percentage points with its interval."""
    low, high = 100 * found.low, 100 * found.high
    interval = "no interval" if np.isnan(low) else f"95 %: {low:+z.1f} to {high:+z.1f}"
    return f"{100 * found.difference:+z.1f} points ({interval})"


def strength(found: compare.Difference) -> str:
    """Seeds, test over seeds, and the difference that would have been told."""
    if found.seeds == 1:
        return "One seed: nothing is said of another training."
    return (
        f"{found.seeds} seeds; sign-flip test p = {found.p:.2g}, with so many at least {found.p_floor:.2g}; "
        f"{100 * found.detectable:.1f} points would have been told with 80 % power."
    )


def _mean(totals: list[pd.DataFrame], measure: str, groups: compare.Groups) -> float:
    """A measure of each seed's summed areas, averaged."""
    classes = compare.CLASSES
    arrays = [total.reindex(classes, fill_value=0).to_numpy().T for total in totals]
    return float(np.mean([compare.score(array, measure, classes, groups) for array in arrays]))


def write(results: Results) -> str:
    """Write ``<name>.csv``, ``<name>.md`` and the figure of a study; returns the headline's sentence."""
    folder, verdict = results.folder, results.verdict()
    write_csv(folder / f"{results.name}.csv", results.table)
    page = [f"# {results.question}", verdict, markdown(_cells(results)), _small_print(results)]
    write_text(folder / f"{results.name}.md", "\n\n".join(page) + "\n")
    committed = folder == paths.published_results(results.data) / "studies"
    figure(results, paths.published_figures(results.data) / "studies" if committed else folder)
    return verdict


def _cells(results: Results) -> pd.DataFrame:
    """The table as texts in percent; differences and irregularity in points."""
    table, rough = results.table, compare.IRREGULARITY
    cells = {"": table.arm, "seeds": table.seeds.astype(str)}
    cells["mIoU ± sd"] = _percent(table.mIoU) + (" ± " + _percent(table.sd)).where(table.sd.notna(), "")
    cells["difference (95 %; seeds)"] = _differences(table)
    if rough in table:
        cells |= {rough: _percent(table[rough]), "its difference": _differences(table, f"{rough} ")}
        cells["falls"] = _percent(table.falls)
    cells |= {name.removeprefix("mIoU "): _percent(table[name]) for name in ("aAcc", *THIRDS)}
    cells["parameters [M]"] = (table.parameters / 1e6).map("{:.1f}".format)
    return pd.DataFrame(cells)


def _percent(values: pd.Series, sign: str = "") -> pd.Series:
    return values.map(lambda value: number(value, sign=sign))


def _differences(table: pd.DataFrame, prefix: str = "") -> pd.Series:
    """Texts of the differences in points, with their intervals and the number of seeds compared."""
    told, low, high = (_percent(table[prefix + name], "+z") for name in ("difference", "low", "high"))
    texts = told + " (" + low + " to " + high + "; " + table[f"{prefix}pairs"].map("{:.0f}".format) + ")"
    texts = texts.str.replace(f"{NOTHING} to {NOTHING}", "no interval")
    return texts.where(told != NOTHING, NOTHING)


def _small_print(results: Results) -> str:
    rows, by = results.rows, results.headline["by"]
    device, precision, commit = (
        ", ".join(rows[name].dropna().astype(str).str.replace(r"(\w{10})\w{30}", r"\1", regex=True).unique())
        for name in ("device", "precision", "commit")
    )
    photos, side = rows.photos.iloc[0], rows.max_side.iloc[0]
    shrunk = "" if pd.isna(side) else f", photos of at most {side:.0f} pixels"
    curves = (
        "Irregularity: mean absolute step of validation mIoU between epochs, its interval Student's t over "
        "seeds (where a curve only rises, this is its mean rise: speed counts as well); falls: sum of its "
        "downward steps. "
    )
    return (
        f"In percent, differences in points. Scored: the last epoch on {photos} validation and test photos "
        f"of {results.data}{shrunk}; nothing is picked. sd: over seeds. Difference: to "
        f"*{results.headline['arms'][1]}*, on the seeds that both have from one kind of device, paired by "
        "photo and seed, BCa interval. Rare, middle, common: mean IoU of the classes in thirds by true "
        f"pixels. {curves if by == compare.IRREGULARITY else ''}Device: {device}; {precision}; commit "
        f"{commit}. Made by `{results.command}`. Not the paper's data."
    )


def figure(results: Results, folder: Path) -> Figure | None:
    """The study's figure, saved in `folder`; None where nothing is stored.

    A study of curves shows their mean and spread; any other a dot a seed, means and differences.
    """
    if results.rows.empty:
        return None
    draw = _curves if results.headline["by"] == compare.IRREGULARITY else _dots
    fig, about = draw(results)
    return style.save(fig, results.name, folder, f"{results.verdict()} {about}", results.question)


def _dots(results: Results) -> tuple[Figure, str]:
    """mIoU of every seed and arm, differences to the headline's second arm; and what is shown."""
    table = results.table
    fig, axes = style.panels(style.PAGE, 0.7 + 0.22 * len(table))
    axis = axes[0, 0]
    shown = dict(data=results.rows.assign(mIoU=100 * results.rows.mIoU), x="mIoU", y="arm", ax=axis)
    sns.stripplot(**shown, size=3.5, color="0.6", jitter=False)
    sns.pointplot(**shown, linestyle="none", marker="|", markersize=11, markeredgewidth=2, errorbar=None)
    for at, text in enumerate(_differences(table)):
        axis.annotate(text, (1.02, at), xycoords=axis.get_yaxis_transform(), va="center", fontsize=6)
    axis.set(xlabel="mIoU [%]", ylabel="", xlim=(0, None))
    axis.grid(axis="x")
    reference = results.headline["arms"][1]
    return fig, f"Grey: a seed; bar: mean. At the right: difference to {reference} (95 %; seeds compared)."


def _curves(results: Results) -> tuple[Figure, str]:
    """Validation mIoU by epoch, a panel for each first part of the arms' titles; and what is shown."""
    parts = results.epochs.arm.str.split(", ", n=2, expand=True).reindex(columns=range(3)).fillna("")
    rows = results.epochs.assign(mIoU=100 * results.epochs.mIoU, colour=parts[1], dashes=parts[2])
    panels, colours = parts[0].unique(), rows.colour.unique()
    fig, axes = style.panels(style.PAGE, 2.6, columns=len(panels), sharey=True)
    looks = dict(hue="colour", hue_order=colours, palette=[*style.COLOURS[: len(colours)]])
    looks |= dict(style="dashes", style_order=rows.dashes.unique(), errorbar="sd")
    for axis, panel in zip(axes[0], panels, strict=True):
        sns.lineplot(rows[parts[0] == panel], x="epoch", y="mIoU", ax=axis, **looks)
        axis.set(title=panel, ylabel="validation mIoU [%]")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.get_legend().remove()
    lines = dict(zip(*axes[0, 0].get_legend_handles_labels()[::-1], strict=True))
    lines = {name: line for name, line in lines.items() if name not in ("colour", "dashes", "")}
    fig.legend(lines.values(), lines, loc="outside upper left", ncols=len(lines))
    return fig, "Mean over seeds; band: standard deviation, where there are several seeds."
