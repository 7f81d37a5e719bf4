"""The prepared data as an MMSegmentation data set.

Usable from any stock config::

    custom_imports = dict(imports=["fashionlib.dataset"])
    dataset = dict(type="FashionDataset", data_root="data/ccp", split="train", pipeline=...)
"""

import fashionlib.engine  # noqa: F401  (first: it keeps the engine quiet)

# isort: split
import json
import random
from pathlib import Path

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from torch.utils.data import Sampler

from fashionlib import classes


def read_info(data_root: str | Path) -> dict:
    """``dataset.json`` of a prepared folder; FileNotFoundError says which command makes it."""
    path = Path(data_root) / "dataset.json"
    if not path.is_file():
        name = Path(data_root).name
        raise FileNotFoundError(
            f"No prepared data at {data_root}: run `fashionlib prepare raw/{name} data/{name}` first"
            + (" (`fashionlib sample raw/sample` draws the sample)." if name == "sample" else ".")
        )
    return json.loads(path.read_text())


@DATASETS.register_module()
class FashionDataset(BaseSegDataset):
    """One split of a prepared folder; class names and palette come from its ``dataset.json``.

    Args:
        data_root: a folder that `fashionlib.prepare` wrote.
        split: ``train``, ``val``, ``test`` or ``official_val``.
        photos: keep this many photos, drawn by `seed` (None: all of them).
        seed: makes augmentation a pure function of (seed, epoch, photo): item
            ``epoch * len(self) + i`` is photo ``i`` as that epoch sees it, whatever worker,
            process or resumed run asks for it. None leaves NumPy's generator alone.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "train",
        photos: int | None = None,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        names = read_info(data_root)["classes"]
        self.seed = seed
        kwargs.setdefault(
            "metainfo", dict(classes=names, palette=[list(c) for c in classes.FULL_PALETTE[: len(names)]])
        )
        super().__init__(
            data_root=str(data_root),
            ann_file=f"splits/{split}.txt",
            data_prefix=dict(img_path="images", seg_map_path="labels"),
            indices=_subset(Path(data_root) / f"splits/{split}.txt", photos, seed),
            **kwargs,
        )

    def __iter__(self):
        return (self[i] for i in range(len(self)))  # one epoch: an index beyond it means the next

    def __getitem__(self, index: int) -> dict:
        epoch, i = divmod(index, len(self))
        if self.seed is not None and not self.test_mode:
            # mmcv and mmseg transforms draw from these two global generators
            state = np.random.SeedSequence([self.seed, epoch, i]).generate_state(2)
            np.random.seed(state[0])
            random.seed(int(state[1]))
        return super().__getitem__(i)


def _subset(ids_file: Path, photos: int | None, seed: int | None) -> list[int] | None:
    if photos is None:
        return None
    n = len(ids_file.read_text().split())
    if not 0 < photos <= n:
        raise ValueError(f"photos={photos}: {ids_file} lists {n} photos; ask for 1 to {n}, or None for all.")
    return sorted(np.random.default_rng(seed).permutation(n)[:photos].tolist())


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler):
    """A new shuffle every epoch, a pure function of (seed, epoch), shared by all processes.

    Global batch k of an epoch is the same photos however many processes share it: process r takes
    its r-th slice. The last batch is filled up from the front of the shuffle, so that all batches
    are equally large and their number is a multiple of `accumulate`. `skip` (in photos of this
    process) starts an epoch where a stopped run left it.
    """

    def __init__(self, dataset, batch_size: int, seed: int = 0, accumulate: int = 1) -> None:
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.rank, self.world = get_dist_info()
        self.batches = accumulate * -(-len(dataset) // (batch_size * self.world * accumulate))
        self.epoch = self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self):
        n = len(self.dataset)
        order = np.random.default_rng([self.seed, self.epoch]).permutation(n)
        order = np.resize(order, self.batches * self.world * self.batch_size)
        mine = order.reshape(self.batches, self.world, self.batch_size)[:, self.rank].ravel()
        return iter((self.epoch * n + mine[self.skip :]).tolist())

    def __len__(self) -> int:
        return self.batches * self.batch_size
