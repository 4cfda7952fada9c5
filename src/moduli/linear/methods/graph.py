"""The graph-guided fused lasso: a graph says which tasks are alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from moduli.errors import InputError
from moduli.linear import prox
from moduli.linear.groups import alike, places
from moduli.linear.method import Method, Solution, Stop, number, one_of
from moduli.linear.problem import Problem
from moduli.linear.solvers.fista import fista

ROUNDING = 1e-14
"""Duality gap of a proximal operator that is not in closed form, relative to the terms it is made of."""


class GraphFusedLasso(Method):
    """Tasks that an edge joins have like weights, or opposite ones; and few features for each task.

        F(W) + alpha ||W||_1 + gamma sum_(m,l) tau(r_ml) sum_i |W_im - sign(r_ml) W_il|

    The sum is over the edges of a graph of tasks; r is the correlation of two tasks, tau its size or square.
    With gamma = 0 this is `Lasso`; with a large gamma and positive r, tasks that are connected have the same
    weights.

    ``graph`` is one of:

    * a list of edges (task, task, r), each task by its label, or all by position;
    * an array `[T, T]` of correlations, in the order of ``tasks_``, of which those beyond the threshold are
      edges;
    * None: the correlations are learned, as cosines of the weights of a ridge of its own for every task
      (alpha = 0.1). The paper correlates outputs, which tasks with samples of their own do not have in
      common.

    Source: Chen et al. 2010, who smooth the sum over edges and solve up to an error eps. Here it stays as it
    is: its proximal operator is found from its dual, to rounding, and there is no eps.

    Fitted attributes of the estimator: ``relationship_`` `[T, T]`, r of the edges, 0 elsewhere, and 1 on the
    diagonal; ``support_`` `[d]`, the features in use.

    Args:
        alpha: weight of the l1 penalty, above 0.
        gamma: weight of the edges.
        graph: of the tasks, as above.
        weight: tau(r): "abs" for |r|, "square" for r².
        threshold: least |r| of an edge, for a matrix and for a learned graph; a list of edges is taken whole.
            0.5 is our choice; the paper has a threshold, but no value for it.
    """

    def __init__(
        self,
        alpha: float = 0.1,
        gamma: float = 0.1,
        graph: Any = None,
        weight: str = "abs",
        threshold: float = 0.5,
    ):
        self.alpha = alpha
        self.gamma = gamma
        self.graph = graph
        self.weight = weight
        self.threshold = threshold

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By FISTA. ``optimality`` is the duality gap, for the dual variables of the proximal operator.

        It bounds the distance from the minimum also where that operator is not exact to the last digits.
        """
        alpha, gamma = number("alpha", self.alpha, above=True), number("gamma", self.gamma)
        square = one_of("weight", self.weight, ("abs", "square")) == "square"
        threshold = number("threshold", self.threshold)
        given = alike(problem, stop) if self.graph is None else self.graph
        if isinstance(given, np.ndarray):
            graph = Graph.of_matrix(given, problem.T, threshold)
        else:
            graph = Graph.of_edges(given, names)
        tau = graph.r**2 if square else np.abs(graph.r)
        penalty = FusedNorm(graph, alpha, gamma * tau)
        solution = fista(problem, penalty, stop, None if start is None else start.W)
        return solution.with_found(relationship_=graph.matrix(), support_=solution.W[: problem.d].any(axis=1))


# ------------------------------------------------------------------ graphs


