"""Statistics of a comparison: methods x tasks x seeds in, intervals, ranks, gains and tests out.

Arrays are `[T, S]` (tasks, seeds) or `[M, T, S]` (methods first). A number that is missing, because a run
failed or a metric is undefined, is NaN (an infinite one counts as missing too); NaN comes out where nothing
can be said. *Fitness* is a metric signed so that more is better.

What the numbers assume. The splits of the data are fixed, so no interval and no test here says anything about
other splits. One run trains all tasks at once, so the T*S differences of two methods are not independent:
those of one task have the task in common, those of one seed the run. `crossed_interval` and
`signed_rank` on task means respect that; `signed_rank` on all pairs does not, and its p is too small when
tasks or runs differ in what they gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]

FEWEST_PAIRS = 6
"""Below six pairs the smallest two-sided p of a signed-rank test is above 0.05."""


def as_array(values: ArrayLike) -> Array:
    """Float64, with NaN for None and for infinite values."""
    array = np.array(values, dtype=np.float64)
    array[~np.isfinite(array)] = np.nan
    return array


def mean(values: ArrayLike, axis: int | None = None) -> Array:
    """Mean of what is there; NaN, without a warning, where nothing is."""
    array = as_array(values)
    there = ~np.isnan(array)
    count = there.sum(axis)
    total = np.where(there, array, 0.0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Mean, and half-width of its Student t interval (NaN for fewer than two values).

    Assumes independent, roughly normal values: runs that differ in the seed alone.
    """
    known = _known(values)
    if len(known) < 2:
        return float(mean(known)), float("nan")
    quantile = stats.t.ppf(0.5 + confidence / 2, len(known) - 1)
    return float(known.mean()), float(quantile * stats.sem(known))


def ranks(fitness: ArrayLike) -> Array:
    """Rank of each method in each (task, seed): 1 is best, ties get their average. `[M, T, S]` to same.

    Only cells where all methods are present are ranked, so that all ranks are on one scale. A method
    without any value is set aside and does not void the cells of the others.
    """
    array = as_array(fitness)
    ranked = np.full_like(array, np.nan)
    present = ~np.isnan(array).all(axis=(1, 2))
    if present.any():
        ranked[present] = stats.rankdata(-array[present], axis=0, nan_policy="propagate")
    return ranked


def average_ranks(fitness: ArrayLike) -> Array:
    """Mean rank of each method over tasks and seeds, `[M, T, S]` to `[M]`."""
    ranked = ranks(fitness)
    return mean(ranked.reshape(len(ranked), -1), axis=1)


def reference_scale(baseline: ArrayLike) -> Array:
    """|mean over seeds| of the baseline, `[T, S]` to `[T]`; NaN where it is zero or unknown."""
    scale = np.abs(mean(baseline, axis=1))
    return np.where(scale > 0, scale, np.nan)


def differences(fitness: ArrayLike, other: ArrayLike) -> Array:
    """Paired differences `fitness - other`, any shape. Rounding noise (12 digits) counts as zero."""
    left, right = as_array(fitness), as_array(other)
    difference = left - right
    difference[np.abs(difference) <= 1e-12 * np.maximum(np.abs(left), np.abs(right))] = 0.0
    return difference


def relative_differences(fitness: ArrayLike, other: ArrayLike, scale: ArrayLike) -> Array:
    """Paired differences `[T, S]` in percent of each task's `scale [T]`."""
    return 100.0 * differences(fitness, other) / as_array(scale)[:, None]


@dataclass(frozen=True)
class Gain:
    """Relative multitask gain in percent: ``value``, its 95 % half-width, and the gain of every seed."""

    value: float
    ci95: float
    per_seed: Array


def relative_gain(relative: ArrayLike) -> Gain:
    """Relative multitask gain from relative differences `[T, S]` to the baseline, in percent.

    With metric M, baseline B, sign +1 where more is better and -1 where less is::

        delta_m = mean over tasks t of  sign_t * mean over seeds s of (M_ts - B_ts) / |B_t|

    where B_t is the mean of the baseline over seeds. Pairing by seed leaves the value as it is usually
    defined, and makes the gain of the baseline over itself exactly zero for every seed. A task that is NaN
    throughout (B_t = 0, or never measured) is left out. ``ci95`` is the t interval over seeds.
    """
    array = as_array(relative)
    per_seed = mean(array, axis=0)
    return Gain(task_mean(array), mean_interval(per_seed)[1], per_seed)


