"""Impossible samples and hyperparameters: one clear line, as scikit-learn has it."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from moduli.linear import (
    DGMTL,
    GOMTL,
    Clustered,
    DirtyModel,
    GroupLasso,
    Lasso,
    MultiTaskClassifier,
    MultiTaskGP,
    MultiTaskPerceptron,
    MultiTaskRegressor,
    Ridge,
    Robust,
    TraceNorm,
)

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 3)), RNG.standard_normal(12)
TASK = np.array(["north", "south", "west"] * 4)
BOTH = pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
ALL = pytest.mark.parametrize(
    "kind", [MultiTaskRegressor, MultiTaskClassifier, MultiTaskPerceptron, MultiTaskGP]
)


def targets(kind):
    return Y if kind in (MultiTaskRegressor, MultiTaskGP) else np.array([0, 1] * 6)


def message(call, *args, error=ValueError, **named) -> str:
    with pytest.raises(error) as found:
        call(*args, **named)
    text = str(found.value)
    assert "\n" not in text
    return text


@ALL
def test_a_task_of_one_sample(kind):
    task = TASK.copy()
    task[0] = "east"
    text = message(kind().fit, X, targets(kind), task)
    assert text == "task 'east' has 1 sample: give each task at least 2"


@ALL
def test_tasks_with_other_features(kind):
    text = message(kind().fit, [X[:4], X[4:, :2]], [targets(kind)[:4], targets(kind)[4:]])
    assert text == "task 1 has 2 features, task 0 has 3: all tasks need the same"


@ALL
@pytest.mark.parametrize(
    ("bad", "expected"), [(np.nan, "Input X contains NaN"), (np.inf, "X contains infinity")]
)
def test_numbers_that_are_none(kind, bad, expected):
    holes = X.copy()
    holes[3, 1] = bad
    with pytest.raises(ValueError, match=expected):  # in scikit-learn's own words
        kind().fit(holes, targets(kind), TASK)


@BOTH
def test_targets_and_tasks_with_holes(kind):
    y = targets(kind).astype(float)
    y[2] = np.nan
    assert "NaN" in message(kind().fit, X, y, TASK)
    task = np.where(TASK == "west", np.nan, 1.0)
    assert (
        message(kind().fit, X, targets(kind), task)
        == "task contains NaN: every row needs the label of its task"
    )


@ALL
def test_an_unknown_task_at_prediction(kind):
    fitted = kind().fit(X, targets(kind), TASK)
    text = message(fitted.predict, X[:2], ["north", "soth"])
    assert text == "unknown task 'soth', did you mean 'south'?"
    assert "does not say which" in message(fitted.predict, X)
    assert "3 tasks" in message(fitted.predict, [X, X])


@ALL
def test_more_features_at_prediction(kind):
    fitted = kind().fit(X, targets(kind), TASK)
    assert "3 features" in message(fitted.predict, np.ones((2, 4)), ["north", "south"])


@pytest.mark.parametrize("kind", [MultiTaskClassifier, MultiTaskPerceptron])
def test_a_task_of_one_class(kind):
    labels = np.where(TASK == "west", "no", np.array(["yes", "no"] * 6))
    assert "task 'west'" in (text := message(kind().fit, X, labels, TASK))
    assert "one class" in text


@pytest.mark.parametrize("kind", [MultiTaskClassifier, MultiTaskPerceptron])
def test_a_task_of_three_classes(kind):
    labels = np.arange(12) % 4
    assert "Only binary classification is supported" in message(kind().fit, X, labels, TASK)


@BOTH
def test_lengths_that_differ(kind):
    assert "X has 12, y has 11" in message(kind().fit, X, targets(kind)[:11], TASK)
    assert message(kind().fit, X, targets(kind), TASK[:11]) == (
        "task has 11 labels, X has 12 rows: give one label for each row"
    )
    assert "list of 2 tasks, y is not" in message(kind().fit, [X, X], targets(kind))


@BOTH
def test_columns_that_are_not_there(kind):
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(school=TASK)
    assert message(kind().fit, frame, targets(kind), "scool") == (
        "X has no column 'scool', did you mean 'school'?"
    )
    assert "no column names" in message(kind().fit, X, targets(kind), "school")
    assert "has no column 7" in message(kind(task_column=7).fit, X, targets(kind))


@BOTH
def test_tasks_said_twice(kind):
    assert "leave task out" in message(kind().fit, [X, X], [targets(kind)] * 2, TASK)
    two = np.column_stack([targets(kind)] * 2)
    assert "columns beside the tasks of the rows" in message(kind().fit, X, two, TASK)


@BOTH
def test_columns_of_a_frame_that_changed(kind):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    fitted = kind().fit(frame, targets(kind), TASK)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame.rename(columns={"b": "z"}), TASK)


@ALL
def test_not_fitted(kind):
    with pytest.raises(NotFittedError):
        kind().predict(X, TASK)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"method": Ridge(-1)}, "alpha is -1: give a number of at least 0"),
        ({"method": Lasso("much")}, "alpha is 'much': give a number of at least 0"),
        ({"method": GroupLasso(0.1, q=3)}, "q is 3: give one of 1, 2, inf"),
        ({"method": TraceNorm(np.nan)}, "alpha is nan"),
        ({"method": GOMTL(0)}, "k is 0: give a whole number, 1 or more"),
        ({"method": DGMTL(2, gamma=-1.0)}, "gamma is -1.0"),
        ({"method": DGMTL(task_groups={"north": 0})}, "task_groups"),
        ({"method": Clustered(clusters=[["north", "south"], ["west", "eest"]])}, "clusters"),
        ({"method": DirtyModel(0.1, -0.1)}, "lambda_s is -0.1"),
        ({"method": Robust(shared="rows")}, "shared is 'rows': give one of 'low_rank', 'features'"),
        ({"method": "lasso"}, "method is 'lasso': give a method of moduli.linear, such as GroupLasso()"),
        ({"average": "rows"}, "average is 'rows': give one of 'tasks', 'samples'"),
        ({"tol": 0.0}, "tol is 0.0: give a number above 0"),
        ({"max_iter": 2.5}, "max_iter is 2.5: give a whole number, 1 or more"),
    ],
)
@BOTH
def test_impossible_hyperparameters(kind, options, expected):
    estimator = kind(**options)  # nothing is checked before the data are there
    assert expected in message(estimator.fit, X, targets(kind), TASK)


@BOTH
def test_too_few_iterations_are_said(kind):
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        kind(TraceNorm(0.01), max_iter=2).fit(X, targets(kind), TASK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind(TraceNorm(0.05), tol=1e-4).fit(X, targets(kind), TASK)


@BOTH
def test_dicts_of_other_tasks(kind):
    text = message(kind().fit, {"a": X, "b": X}, {"a": targets(kind), "c": targets(kind)})
    assert text == "X has the tasks ['a', 'b'], y has ['a', 'c']: give both for the same tasks"
