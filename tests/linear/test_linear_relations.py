"""Feature learning and task relationships: the textbook alternation and cvxpy as oracles, closed forms."""

import pickle

import cvxpy as cp
import numpy as np
import pytest

from moduli.errors import InputError
from moduli.linear import prox
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.methods.independent import Ridge
from moduli.linear.methods.low_rank import TraceNorm
from moduli.linear.methods.relations import (
    FeatureLearning,
    RidgeAndSquaredTraceNorm,
    TaskRelationship,
    covariance,
)

KINDS = pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
METHODS = [FeatureLearning(0.2), TaskRelationship(0.05, 0.2)]
TOL = 1e-10


def samples(kind=MultiTaskRegressor, d=5, T=4, seed=0):
    """Tasks of different sizes with weights of rank 2: lists of inputs and of targets."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(d, 2)) @ rng.normal(size=(2, T))
    X = [rng.normal(size=(n, d)) + t for t, n in enumerate(rng.integers(6, 20, T))]
    y = [x @ W[:, t] + 0.5 * rng.normal(size=len(x)) for t, x in enumerate(X)]
    if kind is MultiTaskClassifier:
        y = [np.where(v > np.median(v), 1.0, -1.0) for v in y]
    return X, y


def fitted(method, kind, tol=TOL, **options):
    return kind(method, tol=tol, **options).fit(*samples(kind))


def by_cvxpy(kind, penalty, d=5, T=4):
    """W and the least value of the problem from its definition."""
    X, y = samples(kind)
    W, b = cp.Variable((d, T)), cp.Variable(T)
    f = [x @ W[:, t] + b[t] for t, x in enumerate(X)]
    if kind is MultiTaskRegressor:
        losses = [cp.sum_squares(v - g) / (2 * len(v)) for v, g in zip(y, f, strict=True)]
    else:
        losses = [cp.sum(cp.logistic(-cp.multiply(v, g))) / len(v) for v, g in zip(y, f, strict=True)]
    problem = cp.Problem(cp.Minimize(sum(losses) + penalty(W)))
    problem.solve(solver=cp.CLARABEL)
    return W.value, problem.value


class TestAgainstConvexSolver:
    @KINDS
    def test_feature_learning(self, kind):
        found = fitted(FeatureLearning(0.2), kind)
        W, value = by_cvxpy(kind, lambda W: 0.1 * cp.square(cp.normNuc(W)))
        assert found.objective_[-1] == pytest.approx(value, rel=1e-6)
        np.testing.assert_allclose(found.coef_, W, atol=1e-3)

    @KINDS
    def test_task_relationship(self, kind):
        # With the relationship as a variable of its own.
        def penalty(W):
            Omega = cp.Variable((4, 4), PSD=True)
            return (
                0.025 * cp.sum_squares(W)
                + 0.1 * cp.matrix_frac(W.T, Omega)
                + 1e6 * cp.square(cp.trace(Omega) - 1)
            )

        found = fitted(TaskRelationship(0.05, 0.2), kind)
        W, value = by_cvxpy(kind, penalty)
        assert found.objective_[-1] == pytest.approx(value, rel=1e-5)
        np.testing.assert_allclose(found.coef_, W, atol=1e-3)


def alternation(a, b, side):
    """The papers' alternation for the squared loss: W and D, or W and Omega. Too small a jitter stalls it."""
    X, y = samples()
    X, y = [x - x.mean(0) for x in X], [v - v.mean() for v in y]
    d, T = X[0].shape[1], len(X)
    H = np.zeros((T * d, T * d))
    for t, x in enumerate(X):
        H[t * d : (t + 1) * d, t * d : (t + 1) * d] = x.T @ x / len(x)
    C = np.concatenate([x.T @ v / len(v) for x, v in zip(X, y, strict=True)])
    M = np.eye(d if side == "features" else T) / (d if side == "features" else T)
    for jitter in np.geomspace(1e-1, 1e-9, 4000):
        inverse = np.linalg.inv(M)
        K = np.kron(np.eye(T), inverse) if side == "features" else np.kron(inverse, np.eye(d))
        W = np.linalg.solve(H + a * np.eye(T * d) + b * K, C).reshape(T, d).T
        S = W @ W.T if side == "features" else W.T @ W
        values, Q = np.linalg.eigh(S + jitter * np.eye(len(S)))
        M = (Q * np.sqrt(np.maximum(values, 0))) @ Q.T
        M /= np.trace(M)
    return W, M


