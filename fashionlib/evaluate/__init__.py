"""Checkpoints x split -> scores: the validation curve, the picked epochs, and the test, once.

Everything is scored at the photo's own size against the label map as prepared, never resized.
Tables are rewritten whole after every checkpoint, and what they already hold is not computed again
as long as the checkpoint's bytes and the split are the same. ``runs/<data>/results/`` gets

    validation.csv       a row a checkpoint          picked_epochs.csv   a row a run
    test.csv             a row a run                 per_class.csv       a row a run and class
    confusion/<run>.csv  pixels, rows = truth        photos/<run>.csv    a row a photo

Scores are fractions, not percent; a score that does not exist (an absent class) is an empty cell.
"""

from fashionlib.evaluate.testing import test
from fashionlib.evaluate.validation import RULE, left_out, pick_epochs, validate

__all__ = ["RULE", "left_out", "pick_epochs", "test", "validate"]
