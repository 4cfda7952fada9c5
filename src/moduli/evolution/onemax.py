"""How long evolution looks for the right modules, if an ideal score says how many of them it has.

The theory of section 8.3 of Meyerson (2018): L locations, K modules, one right module for each location, and
the (1+1)-EA, which mutates every location with some probability and keeps the mutant unless it has fewer
right ones. That is OneMax with K values (Droste, Jansen & Wegener 2002).

With an ideal score all that matters of a state is how many locations are wrong: each of them becomes right
with the same probability, and each right one wrong. So states are numbers, W, and what is drawn has exactly
the distribution that simulating every location would give.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from moduli.errors import InputError

Level = Literal["none", "task", "block"]
Times = NDArray[np.int64]


def convergence_time(
    locations: int, values: int, tasks: int = 1, level: Level = "none", *, runs: int = 1, seed: int = 0
) -> Times:
    """Iterations until all locations are right, `[runs]`; 0 if they are at the start.

    The locations are split into instances of n locations, each with a score of its own, that evolve at the
    same time; the slowest counts. In every iteration each location is mutated with probability 1/n, to one
    of the K - 1 other values. An instance starts uniformly at random.

    * "none": one score for everything, n = L.
    * "task": one for each task, n = L / T.
    * "block": one for each location, n = 1, so all are mutated in every iteration.

    In an instance with W wrong locations, Binomial(W, r) become right, where r = 1 / (n (K - 1)), and
    Binomial(n - W, 1/n) wrong; the mutant stays if there are no more of the latter. Iterations in which none
    becomes right change nothing, so they are not drawn one by one: of the trials at wrong locations, W in an
    iteration, the first that succeeds has a geometric number.

    Args:
        locations: L.
        values: K, for each location; 2 or more.
        tasks: T, of L / T locations each.
        level: what has a score of its own.
        runs: how many independent runs.
        seed: of the random numbers.

    Raises:
        InputError: for numbers that cannot be, or a level that there is not.
    """
    size = _instance(locations, values, tasks, level)
    if runs < 1:
        raise InputError(f"runs is {runs}: give 1 or more")
    rng = np.random.default_rng(seed)
    W = rng.binomial(size, 1 - 1 / values, (runs, locations // size)).ravel()
    times, rate = np.zeros(len(W), dtype=np.int64), 1 / (size * (values - 1))
    going = np.flatnonzero(W)
    while len(going):
        wrong = W[going]
        before = rng.geometric(rate, len(going)) - 1  # trials that failed before the first success
        times[going] += before // wrong + 1
        gained = 1 + rng.binomial(wrong - 1 - before % wrong, rate)  # the rest of that iteration's trials
        lost = rng.binomial(size - wrong, 1 / size)
        W[going] -= np.maximum(gained - lost, 0)
        going = going[W[going] > 0]
    return times.reshape(runs, -1).max(1)


def orders(locations: int, values: int, tasks: int = 1) -> dict[str, float]:
    """The orders of Table 8.1, `{"none": ..., "task": ..., "block": ...}`: K n H(n) H(L / n).

    n are the locations of an instance, and the harmonic numbers H(n) = 1 + 1/2 + ... + 1/n, from which the
    logarithms of the table come: one instance takes of the order of K n log n iterations, and the slowest of
    C instances log C times as many. With them the levels agree where they are the same, at T = 1 and T = L.

    For "task" that is an upper bound, as times are not exponential: the slowest of T instances takes longer
    by a summand, and its time is of the order K n log L (see `leading_terms`).

    Args:
        locations, values, tasks: L, K and T, see `convergence_time`.

    Raises:
        InputError: for numbers that cannot be.
    """
    sizes = {level: _instance(locations, values, tasks, level) for level in ("none", "task", "block")}
    return {level: values * n * _harmonic(n) * _harmonic(locations // n) for level, n in sizes.items()}


def leading_terms(locations: int, values: int, tasks: int = 1) -> dict[str, float]:
    """What `convergence_time` comes near to for many locations, in iterations: c (K - 1) n ln L, by level.

    The last wrong location of an instance becomes right with probability 1 / (n (K - 1)), and the mutant
    stays if no other location was mutated: c = (1 - 1/n)^(1 - n), nearly e, or 1 for n = 1. All n locations
    of C instances have to get there, so the slowest takes ln n + ln C = ln L times as long.

    Args:
        locations, values, tasks: L, K and T, see `convergence_time`.

    Raises:
        InputError: for numbers that cannot be.
    """
    found = {}
    for level in ("none", "task", "block"):
        n = _instance(locations, values, tasks, level)
        kept = (1 - 1 / n) ** (n - 1)
        found[level] = n * (values - 1) * np.log(locations).item() / kept
    return found


def usage_time(locations: int, *, runs: int = 1, seed: int = 0) -> Times:
    """Iterations until all locations have found the one right module, drawn by its use, `[runs]`.

    Section 8.3.2: every location starts with a module of its own, K = L, and that of the first is right
    for all. In an iteration each location draws a module in proportion to its uses, that of a
    location chosen uniformly, and takes it unless it was right before. So of W wrong locations
    Binomial(W, W / L) stay wrong; the first W is L - 1.

    Args:
        locations: L.
        runs: how many independent runs.
        seed: of the random numbers.

    Raises:
        InputError: if a number is below 1.
    """
    if locations < 1 or runs < 1:
        raise InputError(f"{locations} locations and {runs} runs: give 1 or more of each")
    rng = np.random.default_rng(seed)
    W, times = np.full(runs, locations - 1), np.zeros(runs, dtype=np.int64)
    while W.any():
        times += W > 0
        W = rng.binomial(W, W / locations)
    return times


def usage_recurrence(locations: int) -> int:
    """The first iteration in which fewer than one location is expected to be wrong, Eq. 8.8 to 8.11.

    W becomes W² / L in an iteration (8.8), so after t of them it is L ((L - 1) / L)^(2^t) (8.9). That
    is below 1 as soon as 2^t exceeds ln L / ln(L / (L - 1)), which lies between (L - 1) ln L and L ln L (in
    print, 2^t is less than that, and that less than (L - 1) ln L). So t is below 1 + log2(L ln L), which is
    of the order log L.

    That is not the mean of `usage_time`, which is a little greater: it is left to chance when the first few
    locations get the right module, and the last wrong ones must get it, too.

    Args:
        locations: L.

    Raises:
        InputError: if it is below 1.
    """
    if locations < 1:
        raise InputError(f"{locations} locations: give 1 or more")
    W, t = float(locations - 1), 0
    while W >= 1:
        W, t = W * W / locations, t + 1
    return t


def _instance(locations: int, values: int, tasks: int, level: str) -> int:
    """How many locations have a score together."""
    if locations < 1 or tasks < 1 or locations % tasks:
        raise InputError(f"{locations} locations and {tasks} tasks: give every task equally many, 1 or more")
    if values < 2:
        raise InputError(f"values is {values}: give 2 or more, or there is nothing to look for")
    sizes = {"none": locations, "task": locations // tasks, "block": 1}
    if level not in sizes:
        raise InputError(f"level is {level!r}: give none, task or block")
    return sizes[level]


def _harmonic(n: int) -> float:
    return float((1 / np.arange(1, n + 1)).sum())
