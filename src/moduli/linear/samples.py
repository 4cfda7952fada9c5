"""Samples of several tasks, in the forms that users have them in.

The same tasks can be given as

* rows with a task each: `fit(X, y, task=school)`, where ``task`` is an array with the label of each row, or
  the name of a column of a data frame. An estimator with a ``task_column`` finds the labels in `X` itself,
  which is what pipelines and grid searches need;
* an array per task: `fit([X_1, X_2], [y_1, y_2])`, or the same as dicts with the tasks' names;
* one `X` for all tasks: `fit(X, Y)` with a column of `Y` for each task;
* a single task: `fit(X, y)`.

Predictions come in the form that is asked for with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from moduli.errors import InputError, did_you_mean

Form = Literal["rows", "lists", "shared", "single"]


@dataclass(frozen=True)
class Samples:
    """Samples of T tasks with d features.

    ``X``: `[N, d]`, rows of all tasks; `[n, d]` if the tasks share their inputs.
    ``y``: `[N]` values or labels; `[n, T]` if shared.
    ``task``: `[N]` numbers of tasks, 0 to T-1; None if shared.
    ``names``: `[T]` labels of the tasks.
    ``form``: how they were given.
    """

    X: np.ndarray
    y: np.ndarray
    task: np.ndarray | None
    names: np.ndarray
    form: Form

    @property
    def shared(self) -> bool:
        """Whether all tasks have the same inputs."""
        return self.task is None

    @property
    def sizes(self) -> np.ndarray:
        """Samples of each task, `[T]`."""
        if self.task is None:
            return np.full(len(self.names), len(self.X))
        return np.bincount(self.task, minlength=len(self.names))

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """X `[N, d]`, y `[N]` and task `[N]`, with shared inputs repeated for every task."""
        if self.task is not None:
            return self.X, self.y, self.task
        T = len(self.names)
        return np.tile(self.X, (T, 1)), self.y.T.ravel(), np.repeat(np.arange(T), len(self.X))


@dataclass(frozen=True)
class Queries:
    """Inputs to predict for: ``X`` `[N, d]`, and the number of the ``task`` of each row; None is all tasks.

    ``arrange`` brings `[N]` or `[N, T]` results (or `[N, ...]`) into the form of what was asked.
    """

    X: np.ndarray
    task: np.ndarray | None
    arrange: Callable[[np.ndarray], Any]


class TaskInputs:
    """What all estimators of several tasks have in common: how samples come in, and predictions go out.

    A class with this base may have a parameter ``task_column``.
    """

    tasks_: np.ndarray

    def _samples(self, X: Any, y: Any, task: Any, values: Callable[[Any], np.ndarray]) -> Samples:
        """Checks samples to fit on and notes what they look like; ``values`` checks targets of one array."""
        if y is None:
            raise InputError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: give y"
            )
        task = self._column() if task is None else task
        if in_parts(X):
            samples = self._parts(X, y, task, values)
        else:
            samples = self._whole(X, y, task, values)
        self.tasks_, self._form = samples.names, samples.form
        few = np.flatnonzero(samples.sizes < 2)
        if few.size and len(samples.names) == 1:
            raise InputError(f"found {samples.sizes[0]} sample, n_samples=1: give at least 2")
        if few.size:
            raise InputError(f"task {_label(samples.names[few[0]])} has 1 sample: give each task at least 2")
        return samples

    def _whole(self, X: Any, y: Any, task: Any, values: Callable[[Any], np.ndarray]) -> Samples:
        inputs, labels = self._inputs(X, task, reset=True)
        y = values(y)
        _same_length(inputs, y)
        if labels is not None:
            if y.ndim == 2:
                raise InputError(
                    f"y has {y.shape[1]} columns beside the tasks of the rows: give one value for each row"
                )
            names, numbers = np.unique(labels, return_inverse=True)
            return Samples(inputs, y, numbers, names, "rows")
        if y.ndim == 2:
            return Samples(inputs, y, None, np.arange(y.shape[1]), "shared")
        return Samples(inputs, y, np.zeros(len(y), int), np.arange(1), "single")

    def _parts(self, X: Any, y: Any, task: Any, values: Callable[[Any], np.ndarray]) -> Samples:
        _no_labels(task)
        names, parts = _parts_of(X)
        if not _is_list_of_arrays(y) or len(y) != len(parts):
            raise InputError(
                f"X is a list of {len(parts)} tasks, y is not: give an array of targets for each task"
            )
        if _named(y) and set(y) != set(names):
            raise InputError(f"X has the tasks {names}, y has {list(y)}: give both for the same tasks")
        targets = [values(y[name] if _named(y) else y[i]) for i, name in enumerate(names)]
        parts = self._alike(parts, names, reset=True)
        for part, target in zip(parts, targets, strict=True):
            if target.ndim != 1:
                raise InputError("y of a task has two dimensions: give one value for each row")
            _same_length(part, target)
        numbers = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return Samples(np.concatenate(parts), np.concatenate(targets), numbers, np.asarray(names), "lists")

    def _queries(self, X: Any, task: Any = None) -> Queries:
        """Checks inputs to predict for."""
        task = self._column() if task is None else task
        if in_parts(X):
            return self._queries_in_parts(X, task)
        inputs, labels = self._inputs(X, task, reset=False)
        if labels is not None:
            return Queries(inputs, self._numbers(labels), lambda result: result)
        if self._form == "single":
            return Queries(inputs, np.zeros(len(inputs), int), lambda result: result)
        if self._form == "shared":
            return Queries(inputs, None, lambda result: result)
        raise InputError(
            f"{type(self).__name__} knows {len(self.tasks_)} tasks, and X does not say which: "
            "give predict(X, task=...) or a list with an array for each task"
        )

    def _queries_in_parts(self, X: Any, task: Any) -> Queries:
        _no_labels(task)
        names, parts = _parts_of(X)
        if not _named(X) and len(parts) != len(self.tasks_):
            raise InputError(
                f"X is a list of {len(parts)} arrays, the estimator knows {len(self.tasks_)} tasks: "
                "give an array for each task, in order"
            )
        parts = self._alike(parts, names, reset=False)
        labels = np.asarray(names) if _named(X) else self.tasks_
        sizes = [len(part) for part in parts]
        ends = np.cumsum(sizes)[:-1]

        def arrange(result: np.ndarray) -> Any:
            pieces = np.split(result, ends)
            return dict(zip(names, pieces, strict=True)) if _named(X) else pieces

        return Queries(np.concatenate(parts), self._numbers(np.repeat(labels, sizes)), arrange)

    # -------------------------------------------------------------- inputs

    def _column(self) -> Any:
        return getattr(self, "task_column", None)

    def _inputs(self, X: Any, task: Any, reset: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """The features of an array or data frame, and the label of the task of each row if there is one."""
        if task is None or dimensions(task) > 0:
            inputs = _checked(self, X, reset)
            return inputs, None if task is None else _labels(task, len(inputs))
        validate_data(self, X, reset=reset, skip_check_array=True)  # type: ignore[arg-type]
        rest, labels = _take_column(X, task)
        inputs = check_array(rest, dtype=np.float64, estimator=self, input_name="X")  # type: ignore[arg-type]
        return inputs, _labels(labels, len(inputs))

    def _alike(self, parts: Sequence[Any], names: Sequence[Any], reset: bool) -> list[np.ndarray]:
        checked = []
        for number, (name, part) in enumerate(zip(names, parts, strict=True)):
            if np.ndim(part) == 2 and number and np.shape(part)[1] != checked[0].shape[1]:
                raise InputError(
                    f"task {_label(name)} has {np.shape(part)[1]} features, "
                    f"task {_label(names[0])} has {checked[0].shape[1]}: all tasks need the same"
                )
            first = reset and number == 0
            checked.append(_checked(self, part, first))
        return checked

    def _numbers(self, labels: np.ndarray) -> np.ndarray:
        """Numbers of the tasks with these labels."""
        known = {label: number for number, label in enumerate(self.tasks_.tolist())}
        unknown = [label for label in dict.fromkeys(labels.tolist()) if label not in known]
        if unknown:
            hint = did_you_mean(str(unknown[0]), map(str, known))
            raise InputError(f"unknown task {_label(unknown[0])}, {hint}")
        return np.array([known[label] for label in labels.tolist()], dtype=int)


def _checked(estimator: Any, X: Any, reset: bool) -> np.ndarray:
    return np.asarray(validate_data(estimator, X, reset=reset, dtype=np.float64))


def dimensions(values: Any) -> int:
    """Of anything that can become an array."""
    return np.asarray(values).ndim


def one_or_two_dimensional(y: Any, **options: Any) -> np.ndarray:
    """Targets `[n]` or `[n, T]`, checked."""
    if dimensions(y) == 2:
        return check_array(y, input_name="y", **options)
    y = column_or_1d(y, warn=True)
    return check_array(y, ensure_2d=False, input_name="y", ensure_min_samples=0, **options)


def together(predicted: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and targets of all tasks as one array each, in whatever form they come."""
    if isinstance(predicted, dict):
        predicted, y = list(predicted.values()), [y[name] for name in predicted]
    if isinstance(predicted, list):
        return np.concatenate(predicted), np.concatenate([np.asarray(part) for part in y])
    return predicted, np.asarray(y)


