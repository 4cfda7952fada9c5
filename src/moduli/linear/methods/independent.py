"""The two extremes: every task on its own, and one model for all."""

from __future__ import annotations

import numpy as np

from moduli.linear.method import Method, Solution, Stop, number
from moduli.linear.problem import Problem
from moduli.linear.solvers.newton import left_factor, ridge


class Ridge(Method):
    """A ridge of its own for every task, nothing shared: the single-task baseline.

        F(W) + alpha/2 ||W||²

    For classification, logistic regression with an l2 penalty. With one task of n samples it is
    scikit-learn's `Ridge` with n times this alpha, and `LogisticRegression` with C = 1 / (n alpha). With
    alpha = 0 it is least squares, of which the shortest solution where there are several.

    Args:
        alpha: weight of the penalty.
    """

    def __init__(self, alpha: float = 0.1):
        self.alpha = alpha

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By Newton's method: one step for the squared loss."""
        alpha = number("alpha", self.alpha)
        return ridge(problem, alpha, stop, None if start is None else start.W)


class Pooled(Method):
    """One weight vector for all tasks, as if they were one; only intercepts differ.

        F(w, ..., w) + T alpha/2 ||w||²

    The other baseline: what is gained by telling tasks apart at all. Weighing w once for each task makes
    this the limit of `Ridge` with the same alpha when differences between tasks are forbidden.

    Args:
        alpha: weight of the penalty.
    """

    def __init__(self, alpha: float = 0.1):
        self.alpha = alpha

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By Newton's method: one step for the squared loss."""
        everyone = np.ones((1, problem.T))
        _, solution = left_factor(problem, everyone, problem.T * number("alpha", self.alpha), stop)
        return solution
