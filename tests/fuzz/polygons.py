"""Fashionpedia's JSON: whatever the bytes, it is read and drawn or refused in a sentence.

A photo in it is taken for 5 high and 7 wide, whatever it says.
"""

import tempfile
from pathlib import Path

import numpy as np

from fashionlib.core import classes
from fashionlib.data import raw, rle
from fashionlib.data.sources import fashionpedia

_scratch = tempfile.TemporaryDirectory()
_FILE = Path(_scratch.name) / fashionpedia.TRAIN


def one(content: bytes) -> None:
    _FILE.write_bytes(content)
    try:
        photos = fashionpedia._read(_FILE)
    except raw.RawError as error:
        assert "\n" not in str(error) and _FILE.name in str(error), str(error)
        return
    for photo in photos:
        assert photo.path.parent.parent == _FILE.parent and photo.path.suffix == ".jpg"
        for category_id, attributes, segmentation in photo.instances:
            assert category_id in range(len(classes.CATEGORIES)) and "\n" not in attributes
            try:
                mask = fashionpedia.mask(segmentation, 5, 7)
            except ValueError as error:
                assert str(error) and "\n" not in str(error), repr(error)
            else:
                assert mask.shape == (5, 7) and set(np.unique(mask)) <= {0, 1}
                assert (rle.decode(rle.encode(mask), 5, 7) == mask).all()
