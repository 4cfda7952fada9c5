"""Block-sparse regularisation: few features are used, and all tasks use the same ones."""

from __future__ import annotations

import numpy as np

from moduli.linear.method import Method, Solution, Stop, number, one_of
from moduli.linear.penalties import L1Lq
from moduli.linear.problem import Problem
from moduli.linear.solvers.working_set import sparse_rows


class GroupLasso(Method):
    """Few features for all tasks: sum of the norms of the rows of W.

        F(W) + alpha sum_i ||W_i||_q

    With q = 2 the group lasso (Argyriou & Pontil 2007; Obozinski et al. 2006), with q = infinity the
    l1/linf norm (Turlach et al. 2005; Negahban & Wainwright 2008), whose rows have entries of like size;
    with q = 1 nothing is shared, and every task is a lasso of its own. On shared inputs and with q = 2 this
    is scikit-learn's `MultiTaskLasso`.

    Fitted attributes of the estimator: ``support_`` `[d]`, the features in use.

    Args:
        alpha: weight of the penalty. From some value on, W is zero: see `regularization_path`.
        q: 1, 2 or `numpy.inf`.
    """

    def __init__(self, alpha: float = 0.1, q: float = 2):
        self.alpha = alpha
        self.q = q

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By FISTA on a working set of features."""
        penalty = L1Lq(number("alpha", self.alpha), one_of("q", self.q, (1, 2, np.inf)))
        solution = sparse_rows(problem, penalty, stop, None if start is None else start.W)
        return solution.with_found(support_=solution.W[: problem.d].any(axis=1))

    def largest(self, problem: Problem, W: np.ndarray) -> float:
        """The largest dual norm of a row of the gradient."""
        return L1Lq(1.0, self.q).dual_norm(problem.gradient(problem.image(W))[: problem.d])


class Lasso(Method):
    """Few features for each task: a lasso of its own for every task, nothing shared.

        F(W) + alpha ||W||_1

    This is the single-task baseline of sparse methods; with one task it is scikit-learn's `Lasso`.

    Fitted attributes of the estimator: ``support_`` `[d]`, the features that any task uses.

    Args:
        alpha: weight of the penalty.
    """

    def __init__(self, alpha: float = 0.1):
        self.alpha = alpha

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By FISTA on a working set of features."""
        return GroupLasso(self.alpha, q=1).solve(problem, names, stop, start)

    def largest(self, problem: Problem, W: np.ndarray) -> float:
        """The largest entry of the gradient."""
        return GroupLasso(self.alpha, q=1).largest(problem, W)
