"""Paired comparison of two arms of a study: A against B on the same photos and seeds.

An arm is one run a seed, given as {seed: rows of `areas`} of one epoch. Its score is the mean over seeds of
a measure of the *summed* counts, as in Table I, so whole photos are redrawn and their counts summed again:

- Interval, standard error and P(A better) come from redraws of photos and of seeds, the same in both arms.
  The interval is BCa (Efron 1987, "Better bootstrap confidence intervals"), with the acceleration for two
  samples, photos and seeds, of `scipy.stats.bootstrap`, which itself can neither redraw fewer nor one seed.
- A redraw of S seeds has S - 1, because S would give a variance that is too small by (S - 1) / S (Hesterberg
  2015, "What teachers should know about the bootstrap", arXiv 1411.5279). Where seeds differ more than
  photos do, two seeds still cover 77 % and three 90 % instead of 95 % in simulations, and the interval
  of one seed, over photos only, says nothing of another training: read it beside `p`.
- `p` is the exact sign-flip test over the seeds' differences; with S seeds it cannot be below 2 / 2^S.
"""

from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from fashionlib.core.classes import CLASSES, PERSON, check_name, garment_values
from fashionlib.evaluate import areas, metrics

LEVELS = (0.025, 0.975)  # of a 95 % interval
MEASURES = ("mIoU", "mIoU without background", "aAcc", "apparel IoU")  # and those of `thirds`
IRREGULARITY = "irregularity"  # the measure of `curves`

Arm = dict[int, pd.DataFrame]  # seed -> rows of one epoch, with the columns of `areas.COLUMNS`
Groups = dict[str, list[str]]  # name of a measure -> the classes whose IoU it averages


@dataclass(frozen=True)
class Difference:
    """Outcome of a comparison; scores, differences and their errors are fractions."""

    measure: str
    a: float  # mean over seeds
    b: float
    difference: float  # a - b
    low: float  # 95 % interval; NaN where it cannot be told
    high: float
    p_better: float  # share of redraws in which A beats B (of curves: is rougher), ties half
    p: float  # two-sided sign-flip test over seeds
    se: float  # standard error of the difference
    seeds: int
    photos: int  # 0: of curves

    @property
    def verdict(self) -> str:
        """``A better`` or ``B better`` (of curves ``rougher``), ``tie`` where the interval has 0 in it.

        ``untested`` without an interval.
        """
        if np.isnan(self.low):
            return "untested"
        if self.low <= 0 <= self.high:
            return "tie"
        return f"{'A' if self.low > 0 else 'B'} {'better' if self.measure != IRREGULARITY else 'rougher'}"

    @property
    def p_floor(self) -> float:
        """The smallest `p` that so many seeds can reach: of five 0.0625, of six 0.03125."""
        return 2 / 2**self.seeds

    @property
    def detectable(self) -> float:
        """The smallest difference that is told with 80 % power at the 5 % level.

        2.8 standard errors; of curves, whose interval is Student's t over seeds, more: of two seeds 14.
        """
        spread = stats.norm if self.photos else stats.t(max(self.seeds - 1, 1))
        return float(spread.ppf([LEVELS[1], 0.8]).sum() * self.se)

    def row(self) -> dict:
        """All of it, as a row of a table."""
        more = {name: getattr(self, name) for name in ("p_floor", "detectable", "verdict")}
        return asdict(self) | more


def counts(frame: pd.DataFrame, classes, photos) -> np.ndarray:
    """(P, 3, C) int64: pixels of intersection, truth and prediction, in the order of `photos` and `classes`.

    Raises:
        ValueError: a photo or class is not in the lists, or a photo has a class twice: several epochs.
    """
    photo, value = pd.Index(photos).get_indexer(frame.photo), pd.Index(classes).get_indexer(frame["class"])
    unknown = frame[(photo < 0) | (value < 0)]
    if len(unknown):
        first = unknown.iloc[0]
        raise ValueError(f"Photo {first.photo} or class {first['class']!r} is not among those compared.")
    if frame.duplicated(["photo", "class"]).any():
        raise ValueError("A photo has two rows of one class: give the rows of one epoch.")
    table = np.zeros((len(photos), 3, len(classes)), np.int64)
    table[photo, :, value] = frame[areas.COUNTS]
    return table


