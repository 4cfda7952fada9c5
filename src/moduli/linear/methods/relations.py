"""What tasks have in common is learned: a covariance of the features, or one of the tasks.

Both are penalties tr(W^T D^-1 W) or tr(W Omega^-1 W^T) with a matrix of trace 1 that is learned with W. The
least value over that matrix is the squared trace norm of W, so that W is found first, exactly, and the
matrix follows in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moduli.linear import prox
from moduli.linear.method import Method, Solution, Stop, number
from moduli.linear.problem import Problem
from moduli.linear.solvers.fista import fista


class FeatureLearning(Method):
    """Tasks share a few features that are learned, as rotations of those given.

        F(W) + gamma/2 sum_t w_t^T D^+ w_t = F(W) + gamma/2 ||W||_*²,    D [d, d], tr D = 1

    with the least over D, a covariance of the features. The eigenvectors of D are the features learned, and
    few of them are in use. W is that of `TraceNorm` with alpha = gamma ||W||_*; of one task, that of `Ridge`.

    The paper minimises over W and D by turns, and adds a little to W W^T to invert D: too little stalls it,
    and much is another objective. Here the squared trace norm is minimised by FISTA, and
    D = (W W^T)^½ / tr (W W^T)^½ is exact. ``optimality_`` is the norm of the proximal gradient relative to
    that of the gradient at W = 0.

    Source: Argyriou, Evgeniou & Pontil 2008, multi-task feature learning. Their squared loss has no factor
    0.5 and is a sum over samples: with n samples in every task, gamma is theirs divided by n. They have no
    default; ours is that of `Ridge`.

    Fitted attributes of the estimator: ``feature_covariance_`` `[d, d]`, D (the identity over d if W is 0);
    ``rank_``, the features learned that are in use; ``components_`` `[d, rank_]`, those features as
    combinations of the given ones, the most used first.

    Args:
        gamma: weight of the penalty.
    """

    def __init__(self, gamma: float = 0.1):
        self.gamma = gamma

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By FISTA, with the singular values thresholded in every step."""
        penalty = RidgeAndSquaredTraceNorm(0.0, number("gamma", self.gamma))
        solution = fista(problem, penalty, stop, None if start is None else start.W)
        W = solution.W[: problem.d]
        rank = int(np.linalg.matrix_rank(W))
        return solution.with_found(
            feature_covariance_=covariance(W),
            components_=np.linalg.svd(W, full_matrices=False)[0][:, :rank],
            rank_=rank,
        )


class TaskRelationship(Method):
    """How tasks are related is learned: a covariance Omega of the tasks.

        F(W) + lambda1/2 ||W||² + lambda2/2 tr(W Omega^+ W^T),    Omega [T, T], tr Omega = 1

    with the least over Omega. Related tasks get like weights, and tasks with negative covariance opposite
    ones. Over Omega the last term is lambda2/2 ||W||_*², so that lambda1 = 0 is `FeatureLearning` with
    gamma = lambda2, and one task is `Ridge` with alpha = lambda1 + lambda2.

    The paper minimises over W and Omega by turns from Omega = I/T. The objective is convex in both together;
    here W is found by FISTA, and Omega = (W^T W)^½ / tr (W^T W)^½ is exact. ``optimality_`` is the norm of
    the proximal gradient relative to that of the gradient at W = 0.

    Source: Zhang & Yeung 2010 (MTRL). Their squared loss has no factor 0.5: lambda1 and lambda2 are half of
    theirs. They have no default.

    Fitted attributes of the estimator: ``relationship_`` `[T, T]`, Omega (the identity over T if W is 0).
    Dividing it by s s^T, where s is the root of its diagonal, gives the correlations of the tasks.

    Args:
        lambda1: weight of the squared norm of W.
        lambda2: weight of the relationships.
    """

    def __init__(self, lambda1: float = 0.01, lambda2: float = 0.1):
        self.lambda1 = lambda1
        self.lambda2 = lambda2

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By FISTA, with the singular values scaled and thresholded in every step."""
        penalty = RidgeAndSquaredTraceNorm(number("lambda1", self.lambda1), number("lambda2", self.lambda2))
        solution = fista(problem, penalty, stop, None if start is None else start.W)
        return solution.with_found(relationship_=covariance(solution.W[: problem.d].T))


@dataclass(frozen=True)
class RidgeAndSquaredTraceNorm:
    """a/2 ||W||² + b/2 ||W||_*²."""

    a: float
    b: float

    def value(self, W: np.ndarray) -> float:
        """At W."""
        s = prox.singular_values(W)
        return 0.5 * (self.a * float(s @ s) + self.b * float(s.sum()) ** 2)

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """Completing the square leaves that of the squared trace norm."""
        shrink = 1 + step * self.a
        return prox.squared_trace_norm(W / shrink, step * self.b / shrink)


def covariance(W: np.ndarray) -> np.ndarray:
    """(W W^T)^½ over its trace, `[rows, rows]`: the D of trace 1 with the least tr(W^T D^+ W), ||W||_*².

    The identity over the rows if W is 0, where any D will do.
    """
    U, s, _ = np.linalg.svd(W, full_matrices=False)
    if not s.sum() > 0:
        return np.eye(len(W)) / len(W)
    return (U * (s / s.sum())) @ U.T
