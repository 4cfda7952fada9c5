"""Figures of what linear methods found: related tasks, coefficients, and paths of regularisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from moduli.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

DIVERGING = "PuOr_r"  # purple, white, orange: told apart with any common colour blindness
MOST_LABELS = 40
MOST_LINES = 10


class Path(Protocol):
    """Coefficients by regularisation weight: ``alphas`` `[k]` and ``coefs`` `[k, d, T]`."""

    alphas: np.ndarray
    coefs: np.ndarray


def plot_relationship(
    estimator: Any, names: Sequence[Any] | None = None, order: bool = True, ax: Axes | None = None
) -> Axes:
    """A heat map of how tasks are related.

    Shows ``relationship_`` of a fitted estimator; if it has none, the cosines of the columns of ``coef_``.
    Colours are centred at 0. Beyond 40 tasks only some are named.

    Args:
        estimator: a fitted estimator, or a symmetric matrix `[T, T]`.
        names: what to call the tasks; None for ``tasks_``, or their numbers.
        order: whether to put related tasks side by side, by hierarchical clustering of the correlations.
        ax: where to draw; None for a new figure.

    Returns:
        The axes.

    Raises:
        InputError: if there is nothing to draw, or names do not fit.
    """
    matrix = _matrix(estimator, "relationship_")
    label = "relationship"
    if matrix is None:
        matrix, label = cosines(_coefficients(estimator)), "cosine of coefficients"
    T = len(matrix)
    if matrix.shape != (T, T):
        raise InputError(f"the relationship has shape {matrix.shape}: give a square matrix, tasks x tasks")
    if not np.allclose(matrix, matrix.T, atol=1e-8 * np.abs(matrix).max()):
        raise InputError("the relationship is not symmetric: give a symmetric matrix")
    called = _names(names, getattr(estimator, "tasks_", None), T, "tasks")
    places = clustered(_correlations(matrix)) if order else np.arange(T)
    ax = _axes(ax, (5.8, 5.0))
    _image(ax, matrix[np.ix_(places, places)], label, square=True)
    _name(ax.xaxis, called[places], rotation=90)
    _name(ax.yaxis, called[places])
    return ax


def plot_coefficients(
    estimator: Any,
    names: Sequence[Any] | None = None,
    features: Sequence[Any] | None = None,
    order: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """A heat map of the coefficients, features x tasks, in colours centred at 0.

    Args:
        estimator: a fitted estimator with ``coef_``, or a matrix W `[d, T]`.
        names: what to call the tasks; None for ``tasks_``, or their numbers.
        features: what to call the features; None for ``feature_names_in_`` if these are d, or numbers.
        order: whether to put tasks with like columns side by side, by hierarchical clustering of the cosines.
            Features stay in their order.
        ax: where to draw; None for a new figure.

    Returns:
        The axes.

    Raises:
        InputError: if there is nothing to draw, or names do not fit.
    """
    W = _coefficients(estimator)
    d, T = W.shape
    called = _names(names, getattr(estimator, "tasks_", None), T, "tasks")
    known = getattr(estimator, "feature_names_in_", None)
    known = known if known is not None and len(known) == d else None  # else it has the column of tasks
    rows = _names(features, known, d, "features")
    places = clustered(cosines(W)) if order else np.arange(T)
    ax = _axes(ax, (6.4, 4.8))
    _image(ax, W[:, places], "coefficient", square=False)
    _name(ax.xaxis, called[places], rotation=90)
    _name(ax.yaxis, rows)
    ax.set(xlabel="task", ylabel="feature")
    return ax


def plot_path(path: Path, ax: Axes | None = None, features: Sequence[Any] | None = None) -> Axes:
    """How much each feature is used by all tasks, ||row of W||, against the regularisation weight.

    The weight is on a logarithmic axis and falls from left to right, so that features come in one by one.
    Up to 10 features, those with the largest rows, are in colour and named.

    Args:
        path: an object with ``alphas`` `[k]`, above 0, and ``coefs`` `[k, d, T]`.
        ax: where to draw; None for a new figure.
        features: what to call the features; None for numbers.

    Returns:
        The axes.

    Raises:
        InputError: if shapes do not fit, or a weight is not above 0.
    """
    from matplotlib import colormaps

    alphas, coefs = np.asarray(path.alphas, dtype=float), np.asarray(path.coefs, dtype=float)
    if coefs.ndim != 3 or alphas.shape != coefs.shape[:1] or not len(alphas):
        raise InputError(f"alphas {alphas.shape} and coefs {coefs.shape} do not fit: give [k] and [k, d, T]")
    if not (alphas > 0).all():
        raise InputError(f"alphas has {alphas.min():g}, which a logarithmic axis cannot show: leave it out")
    norms = np.linalg.norm(coefs, axis=2)
    called = _names(features, None, norms.shape[1], "features")
    order = np.argsort(alphas)
    ax = _axes(ax, (6.4, 4.0))
    largest = np.argsort(-norms.max(axis=0), kind="stable")[:MOST_LINES]
    largest = largest[norms.max(axis=0)[largest] > 0]
    rest = np.setdiff1d(np.arange(norms.shape[1]), largest)
    ax.plot(alphas[order], norms[np.ix_(order, rest)], color="0.75", linewidth=0.8, zorder=1)
    for place, (i, shade) in enumerate(zip(largest, np.linspace(0, 0.9, len(largest)), strict=True)):
        style = ("-", "--")[place % 2]  # neighbours in colour differ in line
        ax.plot(
            alphas[order], norms[order, i], style, color=colormaps["viridis"](shade), label=str(called[i])
        )
    ax.set_xscale("log")
    ax.set_xlim(alphas.max(), alphas.min()) if len(alphas) > 1 else None
    ax.set(xlabel="regularisation weight", ylabel="norm of the feature's coefficients")
    ax.set_ylim(bottom=0)
    ax.spines[["top", "right"]].set_visible(False)
    if len(largest):
        ax.legend(title="feature", frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


# ------------------------------------------------------------------ numbers


def cosines(W: np.ndarray) -> np.ndarray:
    """Cosines of the columns of W `[d, T]`; 0 with a column of zeros, 1 on the diagonal."""
    lengths = np.linalg.norm(W, axis=0)
    units = W / np.where(lengths > 0, lengths, 1)
    result = units.T @ units
    np.fill_diagonal(result, 1)
    return result


def clustered(similarity: np.ndarray) -> np.ndarray:
    """An order of T things in which like ones are side by side, from similarities -1 to 1, `[T, T]`.

    Average linkage of the distances 1 - similarity, with the leaves turned so that neighbours are nearest.
    """
    if len(similarity) < 3:
        return np.arange(len(similarity))
    distances = np.clip(1 - (similarity + similarity.T) / 2, 0, 2)
    np.fill_diagonal(distances, 0)
    condensed = squareform(distances)
    return leaves_list(optimal_leaf_ordering(linkage(condensed, "average"), condensed))


def _correlations(matrix: np.ndarray) -> np.ndarray:
    """A covariance as correlations, so that tasks of another scale are found to be related, too."""
    scale = np.sqrt(np.abs(np.diag(matrix)))
    scale = np.where(scale > 0, scale, 1)
    return np.clip(matrix / np.outer(scale, scale), -1, 1)


def _coefficients(estimator: Any) -> np.ndarray:
    W = _matrix(estimator, "coef_")
    if W is None:
        raise InputError(
            f"{type(estimator).__name__} has no coef_: give a fitted linear estimator or a matrix"
        )
    return W


def _matrix(source: Any, attribute: str) -> np.ndarray | None:
    """A matrix, or that attribute of an estimator; None if the estimator has none."""
    if hasattr(source, "get_params"):
        source = getattr(source, attribute, None)
        if source is None:
            return None
    matrix = np.asarray(source, dtype=float)
    if matrix.ndim != 2 or not matrix.size:
        raise InputError(f"a matrix of shape {matrix.shape} cannot be drawn: give two dimensions")
    if not np.isfinite(matrix).all():
        raise InputError("the matrix contains NaN or infinity: give numbers")
    return matrix


def _names(given: Any, known: Any, n: int, what: str) -> np.ndarray:
    if given is None:
        given = range(n) if known is None else known
    if len(given) != n:
        raise InputError(f"{len(given)} names are given for {n} {what}: give one for each")
    return np.array([str(name) for name in given])


# ------------------------------------------------------------------ drawing


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def _image(ax: Axes, values: np.ndarray, label: str, square: bool) -> None:
    """Draws a matrix, with a bar of its colours beside it."""
    most = np.abs(values).max() or 1.0
    mesh = ax.pcolormesh(values, cmap=DIVERGING, vmin=-most, vmax=most, edgecolors="none")
    ax.invert_yaxis()
    if square:
        ax.set_aspect("equal")
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    bar = ax.figure.colorbar(mesh, ax=ax, label=label)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _name(axis: Axis, names: np.ndarray, rotation: float = 0) -> None:
    """Names cells, every k-th of them where there are many."""
    places = np.arange(0, len(names), -(-len(names) // MOST_LABELS))
    size = 8 if len(names) <= 20 else 6
    texts = [name if len(name) <= 24 else f"{name[:23]}…" for name in names[places]]
    axis.set_ticks(places + 0.5, texts, rotation=rotation, fontsize=size, parse_math=False)
    axis.set_tick_params(length=0 if len(places) == len(names) else 2)
