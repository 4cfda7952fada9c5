"""Grouping and overlap: weights of all tasks are sparse combinations of a few components."""

from __future__ import annotations

import numpy as np

from moduli.linear.groups import cosines, numbered
from moduli.linear.method import Method, Solution, Stop, count, number
from moduli.linear.penalties import L1Lq
from moduli.linear.problem import Problem
from moduli.linear.solvers.fista import fista
from moduli.linear.solvers.newton import left_factor, ridge


class GOMTL(Method):
    """Weights of all tasks are sparse combinations of k components: groups of tasks that may overlap.

        F(L S) + mu ||S||_1 + lam/2 ||L||²,    W = L S,    L [d, k],    S [k, T]

    Tasks with the same components in use are a group, and tasks with some of them in common overlap. Only
    mu² lam matters to the minimum, as L can grow while S shrinks, so that it is enough to search over mu.

    Solved by turns: S by a lasso for all tasks at once, then L by a linear system (Newton's method for the
    logistic loss). Then each component is scaled to where its penalty is least, c_k L_k and S_k / c_k, which
    leaves W as it is; the paper does not, and takes more turns. The objective is not convex; what is found
    depends on the start, where L has the first k left singular vectors of the W of `Ridge` with alpha = lam.
    The objective is noted after every turn, and never increases. ``optimality_`` is its relative decrease in
    the last one: it tells that little more is to be gained from here, not that the minimum is near. A warm
    start begins with the last L.

    Source: Kumar & Daumé 2012 (GO-MTL), eq. 2 and algorithm 1. Their squared loss has no factor 0.5, so that
    our mu is half of theirs, and lam the same. The defaults are mu = 1e-3 and lambda = 0.3 in their terms.

    Fitted attributes of the estimator: ``components_`` `[d, k]`, their L; ``codes_`` `[k, T]`, their S;
    ``task_groups_`` `[T]`, by the component that contributes most to the task's weights, of the greatest
    ||L_k|| |S_kt|; ``relationship_`` `[T, T]`, the cosines between the codes of tasks.

    Args:
        k: components; no more than features or tasks are used.
        mu: weight of the l1 norm of S.
        lam: weight of the squared norm of L.
    """

    def __init__(self, k: int = 3, mu: float = 5e-4, lam: float = 0.3):
        self.k = k
        self.mu = mu
        self.lam = lam

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By turns, until the objective stays as it is."""
        k = min(count("k", self.k), problem.d, problem.T)
        mu, lam = number("mu", self.mu), number("lam", self.lam)
        L, W = _first(problem, k, lam, stop, start)
        S = np.zeros((k, problem.T))
        objective, measured = [np.inf], np.inf
        while measured > stop.tol and len(objective) <= stop.max_iter:
            new_S, W_new = codes(problem, L, mu, S, W, stop)
            new_L, solution = left_factor(problem, new_S, lam, Stop(1e-2 * stop.tol, 100), W_new)
            loss = solution.objective[-1] - 0.5 * lam * float(np.vdot(new_L, new_L))
            new_L, new_S = balanced(new_L, new_S, mu, lam)
            value = loss + 0.5 * lam * float(np.vdot(new_L, new_L)) + mu * float(np.abs(new_S).sum())
            if value > objective[-1]:  # no digits are left
                measured = 0.0
                break
            measured = (objective[-1] - value) / max(value, 1e-300) if len(objective) > 1 else np.inf
            L, S, W = new_L, new_S, solution.W
            objective.append(value)
        return Solution(W, objective[1:], measured, measured <= stop.tol, _found(L, S))


def codes(
    problem: Problem, L: np.ndarray, mu: float, S: np.ndarray, W: np.ndarray, stop: Stop
) -> tuple[np.ndarray, np.ndarray]:
    """Minimises F(L S) + mu ||S||_1 over S and the intercepts.

    Args:
        problem: smooth.
        L: `[d, k]`.
        mu: weight of the penalty.
        S: `[k, T]` to begin with.
        W: `[d + free, T]`, whose intercepts are used to begin with.
        stop: of the whole method.

    Returns:
        S, and W = L S.
    """
    begin = np.concatenate([S, W[problem.d :]])
    V = fista(problem.projected(L), L1Lq(mu, q=1), Stop(1e-2 * stop.tol, 1000), begin).W
    S = V[: len(S)]
    return S, np.concatenate([L @ S, V[len(S) :]])


def balanced(L: np.ndarray, S: np.ndarray, mu: float, lam: float) -> tuple[np.ndarray, np.ndarray]:
    """The c_k L_k and S_k / c_k of least penalty: c_k minimises lam/2 c² ||L_k||² + mu/c ||S_k||_1."""
    wide, tall = mu * np.abs(S).sum(axis=1), lam * np.square(L).sum(axis=0)
    used = (wide > 0) & (tall > 0)
    c = np.cbrt(np.where(used, wide, 1.0) / np.where(used, tall, 1.0))
    return L * c, S / c[:, None]


def _first(
    problem: Problem, k: int, lam: float, stop: Stop, start: Solution | None
) -> tuple[np.ndarray, np.ndarray]:
    """L and W to begin with."""
    if start is not None and np.shape(start.found.get("components_", 0)) == (problem.d, k):
        return start.found["components_"], start.W
    W = ridge(problem, lam, Stop(stop.tol, 100)).W
    return np.linalg.svd(W[: problem.d], full_matrices=False)[0][:, :k], W


def _found(L: np.ndarray, S: np.ndarray) -> dict[str, np.ndarray]:
    strongest = np.argmax(np.linalg.norm(L, axis=0)[:, None] * np.abs(S), axis=0)
    return {
        "components_": L,
        "codes_": S,
        "task_groups_": numbered(strongest),
        "relationship_": cosines(S),
    }
