"""What the experiments on linear methods share: how hyperparameters are chosen, and how runs are kept."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, ParameterSampler

from moduli.files import finite, read_json, write_json
from moduli.linear import MultiTaskRegressor, TaskKFold
from moduli.linear.method import Method

Grid = list[dict[str, Any]]
"""Settings of hyperparameters."""
Samples = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Inputs `[N, d]`, outputs `[N]` and tasks `[N]`."""


class Choice(NamedTuple):
    """A method, the settings that cross-validation chooses from, and how exactly it is fitted."""

    method: Method
    grid: Grid
    tol: float = 1e-4
    max_iter: int = 500


def steps(low: float, high: float) -> list[float]:
    """Two values for each factor of ten, from 10^low to 10^high: 0.01, 0.032, 0.1, ..."""
    return [float(f"{10**k:.2g}") for k in np.arange(low, high + 0.25, 0.5)]


def each(**values: Sequence[Any]) -> Grid:
    """All values of one hyperparameter."""
    ((name, some),) = values.items()
    return [{name: value} for value in some]


def some(n: int, **values: Sequence[Any]) -> Grid:
    """Some of the combinations of several hyperparameters, drawn once for all."""
    return list(ParameterSampler(values, n, random_state=0))


def fewer(methods: Mapping[str, Choice], n: int) -> dict[str, Choice]:
    """The same methods, with n settings of each at most, a single start and few iterations: for a look."""
    short = {}
    for name, choice in methods.items():
        middle = (len(choice.grid) - n) // 2 if len(choice.grid) > n else 0
        few = {"n_init": 1} if "n_init" in choice.method.get_params() else {}
        method = type(choice.method)(**{**choice.method.get_params(deep=False), **few})
        short[name] = choice._replace(method=method, grid=choice.grid[middle : middle + n], max_iter=30)
    return short


def search(
    choice: Choice,
    X: np.ndarray,
    y: np.ndarray,
    task: np.ndarray,
    folds: int,
    seed: int,
    score: Callable[[Any, np.ndarray, np.ndarray], float] | None = None,
    **options: Any,
) -> GridSearchCV:
    """A method fitted with the hyperparameters that cross-validation of the training samples prefers.

    Its inputs are those of `with_task`; every fold has its share of every task. The seed decides folds and
    random starts. `score` of a fitted estimator, X and y is the better the higher; R² if None. Fits that
    `max_iter` ends are used as they are.
    """
    method = type(choice.method)(**choice.method.get_params(deep=False))
    if "random_state" in method.get_params():
        method.set_params(random_state=seed)
    estimator = MultiTaskRegressor(
        method, task_column=X.shape[1], tol=choice.tol, max_iter=choice.max_iter, **options
    )
    grid = [{f"method__{key}": [value] for key, value in point.items()} for point in choice.grid]
    cv = TaskKFold(folds, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GridSearchCV(estimator, grid, cv=cv, scoring=score).fit(with_task(X, task), y, groups=task)


def with_task(X: np.ndarray, task: np.ndarray) -> np.ndarray:
    """Inputs with the task as their last column."""
    return np.column_stack([X, task])


def best(found: GridSearchCV) -> dict[str, Any]:
    """The hyperparameters that were chosen."""
    return {key.removeprefix("method__"): value for key, value in found.best_params_.items()}


def measured(
    methods: Mapping[str, Choice],
    fit: Callable[[Choice], GridSearchCV],
    measure: Callable[[GridSearchCV], float],
) -> dict[str, dict[str, Any]]:
    """Of every method: its test figure, the chosen hyperparameters, and how long search and fit took."""
    rows = {}
    for name, choice in methods.items():
        began = time.perf_counter()
        found = fit(choice)
        seconds = time.perf_counter() - began
        rows[name] = {
            "value": round(measure(found), 5),
            "chosen": best(found),
            "converged": bool(found.best_estimator_.optimality_ <= choice.tol),
            "seconds": round(seconds, 2),
        }
    return rows


# ------------------------------------------------------------------ runs


def kept(
    folder: Path,
    settings: Mapping[str, Any],
    runs: Mapping[tuple[str, int], Callable[[], dict[str, Any]]],
) -> dict[str, dict[int, dict[str, Any]]]:
    """What every run (a condition and a seed) gives, from its file where it has one.

    The user may stop at any time: the same command goes on. Settings other than those of the files end the
    program.
    """
    settings = finite(settings)
    if (note := folder / "settings.json").exists() and read_json(note) != settings:
        sys.exit(f"{folder} has runs of other settings: remove it, or give another --folder")
    write_json(note, settings)
    results: dict[str, dict[int, dict[str, Any]]] = {}
    for place, ((condition, seed), run) in enumerate(runs.items(), 1):
        path = folder / condition / f"seed{seed}.json"
        if not path.exists():
            began = time.perf_counter()
            try:
                write_json(path, run())
            except KeyboardInterrupt:
                sys.exit(f"stopped before {condition}, seed {seed} was done; the same command goes on")
            spent = f"{time.perf_counter() - began:.0f} s"
            print(f"[{place}/{len(runs)}] {condition}, seed {seed}: {spent}", flush=True)
        results.setdefault(condition, {})[seed] = read_json(path)
    return results


def together(runs: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, list[Any]]]:
    """The same by method, with lists over the seeds; hyperparameters as text."""
    methods = next(iter(runs.values()))
    rows: dict[str, dict[str, Any]] = {
        name: {key: [run[name][key] for run in runs.values()] for key in ("value", "chosen", "seconds")}
        for name in methods
    }
    for name, row in rows.items():
        row["chosen"] = [", ".join(f"{k}={v:g}" for k, v in point.items()) for point in row["chosen"]]
        row["unfinished"] = sum(not run[name]["converged"] for run in runs.values())
        row["seconds"] = round(float(np.median(row["seconds"])), 2)
    return rows


def described(methods: Mapping[str, Choice]) -> dict[str, dict[str, Any]]:
    """Of every method, the expression that makes it and its settings, for the summary."""
    return {
        name: {"code": repr(choice.method), "grid": choice.grid, "tol": choice.tol, "most": choice.max_iter}
        for name, choice in methods.items()
    }


def table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Mean and standard deviation over seeds, a line for each method."""
    lines = [
        f"  {name:26} {np.mean(row['value']):7.3f} ± {np.std(row['value']):.3f}  {row['seconds']:6.1f} s"
        for name, row in rows.items()
    ]
    return "\n".join([title, *lines])
