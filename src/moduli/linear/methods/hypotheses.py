"""Shared hypotheses: a few models for all tasks, of which each task uses one."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from moduli.linear.groups import numbered
from moduli.linear.method import Method, Solution, Stop, count, number
from moduli.linear.problem import FewSamples, Problem, Quadratic, SampleProblem
from moduli.linear.solvers.newton import left_factor, ridge


class SharedHypotheses(Method):
    """k weight vectors for all tasks: each task uses one, whichever suits it best.

        min over H [d, k] and c_t:  F(W) + alpha/2 ||W||²,    w_t = h_(c_t)

    Only intercepts differ between the tasks of a hypothesis. With k = 1 this is `Pooled`, with k = T `Ridge`,
    both with the same alpha.

    Solved by turns: every task goes to the hypothesis of lowest loss of its samples and penalty (with its
    intercept as it is), then every hypothesis is trained anew on its tasks, until no task moves. A hypothesis
    that no task wants gets the task that loses most by sharing (compared to a ridge of its own), if any
    loses. The objective is noted after every training and never increases; ``optimality_`` is the share of
    tasks that moved in the last iteration: 0 when assignments repeat. It is not convex: the lowest of
    ``n_init`` starts wins. In a start, task t goes to the hypothesis g of largest r_g . (w_t - mean), for the
    W of `Ridge` and random directions r_g of the feature space, so that starts do not depend on the order
    of tasks. A warm start goes on from the last assignment only.

    Source: Crammer & Mansour 2012. The paper assigns by error alone, and leaves the learner open; the ridge
    is ours, and so is what happens to hypotheses without tasks.

    Fitted attributes of the estimator: ``task_groups_`` `[T]`, the hypothesis of each task; ``hypotheses_``
    `[d, k]`, in the same order, or fewer than k if fewer are of use.

    Args:
        k: hypotheses; no more than T are used.
        alpha: weight of the penalty.
        n_init: random starts.
        random_state: seed of the starts.
    """

    def __init__(self, k: int = 2, alpha: float = 0.1, n_init: int = 10, random_state: Any = None):
        self.k = k
        self.alpha = alpha
        self.n_init = n_init
        self.random_state = random_state

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By turns from every start; the lowest objective wins."""
        k, alpha = min(count("k", self.k), problem.T), number("alpha", self.alpha)
        n_init, rng = count("n_init", self.n_init), check_random_state(self.random_state)
        alone = ridge(problem, alpha, Stop(stop.tol, 100)).W
        before = None if start is None else start.found.get("task_groups_")
        if before is not None and before.max() < k:
            starts = [before]
        elif k in (1, problem.T):
            starts = [np.arange(problem.T) % k]
        else:
            away = alone[: problem.d] - alone[: problem.d].mean(axis=1, keepdims=True)
            starts = [np.argmax(rng.standard_normal((k, problem.d)) @ away, axis=0) for _ in range(n_init)]
        runs = (_run(problem, alone, labels, k, alpha, stop) for labels in starts)
        return min(runs, key=lambda solution: solution.objective[-1])


def _run(
    problem: Problem, alone: np.ndarray, labels: np.ndarray, k: int, alpha: float, stop: Stop
) -> Solution:
    """From one assignment `[T]`. ``alone`` are the weights of tasks that share nothing."""
    W, objective = alone, []
    while True:
        H, solution = trained(problem, labels, k, alpha, stop, W)
        W = solution.W
        objective.append(solution.objective[-1])
        new = reassigned(problem, labels, H, alone, W[problem.d :], alpha, stop.tol)
        moved = float(np.mean(new != labels))
        if moved <= stop.tol or len(objective) == stop.max_iter:
            break
        labels = new
    used = H[:, list(dict.fromkeys(labels.tolist()))]
    found = {"task_groups_": numbered(labels), "hypotheses_": used}
    return Solution(W, objective, moved, moved <= stop.tol, found)


def trained(
    problem: Problem, labels: np.ndarray, k: int, alpha: float, stop: Stop, start: np.ndarray
) -> tuple[np.ndarray, Solution]:
    """Each hypothesis on its tasks: H `[d, k]`, zeros without tasks, and the solution."""
    # L = H sqrt(sizes), so that the penalty of L is that of W
    S = (
        np.equal.outer(np.arange(k), labels)
        / np.sqrt(np.maximum(np.bincount(labels, minlength=k), 1))[:, None]
    )
    L, solution = left_factor(problem, S, alpha, Stop(min(stop.tol, 1e-8), 100), start)
    return L * S.max(axis=1), solution


def reassigned(
    problem: Problem,
    labels: np.ndarray,
    H: np.ndarray,
    alone: np.ndarray,
    intercepts: np.ndarray,
    alpha: float,
    tol: float,
) -> np.ndarray:
    """Each task to the hypothesis of lowest loss and penalty, `[T]`; of equal ones, to that which it has.

    Args:
        problem: the loss of all tasks.
        labels: the hypothesis of each task before.
        H: `[d, k]`.
        alone: W of tasks that share nothing, for hypotheses that have no task.
        intercepts: `[free, T]`.
        alpha: weight of the penalty.
        tol: how much of the largest loss a task has to gain to move.
    """
    T, tasks = problem.T, np.arange(problem.T)

    def costs(W: np.ndarray, rest: np.ndarray) -> np.ndarray:
        return losses(problem, np.concatenate([W, rest])) + 0.5 * alpha * np.square(W).sum(axis=0)

    used = np.unique(labels)
    each = np.full((H.shape[1], T), np.inf)
    for g in used:
        each[g] = costs(np.repeat(H[:, [g]], T, axis=1), intercepts)
    own = costs(alone[: problem.d], alone[problem.d :])
    least = tol * max(float(np.abs(own).max()), 1e-300)
    best = each.argmin(axis=0)
    new = np.where(each[labels, tasks] - each.min(axis=0) > least, best, labels)
    regret = each[new, tasks] - own
    empty = np.setdiff1d(np.arange(H.shape[1]), new)
    worst = np.argsort(-regret, kind="stable")[: len(empty)]
    worst = worst[regret[worst] > least]
    new[worst] = empty[: len(worst)]
    return new


def losses(problem: Problem, W: np.ndarray) -> np.ndarray:
    """Of each task at its column of W, `[T]`, up to a constant of the task."""
    image = problem.image(W)
    if isinstance(problem, Quadratic | FewSamples):  # images are G W
        return (W * (0.5 * image - problem.C)).sum(axis=0)
    assert isinstance(problem, SampleProblem)
    each = problem.weight * problem.loss.value(image, problem.y)
    return np.bincount(problem.design.task, each, minlength=problem.T)
