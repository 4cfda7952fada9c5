"""Sums of two matrices: a convex solver as oracle, the limits where one part is 0, and recovery."""

import pickle

import cvxpy as cp
import numpy as np
import pytest

from moduli.errors import InputError
from moduli.linear import prox
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.methods.decomposed import Columns, DirtyModel, Robust, SparseLowRank
from moduli.linear.methods.low_rank import TraceNorm
from moduli.linear.methods.sparse import GroupLasso, Lasso

D, T = 5, 4


def row_max(W):
    return cp.sum(cp.max(cp.abs(W), axis=1))


def l1(W):
    return cp.sum(cp.abs(W))


def row_l2(W):
    return cp.sum(cp.norm(W, 2, axis=1))


def column_l2(W):
    return cp.sum(cp.norm(W, 2, axis=0))


# method, the two penalties as cvxpy states them, and the attributes of the two parts
CASES = {
    "dirty": (DirtyModel(0.15, 0.08), (0.15, row_max), (0.08, l1), ("shared_", "own_")),
    "sparse low rank": (SparseLowRank(0.08, 0.15), (0.08, l1), (0.15, cp.normNuc), ("sparse_", "low_rank_")),
    "robust low rank": (Robust(0.2, 0.15), (0.2, cp.normNuc), (0.15, column_l2), ("shared_", "own_")),
    "robust features": (
        Robust(0.12, 0.15, "features"),
        (0.12, row_l2),
        (0.15, column_l2),
        ("shared_", "own_"),
    ),
}


def samples(classes: bool = False, seed: int = 0):
    rng = np.random.default_rng(seed)
    X = [rng.normal(size=(12 + 3 * t, D)) for t in range(T)]
    W = rng.normal(size=(D, 1)) * [[1], [1], [0], [0], [0.5]] + 0.3 * rng.normal(size=(D, T))
    y = [x @ W[:, t] + 0.5 * rng.normal(size=len(x)) + 1 for t, x in enumerate(X)]
    return X, [np.where(v > 1, 1, -1) for v in y] if classes else y


