"""Photos and label maps of a split, to score checkpoints on."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from fashionlib.core import checked_files, paths
from fashionlib.data import prepared
from fashionlib.evaluate.runs import Run

_KEPT_BYTES = 1 << 30  # decoded photos held from one checkpoint to the next
_AHEAD = 4  # photos decoded while the model works on others

Arrays = tuple[np.ndarray, ...]
Batch = tuple[list[int], Arrays, Arrays]  # places in the split, photos, label maps


@dataclass(frozen=True)
class Split:
    """One list of photos of a prepared data set."""

    folder: Path
    name: str
    ids: tuple[str, ...]
    dataset: dict  # dataset.json

    @classmethod
    def read(cls, data: str, name: str, home: str | Path | None = None) -> "Split":
        """Split `name` of `data`; ValueError if there is no such list, or nothing in it."""
        folder = paths.data_folder(data, home)
        dataset = prepared.require(folder)
        ids = prepared.ids(folder, name)
        if not ids:
            raise ValueError(f"{folder / 'splits' / name}.txt is empty: there is nothing to score on.")
        return cls(folder, name, tuple(ids), dataset)

    @property
    def classes(self) -> list[str]:
        """Class names; position = label value."""
        return self.dataset["classes"]

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the prepared data and the list of photos."""
        return hashlib.sha256("\n".join([self.dataset["fingerprint"], *self.ids]).encode()).hexdigest()[:16]

    def load(self, photo: str) -> tuple[np.ndarray, np.ndarray]:
        """Photo, uint8 RGB (H, W, 3), and label map (H, W), as stored: masks know no EXIF turn.

        Raises ValueError, naming the file, for a damaged one, labels that are no classes, and unequal sizes.
        """
        with self._open("images", f"{photo}.jpg") as image:
            pixels = np.asarray(image.convert("RGB"))
        labels = prepared.label_map(self.folder, photo, len(self.classes))
        if labels.shape != pixels.shape[:2]:
            path = self.folder / "labels" / f"{photo}.png"
            raise ValueError(f"{path} is {labels.shape}, its photo {pixels.shape[:2]}: {prepared.AGAIN}.")
        return pixels, np.ascontiguousarray(labels)

    def size(self, photo: str) -> tuple[int, int]:
        """(H, W) in pixels, from the label map's header."""
        with self._open("labels", f"{photo}.png") as labels:
            return labels.height, labels.width

    @contextmanager
    def _open(self, *name: str) -> Iterator[Image.Image]:
        path = self.folder.joinpath(*name)
        try:
            with Image.open(path) as image:
                yield image
        except checked_files.DAMAGED as error:
            reason = checked_files.reason(error)
            raise ValueError(f"{path} can't be read ({reason}): {prepared.AGAIN}.") from None

    def check_run(self, run: Run) -> None:
        """Raise ValueError unless `run` was trained on this preparation: it may have seen these photos."""
        theirs, ours = run.card["fingerprint"], self.dataset["fingerprint"]
        if theirs != ours:
            raise ValueError(
                f"{run.name} was trained on another preparation of {self.dataset['data']} "
                f"({theirs}, now {ours}) and may know these photos: train it again, or prepare as before."
            )


class Photos:
    """Photos and label maps of a split, decoded ahead in threads; some stay decoded for the next pass."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self._kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._room = _KEPT_BYTES

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(H, W) of every photo in the split's order; no photo is decoded."""
        return [self.split.size(photo) for photo in self.split.ids]

    def batches(self, group: Callable[[tuple[int, int]], Hashable], most: int) -> Iterator[Batch]:
        """Every photo once, in batches of at most `most` whose sizes (H, W) have the same `group`."""
        groups = defaultdict(list)
        for index, size in enumerate(self.sizes):
            groups[group(size)].append(index)
        batches = [same[i : i + most] for same in groups.values() for i in range(0, len(same), most)]
        decoded = self._decoded([self.split.ids[index] for batch in batches for index in batch])
        for batch in batches:
            images, labels = zip(*islice(decoded, len(batch)), strict=True)
            yield batch, images, labels

    def _decoded(self, photos: list[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (photo, label map) of each, decoding a few ahead of the consumer."""
        ahead = deque()
        with ThreadPoolExecutor(_AHEAD) as pool:
            for photo in photos:
                ahead.append(pool.submit(self._get, photo))
                if len(ahead) > _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _get(self, photo: str) -> tuple[np.ndarray, np.ndarray]:
        if photo in self._kept:
            return self._kept[photo]
        pair = self.split.load(photo)
        size = sum(array.nbytes for array in pair)
        if size <= self._room:
            self._room -= size
            self._kept[photo] = pair
        return pair
