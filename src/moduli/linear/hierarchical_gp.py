"""Gaussian processes of several tasks with a common mean and covariance that are learned."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import Kernel

from moduli.linear.gp_base import GaussianProcess, check_size, real
from moduli.linear.method import count, number

EIGENVALUES = 1e-10  # smaller ones, relative to the largest, are rounding errors of the kernel matrix
LEAST_NOISE = 1e-10  # relative to the variance of y


class HierarchicalGP(GaussianProcess):
    """Gaussian process regression of several tasks whose functions are draws from one learned process.

        f_l ~ N(mu, C) for every task l,     y = f_l(x) + noise of variance sigma²

    Mean and covariance of the functions have a normal-inverse-Wishart prior around mean 0 and the base
    kernel; their most probable values, and sigma², are found by expectation maximisation:

        log p(y | mu, C, sigma²) - 0.5 (tau log|C| + tr(C⁻¹ (tau K + pi mu muᵀ)))

    grows with every iteration, where K is the base kernel on the inputs of all tasks. See Yu, Tresp &
    Schwaighofer, "Learning Gaussian Processes from Multiple Tasks" (2005). Unlike in `MultiTaskGP` all tasks
    are alike a priori: what is learned is how functions look, even where it is not stationary, from many
    tasks. Hyperparameters of the kernel are not learned: search over them.

    Samples come in the forms of `MultiTaskRegressor`. Let M be the number of different inputs, r the rank of
    K, and n the samples of the largest of T tasks: M³ once, then T n³ + T n² r + N r² for each iteration.

    What differs from the paper: it writes f = K a, and the same steps are made for z with f = V s^½ z, where
    K = V diag(s) Vᵀ. Nothing is then inverted that may be singular, so no jitter is added to K; eigenvalues
    below 1e-10 of the largest are left out. At a new input the paper's basis would lose the part of the
    prior that K does not explain (far away the variance would be 0); here it is added, which is what one gets
    if the input is among those of the union. So with tau and pi to infinity this is scikit-learn's
    `GaussianProcessRegressor` for each task. Classification is not offered.

    Args:
        kernel: the base kernel, of `sklearn.gaussian_process.kernels` without a `WhiteKernel`; None is
            `RBF(1.0)`.
        pi: weight of the prior's mean 0, in tasks.
        tau: weight of the base kernel, in tasks. Raise it where tasks are few or have few inputs in
            common: covariances between M inputs are a lot to learn. Low-rank kernels need it less.
        tol: stops when the objective per sample grows by no more.
        max_iter: most iterations; a `ConvergenceWarning` tells when they did not suffice.
        normalize_y: whether y is brought to mean 0 and variance 1 first, all tasks together.
        max_samples: most different inputs; beyond them `fit` refuses. 5000 take 0.2 GB for each matrix.
        task_column: the column of `X` that holds the tasks, as in `MultiTaskRegressor`.

    Attributes:
        kernel_: the base kernel.
        noise_: sigma², for y as normalised.
        inputs_: the different inputs of all tasks, `[M, d]`.
        mean_: mu at `inputs_`, `[M]`, for y as normalised.
        covariance_: C at `inputs_`, `[M, M]`, for y as normalised.
        objective_: the objective above, up to a constant: at the start, and after every iteration.
        n_iter_: iterations.
        tasks_: labels of the tasks, `[T]`.
        offset_: mean that was taken off y, `[T]`, all the same.
        scale_: standard deviation by which y was then divided, `[T]`, all the same.
        n_features_in_: features of `X` as it was given, the column of tasks included.
        feature_names_in_: their names, of a data frame.
    """

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        pi: float = 1.0,
        tau: float = 1.0,
        tol: float = 1e-4,
        max_iter: int = 500,
        normalize_y: bool = True,
        max_samples: int = 5000,
        task_column: Any = None,
    ):
        self.kernel = kernel
        self.pi = pi
        self.tau = tau
        self.tol = tol
        self.max_iter = max_iter
        self.normalize_y = normalize_y
        self.max_samples = max_samples
        self.task_column = task_column

    def fit(self, X: Any, y: Any, task: Any = None) -> HierarchicalGP:
        """Learns the common process, and conditions every task's function on its samples.

        Args:
            X: inputs, in one of the forms above.
            y: targets, in the same form.
            task: the label of each row's task, or the name or position of the column of `X` that holds it.

        Raises:
            InputError: if samples or hyperparameters are impossible, or there are too many inputs.
        """
        number("pi", self.pi, above=True)
        number("tau", self.tau, above=True)
        number("tol", self.tol)
        count("max_iter", self.max_iter)
        self.kernel_ = self._input_kernel()
        samples = self._samples(X, y, task, real)
        rows, values, numbers = samples.rows()
        T = len(self.tasks_)
        self.inputs_, position = np.unique(rows, axis=0, return_inverse=True)
        check_size(len(self.inputs_), self.max_samples)
        std = values.std() if self.normalize_y else 1.0
        self.offset_ = np.full(T, values.mean() if self.normalize_y else 0.0)
        self.scale_ = np.full(T, std if std > 0 else 1.0)
        basis = self._fit_basis()
        padded = _padded(basis[position], (values - self.offset_[0]) / self.scale_[0], numbers, T)
        self._maximise(padded)
        self.mean_, self.covariance_ = basis @ self._eta, basis @ self._Phi @ basis.T
        return self

    def _fit_basis(self) -> np.ndarray:
        """R `[M, r]` with R Rᵀ = K: functions are R z, and z ~ N(0, I) under the base kernel."""
        s, V = eigh(self.kernel_(self.inputs_))
        kept = s > EIGENVALUES * max(s[-1], np.finfo(float).tiny)
        self._to_basis = V[:, kept] / np.sqrt(s[kept])
        return V[:, kept] * np.sqrt(s[kept])

    def _maximise(self, samples: _Padded) -> None:
        """Expectation maximisation over eta `[r]`, Phi `[r, r]` (mean and covariance of z) and sigma²."""
        r = samples.Z.shape[2]
        variance = (samples.y**2).sum() / samples.total
        least = LEAST_NOISE * variance or LEAST_NOISE
        eta, Phi, noise = np.zeros(r), np.eye(r), max(0.1 * variance, least)
        posterior = _conditioned(samples, eta, Phi, noise)
        self.objective_ = [self._objective(posterior, eta, Phi)]
        for _ in range(self.max_iter):
            eta, Phi, noise = _maximised(samples, posterior, Phi, self.pi, self.tau, least)
            posterior = _conditioned(samples, eta, Phi, noise)
            self.objective_.append(self._objective(posterior, eta, Phi))
            if self.objective_[-1] - self.objective_[-2] <= self.tol * samples.total:
                break
        else:
            warnings.warn(
                f"the objective still grows after {self.max_iter} iterations: raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.n_iter_ = len(self.objective_) - 1
        self._eta, self._Phi, self.noise_ = eta, Phi, float(noise)
        self._zeta, self._B = posterior.zeta, posterior.B

    def _objective(self, posterior: _Conditioned, eta: np.ndarray, Phi: np.ndarray) -> float:
        return posterior.log_likelihood + _log_prior(eta, Phi, self.pi, self.tau)

    # ------------------------------------------------------------ predictions

    def _means(self, X: np.ndarray) -> np.ndarray:
        return self._in_basis(X) @ self._zeta.T

    def _variances(self, X: np.ndarray, task: np.ndarray) -> np.ndarray:
        R = self._in_basis(X)
        variances = ((R @ self._Phi) * R).sum(axis=1) + self.kernel_.diag(X) - (R**2).sum(axis=1)
        for t in np.unique(task):
            rows = task == t
            variances[rows] -= ((R[rows] @ self._B[t].T) ** 2).sum(axis=1)
        return variances

    def _covariances(self, X: np.ndarray, task: np.ndarray) -> np.ndarray:
        """Given mu and C, functions of different tasks are independent."""
        R = self._in_basis(X)
        prior = R @ self._Phi @ R.T + self.kernel_(X) - R @ R.T
        covariances = np.where(task[:, None] == task, prior, 0.0)
        for t in np.unique(task):
            rows = np.flatnonzero(task == t)
            half = R[rows] @ self._B[t].T
            covariances[np.ix_(rows, rows)] -= half @ half.T
        return covariances

    def _in_basis(self, X: np.ndarray) -> np.ndarray:
        return self.kernel_(X, self.inputs_) @ self._to_basis


# ------------------------------------------------------------------ expectation maximisation


@dataclass(frozen=True)
class _Padded:
    """Samples of T tasks, of which the largest has n.

    ``Z``: `[T, n, r]`, the basis at each sample; rows of 0 fill up. ``y``: `[T, n]`, with 0 there.
    ``total``: how many are samples.
    """

    Z: np.ndarray
    y: np.ndarray
    total: int


@dataclass(frozen=True)
class _Conditioned:
    """z of every task given its samples: mean zeta and covariance Phi - BᵀB.

    ``zeta``: `[T, r]`. ``B``: `[T, n, r]`. ``log_likelihood``: of all y. ``squares``: the expected sum of
    squared noise.
    """

    zeta: np.ndarray
    B: np.ndarray
    log_likelihood: float
    squares: float


def _padded(rows: np.ndarray, y: np.ndarray, task: np.ndarray, T: int) -> _Padded:
    order = np.argsort(task, kind="stable")
    sizes = np.bincount(task, minlength=T)
    position = np.arange(len(y)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    Z, values = np.zeros((T, sizes.max(), rows.shape[1])), np.zeros((T, sizes.max()))
    Z[task[order], position], values[task[order], position] = rows[order], y[order]
    return _Padded(Z, values, len(y))


def _conditioned(samples: _Padded, eta: np.ndarray, Phi: np.ndarray, noise: float) -> _Conditioned:
    """The E-step. With A = Z Phi Zᵀ + noise I, noise that is left is noise A⁻¹(y - Z eta) on average."""
    Z, T, n = samples.Z, *samples.y.shape
    cross = Z @ Phi
    A = cross @ Z.swapaxes(1, 2)
    A[:, np.arange(n), np.arange(n)] += noise
    L = np.linalg.cholesky(A)
    inverse = np.linalg.inv(L)
    white = (inverse @ (samples.y - Z @ eta)[:, :, None])[:, :, 0]
    B = inverse @ cross
    filled = T * n - samples.total
    log_determinant = 2 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum() - filled * np.log(noise)
    residual = noise * np.einsum("tji,tj->ti", inverse, white)
    variance_left = noise * (samples.total - noise * ((inverse**2).sum() - filled / noise))
    return _Conditioned(
        zeta=eta + np.einsum("tnr,tn->tr", B, white),
        B=B,
        log_likelihood=-0.5 * float((white**2).sum() + log_determinant + samples.total * np.log(2 * np.pi)),
        squares=float((residual**2).sum() + variance_left),
    )


def _maximised(
    samples: _Padded, posterior: _Conditioned, Phi: np.ndarray, pi: float, tau: float, least: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """The M-step: eta, Phi and sigma² that maximise the expectation of the objective."""
    T, r = posterior.zeta.shape
    eta = posterior.zeta.sum(axis=0) / (pi + T)
    apart = posterior.zeta - eta
    B = posterior.B.reshape(-1, r)
    scatter = T * Phi - B.T @ B + apart.T @ apart
    Phi = (pi * np.outer(eta, eta) + tau * np.eye(r) + scatter) / (tau + T)
    return eta, (Phi + Phi.T) / 2, max(posterior.squares / samples.total, least)


def _log_prior(eta: np.ndarray, Phi: np.ndarray, pi: float, tau: float) -> float:
    """-0.5 (tau log|Phi| + tr(Phi⁻¹ (tau I + pi eta etaᵀ)))."""
    s, U = eigh(Phi)
    return -0.5 * float(tau * np.log(s).sum() + (tau / s).sum() + pi * ((U.T @ eta) ** 2 / s).sum())
