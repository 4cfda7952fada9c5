"""DG-MTL: disjoint groups of tasks that share features."""

from typing import Any

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.special import softmax

from moduli.data import kang
from moduli.errors import InputError
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.methods.dg_mtl import DGMTL, assignment_slope, descended, group_norms, metrics
from moduli.linear.methods.independent import Ridge
from moduli.linear.methods.relations import FeatureLearning

TRUE = np.arange(6) % 2


def data(T=6, n=20, d=5, noise=0.1, seed=0):
    """Tasks in two groups of parallel weights, in turn: X `[T, n, d]`, y `[T, n]`."""
    rng = np.random.default_rng(seed)
    directions, scale = rng.standard_normal((2, d)), rng.uniform(0.5, 2, T)
    X = rng.standard_normal((T, n, d))
    W = scale[:, None] * directions[np.arange(T) % 2]
    return X, np.einsum("tni,ti->tn", X, W) + noise * rng.standard_normal((T, n))


def fitted(method, X, y, kind: Any = MultiTaskRegressor, **options) -> Any:
    return kind(method, **{"fit_intercept": False, "tol": 1e-9} | options).fit(list(X), list(y))


def one_hot(labels):
    return np.equal.outer(np.arange(max(labels) + 1), labels).astype(float)


@pytest.mark.parametrize(
    ("W", "groups", "value"),
    [
        ([[1, 0], [0, 2]], [0, 0], 9),
        ([[1, 0], [0, 2]], [0, 1], 5),
        ([[1, 2], [0, 0]], [0, 0], 5),
        ([[1, 2], [0, 0]], [0, 1], 5),
    ],
)
def test_penalty_of_worked_examples(W, groups, value):
    assert group_norms(np.array(W, float), one_hot(groups), 1e-20) == pytest.approx(value)


def test_metrics_have_trace_one_and_an_inverse():
    rng = np.random.default_rng(0)
    W, Q = rng.standard_normal((4, 6)), softmax(rng.standard_normal((2, 6)), axis=0)
    D, inverse = metrics(W, Q, 0.1), metrics(W, Q, 0.1, inverse=True)
    root = np.real(sqrtm((W * Q[1]) @ W.T + 0.1 * np.eye(4)))
    assert D[1] == pytest.approx(root / np.trace(root))
    assert D @ inverse == pytest.approx(np.tile(np.eye(4), (2, 1, 1)), abs=1e-10)


@pytest.mark.parametrize("d", [3, 9])
def test_slope_of_the_assignment_against_finite_differences(d):
    rng = np.random.default_rng(0)
    W, A, eps, h = rng.standard_normal((d, 5)), rng.standard_normal((3, 5)), 0.2, 1e-5
    _, s, Vt = np.linalg.svd(W, full_matrices=False)
    value, slope = assignment_slope(A, s[:, None] * Vt, eps, (d - len(s)) * np.sqrt(eps))
    assert value == pytest.approx(group_norms(W, softmax(A, axis=0), eps))
    for place in np.ndindex(A.shape):
        step = np.zeros_like(A)
        step[place] = h
        above, below = (group_norms(W, softmax(A + side * step, axis=0), eps) for side in (1, -1))
        assert slope[place] == pytest.approx((above - below) / (2 * h), abs=1e-6)


def test_descent_groups_parallel_weights_whatever_their_sign():
    W = np.array([[1.0, 0, -2, 0], [0, 1, 0, 3]])
    A = descended(W, 0.1 * np.random.default_rng(0).standard_normal((2, 4)), 1e-3)
    Q = softmax(A, axis=0)
    assert (Q[:, 0] > 0.5).tolist() == (Q[:, 2] > 0.5).tolist() != (Q[:, 1] > 0.5).tolist()
    assert group_norms(W, Q, 1e-3) == pytest.approx(5 + 10, rel=0.05)


