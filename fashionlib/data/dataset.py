"""The prepared data as an MMSegmentation data set.

Usable from any stock config::

    custom_imports = dict(imports=["fashionlib.data.dataset"])
    dataset = dict(type="FashionDataset", data_root="data/ccp", split="train", pipeline=...)
"""

import fashionlib.core.engine  # noqa: F401  (first: it keeps the engine quiet)

# isort: split
import random
from pathlib import Path

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from torch.utils.data import Sampler

from fashionlib.core import classes
from fashionlib.data import prepared


@DATASETS.register_module()
class FashionDataset(BaseSegDataset):
    """One split of a prepared folder; class names and palette come from its ``dataset.json``.

    Args:
        data_root: a folder that `fashionlib.data.prepare` wrote.
        split: ``train``, ``val``, ``test`` or ``official_val``.
        photos: size of a random subset of the photos, drawn with `seed` (None: all of them).
        seed: makes augmentation a pure function of (seed, epoch, photo): item ``epoch * len(self) + i`` is
            photo ``i`` with that epoch's augmentation, independent of the worker, process or resumed run that
            requests it. None does not seed NumPy's generator.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "train",
        photos: int | None = None,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        names = prepared.require(data_root)["classes"]
        self.seed = seed
        kwargs.setdefault(
            "metainfo", dict(classes=names, palette=[list(c) for c in classes.FULL_PALETTE[: len(names)]])
        )
        super().__init__(
            data_root=str(data_root),
            ann_file=f"splits/{split}.txt",
            data_prefix=dict(img_path="images", seg_map_path="labels"),
            indices=_subset(Path(data_root), split, photos, seed),
            **kwargs,
        )

    def __iter__(self):
        return (self[i] for i in range(len(self)))  # one epoch: larger indices belong to later epochs

    def __getitem__(self, index: int) -> dict:
        epoch, i = divmod(index, len(self))
        if self.seed is not None and not self.test_mode:
            # mmcv and mmseg transforms draw from these two global generators
            state = np.random.SeedSequence([self.seed, epoch, i]).generate_state(2)
            np.random.seed(state[0])
            random.seed(int(state[1]))
        return super().__getitem__(i)

    def get_data_info(self, i: int) -> dict:
        """MMEngine's entry of photo `i`, with the number of classes, which LoadCrop checks."""
        return super().get_data_info(i) | {"classes": len(self.metainfo["classes"])}

    def classes_shown(self) -> np.ndarray:
        """Classes present in each photo, bool (photos, classes); reads all label maps."""
        return self.pixels() > 0

    def pixels(self) -> np.ndarray:
        """Pixels of each class in each photo, int64 (photos, classes); reads all label maps."""
        counts = np.zeros((len(self), len(self.metainfo["classes"])), int)
        for i, row in enumerate(counts):
            path = Path(self.get_data_info(i)["seg_map_path"])
            labels = prepared.decode(path.read_bytes(), path)
            row[:] = np.bincount(labels.ravel(), minlength=256)[: len(row)]
        return counts


def _subset(data_root: Path, split: str, photos: int | None, seed: int | None) -> list[int] | None:
    ids = prepared.ids(data_root, split)  # which checks them too
    prepared.check_files(data_root, ids)
    n = len(ids)
    if photos is None:
        return None
    if not 0 < photos <= n:
        raise ValueError(
            f"photos={photos}: {data_root}/splits/{split}.txt lists {n} photos; ask for 1 to {n}, "
            "or None for all."
        )
    return sorted(np.random.default_rng(seed).permutation(n)[:photos].tolist())


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler):
    """A new shuffle every epoch, a pure function of (seed, epoch), shared by all processes.

    Global batch k of an epoch contains the same photos for any number of processes: process r takes its r-th
    slice. The last batches are filled from the front of the shuffle: all batches have equal size, and
    their number is a multiple of `accumulate`. `skip` (in photos of this process) resumes an interrupted
    epoch.

    `oversample_thr` repeats photos of rare classes by LVIS's repeat factors r (Gupta et al. 2019); it is the
    threshold t, a fraction of the photos, of `repeat_factors`. The epoch's length is unchanged: a photo is in
    the shuffle floor(r) times, plus once with probability r - floor(r), and the shuffle is cut off at the
    epoch's length. None uses every photo once.
    """

    def __init__(
        self,
        dataset,
        batch_size: int,
        seed: int = 0,
        accumulate: int = 1,
        oversample_thr: float | None = None,
    ) -> None:
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.rank, self.world = get_dist_info()
        self.batches = accumulate * -(-len(dataset) // (batch_size * self.world * accumulate))
        thr = oversample_thr
        self.factors = None if thr is None else repeat_factors(dataset.classes_shown(), thr)
        self.epoch = self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next shuffle."""
        self.epoch = epoch

    def __iter__(self):
        n = len(self.dataset)
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.factors is None:
            order = rng.permutation(n)
        else:
            order = rng.permutation(np.repeat(np.arange(n), (self.factors + rng.random(n)).astype(int)))
        order = np.resize(order, self.batches * self.world * self.batch_size)
        mine = order.reshape(self.batches, self.world, self.batch_size)[:, self.rank].ravel()
        return iter((self.epoch * n + mine[self.skip :]).tolist())

    def __len__(self) -> int:
        return self.batches * self.batch_size


def repeat_factors(shown: np.ndarray, threshold: float) -> np.ndarray:
    """Repeat factor of each photo: the maximum of max(1, sqrt(threshold / f)) over its classes.

    f is the fraction of photos that contain the class; classes with f >= `threshold` cause no repeats.

    Args:
        shown: bool (photos, classes).
        threshold: above 0, at most 1.

    Returns:
        float64 (photos,), at least 1.
    """
    if not 0 < threshold <= 1:
        allowed = "a share of the photos, above 0 and at most 1, or None"
        raise ValueError(f"oversample_thr={threshold!r}: {allowed}.")
    wanted = np.sqrt(threshold / shown.mean(0).clip(min=1 / len(shown)))
    return np.where(shown, wanted, 1).max(1).clip(min=1)


def frequency_weights(pixels: np.ndarray, kind: str) -> np.ndarray:
    """Class weights for the loss, proportional to 1/f (``inverse``) or 1/sqrt(f) (``sqrt_inverse``).

    f is a class's share of the pixels; the mean weight of a pixel, the sum of f times weight, is 1. No weight
    is capped: under ``inverse``, a thousandth of the pixels means a thousand times the weight. A class
    without pixels is never a target; its weight is 1.

    Args:
        pixels: of each class in the training photos (classes,), label 255 not counted.
    """
    share = pixels[pixels > 0] / max(pixels.sum(), 1)
    weights = share ** {"inverse": -1.0, "sqrt_inverse": -0.5}[kind]
    every = np.ones(len(pixels))
    every[pixels > 0] = weights / (share @ weights)
    return every
