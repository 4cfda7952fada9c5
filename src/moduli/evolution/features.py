"""Evolved routes as vectors, and whether two kinds of vectors find the same tasks alike.

Section 7.4.3 of Meyerson (2018) compares the routes that tasks ended with by how often they use which
module at which depth, and asks whether tasks that look alike have similar routes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moduli.errors import InputError
from moduli.sharing.route import Apply, Route

Array = NDArray[np.float64]
Neighbours = NDArray[np.intp]


def uses(route: Route, modules: int, levels: int) -> NDArray[np.int64]:
    """How often a route applies each module at each level, `[K, L + 1]`.

    Args:
        route: of one task.
        modules: K, modules in the pool.
        levels: L, the most poolings before a module; 0 without poolings.

    Raises:
        InputError: if the route applies a module, or stands at a level, beyond these.
    """
    U_KL = np.zeros((modules, levels + 1), dtype=np.int64)
    for node in route.nodes:
        if not isinstance(node, Apply):
            continue
        if not (0 <= node.module < modules and node.level <= levels):
            raise InputError(
                f"a route applies module {node.module} at level {node.level}, but there are {modules} "
                f"modules and {levels} poolings: give the numbers of the whole pool"
            )
        U_KL[node.module, node.level] += 1
    return U_KL


def features(routes: Sequence[Route], modules: int, levels: int) -> Array:
    """The features of routes, `[T, K + (L + 1) + K (L + 1)]`: 29 for four modules and four poolings.

    For each module how often it is used, for each depth how many modules are used there, and for each
    module and depth how often that module is used there. The depth of a use is the number of poolings
    before it, the level of its node. After section 7.4.3 of Meyerson (2018), before normalisation.

    Args:
        routes: of the tasks.
        modules: K, modules in the pool.
        levels: L, the most poolings before a module.

    Raises:
        InputError: if a route goes beyond these.
    """
    U_TKL = [uses(route, modules, levels) for route in routes]
    rows = [np.concatenate([U.sum(1), U.sum(0), U.ravel()]) for U in U_TKL]
    return np.array(rows, dtype=np.float64).reshape(len(routes), modules + (levels + 1) * (modules + 1))


def feature_names(modules: int, levels: int) -> list[str]:
    """What the columns of `features` count; modules are numbered from 1, as in drawings."""
    places = [f"level {level}" for level in range(levels + 1)]
    names = [f"module {k}" for k in range(1, modules + 1)]
    return [*names, *places, *(f"{name}, {place}" for name in names for place in places)]


def standardised(vectors: ArrayLike) -> Array:
    """Every column of `[T, F]` with mean 0 and variance 1 over the rows; one that is constant becomes 0."""
    X = np.asarray(vectors, dtype=np.float64)
    centred, spread = X - X.mean(0), X.std(0)
    constant = np.ptp(X, axis=0) == 0  # of which rounding may leave a spread of 1e-17
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, spread))


# ------------------------------------------------------------------ neighbours


def nearest(vectors: ArrayLike) -> Neighbours:
    """For each row of `[T, F]` the nearest other row by L1 distance, `[T]`; of equally near ones the first.

    Raises:
        InputError: for fewer than two rows.
    """
    X = np.asarray(vectors, dtype=np.float64)
    if len(X) < 2:
        raise InputError(f"there are {len(X)} vectors: nearest neighbours need at least 2")
    D = np.stack([np.abs(X - x).sum(1) for x in X])
    np.fill_diagonal(D, np.inf)
    return D.argmin(1)


def matches(first: ArrayLike, second: ArrayLike) -> int:
    """For how many tasks two lists of `nearest` neighbours name the same one.

    Raises:
        InputError: if the lists are not equally long.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape:
        raise InputError(f"{len(a)} and {len(b)} neighbours: both lists must be of the same tasks")
    return int((a == b).sum())


def match_test(first: ArrayLike, second: ArrayLike, permutations: int = 10_000, seed: int = 0) -> float:
    """How likely at least as many matches are if the tasks of the second list were named at random.

    A permutation pi of the labels turns "the neighbour of t is b(t)" into "the neighbour of pi(t) is
    pi(b(t))". p = (1 + permutations with at least as many matches) / (1 + permutations), which is never 0.
    Section 7.4.3 of Meyerson (2018) reports 3 matches of 50, and p < 0.06. Lists in which many neighbours
    were equally near match too often, as both name the first one then.

    Args:
        first: nearest neighbours of T tasks, `[T]`.
        second: those of the same tasks by other vectors.
        permutations: how many are drawn.
        seed: of their drawing.

    Raises:
        InputError: if the lists are not equally long.
    """
    a, b = np.asarray(first), np.asarray(second)
    found, random = matches(a, b), np.random.default_rng(seed)
    as_many = 0
    for _ in range(permutations):
        pi = random.permutation(len(b))
        as_many += int((a[pi] == pi[b]).sum() >= found)
    return (1 + as_many) / (1 + permutations)
