"""The picked epochs on the test split, once: every number of the table comes from here."""

from pathlib import Path

import numpy as np
import pandas as pd

from fashionlib.core import paths
from fashionlib.core.files import folder_lock, write_csv
from fashionlib.evaluate import metrics, result_tables
from fashionlib.evaluate.runs import Run, digest, find, read_picked
from fashionlib.evaluate.score import Scorer, Scores, summary
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
    """Score the picked epoch of each run (or of those named) on the test split, and no other epoch.

    Args:
        split: or another list of the data set's photos, such as ``official_val``; its tables go to
            a folder of that name.
        bootstrap, seed: redraws of the photos behind the mIoU's 95 % interval (of runs that the
            table does not hold yet; the others keep theirs).

    Returns:
        test.csv: a row a run; per_class.csv, confusion/ and photos/ lie beside it.

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
        result_tables.drop_other_photos(out / "test.csv", photos.fingerprint)
        scorer = Scorer(photos)
        with result_tables.progress_bar(len(found) * len(photos.ids), split, progress) as bar:
            for run in found:
                photos.check_run(run)
                epoch, checkpoint = int(picked.epoch[run.name]), picked.checkpoint[run.name]
                file = _weights(run, epoch, checkpoint)
                known = result_tables.rows(result_tables.read(out / "test.csv"), run.name)
                if checkpoint in set(known.get("checkpoint", ())):
                    bar.update(len(photos.ids))
                    continue
                bar.set_postfix_str(f"{run.name}, epoch {epoch}", refresh=False)
                scores = scorer.score(file, bar)
                low, high = metrics.bootstrap_miou(scores.areas, bootstrap, seed)
                row = run.identity(photos.dataset) | {"epoch": epoch, "scored_on": split}
                row |= summary(scores, photos) | {"mIoU_low": low, "mIoU_high": high} | _lessons(scores.cm)
                row |= {"checkpoint": checkpoint, "split": photos.fingerprint}
                _write_details(out, run, scores, photos)
                # last, so that a row here says that the other tables are whole
                result_tables.put(out / "test.csv", pd.DataFrame([row]), ["run"])
    return result_tables.read(out / "test.csv")


def _weights(run: Run, epoch: int, checkpoint: str) -> Path:
    """The picked weight file; refuses one that is gone or is not the one that was validated."""
    file = run.checkpoints().get(epoch)
    if file is None:
        raise FileNotFoundError(f"{run.folder} has no weights of its picked epoch {epoch}: train it again.")
    if digest(file) != checkpoint:
        raise ValueError(f"{file} is not the file that was validated: validate and pick again (notebook 04).")
    return file


def _lessons(cm: np.ndarray) -> dict:
    """The paper's equation 1, and what calling everything background reaches on the same photos."""
    floor = metrics.background_everywhere(cm)
    return {
        "eq1_accuracy": metrics.eq1_accuracy(cm),
        "background_aAcc": metrics.aacc(floor),
        "background_mIoU": metrics.miou(floor),
    }


def _write_details(folder: Path, run: Run, scores: Scores, split: Split) -> None:
    """The tables behind a row of test.csv: classes, photos and the confusion matrix."""
    names = split.classes
    matrix = pd.DataFrame(scores.cm, index=pd.Index(names, name="truth"), columns=names)
    write_csv(folder / "confusion" / f"{run.name}.csv", matrix.reset_index())
    write_csv(folder / "photos" / f"{run.name}.csv", _per_photo(scores, split))
    result_tables.put(
        folder / "per_class.csv", _per_class(scores, split, run.identity(split.dataset)), ["run"]
    )


def _per_class(scores: Scores, split: Split, who: dict) -> pd.DataFrame:
    """A row a class: its scores, and how many true pixels and photos they rest on."""
    cm = scores.cm
    columns = {
        "run": who["run"],
        "class": split.classes,
        "IoU": metrics.iou(cm),
        "accuracy": metrics.accuracy(cm),
        "precision": metrics.precision(cm),
        "F1": metrics.f1(cm),
        "pixels": cm.sum(axis=1),
        "photos": (scores.areas[:, 1] > 0).sum(axis=0),
    }
    return pd.DataFrame(columns | {name: value for name, value in who.items() if name != "run"})


def _per_photo(scores: Scores, split: Split) -> pd.DataFrame:
    """A row a photo: its own aAcc and mean IoU, over the classes it has or was said to have."""
    intersect, truth, predicted = scores.areas.transpose(1, 0, 2).astype(float)
    union = truth + predicted - intersect
    with np.errstate(invalid="ignore"):  # a class that the photo lacks is 0/0, and left out
        iou, aacc = intersect / union, intersect.sum(axis=1) / truth.sum(axis=1)
    columns = {"aAcc": aacc, "mean_IoU": np.nanmean(iou, axis=1), "n_classes": (union > 0).sum(axis=1)}
    return pd.DataFrame({"photo": split.ids} | columns)
