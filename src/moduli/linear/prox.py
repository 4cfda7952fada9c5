"""Proximal operators of the penalties of linear multitask learning.

Each takes a matrix V `[d, T]` (features x tasks, float64) and a step t >= 0, and returns a new matrix, the
unique argmin over W of `0.5 ||W - V||_F^2 + t * penalty(W)`. V is never changed. See Parikh and Boyd (2014),
"Proximal algorithms", for the calculus behind them.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from moduli.errors import InputError

Step = float | np.ndarray
Group = tuple[Sequence[int] | np.ndarray, float]

# A Gram matrix gives a singular value s with error eps * s_max^2 / s: under this share of s_max, use an SVD.
GRAM_LIMIT = 1e-6


def soft_threshold(V: np.ndarray, t: Step) -> np.ndarray:
    """Prox of the l1 norm, `sign(V) * max(|V| - t, 0)` elementwise (Tibshirani 1996, lasso).

    Args:
        V: any shape.
        t: a number, or an array that broadcasts with V.
    """
    return V - np.clip(V, -np.asarray(t), t)


def rows_l2(V: np.ndarray, t: Step) -> np.ndarray:
    """Prox of `sum_i ||W_i||_2` over rows: `V_i * max(1 - t_i / ||V_i||_2, 0)`, and 0 for a zero row.

    The group soft threshold of the group lasso (Yuan and Lin 2006).

    Args:
        V: `[d, T]`.
        t: a number, or `[d]`, one per row.
    """
    return V * _shrinkage(np.sqrt(np.einsum("ij,ij->i", V, V)), t)[:, None]


def columns_l2(V: np.ndarray, t: Step) -> np.ndarray:
    """Prox of `sum_t ||w_t||_2` over columns: `rows_l2` of the transpose.

    Args:
        V: `[d, T]`.
        t: a number, or `[T]`, one per column.
    """
    return rows_l2(V.T, t).T


def rows_linf(V: np.ndarray, t: Step) -> np.ndarray:
    """Prox of `sum_i ||W_i||_inf` over rows: `V_i` less its projection on the l1 ball of radius t_i.

    By Moreau's decomposition, as l1 is the dual norm of l-infinity; it clips each row at one level
    (Parikh and Boyd 2014, section 6.5).

    Args:
        V: `[d, T]`.
        t: a number, or `[d]`, one per row.
    """
    level = _l1_level(V, t)
    return np.clip(V, -level, level)


def project_l1_ball(V: np.ndarray, radius: Step) -> np.ndarray:
    """Euclidean projection of each row on `||W_i||_1 <= radius_i`, by sorting (Duchi et al. 2008, figure 1).

    Args:
        V: `[d, T]`.
        radius: a number >= 0, or `[d]`, one per row.
    """
    return soft_threshold(V, _l1_level(V, radius))


def trace_norm(V: np.ndarray, t: float) -> np.ndarray:
    """Prox of the trace norm: soft threshold of the singular values (Cai, Candes and Shen 2010, theorem 2.1).

    Args:
        V: `[d, T]`.
        t: a number.
    """
    return _scale_spectrum(V, lambda s: (_shrinkage(s, t), t))


def squared_trace_norm(V: np.ndarray, t: float) -> np.ndarray:
    """Argmin over W of `0.5 ||W - V||_F^2 + (t/2) ||W||_*^2` (penalty of Argyriou, Evgeniou and Pontil 2008).

    The optimal singular values are `max(s_i - t S, 0)` with S their own sum. If k of them stay,
    `S = (s_1 + ... + s_k) / (1 + k t)`; k is found from the sorted values.

    Args:
        V: `[d, T]`.
        t: a number.
    """

    def factors(s: np.ndarray) -> tuple[np.ndarray, float]:
        sums = np.cumsum(s[::-1]) / (1 + t * np.arange(1, s.size + 1))
        kept = np.count_nonzero(s[::-1] > t * sums)
        level = t * float(sums[max(kept, 1) - 1])
        return _shrinkage(s, level), level

    return _scale_spectrum(V, factors)


def spectral_box(V: np.ndarray, t: float, low: float, high: float, total: float) -> np.ndarray:
    """Argmin over W of `0.5 ||W - V||_F^2 + (t/2) h(W)`, the squared spectral box norm (cluster norm).

    `h(W) = min sum_i sigma_i(W)^2 / lambda_i` over lambda in `[low, high]^T` with `sum lambda <= total`. It
    is the penalty of the clustered multitask learning of Jacob, Bach and Vert (2009), and of the convex forms
    of Zhou, Chen and Ye (2011) and Chen et al. (2009). For a fixed lambda the singular values s_i of V become
    `s_i lambda_i / (lambda_i + t)`; the best lambda is `clip(nu s_i - t, low, high)`, so that `lambda + t`
    solves the problem of `box_value` with bounds moved by t (McDonald, Pontil and Stamos 2016).

    Args:
        V: `[d, T]`. If d < T, the last T - d singular values are 0, and their lambda is low.
        t: a number.
        low: least lambda, > 0.
        high: greatest lambda, may be infinite.
        total: bound of the sum of all T lambda, at least `T * low`.

    Raises:
        InputError: if no lambda is possible.
    """
    _check_box(V.shape[1], low, high, total)

    def factors(s: np.ndarray) -> tuple[np.ndarray, float]:
        rest = total - (V.shape[1] - s.size) * low
        moved, level = _water_fill(s, low + t, high + t, rest + s.size * t)
        # From moved - t a small low would come out inexact, and as 0 where t is huge.
        return np.where(moved > low + t, 1 - t / moved, low / (low + t)), level

    return _scale_spectrum(V, factors)


def box_value(sigma: np.ndarray, low: float, high: float, total: float) -> tuple[float, np.ndarray]:
    """The least `sum_i sigma_i^2 / lambda_i` over lambda in `[low, high]^m` with `sum lambda <= total`.

    The optimum is `lambda_i = clip(nu sigma_i, low, high)`, with nu such that the sum is total; it is found
    exactly, from the sorted breakpoints of that sum (water-filling).

    Args:
        sigma: `[m]`, >= 0, in any order. For tasks m = T: see `size` of `singular_values`.
        low: least lambda, > 0.
        high: greatest lambda, may be infinite.
        total: bound of the sum, at least `m * low`.

    Returns:
        The value and lambda `[m]`. Where sigma is 0, lambda is low, unless all can be high.

    Raises:
        InputError: if no lambda is possible.
    """
    _check_box(sigma.size, low, high, total)
    lam, _ = _water_fill(sigma, low, high, total)
    return float(np.sum(sigma**2 / lam)), lam


def tree_l2(V: np.ndarray, t: Step, groups: Iterable[Group]) -> np.ndarray:
    """Prox of `sum_i sum_g weight_g ||W_{i,g}||_2`, rows i, groups g of columns that form a tree or forest.

    One pass of group soft thresholds from the leaves to the root. It is exact when any two groups are
    disjoint or nested, and no group comes before one that it contains (Jenatton et al. 2011, algorithm 2).

    Args:
        V: `[d, T]`.
        t: a number, or `[d]`, one per row.
        groups: pairs of column indices and weight, from the leaves to the root.
    """
    W = np.array(V, dtype=float)
    for columns, weight in groups:
        W[:, columns] = rows_l2(W[:, columns], np.multiply(t, weight))
    return W


def singular_values(V: np.ndarray, size: int | None = None) -> np.ndarray:
    """The singular values of V `[d, T]`, greatest first, to full precision.

    Args:
        V: `[d, T]`.
        size: how many to give (at least `min(d, T)`, the default): zeros are added.
    """
    s = np.linalg.svd(V, compute_uv=False)
    return s if size is None else np.pad(s, (0, size - s.size))


def _shrinkage(norms: np.ndarray, t: Step) -> np.ndarray:
    """The factor `max(1 - t / norm, 0)`; 0 where both are 0."""
    return 1 - np.divide(t, norms, out=np.ones_like(norms), where=norms > t)


def _l1_level(V: np.ndarray, radius: Step) -> np.ndarray:
    """`[d, 1]`: the soft threshold that takes each row on its l1 ball, 0 for a row inside."""
    radius = np.reshape(radius, (-1, 1))
    ordered = np.sort(np.abs(V), axis=1)[:, ::-1]
    excess = np.cumsum(ordered, axis=1) - radius
    kept = np.count_nonzero(ordered * np.arange(1, V.shape[1] + 1) > excess, axis=1, keepdims=True)
    kept = np.maximum(kept, 1)
    return np.maximum(np.take_along_axis(excess, kept - 1, axis=1) / kept, 0)


def _scale_spectrum(V: np.ndarray, factors: Callable[[np.ndarray], tuple[np.ndarray, float]]) -> np.ndarray:
    """V with each singular value multiplied by its factor.

    `factors(s)`, with s ascending, gives ascending factors and a level under which they are all equal. The
    eigenvectors of the smaller Gram matrix cost much less than an SVD, and are as good unless small singular
    values have factors that differ. Only directions whose factor is above the least one are computed.
    """
    tall = V.shape[0] >= V.shape[1]
    A = V if tall else V.T
    squares, Q = np.linalg.eigh(A.T @ A)
    s = np.sqrt(np.maximum(squares, 0))
    f, level = factors(s)
    if max(s[0], level) < GRAM_LIMIT * s[-1]:
        _, s, Qt = np.linalg.svd(A, full_matrices=False)
        s, Q = s[::-1], Qt[::-1].T
        f, _ = factors(s)
    Q = Q[:, f > f[0]]
    W = ((A @ Q) * (f[f > f[0]] - f[0])) @ Q.T
    if f[0] > 0:
        W += f[0] * A
    return W if tall else W.T


def _check_box(m: int, low: float, high: float, total: float) -> None:
    if not 0 < low <= high:
        raise InputError(f"low and high must be 0 < low <= high, found low={low}, high={high}")
    if not total >= m * low * (1 - 1e-9):
        raise InputError(f"total must be at least {m} * low = {m * low}, found total={total}")


def _water_fill(sigma: np.ndarray, low: float, high: float, total: float) -> tuple[np.ndarray, float]:
    """The `clip(nu sigma, low, high)` that sum to total, and the sigma under which they are low."""
    if total >= sigma.size * high:
        return np.full(sigma.size, high), np.inf
    scale = sigma.max()
    # Values that could overflow below count as zeros.
    v = sigma[sigma > 1e-100 * scale] / (scale or 1.0)
    if v.size == 0:
        return np.full(sigma.size, low), np.inf
    nu = _water_level(v, low, high, total - low * (sigma.size - v.size))
    return np.clip(sigma * (nu / scale), low, high), low / nu * scale


def _water_level(v: np.ndarray, low: float, high: float, total: float) -> float:
    """The nu at which `sum_i clip(nu v_i, low, high)` is total, or all are high; v > 0.

    The sum is piecewise linear and grows with nu. Bisection over its sorted breakpoints finds the piece,
    on which nu follows from a division.
    """
    starts, ends = low / v, high / v
    points = np.sort(np.concatenate([starts, ends]))
    piece = bisect.bisect_left(points, total, key=lambda nu: np.clip(nu * v, low, high).sum())
    if piece == 0 or piece == points.size:
        return float(points[min(piece, points.size - 1)])
    left, right = points[piece - 1], points[piece]
    free = (starts <= left) & (ends >= right)
    if not free.any():
        return float(right)
    fixed = np.where(ends <= left, high, low)[~free].sum()
    return float(np.clip((total - fixed) / v[free].sum(), left, right))
