"""Predictions of linear models of several tasks, and of two classes each."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d

from moduli.errors import InputError
from moduli.linear.labels import TwoClasses
from moduli.linear.samples import Queries, TaskInputs, one_or_two_dimensional, together


class LinearPrediction(TaskInputs):
    """Of coefficients ``coef_`` `[d, T]` and intercepts ``intercept_`` `[T]`."""

    coef_: np.ndarray
    intercept_: np.ndarray

    def _decision(self, X: Any, task: Any) -> tuple[np.ndarray, Queries]:
        """x . w + b `[N]`, or `[n, T]` for all tasks, and what was asked."""
        check_is_fitted(self, "coef_")
        queries = self._queries(X, task)
        if queries.task is None:
            return queries.X @ self.coef_ + self.intercept_, queries
        own = np.einsum("nd,nd->n", queries.X, self.coef_.T[queries.task])
        return own + self.intercept_[queries.task], queries


class BinaryPrediction(ClassifierMixin, LinearPrediction):
    """Of the two classes that each task has, known as ``_two_classes`` after fitting."""

    _two_classes: TwoClasses

    def decision_function(self, X: Any, task: Any = None) -> Any:
        """x . w + b of each row's task, in the form of `X`; for logistic regression the log odds of the
        second class. Arguments as of `predict`.
        """
        decision, queries = self._decision(X, task)
        return queries.arrange(decision)

    def predict(self, X: Any, task: Any = None) -> Any:
        """Labels, in the form of `X`: `[N]` for rows, `[n, T]` where inputs are shared, or a list.

        Args:
            X: inputs.
            task: as in `fit`.

        Raises:
            InputError: if a task is unknown, or not given.
        """
        decision, queries = self._decision(X, task)
        return queries.arrange(self._two_classes.of_decision(decision, queries.task))

    def score(self, X: Any, y: Any, task: Any = None) -> float:  # type: ignore[override]
        """Accuracy of all predictions together.

        Args:
            X: inputs.
            y: labels, in the same form.
            task: as in `fit`.
        """
        predicted, y = together(self.predict(X, task), y)
        return float(accuracy_score(np.ravel(y), np.ravel(predicted)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def checked_labels(y: Any) -> np.ndarray:
    """Labels `[n]`, or `[n, T]`, checked.

    Raises:
        InputError: if they are numbers with fractions.
    """
    y = np.asarray(y)
    y = one_or_two_dimensional(column_or_1d(y, warn=True) if y.shape[1:] == (1,) else y, dtype=None)
    check_classification_targets(y if y.ndim == 1 else y[:, 0])
    if type_of_target(y, input_name="y") == "continuous-multioutput":
        raise InputError(
            "y has numbers with fractions: classes are needed, use MultiTaskRegressor for numbers"
        )
    return y
