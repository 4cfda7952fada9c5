"""A mixture of Gaussians of tasks: weights of tasks of a cluster are draws from one Gaussian."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp, softmax

from moduli.linear.likelihood import Likelihood, integrated, likelihood_of
from moduli.linear.method import Method, Solution, Stop, count, number, one_of
from moduli.linear.problem import Problem
from moduli.linear.solvers.ascent import alone, ascend, grouped, ward


class MixtureOfTasks(Method):
    """Tasks in clusters that are alike, not the same: a mixture of Gaussians as the prior of their weights.

        w_t ~ sum_c q_c N(m_c, S_c),   S_c diagonal

    The weights are integrated out, and q, m, S and the noise maximise the probability of the targets, by
    expectation maximisation. Weights of a task are their posterior mean. With one cluster this is a ridge
    towards the tasks' mean, whose strength is learned. ``objective_`` is minus the log probability (with the
    logistic loss minus its lower bound); it does not increase.

    Noise and intercepts are as of `TaskClustering`, but the noise has a point estimate. EM begins with a Ward
    tree of the tasks' ridge solutions. Nothing is random. ``optimality_`` is the increase of the log
    probability in the last iteration, in nats for each sample. An iteration costs O(T C d³) on top of
    what `TaskClustering` costs.

    Source: Bakker & Heskes 2003, "task clustering", for linear models. They have full matrices S_c. For the
    logistic loss, which they do not treat, the bound of Jaakkola & Jordan takes the place of
    a Laplace approximation, with which the objective could increase.

    Fitted attributes of the estimator: ``task_groups_`` `[T]`, the likeliest clusters; ``n_clusters_``, how
    many those are; ``responsibilities_`` `[T, C]`; ``relationship_`` `[T, T]`, probabilities that two tasks
    share a cluster; ``cluster_weights_`` `[C]`; ``cluster_means_`` and ``cluster_variances_`` `[d, C]`; with
    the squared loss ``noise_precision_``.

    Args:
        n_clusters: C; at most T are used.
        covariance: "diagonal", a variance for each feature, or "spherical", one for all.
        floor: least variance, relative to the mean square of the ridge solutions' weights.
    """

    def __init__(self, n_clusters: int = 3, covariance: str = "diagonal", floor: float = 1e-6):
        self.n_clusters = n_clusters
        self.covariance = covariance
        self.floor = floor

    def solve(
        self, problem: Problem, names: np.ndarray, stop: Stop, start: Solution | None = None
    ) -> Solution:
        """By expectation maximisation."""
        C = min(problem.T, count("n_clusters", self.n_clusters))
        spherical = one_of("covariance", self.covariance, ("diagonal", "spherical")) == "spherical"
        W, metric = alone(problem)
        squares = np.square(W[: problem.d]).mean(1)
        floor = number("floor", self.floor, above=True) * (squares if not spherical else squares.mean())
        mixture = _Mixture(likelihood_of(problem, None), floor + 1e-12 * squares.max() + 1e-300, spherical, C)
        before = None if start is None else start.state
        if isinstance(before, _Gaussians) and before.fits(mixture):
            q = mixture.again(before)
        else:
            q = mixture.start(W, ward(W[: problem.d], metric, C))
        q, solution = ascend(mixture.step, [q], stop, mixture.likelihood.samples)
        return replace(solution, W=mixture.weights(q)).with_found(**mixture.found(q))


# ------------------------------------------------------------------ mixture of Gaussians


@dataclass(frozen=True)
class _Gaussians:
    """Parameters of the mixture, and the posterior given them.

    ``q`` `[C]`, ``m`` and ``S`` `[C, d]`, ``params`` of the samples. ``r`` `[T, C]`, ``mean`` `[T, C, d]` and
    ``covariance`` `[T, C, d, d]` of the weights of a task in a cluster. ``value``: the log probability.
    """

    q: np.ndarray
    m: np.ndarray
    S: np.ndarray
    params: Any
    r: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    value: float

    def fits(self, mixture: _Mixture) -> bool:
        """Whether it is one of these."""
        d, T = mixture.likelihood.shape
        return self.mean.shape == (T, mixture.C, d)


@dataclass(frozen=True)
class _Mixture:
    """Expectation maximisation."""

    likelihood: Likelihood
    floor: np.ndarray
    spherical: bool
    C: int

    def start(self, W: np.ndarray, labels: np.ndarray) -> _Gaussians:
        """Clusters of these labels, with the mean of their weights `W` and the same variances."""
        d, T = self.likelihood.shape
        W = W[:d].T
        r = np.eye(self.C)[labels]
        sizes = r.sum(0)
        m = r.T @ W / np.maximum(sizes, 1.0)[:, None]
        within = np.square(W - m[labels]).mean(0)
        S = np.maximum(within, 0.01 * np.square(W).mean(0) + 1e4 * self.floor)
        S = np.tile(np.full(d, S.mean()) if self.spherical else S, (self.C, 1))
        params = self.likelihood.update(None, W.T, W[:, :, None] * W[:, None, :])
        return self._expect((sizes + 1.0) / (T + self.C), m, S, params)

    def again(self, state: _Gaussians) -> _Gaussians:
        """Where another problem's fit ended."""
        params = self.likelihood.update(None, *_moments(state))
        return self._expect(state.q, state.m, np.maximum(state.S, self.floor), params)

    def step(self, state: _Gaussians) -> _Gaussians:
        """Maximises over the parameters, then finds the posterior."""
        sizes = state.r.sum(0)
        used = sizes > 1e-10  # others stay as they are
        share = (state.r / np.where(used, sizes, 1.0)).T
        m = np.where(used[:, None], np.einsum("ct,tcd->cd", share, state.mean), state.m)
        variances = np.diagonal(state.covariance, axis1=2, axis2=3)
        S = np.einsum("ct,tcd->cd", share, np.square(state.mean - m) + variances)
        if self.spherical:
            S = np.repeat(S.mean(1, keepdims=True), S.shape[1], 1)
        S = np.where(used[:, None], np.maximum(S, self.floor), state.S)
        params = self.likelihood.update(state.params, *_moments(state))
        return self._expect(sizes / sizes.sum(), m, S, params)

    def _expect(self, q: np.ndarray, m: np.ndarray, S: np.ndarray, params: Any) -> _Gaussians:
        log, mean, covariance = integrated(self.likelihood.bound(params), m, S)
        with np.errstate(divide="ignore"):
            log = log + np.log(q)
        value = float(np.sum(logsumexp(log, axis=1)))
        return _Gaussians(q, m, S, params, softmax(log, axis=1), mean, covariance, value)

    def weights(self, state: _Gaussians) -> np.ndarray:
        """Posterior means of the weights and intercepts, `[d + free, T]`."""
        return np.vstack([_moments(state)[0], self.likelihood.intercepts(state.params)])

    def found(self, state: _Gaussians) -> dict[str, Any]:
        """What is found."""
        return {
            **grouped(state.r),
            "cluster_weights_": state.q,
            "cluster_means_": state.m.T,
            "cluster_variances_": state.S.T,
            **self.likelihood.found(state.params),
        }


def _moments(state: _Gaussians) -> tuple[np.ndarray, np.ndarray]:
    """E w_t `[d, T]` and E w_t w_t^T `[T, d, d]`."""
    first = np.einsum("tc,tcd->dt", state.r, state.mean)
    outer = state.mean[..., :, None] * state.mean[..., None, :]
    return first, np.einsum("tc,tcde->tde", state.r, state.covariance + outer)
