"""The picked epochs on the test split, once: every number of the table comes from here."""

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from fashionlib.core import paths
from fashionlib.core.files import fingerprint, folder_lock, write_csv
from fashionlib.evaluate import areas, compare, metrics, result_tables
from fashionlib.evaluate.runs import Run, find, read_picked
from fashionlib.evaluate.score import ERRORS, Counts, Scorer, read_predictions, summary
from fashionlib.evaluate.split import Split

OTHERS = "others.csv"  # a row for each that is scored but no run of ours


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
        test.csv: a row a run; per_class.csv, errors.csv, confusion/ and areas/ lie beside it.

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
    """Score the shipped model, or another checkpoint that is no run on `data`, on the test split.

    Nothing tells whether it knows the photos: its card has to. Returns its row of others.csv, which Table I
    shows below the runs. A checkpoint that was scored on these photos before is not scored again.
    """
    photos, results = Split.read(data, "test", home), paths.results_folder(data, home)
    row = {"run": checkpoint.stem, "title": "shipped cut-out model (trained on more)"}
    row["note"] = "What the shipped model learnt from, its card says: fashionlib/assets/cutout.md."
    row |= {"checkpoint": fingerprint(checkpoint), "split": photos.fingerprint}
    known = result_tables.read(results / OTHERS)
    same = [all(said.get(name) == value for name, value in row.items()) for said in known.to_dict("records")]
    if any(same):
        return known[same]
    with result_tables.progress_bar(len(photos.ids), checkpoint.stem, progress) as bar:
        return _put_other(row, Scorer(photos).score(checkpoint, bar), photos, results)


def test_predictions(data: str, folder: str | Path, home: str | Path | None = None) -> pd.DataFrame:
    """Score label maps ``<folder>/<photo>.png`` of the test photos, made by any tool.

    They have the size of the photos in ``data/<data>/images``, and positions in dataset.json's `classes` as
    values. Returns their row of others.csv, which Table I shows below the runs.
    """
    photos, folder = Split.read(data, "test", home), Path(folder).expanduser().resolve()
    row = {"run": f"predictions-{folder.name}", "title": f"your predictions: {folder.name}"}
    row["note"] = "Your predictions are from outside: nothing here tells what they learnt from."
    row |= {"split": photos.fingerprint}
    return _put_other(row, read_predictions(photos, folder), photos, paths.results_folder(data, home))


def _put_other(row: dict, counts: Counts, photos: Split, folder: Path) -> pd.DataFrame:
    """Store areas and scores of what is no run of ours; returns its row."""
    scored = {"epoch": 0, "scored_on": photos.name} | _scores(counts, photos, {}) | _errors(counts, photos)
    with folder_lock(folder, "scoring into"):
        areas.put(areas.path(folder, row["run"]), photos, 0, counts.per_photo)
        table = result_tables.put(folder / OTHERS, pd.DataFrame([row | scored]), ["run"])
    return table[table.run == row["run"]]


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
    details = run.name in set(result_tables.read(out / "errors.csv").run)  # an older version wrote none
    if scored and details and epoch in areas.epochs(areas_file, photos.name):
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
    """The tables behind a row of test.csv: classes, kinds of errors and the confusion matrix."""
    who = run.identity(split.dataset)
    write_csv(folder / "confusion" / f"{run.name}.csv", counts.matrix(split.classes))
    errors = pd.DataFrame([who | _errors(counts, split) | {"split": split.fingerprint}])
    result_tables.put(folder / "errors.csv", errors, ["run"])
    result_tables.put(folder / "per_class.csv", _per_class(counts, split, who), ["run"])


def _errors(counts: Counts, split: Split) -> dict:
    """Wrong pixels by kind, and the mean IoU of the classes in thirds by their true pixels."""
    names, pixels = split.classes, counts.cm.sum(axis=1)
    thirds = compare.thirds(pd.Series(pixels, names), names)
    iou = pd.Series(metrics.iou(counts.cm), names)
    means = {f"IoU_{which.split()[-1]}": iou[members].mean() for which, members in thirds.items()}
    return dict(zip(ERRORS, counts.errors, strict=True)) | means


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
