"""Evaluation: the validation curve, the picked epochs, and the test, once.

In the order in which the data meet them:

runs           the run folders that training left
split          photos and label maps of a split, decoded ahead
metrics        confusion matrix, IoU, accuracy, bootstrap intervals
score          one checkpoint, or predictions from outside, on one split
areas          pixel counts per photo and class
result_tables  CSV tables that grow a row at a time
validation     every checkpoint on the validation split, and the pick
testing        the picked epochs on the test split
compare        two arms of a study: difference, interval, sign-flip test
taxonomies     a confusion matrix of fewer classes, and published scores

Photos are scored at their own size against the label map as prepared, never resized. Tables are rewritten
whole after every checkpoint; rows stay as long as the checkpoint's bytes and the split are the same.
``runs/<data>/results/`` gets

    validation.csv       a row a checkpoint          picked_epochs.csv   a row a run
    test.csv             a row a run                 per_class.csv       a row a run and class
    others.csv           what is no run of ours      errors.csv          wrong pixels by kind, a row a run
    confusion/<run>.csv  pixels, rows = truth        areas/<run>.csv.gz  pixels a photo and class

Scores are fractions, not percent; a score that does not exist (an absent class) is an empty cell.
"""

from fashionlib.evaluate.testing import test, test_checkpoint, test_predictions
from fashionlib.evaluate.validation import RULE, left_out, pick_epochs, score_training_photos, validate

__all__ = [
    "RULE",
    "left_out",
    "pick_epochs",
    "score_training_photos",
    "test",
    "test_checkpoint",
    "test_predictions",
    "validate",
]
