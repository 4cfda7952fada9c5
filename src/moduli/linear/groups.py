"""Which tasks go together: as users say it, and as weights that tasks have on their own tell."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from moduli.errors import InputError
from moduli.linear.method import Stop
from moduli.linear.problem import Problem
from moduli.linear.solvers.newton import ridge

RIDGE = 0.1
"""Weight of the penalty of the ridge from which structure is learned, the default of `Ridge`."""


def numbered(labels: np.ndarray) -> np.ndarray:
    """Group numbers 0, 1, ... in order of first appearance, `[T]`, from labels of any kind."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def given(groups: Any, names: np.ndarray, what: str = "task_groups") -> np.ndarray:
    """Group numbers `[T]` of tasks that a user put into groups.

    Args:
        groups: a dict from every task's label to the label of its group, or the labels of the groups in
            order of the tasks.
        names: labels of the T tasks.
        what: the hyperparameter that has the groups.

    Raises:
        InputError: if a task has no group, or there are groups for more or other tasks.
    """
    if not isinstance(groups, Mapping):
        labels = list(groups) if np.ndim(groups) == 1 else None
        if labels is None or len(labels) != len(names):
            raise InputError(f"{what} is {groups!r}: give a group for each of the {len(names)} tasks")
        return _numbers(labels)
    tasks = list(names.tolist())
    wrong = [name for name in tasks if name not in groups] + [name for name in groups if name not in tasks]
    if wrong:
        known = "has no group" if wrong[0] in tasks else "is no task"
        raise InputError(f"{what}: {wrong[0]!r} {known}; give a group for each of the tasks {tasks}")
    return _numbers([groups[name] for name in tasks])


def _numbers(labels: list[Any]) -> np.ndarray:
    places: dict[Any, int] = {}
    return np.array([places.setdefault(label, len(places)) for label in labels])


def cosines(V: np.ndarray) -> np.ndarray:
    """Of the columns of V `[k, T]`: `[T, T]`, with 0 for a column of zeros, and 1 on the diagonal."""
    V = V / np.maximum(np.linalg.norm(V, axis=0), 1e-300)
    out = np.clip(V.T @ V, -1.0, 1.0)
    np.fill_diagonal(out, 1.0)
    return out


def alike(problem: Problem, stop: Stop) -> np.ndarray:
    """Of the weights that tasks have in ridges of their own, `[T, T]`."""
    return cosines(ridge(problem, RIDGE, stop).W[: problem.d])


def places(what: str, tasks: Sequence[Any], names: np.ndarray) -> list[int]:
    """Positions of tasks that are given by label, or all by position.

    Raises:
        InputError: if one is unknown.
    """
    known = {name: t for t, name in enumerate(names.tolist())}
    unknown = [task for task in tasks if not (isinstance(task, Hashable) and task in known)]
    if not unknown:
        return [known[task] for task in tasks]
    if all(isinstance(task, Integral) and 0 <= int(task) < len(names) for task in tasks):
        return [int(task) for task in tasks]
    raise InputError(
        f"{what} has the task {unknown[0]!r}, which is unknown: give labels of tasks, or positions of all"
    )
