"""What shortcuts of a cut-out cost: products in int8, and patches that the second look's encoder never sees.

Each way is compared with the one without shortcuts on the same photos, which the checkpoint must not have
learnt from: pixels that are labelled the same, and differences of IoU with paired intervals.
"""

import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from fashionlib.core.classes import IGNORE
from fashionlib.core.files import write_csv
from fashionlib.cutout.segment import SUBJECTS
from fashionlib.evaluate import metrics
from fashionlib.evaluate.split import Split
from fashionlib.models import two_stage
from fashionlib.models.graph import GROUP, GraphModel
from fashionlib.models.metadata import read_metadata
from tools.cutout_model.score.measure import is_subject
from tools.gpu import judge

WAYS = {  # title: (activations that share a scale in int8, 0 for none; least probability of a subject)
    "every patch": (0, 0.0),
    "every patch, int8": (GROUP, 0.0),
    **{f"least {least:g}, int8": (GROUP, least) for least in (0.001, 0.005, 0.02)},
}


def compare(
    data: str, checkpoint: Path, out: Path, split: str = "val", photos: int | None = None
) -> pd.DataFrame:
    """A row a way, written to `out`; `checkpoint` has a graph beside it and a `least` (`two_stage`).

    Seconds are of processor time, on one thread: programs beside it hardly show.
    """
    if not two_stage.keeps_tokens(read_metadata(checkpoint)):
        raise ValueError(f"{checkpoint} has no least: average it with --least, then make its graph.")
    part = Split.read(data, split)
    models = {}
    for title, (group, least) in WAYS.items():
        models[title] = GraphModel(checkpoint, threads=1, group=group)
        models[title].metadata["closer"]["least"] = least  # each has metadata of its own
    found = {title: [] for title in WAYS}
    for photo in tqdm(part.ids[:photos], "shortcuts", unit="photo"):
        image, truth = part.load(photo)
        for title, model in models.items():
            found[title].append({"photo": photo} | _row(image, truth, model, part.classes))
    counts = {title: judge.gathered(rows) for title, rows in found.items()}
    first, *_ = WAYS
    table = [{"way": title} | _compared(found, counts, title, first) for title in WAYS]
    table = pd.DataFrame(table).assign(data=data, split=split, checkpoint=checkpoint.name)
    write_csv(out, table.round(5))
    return table


def _row(image: np.ndarray, truth: np.ndarray, model: GraphModel, classes) -> dict:
    begin = time.process_time()
    label = model.probabilities(image).argmax(0).astype(np.uint8)
    seconds = time.process_time() - begin
    label = cv2.resize(label, truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
    confusion = metrics.confusion_matrix(label, truth, len(classes))
    row = {"label": label, "seconds": seconds, "confusion": confusion}
    for subject in SUBJECTS:
        ours, true = (is_subject(subject, classes)[each] & (truth != IGNORE) for each in (label, truth))
        row[subject] = (ours & true).sum(), (ours | true).sum()
    return row


def _compared(found: dict, counts: dict, title: str, first: str) -> dict:
    """The columns of a way: photos, equal pixels, scores and their differences to the first way, seconds."""
    same = [(a["label"] == b["label"]).mean() for a, b in zip(found[title], found[first], strict=True)]
    row = {"photos": len(same), "same_pixels": np.mean(same)}
    for name, step in judge.differences(counts[title], counts[first]).items():
        row[name] = judge.scores(counts[title])[name][0]
        row |= dict(zip((f"{name}_difference", f"{name}_low", f"{name}_high"), step, strict=True))
    return row | {"seconds": np.mean([each["seconds"] for each in found[title]])}
