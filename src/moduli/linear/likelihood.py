"""Samples of tasks as quadratic functions of the tasks' weights, for methods that integrate weights out.

They are exact for Gaussian noise; for the logistic loss they are the lower bound of Jaakkola & Jordan (2000).
Every sample counts once, however the problem weighs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import digamma, expit, gammaln, log_expit

from moduli.linear.losses import Logistic
from moduli.linear.problem import Problem, SampleProblem, moments


@dataclass(frozen=True)
class Gamma:
    """Gamma distributions with density proportional to x^(shape - 1) exp(-rate x)."""

    shape: Any
    rate: Any

    @property
    def mean(self) -> Any:
        """E x."""
        return self.shape / self.rate

    @property
    def log(self) -> Any:
        """E log x."""
        return digamma(self.shape) - np.log(self.rate)

    def divergence(self, prior: Gamma) -> float:
        """Kullback-Leibler divergence from the prior, summed."""
        a, b = self.shape, self.rate
        return float(
            np.sum(
                (a - prior.shape) * digamma(a)
                - gammaln(a)
                + gammaln(prior.shape)
                + prior.shape * (np.log(b) - np.log(prior.rate))
                + self.mean * (prior.rate - b)
            )
        )


@dataclass(frozen=True)
class Bound:
    """Expected log probability of the targets of task t given w: c_t + h_t . w - w^T A_t w / 2, or below.

    ``A`` `[T, d, d]`, ``h`` `[d, T]`, ``c`` `[T]`.
    """

    A: np.ndarray
    h: np.ndarray
    c: np.ndarray


class Likelihood(Protocol):
    """Parameters of the samples' distribution, or of its bound, are tuples: they are kept in a state."""

    samples: float
    shape: tuple[int, int]

    def bound(self, params: Any) -> Bound:
        """At these parameters."""
        ...

    def update(self, params: Any, first: np.ndarray, second: np.ndarray) -> Any:
        """The best parameters for E w_t `[d, T]` and E w_t w_t^T `[T, d, d]`; from None the first ones."""
        ...

    def divergence(self, params: Any) -> float:
        """Of the parameters from their prior."""
        ...

    def intercepts(self, params: Any) -> np.ndarray:
        """`[free, T]`."""
        ...

    def found(self, params: Any) -> dict[str, Any]:
        """Fitted attributes."""
        ...


def likelihood_of(problem: Problem, prior: Gamma | None) -> Likelihood:
    """That of a problem: two classes, or Gaussian noise, whose precision has a prior or is a number."""
    if isinstance(problem, SampleProblem) and isinstance(problem.loss, Logistic):
        return _Logistic(problem)
    return _Normal(problem, prior)


class _Normal:
    """Gaussian noise with precision tau, of which the parameters are the Gamma distribution.

    Without a prior, tau is a number: a Gamma distribution of hardly any width.
    """

    def __init__(self, problem: Problem, prior: Gamma | None):
        quadratic, self.prior = moments(problem), prior
        totals = quadratic.totals
        self.shape, self.samples = quadratic.C.shape, float(totals.sizes.sum())
        self.sizes, self.squares = totals.sizes, totals.squares
        G = np.broadcast_to(quadratic.G, (quadratic.T, *quadratic.G.shape[-2:]))
        self.G, self.C = G / totals.weight[:, None, None], quadratic.C / totals.weight

    def bound(self, params: Gamma) -> Bound:
        tau = params.mean
        log = params.log if self.prior is not None else np.log(tau)
        c = 0.5 * self.sizes * (log - np.log(2 * np.pi)) - 0.5 * tau * self.squares
        return Bound(tau * self.G, tau * self.C, c)

    def update(self, params: Gamma | None, first: np.ndarray, second: np.ndarray) -> Gamma:
        residual = self.squares.sum() - 2 * np.vdot(self.C, first) + np.vdot(self.G, second)
        residual = max(float(residual), 1e-10 * float(self.squares.sum()), 1e-300)
        prior = self.prior or Gamma(0.0, 0.0)
        return Gamma(prior.shape + 0.5 * self.samples, prior.rate + 0.5 * residual)

    def divergence(self, params: Gamma) -> float:
        return 0.0 if self.prior is None else params.divergence(self.prior)

    def intercepts(self, params: Gamma) -> np.ndarray:
        return np.zeros((0, self.shape[1]))

    def found(self, params: Gamma) -> dict[str, Any]:
        return {"noise_precision_": float(params.mean)}


