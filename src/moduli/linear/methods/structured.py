"""Structure among tasks: a tree or a graph says which tasks are alike.

Either is given by the user, or found from weights that tasks have on their own: those of a ridge.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import is_valid_linkage, linkage
from scipy.sparse import csr_array
from scipy.spatial.distance import squareform

from moduli.errors import InputError
from moduli.linear import prox
from moduli.linear.groups import cosines
from moduli.linear.method import Method, Solution, Stop, number, one_of
from moduli.linear.problem import Problem
from moduli.linear.solvers.fista import fista
from moduli.linear.solvers.newton import ridge
from moduli.linear.solvers.working_set import sparse_rows

RIDGE = 0.1
"""Weight of the penalty of the ridge from which structure is learned, the default of `Ridge`."""

ROUNDING = 1e-14
"""Duality gap of a proximal operator that is not in closed form, relative to the terms it is made of."""


class TreeLasso(Method):
    """Tasks are leaves of a tree, and tasks of a subtree use the same features.

        F(W) + alpha sum_i sum_v w_v ||W_i,v||_2

    W_i,v are the weights of feature i in the tasks under node v. Every node has an s_v from 0 to 1: how far
    its children select features on their own. The weight of a node is w_v = (1 - s_v) times the s of all
    nodes above it; a leaf has the product alone. So the weights of a task's leaf and of the nodes above it
    add up to 1. A root with s = 0 makes this `GroupLasso`, s = 1 everywhere `Lasso`.

    ``tree`` is one of:

    * nested lists of all tasks, `[["a", "b"], "c"]`, each by its label, or all by position. A pair of s and a
      list is a node with its own s: `(0.6, [(0.3, ["a", "b"]), "c"])`. Elsewhere, s is the number of levels
      under the node, over one more than there are in the whole tree.
    * a result of `scipy.cluster.hierarchy.linkage` over the tasks, in the order of ``tasks_``. As in the
      paper, s is the height of the node, over that of the root. So the root has s = 1 and joins nothing, and
      two tasks are on their own.
    * None: the tree is learned. Every task gets a ridge of its own (alpha = 0.1), and tasks are clustered by
      average linkage; the distance of two tasks is 1 - |cosine| of their weights, as a change of sign uses
      the same features. The paper clusters outputs, which tasks with samples of their own do not have in
      common.

    Source: Kim & Xing 2010; the proximal operator is that of Jenatton et al. 2011.

    Fitted attributes of the estimator: ``tree_``, a list of (labels of the tasks under a node, weight of the
    node), from the leaves to the root, without nodes of weight 0; ``support_`` `[d]`, the features in use.

    Args:
        alpha: weight of the penalty.
        tree: of the tasks, as above.
        s: of all nodes that have none of their own, from 0 to 1; None for s by height, as above.
    """

    def __init__(self, alpha: float = 0.1, tree: Any = None, s: float | None = None):
        self.alpha = alpha
        self.tree = tree
        self.s = s

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By FISTA on a working set of features. ``optimality`` is the duality gap, as for every norm."""
        alpha = number("alpha", self.alpha)
        s = None if self.s is None else number("s", self.s, most=1.0)
        given = _clustering(_alike(problem, stop)) if self.tree is None else self.tree
        if isinstance(given, np.ndarray):
            tree = Tree.of_linkage(given, problem.T, s)
        else:
            tree = Tree.of_lists(given, names, s)
        solution = sparse_rows(problem, TreeNorm(tree, alpha), stop, None if start is None else start.W)
        found = [(names[list(members)], weight) for level in tree.levels() for members, weight in level]
        return solution.with_found(tree_=found, support_=solution.W[: problem.d].any(axis=1))


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
        given = _alike(problem, stop) if self.graph is None else self.graph
        if isinstance(given, np.ndarray):
            graph = Graph.of_matrix(given, problem.T, threshold)
        else:
            graph = Graph.of_edges(given, names)
        tau = graph.r**2 if square else np.abs(graph.r)
        penalty = FusedNorm(graph, alpha, gamma * tau)
        solution = fista(problem, penalty, stop, None if start is None else start.W)
        return solution.with_found(relationship_=graph.matrix(), support_=solution.W[: problem.d].any(axis=1))


