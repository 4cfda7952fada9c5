"""Low rank: weights of all tasks lie in a subspace of few dimensions."""

from __future__ import annotations

import numpy as np

from moduli.linear.method import Method, Solution, Stop, number
from moduli.linear.penalties import TraceNorm as TraceNormPenalty
from moduli.linear.problem import Problem
from moduli.linear.solvers.fista import fista


class TraceNorm(Method):
    """Weights of low rank: the sum of the singular values of W.

        F(W) + alpha ||W||_*

    Source: Abernethy et al. 2009, Pong et al. 2010; `FeatureLearning` has the square of the same norm.

    Fitted attributes of the estimator: ``rank_``.

    Args:
        alpha: weight of the penalty.
    """

    def __init__(self, alpha: float = 0.1):
        self.alpha = alpha

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By FISTA, with the singular values thresholded in every step."""
        penalty = TraceNormPenalty(number("alpha", self.alpha))
        solution = fista(problem, penalty, stop, None if start is None else start.W)
        return solution.with_found(rank_=int(np.linalg.matrix_rank(solution.W[: problem.d])))

    def largest(self, problem: Problem, W: np.ndarray) -> float:
        """The largest singular value of the gradient."""
        return TraceNormPenalty(1.0).dual_norm(problem.gradient(problem.image(W))[: problem.d])
