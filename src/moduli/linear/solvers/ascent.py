"""What variational methods share: how they begin, and how they climb.

They maximise a lower bound of the log probability of the targets, in which every sample counts once, however
the problem weighs it. Of the samples they see, for each task, a quadratic function of its weights: exact for
Gaussian noise, and for the logistic loss the bound of Jaakkola & Jordan (2000).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from moduli.linear.groups import numbered
from moduli.linear.method import Solution, Stop
from moduli.linear.problem import Problem
from moduli.linear.solvers.newton import ridge

TRIAL = 30
"""Iterations after which the best of several starts goes on alone."""


def alone(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Ridge solutions of the tasks, W `[d + free, T]`, and R `[d, d]` with R^T R the mean curvature at 0."""
    zero = np.zeros((problem.d + problem.free, problem.T))
    H = problem.hessian(problem.image(zero))[..., : problem.d, : problem.d]
    H = H if H.ndim == 2 else H.mean(0)
    scale = np.diag(H) + 1e-6 * np.trace(H) / len(H) + 1e-300
    R = np.linalg.cholesky(H + np.diag(1e-6 * scale)).T
    return ridge(problem, np.diag(0.1 * scale), Stop()).W, R


def ward(W: np.ndarray, R: np.ndarray, clusters: int) -> np.ndarray:
    """Numbers of the tasks' clusters, larger ones first; tasks are near if their predictions are."""
    if W.shape[1] == 1:
        return np.zeros(1, int)
    labels = fcluster(linkage((R @ W).T, "ward"), clusters, "maxclust") - 1
    sizes = np.bincount(labels)
    return np.argsort(np.argsort(-sizes, kind="stable"))[labels]


class State(Protocol):
    """What a step starts from, and its bound ``value``."""

    @property
    def value(self) -> float:
        """The bound; no step lowers it."""
        ...


Q = TypeVar("Q", bound=State)


def ascend(step: Callable[[Q], Q], starts: list[Q], stop: Stop, samples: float) -> tuple[Q, Solution]:
    """Of several starts the best after a few steps, until its bound increases no more."""
    runs = [_climb(step, q, replace(stop, max_iter=min(TRIAL, stop.max_iter)), samples) for q in starts]
    q, path, gain = max(runs, key=lambda run: run[0].value)
    if gain > stop.tol and len(path) < stop.max_iter:
        q, more, gain = _climb(step, q, replace(stop, max_iter=stop.max_iter - len(path)), samples)
        path = path + more
    return q, Solution(np.empty(0), path, gain, gain <= stop.tol, state=q)


def _climb(step: Callable[[Q], Q], q: Q, stop: Stop, samples: float) -> tuple[Q, list[float], float]:
    path, gain = [], np.inf
    while gain > stop.tol and len(path) < stop.max_iter:
        before, q = q, step(q)
        path.append(-q.value)
        gain = abs(q.value - before.value) / samples
    return q, path, gain


def grouped(R: np.ndarray) -> dict[str, Any]:
    """What is found of responsibilities `[T, K]`."""
    groups, relationship = numbered(R.argmax(1)), R @ R.T
    np.fill_diagonal(relationship, 1.0)
    return {
        "task_groups_": groups,
        "n_clusters_": int(groups.max()) + 1,
        "responsibilities_": R,
        "relationship_": relationship,
    }