def test_one_group_is_feature_learning_by_turns():
    # the alternation in closed form, with D X^T (X D X^T + n gamma I)^-1 y
    X, y = data()
    eps, gamma, W, D = 0.05, 0.2, np.ones((5, 6)), np.eye(5)
    for _ in range(300):
        root = np.real(sqrtm(W @ W.T + eps * np.eye(5)))
        D = root / np.trace(root)
        dual = [np.linalg.solve(x @ D @ x.T + 20 * gamma * np.eye(20), v) for x, v in zip(X, y, strict=True)]
        W = np.stack([D @ x.T @ a for x, a in zip(X, dual, strict=True)], axis=1)
    found = fitted(DGMTL(1, gamma, eps), X, y, tol=1e-13)
    assert found.coef_ == pytest.approx(W, abs=1e-5)
    assert found.metrics_[0] == pytest.approx(D, abs=1e-5)


@pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
def test_one_group_lies_above_the_squared_trace_norm_by_what_smoothing_adds(kind):
    X, y = data()
    y = y > 0.3 if kind is MultiTaskClassifier else y
    gamma, eps = 0.1, 1e-4
    one = fitted(DGMTL(1, gamma, eps), X, y, kind, fit_intercept=True, tol=1e-6)
    other = fitted(FeatureLearning(gamma), X, y, kind, fit_intercept=True, tol=1e-8)
    least, norm = other.objective_[-1], np.linalg.svd(other.coef_, compute_uv=False).sum()
    added = 0.5 * gamma * ((norm + 5 * np.sqrt(eps)) ** 2 - norm**2)
    assert least <= one.objective_[-1] <= least + added


def test_given_groups_are_fitted_apart():
    X, y = data()
    together = fitted(DGMTL(gamma=0.1, task_groups=TRUE), X, y, tol=1e-12)
    for group in (0, 1):
        alone = fitted(DGMTL(1, 0.1), X[group == TRUE], y[group == TRUE], tol=1e-12)
        assert together.coef_[:, group == TRUE] == pytest.approx(alone.coef_, abs=1e-5)
        assert together.metrics_[group] == pytest.approx(alone.metrics_[0], abs=1e-5)


def test_weights_are_stationary_for_the_assignment_found():
    X, y = data()
    found = fitted(DGMTL(2, 0.1, 0.1, random_state=0), X, y, tol=1e-12)
    W, Q = found.coef_, found.assignment_
    slopes = np.stack([x.T @ (x @ w - v) / 20 for x, w, v in zip(X, W.T, y, strict=True)], axis=1)
    pull = np.einsum("gt,gij,jt->it", Q, metrics(W, Q, 0.1, inverse=True), W)
    assert -slopes == pytest.approx(0.1 * pull, abs=1e-4)
    loss = 0.5 * sum(np.mean(np.square(x @ w - v)) for x, w, v in zip(X, W.T, y, strict=True))
    assert found.objective_[-1] == pytest.approx(loss + 0.05 * group_norms(W, Q, 0.1))


@pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
@pytest.mark.parametrize("given", [None, list(TRUE)])
def test_the_objective_never_increases(kind, given):
    X, y = data()
    y = y > 0.3 if kind is MultiTaskClassifier else y
    method = DGMTL(2, 0.05, task_groups=given, n_init=3, random_state=0)
    found = fitted(method, X, y, kind, fit_intercept=True, tol=1e-7)
    assert len(found.objective_) > 2
    assert (np.diff(found.objective_) <= 1e-12).all()
    assert found.score(list(X), list(y)) > 0.9


def test_groups_are_learned():
    X, y = data()
    found = fitted(DGMTL(2, 0.1, random_state=0), X, y)
    assert (found.task_groups_ == TRUE).all()
    assert found.assignment_.sum(axis=0) == pytest.approx(np.ones(6))
    assert found.assignment_[TRUE, range(6)].min() > 0.9
    known = fitted(DGMTL(gamma=0.1, task_groups=TRUE), X, y)
    assert found.objective_[-1] <= known.objective_[-1] * (1 + 1e-6)


