"""Disjoint groups: tasks of a group share features, and who belongs to which group is learned."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.utils import check_random_state

from moduli.linear.groups import given, numbered
from moduli.linear.method import Method, Solution, Stop, count, number
from moduli.linear.problem import Problem
from moduli.linear.solvers.newton import ridge

METRIC_STEPS = 5
"""Alternations of W and the metrics in an iteration."""


class DGMTL(Method):
    """Disjoint groups of tasks; those of a group share features. The groups are learned.

        F(W) + gamma/2 sum_g (tr (W diag(q_g) W^T + eps I)^(1/2))²

    Q `[groups, T]` says how much each task belongs to each group; its columns add up to 1. With eps -> 0 and
    Q of zeros and ones, the penalty is the squared trace norm of the weights of every group. With one group
    this is `FeatureLearning`, smoothed by eps. Tasks whose weights are parallel group for free.

    Solved by turns: the metric D_g = (W diag(q_g) W^T + eps I)^(1/2) of every group, scaled to trace 1; W by
    a ridge of every task in its metric, D_t^-1 = sum_g q_gt D_g^-1; and Q = softmax(A), by descent in A in
    the space that the weights of the tasks span. An iteration is one change of Q and five of D and W. The
    objective is noted after each and never increases; ``optimality_`` is its relative decrease in the last
    one. It is not convex where groups are learned: the lowest of ``n_init`` starts wins. Starts
    have the W of a single group, and a_gt is the absolute cosine of w_t with a random direction of the
    feature space, times its length, so that they do not depend on the order of tasks. A warm start goes on
    from the last W and Q only.

    Source: Kang, Grauman & Sha 2011. Their squared loss has neither the factor 0.5 nor 1/n: for tasks of n
    samples, our gamma is theirs over n. They descend by gradient steps from uniform A, and start with W of
    single tasks, from where poor minima are common; we use L-BFGS. Defaults are near theirs for synthetic
    tasks of 15 samples, where gamma is 0.1 in their terms.

    Fitted attributes of the estimator: ``task_groups_`` `[T]`, the group to which each task belongs most;
    ``assignment_`` `[groups, T]`, Q; ``metrics_`` `[groups, d, d]`, D_g. Groups are in order of first
    appearance, those to which no task belongs most come last.

    Args:
        groups: number of groups; no more than T are used.
        gamma: weight of the penalty.
        eps: smoothing, above 0, in units of squared weights.
        task_groups: groups that are known: a dict from each task's label to its group, or the groups in order
            of the tasks. Then none are learned. None: learned.
        n_init: random starts.
        random_state: seed of the starts.
    """

    def __init__(
        self,
        groups: int = 3,
        gamma: float = 0.01,
        eps: float = 0.1,
        task_groups: Any = None,
        n_init: int = 10,
        random_state: Any = None,
    ):
        self.groups = groups
        self.gamma = gamma
        self.eps = eps
        self.task_groups = task_groups
        self.n_init = n_init
        self.random_state = random_state

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By turns from every start; the lowest objective wins."""
        gamma, eps = number("gamma", self.gamma), number("eps", self.eps, above=True)
        n_init, rng = count("n_init", self.n_init), check_random_state(self.random_state)
        g = min(count("groups", self.groups), problem.T)
        run = _Run(problem, gamma, eps, stop)
        W = ridge(problem, gamma * problem.d, Stop(stop.tol, 100)).W if start is None else start.W
        if self.task_groups is not None:
            labels = given(self.task_groups, names)
            return run.given(W, np.equal.outer(np.arange(labels.max() + 1), labels).astype(float))
        if g == 1:
            return run.given(W, np.ones((1, problem.T)))
        before = np.asarray(None if start is None else start.found.get("assignment_"))
        if before.shape == (g, problem.T):
            return run.learned(W, np.log(np.maximum(before, 1e-300)))
        W = run.given(W, np.ones((1, problem.T))).W
        units = W[: problem.d] / np.maximum(np.linalg.norm(W[: problem.d], axis=0), 1e-300)
        starts = [np.abs(rng.standard_normal((g, problem.d)) @ units) for _ in range(n_init)]
        return min((run.learned(W, A) for A in starts), key=lambda solution: solution.objective[-1])


