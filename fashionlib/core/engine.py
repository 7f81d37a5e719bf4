"""OpenMMLab's packages, imported once, without their notices about parts that we do not use."""

import contextlib
import io
import warnings

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")
    import mmcv  # noqa: F401
    import mmseg.datasets  # noqa: F401  (fills the registries)
    import mmseg.models  # noqa: F401

# Said at every build and every load; both are meant: the paper's recipe divides the loss by all pixels,
# and 0 is a class of ours.
for said in ("Default ``avg_non_ignore`` is False", "`reduce_zero_label` will be deprecated"):
    warnings.filterwarnings("ignore", message=said)