def paired(a: Arm, b: Arm, classes=CLASSES) -> np.ndarray:
    """(2, S, P, 3, C) int64: `counts` of the seeds that both arms have; photos in order of their ids.

    Raises:
        ValueError: no seed in common, or photos or their true pixels differ between runs.
    """
    seeds = _common(a, b)
    photos = sorted(set(a[seeds[0]].photo))
    both = np.array([[counts(arm[seed], classes, photos) for seed in seeds] for arm in (a, b)])
    truth = both[:, :, :, 1]
    differs = np.argwhere((truth != truth[0, 0]).any(axis=-1))
    if len(differs):
        arm, seed, photo = differs[0]
        raise ValueError(
            f"Arm {'AB'[arm]}, seed {seeds[seed]}: photo {photos[photo]} is missing, or its true pixels are "
            f"not those of arm A, seed {seeds[0]}. Score both on the same label maps."
        )
    return both


def thirds(pixels: pd.Series, classes=CLASSES) -> Groups:
    """Rare, middle and common third of the garments and accessories, as measures.

    Args:
        pixels: class -> pixels in the training split; classes without any are left out: nothing to learn.
    """
    known = [classes[value] for value in garment_values(classes) if pixels.get(classes[value], 0)]
    rising = sorted(known, key=pixels.get)
    parts = map(list, np.array_split(np.array(rising, object), 3))
    return dict(zip(("mIoU rare", "mIoU middle", "mIoU common"), parts, strict=True))


def score(total: np.ndarray, measure: str, classes=CLASSES, groups: Groups | None = None) -> np.ndarray:
    """A measure of summed counts, (…, 3, C) -> (…); NaN where no class of it occurs.

    Apparel IoU needs only background's counts. With hair and skin among the classes it cannot be told
    from counts a class: ValueError.
    """
    intersect, truth, predicted = total = np.moveaxis(total, -2, 0)
    check_name(measure, (*MEASURES, *(groups or {})), "measure")
    if measure == "aAcc":
        return metrics.ratio(intersect.sum(axis=-1), truth.sum(axis=-1))
    if measure == "apparel IoU":
        if set(classes) & set(PERSON.values()):
            raise ValueError("Apparel IoU of classes with hair and skin needs the confusion matrix.")
        either = truth.sum(axis=-1) - intersect[..., 0]
        return metrics.ratio(either + 2 * intersect[..., 0] - truth[..., 0] - predicted[..., 0], either)
    wanted = {"mIoU": classes, "mIoU without background": classes[1:], **(groups or {})}[measure]
    return metrics.mean(metrics.iou_of(total[..., np.isin(classes, wanted)]))


def difference(
    a: Arm, b: Arm, measure="mIoU", classes=CLASSES, groups: Groups | None = None, n: int = 2000, rng=0
) -> Difference:
    """A minus B in a measure, on the seeds that both have.

    Args:
        measure: one of `MEASURES`, or a name in `groups`.
        n: number of redraws.
        rng: seed or `numpy.random.Generator`; the same seed redraws the same photos for every measure.

    Raises:
        ValueError: the arms cannot be paired, or no photo has a class of the measure.
    """
    photos = np.moveaxis(paired(a, b, classes), 2, 0).astype(float)  # (P, 2, S, 3, C)
    n_photos, _, n_seeds = photos.shape[:3]
    observed = score(photos.sum(axis=0), measure, classes, groups)  # (2, S)
    if np.isnan(observed).any():
        raise ValueError(f"No class of the measure {measure!r} occurs in these photos.")
    rng = np.random.default_rng(rng)
    totals = _redrawn(rng, n_photos, n_photos, n) @ photos.reshape(n_photos, -1)
    redrawn = score(totals.reshape(n, *photos.shape[1:]), measure, classes, groups)  # (n, 2, S)
    left_out = score(photos.sum(axis=0) - photos, measure, classes, groups)  # (P, 2, S)
    apart, size = _minus(observed), max(n_seeds - 1, 1)
    redraws = np.mean(_minus(redrawn) * _redrawn(rng, n_seeds, size, n) * n_seeds / size, axis=-1)
    jackknife = [_minus(left_out).mean(axis=-1)]
    if n_seeds > 1:
        jackknife.append((apart.sum() - apart) / (n_seeds - 1))
    redraws = redraws[~np.isnan(redraws)]
    levels = _bca_levels(apart.mean(), redraws, jackknife)
    return _outcome(measure, observed, redraws, levels, redraws.std(ddof=1), n_photos)


