"""Report: Table I, the figures, and the committed results.

style       one look for all figures; overlays, legends, grids of pictures
captions    what runs, classes and circumstances are called
data        figures of the data
run_record  thinned histories and run.json
curves      figures 4 to 6: training and validation curves
table1      Table I: the paper's numbers beside ours
per_class   IoU by class, and the confusion matrix
inference   figure 7: predictions on test photos
publish     compares results with the committed ones, and copies them there

Everything goes to ``runs/<data>/{results,figures,pictures}``.
Tables hold fractions; what is for reading (Markdown, LaTeX, figures) is in percent. Every figure is
a function of the name of its files (.png and .pdf); what shows a photo goes to ``pictures``.
"""

from fashionlib.report.curves import fig4_train_accuracy, fig5_train_loss, fig6_validation_miou
from fashionlib.report.data import fig_class_frequency, fig_label_maps, fig_mask_areas
from fashionlib.report.inference import fig7_inference
from fashionlib.report.per_class import fig_confusion, fig_per_class_iou
from fashionlib.report.run_record import history, run_json
from fashionlib.report.table1 import PAPER, table1

__all__ = [
    "PAPER",
    "fig4_train_accuracy",
    "fig5_train_loss",
    "fig6_validation_miou",
    "fig7_inference",
    "fig_class_frequency",
    "fig_confusion",
    "fig_label_maps",
    "fig_mask_areas",
    "fig_per_class_iou",
    "history",
    "run_json",
    "table1",
]
