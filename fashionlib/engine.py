"""OpenMMLab's packages, imported once and without their notices about parts that we do not use."""

import contextlib
import io
import warnings

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")
    import mmcv  # noqa: F401
    import mmseg.datasets  # noqa: F401  (fills the registries)
    import mmseg.models  # noqa: F401
