"""What several test modules need: the real photos beside the repository, and a tiny raw folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image
from soak import inputs

from fashionlib.core.paths import PROJECT
from fashionlib.data import raw, rle

SHARED = PROJECT.parent / "shared"
CCP = SHARED / "data" / "clothing-co-parsing"
FASHIONPEDIA = SHARED / "data" / "fashionpedia-sample"

# a busy machine is no failure
settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")

needs_ccp = pytest.mark.skipif(not CCP.is_dir(), reason=f"Clothing Co-Parsing is not at {CCP}")
needs_fashionpedia = pytest.mark.skipif(not FASHIONPEDIA.is_dir(), reason=f"no sample at {FASHIONPEDIA}")


@pytest.fixture
def raw_folder(tmp_path):
    """A function that writes a raw folder of `photos` noise photos, 24 high and 32 wide; returns its path.

    Photo ``p0003`` carries a garment of class 3 (and so on, modulo 27), 10 wide and 12 high from column 4,
    row 6 on, and a belt (class 19) on its lowest 3 rows. `change` may edit the frame of instances first.
    """

    def make(photos: int = 10, change=None, folder: str = "raw") -> Path:
        root, rng, rows = tmp_path / folder, np.random.default_rng(0), []
        (root / "train").mkdir(parents=True)
        for i in range(photos):
            garment, belt = np.zeros((2, 24, 32), bool)
            garment[6:18, 4:14] = True
            belt[15:18, 4:14] = True
            rows += [
                [f"p{i:04}", rle.encode(garment), 24, 32, i % 27],
                [f"p{i:04}", rle.encode(belt), 24, 32, 19],
            ]
            photo = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
            photo.save(root / "train" / f"p{i:04}.jpg")
        instances = pd.DataFrame(rows, columns=list(raw.COLUMNS[:5]))
        raw.write(root, instances if change is None else change(instances), "drawn for a test")
        return root

    return make


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory) -> Path:
    """A home folder with ``data/tiny``: 20 photos of a striped skirt on noise, 14 of them for training."""
    return inputs.home(tmp_path_factory.mktemp("home"), 20)


@pytest.fixture(scope="session")
def prepared(prepared_home) -> Path:
    """The prepared folder of `prepared_home`."""
    return prepared_home / "data" / "tiny"