class _Run:
    """From one start."""

    def __init__(self, problem: Problem, gamma: float, eps: float, stop: Stop):
        self.problem = problem
        self.gamma = gamma
        self.eps = eps
        self.stop = stop

    def given(self, W: np.ndarray, Q: np.ndarray) -> Solution:
        """For this Q."""
        return self._turns(W, Q, None)

    def learned(self, W: np.ndarray, A: np.ndarray) -> Solution:
        """From Q = softmax(A)."""
        return self._turns(W, softmax(A, axis=0), A)

    def _turns(self, W: np.ndarray, Q: np.ndarray, A: np.ndarray | None) -> Solution:
        objective, measured = [], np.inf
        while measured > self.stop.tol and len(objective) < self.stop.max_iter:
            if A is not None:
                A = descended(W[: self.problem.d], A, self.eps)
                Q = softmax(A, axis=0)
            for _ in range(METRIC_STEPS):
                W = self.weights(W, Q)
            measured = self.note(objective, W, Q)
        return self.solution(W, Q, objective, measured)

    def weights(self, W: np.ndarray, Q: np.ndarray) -> np.ndarray:
        """The best in the metrics of W."""
        inverse = metrics(W[: self.problem.d], Q, self.eps, inverse=True)
        P = self.gamma * np.tensordot(Q.T, inverse, axes=1)
        return ridge(self.problem, P, Stop(1e-2 * self.stop.tol, 100), W).W

    def note(self, objective: list[float], W: np.ndarray, Q: np.ndarray) -> float:
        """Adds the value, and returns its relative decrease."""
        penalty = group_norms(W[: self.problem.d], Q, self.eps)
        value = self.problem.value(W, self.problem.image(W)) + 0.5 * self.gamma * penalty
        objective.append(value)
        return (objective[-2] - value) / max(abs(value), 1e-300) if len(objective) > 1 else np.inf

    def solution(self, W: np.ndarray, Q: np.ndarray, objective: list[float], measured: float) -> Solution:
        """With groups in order of appearance."""
        labels = Q.argmax(axis=0)
        used = list(dict.fromkeys(labels.tolist()))
        Q = Q[used + [g for g in range(len(Q)) if g not in used]]
        found = {
            "task_groups_": numbered(labels),
            "assignment_": Q,
            "metrics_": metrics(W[: self.problem.d], Q, self.eps),
        }
        return Solution(W, objective, measured, measured <= self.stop.tol, found)


# ------------------------------------------------------------------ groups


def metrics(W: np.ndarray, Q: np.ndarray, eps: float, inverse: bool = False) -> np.ndarray:
    """D_g = (W diag(q_g) W^T + eps I)^(1/2) over its trace, or its inverse: `[groups, d, d]`."""
    roots, vectors = _roots(W, Q, eps)
    values = roots / roots.sum(axis=1, keepdims=True)
    return np.matmul(vectors * (1 / values if inverse else values)[:, None], vectors.transpose(0, 2, 1))


def group_norms(W: np.ndarray, Q: np.ndarray, eps: float) -> float:
    """sum_g (tr (W diag(q_g) W^T + eps I)^(1/2))²."""
    return float(np.square(_roots(W, Q, eps)[0].sum(axis=1)).sum())


def assignment_slope(A: np.ndarray, Z: np.ndarray, eps: float, rest: float) -> tuple[float, np.ndarray]:
    """`group_norms` at Q = softmax(A), and its gradient in A `[groups, T]`.

    Args:
        A: `[groups, T]`.
        Z: `[r, T]`, weights in coordinates of the space that they span.
        eps: smoothing.
        rest: what the other d - r dimensions add to each trace.
    """
    Q = softmax(A, axis=0)
    roots, vectors = _roots(Z, Q, eps)
    traces = roots.sum(axis=1) + rest
    along = np.square(np.matmul(vectors.transpose(0, 2, 1), Z))
    dQ = traces[:, None] * (along / roots[:, :, None]).sum(axis=1)
    return float(np.square(traces).sum()), Q * (dQ - (Q * dQ).sum(axis=0))


def descended(W: np.ndarray, A: np.ndarray, eps: float) -> np.ndarray:
    """A of lower `group_norms`, from A `[groups, T]`, for W `[d, T]`."""
    _, s, Vt = np.linalg.svd(W, full_matrices=False)
    Z, rest = s[:, None] * Vt, (len(W) - len(s)) * np.sqrt(eps)

    def flat(a: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = assignment_slope(a.reshape(A.shape), Z, eps, rest)
        return value, slope.ravel()

    options = {"maxiter": 200}
    return minimize(flat, A.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(A.shape)


def _roots(Z: np.ndarray, Q: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `[groups, r]` and vectors of (Z diag(q_g) Z^T + eps I)^(1/2)."""
    values, vectors = np.linalg.eigh(np.matmul(Z * Q[:, None], Z.T))
    return np.sqrt(np.maximum(values, 0.0) + eps), vectors
