"""Every checkpoint on the validation split, and the epoch that is picked by it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from fashionlib.core import paths
from fashionlib.core.classes import check_name
from fashionlib.core.files import fingerprint, folder_lock, write_csv
from fashionlib.evaluate import areas, metrics, result_tables
from fashionlib.evaluate.runs import Run, find
from fashionlib.evaluate.score import Scorer, summary
from fashionlib.evaluate.split import Split

RULE = "highest validation mIoU, background included; the earlier epoch on ties"


def validate(
    data: str, runs: list[str] | None = None, home: str | Path | None = None, progress: bool = True
) -> pd.DataFrame:
    """Score every checkpoint of every run on `data` (or of those named) on the validation split.

    Returns:
        validation.csv: a row a checkpoint. Rows of weight files that were removed stay, as long as
        the run was not trained again.

    Raises:
        FileNotFoundError: no run, or no prepared data.
        ValueError: a run was trained on another preparation of the data, a weight file is torn, or
            (`files.FolderLocked`) another process is scoring.
    """
    split = Split.read(data, "val", home)
    found, path = find(data, runs, home), paths.results_folder(data, home) / "validation.csv"
    with folder_lock(path.parent, "scoring into"):
        result_tables.drop_other_photos(path, split)
        todo = [job for run in found for job in _unknown(path, run, split)]
        scorer = Scorer(split)
        with result_tables.progress_bar(len(todo) * len(split.ids), "validation", progress) as bar:
            for run, epoch, checkpoint in todo:
                bar.set_postfix_str(f"{run.name}, epoch {epoch}", refresh=False)
                counts = scorer.score(run.checkpoints()[epoch], bar)
                areas.put(areas.path(path.parent, run.name), split, epoch, counts.per_photo)
                row = run.identity(split.dataset) | {"epoch": epoch} | summary(counts, split)
                row |= {"checkpoint": checkpoint, "split": split.fingerprint}
                result_tables.put(path, pd.DataFrame([row]), ["run", "epoch"])
    return result_tables.read(path)


def score_training_photos(
    data: str,
    run: str,
    count: int = 100,
    points: int = 4,
    home: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """aAcc and mIoU of a run on photos that it was trained on, scored as in `validate`: against overfitting.

    Args:
        count: number of photos, from the first on, of those that the run was trained on.
        points: number of epochs, spread evenly over those whose weights are there, the first and last among
            them.

    Returns:
        a row an epoch: epoch, photos, aAcc, mIoU. Nothing is stored.

    Raises:
        ValueError: no weights of the run are left, or it was trained on another preparation of the data.
    """
    from fashionlib.data.dataset import FashionDataset  # here: the engine takes seconds to import

    split, (found,) = Split.read(data, "train", home), find(data, [run], home)
    split.check_run(found)
    recipe, checkpoints = found.card["recipe"], found.checkpoints()
    seen = FashionDataset(split.folder, photos=recipe["photos"], seed=recipe["seed"], pipeline=[])
    ids = tuple(Path(seen.get_data_info(i)["img_path"]).stem for i in range(min(count, len(seen))))
    if not (epochs := list(checkpoints)):
        raise ValueError(f"{found.folder} has no weights left: train it again.")
    epochs = [epochs[i] for i in np.unique(np.linspace(0, len(epochs) - 1, points).round().astype(int))]
    scorer, rows = Scorer(replace(split, ids=ids)), []
    with result_tables.progress_bar(len(epochs) * len(ids), "training photos", progress) as bar:
        for epoch in epochs:
            cm = scorer.score(checkpoints[epoch], bar).cm
            rows.append(dict(epoch=epoch, photos=len(ids), aAcc=metrics.aacc(cm), mIoU=metrics.miou(cm)))
    return pd.DataFrame(rows)


def pick_epochs(
    data: str,
    runs: list[str] | None = None,
    home: str | Path | None = None,
    keep: str = "all",
    unfinished: bool = False,
) -> pd.DataFrame:
    """Pick an epoch of each validated run (or of those named) by `RULE`, on validation photos only.

    Args:
        keep: ``picked`` deletes the weight files of the epochs that were not picked, of finished runs.
        unfinished: pick of runs that are not trained to the end, too; else they lose an earlier pick.

    Returns:
        picked_epochs.csv: the picked rows of validation.csv, with the rule, the number of epochs to
        choose from, and `lead`: the difference in mIoU to the second best epoch.

    Raises:
        FileNotFoundError: nothing was validated.
        ValueError: an unknown run; or no run is finished, with how to finish them.
    """
    check_name(keep, ("all", "picked"), "keep")
    folder = paths.results_folder(data, home)
    table = result_tables.read(folder / "validation.csv")
    if table.empty:
        raise FileNotFoundError(f"No scores in {folder}/validation.csv: validate first (notebook 04).")
    validated = list(table.run.unique())
    names = validated if runs is None else [check_name(name, validated, "validated run") for name in runs]
    open_ = {run.name for run in find(data, None, home) if not run.finished}
    chosen = [name for name in names if unfinished or name not in open_]
    if not chosen:
        raise ValueError(left_out(data, names, home))
    picked = pd.DataFrame([_pick(table[table.run == name]) for name in chosen])
    path = folder / "picked_epochs.csv"
    with folder_lock(folder, "scoring into"):
        picked = result_tables.put(path, picked, ["run"])
        if len(chosen) < len(names):
            picked = picked[~picked.run.isin(set(names) - set(chosen))]
            write_csv(path, picked)
        if keep == "picked":
            _remove_others(find(data, [name for name in chosen if name not in open_], home), picked)
    return picked


def left_out(data: str, runs: list[str] | None = None, home: str | Path | None = None) -> str:
    """Which runs (of those named) are unfinished and not picked, and what to do, as a sentence; or ""."""
    found = [
        f"{run.name} ({run.progress()}, go on with `{run.card['command']}`)"
        for run in find(data, runs, home)
        if not run.finished
    ]
    if not found:
        return ""
    return f"Unfinished and left out of the pick: {', '.join(found)}; or pick as they are: unfinished=True."


def _unknown(path: Path, run: Run, split: Split) -> list[tuple[Run, int, str]]:
    """(run, epoch, digest) of the checkpoints missing from the table at `path`.

    If the bytes of any checkpoint changed, the run was trained again, and all its rows are deleted.
    """
    split.check_run(run)
    digests = {epoch: fingerprint(file) for epoch, file in run.checkpoints().items()}
    table = result_tables.read(path)
    mine = table[table.run == run.name]
    known = {} if mine.empty else dict(zip(mine.epoch, mine.checkpoint, strict=True))
    if any(known.get(epoch, new) != new for epoch, new in digests.items()):
        write_csv(path, table[table.run != run.name])
        areas.path(path.parent, run.name).unlink(missing_ok=True)
        known = {}
    done = set(known) & areas.epochs(areas.path(path.parent, run.name), split.name)
    return [(run, epoch, new) for epoch, new in digests.items() if epoch not in done]


def _pick(rows: pd.DataFrame) -> dict:
    """The best row of a run's validation rows, as a row of picked_epochs.csv."""
    ranked = rows.sort_values(["mIoU", "epoch"], ascending=[False, True])
    lead = ranked.mIoU.iloc[0] - ranked.mIoU.iloc[1] if len(ranked) > 1 else float("nan")
    return ranked.iloc[0].to_dict() | {"rule": RULE, "lead": lead, "validated_epochs": len(ranked)}


def _remove_others(runs: list[Run], picked: pd.DataFrame) -> None:
    epochs = picked.set_index("run").epoch
    for run in runs:
        for epoch, file in run.checkpoints().items():
            if epoch != epochs[run.name]:
                file.unlink()
