"""``results/gpu.md`` from ``results/gpu.csv`` (`tools.gpu.steps`) and the lines of `tools.gpu.checks`."""

import sys
from pathlib import Path

import pandas as pd

from fashionlib.core import paths
from fashionlib.core.files import write_text
from fashionlib.report.captions import model_title
from fashionlib.report.table1 import markdown

_HEAD = """# A training step on a GPU

A step (forward, loss, backward, SGD) at 512 x 512 of the paper's four models at full scale, ours and stock
MMSegmentation's build of the same config in turns, on noise that lies on the device: median of ten steps.
fp32 is without TF32. Memory is the peak of the step, with weights, momentum and the batch. Made by
`python -m tools.gpu.steps` and `python -m tools.gpu.page` on {device}, torch {torch}, in one sitting.
"""


def page(table: pd.DataFrame, checks: str) -> str:
    """The page: a row a model, batch and precision, with the ratios of ours to stock."""
    sides = {kind: rows.reset_index(drop=True) for kind, rows in table.groupby("kind")}
    ours, stock = sides["ours"], sides["stock"]
    cells = pd.DataFrame(
        {
            "model": [model_title(name) for name in ours.model],
            "batch": ours.batch.astype(str),
            "precision": ours.precision,
            "photos a second, stock": stock.images_per_second.map("{:.0f}".format),
            "ours": ours.images_per_second.map("{:.0f}".format),
            "ratio": (ours.images_per_second / stock.images_per_second).map("{:.2f}".format),
            "GB, stock": (stock.peak_mb / 1000).map("{:.1f}".format),
            "ours ": (ours.peak_mb / 1000).map("{:.1f}".format),
            "ratio ": (ours.peak_mb / stock.peak_mb).map("{:.2f}".format),
        }
    )
    lines = "\n".join(f"- {line}" for line in checks.splitlines())
    head = _HEAD.format(device=table.device.iloc[0], torch=table.torch.iloc[0])
    return f"{head}\n{markdown(cells)}\n\nChecked there:\n\n{lines}\n"


if __name__ == "__main__":
    results = paths.PROJECT / "results"
    checked = Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else ""
    print(write_text(results / "gpu.md", page(pd.read_csv(results / "gpu.csv"), checked)))
