"""What Gaussian processes of several tasks have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.gaussian_process.kernels import RBF, Kernel, WhiteKernel
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from moduli.errors import InputError
from moduli.linear.method import count
from moduli.linear.samples import Queries, TaskInputs, one_or_two_dimensional, together


class GaussianProcess(RegressorMixin, TaskInputs, BaseEstimator):
    """What Gaussian processes of several tasks do alike.

    A subclass gives moments of the T functions in the units that `offset_` and `scale_` make of y.
    """

    kernel: Kernel | None
    kernel_: Any  # a Kernel; its calls have no types in scikit-learn
    offset_: np.ndarray
    scale_: np.ndarray

    @abstractmethod
    def _means(self, X: np.ndarray) -> np.ndarray:
        """Means of all tasks, `[N, T]`."""
        ...

    @abstractmethod
    def _variances(self, X: np.ndarray, task: np.ndarray) -> np.ndarray:
        """Variances of one task for each row, `[N]`."""
        ...

    @abstractmethod
    def _covariances(self, X: np.ndarray, task: np.ndarray) -> np.ndarray:
        """Covariances between rows, each with its task, `[N, N]`."""
        ...

    def predict(self, X: Any, task: Any = None, return_std: bool = False, return_cov: bool = False) -> Any:
        """Posterior mean of the functions at `X`, and how sure it is. Noise is not part of it.

        Args:
            X: inputs.
            task: as in `fit`.
            return_std: whether to give standard deviations, too, in the form of the means.
            return_cov: whether to give the covariances of all rows, too: `[N, N]`, across tasks as well.
                Parts of a list follow one another. Shared inputs give `[T n, T n]`, task after task.

        Returns:
            Means in the form of `X`: `[N]` for rows, `[n, T]` where inputs are shared, or a list; with
            standard deviations or covariances a pair.

        Raises:
            InputError: if a task is unknown or not given, or if both kinds of spread are asked for.
        """
        check_is_fitted(self)
        if return_std and return_cov:
            raise InputError("return_std and return_cov are both True: ask for one of them")
        queries = self._queries(X, task)
        means = self._means(queries.X) * self.scale_ + self.offset_
        mean = queries.arrange(_own(means, queries))
        if return_std:
            return mean, queries.arrange(self._std(queries))
        if return_cov:
            return mean, self._scaled_covariances(queries)
        return mean

    def sample_y(self, X: Any, task: Any = None, n_samples: int = 1, random_state: Any = 0) -> Any:
        """Draws functions of all tasks from the posterior, jointly, at `X`. Noise is not part of them.

        Args:
            X: inputs.
            task: as in `fit`.
            n_samples: draws.
            random_state: seed of the draws.

        Returns:
            Values in the form of `X`, with a last axis for the draws: `[N, n_samples]`,
            `[n, T, n_samples]` where inputs are shared, or a list.
        """
        check_is_fitted(self)
        queries = self._queries(X, task)
        means = _own(self._means(queries.X) * self.scale_ + self.offset_, queries)
        rng = check_random_state(random_state)
        draws = rng.multivariate_normal(means.T.ravel(), self._scaled_covariances(queries), n_samples).T
        if queries.task is None:
            return draws.reshape(*means.T.shape, n_samples).swapaxes(0, 1)
        return queries.arrange(draws)

    def score(self, X: Any, y: Any, task: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """R² of all predictions together; the mean over the tasks where inputs are shared.

        Args:
            X: inputs.
            y: targets, in the same form.
            task: as in `fit`.
        """
        predicted, y = together(self.predict(X, task), y)
        return float(r2_score(y, predicted))

    def _std(self, queries: Queries) -> np.ndarray:
        if queries.task is not None:
            variances = self._variances(queries.X, queries.task)
            return np.sqrt(np.maximum(variances, 0)) * self.scale_[queries.task]
        tasks = range(len(self.tasks_))
        variances = np.stack([self._variances(queries.X, np.full(len(queries.X), t)) for t in tasks], axis=1)
        return np.sqrt(np.maximum(variances, 0)) * self.scale_

    def _scaled_covariances(self, queries: Queries) -> np.ndarray:
        X, task = queries.X, queries.task
        if task is None:
            task = np.repeat(np.arange(len(self.tasks_)), len(X))
            X = np.tile(X, (len(self.tasks_), 1))
        return self._covariances(X, task) * np.outer(self.scale_[task], self.scale_[task])

    def _input_kernel(self) -> Any:
        kernel = RBF() if self.kernel is None else self.kernel
        if not isinstance(kernel, Kernel):
            raise InputError(
                f"kernel is {kernel!r}: give a kernel of sklearn.gaussian_process.kernels, or None"
            )
        if any(isinstance(part, WhiteKernel) for part in [kernel, *kernel.get_params().values()]):
            raise InputError("the kernel has a WhiteKernel, but noise is learned beside it: leave it out")
        return clone(kernel)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def check_size(rows: int, most: Any) -> None:
    """Refuses what would not fit in memory.

    Raises:
        InputError: if there are more rows than ``most``.
    """
    if rows > count("max_samples", most):
        raise InputError(
            f"found {rows} samples, max_samples is {most}: each {rows} x {rows} matrix would take "
            f"{rows**2 * 8 / 1e9:.1f} GB and time grows with the cube; give fewer, or raise max_samples"
        )


def real(y: Any) -> np.ndarray:
    """Targets, checked."""
    return one_or_two_dimensional(y, dtype=np.float64)


def _own(values: np.ndarray, queries: Queries) -> np.ndarray:
    """Of values `[N, T]` those of each row's task, `[N]`; all of them where inputs are shared."""
    return values if queries.task is None else values[np.arange(len(values)), queries.task]
