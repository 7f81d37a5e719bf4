"""Train, val and test splits: by photo, never by row, a pure function of the ids and a seed."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise

import numpy as np

SPLITS = ("train", "val", "test")
PAPER_DATA = ("imaterialist", "fashionpedia")  # not stratified, as the paper says nothing of it


def stratify_by_default(data: str) -> bool:
    """Whether splits are stratified by default: yes, except for the paper's own data."""
    return data not in PAPER_DATA


def check_fractions(fractions: Collection[float]) -> None:
    """Raise ValueError unless `fractions` are three nonnegative numbers with sum 1."""
    if len(fractions) != len(SPLITS) or min(fractions) < 0 or not abs(sum(fractions) - 1) <= 1e-6:
        raise ValueError(
            f"fractions={tuple(fractions)} must be the shares of train, val and test, with sum 1."
        )


def split(
    ids: Iterable[str],
    fractions: tuple[float, float, float] = (0.7, 0.2, 0.1),
    seed: int = 0,
    labels: Mapping[str, Collection[int]] | None = None,
    shuffle: bool = True,
) -> dict[str, list[str]]:
    """``{"train": ids, "val": ids, "test": ids}``, each sorted; independent of the order of `ids`.

    Photos are drawn in the order of a hash of seed and id, so removing one hardly changes the others' split.
    With `labels` (the classes in each photo) each class is also distributed in proportion: see `_stratify`.

    Without `shuffle` the first ``int(0.7 n)`` of `ids` as given are train, the next ``int(0.2 n)`` val, the
    rest test: the paper's own split, by its authors' ``dataset_manipulation.py``
    (https://github.com/RiccardoMancini/bgRemoval_Transformer).

    Raises ValueError for fractions that don't sum to 1, for too few photos to fill every split asked for, and
    for `labels` without `shuffle`.
    """
    check_fractions(fractions)
    if not shuffle and labels is not None:
        raise ValueError("shuffle=False keeps the photos' order, so classes can't be stratified: choose one.")
    drawn = list(dict.fromkeys(ids))
    if shuffle:
        drawn.sort(key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).digest())
    if not shuffle:
        train, val = (int(len(drawn) * fraction) for fraction in fractions[:2])
        parts = [drawn[:train], drawn[train : train + val], drawn[train + val :]]
    elif labels is None:
        bounds = [0, *np.round(np.cumsum(fractions) * len(drawn)).astype(int)]
        parts = [drawn[start:end] for start, end in pairwise(bounds)]
    else:
        parts = _stratify(drawn, fractions, labels)
    empty = [
        name for name, part, fraction in zip(SPLITS, parts, fractions, strict=True) if fraction and not part
    ]
    if empty:
        raise ValueError(
            f"{len(drawn)} photos are too few for fractions={tuple(fractions)}: "
            f"the split {empty[0]!r} would be empty."
        )
    return {name: sorted(part) for name, part in zip(SPLITS, parts, strict=True)}


def _stratify(
    ids: list[str], fractions: Collection[float], labels: Mapping[str, Collection[int]]
) -> list[list[str]]:
    """Iterative stratification: assigns photos of the rarest remaining class to the split that needs it most.

    Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, ECML PKDD 2011, algorithm 1.
    Addition: each split needs at least one photo of a class; else a class in four photos is never tested.
    """
    shares = np.asarray(fractions, float)
    classes = sorted({c for i in ids for c in labels[i]})
    has = np.array([[c in labels[i] for c in classes] for i in ids], bool).reshape(len(ids), len(classes))
    room = shares * len(ids)  # (3,) photos that each split still needs
    wanted = np.maximum(shares * has.sum(axis=0)[:, None], shares > 0)  # (C, 3) same per class
    parts: list[list[str]] = [[] for _ in SPLITS]
    left = np.ones(len(ids), bool)

    def place(photo: int, wish: np.ndarray) -> None:
        best = max(range(len(SPLITS)), key=lambda part: (wish[part], room[part]))
        parts[best].append(ids[photo])
        left[photo] = False
        room[best] -= 1
        wanted[has[photo], best] -= 1

    while (counts := (has & left[:, None]).sum(axis=0)).any():
        rarest = np.where(counts > 0, counts, len(ids) + 1).argmin()
        for photo in np.flatnonzero(left & has[:, rarest]):
            place(photo, wanted[rarest])
    for photo in np.flatnonzero(left):  # photos without any class
        place(photo, room)
    return parts