# ------------------------------------------------------------------ trees


@dataclass(frozen=True)
class Tree:
    """A tree over T leaves. Inner nodes are numbered from T, each after its children; the root is last.

    ``children``: of each inner node. ``s``: of each inner node, from 0 to 1.
    """

    T: int
    children: tuple[tuple[int, ...], ...]
    s: tuple[float, ...]

    @staticmethod
    def of_linkage(Z: np.ndarray, T: int, s: float | None = None) -> Tree:
        """Of `scipy.cluster.hierarchy.linkage`; without s by height, relative to that of the root."""
        if T == 1:
            return Tree(1, (), ())
        if Z.shape != (T - 1, 4) or not is_valid_linkage(np.asarray(Z, dtype=float)):
            raise InputError(
                f"tree is an array of shape {Z.shape}: give nested lists, or a linkage of the {T} tasks, "
                f"{(T - 1, 4)}"
            )
        height = np.clip(Z[:, 2] / max(Z[-1, 2], 1e-300), 0, 1)
        children = tuple((int(a), int(b)) for a, b in Z[:, :2])
        return Tree(T, children, tuple(height.tolist()) if s is None else (s,) * (T - 1))

    @staticmethod
    def of_lists(nested: Any, names: np.ndarray, s: float | None = None) -> Tree:
        """Of nested lists of tasks, or pairs of s and a list; without s by levels."""
        leaves = places("tree", _leaves(nested), names)
        T, children, given, levels = len(names), [], [], [0] * len(names)
        if sorted(leaves) != list(range(T)):
            raise InputError(f"tree has {len(leaves)} leaves: give each of the {T} tasks exactly once")
        following = iter(leaves)

        def add(node: Any) -> int:
            own_s, below = _node(node)
            if below is None:
                return next(following)
            own = tuple(add(child) for child in below)
            children.append(own)
            given.append(s if own_s is None else own_s)
            levels.append(1 + max(levels[child] for child in own))
            return len(levels) - 1

        add(nested)
        by_level = [level / (levels[-1] + 1) for level in levels[T:]]
        own = [b if g is None else g for g, b in zip(given, by_level, strict=True)]
        return Tree(T, tuple(children), tuple(own))

    def levels(self) -> list[list[tuple[tuple[int, ...], float]]]:
        """Groups of tasks and their weights, level by level from the leaves; those of a level are disjoint.

        Groups of weight 0 are left out.
        """
        members: list[tuple[int, ...]] = [(t,) for t in range(self.T)]
        level = [0] * self.T
        for own in self.children:
            members.append(tuple(sorted(t for child in own for t in members[child])))
            level.append(1 + max(level[child] for child in own))
        weight = np.ones(len(members))
        for v in range(len(members) - 1, self.T - 1, -1):  # from the root
            s = self.s[v - self.T]
            weight[list(self.children[v - self.T])] = weight[v] * s
            weight[v] *= 1 - s
        out: list[list[tuple[tuple[int, ...], float]]] = [[] for _ in range(max(level) + 1)]
        for v in np.flatnonzero(weight):
            out[level[v]].append((members[v], float(weight[v])))
        return [groups for groups in out if groups]


def _node(node: Any) -> tuple[float | None, Sequence[Any] | None]:
    """Its s and its children, where they are given; neither for a leaf."""
    s = None
    if isinstance(node, tuple) and len(node) == 2 and isinstance(node[1], list):
        s, node = number("s of a node of tree", node[0], most=1.0), node[1]
    if not isinstance(node, list):
        return None, None
    if not node:
        raise InputError("tree has a node without tasks: leave it out")
    return s, node


def _leaves(node: Any) -> list[Any]:
    below = _node(node)[1]
    return [node] if below is None else [leaf for child in below for leaf in _leaves(child)]


