"""Few rows at a time: for penalties that leave most rows of W at zero.

Rows enter the working set in the order in which they violate optimality, and the problem of the rows in the
set is solved by FISTA, until the problem of all rows is solved. The set at least doubles what is in use, so
that few rounds are needed.
"""

from __future__ import annotations

import numpy as np

from moduli.linear.method import Solution, Stop
from moduli.linear.penalties import RowNorm
from moduli.linear.problem import Problem
from moduli.linear.solvers.fista import Scale, fista, optimality

FEWEST = 10
"""Rows of a working set."""
MOST = 0.6
"""Share of the rows beyond which all are taken."""


def sparse_rows(problem: Problem, penalty: RowNorm, stop: Stop, start: np.ndarray | None = None) -> Solution:
    """Minimises the problem's loss plus a penalty that is a sum over the rows of W.

    Args:
        problem: smooth.
        penalty: a norm that is a sum over rows.
        stop: tolerance of the problem of all rows; most iterations of all rounds together.
        start: W `[d + free, T]`; zeros if None.
    """
    d, rows = problem.d, problem.d + problem.free
    W = np.zeros((rows, problem.T)) if start is None else np.array(start, dtype=float)
    scale, objective, inner = Scale.of(problem), [], 1.0
    while True:
        image = problem.image(W)
        G = problem.gradient(image)
        measured = optimality(problem, penalty, W, image, G, scale)
        left = stop.max_iter - len(objective)
        if measured <= stop.tol or left <= 0:
            break
        kept = _working_set(penalty, W[:d], G[:d])
        if len(kept) > MOST * d:
            rest = fista(problem, penalty, Stop(stop.tol, left), W, scale)
            W, measured = rest.W, rest.optimality
            objective += rest.objective
            break
        inner = max(stop.tol, min(inner, measured)) * 0.3
        places = np.concatenate([kept, np.arange(d, rows)])
        part = fista(problem.features(kept), penalty.rows(kept), Stop(inner, left), W[places], scale)
        W = np.zeros_like(W)
        W[places] = part.W
        objective += part.objective
    objective = objective or [problem.value(W, image) + penalty.value(W[:d])]
    return Solution(W, objective, measured, measured <= stop.tol)


def _working_set(penalty: RowNorm, W: np.ndarray, G: np.ndarray) -> np.ndarray:
    """The rows in use, and those that want to be most, at least as many again."""
    wanted = penalty.row_dual_norms(G)
    in_use = W.any(axis=1)
    wanted[in_use] = np.inf
    first = min(int((wanted > 1).sum()), len(W) // 5)
    size = min(len(W), max(FEWEST, 2 * int(in_use.sum()), first))
    return np.sort(np.argpartition(-wanted, size - 1)[:size])
