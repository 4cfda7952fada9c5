"""What every method owes its users, whatever it minimises."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from moduli.linear import (
    DGMTL,
    GOMTL,
    AlternatingStructure,
    Clustered,
    DirtyModel,
    FeatureLearning,
    GraphFusedLasso,
    GroupLasso,
    Lasso,
    MeanRegularized,
    MixtureOfTasks,
    MultiTaskClassifier,
    MultiTaskRegressor,
    Pooled,
    Ridge,
    Robust,
    SharedHypotheses,
    SparseLowRank,
    TaskClustering,
    TaskRelationship,
    TraceNorm,
    TreeLasso,
)

METHODS = {
    "ridge": Ridge(0.05),
    "lasso": Lasso(0.02),
    "pooled": Pooled(0.05),
    "group-lasso": GroupLasso(0.05),
    "l1-linf": GroupLasso(0.1, q=np.inf),
    "trace-norm": TraceNorm(0.05),
    "dirty": DirtyModel(0.1, 0.05),
    "sparse-low-rank": SparseLowRank(0.03, 0.05),
    "robust": Robust(0.05, 0.04),
    "robust-features": Robust(0.05, 0.04, shared="features"),
    "feature-learning": FeatureLearning(0.01),
    "task-relationship": TaskRelationship(0.01, 0.01),
    "mean-regularized": MeanRegularized(0.1, 0.1),
    "clustered": Clustered(2, alpha=0.05),
    "tree-lasso": TreeLasso(0.05),
    "graph-fused-lasso": GraphFusedLasso(0.02, 0.02),
    "aso": AlternatingStructure(1, alpha=0.05),
    "aso-convex": AlternatingStructure(1, alpha=0.05, convex=True),
    "dg-mtl": DGMTL(2, gamma=0.01, random_state=0),
    "go-mtl": GOMTL(2, mu=0.005, lam=0.05),
    "shared-hypotheses": SharedHypotheses(2, alpha=0.05, random_state=0),
    "task-clustering": TaskClustering(n_init=2),
    "mixture-of-tasks": MixtureOfTasks(2),
}
LOCAL = {"aso", "dg-mtl", "go-mtl", "shared-hypotheses", "task-clustering", "mixture-of-tasks"}
"""Not convex: these end near a local optimum, the slower the nearer."""

CASES = [
    pytest.param(kind(method, tol=1e-4 if name in LOCAL else 1e-7), id=f"{name}-{kind.__name__[9:].lower()}")
    for name, method in METHODS.items()
    for kind in (MultiTaskRegressor, MultiTaskClassifier)
]


def near(estimator, convex: float):
    """How close weights of the same solution are, to one another and relative to their size."""
    return {"abs": convex, "rel": 1e-4} if estimator.tol < 1e-4 else {"abs": 0.02, "rel": 0.02}


def samples(classes: bool = False, seed: int = 0):
    """Three unequal tasks of six features in two groups: X, y, task in mixed order."""
    rng = np.random.default_rng(seed)
    sizes = [25, 40, 90]
    task = rng.permutation(np.repeat([2, 5, 7], sizes))
    X = rng.standard_normal((len(task), 6))
    W = np.array([[1.0, 2.0, -1.0], [2.0, 4.0, 0.0], *np.zeros((4, 3))])
    y = np.einsum("nd,nd->n", X, W.T[np.searchsorted([2, 5, 7], task)]) + 0.3 * rng.standard_normal(len(task))
    return X, (y > 0.2).astype(int) if classes else y + task, task


def quietly(estimator, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*args)


@parametrize_with_checks([case.values[0] for case in CASES])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", CASES)
def test_order_of_tasks_and_rows_changes_nothing(estimator):
    X, y, task = samples(is_classifier(estimator))
    mixed = np.random.default_rng(1).permutation(len(y))
    names = {2: "c", 5: "a", 7: "b"}
    one = quietly(clone(estimator), X, y, task)
    two = quietly(clone(estimator), X[mixed], y[mixed], np.array([names[t] for t in task])[mixed])
    order = [list(two.tasks_).index(names[t]) for t in one.tasks_]
    assert two.coef_[:, order] == pytest.approx(one.coef_, **near(estimator, 2e-4))
    assert two.intercept_[order] == pytest.approx(one.intercept_, **near(estimator, 2e-4))


@pytest.mark.parametrize("estimator", CASES)
def test_forms_of_samples_agree(estimator):
    X, y, task = samples(is_classifier(estimator))
    parts = {t: (X[task == t], y[task == t]) for t in (2, 5, 7)}
    rows = quietly(clone(estimator), X, y, task)
    lists = quietly(clone(estimator), [x for x, _ in parts.values()], [y for _, y in parts.values()])
    named = quietly(
        clone(estimator), {t: x for t, (x, _) in parts.items()}, {t: y for t, (_, y) in parts.items()}
    )
    column = quietly(clone(estimator).set_params(task_column=1), np.insert(X, 1, task, axis=1), y)
    frame = pd.DataFrame(X, columns=list("uvwxyz")).assign(school=task)
    framed = quietly(clone(estimator), frame, y, "school")
    for other in (lists, named, column, framed):
        assert other.coef_ == pytest.approx(rows.coef_, abs=1e-6)
    expected = rows.predict(X, task)
    assert framed.predict(frame, "school") == pytest.approx(expected, abs=1e-5)
    assert column.predict(np.insert(X, 1, task, axis=1)) == pytest.approx(expected, abs=1e-5)
    for number, (label, (x, _)) in enumerate(parts.items()):
        assert lists.predict([x for x, _ in parts.values()])[number] == pytest.approx(
            expected[task == label], abs=1e-5
        )
        assert named.predict({label: x})[label] == pytest.approx(expected[task == label], abs=1e-5)
    assert named.score({t: x for t, (x, _) in parts.items()}, {t: y for t, (_, y) in parts.items()}) == (
        pytest.approx(rows.score(X, y, task))
    )


@pytest.mark.parametrize("estimator", CASES)
def test_shared_inputs_are_rows_of_every_task(estimator):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 4))
    Y = X @ rng.standard_normal((4, 3)) + 0.2 * rng.standard_normal((50, 3))
    Y = Y > 0 if is_classifier(estimator) else Y
    shared = quietly(clone(estimator), X, Y)
    rows = quietly(clone(estimator), np.tile(X, (3, 1)), Y.T.ravel(), np.repeat([0, 1, 2], 50))
    assert shared.coef_ == pytest.approx(rows.coef_, **near(estimator, 1e-5))
    assert shared.predict(X).shape == (50, 3)
    assert shared.predict(X[:5], [0, 1, 2, 0, 1]) == pytest.approx(
        shared.predict(X[:5])[range(5), [0, 1, 2, 0, 1]]
    )


@pytest.mark.parametrize("estimator", CASES)
def test_the_objective_falls_and_learns(estimator):
    X, y, task = samples(is_classifier(estimator))
    fitted = quietly(clone(estimator), X, y, task)
    assert fitted.n_iter_ == len(fitted.objective_) >= 1
    assert fitted.objective_[-1] <= fitted.objective_.min() + 1e-6 * abs(fitted.objective_[0])
    assert fitted.score(X, y, task) > (0.65 if is_classifier(estimator) else 0.4)
    assert fitted.coef_.shape == (6, 3)
    assert fitted.intercept_.shape == (3,)


@pytest.mark.parametrize("estimator", CASES)
def test_a_warm_start_is_the_same_solution_sooner(estimator):
    X, y, task = samples(is_classifier(estimator))
    fitted = quietly(clone(estimator).set_params(warm_start=True), X, y, task)
    cold, before, value = fitted.n_iter_, fitted.coef_.copy(), fitted.objective_[-1]
    quietly(fitted, X, y, task)
    assert fitted.n_iter_ <= cold
    assert fitted.objective_[-1] <= value + 1e-6 * abs(value)
    if estimator.tol < 1e-4:
        assert fitted.coef_ == pytest.approx(before, **near(estimator, 1e-4))


@pytest.mark.parametrize("estimator", CASES)
def test_without_intercepts_there_are_none(estimator):
    X, y, task = samples(is_classifier(estimator))
    fitted = quietly(clone(estimator).set_params(fit_intercept=False), X, y, task)
    assert not fitted.intercept_.any()


@pytest.mark.parametrize("estimator", CASES)
def test_pickled_it_predicts_the_same(estimator):
    X, y, task = samples(is_classifier(estimator))
    fitted = quietly(clone(estimator), X, y, task)
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.predict(X, task) == fitted.predict(X, task)).all()
    assert sorted(vars(again)) == sorted(vars(fitted))


@pytest.mark.parametrize("estimator", CASES)
def test_intercepts_follow_a_shift_of_the_inputs(estimator):
    X, y, task = samples(is_classifier(estimator))
    one = quietly(clone(estimator), X, y, task)
    two = quietly(clone(estimator), X + 3.0, y, task)
    assert two.coef_ == pytest.approx(one.coef_, **near(estimator, 2e-4))
    assert two.intercept_ == pytest.approx(one.intercept_ - 3.0 * one.coef_.sum(0), **near(estimator, 2e-3))


def test_a_grid_search_over_a_pipeline_finds_the_tasks_in_their_column():
    X, y, task = samples()
    frame = pd.DataFrame(X, columns=list("uvwxyz")).assign(
        school=pd.Series(task).map({2: "c", 5: "a", 7: "b"})
    )
    scale = make_column_transformer(
        (StandardScaler(), list("uvwxyz")), remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform="pandas")
    model = make_pipeline(scale, MultiTaskRegressor(GroupLasso(), task_column="school"))
    grid = {"multitaskregressor__method__alpha": [0.01, 10.0]}
    search = GridSearchCV(
        model, grid, cv=list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, task))
    )
    search.fit(frame, y)
    assert search.best_params_["multitaskregressor__method__alpha"] == 0.01
    assert search.score(frame, y) > 0.9
    best = search.best_estimator_[-1]
    assert list(best.tasks_) == ["a", "b", "c"]
    assert list(best.feature_names_in_) == [*"uvwxyz", "school"]


def test_methods_are_compared_by_grid_search():
    X, y, task = samples()
    search = GridSearchCV(
        MultiTaskRegressor(task_column=0),
        {"method": [Ridge(0.1), Pooled(0.1)]},
        cv=list(StratifiedKFold(3).split(X, task)),
    ).fit(np.column_stack([task, X]), y)
    assert isinstance(search.best_params_["method"], Ridge)
