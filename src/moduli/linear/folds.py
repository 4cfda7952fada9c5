"""Splits of samples in which every task has its share of every part."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state, indexable
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import column_or_1d

from moduli.errors import InputError
from moduli.linear.method import count, number


class TaskKFold(BaseCrossValidator):
    """K folds in which every task has its share of every fold.

    The samples of a task are dealt to the folds like cards, so that its shares differ by at most one sample,
    and so do the folds. Every task needs 2 samples; then the training part of each split has at least one.
    A task with fewer samples than folds is missing in some test parts.

    Use it as ``cv`` of scikit-learn, with the tasks as groups. A search hands the tasks to `fit`, but to the
    score only where they are in `X`, or where metadata are routed:

    * `GridSearchCV(estimator, grid, cv=TaskKFold()).fit(X, y, groups=X["school"])` with an estimator that
      has `task_column="school"`;
    * `sklearn.set_config(enable_metadata_routing=True)`, an estimator with
      `.set_fit_request(task=True).set_score_request(task=True)`, then `.fit(X, y, groups=task, task=task)`.

    Args:
        n_splits: K, at least 2.
        shuffle: whether the samples of a task are shuffled before they are dealt; otherwise fold k has every
            K-th sample of a task.
        stratify_y: whether also every class of a task has its share of every fold. Needs 2 samples of each.
        random_state: seed of shuffling.
    """

    __metadata_request__split = {"groups": True}  # noqa: RUF012 - scikit-learn's way to ask for groups

    def __init__(
        self, n_splits: int = 5, *, shuffle: bool = True, stratify_y: bool = False, random_state: Any = None
    ):
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.stratify_y = stratify_y
        self.random_state = random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # type: ignore[override]
        """K; all arguments are ignored."""
        return count("n_splits", self.n_splits, least=2)

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Generator[tuple[np.ndarray, np.ndarray], Any, None]:
        """Rows of the training part and of the test part, sorted, for each fold.

        Args:
            X: inputs, `[N, ...]`, of which the number of rows counts.
            y: labels, `[N]`; needed to stratify by them.
            groups: label of each row's task, `[N]`.

        Raises:
            InputError: if the tasks are not given, or a task (or a class of it) has one sample only.
        """
        K = self.get_n_splits()
        if groups is None:
            raise InputError("The 'groups' parameter should not be None: give the task of each row")
        X, y, groups = indexable(X, y, groups)
        names, task = _numbered(groups)
        if len(task) < K:
            raise InputError(f"n_splits={K} is greater than the number of samples, {len(task)}: give fewer")
        strata, called = task, [f"task {name!r}" for name in names.tolist()]
        _at_least_two(strata, called)
        if self.stratify_y:
            strata, called = _by_class(task, y, called)
            _at_least_two(strata, called)
        order = _sorted_by(strata, self.random_state if self.shuffle else None, self.shuffle)
        fold = np.empty(len(task), int)
        fold[order] = np.arange(len(task)) % K
        for k in range(K):
            yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)


def hold_out(task: Any, share: float, random_state: Any = None) -> np.ndarray:
    """Marks the same share of each task's rows as test rows.

    A task with n rows gives share * n of them, rounded (halves to even), but at least 1 and at most n - 1.

    Args:
        task: label of each row's task, `[N]`.
        share: between 0 and 1.
        random_state: seed of the choice.

    Returns:
        True for test rows, `[N]`.

    Raises:
        InputError: if a task has one row only, or the share is impossible.
    """
    if not 0 < number("share", share, above=True) < 1:
        raise InputError(f"share is {share!r}: give a number between 0 and 1")
    names, numbers = _numbered(task)
    _at_least_two(numbers, [f"task {name!r}" for name in names.tolist()])
    sizes = np.bincount(numbers)
    tests = np.clip(np.rint(share * sizes).astype(int), 1, sizes - 1)
    order = _sorted_by(numbers, random_state, shuffle=True)
    place = np.arange(len(numbers)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    mask = np.empty(len(numbers), bool)
    mask[order] = place < np.repeat(tests, sizes)
    return mask


def _numbered(labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels, sorted, and the number of each row's."""
    labels = column_or_1d(np.asarray(labels))
    if not len(labels):
        raise InputError("the tasks of the rows are empty: give a label for each row")
    return np.unique(labels, return_inverse=True)


def _by_class(task: np.ndarray, y: Any, called: list[str]) -> tuple[np.ndarray, list[str]]:
    """The number of each row's pair of task and class, those of a task side by side, and the pairs' names."""
    if y is None:
        raise InputError("stratify_y is True, but y is None: give the labels")
    kind = type_of_target(y, input_name="y")
    if kind not in ("binary", "multiclass"):
        raise InputError(f"stratify_y is True, but y is {kind}: give labels of classes")
    names, numbers = _numbered(y)
    pairs, strata = np.unique(task * len(names) + numbers, return_inverse=True)
    which = [divmod(pair, len(names)) for pair in pairs.tolist()]
    return strata, [f"class {names[c : c + 1].tolist()[0]!r} of {called[t]}" for t, c in which]


def _at_least_two(strata: np.ndarray, called: list[str]) -> None:
    few = np.flatnonzero(np.bincount(strata) < 2)
    if few.size:
        raise InputError(f"{called[few[0]]} has 1 sample, which cannot be in both parts: give at least 2")


def _sorted_by(strata: np.ndarray, random_state: Any, shuffle: bool) -> np.ndarray:
    """Rows sorted by stratum; within it in random order, or as they are."""
    if not shuffle:
        return np.argsort(strata, kind="stable")
    return np.lexsort((check_random_state(random_state).permutation(len(strata)), strata))
