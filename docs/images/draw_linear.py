"""The picture of the guide to linear methods: what is found of made-up tasks of two kinds."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from sklearn.preprocessing import StandardScaler

from moduli.linear import (
    GroupLasso,
    MultiTaskRegressor,
    Ridge,
    TaskRelationship,
    plot_path,
    plot_relationship,
    regularization_path,
)
from moduli.report.style import WIDTH, styled


def schools(seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X `[N, 8]`, y `[N]` and task `[N]` of twelve schools of two kinds, in random order, 10 to 30 pupils."""
    rng = np.random.default_rng(seed)
    kinds = np.zeros((2, 8))
    kinds[0, [0, 1, 2]], kinds[1, [0, 1, 4]] = (1.0, 0.8, 0.6), (-1.0, 0.6, 0.8)
    W = kinds[rng.permutation(np.arange(12) % 2)] + 0.1 * rng.standard_normal((12, 8)) * kinds.any(axis=0)
    task = np.repeat(np.arange(12), rng.integers(10, 31, 12))
    X = rng.standard_normal((len(task), 8))
    return X, np.einsum("nd,nd->n", X, W[task]) + 0.7 * rng.standard_normal(len(task)), task


@styled
def found() -> Figure:
    """Cosines of separate ridges, the covariance that is learned, and a path of the group lasso."""
    X, y, task = schools()
    X = StandardScaler().fit_transform(X)
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.15))
    plot_relationship(MultiTaskRegressor(Ridge()).fit(X, y, task), ax=left)
    left.set_title("Ridge, one by one")
    plot_relationship(MultiTaskRegressor(TaskRelationship()).fit(X, y, task), ax=middle)
    middle.set_title("TaskRelationship")
    plot_path(regularization_path(MultiTaskRegressor(GroupLasso()), X, y, task, ratio=0.02), ax=right)
    right.xaxis.set_major_formatter("{x:g}")
    right.set_title("A path of GroupLasso")
    return figure
