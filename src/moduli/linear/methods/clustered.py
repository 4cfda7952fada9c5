"""Tasks in clusters: weights are near to the mean of all tasks, or to that of their cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, ward

from moduli.errors import InputError
from moduli.linear import prox
from moduli.linear.groups import given, numbered
from moduli.linear.method import Method, Solution, Stop, count, number, one_of
from moduli.linear.problem import Problem
from moduli.linear.solvers.fista import fista
from moduli.linear.solvers.newton import coupled_ridge


class MeanRegularized(Method):
    """Weights of all tasks are near to a common mean.

        "2004":  F(W) + lambda1/(2T) sum_t ||w_t - w_0||² + lambda2/2 ||w_0||²
        "2005":  F(W) + lambda1/(2T) sum_t ||w_t - w||² + lambda2/2 ||w||²,    w = sum_t w_t / T

    The w_0 of the first form is free; the best is lambda1/(lambda1 + lambda2) times the mean of the w_t. With
    it, the first form is the second with lambda1 lambda2/(lambda1 + lambda2) in place of lambda2. For both,
    lambda1 to infinity is `Pooled` with alpha = lambda2/T. The limit of lambda2 to infinity is `Ridge` with
    alpha = lambda1/T in the first form, a mean of 0 in the second, which is that ridge for equal lambdas.

    Solved by Newton's method, one step for the squared loss. ``optimality_`` is the norm of the gradient
    relative to that at W = 0.

    Source: Evgeniou & Pontil 2004; Evgeniou, Micchelli & Pontil 2005. Their losses are sums over samples, and
    penalties have no factor 0.5: for the squared loss, which has none there either, and n samples in every
    task, our weights are theirs divided by n. In the second form they have a single lambda, which is
    lambda1 / lambda2 here. They have no defaults; ours weigh differences like the mean.

    Fitted attributes of the estimator: ``mean_`` `[d]`, w_0 or the mean of the w_t.

    Args:
        lambda1: weight of the differences between tasks.
        lambda2: weight of the mean.
        form: "2004" or "2005".
    """

    def __init__(self, lambda1: float = 1.0, lambda2: float = 1.0, form: str = "2004"):
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.form = form

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By Newton's method: one step for the squared loss."""
        free_mean = one_of("form", self.form, ("2004", "2005")) == "2004"
        lambda1, lambda2 = number("lambda1", self.lambda1), number("lambda2", self.lambda2)
        share = lambda1 / max(lambda1 + lambda2, 1e-300) if free_mean else 1.0
        if free_mean:
            lambda2 *= share
        everyone = np.zeros(problem.T, int)
        K = coupling(everyone, lambda2 / problem.T, 0.0, lambda1 / problem.T)
        solution = coupled_ridge(problem, K, stop, None if start is None else start.W)
        return solution.with_found(mean_=share * solution.W[: problem.d].mean(axis=1))


class Clustered(Method):
    """Weights of a task are near to the mean of its cluster. Clusters are given or learned.

        F(W) + alpha/2 (eps_mean Omega_mean + eps_between Omega_between + eps_within Omega_within)
        Omega_mean    = T ||w||²,                    w the mean of all w_t
        Omega_between = sum_c T_c ||w_c - w||²,      w_c the mean of the T_c tasks in cluster c
        Omega_within  = sum_c sum_{t in c} ||w_t - w_c||²

    The three Omegas add up to ||W||², so that equal eps are `Ridge` with alpha eps. One cluster is
    `MeanRegularized` of form "2005" with lambda1 = T alpha eps_within, lambda2 = T alpha eps_mean.

    With ``clusters`` the penalty is quadratic, and solved by Newton's method; ``optimality_`` is the norm of
    the gradient relative to that at W = 0. Without, the clusters are learned through the convex relaxation:
    of W less its mean, Wc, the last two terms become tr(Wc Sigma^-1 Wc^T), the least over Sigma whose
    eigenvalues are from 1/eps_within to 1/eps_between, with trace (T - r + 1)/eps_within +
    (r - 1)/eps_between, r clusters. It depends on the singular values of Wc alone. Solved by FISTA;
    ``optimality_`` is the norm of the proximal gradient relative to that of the gradient at W = 0.

    Source: Jacob, Bach & Vert 2009. Some surveys print Omega_mean without the factor T, with which the three
    would not add up to ||W||². Their loss is averaged over all samples of all tasks, and there is no factor
    0.5: with ``average="samples"`` and the squared loss, alpha eps is T times theirs. The defaults are ours:
    differences within a cluster weigh ten times as much as those between clusters.

    Fitted attributes of the estimator: ``task_groups_`` `[T]`, the clusters; ``cluster_means_``
    `[d, clusters]`, the w_c in that order; ``relationship_`` `[T, T]`, Sigma: large between tasks whose
    differences from the mean are alike. Learned clusters are read off by Ward's method from the columns of
    Wc along its first r - 1 left singular vectors, which does not depend on the order of tasks.

    Args:
        n_clusters: r, for learned clusters; no more than T are used.
        clusters: a dict from each task's label to its cluster, the clusters in order of the tasks, or a list
            with a list of task labels for every cluster. None: learned.
        alpha: weight of the penalty.
        eps_mean: of the mean of all tasks.
        eps_between: of the differences between clusters, above 0; for learned clusters at most eps_within.
        eps_within: of the differences within clusters, above 0.
    """

    def __init__(
        self,
        n_clusters: int = 2,
        clusters: Any = None,
        alpha: float = 0.1,
        eps_mean: float = 1.0,
        eps_between: float = 1.0,
        eps_within: float = 10.0,
    ):
        self.n_clusters = n_clusters
        self.clusters = clusters
        self.alpha = alpha
        self.eps_mean = eps_mean
        self.eps_between = eps_between
        self.eps_within = eps_within

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By Newton's method for given clusters, by FISTA for learned ones."""
        alpha, mean = number("alpha", self.alpha), number("eps_mean", self.eps_mean)
        between = number("eps_between", self.eps_between, above=True)
        within = number("eps_within", self.eps_within, above=True)
        W = None if start is None else start.W
        if self.clusters is not None:
            group = _given(self.clusters, names)
            K = coupling(group, alpha * mean, alpha * between, alpha * within)
            solution = coupled_ridge(problem, K, stop, W)
            Sigma = coupling(group, 1 / within, 1 / between, 1 / within)
        else:
            r = min(count("n_clusters", self.n_clusters), problem.T)
            if between > within:
                raise InputError(
                    f"eps_between is {between:g}, above eps_within, {within:g}: to learn clusters, weigh "
                    "differences within clusters at least as much as those between"
                )
            total = (problem.T - r + 1) / within + (r - 1) / between
            box = SquaredBoxNorm(alpha, 1 / within, 1 / between, total)
            solution = fista(problem, MeanAndCentred(alpha * mean, box), stop, W)
            Wc = centred(solution.W[: problem.d])
            group, Sigma = read_off(Wc, r), box.optimal(Wc)
        W = solution.W[: problem.d]
        means = np.stack([W[:, group == c].mean(axis=1) for c in range(group.max() + 1)], axis=1)
        return solution.with_found(task_groups_=group, cluster_means_=means, relationship_=Sigma)