def irregularity(curve) -> float:
    """Mean absolute step of a curve between epochs; `curve` is in epoch order."""
    return float(np.abs(np.diff(np.asarray(curve, float))).mean())


def curves(a: dict[int, np.ndarray], b: dict[int, np.ndarray], n: int = 2000) -> Difference:
    """A minus B in irregularity of {seed: mIoU by epoch}, on the seeds that both have: A above B is rougher.

    Only seeds vary, and redraws of two or three numbers never leave their range (the interval of three would
    cover 75 %), so these redraws are n quantiles of Student's t around the mean. One seed is ``untested``.
    """
    seeds = _common(a, b)
    observed = np.array([[irregularity(arm[seed]) for seed in seeds] for arm in (a, b)])
    apart = _minus(observed)
    se = apart.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else np.nan
    redraws = apart.mean() + se * stats.t.ppf((np.arange(n) + 0.5) / n, max(len(seeds) - 1, 1))
    return _outcome(IRREGULARITY, observed, redraws, LEVELS, se, 0)


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p of the mean of paired differences, (S,): the share of the 2^S signs with as large a one."""
    signs = np.array(list(product((1, -1), repeat=len(differences))))
    rounding = 1e-9 * np.abs(differences).sum()
    return float(np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - rounding))


def _common(a: dict, b: dict) -> list[int]:
    """Seeds that both arms have; ValueError where there is none."""
    if not a.keys() & b.keys():
        raise ValueError(f"No seed in common: {sorted(a)} and {sorted(b)}.")
    return sorted(a.keys() & b.keys())


def _minus(scores: np.ndarray) -> np.ndarray:
    """A minus B, (…, 2, S) -> (…, S)."""
    return scores[..., 0, :] - scores[..., 1, :]


def _redrawn(rng: np.random.Generator, count: int, size: int, n: int) -> np.ndarray:
    """(n, count) float64: how often each of `count` is among `size` drawn with replacement."""
    return rng.multinomial(size, np.full(count, 1 / count), size=n).astype(float)


def _bca_levels(value: float, redraws: np.ndarray, left_out: list[np.ndarray]) -> np.ndarray:
    """Quantile levels at which the redraws give the BCa interval of `value`.

    `left_out` has the statistic without each photo, and without each seed; NaN where it needs that photo.
    """
    below = np.heaviside(value - redraws, 0.5).mean()
    bias = stats.norm.ppf(np.clip(below, 1 / len(redraws), 1 - 1 / len(redraws)))
    defined = [values[~np.isnan(values)] for values in left_out]
    influences = [(len(values) - 1) * (values.mean() - values) for values in defined]
    cubes, squares = (sum(np.sum(u**k) / len(u) ** k for u in influences) for k in (3, 2))
    acceleration = cubes / (6 * squares**1.5) if squares else 0.0  # no squares: all equal
    z = bias + stats.norm.ppf(LEVELS)
    return stats.norm.cdf(bias + z / (1 - acceleration * z))


def _outcome(measure, observed, redraws, levels, se, photos) -> Difference:
    """The `Difference` of scores (2, S), of their redraws and of the levels at which an interval is read."""
    apart = _minus(observed)
    low, high = np.quantile(redraws, levels)
    better = np.heaviside(redraws, 0.5).mean()
    numbers = *observed.mean(axis=1), apart.mean(), low, high, better, sign_flip(apart), se
    return Difference(measure, *map(float, numbers), seeds=observed.shape[1], photos=photos)
