"""Report: Table I, the figures, and the committed results.

style       one look for all figures; overlays, legends, grids of pictures
captions    what runs, classes and circumstances are called
data        figures of the data
drawings    figures 1 to 3: the networks, drawn from the built ones
photo_steps a photo on its way through a model
inside      attention, tokens and class vectors of a model, a photo over the epochs of a run
run_record  thinned histories and run.json
figures     figures 4 to 7, IoU by class and by photo, confusion matrix, errors
table1      Table I: the paper's numbers beside ours
costs       what the runs cost: arithmetic, seconds, memory, energy
rendered    executed notebooks with the outputs that may be committed
publish     compares results with the committed ones, and copies them there

Everything goes to ``runs/<data>/{results,figures,pictures}``.
Tables hold fractions; what is for reading (Markdown, LaTeX, figures) is in percent. Every figure is
a function of the name of its files (.png and .pdf); what shows a photo goes to ``pictures``. `drawings`,
`photo_steps` and `inside` load the engine and are imported by name.
"""

from fashionlib.report.captions import percent
from fashionlib.report.costs import costs, flops
from fashionlib.report.data import (
    fig_class_balance,
    fig_class_frequency,
    fig_cooccurrence,
    fig_label_maps,
    fig_mask_areas,
    fig_split,
    small_maps,
)
from fashionlib.report.figures import (
    fig4_train_accuracy,
    fig5_train_loss,
    fig6_validation_miou,
    fig7_inference,
    fig_confusion,
    fig_errors,
    fig_per_class_iou,
    fig_per_photo_iou,
)
from fashionlib.report.run_record import history, run_json
from fashionlib.report.table1 import PAPER, table1

__all__ = [
    "PAPER",
    "costs",
    "fig4_train_accuracy",
    "fig5_train_loss",
    "fig6_validation_miou",
    "fig7_inference",
    "fig_class_balance",
    "fig_class_frequency",
    "fig_confusion",
    "fig_errors",
    "fig_cooccurrence",
    "fig_label_maps",
    "fig_mask_areas",
    "fig_per_class_iou",
    "fig_per_photo_iou",
    "fig_split",
    "flops",
    "history",
    "percent",
    "run_json",
    "small_maps",
    "table1",
]
