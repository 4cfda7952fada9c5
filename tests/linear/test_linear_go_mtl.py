"""GO-MTL: weights as sparse combinations of a few components."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from moduli.data import kang
from moduli.errors import InputError
from moduli.linear.design import stacked
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.losses import Squared
from moduli.linear.method import Stop
from moduli.linear.methods.go_mtl import GOMTL, balanced, codes
from moduli.linear.problem import SampleProblem
from moduli.linear.solvers.newton import left_factor


def data(T=6, n=30, d=5, noise=0.1, seed=0):
    """Tasks in two groups of parallel weights, in turn: X `[T, n, d]`, y `[T, n]`."""
    rng = np.random.default_rng(seed)
    directions, scale = rng.standard_normal((2, d)), rng.uniform(0.5, 2, T)
    X = rng.standard_normal((T, n, d))
    W = scale[:, None] * directions[np.arange(T) % 2]
    return X, np.einsum("tni,ti->tn", X, W) + noise * rng.standard_normal((T, n))


def fitted(method, X, y, kind: Any = MultiTaskRegressor, **options) -> Any:
    return kind(method, **{"fit_intercept": False, "tol": 1e-9} | options).fit(list(X), list(y))


def loss(W, X, y):
    return 0.5 * sum(np.mean(np.square(x @ w - v)) for x, w, v in zip(X, W.T, y, strict=True))


def slopes(W, X, y):
    columns = [x.T @ (x @ w - v) / len(v) for x, w, v in zip(X, W.T, y, strict=True)]
    return np.stack(columns, axis=1)


def test_steps_of_a_worked_example():
    # mu is half of the paper's 0.1
    # X_t = I of two samples, y_1 = (1, 0), y_2 = (0, 4)
    design = stacked(np.tile(np.eye(2), (2, 1)), np.array([0, 0, 1, 1]), 2)
    problem = SampleProblem(design, Squared(), np.array([1.0, 0.0, 0.0, 4.0]), np.full(4, 0.5))
    L, _ = left_factor(problem, np.array([[1.0, 2.0]]), 0.5, Stop())
    assert L[:, 0] == pytest.approx([1 / 6, 4 / 3])
    S, W = codes(problem, L, 0.05, np.zeros((1, 2)), np.zeros((2, 2)), Stop(1e-12))
    assert S[0] == pytest.approx([0.036923, 2.898462], abs=1e-6)
    assert pytest.approx(L @ S) == W


def test_neither_factor_can_be_improved():
    X, y = data()
    found = fitted(GOMTL(2, mu=0.1, lam=0.2), X, y)
    L, S = found.components_, found.codes_
    assert found.coef_ == pytest.approx(L @ S)
    G = slopes(found.coef_, X, y)
    assert pytest.approx(0.2 * L, abs=1e-4) == -G @ S.T
    pull, used = -L.T @ G, S != 0
    assert 0 < used.sum() < used.size
    assert pull[used] == pytest.approx(0.1 * np.sign(S[used]), abs=1e-4)
    assert np.abs(pull).max() <= 0.1 + 1e-4
    value = loss(found.coef_, X, y) + 0.1 * np.abs(S).sum() + 0.1 * np.square(L).sum()
    assert found.objective_[-1] == pytest.approx(value)


@pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_objective_never_increases(kind, intercept):
    X, y = data()
    y = y > 0.3 if kind is MultiTaskClassifier else y
    found = fitted(GOMTL(3, mu=0.02, lam=0.1), X, y, kind, fit_intercept=intercept, tol=1e-5)
    assert len(found.objective_) > 3
    assert (np.diff(found.objective_) <= 0).all()
    assert 0 <= found.optimality_ <= 1e-5
    assert found.score(list(X), list(y)) > 0.9


def test_components_and_codes_are_balanced_without_a_change_of_weights():
    rng = np.random.default_rng(0)
    L, S, mu, lam = rng.standard_normal((4, 2)), rng.standard_normal((2, 5)), 0.3, 0.7
    S = np.vstack([S, np.zeros(5)])
    L = np.column_stack([L, np.ones(4)])
    new_L, new_S = balanced(L, S, mu, lam)
    assert new_L @ new_S == pytest.approx(L @ S)
    for k in range(2):
        best = minimize_scalar(
            lambda c, k=k: 0.5 * lam * np.square(c * L[:, k]).sum() + mu * np.abs(S[k] / c).sum(),
            bounds=(0.01, 10),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert new_L[:, k] == pytest.approx(best.x * L[:, k], abs=1e-6)


def test_one_task_has_a_concave_penalty_of_its_length():
    # the least of mu |s| + lam/2 ||w||²/s² over s
    X, y = data(T=1)
    found = fitted(GOMTL(3, mu=0.02, lam=0.3), X, y)
    assert found.codes_.shape == (1, 1)
    penalty = 1.5 * np.cbrt(0.02**2 * 0.3) * np.linalg.norm(found.coef_) ** (2 / 3)
    assert found.objective_[-1] == pytest.approx(loss(found.coef_, X, y) + penalty)


def test_a_large_mu_leaves_nothing():
    X, y = data()
    found = fitted(GOMTL(2, mu=100.0), X, y)
    assert not found.coef_.any()
    assert found.relationship_ == pytest.approx(np.eye(6))


def test_only_the_product_of_mu_squared_and_lam_matters():
    X, y = data()
    one, two = fitted(GOMTL(2, mu=0.1, lam=0.05), X, y), fitted(GOMTL(2, mu=0.05, lam=0.2), X, y)
    assert one.coef_ == pytest.approx(two.coef_, abs=1e-4)
    assert one.objective_[-1] == pytest.approx(two.objective_[-1])


def test_groups_are_found():
    X, y = data()
    found = fitted(GOMTL(2, mu=0.05), X, y, tol=1e-6)
    assert (found.task_groups_ == [0, 1, 0, 1, 0, 1]).all()
    assert found.relationship_[::2, ::2] == pytest.approx(1, abs=0.05)
    assert np.abs(found.relationship_[::2, 1::2]).max() < 0.3
    y[4] = -y[4]
    opposite = fitted(GOMTL(2, mu=0.05), X, y, tol=1e-6)
    assert (opposite.task_groups_ == [0, 1, 0, 1, 0, 1]).all()
    assert opposite.relationship_[0, 4] == pytest.approx(-1, abs=0.05)


def test_order_of_tasks_does_not_matter():
    X, y = data()
    order = np.array([4, 1, 0, 5, 3, 2])
    one, two = fitted(GOMTL(2, mu=0.05), X, y), fitted(GOMTL(2, mu=0.05), X[order], y[order])
    assert two.coef_ == pytest.approx(one.coef_[:, order], abs=1e-4)
    assert two.relationship_ == pytest.approx(one.relationship_[np.ix_(order, order)], abs=1e-4)


def test_a_warm_start_goes_on_from_there():
    X, y = data()
    model = fitted(GOMTL(2, mu=0.05), X, y, warm_start=True, tol=1e-7)
    cold, coef = model.n_iter_, model.coef_
    model.fit(list(X), list(y))
    assert model.n_iter_ < cold
    assert model.coef_ == pytest.approx(coef, abs=1e-4)


def test_no_more_components_than_features_or_tasks():
    X, y = data(T=6, d=4)
    assert fitted(GOMTL(50), X, y, tol=1e-3).components_.shape == (4, 4)
    assert fitted(GOMTL(50), X[:2], y[:2], tol=1e-3).components_.shape == (4, 2)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"mu": -1.0}, {"lam": "a"}])
def test_impossible_hyperparameters_are_told(wrong):
    X, y = data()
    with pytest.raises(InputError, match=next(iter(wrong))):
        fitted(GOMTL(**wrong), X, y)


def test_published_error_of_thirty_tasks():
    (file,) = kang.DATASET.files
    if not file.place.exists():
        pytest.skip("the published arrays are not in the data folder")
    arrays = file.read()
    found = fitted(GOMTL(), arrays["train_X"], arrays["noisy_train_Y"], tol=1e-5)
    squares = np.square(np.stack(found.predict(list(arrays["test_X"]))) - arrays["noisy_test_Y"])
    assert np.sqrt(squares.mean(axis=1)).mean() == pytest.approx(0.3597, abs=1e-3)
