"""FISTA: accelerated proximal gradient steps, with backtracking and restart.

Source: Beck & Teboulle 2009; restart by the gradient test of O'Donoghue & Candès 2015. The step length
begins at the inverse of an estimate of the Lipschitz constant, from below, and never grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from moduli.linear.method import Solution, Stop
from moduli.linear.penalties import Penalty
from moduli.linear.problem import Problem

CHECK_EVERY = 10
"""Iterations between two measurements of optimality, which can cost as much as an iteration."""


def fista(
    problem: Problem,
    penalty: Penalty,
    stop: Stop,
    start: np.ndarray | None = None,
    scale: Scale | None = None,
) -> Solution:
    """Minimises the problem's loss plus a penalty of the rows of W that are no intercepts.

    `Solution.optimality` is `optimality` of the last W.

    Args:
        problem: smooth.
        penalty: convex, with a proximal operator.
        stop: tolerance and most iterations.
        start: W `[d + free, T]`; zeros if None.
        scale: what optimality is relative to; that of the problem if None.
    """
    W = np.zeros((problem.d + problem.free, problem.T)) if start is None else np.array(start, dtype=float)
    image = problem.image(W)
    scale = scale or Scale.of(problem)
    S, S_image, tau, L = W, image, 1.0, max(problem.lipschitz, 1e-300)
    objective: list[float] = []
    measured = optimality(problem, penalty, W, image, scale=scale)
    for k in range(stop.max_iter):
        if measured <= stop.tol:
            break
        G, F = problem.gradient(S_image), problem.value(S, S_image)
        while True:
            new = _prox_step(problem, penalty, S, G, L)
            new_image, step = problem.image(new), new - S
            value = problem.value(new, new_image)
            bound = F + float(np.vdot(G, step)) + 0.5 * L * float(np.vdot(step, step))
            if value <= bound + 1e-12 * abs(F) or not np.isfinite(bound):
                break
            L *= 1.2
        if float(np.vdot(step, new - W)) < 0:  # the momentum points uphill
            tau = 1.0
        tau, beta = _momentum(tau)
        S, S_image = new + beta * (new - W), new_image + beta * (new_image - image)
        W, image = new, new_image
        objective.append(value + penalty.value(W[: problem.d]))
        if (k + 1) % CHECK_EVERY == 0 or k + 1 == stop.max_iter:
            measured = optimality(problem, penalty, W, image, scale=scale)
    objective = objective or [problem.value(W, image) + penalty.value(W[: problem.d])]
    return Solution(W, objective, measured, measured <= stop.tol)


def _momentum(tau: float) -> tuple[float, float]:
    """The next tau, and how far to extrapolate."""
    following = 0.5 * (1 + math.sqrt(1 + 4 * tau**2))
    return following, (tau - 1) / following


def _prox_step(problem: Problem, penalty: Penalty, S: np.ndarray, G: np.ndarray, L: float) -> np.ndarray:
    stepped = S - G / L
    if not problem.free:
        return penalty.prox(stepped, 1 / L)
    return np.concatenate([penalty.prox(stepped[: problem.d], 1 / L), stepped[problem.d :]])


# ------------------------------------------------------------------ optimality


@dataclass(frozen=True)
class Scale:
    """What optimality is relative to: the loss of W = 0, and the norm of its gradient there."""

    loss: float
    gradient: float

    @staticmethod
    def of(problem: Problem) -> Scale:
        """Of a problem."""
        zero = np.zeros((problem.d + problem.free, problem.T))
        image = problem.image(zero)
        loss, slope = problem.value(zero, image), np.linalg.norm(problem.gradient(image))
        return Scale(max(loss, 1e-300), max(float(slope), 1e-300))


def optimality(
    problem: Problem,
    penalty: Penalty,
    W: np.ndarray,
    image: np.ndarray,
    G: np.ndarray | None = None,
    scale: Scale | None = None,
) -> float:
    """How far W is from a minimum; 0 there.

    For a norm as penalty, the duality gap relative to the loss of W = 0, which bounds by how much the
    objective could still fall. Where the dual point is not known (other penalties, a weight of 0, and
    intercepts of the logistic loss): the norm of the proximal gradient relative to that of
    the gradient at W = 0.

    Args:
        problem: smooth.
        penalty: of W.
        W: where.
        image: of W.
        G: the gradient there, if it is known.
        scale: of the problem, if it is known.
    """
    scale = scale or Scale.of(problem)
    G = problem.gradient(image) if G is None else G
    if hasattr(penalty, "dual_norm"):
        too_large = penalty.dual_norm(-G[: problem.d])  # type: ignore[attr-defined]
        dual = problem.dual(W, image, 1 / max(1.0, too_large))
        if dual is not None and np.isfinite(too_large):
            primal = problem.value(W, image) + penalty.value(W[: problem.d])
            return max(primal - dual, 0.0) / scale.loss
    L = max(problem.lipschitz, 1e-300)
    return L * float(np.linalg.norm(W - _prox_step(problem, penalty, W, G, L))) / scale.gradient
