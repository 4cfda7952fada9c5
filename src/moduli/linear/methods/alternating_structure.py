"""Alternating structure optimisation: weights are near to a subspace that all tasks share."""

from __future__ import annotations

import numpy as np

from moduli.linear.method import Method, Solution, Stop, count, number
from moduli.linear.methods.clustered import SquaredBoxNorm
from moduli.linear.problem import Problem
from moduli.linear.solvers.fista import Scale, fista
from moduli.linear.solvers.newton import ridge

ROUNDING = 1e-12
"""Relative increase of the objective that is not one."""


class AlternatingStructure(Method):
    """Weights are a part in a shared subspace, which is learned, and a part of the task's own.

        F(W) + alpha/2 ||W - Theta^T Theta W||² + alpha eta/2 ||W||²,    Theta [h, d], Theta Theta^T = I

    Of the weights, Theta^T Theta W is the shared part and the rest the own part; with eta = 0 only the own
    part is penalised. h = 0 is `Ridge` with alpha (1 + eta), and so is a single task.

    Solved by turns: W by a ridge in the metric that Theta gives, exactly, with the intercepts; then Theta,
    the first h left singular vectors of W. The start is h = 0, or the last Theta for a warm start. The
    objective is not convex; it is noted after every alternation and never increases. The larger alpha, the
    less Theta moves each time, and the more alternations it takes. ``optimality_`` is the norm of the
    gradient in W, with the best Theta for W, relative to that at W = 0.

    ``convex`` relaxes Theta^T Theta to any M with 0 <= M <= I and trace h. The penalty becomes
    alpha eta (1 + eta)/2 tr(W^T (eta I + M)^-1 W), the least over M, which depends on the singular values of
    W alone and is minimised by FISTA (``optimality_``: the norm of the proximal gradient relative to that of
    the gradient at W = 0). As it is the same for W and its transpose, this is also the convex clustered
    multitask learning of Zhou, Chen & Ye 2011 with h clusters.

    Source: Ando & Zhang 2005 (ASO), Chen, Tang, Liu & Ye 2009 (cASO, with beta = alpha eta). Ando & Zhang
    minimise over the own parts with the shared parts fixed; here both are free in every step, as in their
    objective. Their weight lambda_t is the same for all tasks here. Their penalty has no factor 0.5: alpha is
    theirs for the squared loss, which has none there either, and twice theirs for the logistic loss.

    Fitted attributes of the estimator: ``shared_subspace_`` `[h, d]`, Theta (in the convex form the first
    eigenvectors of M); ``shared_`` `[d, T]`, the part of the weights in it; ``own_`` `[d, T]`, the rest.

    Args:
        h: dimensions of the shared subspace. At most min(d, T) - 1 are used: with as many dimensions as
            features or tasks it could hold all weights, and nothing would be the tasks' own.
        alpha: weight of the penalty.
        eta: weight of the squared norm of W relative to alpha; above 0 in the convex form. It is 0 in Ando &
            Zhang, but then the logistic loss has no minimum where the shared part separates the classes.
        convex: whether to solve the convex relaxation.
    """

    def __init__(self, h: int = 2, alpha: float = 0.1, eta: float = 0.1, convex: bool = False):
        self.h = h
        self.alpha = alpha
        self.eta = eta
        self.convex = convex

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By turns, or the convex form by FISTA."""
        h = min(count("h", self.h, least=0), problem.d - 1, problem.T - 1)
        alpha = number("alpha", self.alpha)
        eta = number("eta", self.eta, above=bool(self.convex))
        if self.convex:
            penalty = SquaredBoxNorm(alpha * eta * (1 + eta), eta, 1 + eta, h + problem.T * eta)
            solution = fista(problem, penalty, stop, None if start is None else start.W)
        else:
            solution = by_turns(problem, h, alpha, eta, stop, start)
        W = solution.W[: problem.d]
        Theta = leading(W, h)
        shared = Theta.T @ (Theta @ W)
        return solution.with_found(shared_subspace_=Theta, shared_=shared, own_=W - shared)


def by_turns(
    problem: Problem, h: int, alpha: float, eta: float, stop: Stop, start: Solution | None = None
) -> Solution:
    """Minimises over W and Theta by turns.

    Args:
        problem: smooth.
        h: rows of Theta.
        alpha: weight of the penalty.
        eta: weight of the squared norm relative to alpha.
        stop: bounds the gradient with the best Theta, and the alternations.
        start: whose W and ``shared_subspace_`` to begin with.
    """
    d, scale, identity = problem.d, Scale.of(problem), np.eye(problem.d)
    Theta = np.zeros((0, d)) if start is None else start.found.get("shared_subspace_", np.zeros((0, d)))
    W = None if start is None else start.W
    objective, measured = [np.inf], np.inf
    while measured > stop.tol and len(objective) <= stop.max_iter:
        P = alpha * ((1 + eta) * identity - Theta.T @ Theta)
        new = ridge(problem, P, Stop(0.1 * stop.tol, 100), W).W
        Theta = leading(new[:d], h)
        image = problem.image(new)
        slope = alpha * ((1 + eta) * new[:d] - Theta.T @ (Theta @ new[:d]))
        value = problem.value(new, image) + 0.5 * float(np.vdot(slope, new[:d]))
        if value > objective[-1] * (1 + ROUNDING):  # there is no minimum, see eta
            break
        G = problem.gradient(image)
        G[:d] += slope
        W, measured = new, float(np.linalg.norm(G)) / scale.gradient
        objective.append(min(value, objective[-1]))
    assert W is not None
    return Solution(W, objective[1:], measured, measured <= stop.tol)


def leading(W: np.ndarray, h: int) -> np.ndarray:
    """The first h left singular vectors of W `[d, T]`, as rows: `[h, d]`."""
    return np.linalg.svd(W, full_matrices=False)[0][:, :h].T
