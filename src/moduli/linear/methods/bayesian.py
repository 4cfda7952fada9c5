"""Bayesian clustering of tasks: tasks of a cluster have the same weights, or weights from one Gaussian.

Both methods maximise a lower bound of the log probability of the targets, in which every sample counts once,
however the problem weighs it. Of the samples they see, for each task, a quadratic function of its weights:
exact for Gaussian noise, and for the logistic loss the bound of Jaakkola & Jordan (2000).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.special import betaln, digamma, logsumexp, softmax, xlogy

from moduli.errors import InputError
from moduli.linear.groups import numbered
from moduli.linear.likelihood import Bound, Gamma, Likelihood, integrated, likelihood_of
from moduli.linear.method import Method, Solution, Stop, count, number, one_of
from moduli.linear.problem import Problem
from moduli.linear.solvers.newton import ridge

VAGUE = 1e-6
"""Shape and rate of the Gamma priors of precisions, as of scikit-learn's `BayesianRidge`."""

TRIAL = 30
"""Iterations after which the best of several starts goes on alone."""


def stick_breaking(V: np.ndarray) -> np.ndarray:
    """Probabilities of K clusters from the K - 1 shares that are broken off a stick, one after the other.

    pi_k = V_k (1 - V_1) ... (1 - V_{k-1}); the last cluster takes what is left.

    Args:
        V: `[K - 1]`, in 0 to 1.
    """
    left = np.concatenate([[1.0], np.cumprod(1.0 - V)])
    return np.append(V, 1.0) * left


# ------------------------------------------------------------------ methods


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
            W, metric = _alone(problem)
            sizes = np.unique(np.rint(np.geomspace(1, K, n_init)).astype(int)) if n_init > 1 else [K]
            starts = [process.start(W, _ward(W[: problem.d], metric, size)) for size in sizes]
        q, solution = _ascend(process.step, starts, stop, process.likelihood.samples)
        return replace(solution, W=process.weights(q)).with_found(**process.found(q))


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
        W, metric = _alone(problem)
        squares = np.square(W[: problem.d]).mean(1)
        floor = number("floor", self.floor, above=True) * (squares if not spherical else squares.mean())
        mixture = _Mixture(likelihood_of(problem, None), floor + 1e-12 * squares.max() + 1e-300, spherical, C)
        before = None if start is None else start.state
        if isinstance(before, _Gaussians) and before.fits(mixture):
            q = mixture.again(before)
        else:
            q = mixture.start(W, _ward(W[: problem.d], metric, C))
        q, solution = _ascend(mixture.step, [q], stop, mixture.likelihood.samples)
        return replace(solution, W=mixture.weights(q)).with_found(**mixture.found(q))


def _concentration(value: Any) -> Gamma | float:
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise InputError(f"concentration is {value!r}: give a number, or a shape and a rate")
        return Gamma(*(number("concentration", part, above=True) for part in value))
    return number("concentration", value, above=True)


# ------------------------------------------------------------------ starts and steps


def _alone(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Ridge solutions of the tasks, W `[d + free, T]`, and R `[d, d]` with R^T R the mean curvature at 0."""
    zero = np.zeros((problem.d + problem.free, problem.T))
    H = problem.hessian(problem.image(zero))[..., : problem.d, : problem.d]
    H = H if H.ndim == 2 else H.mean(0)
    scale = np.diag(H) + 1e-6 * np.trace(H) / len(H) + 1e-300
    R = np.linalg.cholesky(H + np.diag(1e-6 * scale)).T
    return ridge(problem, np.diag(0.1 * scale), Stop()).W, R


def _ward(W: np.ndarray, R: np.ndarray, clusters: int) -> np.ndarray:
    """Numbers of the tasks' clusters, larger ones first; tasks are near if their predictions are."""
    if W.shape[1] == 1:
        return np.zeros(1, int)
    labels = fcluster(linkage((R @ W).T, "ward"), clusters, "maxclust") - 1
    sizes = np.bincount(labels)
    return np.argsort(np.argsort(-sizes, kind="stable"))[labels]


class _State(Protocol):
    @property
    def value(self) -> float: ...


Q = TypeVar("Q", bound=_State)


def _ascend(step: Callable[[Q], Q], starts: list[Q], stop: Stop, samples: float) -> tuple[Q, Solution]:
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


def _grouped(R: np.ndarray) -> dict[str, Any]:
    """What is found of responsibilities `[T, K]`."""
    groups, relationship = numbered(R.argmax(1)), R @ R.T
    np.fill_diagonal(relationship, 1.0)
    return {
        "task_groups_": groups,
        "n_clusters_": int(groups.max()) + 1,
        "responsibilities_": R,
        "relationship_": relationship,
    }


def _traces(A: np.ndarray, M: np.ndarray) -> np.ndarray:
    """tr(A_t M_k), `[T, K]`."""
    return A.reshape(len(A), -1) @ M.reshape(len(M), -1).T


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
            **_grouped(q.phi),
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
            **_grouped(state.r),
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