class _Logistic:
    """The bound log s(y f) >= log s(xi) + (y f - xi)/2 - curve(xi) (f² - xi²)/2, with f = x . w_t + b_t.

    Parameters are xi of every sample and b `[free, T]`.
    """

    def __init__(self, problem: SampleProblem):
        self.problem, self.shape = problem, (problem.d, problem.T)
        self.counts = (problem.weight > 0).astype(float)
        self.samples = float(self.counts.sum())
        self.linear = problem.design.adjoint(0.5 * self.counts * problem.y)

    def bound(self, params: tuple[np.ndarray, np.ndarray]) -> Bound:
        (xi, b), d, T = params, self.problem.d, self.problem.T
        curve = _curve(xi)
        A = self.problem.design.gram(self.counts * curve)
        A = np.broadcast_to(A, (T, *A.shape[-2:]))
        c = self._per_task(log_expit(xi) - 0.5 * xi + 0.5 * curve * xi**2)
        if not self.problem.free:
            return Bound(A, self.linear, c)
        h = self.linear[:d] - A[:, :d, d].T * b
        return Bound(A[:, :d, :d], h, c + (self.linear[d] * b - 0.5 * A[:, d, d] * b**2)[0])

    def update(self, params: Any, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        design, free = self.problem.design, self.problem.free
        xi, b = params or (np.zeros(len(self.counts)), np.zeros((free, self.problem.T)))
        if free:
            curve = _curve(xi)
            alone = design.dot(np.vstack([first, 0.0 * b]))
            b = self._per_task(0.5 * self.problem.y - curve * alone)[None] / self._per_task(curve)
            cross = (first * b).T[:, :, None]
            second = np.block([[second, cross], [cross.transpose(0, 2, 1), (b**2).T[:, :, None]]])
        return np.sqrt(np.maximum(design.form(second), 0.0)), b

    def divergence(self, params: Any) -> float:
        return 0.0

    def intercepts(self, params: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return params[1]

    def found(self, params: Any) -> dict[str, Any]:
        return {}

    def _per_task(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.problem.design.task, self.counts * values, self.problem.T)


def _curve(xi: np.ndarray) -> np.ndarray:
    """tanh(xi/2) / (2 xi), and 1/4 at 0."""
    return np.where(xi < 1e-4, 0.25, (expit(xi) - 0.5) / np.maximum(xi, 1e-4))


def integrated(bound: Bound, m: np.ndarray, S: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The log of the integral of exp(c_t + h_t . w - w^T A_t w / 2) N(w; m_c, diag S_c) over w.

    Args:
        bound: c, h and A of T tasks.
        m: means of C clusters, `[C, d]`.
        S: variances, `[C, d]`.

    Returns:
        `[T, C]`; and the mean `[T, C, d]` and covariance `[T, C, d, d]` of w under the normalised integrand.
    """
    # in the coordinates (w - m) / sqrt(S), where the precision is at least the identity
    root = np.sqrt(S)
    P = bound.A[:, None] * root[:, :, None] * root[:, None, :] + np.eye(S.shape[1])
    Am = np.einsum("tde,ce->tcd", bound.A, m)
    slope = (bound.h.T[:, None] - Am) * root
    inverse = np.linalg.inv(P)
    shift = np.matmul(inverse, slope[..., None])[..., 0]
    at_mean = bound.c[:, None] + bound.h.T @ m.T - 0.5 * np.einsum("tcd,cd->tc", Am, m)
    log = at_mean + 0.5 * (slope * shift).sum(-1) - 0.5 * np.linalg.slogdet(P)[1]
    return log, m + root * shift, inverse * root[:, :, None] * root[:, None, :]