@dataclass(frozen=True)
class Graph:
    """Edges between T tasks: edge e joins ``m[e]`` and ``l[e]``, with a correlation ``r[e]``."""

    T: int
    m: np.ndarray
    l: np.ndarray  # noqa: E741
    r: np.ndarray

    @staticmethod
    def of_edges(edges: Any, names: np.ndarray) -> Graph:
        """Of a list of (task, task, r)."""
        try:
            first, second, r = zip(*edges, strict=True) if len(edges) else ((), (), ())
        except (TypeError, ValueError):
            raise InputError(
                "graph is no list of edges (task, task, r), nor an array of correlations"
            ) from None
        if not all(isinstance(value, Real) and math.isfinite(float(value)) for value in r):
            raise InputError(f"graph has the correlations {list(r)}: give a finite number for each edge")
        at = np.array(places("graph", [*first, *second], names), dtype=int).reshape(2, -1)
        if (at[0] == at[1]).any():
            raise InputError(
                f"graph joins task {first[int(np.argmax(at[0] == at[1]))]!r} to itself: leave it out"
            )
        return Graph(len(names), at[0], at[1], np.array(r, dtype=float))

    @staticmethod
    def of_matrix(R: np.ndarray, T: int, threshold: float) -> Graph:
        """Of correlations `[T, T]`, where they are at least a threshold in size, and not 0."""
        if R.shape != (T, T) or not np.isfinite(R).all() or not np.allclose(R, R.T):
            raise InputError(
                f"graph is an array of shape {R.shape}: give a symmetric one of finite numbers, {(T, T)}"
            )
        m, l = np.nonzero(np.triu((np.abs(R) >= threshold) & (R != 0), 1))  # noqa: E741
        return Graph(T, m, l, R[m, l].astype(float))

    def matrix(self) -> np.ndarray:
        """r `[T, T]`, with ones on the diagonal."""
        R = np.eye(self.T)
        R[self.m, self.l] = R[self.l, self.m] = self.r
        return R

    @cached_property
    def incidence(self) -> csr_array:
        """C `[T, E]`: W C is the differences over the edges, or sums where r is negative."""
        E = len(self.r)
        values = np.concatenate([np.ones(E), -np.sign(self.r)])
        return csr_array((values, (np.concatenate([self.m, self.l]), np.tile(np.arange(E), 2))), (self.T, E))

    @cached_property
    def steps(self) -> np.ndarray:
        """1 / (sum of the degrees of both ends) `[E]`: C^T C is below the inverse of these steps."""
        degree = np.bincount(np.concatenate([self.m, self.l]), minlength=self.T)
        return 1.0 / (degree[self.m] + degree[self.l])


@dataclass
class FusedNorm:
    """alpha ||W||_1 + sum_e weight_e sum_i |(W C)_ie|, C the incidence matrix of a graph.

    It remembers the dual variables ``U`` `[d, E]` of its proximal operator, |U| <= weight, which the next one
    begins with, and which make the dual norm known.
    """

    graph: Graph
    alpha: float
    weight: np.ndarray
    U: np.ndarray | None = field(default=None, init=False)

    def value(self, W: np.ndarray) -> float:
        """At W."""
        return self.alpha * float(np.abs(W).sum()) + float(
            (np.abs(W @ self.graph.incidence) @ self.weight).sum()
        )

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """That of the differences, then that of the l1 norm.

        The soft threshold keeps order and sign, and with them a subgradient of the differences, so one after
        the other is exact (Friedman et al. 2007, for a chain).
        """
        if self.weight.any():
            U = np.zeros((len(W), len(self.weight))) if self.U is None else self.U
            W, self.U = fused(W, step, self.graph, self.weight, U)
        return prox.soft_threshold(W, step * self.alpha)

    def dual_norm(self, G: np.ndarray) -> float:
        """An upper bound where above 1: G is that part of U, plus one that the l1 norm has to bear."""
        rest = G if self.U is None else G - self.U @ self.graph.incidence.T
        return float(np.abs(rest).max(initial=0.0)) / self.alpha


def fused(
    V: np.ndarray, t: float, graph: Graph, weight: np.ndarray, U: np.ndarray, most: int = 500
) -> tuple[np.ndarray, np.ndarray]:
    """argmin_W 0.5 ||W - V||² + t sum_e weight_e sum_i |(W C)_ie|, and its dual variables.

    W = V - t U C^T for the U that minimises ||W|| under |U| <= weight. It is found by accelerated projected
    gradient steps, with a restart for each row, until the duality gap of every row is at rounding.

    Args:
        V: `[d, T]`.
        t: above 0.
        graph: with C.
        weight: `[E]`.
        U: `[d, E]` to begin with.
        most: steps.
    """
    C = graph.incidence
    small = ROUNDING * (np.square(V).sum(axis=1) + t * weight.sum() * np.abs(V).max(axis=1))
    Y, tau = U, np.ones((len(V), 1))
    W = V - t * (U @ C.T)
    for k in range(most):
        if k % 5 == 0:
            differences = W @ C
            gap = t * (weight * np.abs(differences) - U * differences).sum(axis=1)
            if (gap <= small).all():
                break
        new = np.clip(Y + (V - t * (Y @ C.T)) @ C * (graph.steps / t), -weight, weight)
        uphill = ((Y - new) * (new - U)).sum(axis=1, keepdims=True) > 0
        tau = np.where(uphill, 1.0, tau)
        following = 0.5 * (1 + np.sqrt(1 + 4 * tau**2))
        Y, tau, U = new + (tau - 1) / following * (new - U), following, new
        W = V - t * (U @ C.T)
    return W, U
