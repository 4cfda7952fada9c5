"""Speed of convex multitask learning: time to the same objective, beside scikit-learn, skglm and plain NumPy.

Every solver runs with the loosest of its tolerances (1e-2, 1e-3, ...) at which its objective is within 1e-6
of the best known one, relative. The best is ours at a tolerance of 1e-12. Times are of `fit`, all included.

* group lasso, shared inputs, 50 tasks x 200 samples x 500 features, at 0.5, 0.1 and 0.05 of the largest
  alpha: against scikit-learn's `MultiTaskLasso` (coordinate descent with screening, Cython) and, where it is
  installed (`pip install skglm`), skglm's `MultiTaskLasso` (working sets, Numba; compiled before).
* trace norm, inputs of their own, the same sizes, and the School data (139 tasks x 22 to 251 samples x 27
  features): against proximal gradient steps with a Python loop over the tasks, and steps of 1 / L.
* group lasso on the School data against the same loop.
* the time for twice the samples, four times, and so on: cost is linear in samples.

The School data must be in the data folder; its cases are left out otherwise.

  python benchmarks/linear.py --json results/benchmarks/linear.json
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import arguments, ratio, report, turns
from sklearn.linear_model import MultiTaskLasso
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from moduli.data import school
from moduli.errors import InputError
from moduli.linear import GroupLasso, Method, MultiTaskRegressor, TraceNorm
from moduli.linear.prox import rows_l2

GAP = 1e-6
TOLERANCES = tuple(10.0**-k for k in range(2, 13))

Fit = Callable[[float], tuple[np.ndarray, np.ndarray]]
"""From a tolerance to coefficients `[d, T]` and intercepts `[T]`."""
Samples = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def made_up(tasks: int = 50, samples: int = 200, features: int = 500, shared: bool = True) -> Samples:
    """Regressions that use the same 25 features, with noise; inputs shared or of their own."""
    rng = np.random.default_rng(0)
    W = np.zeros((features, tasks))
    used = rng.choice(features, 25, replace=False)
    W[used] = rng.standard_normal((25, 5)) @ rng.standard_normal((5, tasks))
    if shared:
        X = rng.standard_normal((samples, features))
        return X, X @ W + rng.standard_normal((samples, tasks)), None
    X = rng.standard_normal((tasks * samples, features))
    task = np.repeat(np.arange(tasks), samples)
    return X, np.einsum("nd,nd->n", X, W.T[task]) + rng.standard_normal(len(X)), task


# ------------------------------------------------------------------ solvers


def ours(method: Method, data: Samples) -> Fit:
    def fit(tol: float) -> tuple[np.ndarray, np.ndarray]:
        found = MultiTaskRegressor(method, tol=tol, max_iter=100_000).fit(*data)
        return found.coef_, found.intercept_

    return fit


def scikit_learn(alpha: float, data: Samples) -> Fit:
    def fit(tol: float) -> tuple[np.ndarray, np.ndarray]:
        found = MultiTaskLasso(alpha, tol=tol, max_iter=100_000).fit(data[0], data[1])
        return found.coef_.T, found.intercept_

    return fit


def skglm(alpha: float, data: Samples) -> Fit:
    from skglm import MultiTaskLasso as Theirs  # type: ignore[import-not-found]

    def fit(tol: float) -> tuple[np.ndarray, np.ndarray]:
        found = Theirs(alpha, tol=tol, max_iter=1000).fit(data[0], np.asfortranarray(data[1]))
        return found.coef_.T, found.intercept_

    return fit


def plain(method: Method, data: Samples) -> Fit:
    """Proximal gradient: what one writes down first. Stops when a step changes the objective by `tol`."""
    X, y, task = data
    assert task is not None

    def prox(W: np.ndarray, step: float) -> np.ndarray:
        if isinstance(method, GroupLasso):
            return rows_l2(W, step * method.alpha)
        U, s, V = np.linalg.svd(W, full_matrices=False)
        return U * np.maximum(s - step * method.alpha, 0) @ V  # type: ignore[attr-defined]

    def fit(tol: float) -> tuple[np.ndarray, np.ndarray]:
        parts = [(X[task == t], y[task == t]) for t in range(task.max() + 1)]
        means = [(A.mean(0), b.mean()) for A, b in parts]
        parts = [(A - m, b - c) for (A, b), (m, c) in zip(parts, means, strict=True)]
        L = max(np.linalg.norm(A, 2) ** 2 / len(A) for A, _ in parts)
        W, before = np.zeros((X.shape[1], len(parts))), np.inf
        for _ in range(100_000):
            G, value = np.empty_like(W), 0.0
            for t, (A, b) in enumerate(parts):
                r = A @ W[:, t] - b
                G[:, t] = A.T @ r / len(A)
                value += 0.5 * r @ r / len(A)
            value += penalty(method, W)
            if before - value <= tol * abs(value):
                break
            before, W = value, prox(W - G / L, 1 / L)
        return W, np.array([c - m @ W[:, t] for t, (m, c) in enumerate(means)])

    return fit


def penalty(method: Any, W: np.ndarray) -> float:
    """Of a group lasso or a trace norm."""
    if isinstance(method, GroupLasso):
        return method.alpha * np.linalg.norm(W, axis=1).sum()
    return method.alpha * np.linalg.svd(W, compute_uv=False).sum()


def objective(method: Method, data: Samples, W: np.ndarray, b: np.ndarray) -> float:
    """Mean loss of each task, summed, and the penalty."""
    X, y, task = data
    if task is None:
        return 0.5 / len(X) * np.square(X @ W + b - y).sum() + penalty(method, W)
    squares = np.square(np.einsum("nd,nd->n", X, W.T[task]) + b[task] - y)
    return 0.5 * (np.bincount(task, squares) / np.bincount(task)).sum() + penalty(method, W)


# ------------------------------------------------------------------ cases


def loosest(method: Method, data: Samples, fit: Fit, best: float) -> float | None:
    """The first tolerance that comes within `GAP` of the best objective."""
    for tol in TOLERANCES:
        if objective(method, data, *fit(tol)) <= best * (1 + GAP):
            return tol
    return None


def race(
    case: str, method: Method, data: Samples, others: dict[str, Fit], budget: float, rounds: int
) -> tuple[dict[str, dict], dict[str, Any]]:
    """Ratios of our time to theirs, and with which tolerances."""
    best = objective(method, data, *ours(method, data)(1e-12))
    tols, work = {}, {}
    for name, fit in {"moduli": ours(method, data), **others}.items():
        tols[name] = loosest(method, data, fit, best)
        if tols[name] is not None:
            work[name] = lambda fit=fit, tol=tols[name]: fit(tol)
    times = turns(work, budget, "cpu", rounds)
    ratios = {f"{case} / {n}": ratio(times["moduli"], times[n]) for n in work if n != "moduli"}
    return ratios, {case: tols}


def of_samples(budget: float, rounds: int) -> dict[str, dict]:
    """Time for more samples over that for 250 of each task, 20 tasks of 50 features."""
    sizes = (250, 500, 1000, 2000, 4000)
    fits = {n: ours(TraceNorm(0.1), made_up(20, n, 50, shared=False)) for n in sizes}
    times = turns({str(n): lambda n=n: fits[n](1e-6) for n in sizes}, budget, "cpu", rounds)
    return {f"{n} samples of each task / 250": ratio(times[str(n)], times["250"]) for n in sizes[1:]}


def main() -> None:
    options = arguments(__doc__ or "")
    warnings.simplefilter("ignore")
    budget, rounds = (3.0, 3) if options.quick else (10.0, 9)
    ratios: dict[str, dict] = {}
    tolerances: dict[str, Any] = {}

    def add(case: str, method: Method, data: Samples, others: dict[str, Fit]) -> None:
        found, tols = race(case, method, data, others, budget, rounds)
        ratios.update(found)
        tolerances.update(tols)

    with threadpool_limits(options.threads or 1):
        shared = made_up()
        largest = MultiTaskRegressor(GroupLasso()).largest_alpha(shared[0], shared[1])
        for share in (0.5, 0.1, 0.05):
            others = {"MultiTaskLasso": scikit_learn(share * largest, shared)}
            if importlib.util.find_spec("skglm"):
                others["skglm"] = skglm(share * largest, shared)
            add(f"group lasso, {share:g} of the largest alpha", GroupLasso(share * largest), shared, others)
        apart = made_up(shared=False)
        for name, data in {"50 x 200 x 500": apart, **schools()}.items():
            for method in (TraceNorm(), GroupLasso()):
                largest = MultiTaskRegressor(method).largest_alpha(*data)
                method.alpha = 0.1 * largest
                kind = "trace norm" if isinstance(method, TraceNorm) else "group lasso"
                add(f"{kind}, {name}", method, data, {"plain loop": plain(method, data)})
        ratios.update(of_samples(budget, rounds))
    report("linear", options, ratios, tolerances=tolerances, gap=GAP)


def schools() -> dict[str, Samples]:
    """The School data with standardised inputs, if they are there."""
    try:
        data = school.arrays()
    except InputError as error:
        print(f"left out: {error}")
        return {}
    return {"School": (StandardScaler().fit_transform(data["X"]), data["y"], data["task"])}


if __name__ == "__main__":
    main()