class TestAgainstAlternation:
    def test_feature_learning(self):
        found = fitted(FeatureLearning(0.2), MultiTaskRegressor)
        W, D = alternation(0.0, 0.2, "features")
        np.testing.assert_allclose(found.coef_, W, atol=1e-3)
        np.testing.assert_allclose(found.feature_covariance_, D, atol=1e-3)

    def test_task_relationship(self):
        found = fitted(TaskRelationship(0.05, 0.2), MultiTaskRegressor)
        W, Omega = alternation(0.05, 0.2, "tasks")
        np.testing.assert_allclose(found.coef_, W, atol=1e-3)
        np.testing.assert_allclose(found.relationship_, Omega, atol=1e-3)


class TestOptimality:
    """The duality gap, with the conjugate ||.||_2²/(2b) of b/2 ||.||_*², bounds how much is left to gain."""

    @KINDS
    def test_duality_gap(self, kind):
        gamma, (X, y) = 0.2, samples(kind)
        found = kind(FeatureLearning(gamma), fit_intercept=False, tol=TOL).fit(X, y)
        slopes, dual = [], 0.0
        for t, (x, v) in enumerate(zip(X, y, strict=True)):
            f = x @ found.coef_[:, t]
            if kind is MultiTaskRegressor:
                u = f - v
                dual -= np.mean(u * (0.5 * u + v))
            else:
                p = 1 / (1 + np.exp(v * f))
                u = -v * p
                dual -= np.mean(p * np.log(p) + (1 - p) * np.log(1 - p))
            slopes.append(x.T @ u / len(v))
        dual -= np.linalg.norm(np.stack(slopes, axis=1), ord=2) ** 2 / (2 * gamma)
        assert found.objective_[-1] - dual == pytest.approx(0, abs=1e-8)

    def test_prox_against_definition(self):
        rng = np.random.default_rng(0)
        V, penalty = rng.normal(size=(4, 3)), RidgeAndSquaredTraceNorm(0.7, 0.4)
        W = cp.Variable((4, 3))
        value = 0.35 * cp.sum_squares(W) + 0.2 * cp.square(cp.normNuc(W))
        cp.Problem(cp.Minimize(0.5 * cp.sum_squares(W - V) + 0.3 * value)).solve(solver=cp.CLARABEL)
        np.testing.assert_allclose(penalty.prox(V, 0.3), W.value, atol=1e-5)
        assert penalty.value(W.value) == pytest.approx(value.value)


class TestCovariance:
    def test_worked_example(self):
        W = np.array([[1.0, 2.0], [0.0, 1.0]])
        Omega = covariance(W.T)
        np.testing.assert_allclose(Omega, [[0.25, 0.25], [0.25, 0.75]], atol=1e-12)
        assert np.trace(W @ np.linalg.inv(Omega) @ W.T) == pytest.approx(8)

    def test_least_of_all_covariances(self):
        rng = np.random.default_rng(0)
        W = rng.normal(size=(3, 6))
        least = np.trace(W.T @ np.linalg.inv(covariance(W)) @ W)
        assert least == pytest.approx(np.linalg.norm(W, "nuc") ** 2)
        for _ in range(20):
            A = rng.normal(size=(3, 3))
            D = A @ A.T / np.trace(A @ A.T)
            assert np.trace(W.T @ np.linalg.inv(D) @ W) >= least

    def test_zero(self):
        np.testing.assert_array_equal(covariance(np.zeros((4, 2))), np.eye(4) / 4)

    @KINDS
    def test_of_features_found(self, kind):
        # Strong enough that some features learned are out of use.
        found = fitted(FeatureLearning(1.0), kind)
        W, D, U = found.coef_, found.feature_covariance_, found.components_
        assert found.rank_ < 4
        assert np.trace(D) == pytest.approx(1)
        assert np.sum(W * (np.linalg.pinv(D, rcond=1e-8) @ W)) == pytest.approx(np.linalg.norm(W, "nuc") ** 2)
        np.testing.assert_allclose(U.T @ U, np.eye(found.rank_), atol=1e-12)
        np.testing.assert_allclose(U @ (U.T @ W), W, atol=1e-8)
        np.testing.assert_allclose(
            D @ U, U * (prox.singular_values(W)[: found.rank_] / np.linalg.norm(W, "nuc"))
        )

    @KINDS
    def test_of_tasks_found(self, kind):
        found = fitted(TaskRelationship(0.05, 0.2), kind)
        Omega = found.relationship_
        square = Omega @ Omega
        np.testing.assert_allclose(
            square / np.trace(square), (W := found.coef_.T @ found.coef_) / np.trace(W)
        )
        assert np.trace(Omega) == pytest.approx(1)

    def test_opposite_tasks_have_negative_covariance(self):
        X, _ = samples(T=2)
        y = [x[:, 0] * sign for x, sign in zip(X, (1, -1), strict=True)]
        Omega = MultiTaskRegressor(TaskRelationship()).fit(X, y).relationship_
        assert Omega[0, 1] < -0.2


