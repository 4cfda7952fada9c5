"""Multitask Gaussian process regression that learns how tasks are related."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from moduli.errors import InputError
from moduli.linear.coregionalisation import (
    Crossed,
    FreeCholesky,
    Given,
    LowRank,
    Posterior,
    Stacked,
    TaskCovariance,
    without_scale,
)
from moduli.linear.gp_base import GaussianProcess, check_size, real
from moduli.linear.method import count, number
from moduli.linear.samples import Samples

NOISE_BOUNDS = (1e-5, 1e5)  # those of scikit-learn's WhiteKernel


class MultiTaskGP(GaussianProcess):
    """Gaussian process regression of several tasks that learns how they are related.

        cov(f_l(x), f_k(x')) = Kf[l, k] kx(x, x'),     y = f_l(x) + noise of variance sigma_l²

    This is the intrinsic coregionalisation model of Bonilla, Chai & Williams, "Multi-task Gaussian Process
    Prediction" (2008). Kf `[T, T]`, sigma_l² and the hyperparameters of kx maximise the log marginal
    likelihood, by L-BFGS-B with exact gradients; a local maximum, so `n_restarts` may help.

    Samples come in the forms of `MultiTaskRegressor`: rows with a task each, an array per task, one `X` for
    all tasks (every task needs a value in every row), or a single task. A step costs N³ time and several
    N x N matrices of memory for N samples of all tasks together; where inputs are shared, n³ + T³ for n rows.
    If there is no noise and all tasks share their inputs, other tasks do not change a prediction.

    What differs from the paper: all hyperparameters follow the gradient, there is no expectation
    maximisation; and a diagonal is added to a Kf of low rank, so that no tasks are forced to be alike.
    c kx and Kf give the same model as kx and c Kf: the scale is Kf's, and a learned constant that
    multiplies the whole of `kernel` stays fixed at its value (unless `task_covariance` is given).
    Classification is not offered: its likelihood is not Gaussian, and none of this would be exact.

    Args:
        kernel: kx, a kernel of `sklearn.gaussian_process.kernels` without a `WhiteKernel`; None is
            `RBF(1.0)`, whose length scale is learned.
        rank: None for a free Kf = L Lᵀ with T (T+1) / 2 numbers; r for Kf = B Bᵀ + diagonal, B `[T, r]`.
        task_covariance: Kf if it is known, `[T, T]`, in the order of ``tasks_``; it is not learned then.
        noise: sigma_l² if known, a number or `[T]`; not learned then. Learned noise is 1e-5 at least.
        alpha: what is added to the variance of the noise so that matrices can be inverted.
        normalize_y: whether y of every task is brought to mean 0 and variance 1 first. Kf, noise and the
            likelihood speak of y as it is then. Without it, functions have mean 0; that shares offsets of
            tasks, too, which may be better for small tasks with y on one scale: centre all of y yourself.
        optimize: whether to learn. If not, Kf has correlations of 0.5, signal takes 0.9 and noise 0.1 of
            the mean of y² of each task, and kx stays as it is.
        n_restarts: more starts, from random hyperparameters; the best end is kept.
        max_iter: most iterations of each start; a `ConvergenceWarning` tells when they did not suffice.
        max_samples: most rows in a matrix; beyond them `fit` refuses. 5000 take 0.2 GB for each matrix.
        task_column: the column of `X` that holds the tasks, as in `MultiTaskRegressor`.
        random_state: seed of the restarts, and of the start of a low rank above 1.

    Attributes:
        kernel_: kx with what was learned.
        task_covariance_: Kf, `[T, T]`.
        relationship_: correlations of the tasks' functions, `[T, T]`.
        noise_: sigma_l² of each task, `[T]`, without alpha.
        theta_: all that was learned: logarithms of kx's hyperparameters, the numbers of Kf, log noise.
        log_marginal_likelihood_value_: at `theta_`.
        n_iter_: iterations of the start that was kept.
        tasks_: labels of the tasks, `[T]`.
        offset_: mean that was taken off y of each task, `[T]`.
        scale_: standard deviation by which it was then divided, `[T]`.
        n_features_in_: features of `X` as it was given, the column of tasks included.
        feature_names_in_: their names, of a data frame.
    """

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        rank: int | None = None,
        task_covariance: Any = None,
        noise: Any = None,
        alpha: float = 1e-10,
        normalize_y: bool = True,
        optimize: bool = True,
        n_restarts: int = 0,
        max_iter: int = 500,
        max_samples: int = 5000,
        task_column: Any = None,
        random_state: Any = None,
    ):
        self.kernel = kernel
        self.rank = rank
        self.task_covariance = task_covariance
        self.noise = noise
        self.alpha = alpha
        self.normalize_y = normalize_y
        self.optimize = optimize
        self.n_restarts = n_restarts
        self.max_iter = max_iter
        self.max_samples = max_samples
        self.task_column = task_column
        self.random_state = random_state

    # ------------------------------------------------------------ fitting

    def fit(self, X: Any, y: Any, task: Any = None) -> MultiTaskGP:
        """Learns the hyperparameters of all tasks together, and conditions on the samples.

        Args:
            X: inputs, in one of the forms above.
            y: targets, in the same form.
            task: the label of each row's task, or the name or position of the column of `X` that holds it.

        Raises:
            InputError: if samples or hyperparameters are impossible, there are too many samples, or their
                covariance cannot be inverted.
        """
        number("alpha", self.alpha, above=True)
        count("n_restarts", self.n_restarts, least=0)
        count("max_iter", self.max_iter)
        kernel = self._input_kernel()
        samples = self._samples(X, y, task, real)
        check_size(len(samples.X), self.max_samples)
        self.offset_, self.scale_ = _normalisation(samples, self.normalize_y)
        self._keep(samples)
        T = len(self.tasks_)
        self._coregionalisation = self._covariance_of_tasks(T)
        self._known_noise = None if self.noise is None else _known_noise(self.noise, T)
        self._kernel = kernel if self.task_covariance is not None else without_scale(kernel)
        self._learn(check_random_state(self.random_state))
        return self

    def log_marginal_likelihood(self, theta: Any = None, eval_gradient: bool = False) -> Any:
        """Log marginal likelihood of the samples, and its gradient if ``eval_gradient``.

        Args:
            theta: hyperparameters in the order of `theta_`, or None for those.
            eval_gradient: whether to give derivatives by `theta`, too; the result is a pair then.
        """
        check_is_fitted(self)
        theta = self.theta_ if theta is None else np.asarray(theta, dtype=float)
        kernel, v, noise = self._split(theta)
        Kf = self._coregionalisation.matrix(v)
        if not eval_gradient:
            return self._condition(kernel(self._X), Kf, noise).log_likelihood
        Kx, dKx = kernel(self._X, eval_gradient=True)
        posterior = self._condition(Kx, Kf, noise)
        by = posterior.gradient()
        by_theta = np.einsum("ij,ijk->k", by.Kx, dKx)
        by_noise = np.empty(0) if self._known_noise is not None else by.noise * noise
        gradient = np.concatenate([by_theta, self._coregionalisation.gradient(v, by.Kf), by_noise])
        return posterior.log_likelihood, gradient

    def _keep(self, samples: Samples) -> None:
        """Notes samples with normalised y; rows are sorted by task, which sums over tasks rely on."""
        if samples.task is None:
            self._X, self._task = samples.X, None
            self._y = (samples.y - self.offset_) / self.scale_
        else:
            order = np.argsort(samples.task, kind="stable")
            self._X, self._task = samples.X[order], samples.task[order]
            self._y = (samples.y[order] - self.offset_[self._task]) / self.scale_[self._task]

    def _covariance_of_tasks(self, T: int) -> TaskCovariance:
        if self.task_covariance is not None:
            if self.rank is not None:
                raise InputError("task_covariance and rank are both given: leave rank out")
            return Given(_known_covariance(self.task_covariance, T))
        return FreeCholesky(T) if self.rank is None else LowRank(T, count("rank", self.rank, most=T))

    def _condition(self, Kx: np.ndarray, Kf: np.ndarray, noise: np.ndarray) -> Posterior:
        if self._task is None:
            return Crossed(Kx, self._y, Kf, noise + self.alpha)
        return Stacked(Kx, self._y, self._task, Kf, noise + self.alpha)

    def _split(self, theta: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
        """The kernel, the numbers of Kf, and sigma² `[T]`."""
        split = len(self._kernel.theta)
        kernel: Any = self._kernel.clone_with_theta(theta[:split])
        if self._known_noise is not None:
            return kernel, theta[split:], self._known_noise
        T = len(self.tasks_)
        return kernel, theta[split:-T], np.exp(theta[-T:])

    def _learn(self, rng: np.random.RandomState) -> None:
        power = _mean_square(self._y, self._task)
        noise = np.empty(0) if self._known_noise is not None else np.log(np.maximum(0.1 * power, 1e-5))
        v = self._coregionalisation.start(np.sqrt(np.maximum(0.9 * power, 1e-5)), rng)
        self.theta_, self.n_iter_ = np.concatenate([self._kernel.theta, v, noise]), 0
        if self.optimize and len(self.theta_):
            best = self._maximise(self.theta_, len(v), rng)
            self.theta_, self.n_iter_ = best.x, int(best.nit)
        self.kernel_, v, self.noise_ = self._split(self.theta_)
        self.task_covariance_ = self._coregionalisation.matrix(v)
        std = np.sqrt(np.maximum(np.diag(self.task_covariance_), np.finfo(float).tiny))
        self.relationship_ = self.task_covariance_ / np.outer(std, std)
        try:
            self._posterior = self._condition(self.kernel_(self._X), self.task_covariance_, self.noise_)
        except np.linalg.LinAlgError as error:
            raise InputError(
                f"the covariance of the samples with alpha {self.alpha:g} cannot be inverted: raise alpha"
            ) from error
        self.log_marginal_likelihood_value_ = self._posterior.log_likelihood

    def _maximise(self, start: np.ndarray, numbers: int, rng: np.random.RandomState) -> OptimizeResult:
        """The best end of all starts; Kf has ``numbers`` numbers."""
        kernel_bounds = self._kernel.bounds.reshape(-1, 2)
        if self.n_restarts and not np.isfinite(kernel_bounds).all():
            raise InputError(
                "n_restarts needs finite bounds of all hyperparameters of the kernel: set them, or leave it 0"
            )
        split = len(kernel_bounds)
        free = np.tile([-np.inf, np.inf], (numbers, 1))
        noise_bounds = np.tile(np.log(NOISE_BOUNDS), (len(start) - split - numbers, 1))
        bounds = np.concatenate([kernel_bounds, free, noise_bounds])
        starts = [start]
        for _ in range(self.n_restarts):
            other = start + 0.5 * rng.standard_normal(len(start))
            other[:split] = rng.uniform(*kernel_bounds.T)
            starts.append(np.clip(other, *bounds.T))
        options = {"maxiter": self.max_iter}
        results = [minimize(self._loss, x, jac=True, bounds=bounds, options=options) for x in starts]
        best = min(results, key=lambda result: result.fun)
        if not best.success:
            warnings.warn(
                f"the likelihood was not maximised within {best.nit} iterations ({best.message}): "
                "raise max_iter, scale the features, or bound the kernel's hyperparameters",
                ConvergenceWarning,
                stacklevel=4,
            )
        return best

    def _loss(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """What the optimiser sees; where a covariance cannot be inverted it must not go."""
        try:
            value, gradient = self.log_marginal_likelihood(theta, eval_gradient=True)
        except np.linalg.LinAlgError:
            return np.inf, np.zeros_like(theta)
        return -value, -gradient

    # ------------------------------------------------------------ predictions

    def _means(self, X: np.ndarray) -> np.ndarray:
        return self.kernel_(X, self._X) @ self._posterior.dual

    def _variances(self, X: np.ndarray, task: np.ndarray) -> np.ndarray:
        prior = np.diag(self.task_covariance_)[task] * self.kernel_.diag(X)
        return prior - self._posterior.explained(self.kernel_(X, self._X), task)

    def _covariances(self, X: np.ndarray, task: np.ndarray) -> np.ndarray:
        R = self._posterior.root(self.kernel_(X, self._X), task)
        return self.task_covariance_[np.ix_(task, task)] * self.kernel_(X) - R.T @ R


# ------------------------------------------------------------------ helpers


def _mean_square(y: np.ndarray, task: np.ndarray | None) -> np.ndarray:
    if task is None:
        return (y**2).mean(axis=0)
    return np.bincount(task, y**2) / np.bincount(task)


def _normalisation(samples: Samples, normalize_y: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of y of each task, `[T]`; of constant tasks 1 in place of 0."""
    T = len(samples.names)
    if not normalize_y:
        return np.zeros(T), np.ones(T)
    _, y, task = samples.rows()
    mean = np.bincount(task, y) / samples.sizes
    std = np.sqrt(_mean_square(y - mean[task], task))
    return mean, np.where(std > 10 * np.finfo(float).eps * np.abs(mean), std, 1.0)


def _known_covariance(Kf: Any, T: int) -> np.ndarray:
    Kf = np.asarray(Kf, dtype=float)
    if Kf.shape != (T, T):
        raise InputError(f"task_covariance has shape {Kf.shape}, there are {T} tasks: give [{T}, {T}]")
    if not np.allclose(Kf, Kf.T) or not np.isfinite(Kf).all():
        raise InputError("task_covariance is not symmetric and finite: give a covariance matrix")
    least = np.linalg.eigvalsh(Kf)[0]
    if least < -1e-10 * np.abs(Kf).max() or not (np.diag(Kf) > 0).all():
        raise InputError(
            f"task_covariance has the eigenvalue {least:.3g}, the least on its diagonal is "
            f"{np.diag(Kf).min():.3g}: give a covariance matrix with positive variances"
        )
    return Kf


def _known_noise(noise: Any, T: int) -> np.ndarray:
    noise = np.asarray(noise, dtype=float)
    if noise.shape not in ((), (T,)) or not np.isfinite(noise).all() or (noise < 0).any():
        raise InputError(
            f"noise is {noise.tolist()}: give a variance of 0 or more, or one for each of {T} tasks"
        )
    return np.full(T, noise) if noise.ndim == 0 else noise
