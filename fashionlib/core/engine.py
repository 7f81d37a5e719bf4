"""Quiet import of OpenMMLab's packages, without their notices about parts that this project doesn't use."""

import contextlib
import io
import warnings

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")
    import mmcv  # noqa: F401
    import mmseg.datasets  # noqa: F401  (fills the registries)
    import mmseg.models  # noqa: F401

# Warnings at every build and every load. Both settings are intended: the paper's recipe divides the loss by
# all pixels, and label 0 (background) is a class here.
for said in ("Default ``avg_non_ignore`` is False", "`reduce_zero_label` will be deprecated"):
    warnings.filterwarnings("ignore", message=said)
