"""Two models in one: W is a sum of two matrices, each with a penalty of its own.

What tasks share is in one part, what is of a single task in the other. Both parts are found together. The
split is a property of the penalties: only the sum is seen by the loss, so where the optimum is not unique in
the parts, it still is a minimum of the objective.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from moduli.linear import prox
from moduli.linear.method import Method, Solution, Stop, number, one_of
from moduli.linear.penalties import L1Lq, Norm, Parts, TraceNorm
from moduli.linear.problem import Problem, SumOfParts
from moduli.linear.solvers.fista import fista


class DirtyModel(Method):
    """Features of all tasks, and features of single tasks: W = B + S.

        F(B + S) + lambda_b sum_i ||B_i||_inf + lambda_s ||S||_1

    A row of B is a feature that all tasks use, an entry of S one that a single task uses beside. The useful
    range is lambda_s < lambda_b < T lambda_s: from lambda_b = T lambda_s on, B can be 0 (this is `Lasso` with
    lambda_s), and down from lambda_b = lambda_s, S can be 0 (`GroupLasso` with lambda_b, q = infinity).

    Source: Jalali et al. 2010, with the loss of this library, which divides the squares of a task
    by 2 n_t as theirs does.

    Fitted attributes of the estimator: ``shared_`` `[d, T]`, B; ``own_`` `[d, T]`, S; ``support_`` `[d]`, the
    features in use.

    Args:
        lambda_b: weight of the shared part, above 0.
        lambda_s: weight of the part of single tasks, above 0. The defaults are in the useful range from three
            tasks on; the paper gives none.
    """

    def __init__(self, lambda_b: float = 0.2, lambda_s: float = 0.1):
        self.lambda_b = lambda_b
        self.lambda_s = lambda_s

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By FISTA over both parts. ``optimality`` is the duality gap, as for every norm."""
        shared = L1Lq(number("lambda_b", self.lambda_b, above=True), q=np.inf)
        own = L1Lq(number("lambda_s", self.lambda_s, above=True), q=1)
        solution, B, S = _sum_of_two(problem, shared, own, stop, start)
        return solution.with_found(shared_=B, own_=S, support_=(B + S).any(axis=1))


class SparseLowRank(Method):
    """Weights in a subspace of few dimensions, but for few entries: W = S + L.

        F(S + L) + lambda_s ||S||_1 + lambda_l ||L||_*

    The useful range is lambda_s < lambda_l < sqrt(d T) lambda_s: from lambda_s = lambda_l on, S can be 0
    (this is `TraceNorm` with lambda_l), and from lambda_l = sqrt(d T) lambda_s on, L can be 0 (`Lasso` with
    lambda_s).

    Source: Chen, Liu & Ye 2010, who bound the trace norm of L, as MALSAR does. Here it is penalised: every
    bound belongs to some lambda_l, and the duality gap tells when to stop.

    Fitted attributes of the estimator: ``sparse_`` `[d, T]`, S; ``low_rank_`` `[d, T]`, L; ``rank_``, that of
    L.

    Args:
        lambda_s: weight of the sparse part, above 0.
        lambda_l: weight of the part of low rank, above 0. The defaults are in the useful range where d T is
            above 4; the paper gives none.
    """

    def __init__(self, lambda_s: float = 0.1, lambda_l: float = 0.2):
        self.lambda_s = lambda_s
        self.lambda_l = lambda_l

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By FISTA over both parts. ``optimality`` is the duality gap, as for every norm."""
        sparse = L1Lq(number("lambda_s", self.lambda_s, above=True), q=1)
        low_rank = TraceNorm(number("lambda_l", self.lambda_l, above=True))
        solution, S, L = _sum_of_two(problem, sparse, low_rank, stop, start)
        return solution.with_found(sparse_=S, low_rank_=L, rank_=int(np.linalg.matrix_rank(L)))


class Robust(Method):
    """What tasks share, and outlier tasks that do not share it: W = P + Q.

        F(P + Q) + lambda_p penalty(P) + lambda_q sum_t ||q_t||

    The columns of Q are zero but for the outlier tasks, whose weights are free of what the others have in
    common. For P there are two penalties: the trace norm (``shared="low_rank"``; robust multitask learning,
    Chen, Zhou & Ye 2011) or the sum of the norms of rows (``shared="features"``; robust multitask feature
    learning, Gong, Ye & Zhang 2012).

    P can be 0, and every task is then on its own, from lambda_p = sqrt(T) lambda_q on. Q can be 0 from
    lambda_q = lambda_p on for low rank (this is `TraceNorm`), and from lambda_q = sqrt(d) lambda_p on for
    features (`GroupLasso`).

    MALSAR adds up squares where this library takes means: with n samples in every task, its weights for low
    rank are n lambda_p and n lambda_q; for features, where it does not halve the squares, 2 n of them.

    Fitted attributes of the estimator: ``shared_`` `[d, T]`, P; ``own_`` `[d, T]`, Q; ``outlier_tasks_``
    `[T]`, whether the column of Q is not zero.

    Args:
        lambda_p: weight of the shared part, above 0.
        lambda_q: weight of the part of outlier tasks, above 0. The defaults are in the useful range of low
            rank from three tasks on; the papers give none.
        shared: "low_rank" or "features".
    """

    def __init__(self, lambda_p: float = 0.15, lambda_q: float = 0.1, shared: str = "low_rank"):
        self.lambda_p = lambda_p
        self.lambda_q = lambda_q
        self.shared = shared

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By FISTA over both parts. ``optimality`` is the duality gap, as for every norm."""
        kind = one_of("shared", self.shared, ("low_rank", "features"))
        penalty = TraceNorm if kind == "low_rank" else L1Lq
        shared = penalty(number("lambda_p", self.lambda_p, above=True))
        own = Columns(number("lambda_q", self.lambda_q, above=True))
        solution, P, Q = _sum_of_two(problem, shared, own, stop, start)
        return solution.with_found(shared_=P, own_=Q, outlier_tasks_=Q.any(axis=0))


@dataclass(frozen=True)
class Columns:
    """alpha sum_t ||w_t||_2 over the columns of W: whole tasks are zero."""

    alpha: float

    def value(self, W: np.ndarray) -> float:
        """At W."""
        return self.alpha * float(np.linalg.norm(W, axis=0).sum())

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """Of each column."""
        return prox.columns_l2(W, step * self.alpha)

    def dual_norm(self, G: np.ndarray) -> float:
        """The largest norm of a column, over alpha."""
        return float(np.linalg.norm(G, axis=0).max(initial=0.0)) / self.alpha


def _sum_of_two(
    problem: Problem, first: Norm, second: Norm, stop: Stop, start: Solution | None
) -> tuple[Solution, np.ndarray, np.ndarray]:
    """Minimises F(A + B) + first(A) + second(B): the solution, A and B.

    The solution's state are the parts on top of one another. A start without them, such as that of another
    method, is taken as the first part.
    """
    parts = SumOfParts(problem, 2)
    stacked = None
    if start is not None:
        stacked = np.zeros((parts.d + parts.free, parts.T))
        if isinstance(start.state, np.ndarray) and start.state.shape == stacked.shape:
            stacked[:] = start.state
        else:
            stacked[: problem.d] = start.W[: problem.d]
        stacked[parts.d :] = start.W[problem.d :]
    solution = fista(parts, Parts((first, second)), stop, stacked)
    A, B = parts.parts(solution.W)
    return replace(solution, W=parts.whole_of(solution.W), state=solution.W), A, B
