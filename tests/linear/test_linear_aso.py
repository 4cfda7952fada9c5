"""Alternating structure optimisation: worked examples, special cases, and numerical optimisers."""

import pickle

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import minimize

from moduli.errors import InputError
from moduli.linear import prox
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.methods.alternating_structure import AlternatingStructure, leading
from moduli.linear.methods.clustered import SquaredBoxNorm
from moduli.linear.methods.independent import Ridge

KINDS = pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
CONVEX = pytest.mark.parametrize("convex", [False, True])
TOL = 1e-9
D, T = 5, 6


def samples(kind=MultiTaskRegressor, noise=1.0, own=0.3, seed=0):
    """Tasks of different sizes with weights near to a plane: lists of inputs and of targets."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(D, 2)) @ rng.normal(size=(2, T)) + own * rng.normal(size=(D, T))
    X = [rng.normal(size=(n, D)) + t for t, n in enumerate(rng.integers(8, 20, T))]
    y = [x @ W[:, t] + noise * rng.normal(size=len(x)) for t, x in enumerate(X)]
    if kind is MultiTaskClassifier:
        y = [np.where(v > np.median(v), 1.0, -1.0) for v in y]
    return X, y


def fitted(method, kind=MultiTaskRegressor, **options):
    return kind(method, **{"tol": TOL, **options}).fit(*samples(kind))


class TestWorkedExamples:
    def test_shared_subspace(self):
        U = np.array([[3.0, 4], [0, 0], [4, 3]])
        Theta = leading(U, 1)
        np.testing.assert_allclose(np.abs(Theta), [[0.707107, 0, 0.707107]], atol=1e-6)
        np.testing.assert_allclose(np.abs(Theta @ U), [[4.949747, 4.949747]], atol=1e-6)
        assert np.sum((U - Theta.T @ Theta @ U) ** 2) == pytest.approx(1)

    def test_value_of_the_relaxation(self):
        # rho eta (1 + eta) tr(W^T (eta I + M)^-1 W) at rho = eta = 1: 9 at M = diag(1, 0), 6 at the best M.
        W, M = np.diag([1.0, 2.0]), np.diag([1.0, 0.0])
        assert 2 * np.trace(W.T @ np.linalg.inv(np.eye(2) + M) @ W) == pytest.approx(9)
        assert SquaredBoxNorm(2 * 2, 1, 2, 1 + 2).value(W) == pytest.approx(6)

    def test_relaxation_is_the_same_for_features_and_tasks(self):
        # So that it is the clustered multitask learning of Zhou, Chen & Ye, too. Here h is 2.
        W = np.random.default_rng(0).normal(size=(7, 4))
        values = [prox.box_value(prox.singular_values(W, m), 0.3, 1.3, 2 + 0.3 * m)[0] for m in (4, 7)]
        assert values[0] == pytest.approx(values[1])


class TestSpecialCases:
    @KINDS
    @CONVEX
    def test_nothing_shared_is_ridge(self, kind, convex):
        found = fitted(AlternatingStructure(0, 0.2, 0.5, convex), kind)
        np.testing.assert_allclose(found.coef_, fitted(Ridge(0.3), kind).coef_, atol=1e-6)
        assert found.shared_subspace_.shape == (0, D)
        np.testing.assert_array_equal(found.shared_, 0)

    @KINDS
    @CONVEX
    def test_one_task_is_ridge(self, kind, convex):
        X, y = samples(kind)
        methods = (AlternatingStructure(2, 0.2, 0.5, convex), Ridge(0.3))
        W = [kind(m, tol=TOL).fit(X[:1], y[:1]).coef_ for m in methods]
        np.testing.assert_allclose(*W, atol=1e-6)

    @KINDS
    @CONVEX
    def test_large_eta_is_ridge(self, kind, convex):
        found = fitted(AlternatingStructure(2, 0.2 / 1e7, 1e7, convex), kind)
        np.testing.assert_allclose(found.coef_, fitted(Ridge(0.2), kind).coef_, atol=1e-6)

    def test_strict_subspace(self):
        s = prox.singular_values(fitted(AlternatingStructure(2, 20.0, 1e-3), tol=1e-4).coef_)
        assert s[2] < 0.03 * s[1]

    def test_own_space_is_recovered(self):
        X, y = samples(noise=0.0, own=0.0)
        found = MultiTaskRegressor(AlternatingStructure(2, 0.1, eta=0), tol=TOL).fit(X, y)
        for t in range(T):
            np.testing.assert_allclose(found.predict(X[t], np.full(len(y[t]), t)), y[t], atol=1e-5)
        np.testing.assert_allclose(found.own_, 0, atol=1e-5)


def reduced(kind, h, alpha, eta):
    """The objective of W and intercepts, with Theta minimised out by singular values."""
    X, y = samples(kind)

    def value(p):
        W, b = p[: D * T].reshape(D, T), p[D * T :]
        loss = 0.0
        for t, (x, v) in enumerate(zip(X, y, strict=True)):
            f = x @ W[:, t] + b[t]
            loss += np.mean(0.5 * (v - f) ** 2 if kind is MultiTaskRegressor else np.logaddexp(0, -v * f))
        s = np.linalg.svd(W, compute_uv=False)
        return loss + 0.5 * alpha * (np.sum(s[h:] ** 2) + eta * np.sum(s**2))

    return value


class TestAgainstOptimisers:
    @KINDS
    def test_by_turns(self, kind):
        method = AlternatingStructure(2, 0.3, 0.2)
        found, value = fitted(method, kind), reduced(kind, 2, 0.3, 0.2)
        p = np.concatenate([found.coef_.ravel(), found.intercept_])
        assert value(p) == pytest.approx(found.objective_[-1])
        nearby = p + 0.01 * np.random.default_rng(0).normal(size=p.size)
        assert minimize(value, nearby, method="BFGS").fun == pytest.approx(value(p), rel=1e-6)
        assert (np.diff(found.objective_) <= 0).all()

    @KINDS
    def test_relaxation(self, kind):
        h, alpha, eta = 2, 0.3, 0.5
        found, (X, y) = fitted(AlternatingStructure(h, alpha, eta, convex=True), kind), samples(kind)
        W, b, M = cp.Variable((D, T)), cp.Variable(T), cp.Variable((D, D), symmetric=True)
        f = [x @ W[:, t] + b[t] for t, x in enumerate(X)]
        if kind is MultiTaskRegressor:
            loss = sum(cp.sum_squares(v - g) / (2 * len(v)) for v, g in zip(y, f, strict=True))
        else:
            loss = sum(cp.sum(cp.logistic(-cp.multiply(v, g))) / len(v) for v, g in zip(y, f, strict=True))
        penalty = alpha * eta * (1 + eta) / 2 * cp.matrix_frac(W, eta * np.eye(D) + M)
        problem = cp.Problem(cp.Minimize(loss + penalty), [M >> 0, M << np.eye(D), cp.trace(M) == h])
        problem.solve(solver=cp.CLARABEL)
        assert found.objective_[-1] == pytest.approx(problem.value, rel=1e-6)
        np.testing.assert_allclose(found.coef_, W.value, atol=1e-3)

    @KINDS
    def test_relaxation_is_a_lower_bound(self, kind):
        convex, other = (fitted(AlternatingStructure(2, 0.3, 0.5, c), kind) for c in (True, False))
        assert convex.objective_[-1] <= other.objective_[-1] + 1e-9


class TestFound:
    @KINDS
    @CONVEX
    def test_parts(self, kind, convex):
        found = fitted(AlternatingStructure(2, convex=convex), kind)
        Theta = found.shared_subspace_
        np.testing.assert_allclose(Theta @ Theta.T, np.eye(2), atol=1e-12)
        np.testing.assert_allclose(found.shared_ + found.own_, found.coef_, atol=1e-12)
        np.testing.assert_allclose(Theta @ found.own_, 0, atol=1e-10)

    def test_dimensions_are_clipped(self):
        assert fitted(AlternatingStructure(50)).shared_subspace_.shape == (D - 1, D)


class TestBehaviour:
    @CONVEX
    def test_order_of_tasks(self, convex):
        X, y = samples()
        order, method = np.array([2, 0, 3, 1, 5, 4]), AlternatingStructure(convex=convex)
        other = MultiTaskRegressor(method, tol=TOL).fit([X[t] for t in order], [y[t] for t in order])
        np.testing.assert_allclose(other.coef_, fitted(method).coef_[:, order], atol=1e-6)

    @CONVEX
    def test_warm_start_and_pickle(self, convex):
        found = fitted(AlternatingStructure(convex=convex), tol=1e-6, warm_start=True)
        copy = pickle.loads(pickle.dumps(found)).fit(*samples())
        assert copy.n_iter_ < found.n_iter_
        np.testing.assert_allclose(copy.coef_, found.coef_, atol=1e-4)

    def test_without_a_minimum_it_stops(self):
        # eta = 0 leaves the shared part free, and separable classes let it grow for ever.
        X, y = samples(MultiTaskClassifier, noise=0.0, own=0.0)
        with pytest.warns(match="has not converged"):
            found = MultiTaskClassifier(AlternatingStructure(1, 0.1, eta=0), tol=1e-12).fit(X, y)
        assert (np.diff(found.objective_) <= 0).all()
        assert np.isfinite(found.coef_).all()

    @pytest.mark.parametrize(
        ("method", "what"),
        [
            (AlternatingStructure(-1), "h"),
            (AlternatingStructure(1.5), "h"),
            (AlternatingStructure(alpha=-1), "alpha"),
            (AlternatingStructure(eta=0, convex=True), "eta is 0: give a number above 0"),
        ],
    )
    def test_impossible(self, method, what):
        with pytest.raises(InputError, match=what):
            fitted(method)