def test_starts_do_not_depend_on_the_order_of_tasks():
    X, y = data(T=7, noise=2.0)
    order = np.array([4, 1, 6, 0, 5, 3, 2])
    method = DGMTL(3, 0.1, n_init=1, random_state=3)
    one, two = fitted(method, X, y), fitted(method, X[order], y[order])
    assert two.coef_ == pytest.approx(one.coef_[:, order], abs=1e-4)
    same = np.equal.outer(one.task_groups_, one.task_groups_)[np.ix_(order, order)]
    assert (np.equal.outer(two.task_groups_, two.task_groups_) == same).all()


def test_a_large_weight_leaves_nothing_and_none_leaves_least_squares():
    X, y = data()
    assert np.abs(fitted(DGMTL(2, 1e7, random_state=0), X, y).coef_).max() < 1e-5
    free = fitted(DGMTL(2, 0.0, random_state=0), X, y)
    assert free.coef_ == pytest.approx(fitted(Ridge(0.0), X, y).coef_)


def test_groups_are_given_by_label_or_position():
    X, y = data()
    names = list("fedcba")
    method = DGMTL(gamma=0.1, task_groups=dict(zip(names, TRUE, strict=True)))
    labelled = MultiTaskRegressor(method, fit_intercept=False, tol=1e-9)
    labelled.fit(dict(zip(names, X, strict=True)), dict(zip(names, y, strict=True)))
    listed = fitted(DGMTL(gamma=0.1, task_groups=["u", "v"] * 3), X, y)
    assert [str(name) for name in labelled.tasks_] in (names, sorted(names))
    places = [list(labelled.tasks_).index(name) for name in names]
    assert labelled.coef_[:, places] == pytest.approx(listed.coef_)
    assert (listed.task_groups_ == TRUE).all()


def test_a_warm_start_goes_on_from_there():
    X, y = data()
    model = fitted(DGMTL(2, 0.1, random_state=0), X, y, warm_start=True, tol=1e-7)
    cold, coef = model.n_iter_, model.coef_
    model.fit(list(X), list(y))
    assert model.n_iter_ <= cold
    assert model.coef_ == pytest.approx(coef, abs=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"groups": 0}, "groups is 0"),
        ({"gamma": -1.0}, "gamma"),
        ({"eps": 0.0}, "eps"),
        ({"n_init": 1.5}, "n_init"),
        ({"task_groups": [0, 1]}, "a group for each of the 6 tasks"),
        ({"task_groups": {0: 0, 1: 1}}, "2 has no group"),
        ({"task_groups": dict.fromkeys(range(7), 0)}, "6 is no task"),
    ],
)
def test_impossible_hyperparameters_are_told(wrong, message):
    X, y = data()
    with pytest.raises(InputError, match=message):
        fitted(DGMTL(**wrong), X, y)


@pytest.fixture(scope="module")
def thirty():
    (file,) = kang.DATASET.files
    if not file.place.exists():
        pytest.skip("the published arrays are not in the data folder")
    return file.read()


def mean_rmse(found, arrays):
    squares = np.square(np.stack(found.predict(list(arrays["test_X"]))) - arrays["noisy_test_Y"])
    return np.sqrt(squares.mean(axis=1)).mean()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_published_error_of_thirty_tasks_in_known_groups(thirty):
    # 5 x 5 alternations, as in the original experiment; gamma is 0.1 over the number of samples
    method = DGMTL(gamma=0.1 / 15, task_groups=kang.groups())
    found = fitted(method, thirty["train_X"], thirty["noisy_train_Y"], max_iter=5)
    assert mean_rmse(found, thirty) == pytest.approx(0.4206, abs=5e-4)
    found = fitted(method, thirty["train_X"], thirty["noisy_train_Y"])
    assert mean_rmse(found, thirty) == pytest.approx(0.418, abs=1e-3)


def test_groups_of_thirty_tasks_are_learned(thirty):
    train = thirty["train_X"], thirty["noisy_train_Y"]
    known = fitted(DGMTL(gamma=0.1 / 15, task_groups=kang.groups()), *train, tol=1e-6)
    learned = fitted(DGMTL(gamma=0.1 / 15, random_state=0), *train, tol=1e-6)
    assert learned.objective_[-1] < known.objective_[-1]
    assert mean_rmse(learned, thirty) < 0.4206
