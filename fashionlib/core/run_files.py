"""Text files of a run folder that several stages read; no torch is loaded for them."""

from pathlib import Path

import pandas as pd

from fashionlib.core.checked_files import numbers

CARD = {"recipe": dict, "classes": list, "fingerprint": str}  # what every recipe.json holds
# a run of the paper's Table I, as far as it says
PAPERS_RUN = {"data": "imaterialist", "scale": "full", "init": "ade20k", "preset": "paper"}
HISTORY = ("epoch", "iter", "loss", "loss_decode", "acc", "lr", "seconds", "memory_mb")


def read_history(folder: Path) -> pd.DataFrame:
    """``history.csv`` of a run folder, a row an iteration, without a last line that a kill tore.

    Raises ValueError naming the file and the row for what training did not write, FileNotFoundError.
    """
    path, header = folder / "history.csv", ",".join(HISTORY).encode()
    with path.open("rb") as file:
        if header.startswith(file.read(len(header) + 1)):  # torn within its first line
            return pd.DataFrame(columns=HISTORY, dtype=float)
    rows = numbers(path, HISTORY, "remove it (the curve is lost, the weights are not)")
    return rows[rows.memory_mb.notna()]
