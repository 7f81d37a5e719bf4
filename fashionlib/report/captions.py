"""Titles of runs and classes, and the small print of tables and figures."""

import re
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from fashionlib.core import paths, run_files
from fashionlib.data import prepared
from fashionlib.evaluate.runs import Run, find, read_scores
from fashionlib.evaluate.split import Split

NOTHING = "–"  # in a table: a number that is missing
_CAPITALS = ("setr", "mla", "pup", "r50", "t", "s", "b", "l")
_TITLES = {"segmenter": "Segmenter", "vit": "ViT", "unet": "U-Net", "deeplabv3plus": "DeepLabV3+"}
_PHRASES = {  # column of a table of scores -> how a note says it
    "data": "{}",
    "class_set": "class set {}",
    "scale": "scale {}",
    "init": "init {}",
    "preset": "preset {}",
    "epochs": "{} epochs",
    "batch": "batch {}",
    "seed": "seed {}",
    "train_photos": "{} training photos",
}
_IN_LABELS = ("scale", "init", "epochs")  # said beside the model where runs differ in them
_SAID = ("variant", "seed", "photos")  # given settings that every caption says anyway
_ORDER = ("segmenter_vit_t", "segmenter_vit_b", "setr_mla", "setr_pup")  # the paper's rows come first


def model_title(model: str, scale: str = "full") -> str:
    """``segmenter_vit_t`` -> ``Segmenter ViT-T``, at the scale mini ``Segmenter mini-T``."""
    model = Path(model).stem  # of a config file
    words = " ".join(w.upper() if w in _CAPITALS else _TITLES.get(w, w) for w in model.split("_"))
    title = re.sub(r"ViT ([TSBL])\b", r"ViT-\1", words)
    if scale != "mini":
        return title
    if "ViT" not in title:  # the paper's SETR has a ViT-L
        title = title.replace("SETR", "SETR ViT-L")
    return title.replace("ViT-", "mini-")


def class_title(name: str) -> str:
    """The first of a class's names: ``headband, head covering, hair accessory`` -> ``headband``."""
    return name.split(",")[0]


def in_order(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows of runs: the paper's models in its order, then the others by name."""
    rank = runs.model.map(lambda model: _ORDER.index(model) if model in _ORDER else len(_ORDER))
    return runs.assign(_rank=rank).sort_values(["_rank", "run"], kind="stable").drop(columns="_rank")


def scored(data: str, table: str, columns: tuple[str, ...], runs=None, home=None) -> pd.DataFrame:
    """Rows of notebook 05's CSV `table`, `as_trained`, all or those of `runs`; it must have `columns`."""
    path = paths.results_folder(data, home) / table
    rows = as_trained(read_scores(path, ("run", "model", "epochs", *columns), "05"), data, home)
    return rows if runs is None else rows[rows.run.isin(runs)]


def outside(data: str, home: str | Path | None = None) -> pd.DataFrame:
    """Rows of others.csv, checkpoints and predictions that are no run, scored on the test photos of now."""
    path = paths.results_folder(data, home) / "others.csv"
    if not path.is_file():
        return pd.DataFrame(columns=["run", "title", "note", "split"])
    rows = read_scores(path, ("run", "title", "mIoU"), "05")
    return rows[rows.split == Split.read(data, "test", home).fingerprint]


def as_trained(rows: pd.DataFrame, data: str, home: str | Path | None = None) -> pd.DataFrame:
    """Rows of runs `in_order`; `epochs` of an unfinished one is the text ``2 of 10``.

    The new column `given` says what a run was given beside its preset, and how its photos were changed.
    """
    dataset, known = prepared.require(paths.data_folder(data, home)), find(data, None, home)
    said = {run.name: run.progress().removesuffix(" epochs") for run in known}
    given = {run.name: _given(run, dataset["options"]) for run in known}
    epochs = [
        text if " of " in (text := said.get(run, "")) else number
        for run, number in zip(rows.run, rows.epochs, strict=True)
    ]
    return in_order(rows.assign(epochs=epochs, given=[given.get(run, "") for run in rows.run]))


def _given(run: Run, options: dict) -> str:
    """``lr 0.0001, crop 224 x 154, max_side 1024``: a run's own settings and its data's."""
    names = [name for name in run_files.given(run.card.get("origin", {})) if name not in _SAID]
    values = {name: run.card["recipe"][name] for name in names} | run_files.changed(options)
    return ", ".join(f"{name} {_short(value)}" for name, value in values.items())


def variant(run: str, model: str, scale: str, init: str) -> str:
    """The part of a run's name that the other three do not say."""
    return run.removeprefix(paths.run_name(model, scale, init)).strip("-")


def labels(runs: pd.DataFrame) -> dict[str, str]:
    """Run -> what a legend calls it: the model, and what tells it from the other runs."""
    return {row["run"]: _label(row, runs) for row in runs.to_dict("records")}


def circumstances(runs: pd.DataFrame) -> str:
    """Data, class set, scale, initialisation, epochs, … of the runs; then where initial weights came from."""
    values = {column: "/".join(map(_short, runs[column].unique())) for column in _PHRASES}
    said = [phrase.format(values[column]) for column, phrase in _PHRASES.items()]
    for text, same in runs[runs.given != ""].groupby("given", sort=False).run:
        said.append(f"given {text}" + ("" if len(same) == len(runs) else f" ({', '.join(same)})"))
    sources = runs.init_source[runs.init != "none"].dropna().unique()
    return ". ".join(
        [" · ".join(said), *(f"Initial weights: {source.split(';')[0]}" for source in sources if source)]
    )


def _label(row: dict, runs: pd.DataFrame) -> str:
    said = [c for c in _IN_LABELS if runs[c].nunique() > 1 or (c == "epochs" and " of " in str(row[c]))]
    details = [_PHRASES[c].format(_short(row[c])).removeprefix(f"{c} ") for c in said]
    details.append(variant(*(row[c] for c in ("run", "model", "scale", "init"))))
    details = ", ".join(filter(None, details))
    return model_title(row["model"], row["scale"]) + (f" ({details})" if details else "")


def _short(value) -> str:
    """A value in a note; of a checkpoint's path the stem, a size as ``224 x 154``."""
    if isinstance(value, list):
        return " x ".join(map(str, value))
    return re.sub(r"^.*[/\\]|\.[A-Za-z]+$", "", str(value))


def number(value: float, digits: int = 1, factor: float = 100, sign: str = "") -> str:
    """A number as tables show it, a fraction in percent by default; a dash where it is missing."""
    return NOTHING if pd.isna(value) else f"{factor * value:{sign}.{digits}f}"


def percent(table: pd.DataFrame, digits: int = 1) -> Styler:
    """`table` as notebooks show it: its floats, which are fractions, in percent."""
    fractions = table.select_dtypes("float").columns
    shown = table.style.format(lambda value: f"{100 * value:.{digits}f}", na_rep="–", subset=fractions)
    return shown.set_caption("Scores in percent.")
