"""The tree-guided group lasso: a tree says which tasks are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import is_valid_linkage, linkage
from scipy.spatial.distance import squareform

from moduli.errors import InputError
from moduli.linear.groups import alike, places
from moduli.linear.method import Method, Solution, Stop, number
from moduli.linear.problem import Problem
from moduli.linear.solvers.working_set import sparse_rows


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
        given = _clustering(alike(problem, stop)) if self.tree is None else self.tree
        if isinstance(given, np.ndarray):
            tree = Tree.of_linkage(given, problem.T, s)
        else:
            tree = Tree.of_lists(given, names, s)
        solution = sparse_rows(problem, TreeNorm(tree, alpha), stop, None if start is None else start.W)
        found = [(names[list(members)], weight) for level in tree.levels() for members, weight in level]
        return solution.with_found(tree_=found, support_=solution.W[: problem.d].any(axis=1))


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


def _clustering(R: np.ndarray) -> np.ndarray:
    """The linkage of tasks by 1 - |R|."""
    if len(R) == 1:
        return np.empty((0, 4))
    return linkage(squareform(1 - np.abs(R), checks=False), method="average")
