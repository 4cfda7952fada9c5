"""A regularisation path: one method for many values of a hyperparameter, each begun at the last solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from moduli.errors import InputError
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.methods.sparse import GroupLasso


@dataclass(frozen=True)
class Path:
    """Solutions along a path, from the largest value on.

    ``alphas``: `[k]`. ``coefs``: `[k, d, T]`. ``intercepts``: `[k, T]`. ``objectives``: `[k]` at the end of
    each. ``n_iters``: `[k]` iterations.
    """

    alphas: np.ndarray
    coefs: np.ndarray
    intercepts: np.ndarray
    objectives: np.ndarray
    n_iters: np.ndarray


def regularization_path(
    estimator: MultiTaskRegressor | MultiTaskClassifier,
    X: Any,
    y: Any,
    task: Any = None,
    *,
    alphas: Sequence[float] | None = None,
    n_alphas: int = 50,
    ratio: float = 1e-3,
    parameter: str = "alpha",
) -> Path:
    """Fits an estimator for falling values of a hyperparameter of its method, each from the last solution.

    Args:
        estimator: with a method; it is not changed.
        X: inputs, as of its `fit`.
        y: targets, as of its `fit`.
        task: the tasks, as of its `fit`.
        alphas: the values; None takes `n_alphas` from the largest one, at which all coefficients are 0, down
            to `ratio` times it, evenly on a log scale.
        n_alphas: how many.
        ratio: of the smallest to the largest.
        parameter: name of the method's hyperparameter.

    Raises:
        InputError: if the method has no such hyperparameter, or a value makes no sense.
    """
    fitted: Any = clone(estimator)
    fitted.set_params(warm_start=True)
    if fitted.method is None:
        fitted.method = GroupLasso()
    if parameter not in fitted.method.get_params():
        known = ", ".join(fitted.method.get_params())
        raise InputError(f"{type(fitted.method).__name__} has no {parameter!r}: it has {known}")
    values = np.sort(np.asarray(alphas, dtype=float))[::-1] if alphas is not None else None
    if values is None:
        if n_alphas < 2 or not 0 < ratio < 1:
            raise InputError(
                f"n_alphas={n_alphas!r}, ratio={ratio!r}: give at least 2 values, and a ratio between 0 and 1"
            )
        values = fitted.largest_alpha(X, y, task) * np.geomspace(1, ratio, n_alphas)
    found = []
    for value in values:
        fitted.set_params(**{f"method__{parameter}": float(value)}).fit(X, y, task)
        found.append((fitted.coef_.copy(), fitted.intercept_.copy(), fitted.objective_[-1], fitted.n_iter_))
    coefs, intercepts, objectives, n_iters = map(np.array, zip(*found, strict=True))
    return Path(values, coefs, intercepts, objectives, n_iters)
