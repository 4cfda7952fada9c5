"""Bayesian clustering of tasks by a Dirichlet process: tasks of a cluster have the same weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import betaln, digamma, softmax, xlogy

from moduli.errors import InputError
from moduli.linear.likelihood import Bound, Gamma, Likelihood, likelihood_of
from moduli.linear.method import Method, Solution, Stop, count, number
from moduli.linear.problem import Problem
from moduli.linear.solvers.ascent import alone, ascend, grouped, ward

VAGUE = 1e-6
"""Shape and rate of the Gamma priors of precisions, as of scikit-learn's `BayesianRidge`."""


class TaskClustering(Method):
    """Tasks in clusters that have the same weights; their number is found by a Dirichlet process.

        w_t ~ G,   G ~ DP(concentration, N(0, diag(1 / precision_1, ..., 1 / precision_d)))

    By a variational approximation that truncates the process to `max_clusters` clusters: it has memberships
    of the tasks, Gaussian weights of each cluster, Gamma precisions of the d features, shared by all
    clusters, Beta sticks, and a Gamma concentration. Weights of a task are their posterior mean, a mean over
    clusters. ``objective_`` is minus the lower bound; it does not increase.

    Noise of the squared loss is Gaussian, with one variance for all tasks that has a posterior, too. The
    intercept of a task is its own: with the squared loss the data are centred (and the noise found as if no
    degree of freedom had been used), with the logistic loss it maximises the bound. Every sample counts once:
    ``average`` of the estimator changes nothing but the start.

    Starts are cuts of a Ward tree of the tasks' ridge solutions into 1 to `max_clusters` clusters; the best
    bound after 30 iterations goes on. Nothing is random, and the order of the tasks does not matter.
    ``optimality_`` is the increase of the bound in the last iteration, in nats for each sample. An iteration
    costs O(N d²) with the logistic loss and nothing that grows with N with the squared loss; on top
    O(T K d² + K d³).

    Source: Xue, Liao, Carin & Krishnapuram 2007, for classification. Regression, starts, and one variational
    parameter for each sample rather than one for each sample and cluster are ours.

    Fitted attributes of the estimator: ``task_groups_`` `[T]`, the likeliest clusters; ``n_clusters_``, how
    many those are; ``responsibilities_`` `[T, K]`; ``relationship_`` `[T, T]`, probabilities that two tasks
    share a cluster; ``cluster_weights_`` `[K]`, expected probabilities of the clusters; ``concentration_``
    and ``precision_`` `[d]`, expected; and with the squared loss ``noise_precision_``, expected.

    Args:
        max_clusters: K; at most T. None is the lower of T and 20.
        concentration: the higher, the more clusters: a number, or the shape and the rate of a Gamma prior
            with which it is learned.
        n_init: number of starts, with geometrically spaced numbers of clusters.
    """

    def __init__(
        self,
        max_clusters: int | None = None,
        concentration: float | tuple[float, float] = (1.0, 1.0),
        n_init: int = 10,
    ):
        self.max_clusters = max_clusters
        self.concentration = concentration
        self.n_init = n_init

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By coordinate ascent of the lower bound."""
        most = 20 if self.max_clusters is None else count("max_clusters", self.max_clusters)
        K, n_init = min(problem.T, most), count("n_init", self.n_init)
        process = _Process(likelihood_of(problem, Gamma(VAGUE, VAGUE)), _concentration(self.concentration), K)
        before = None if start is None else start.state
        if isinstance(before, _Clusters) and before.fits(process):
            starts = [process.again(before)]
        else:
            W, metric = alone(problem)
            sizes = np.unique(np.rint(np.geomspace(1, K, n_init)).astype(int)) if n_init > 1 else [K]
            starts = [process.start(W, ward(W[: problem.d], metric, size)) for size in sizes]
        q, solution = ascend(process.step, starts, stop, process.likelihood.samples)
        return replace(solution, W=process.weights(q)).with_found(**process.found(q))


def _concentration(value: Any) -> Gamma | float:
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise InputError(f"concentration is {value!r}: give a number, or a shape and a rate")
        return Gamma(*(number("concentration", part, above=True) for part in value))
    return number("concentration", value, above=True)


def stick_breaking(V: np.ndarray) -> np.ndarray:
    """Probabilities of K clusters from the K - 1 shares that are broken off a stick, one after the other.

    pi_k = V_k (1 - V_1) ... (1 - V_{k-1}); the last cluster takes what is left.

    Args:
        V: `[K - 1]`, in 0 to 1.
    """
    left = np.concatenate([[1.0], np.cumprod(1.0 - V)])
    return np.append(V, 1.0) * left


# ------------------------------------------------------------------ Dirichlet process


@dataclass(frozen=True)
class _Clusters:
    """The variational distribution: what it says of tasks, clusters, features, sticks and the concentration.

    ``value``: the lower bound.
    """

    phi: np.ndarray
    mean: np.ndarray
    second: np.ndarray
    precision: Gamma
    sticks: np.ndarray
    concentration: Gamma | float
    params: Any
    bound: Bound
    value: float = -np.inf

    def fits(self, process: _Process) -> bool:
        """Whether it is one of these."""
        d, T = process.likelihood.shape
        return self.phi.shape == (T, process.K) and self.mean.shape == (process.K, d)


@dataclass(frozen=True)
class _Process:
    """Coordinate ascent of the lower bound."""

    likelihood: Likelihood
    concentration: Gamma | float
    K: int

    def start(self, W: np.ndarray, labels: np.ndarray) -> _Clusters:
        """Tasks in the clusters of these labels, with the mean of their weights `W`."""
        d, _ = self.likelihood.shape
        phi = np.eye(self.K)[labels]
        mean = phi.T @ W[:d].T / np.maximum(phi.sum(0), 1.0)[:, None]
        params = self._fitted(None, phi, mean, mean[:, :, None] * mean[:, None, :])
        precision = Gamma(np.array(1.0), np.mean(W[:d] ** 2, 1) + 1e-12 * np.mean(W[:d] ** 2) + 1e-12)
        return _Clusters(
            phi, mean, np.zeros((self.K, d, d)), precision, np.ones((2, self.K - 1)), self.concentration,
            params, self.likelihood.bound(params),
        )  # fmt: skip

    def again(self, q: _Clusters) -> _Clusters:
        """Where another problem's fit ended."""
        alpha = self.concentration if isinstance(q.concentration, float) else q.concentration
        alpha = self.concentration if isinstance(self.concentration, float) else alpha
        params = self._fitted(None, q.phi, q.mean, q.second)
        bound = self.likelihood.bound(params)
        return replace(q, concentration=alpha, params=params, bound=bound, value=-np.inf)

    def step(self, q: _Clusters) -> _Clusters:
        """Every factor once, each the best given the others."""
        P = np.tensordot(q.phi.T, q.bound.A, 1)
        P[:, range(P.shape[1]), range(P.shape[1])] += q.precision.mean
        covariance = np.linalg.inv(P)
        mean = np.matmul(covariance, (q.phi.T @ q.bound.h.T)[:, :, None])[:, :, 0]
        second = covariance + mean[:, :, None] * mean[:, None, :]
        squares = np.diagonal(second, axis1=1, axis2=2)
        precision = Gamma(VAGUE + 0.5 * self.K, VAGUE + 0.5 * squares.sum(0))
        entropy = -0.5 * np.linalg.slogdet(P)[1].sum() + 0.5 * mean.size
        weights = 0.5 * self.K * np.sum(precision.log) - 0.5 * np.sum(squares * precision.mean) + entropy

        sizes = q.phi.sum(0)
        alpha = q.concentration.mean if isinstance(q.concentration, Gamma) else q.concentration
        sticks = np.stack([1.0 + sizes[:-1], alpha + np.cumsum(sizes[::-1])[::-1][1:]])
        log_left = digamma(sticks[1]) - digamma(sticks.sum(0))
        concentration = self.concentration
        if isinstance(concentration, Gamma):
            concentration = Gamma(concentration.shape + self.K - 1, concentration.rate - log_left.sum())

        log_prior = _log_probabilities(sticks)
        phi = softmax(log_prior + self._fit(q.bound, mean, second), axis=1)
        params = self._fitted(q.params, phi, mean, second)
        bound = self.likelihood.bound(params)
        value = (
            float(np.sum(phi * (log_prior + self._fit(bound, mean, second)) - xlogy(phi, phi)) + weights)
            - precision.divergence(Gamma(VAGUE, VAGUE))
            + self._process(sticks, concentration)
            - self.likelihood.divergence(params)
        )
        return _Clusters(phi, mean, second, precision, sticks, concentration, params, bound, value)

    def weights(self, q: _Clusters) -> np.ndarray:
        """Posterior means of the weights and intercepts, `[d + free, T]`."""
        return np.vstack([q.mean.T @ q.phi.T, self.likelihood.intercepts(q.params)])

    def found(self, q: _Clusters) -> dict[str, Any]:
        """What is found."""
        alpha = q.concentration.mean if isinstance(q.concentration, Gamma) else q.concentration
        return {
            **grouped(q.phi),
            "cluster_weights_": stick_breaking(q.sticks[0] / q.sticks.sum(0)),
            "concentration_": float(alpha),
            "precision_": q.precision.mean,
            **self.likelihood.found(q.params),
        }

    def _fit(self, bound: Bound, mean: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Expected log probability of the targets of each task with the weights of each cluster, `[T, K]`."""
        return bound.c[:, None] + bound.h.T @ mean.T - 0.5 * _traces(bound.A, second)

    def _fitted(self, params: Any, phi: np.ndarray, mean: np.ndarray, second: np.ndarray) -> Any:
        return self.likelihood.update(params, (phi @ mean).T, np.tensordot(phi, second, 1))

    def _process(self, sticks: np.ndarray, concentration: Gamma | float) -> float:
        """Minus the divergence of sticks and concentration from their priors."""
        a, b = sticks
        log_left = digamma(b) - digamma(a + b)
        log_taken = digamma(a) - digamma(a + b)
        entropy = np.sum(betaln(a, b) - (a - 1.0) * log_taken - (b - 1.0) * log_left)
        if not isinstance(concentration, Gamma):
            return float(np.sum(np.log(concentration) + (concentration - 1.0) * log_left) + entropy)
        assert isinstance(self.concentration, Gamma)
        prior = np.sum(concentration.log + (concentration.mean - 1.0) * log_left)
        return float(prior + entropy) - concentration.divergence(self.concentration)


def _log_probabilities(sticks: np.ndarray) -> np.ndarray:
    """E log pi `[K]` for Beta sticks `[2, K - 1]`."""
    whole = digamma(sticks.sum(0))
    taken, left = digamma(sticks[0]) - whole, digamma(sticks[1]) - whole
    return np.append(taken, 0.0) + np.concatenate([[0.0], np.cumsum(left)])


def _traces(A: np.ndarray, M: np.ndarray) -> np.ndarray:
    """tr(A_t M_k), `[T, K]`."""
    return A.reshape(len(A), -1) @ M.reshape(len(M), -1).T
