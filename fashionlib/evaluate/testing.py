"""The picked epochs on the test split, once: every number of the table comes from here."""

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fashionlib.core import paths
from fashionlib.core.files import fingerprint, folder_lock, write_csv
from fashionlib.evaluate import areas, metrics, result_tables
from fashionlib.evaluate.runs import Run, find, read_picked
from fashionlib.evaluate.score import Counts, Scorer, summary
from fashionlib.evaluate.split import Split


def test(
    data: str,
    runs: list[str] | None = None,
    home: str | Path | None = None,
    progress: bool = True,
    split: str = "test",
    bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score the picked epoch of each run (or of those named) on the test split.

    The pixel counts of the last epoch are stored too, for comparisons in which no epoch is picked; they
    enter no table of scores.

    Args:
        split: or another list of the data set's photos, such as ``official_val``; its tables go to
            a folder of that name.
        bootstrap, seed: redraws of the photos behind the mIoU's 95 % interval (of runs that the
            table does not hold yet; the others keep theirs).

    Returns:
        test.csv: a row a run; per_class.csv, confusion/ and areas/ lie beside it.

    Raises:
        FileNotFoundError: nothing was picked yet, or the picked weight file is gone.
        ValueError: the picked file changed since validation, or its run knows other data.
    """
    photos = Split.read(data, split, home)
    folder = paths.results_folder(data, home)
    picked = read_picked(data, runs, home).set_index("run")
    out = folder if split == "test" else folder / split
    found = [run for run in find(data, None, home) if run.name in picked.index]
    if missing := sorted(set(runs or ()) - {run.name for run in found}):
        raise FileNotFoundError(f"The folder of the run {missing[0]} is gone: train it again (notebook 03).")
    with folder_lock(folder, "scoring into"):
        result_tables.drop_other_photos(out / "test.csv", photos)
        scorer, redraws = Scorer(photos), dict(n=bootstrap, seed=seed)
        with result_tables.progress_bar(len(found) * len(photos.ids), split, progress) as bar:
            for run in found:
                photos.check_run(run)
                bar.set_postfix_str(run.name, refresh=False)
                _score(run, picked.loc[run.name], scorer, out, redraws, bar)
    return result_tables.read(out / "test.csv")


def test_checkpoint(
    data: str, checkpoint: Path, home: str | Path | None = None, progress: bool = True
) -> pd.DataFrame:
    """Score a checkpoint that is no run on `data`, such as the shipped model, on the test split.

    Nothing tells whether it knows the photos: its card has to. Returns shipped.csv: one row, which Table I
    shows last. A checkpoint that was scored on these photos before is not scored again.
    """
    from fashionlib import models

    photos, file = Split.read(data, "test", home), paths.results_folder(data, home) / "shipped.csv"
    which = {"checkpoint": fingerprint(checkpoint), "split": photos.fingerprint}
    known = result_tables.read(file)
    if len(known) and which.items() <= known.iloc[0].to_dict().items():
        return known
    with result_tables.progress_bar(len(photos.ids), checkpoint.stem, progress) as bar:
        counts = Scorer(photos).score(checkpoint, bar)
    metadata = models.read_metadata(checkpoint)
    row = {"run": checkpoint.stem, "model": metadata["model"], "trained_on": metadata["data"]}
    table = pd.DataFrame([row | _scores(counts, photos, {}) | which])
    write_csv(file, table)
    return table


def _scores(counts: Counts, photos: Split, redraws: dict) -> dict:
    """The scores of test photos as columns, with the mIoU's interval."""
    low, high = metrics.bootstrap_miou(counts.per_photo, **redraws)
    return summary(counts, photos) | {"mIoU_low": low, "mIoU_high": high} | _lessons(counts.cm)


def _score(run: Run, picked: pd.Series, scorer: Scorer, out: Path, redraws: dict, bar: tqdm) -> None:
    """Score the picked epoch into the tables in `out`, and keep the areas of the last epoch that is there."""
    photos, epoch, areas_file = scorer.photos.split, int(picked.epoch), areas.path(out, run.name)
    file, last = _weights(run, epoch, picked.checkpoint), max(run.checkpoints())
    known = result_tables.read(out / "test.csv")
    scored = picked.checkpoint in set(known[known.run == run.name].get("checkpoint", ()))
    if scored and epoch in areas.epochs(areas_file, photos.name):
        bar.update(len(photos.ids))
        return
    if last != epoch:
        bar.total += len(photos.ids)
        areas.put(areas_file, photos, last, scorer.score(run.checkpoints()[last], bar).per_photo)
    counts = scorer.score(file, bar)
    areas.put(areas_file, photos, epoch, counts.per_photo)
    row = run.identity(photos.dataset) | {"epoch": epoch, "scored_on": photos.name}
    row |= _scores(counts, photos, redraws) | {"checkpoint": picked.checkpoint, "split": photos.fingerprint}
    _write_details(out, run, counts, photos)
    # last: a row here means that the other tables are complete
    result_tables.put(out / "test.csv", pd.DataFrame([row]), ["run"])


def _weights(run: Run, epoch: int, checkpoint: str) -> Path:
    """The picked weight file; raises if it is missing or differs from the one that was validated."""
    file = run.checkpoints().get(epoch)
    if file is None:
        raise FileNotFoundError(f"{run.folder} has no weights of its picked epoch {epoch}: train it again.")
    if fingerprint(file) != checkpoint:
        raise ValueError(f"{file} is not the file that was validated: validate and pick again (notebook 04).")
    return file


def _lessons(cm: np.ndarray) -> dict:
    """The paper's equation 1, and the scores of predicting background everywhere on the same photos."""
    floor = metrics.background_everywhere(cm)
    return {
        "eq1_accuracy": metrics.eq1_accuracy(cm),
        "background_aAcc": metrics.aacc(floor),
        "background_mIoU": metrics.miou(floor),
    }


def _write_details(folder: Path, run: Run, counts: Counts, split: Split) -> None:
    """The tables behind a row of test.csv: classes and the confusion matrix."""
    names = split.classes
    matrix = pd.DataFrame(counts.cm, index=pd.Index(names, name="truth"), columns=names)
    write_csv(folder / "confusion" / f"{run.name}.csv", matrix.reset_index())
    result_tables.put(
        folder / "per_class.csv", _per_class(counts, split, run.identity(split.dataset)), ["run"]
    )


def _per_class(counts: Counts, split: Split, who: dict) -> pd.DataFrame:
    """A row a class: its scores, and how many true pixels and photos they rest on."""
    cm = counts.cm
    columns = {
        "run": who.pop("run"),
        "class": split.classes,
        "IoU": metrics.iou(cm),
        "accuracy": metrics.accuracy(cm),
        "precision": metrics.precision(cm),
        "F1": metrics.f1(cm),
        "pixels": cm.sum(axis=1),
        "photos": (counts.per_photo[:, 1] > 0).sum(axis=0),
    }
    return pd.DataFrame(columns | who)