class TestSpecialCases:
    @KINDS
    def test_without_the_norm_both_are_one(self, kind):
        one, other = fitted(FeatureLearning(0.3), kind), fitted(TaskRelationship(0.0, 0.3), kind)
        np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-7)

    @KINDS
    def test_only_the_norm_is_ridge(self, kind):
        np.testing.assert_allclose(
            fitted(TaskRelationship(0.3, 0.0), kind).coef_, fitted(Ridge(0.3), kind).coef_, atol=1e-7
        )

    @KINDS
    @pytest.mark.parametrize("method", [FeatureLearning(0.3), TaskRelationship(0.1, 0.2)])
    def test_one_task_is_ridge(self, kind, method):
        X, y = samples(kind)
        W = [kind(m, tol=TOL).fit(X[:1], y[:1]).coef_ for m in (method, Ridge(0.3))]
        np.testing.assert_allclose(*W, atol=1e-7)

    @KINDS
    def test_trace_norm_at_another_weight(self, kind):
        one = fitted(FeatureLearning(0.3), kind)
        other = fitted(TraceNorm(0.3 * np.linalg.norm(one.coef_, "nuc")), kind)
        np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-4)

    def test_no_penalty_is_least_squares(self):
        found, (X, y) = fitted(FeatureLearning(0.0), MultiTaskRegressor), samples()
        for t, (x, v) in enumerate(zip(X, y, strict=True)):
            residual = v - found.predict(x, np.full(len(v), t))
            np.testing.assert_allclose(x.T @ residual / len(v), 0, atol=1e-6)


class TestBehaviour:
    @pytest.mark.parametrize("method", METHODS)
    def test_order_of_tasks(self, method):
        X, y = samples()
        order = np.array([2, 0, 3, 1])
        one = fitted(method, MultiTaskRegressor)
        other = MultiTaskRegressor(method, tol=TOL).fit([X[t] for t in order], [y[t] for t in order])
        np.testing.assert_allclose(other.coef_, one.coef_[:, order], atol=1e-7)
        if isinstance(method, TaskRelationship):
            np.testing.assert_allclose(
                other.relationship_, one.relationship_[np.ix_(order, order)], atol=1e-7
            )

    @pytest.mark.parametrize("method", METHODS)
    def test_warm_start_and_pickle(self, method):
        found = fitted(method, MultiTaskRegressor, tol=1e-6, warm_start=True)
        copy = pickle.loads(pickle.dumps(found)).fit(*samples())
        assert copy.n_iter_ < found.n_iter_
        np.testing.assert_allclose(copy.coef_, found.coef_, atol=1e-4)

    @pytest.mark.parametrize(
        ("method", "what"), [(FeatureLearning(-1), "gamma"), (TaskRelationship(lambda2="a lot"), "lambda2")]
    )
    def test_impossible(self, method, what):
        with pytest.raises(InputError, match=what):
            fitted(method, MultiTaskRegressor)