# ------------------------------------------------------------------ penalties


def coupling(group: np.ndarray, mean: float, between: float, within: float) -> np.ndarray:
    """The K `[T, T]` for which tr(W K W^T) is the weighted sum of Omega_mean, Omega_between and Omega_within.

    Args:
        group: cluster of each task, `[T]`.
        mean: weight of T times the squared norm of the mean.
        between: weight of the squared differences of cluster means from the mean, once for each task.
        within: weight of the squared differences of tasks from their cluster's mean.
    """
    T = len(group)
    to_mean = np.full((T, T), 1 / T)
    same = group[:, None] == group
    to_cluster = same / same.sum(axis=1)
    return mean * to_mean + between * (to_cluster - to_mean) + within * (np.eye(T) - to_cluster)


@dataclass(frozen=True)
class SquaredBoxNorm:
    """weight/2 tr(W Sigma^-1 W^T), least over Sigma `[T, T]`: eigenvalues from low to high, trace `total`."""

    weight: float
    low: float
    high: float
    total: float

    def value(self, W: np.ndarray) -> float:
        """At W."""
        s = prox.singular_values(W, W.shape[1])
        return 0.5 * self.weight * prox.box_value(s, self.low, self.high, self.total)[0]

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """Of the singular values."""
        return prox.spectral_box(W, step * self.weight, self.low, self.high, self.total)

    def optimal(self, W: np.ndarray) -> np.ndarray:
        """The Sigma of W."""
        _, s, Vt = np.linalg.svd(W, full_matrices=W.shape[0] < W.shape[1])
        s = np.pad(s, (0, len(Vt) - len(s)))
        return (Vt.T * prox.box_value(s, self.low, self.high, self.total)[1]) @ Vt


@dataclass(frozen=True)
class MeanAndCentred:
    """mean/2 T ||w||² for the mean w of the columns of W, and a spectral penalty of W less its mean."""

    mean: float
    box: SquaredBoxNorm

    def value(self, W: np.ndarray) -> float:
        """At W."""
        w = W.mean(axis=1)
        return 0.5 * self.mean * W.shape[1] * float(w @ w) + self.box.value(centred(W))

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """Of both parts, which are orthogonal: the prox of a spectral penalty has the row space of its W."""
        w = W.mean(axis=1, keepdims=True)
        return w / (1 + step * self.mean) + self.box.prox(W - w, step)


def centred(W: np.ndarray) -> np.ndarray:
    """W less the mean of its columns."""
    return W - W.mean(axis=1, keepdims=True)


# ------------------------------------------------------------------ clusters


def read_off(Wc: np.ndarray, r: int) -> np.ndarray:
    """At most r clusters of the columns of Wc `[d, T]`, by their r - 1 main directions: numbers `[T]`."""
    if r == 1:
        return np.zeros(Wc.shape[1], int)
    _, s, Vt = np.linalg.svd(Wc, full_matrices=False)
    places = (s[: r - 1, None] * Vt[: r - 1]).T
    return numbered(fcluster(ward(places), r, criterion="maxclust"))


def _given(clusters: Any, names: np.ndarray) -> np.ndarray:
    """Clusters `[T]` in one of the forms that users give."""
    if isinstance(clusters, list | tuple) and any(isinstance(part, list | tuple | set) for part in clusters):
        if not all(isinstance(part, list | tuple | set) for part in clusters):
            raise InputError(f"clusters is {clusters!r}: give a list of task labels for every cluster")
        members = [(name, c) for c, part in enumerate(clusters) for name in part]
        clusters = dict(members)
        if len(clusters) < len(members):
            raise InputError(f"clusters is {members!r}: put every task in one cluster only")
    return given(clusters, names, "clusters")
