"""train.csv: whatever its bytes, `raw.check` takes it or says what is wrong in one sentence.

The raw folder has the two photos ``a`` and ``b``, 3 high and 4 wide. What comes out as good is fit to be
prepared: every row names one of them, fits it, and has a code that can be painted.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from fashionlib.data import raw, rle

_scratch = tempfile.TemporaryDirectory()  # removed when the process ends
_FOLDER = Path(_scratch.name)
(_FOLDER / "train").mkdir()
for name in "ab":
    Image.new("RGB", (4, 3)).save(_FOLDER / "train" / f"{name}.jpg")
(_FOLDER / raw.DESCRIPTIONS).write_text(json.dumps({"categories": [{"id": 46, "name": "hair"}]}))


def one(content: bytes) -> None:
    (_FOLDER / raw.CSV).write_bytes(content)
    try:
        instances, problems = raw.check(_FOLDER)
    except raw.RawError as error:
        assert "\n" not in str(error) and raw.CSV in str(error), str(error)
        return
    assert not set(instances.ImageId) & set(problems.ImageId)
    assert len(instances) + len(problems) and problems.row.is_monotonic_increasing
    assert all(text and "\n" not in text for text in problems.problem)
    assert list(instances.columns) == [*raw.COLUMNS, "row"]
    assert set(instances.dtypes[["Height", "Width", "ClassId", "row"]]) <= {np.dtype("int64")}
    for row in instances.itertuples():
        assert (row.ImageId in "ab") and (row.Height, row.Width) == (3, 4) and 0 <= row.ClassId <= 46
        assert rle.decode(row.EncodedPixels, 3, 4).any()
