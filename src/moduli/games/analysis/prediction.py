"""Predicting where transfer works: a linear regression on the indicators, tested on targets left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moduli.games.analysis.transfer import INDICATORS, Pair

Array = NDArray[np.float64]
FEWEST = len(INDICATORS) + 1
"""Pairs from which a line in five indicators can be found: as many as it has coefficients."""


@dataclass(frozen=True)
class Prediction:
    """How well the indicators predict transfer effectiveness against one control.

    Attributes:
        control: `scratch` or `random`.
        pairs: (source, target) of the points.
        actual: their transfer effectiveness.
        predicted: by a model that saw no pair with the same target; empty if there are too few pairs.
        r: Pearson correlation of the two; NaN if unknown.
        p: its two-sided p value, for which the pairs count as independent, though they share games.
        coefficients: of all pairs, for indicators of unit variance; None if they are not determined.
        note: why something is missing; empty if nothing is.
    """

    control: str
    pairs: tuple[tuple[str, str], ...]
    actual: tuple[float, ...]
    predicted: tuple[float, ...]
    r: float
    p: float
    coefficients: Mapping[str, float] | None
    note: str = ""

    @property
    def strongest(self) -> str | None:
        """The indicator whose coefficient is the largest in size."""
        found = self.coefficients
        return max(found, key=lambda name: abs(found[name])) if found else None


def predict_effectiveness(pairs: Sequence[Pair], control: str) -> Prediction:
    """Leave-one-out linear regression of transfer effectiveness (Meyerson 2018, section 4.4, Figure 4.4).

    For a pair (s, t) the model is fitted to the pairs whose target is not t; those with the source s stay,
    which the paper leaves open. A pair whose effectiveness or indicators are not known is not used.

    Args:
        pairs: all there are.
        control: `scratch` or `random`.
    """
    rows = [(*pair.indicators.values(), pair.effectiveness[control]) for pair in pairs]
    used = [index for index, row in enumerate(rows) if np.isfinite(row).all()]
    known = tuple((pairs[index].source, pairs[index].target) for index in used)
    data = np.array([rows[index] for index in used], dtype=np.float64).reshape(len(used), len(INDICATORS) + 1)
    X, y = data[:, :-1], data[:, -1]
    nothing = Prediction(control, known, tuple(y.tolist()), (), math.nan, math.nan, None)
    targets = [target for _, target in known]
    left = min((len(targets) - targets.count(target) for target in targets), default=0)
    if left < FEWEST:
        note = (
            f"No prediction against {control}: a fit for one target needs {FEWEST} pairs with other targets, "
            f"and there are {left}."
        )
        return replace(nothing, note=note)
    predicted = leave_target_out(X, y, targets)
    r, p = _pearson(predicted, y)
    coefficients, note = _coefficients(X, y), ""
    if coefficients is None:
        note = f"No coefficients against {control}: over {len(known)} pairs the indicators depend linearly."
    if math.isnan(r):
        note = (
            f"{note} No correlation against {control}: effectiveness or its prediction is constant.".strip()
        )
    return Prediction(control, known, nothing.actual, tuple(predicted.tolist()), r, p, coefficients, note)


def leave_target_out(X: ArrayLike, y: ArrayLike, targets: Sequence[str]) -> Array:
    """Predicts each number by a linear model fitted to the rows with other targets.

    Args:
        X: indicators `[pairs, indicators]`.
        y: what is predicted, `[pairs]`.
        targets: the target of each row.
    """
    from sklearn.linear_model import LinearRegression

    X, y, groups = np.asarray(X, np.float64), np.asarray(y, np.float64), np.asarray(targets)
    predicted = np.empty(len(y))
    for target in np.unique(groups):
        out = groups == target
        predicted[out] = LinearRegression().fit(X[~out], y[~out]).predict(X[out])
    return predicted


def _pearson(x: Array, y: Array) -> tuple[float, float]:
    from scipy.stats import pearsonr

    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan, math.nan
    found: Any = pearsonr(x, y)
    return float(found.statistic), float(found.pvalue)


def _coefficients(X: Array, y: Array) -> dict[str, float] | None:
    """Of indicators of unit variance; None where they are not unique."""
    from sklearn.linear_model import LinearRegression

    spread = X.std(axis=0)
    if (spread == 0).any():
        return None
    Z = (X - X.mean(axis=0)) / spread
    if np.linalg.matrix_rank(Z) < Z.shape[1]:
        return None
    fitted = LinearRegression().fit(Z, y)
    return dict(zip(INDICATORS, map(float, fitted.coef_), strict=True))