@dataclass(frozen=True)
class TreeNorm:
    """alpha sum_i sum_v w_v ||W_i,v||_2 over the rows i of W and the nodes v of a tree of tasks."""

    tree: Tree
    alpha: float

    def value(self, W: np.ndarray) -> float:
        """At W."""
        return self.alpha * float(sum(level.norms(W).sum(0) @ level.weight for level in self._levels))

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """Group soft thresholds from the leaves to the root, which is exact (Jenatton et al. 2011)."""
        return self._threshold(W, step * self.alpha)

    def row_dual_norms(self, G: np.ndarray) -> np.ndarray:
        """The dual norm of each row: the least t at which its soft thresholds give 0, over alpha.

        What is left at t is the distance of the row to the dual ball of radius t: convex in t, and of slope
        -1 or steeper where it is not 0. So secants from the left come ever closer and never too far, and t
        plus the distance is an upper bound, which is given.
        """
        whole = np.linalg.norm(G, axis=1)
        before, far, left, t = np.zeros_like(whole), whole, whole, np.abs(G).max(axis=1, initial=0.0)
        for _ in range(50):
            left = np.linalg.norm(self._threshold(G, t), axis=1)
            going = left > 1e-14 * whole
            if not going.any():
                break
            slope = np.divide(far - left, t - before, out=np.ones_like(t), where=t > before)
            before, far = np.where(going, t, before), np.where(going, left, far)
            t = np.where(going, t + left / np.maximum(slope, 1.0), t)
        return (t + left) / max(self.alpha, 1e-300)

    def dual_norm(self, G: np.ndarray) -> float:
        """The largest of the rows'."""
        return float(self.row_dual_norms(G).max(initial=0.0))

    def rows(self, kept: np.ndarray) -> TreeNorm:
        """The same for every row."""
        return self

    def _threshold(self, W: np.ndarray, t: float | np.ndarray) -> np.ndarray:
        W, t = np.array(W, dtype=float), np.reshape(t, (-1, 1))
        for level in self._levels:
            off = t * level.weight
            kept = 1 - off / np.maximum(np.maximum(level.norms(W), off), 1e-300)
            W[:, level.columns] *= np.repeat(kept, level.size, axis=1)
        return W

    @cached_property
    def _levels(self) -> list[_Level]:
        return [_Level.of(groups) for groups in self.tree.levels()]


@dataclass(frozen=True)
class _Level:
    """Disjoint groups of columns, one after another in ``columns``."""

    columns: np.ndarray
    size: np.ndarray
    weight: np.ndarray

    @staticmethod
    def of(groups: list[tuple[tuple[int, ...], float]]) -> _Level:
        members, weight = zip(*groups, strict=True)
        return _Level(np.concatenate(members), np.array([len(m) for m in members]), np.array(weight))

    def norms(self, W: np.ndarray) -> np.ndarray:
        """`[d, groups]`."""
        return np.sqrt(np.add.reduceat(W[:, self.columns] ** 2, np.cumsum(self.size) - self.size, axis=1))


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


# ------------------------------------------------------------------ tasks


def places(what: str, tasks: Sequence[Any], names: np.ndarray) -> list[int]:
    """Positions of tasks that are given by label, or all by position.

    Raises:
        InputError: if one is unknown.
    """
    known = {name: t for t, name in enumerate(names.tolist())}
    unknown = [task for task in tasks if not (isinstance(task, Hashable) and task in known)]
    if not unknown:
        return [known[task] for task in tasks]
    if all(isinstance(task, Integral) and 0 <= int(task) < len(names) for task in tasks):
        return [int(task) for task in tasks]
    raise InputError(
        f"{what} has the task {unknown[0]!r}, which is unknown: give labels of tasks, or positions of all"
    )


def _alike(problem: Problem, stop: Stop) -> np.ndarray:
    """Of the weights that tasks have in ridges of their own, `[T, T]`."""
    return cosines(ridge(problem, RIDGE, stop).W[: problem.d])


def _clustering(R: np.ndarray) -> np.ndarray:
    """The linkage of tasks by 1 - |R|."""
    if len(R) == 1:
        return np.empty((0, 4))
    return linkage(squareform(1 - np.abs(R), checks=False), method="average")