def task_mean(values: ArrayLike) -> float:
    """Mean over tasks of the mean over seeds, `[T, S]` to a number: every task weighs the same."""
    return float(mean(mean(values, axis=1)))


def crossed_interval(
    paired: ArrayLike, confidence: float = 0.95, resamples: int = 9999, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of `task_mean`, resampling tasks and seeds: `(low, high)`.

    Each resample draws tasks with replacement and, independently, seeds with replacement, and takes every
    pair of a drawn task with a drawn seed (Owen 2007, the pigeonhole bootstrap). Seeds are drawn as wholes
    because one run trains all tasks: drawing them anew within each task covers the truth far too rarely
    when runs have something in common. The interval speaks of tasks like these and of other seeds.

    With one task left this is its t interval; with neither two tasks nor two seeds it is NaN. With few
    tasks or one seed it is too narrow: a bootstrap cannot see what did not vary.
    """
    array = as_array(paired)
    array = array[~np.isnan(array).all(axis=1)]
    array = array[:, ~np.isnan(array).all(axis=0)]
    tasks, seeds = array.shape
    if tasks < 2:
        center, half = mean_interval(array, confidence)
        return center - half, center + half
    array = array[np.lexsort(array.T)]  # so that the order of the tasks cannot matter
    there = ~np.isnan(array)
    random = np.random.default_rng(seed)
    task_counts = random.multinomial(tasks, np.full(tasks, 1 / tasks), size=resamples)
    seed_counts = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    sums, counts = seed_counts @ np.where(there, array, 0.0).T, seed_counts @ there.T
    weights = task_counts * (counts > 0)
    drawn = weights.sum(1) > 0
    means = (weights * sums / np.maximum(counts, 1)).sum(1)[drawn] / weights.sum(1)[drawn]
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class SignedRank:
    """A Wilcoxon signed-rank test: two-sided ``p`` over ``pairs`` nonzero differences.

    ``p`` is NaN where the test cannot be computed, and ``reason`` says why.
    """

    p: float
    pairs: int
    reason: str | None = None


def signed_rank(paired: ArrayLike) -> SignedRank:
    """Wilcoxon signed-rank test that paired differences are symmetric about zero, two-sided.

    Zero differences are dropped (Wilcoxon's own rule). The p is exact for up to 50 pairs without ties and
    up to 13 with them, else a normal approximation (`scipy.stats.wilcoxon`). It assumes independent pairs.
    """
    known = _rounded(_known(paired))
    nonzero = known[known != 0]
    if len(known) and not len(nonzero):
        return SignedRank(float("nan"), 0, "all differences are zero")
    if len(nonzero) < FEWEST_PAIRS:
        reason = f"{len(nonzero)} nonzero differences, fewer than {FEWEST_PAIRS}"
        return SignedRank(float("nan"), len(nonzero), reason)
    result: Any = stats.wilcoxon(nonzero)
    return SignedRank(float(result.pvalue), len(nonzero))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of a family of p values; NaN stays NaN and does not count (Holm 1979)."""
    p = as_array(p_values)
    corrected = np.full_like(p, np.nan)
    order = [i for i in np.argsort(p) if not np.isnan(p[i])]
    largest = 0.0
    for position, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - position) * p[index]))
        corrected[index] = largest
    return corrected.tolist()


@dataclass(frozen=True)
class Record:
    """How often a method was better than, equal to, and worse than another."""

    wins: int
    ties: int
    losses: int


def record(paired: ArrayLike) -> Record:
    """Counts of positive, zero and negative differences."""
    known = _known(paired)
    return Record(int((known > 0).sum()), int((known == 0).sum()), int((known < 0).sum()))


def _known(values: ArrayLike) -> Array:
    array = as_array(values).ravel()
    return array[~np.isnan(array)]


def _rounded(values: Array) -> Array:
    """To ten digits of the largest, so that 0.85 - 0.80 and 0.75 - 0.70 are of one size."""
    largest = np.abs(values).max(initial=0.0)
    return np.round(values, 10 - int(np.ceil(np.log10(largest)))) if largest > 0 else values
