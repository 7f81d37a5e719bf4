"""Comparison of this machine's results with the committed ones, and their publication.

``runs/<data>/{results,figures,pictures}`` is what the notebooks wrote here, ``results/<data>`` and
``figures/<data>`` what git has. Nothing but the drawn sample may publish a picture of a photo, or an
executed notebook, which shows some.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from fashionlib.core import paths
from fashionlib.core.files import atomic_write, write_text
from fashionlib.report import rendered

TOLERANCE = 0.03  # of mIoU: same seed and data, but other CPUs and thread counts round differently
KEYS = ("run", "class", "epoch", "iter", "photo", "truth")  # columns that say what a row is about
# in the results, but by hand, `study`, tools/labels or `rendered`
NOT_OURS = ("plan.yaml", "studies", "labels", "notebooks")
DRAWN = "sample"  # the only data set without photos
_OF_RUNS = ("validation.csv", "picked_epochs.csv")  # tables that name every run
CURVES = (  # figures without photos: all that may be published of any data set but the sample
    "fig1_segmenter",
    "fig2_setr",
    "fig3_decoders",
    "fig4_train_accuracy",
    "fig5_train_loss",
    "fig6_validation_miou",
    "fig_attention_distance",
    "fig_class_frequency",
    "fig_class_similarity",
    "fig_cooccurrence",
    "fig_mask_areas",
    "fig_per_class_iou",
    "fig_per_photo_iou",
    "fig_confusion",
    "fig_errors",
)


def compare(data: str) -> list[str]:
    """Where ``runs/<data>/results`` and the committed ``results/<data>`` disagree, one sentence each.

    They agree if they have the same files, tables the same columns and rows (by KEYS; the picked epochs
    themselves may differ) and every mIoU within TOLERANCE, JSON files the same names. Runs and
    predictions here that the committed results do not know at all are someone's own and not looked at.
    Executed notebooks are compared by `rendered.differences`.
    """
    here, committed = _files(paths.results_folder(data)), _files(paths.published_results(data))
    if not committed:
        folder = paths.published_results(data)
        return [f"nothing is committed in {folder}: `fashionlib publish {data}` does that."]
    scored = [pd.read_csv(path) for name, path in committed.items() if name in _OF_RUNS]
    known = set().union(_with_areas(committed), *(table.run for table in scored))
    own = {folder.name for folder in paths.runs_folder(data).glob("*")} | _with_areas(here)
    own = (own if "others.csv" in committed else own | {"others"}) - known
    here = {name: path for name, path in here.items() if re.sub(r"\.csv(\.gz)?$", "", path.name) not in own}
    found = [f"{n} is committed, but no run here wrote it." for n in sorted(committed.keys() - here.keys())]
    found += [f"{n} was written here, but is not committed." for n in sorted(here.keys() - committed.keys())]
    for name in sorted(here.keys() & committed.keys()):
        found += [f"{name}: {what}" for what in _differences(here[name], committed[name], own)]
    return found + (rendered.differences(data) if data == DRAWN else [])


def summary(data: str) -> str:
    """Test scores of every run, here and as committed, as a table; "" where either is missing."""
    files = [folder / "test.csv" for folder in (paths.results_folder(data), paths.published_results(data))]
    if not all(file.is_file() for file in files):
        return ""
    here, committed = (pd.read_csv(file).set_index("run")[["mIoU", "aAcc"]] for file in files)
    both = here.join(committed.add_suffix(" committed"), how="outer")
    return (100 * both).round(1).add_suffix(" [%]").to_string()


def publish(data: str) -> list[Path]:
    """Copy this machine's results, figures and pages over the committed ones; returns the files now there.

    What no run here wrote is removed, `NOT_OURS` excepted. Raises FileNotFoundError before any run, and
    ValueError for a figure of photos that must not be in git.
    """
    results = _files(paths.results_folder(data))
    if not results:
        raise FileNotFoundError(
            f"No results in {paths.results_folder(data)}: run `fashionlib reproduce` first."
        )
    figures, pages = _files(paths.figures_folder(data)), {}
    if data == DRAWN:
        pages = rendered.pages(data)
        figures |= _files(paths.pictures_folder(data))
    elif shown := sorted(name for name in figures if Path(name).stem not in CURVES):
        raise ValueError(
            f"{shown[0]} is not one of the curves that may be published of {data}: photos stay in runs/."
        )
    folder = paths.published_results(data)
    written = _mirror(results, folder) + _mirror(figures, paths.published_figures(data))
    for path in (folder / "notebooks").glob("*.ipynb"):
        path.unlink()
    written += [write_text(folder / "notebooks" / name, page) for name, page in pages.items()]
    readme = paths.PROJECT / "README.md"
    if readme.is_file():
        write_text(readme, with_table(readme.read_text(encoding="utf-8"), data))
    return written


def with_table(readme: str, data: str) -> str:
    """`readme` with Table I of `data` as committed, in short, between its two marks if it has them."""
    begin, end = f"<!-- table: {data} -->\n", "\n<!-- end -->"
    if begin not in readme:
        return readme
    page = (paths.published_results(data) / "table1.md").read_text(encoding="utf-8")
    shown = page.partition("\n\n")[2].partition("\n\nOurs: ")[0]  # without title, settings and commands
    before, _, rest = readme.partition(begin)
    return before + begin + shown + end + rest.partition(end)[2]


def _with_areas(files: dict[str, Path]) -> set[str]:
    """Names of the runs, and of what else was scored, that have a file of areas."""
    return {path.name.partition(".")[0] for name, path in files.items() if name.startswith("areas/")}


def _differences(here: Path, committed: Path, own: set[str]) -> Iterator[str]:
    """In what two files of one name differ, rows of `own` runs left out."""
    if here.suffix == ".csv":
        table = pd.read_csv(here)
        if "run" in table:
            table = table[~table.run.isin(own)].reset_index(drop=True)
        curve = here.stem == "validation" or here.parent.name == "history"  # else the epoch is a result
        yield from _table_differences(table, pd.read_csv(committed), curve)
    elif here.suffix == ".json":
        a, b = (set(json.loads(path.read_text(encoding="utf-8"))) for path in (here, committed))
        if a != b:
            yield f"only one of the two has {', '.join(sorted(a ^ b))}."


def _table_differences(here: pd.DataFrame, committed: pd.DataFrame, curve: bool) -> Iterator[str]:
    if list(here.columns) != list(committed.columns):
        yield f"the columns are {list(here.columns)}, committed are {list(committed.columns)}."
        return
    keys = [key for key in KEYS if key in here and (curve or key != "epoch")]
    here, committed = (
        table.sort_values(keys, ignore_index=True) if keys else table for table in (here, committed)
    )
    if not here[keys].equals(committed[keys]):
        yield f"{len(here)} rows, committed are {len(committed)}; they differ by {', '.join(keys)}."
        return
    for column in (name for name in here if name.startswith("mIoU")):
        a, b = here[column], committed[column]
        for i in here.index[~((a - b).abs().le(TOLERANCE) | (a.isna() & b.isna()))]:
            row = ", ".join(f"{key} {here[key][i]}" for key in keys)
            yield f"{column} of {row} is {a[i]:.4f}, committed is {b[i]:.4f}: more than {TOLERANCE} apart."


def _mirror(files: dict[str, Path], folder: Path) -> list[Path]:
    """Make `folder` hold exactly these files (and what is NOT_OURS)."""
    for name in _files(folder).keys() - files.keys():
        (folder / name).unlink()
    for name, path in files.items():
        with atomic_write(folder / name) as part:
            shutil.copyfile(path, part)
    return [folder / name for name in sorted(files)]


def _files(folder: Path) -> dict[str, Path]:
    """Name below `folder` -> path of every visible file in it, NOT_OURS left out."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        str(name): path
        for name, path in found.items()
        if not name.name.startswith(".") and name.parts[0] not in NOT_OURS
    }