# ------------------------------------------------------------------ forms


def _named(values: Any) -> bool:
    """Whether this is a dict with an array for each task; some sparse matrices are dicts, too."""
    return isinstance(values, Mapping) and not hasattr(values, "shape")


def in_parts(X: Any) -> bool:
    """Whether X is an array for each task."""
    return _is_list_of_arrays(X)


def _is_list_of_arrays(values: Any) -> bool:
    """Whether this is a list (or a dict) of arrays, one for each task, not an array written as lists."""
    if _named(values):
        return True
    if not isinstance(values, list | tuple) or not values:
        return False
    return any(hasattr(part, "shape") and np.ndim(part) > 0 for part in values) or np.ndim(values[0]) == 2


def _parts_of(X: Any) -> tuple[list[Any], list[Any]]:
    if _named(X):
        if not X:
            raise InputError("X is an empty dict: give an array for each task")
        return list(X), list(X.values())
    return list(range(len(X))), list(X)


def _no_labels(task: Any) -> None:
    if task is not None:
        raise InputError("X has an array for each task, and task is given, too: leave task out")


def _same_length(X: np.ndarray, y: np.ndarray) -> None:
    if len(X) != len(y):
        raise InputError(
            f"found input variables with inconsistent numbers of samples: X has {len(X)}, y has {len(y)}"
        )


def _take_column(X: Any, column: Any) -> tuple[Any, Any]:
    """A table without its column of tasks, and that column."""
    if hasattr(X, "columns"):
        if column not in X.columns:
            raise InputError(f"X has no column {column!r}, {did_you_mean(str(column), map(str, X.columns))}")
        return X.drop(columns=[column]), np.asarray(X[column])
    if isinstance(column, str):
        raise InputError(f"X has no column names, but the tasks are in column {column!r}: give a data frame")
    X = np.asarray(X)
    if X.ndim != 2 or not -X.shape[1] <= column < X.shape[1]:
        raise InputError(f"X of shape {X.shape} has no column {column}: give the position of the tasks")
    return np.delete(X, column, axis=1), X[:, column]


def _labels(task: Any, rows: int) -> np.ndarray:
    labels = column_or_1d(np.asarray(task))
    if len(labels) != rows:
        raise InputError(f"task has {len(labels)} labels, X has {rows} rows: give one label for each row")
    missing = labels != labels if labels.dtype != object else np.array([x is None or x != x for x in labels])
    if np.any(missing):
        raise InputError("task contains NaN: every row needs the label of its task")
    return labels


def _label(name: Any) -> str:
    return repr(name.item() if hasattr(name, "item") else name)
