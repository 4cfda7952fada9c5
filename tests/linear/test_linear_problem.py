"""The smooth part: its forms agree, its derivatives are right, and the solvers reach its optima."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.linear_model import (
    Lasso as SklearnLasso,
    LinearRegression,
    LogisticRegression,
    MultiTaskLasso,
    Ridge as SklearnRidge,
)

from moduli.linear import (
    GroupLasso,
    Lasso,
    MultiTaskClassifier,
    MultiTaskRegressor,
    Pooled,
    Ridge,
    TraceNorm,
    regularization_path,
)
from moduli.linear.losses import Logistic, Squared
from moduli.linear.method import Stop
from moduli.linear.penalties import L1Lq, Nothing, Parts, TraceNorm as TraceNormPenalty
from moduli.linear.problem import FewSamples, Quadratic, SampleProblem, SumOfParts, problem_of
from moduli.linear.samples import Samples
from moduli.linear.solvers.fista import fista
from moduli.linear.solvers.newton import coupled_ridge, left_factor, ridge
from moduli.linear.solvers.working_set import sparse_rows

SIZES = (9, 5, 30, 12)
LOSSES = pytest.mark.parametrize("loss", [Squared(), Logistic()])


def samples(d: int = 4, classes: bool = False, shared: bool = False, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    if shared:
        X, y = rng.standard_normal((20, d)), rng.standard_normal((20, 3))
        return Samples(X, np.sign(y) if classes else y, None, np.arange(3), "shared")
    task = rng.permutation(np.repeat(np.arange(4), SIZES))
    X, y = rng.standard_normal((len(task), d)) + task[:, None], rng.standard_normal(len(task)) + task
    return Samples(X, np.sign(y - task) if classes else y, task, np.arange(4), "rows")


def problem(loss, d: int = 4, intercept: bool = True, shared: bool = False, average: str = "tasks"):
    return problem_of(samples(d, isinstance(loss, Logistic), shared), loss, intercept, average)


def by_hand(some: Samples, loss, coef, intercept) -> float:
    """F with a loop over tasks."""
    X, y, task = some.rows()
    total = 0.0
    for t in range(len(some.names)):
        mine = task == t
        total += loss.value(X[mine] @ coef[:, t] + intercept[t], y[mine]).mean()
    return total


# ------------------------------------------------------------------ values and derivatives


@LOSSES
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("d", [4, 60])
@pytest.mark.parametrize("intercept", [False, True])
def test_the_value_is_the_sum_of_mean_losses(loss, shared, d, intercept):
    some = samples(d, isinstance(loss, Logistic), shared)
    centred = problem_of(some, loss, intercept)
    p, rng = centred.problem, np.random.default_rng(1)
    W = rng.standard_normal((p.d + p.free, p.T))
    coef, offset = centred.coefficients(W)
    assert p.value(W, p.image(W)) == pytest.approx(by_hand(some, loss, coef, offset))
    assert centred.weights(coef, offset) == pytest.approx(W)
    if not intercept:
        assert not offset.any()


@LOSSES
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("d", [3, 60])
def test_gradients_are_finite_differences(loss, shared, d):
    p = problem(loss, d, shared=shared).problem
    W = np.random.default_rng(1).standard_normal((p.d + p.free, p.T))

    def value(flat):
        W = flat.reshape(-1, p.T)
        return p.value(W, p.image(W))

    expected = approx_fprime(W.ravel(), value, 1e-6).reshape(W.shape)
    assert p.gradient(p.image(W)) == pytest.approx(expected, abs=2e-4)


@LOSSES
@pytest.mark.parametrize("shared", [False, True])
def test_hessians_are_differences_of_gradients(loss, shared):
    p = problem(loss, shared=shared).problem
    rng = np.random.default_rng(1)
    W, V = rng.standard_normal((2, p.d + p.free, p.T))
    H = np.broadcast_to(p.hessian(p.image(W)), (p.T, p.d + p.free, p.d + p.free))
    ahead, behind = (p.gradient(p.image(W + s * V)) for s in (1e-5, -1e-5))
    assert np.einsum("tij,jt->it", H, V) == pytest.approx((ahead - behind) / 2e-5, abs=1e-5)


def test_forms_of_the_squared_loss_agree():
    p = problem(Squared(), 60).problem
    assert isinstance(p, FewSamples)
    generic = SampleProblem(p.design, p.loss, p.y, p.weight)
    dense = Quadratic(p.design.gram(p.weight), p.C, p.c, p.totals)
    W = np.random.default_rng(0).standard_normal((60, 4))
    for other in (generic, dense):
        assert other.value(W, other.image(W)) == pytest.approx(p.value(W, p.image(W)))
        assert other.gradient(other.image(W)) == pytest.approx(p.gradient(p.image(W)))
        assert other.dual(W, other.image(W), 0.3) == pytest.approx(p.dual(W, p.image(W), 0.3))
        assert other.lipschitz == pytest.approx(p.lipschitz, rel=1e-6)


@LOSSES
def test_some_features_are_the_others_at_zero(loss):
    p = problem(loss, 60).problem
    kept = np.array([3, 11, 40])
    part = p.features(kept)
    V = np.random.default_rng(0).standard_normal((3 + p.free, 4))
    W = np.zeros((60 + p.free, 4))
    W[np.concatenate([kept, np.arange(60, 60 + p.free)])] = V
    assert part.value(V, part.image(V)) == pytest.approx(p.value(W, p.image(W)))


@LOSSES
def test_projected_weights_are_factors(loss):
    p = problem(loss).problem
    rng = np.random.default_rng(0)
    L, V = rng.standard_normal((4, 2)), rng.standard_normal((2 + p.free, 4))
    W = np.concatenate([L @ V[:2], V[2:]])
    q = p.projected(L)
    assert q.value(V, q.image(V)) == pytest.approx(p.value(W, p.image(W)))


@LOSSES
@pytest.mark.parametrize("shared", [False, True])
def test_the_lipschitz_estimate_is_close(loss, shared):
    p = problem(loss, intercept=False, shared=shared).problem
    zero = np.zeros((p.d, p.T))
    H = np.broadcast_to(p.hessian(p.image(zero)), (p.T, p.d, p.d))
    exact = np.linalg.eigvalsh(H).max()
    assert 0.9 * exact <= p.lipschitz <= exact * (1 + 1e-9)


def test_samples_alike_weigh_tasks_by_their_size():
    some = samples()
    centred = problem_of(some, Squared(), False, "samples")
    W = np.ones((4, 4))
    residual = some.X @ np.ones(4) - some.y
    expected = 4 / sum(SIZES) * 0.5 * (residual @ residual)
    assert centred.problem.value(W, centred.problem.image(W)) == pytest.approx(expected)


def test_large_tasks_are_kept_in_blocks_of_their_own():
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(5), [3000, 2, 3, 3000, 7])
    X, y = rng.standard_normal((len(task), 100)), rng.standard_normal(len(task))
    some = Samples(X, y, task, np.arange(5), "rows")
    p = problem_of(some, Logistic(), True).problem
    assert isinstance(p, SampleProblem)
    assert [list(tasks) for tasks, _ in p.design.blocks] == [[1, 2], [4], [0], [3]]
    W = rng.standard_normal((101, 5))
    centred = problem_of(some, Logistic(), True)
    assert p.value(W, p.image(W)) == pytest.approx(by_hand(some, Logistic(), *centred.coefficients(W)))


# ------------------------------------------------------------------ solvers


@LOSSES
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(
    "penalty", [L1Lq(0.1), L1Lq(0.1, 1), L1Lq(0.2, np.inf), TraceNormPenalty(0.1), Nothing()]
)
def test_fista_ends_where_nothing_falls(loss, intercept, penalty):
    if isinstance(loss, Logistic) and isinstance(penalty, Nothing):
        pytest.skip("separable classes have no optimum without a penalty")
    p = problem(loss, 3, intercept).problem
    found = fista(p, penalty, Stop(1e-9, 50_000))
    assert found.converged
    assert found.optimality <= 1e-9
    best = found.objective[-1]
    rng = np.random.default_rng(0)
    for size in (1e-1, 1e-3):
        for _ in range(20):
            W = found.W + size * rng.standard_normal(found.W.shape)
            assert p.value(W, p.image(W)) + penalty.value(W[: p.d]) >= best - 1e-10


def test_optimality_is_no_less_than_what_is_still_to_gain():
    p = problem(Squared(), 60).problem
    penalty = L1Lq(0.05)
    best = fista(p, penalty, Stop(1e-12, 50_000)).objective[-1]
    for steps in (1, 10, 30):
        rough = fista(p, penalty, Stop(1e-15, steps))
        to_gain = (rough.objective[-1] - best) / p.value(zero := np.zeros((60, 4)), p.image(zero))
        assert rough.optimality >= to_gain - 1e-12
        assert not rough.converged


@pytest.mark.parametrize("q", [1, 2, np.inf])
@LOSSES
def test_working_sets_change_nothing(loss, q):
    p = problem(loss, 80).problem
    whole = fista(p, L1Lq(0.2, q), Stop(1e-10, 50_000))
    few = sparse_rows(p, L1Lq(0.2, q), Stop(1e-10, 50_000))
    assert few.converged
    assert pytest.approx(whole.W, abs=1e-4) == few.W
    assert few.objective[-1] == pytest.approx(whole.objective[-1], abs=1e-9)


def test_parts_that_are_alike_are_no_better_than_one():
    p = problem(Squared()).problem
    penalty = L1Lq(0.1)
    two = fista(SumOfParts(p, 2), Parts((penalty, penalty)), Stop(1e-11, 50_000))
    one = fista(p, penalty, Stop(1e-11, 50_000))
    assert SumOfParts(p, 2).whole_of(two.W) == pytest.approx(one.W, abs=1e-5)


@LOSSES
def test_coupled_ridges_with_a_diagonal_are_ridges_apart(loss):
    p = problem(loss).problem
    weights = np.array([0.1, 0.5, 1.0, 2.0])
    apart = ridge(p, weights[:, None, None] * np.eye(4), Stop(1e-10))
    coupled = coupled_ridge(p, np.diag(weights), Stop(1e-10))
    assert pytest.approx(apart.W, abs=1e-7) == coupled.W


@LOSSES
def test_a_factor_of_unit_columns_is_a_ridge_of_each(loss):
    p = problem(loss).problem
    L, found = left_factor(p, np.eye(4), 0.3, Stop(1e-10))
    expected = ridge(p, 0.3, Stop(1e-10)).W
    assert pytest.approx(expected, abs=1e-7) == found.W
    assert pytest.approx(expected[:4], abs=1e-7) == L


# ------------------------------------------------------------------ special cases


def data(seed: int = 0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((40, 70)) + 1
    return X, X[:, :5] @ rng.standard_normal((5, 6)) + rng.standard_normal((40, 6)) + 3


@pytest.mark.parametrize("alpha", [0.02, 0.3, 2.0])
def test_group_lasso_on_shared_inputs_is_multitasklasso(alpha):
    X, Y = data()
    ours = MultiTaskRegressor(GroupLasso(alpha), tol=1e-11).fit(X, Y)
    theirs = MultiTaskLasso(alpha, tol=1e-11, max_iter=100_000).fit(X, Y)
    assert ours.coef_ == pytest.approx(theirs.coef_.T, abs=1e-6)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, abs=1e-6)
    assert ours.predict(X) == pytest.approx(theirs.predict(X), abs=1e-5)
    assert (ours.support_ == theirs.coef_.any(axis=0)).all()


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_one_task_is_lasso_and_ridge(fit_intercept):
    X, Y = data()
    y = Y[:, 0]
    for ours, theirs in (
        (Lasso(0.1), SklearnLasso(0.1, tol=1e-12, max_iter=100_000, fit_intercept=fit_intercept)),
        (GroupLasso(0.1), SklearnLasso(0.1, tol=1e-12, max_iter=100_000, fit_intercept=fit_intercept)),
        (Ridge(0.1), SklearnRidge(0.1 * len(y), fit_intercept=fit_intercept)),
        (Pooled(0.1), SklearnRidge(0.1 * len(y), fit_intercept=fit_intercept)),
    ):
        found = MultiTaskRegressor(ours, tol=1e-12, fit_intercept=fit_intercept).fit(X, y)
        assert found.coef_[:, 0] == pytest.approx(theirs.fit(X, y).coef_, abs=1e-6)
        assert found.intercept_[0] == pytest.approx(theirs.intercept_, abs=1e-6)


def test_one_task_of_classes_is_logistic_regression():
    X, Y = data()
    y = np.where(Y[:, 0] > 3, "yes", "no")
    for ours, ratio in ((Ridge(0.05), 0), (Lasso(0.05), 1)):
        theirs = LogisticRegression(
            l1_ratio=ratio,
            C=1 / (0.05 * len(y)),
            solver="saga" if ratio else "lbfgs",
            tol=1e-10,
            max_iter=100_000,
        ).fit(X, y)
        found = MultiTaskClassifier(ours, tol=1e-9).fit(X, y)
        assert found.coef_[:, 0] == pytest.approx(theirs.coef_[0], abs=1e-4)
        assert found.predict_proba(X) == pytest.approx(theirs.predict_proba(X), abs=1e-4)
        assert (found.predict(X) == theirs.predict(X)).all()


@pytest.mark.parametrize("method", [Ridge(0.0), Lasso(0.0), GroupLasso(0.0), TraceNorm(0.0)])
def test_no_penalty_is_least_squares(method):
    some = samples(3)
    found = MultiTaskRegressor(method, tol=1e-8).fit(some.X, some.y, some.task)
    for t in range(4):
        mine = some.task == t
        expected = LinearRegression().fit(some.X[mine], some.y[mine])
        assert found.coef_[:, t] == pytest.approx(expected.coef_, abs=1e-4)


@pytest.mark.parametrize("method", [Lasso, GroupLasso, TraceNorm])
@pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
def test_from_the_largest_alpha_on_only_intercepts_are_left(method, kind):
    some = samples(5, classes=kind is MultiTaskClassifier)
    args = some.X, some.y, some.task
    largest = kind(method()).largest_alpha(*args)
    at, below = (
        kind(method(share * largest), tol=1e-10, max_iter=50_000).fit(*args) for share in (1.0001, 0.98)
    )
    assert not at.coef_.any()
    assert below.coef_.any()
    if kind is MultiTaskRegressor:
        means = [some.y[some.task == t].mean() for t in range(4)]
        assert at.intercept_ == pytest.approx(means)


def test_trace_norm_lowers_the_rank():
    X, Y = data()
    ranks = [MultiTaskRegressor(TraceNorm(a), tol=1e-7).fit(X, Y).rank_ for a in (0.01, 1.5, 3.0)]
    assert ranks[0] == 6
    assert ranks[0] > ranks[1] > ranks[2] >= 1


# ------------------------------------------------------------------ paths


def test_a_path_has_the_solutions_of_its_values():
    X, Y = data()
    path = regularization_path(MultiTaskRegressor(GroupLasso(), tol=1e-10), X, Y, n_alphas=5, ratio=0.05)
    assert path.coefs.shape == (5, 70, 6)
    assert not path.coefs[0].any()
    assert path.alphas[-1] == pytest.approx(0.05 * path.alphas[0])
    alone = MultiTaskRegressor(GroupLasso(path.alphas[3]), tol=1e-10).fit(X, Y)
    assert path.coefs[3] == pytest.approx(alone.coef_, abs=1e-5)
    assert path.intercepts[3] == pytest.approx(alone.intercept_, abs=1e-5)
    assert path.objectives[3] == pytest.approx(alone.objective_[-1])


def test_a_path_takes_values_in_any_order_and_leaves_the_estimator_alone():
    X, Y = data()
    estimator = MultiTaskRegressor(Ridge(7.0))
    path = regularization_path(estimator, X, Y, alphas=[0.1, 10.0, 1.0])
    assert list(path.alphas) == [10.0, 1.0, 0.1]
    assert estimator.method.alpha == 7.0
    assert not hasattr(estimator, "coef_")


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (Ridge(), {}, "Ridge has no largest alpha"),
        (Ridge(), {"parameter": "beta", "alphas": [1.0]}, "Ridge has no 'beta': it has alpha"),
        (Lasso(), {"n_alphas": 1}, "give at least 2 values"),
        (Lasso(), {"ratio": 2.0}, "a ratio between 0 and 1"),
    ],
)
def test_impossible_paths_are_refused(method, options, message):
    X, Y = data()
    with pytest.raises(ValueError, match=message):
        regularization_path(MultiTaskRegressor(method), X, Y, **options)
