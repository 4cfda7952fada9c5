"""Shared hypotheses: every task uses one of a few models."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from moduli.errors import InputError
from moduli.linear.design import stacked
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.losses import Logistic, Squared
from moduli.linear.methods.hypotheses import SharedHypotheses, losses, reassigned
from moduli.linear.methods.independent import Pooled, Ridge
from moduli.linear.problem import FewSamples, SampleProblem, moments

TRUE = np.arange(6) % 2


def data(T=6, n=20, d=4, noise=0.1, seed=0):
    """Tasks of two functions, in turn: X `[T, n, d]`, y `[T, n]`."""
    rng = np.random.default_rng(seed)
    X, W = rng.standard_normal((T, n, d)), rng.standard_normal((2, d))
    return X, np.einsum("tni,ti->tn", X, W[np.arange(T) % 2]) + noise * rng.standard_normal((T, n))


def problem_of(X, y, task, kind=SampleProblem, loss=None):
    """Without intercepts, from rows X `[N, d]`."""
    sizes = np.bincount(task)
    design = stacked(X, task, len(sizes))
    flat, weight = np.zeros(len(design.task)), np.zeros(len(design.task))
    flat[design.position], weight[design.position] = y, 1 / sizes[task]
    return kind(design, loss or Squared(), flat, weight)


def fitted(method, X, y, kind: Any = MultiTaskRegressor, **options) -> Any:
    return kind(method, **{"tol": 1e-9} | options).fit(list(X), list(y))


@pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("k", "same"), [(1, Pooled(0.2)), (6, Ridge(0.2)), (9, Ridge(0.2))])
def test_one_hypothesis_is_pooled_and_one_for_each_is_ridge(kind, intercept, k, same):
    X, y = data()
    y = y > 0.3 if kind is MultiTaskClassifier else y
    one = fitted(SharedHypotheses(k, 0.2), X, y, kind, fit_intercept=intercept)
    other = fitted(same, X, y, kind, fit_intercept=intercept)
    assert one.coef_ == pytest.approx(other.coef_, abs=1e-6)
    assert one.intercept_ == pytest.approx(other.intercept_, abs=1e-6)
    assert one.objective_[-1] == pytest.approx(other.objective_[-1])


@pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
@pytest.mark.parametrize("intercept", [True, False])
def test_two_groups_are_recovered_and_pooled(kind, intercept):
    X, y = data()
    y = y > 0.3 if kind is MultiTaskClassifier else y
    found = fitted(SharedHypotheses(2, 0.1, random_state=0), X, y, kind, fit_intercept=intercept)
    assert (found.task_groups_ == TRUE).all()
    assert found.optimality_ == 0
    for group in (0, 1):
        own = group == TRUE
        pooled = fitted(Pooled(0.1), X[own], y[own], kind, fit_intercept=intercept)
        assert found.hypotheses_[:, group] == pytest.approx(pooled.coef_[:, 0], abs=1e-6)
        assert found.coef_[:, own] == pytest.approx(pooled.coef_, abs=1e-6)


def test_best_of_all_assignments():
    X, y = data(T=6, n=8, noise=1.5, seed=2)
    values = []
    for labels in product(range(2), repeat=6):
        groups = [np.array(labels) == g for g in set(labels)]
        values.append(sum(fitted(Pooled(0.1), X[own], y[own]).objective_[-1] for own in groups))
    found = fitted(SharedHypotheses(2, 0.1, n_init=30, random_state=0), X, y)
    assert found.objective_[-1] == pytest.approx(min(values))


@pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
def test_the_objective_never_increases_and_no_task_would_rather_move(kind):
    X, y = data(T=30, n=10, noise=3.0)
    y = y > 0.3 if kind is MultiTaskClassifier else y
    found = fitted(SharedHypotheses(4, 0.1, n_init=1, random_state=1), X, y, kind, fit_intercept=False)
    assert len(found.objective_) > 2
    assert (np.diff(found.objective_) <= 1e-12).all()
    if kind is MultiTaskRegressor:
        F = np.stack([x @ found.hypotheses_ for x in X])
        costs = 0.5 * np.square(F - y[:, :, None]).mean(axis=1)
        costs += 0.05 * np.square(found.hypotheses_).sum(axis=0)
        assert (costs.argmin(axis=1) == found.task_groups_).all()
        assert found.objective_[-1] == pytest.approx(costs.min(axis=1).sum())


def test_losses_of_each_task():
    rng = np.random.default_rng(0)
    task = np.repeat([0, 1, 2], [3, 5, 11])
    X, y, W = rng.standard_normal((19, 2)), np.sign(rng.standard_normal(19)), rng.standard_normal((2, 3))
    predicted = np.einsum("nd,nd->n", X, W.T[task])
    expected = np.bincount(task, np.logaddexp(0, -y * predicted)) / np.bincount(task)
    assert losses(problem_of(X, y, task, loss=Logistic()), W) == pytest.approx(expected)
    expected = np.bincount(task, 0.5 * np.square(y - predicted)) / np.bincount(task)
    assert losses(problem_of(X, y, task), W) == pytest.approx(expected)
    constant = np.bincount(task, 0.5 * np.square(y)) / np.bincount(task)
    for same in (moments(problem_of(X, y, task)), problem_of(X, y, task, FewSamples)):
        assert losses(same, W) + constant == pytest.approx(expected)


def test_a_hypothesis_without_tasks_gets_the_one_that_loses_most():
    # tasks of one sample and feature whose own weights are 0, 1 and 5; all use the hypothesis 0
    own = np.array([[0.0, 1.0, 5.0]])
    problem = problem_of(np.ones((3, 1)), own[0], np.arange(3))
    new = reassigned(problem, np.zeros(3, int), np.zeros((1, 2)), own, np.zeros((0, 3)), 0.0, 1e-9)
    assert new.tolist() == [0, 0, 1]
    new = reassigned(problem, np.zeros(3, int), np.zeros((1, 4)), own, np.zeros((0, 3)), 0.0, 1e-9)
    assert sorted(new.tolist()) == [0, 1, 2]


def test_identical_tasks_need_one_hypothesis():
    X, y = data(T=1)
    found = fitted(SharedHypotheses(3, 0.1, random_state=0), np.tile(X, (5, 1, 1)), np.tile(y, (5, 1)))
    alone = fitted(Ridge(0.1), X, y)
    assert found.coef_ == pytest.approx(np.tile(alone.coef_, 5), abs=1e-8)
    assert found.objective_[-1] == pytest.approx(5 * alone.objective_[-1])
    assert found.hypotheses_.shape[1] == found.task_groups_.max() + 1


def test_starts_do_not_depend_on_the_order_of_tasks():
    X, y = data(T=12, n=10, noise=2.0)
    order = np.random.default_rng(0).permutation(12)
    method = SharedHypotheses(3, 0.1, n_init=1, random_state=1)
    one, two = fitted(method, X, y), fitted(method, X[order], y[order])
    assert two.coef_ == pytest.approx(one.coef_[:, order], abs=1e-8)


def test_more_starts_are_no_worse():
    X, y = data(T=20, n=10, noise=2.0)
    few, many = (fitted(SharedHypotheses(5, n_init=n, random_state=0), X, y) for n in (1, 20))
    assert many.objective_[-1] < few.objective_[-1]


def test_a_warm_start_goes_on_from_there():
    X, y = data(T=20, n=10, noise=2.0)
    model = fitted(SharedHypotheses(4, random_state=0), X, y, warm_start=True)
    coef = model.coef_
    model.fit(list(X), list(y))
    assert model.n_iter_ == 1
    assert model.coef_ == pytest.approx(coef, abs=1e-8)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"alpha": -1.0}, {"n_init": 0}])
def test_impossible_hyperparameters_are_told(wrong):
    X, y = data()
    with pytest.raises(InputError, match=next(iter(wrong))):
        fitted(SharedHypotheses(**wrong), X, y)