def fitted(method, classes: bool = False, tol: float = 1e-9, **options):
    kind = MultiTaskClassifier if classes else MultiTaskRegressor
    return kind(method, tol=tol, max_iter=100_000, **options).fit(*samples(classes))


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_minimum_is_that_of_a_convex_solver(name, classes):
    method, (a, first), (b, second), attributes = CASES[name]
    X, y = samples(classes)
    A, B, offset = cp.Variable((D, T)), cp.Variable((D, T)), cp.Variable(T)
    loss = 0
    for t in range(T):
        f = X[t] @ (A + B)[:, t] + offset[t]
        each = cp.sum(cp.logistic(cp.multiply(-y[t], f))) if classes else 0.5 * cp.sum_squares(y[t] - f)
        loss += each / len(y[t])
    best = cp.Problem(cp.Minimize(loss + a * first(A) + b * second(B))).solve(solver=cp.CLARABEL)

    model = fitted(method, classes)
    assert model.objective_[-1] == pytest.approx(best, rel=1e-6)
    np.testing.assert_allclose(model.coef_, (A + B).value, atol=2e-4)
    np.testing.assert_allclose(model.intercept_, offset.value, atol=2e-4)
    parts = [getattr(model, attribute) for attribute in attributes]
    np.testing.assert_allclose(sum(parts), model.coef_, atol=1e-14)
    # The sum of the parts' penalties is the one in the objective, so they are the parts of this minimum.
    value = a * float(first(parts[0]).value) + b * float(second(parts[1]).value)
    decision = [x @ model.coef_[:, t] + model.intercept_[t] for t, x in enumerate(X)]
    loss = sum(
        (np.logaddexp(0, -v * f) if classes else 0.5 * (v - f) ** 2).mean()
        for v, f in zip(y, decision, strict=True)
    )
    assert loss + value == pytest.approx(model.objective_[-1], rel=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_duality_gap_closes(name):
    assert fitted(CASES[name][0], tol=1e-10).optimality_ <= 1e-10


LIMITS = {
    "B = 0 from T lambda_s": (DirtyModel(T * 0.1 * 1.01, 0.1), "shared_", Lasso(0.1)),
    "S = 0 to lambda_b": (DirtyModel(0.1, 0.101), "own_", GroupLasso(0.1, q=np.inf)),
    "L = 0": (SparseLowRank(0.1, 0.1 * np.sqrt(D * T) * 1.01), "low_rank_", Lasso(0.1)),
    "S = 0": (SparseLowRank(0.101, 0.1), "sparse_", TraceNorm(0.1)),
    "Q = 0, low rank": (Robust(0.1, 0.101), "own_", TraceNorm(0.1)),
    "Q = 0, features": (Robust(0.1, 0.1 * np.sqrt(D) * 1.01, "features"), "own_", GroupLasso(0.1)),
}


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("name", LIMITS)
def test_one_part_is_zero(name, classes):
    method, zero, other = LIMITS[name]
    model = fitted(method, classes)
    assert not getattr(model, zero).any()
    np.testing.assert_allclose(model.coef_, fitted(other, classes, tol=1e-12).coef_, atol=1e-5)


@pytest.mark.parametrize("shared", ["low_rank", "features"])
def test_all_tasks_are_outliers_where_the_shared_part_costs_too_much(shared):
    """Then each column is a problem of its own, whose gradient is -lambda_q w over the norm of w."""
    model = fitted(Robust(0.1 * np.sqrt(T) * 1.01, 0.1, shared))
    assert not model.shared_.any()
    assert model.outlier_tasks_.all()
    X, y = samples()
    for t in range(T):
        residual = X[t] @ model.coef_[:, t] + model.intercept_[t] - y[t]
        w = model.coef_[:, t]
        np.testing.assert_allclose(X[t].T @ residual / len(y[t]), -0.1 * w / np.linalg.norm(w), atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_large_weights_give_zero(name):
    zero = type(CASES[name][0])(100.0, 100.0)
    assert not fitted(zero).coef_.any()


def test_outlier_task_is_found():
    rng = np.random.default_rng(1)
    W = rng.normal(size=(8, 1)) * np.ones(9)
    W[:, 4] = 3 * rng.normal(size=8)
    X = [rng.normal(size=(60, 8)) for _ in range(9)]
    y = [x @ w + 0.1 * rng.normal(size=60) for x, w in zip(X, W.T, strict=True)]
    for method in (Robust(0.8, 0.5), Robust(0.5, 0.6, "features")):
        model = MultiTaskRegressor(method).fit(X, y)
        np.testing.assert_array_equal(np.flatnonzero(model.outlier_tasks_), [4])
        assert not model.own_[:, np.arange(9) != 4].any()


def test_dirty_model_tells_shared_features_from_own():
    rng = np.random.default_rng(2)
    W = np.zeros((10, 6))
    W[:2] = 1.0
    W[5, 3] = 2.0
    X = [rng.normal(size=(80, 10)) for _ in range(6)]
    y = [x @ w + 0.1 * rng.normal(size=80) for x, w in zip(X, W.T, strict=True)]
    model = MultiTaskRegressor(DirtyModel(0.3, 0.15)).fit(X, y)
    np.testing.assert_array_equal(np.flatnonzero(model.shared_.any(1)), [0, 1])
    assert model.own_[5, 3] > 1.5
    np.testing.assert_array_equal(np.flatnonzero(model.support_), [0, 1, 5])


def test_columns_are_rows_of_the_transpose():
    V, penalty = np.random.default_rng(0).normal(size=(3, 4)), Columns(0.7)
    assert penalty.value(V) == pytest.approx(0.7 * np.linalg.norm(V, axis=0).sum())
    np.testing.assert_allclose(penalty.prox(V, 0.5), prox.rows_l2(V.T, 0.35).T)
    # The prox is 0 from the dual norm on.
    size = penalty.dual_norm(V)
    assert not penalty.prox(V, size * (1 + 1e-12)).any()
    assert penalty.prox(V, size * 0.999).any()


@pytest.mark.parametrize("name", CASES)
def test_order_of_tasks_does_not_matter(name):
    X, y = samples()
    order = [2, 0, 3, 1]
    model = fitted(CASES[name][0])
    other = MultiTaskRegressor(CASES[name][0], tol=1e-9).fit([X[t] for t in order], [y[t] for t in order])
    np.testing.assert_allclose(other.coef_, model.coef_[:, order], atol=1e-4)


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_warm_start_is_at_the_minimum_already(name, classes):
    model = fitted(CASES[name][0], classes, tol=1e-6, warm_start=True)
    before = model.coef_.copy()
    again = model.fit(*samples(classes))
    assert again.n_iter_ == 1  # no step: the objective of the start
    np.testing.assert_allclose(again.coef_, before, atol=1e-12)
    pickle.loads(pickle.dumps(again))


def test_warm_start_from_another_method():
    model = fitted(Lasso(0.1), tol=1e-8, warm_start=True)
    model.set_params(method=DirtyModel(0.41, 0.1)).fit(*samples())
    np.testing.assert_allclose(model.coef_, fitted(Lasso(0.1)).coef_, atol=1e-4)


@pytest.mark.parametrize(
    "method",
    [
        DirtyModel(lambda_b=0),
        DirtyModel(lambda_s=-1),
        SparseLowRank(lambda_s="1"),
        SparseLowRank(lambda_l=np.nan),
        Robust(lambda_p=0.0),
        Robust(lambda_q=None),
        Robust(shared="tasks"),
    ],
)
def test_impossible_hyperparameters(method):
    with pytest.raises(InputError, match=r"lambda_|shared"):
        MultiTaskRegressor(method).fit(*samples())
