"""Mean-regularised and clustered tasks: worked examples, cvxpy as oracle, and the cases that coincide."""

import pickle

import cvxpy as cp
import numpy as np
import pytest

from moduli.errors import InputError
from moduli.linear import prox
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.methods.clustered import (
    Clustered,
    MeanAndCentred,
    MeanRegularized,
    SquaredBoxNorm,
    centred,
    coupling,
    read_off,
)
from moduli.linear.methods.independent import Pooled, Ridge

KINDS = pytest.mark.parametrize("kind", [MultiTaskRegressor, MultiTaskClassifier])
TOL = 1e-10
D, T = 4, 6
GROUP = np.array([0, 1, 0, 2, 1, 2])


def samples(kind=MultiTaskRegressor, seed=0):
    """Tasks of different sizes in three clusters: lists of inputs and of targets."""
    rng = np.random.default_rng(seed)
    W = 2 * rng.normal(size=(D, 3))[:, GROUP] + 0.2 * rng.normal(size=(D, T))
    X = [rng.normal(size=(n, D)) + t for t, n in enumerate(rng.integers(6, 20, T))]
    y = [x @ W[:, t] + 0.5 * rng.normal(size=len(x)) for t, x in enumerate(X)]
    if kind is MultiTaskClassifier:
        y = [np.where(v > np.median(v), 1.0, -1.0) for v in y]
    return X, y


def fitted(method, kind=MultiTaskRegressor, **options):
    return kind(method, **{"tol": TOL, **options}).fit(*samples(kind))


def same(one, other, kind, atol=1e-6):
    np.testing.assert_allclose(fitted(one, kind).coef_, fitted(other, kind).coef_, atol=atol)


def by_cvxpy(kind, penalty):
    """The least value of the problem from its definition, and W."""
    X, y = samples(kind)
    W, b = cp.Variable((D, T)), cp.Variable(T)
    f = [x @ W[:, t] + b[t] for t, x in enumerate(X)]
    if kind is MultiTaskRegressor:
        losses = [cp.sum_squares(v - g) / (2 * len(v)) for v, g in zip(y, f, strict=True)]
    else:
        losses = [cp.sum(cp.logistic(-cp.multiply(v, g))) / len(v) for v, g in zip(y, f, strict=True)]
    value, constraints = penalty(W)
    problem = cp.Problem(cp.Minimize(sum(losses) + value), constraints)
    problem.solve(solver=cp.CLARABEL)
    return problem.value, W.value


def omegas(W, group):
    """Omega_mean, Omega_between and Omega_within from their definitions."""
    mean = W.mean(axis=1, keepdims=True)
    means = np.stack([W[:, group == c].mean(axis=1) for c in group], axis=1)
    return W.shape[1] * np.sum(mean**2), np.sum((means - mean) ** 2), np.sum((W - means) ** 2)


class TestWorkedExamples:
    def test_value_of_a_mean(self):
        # ||w||² + (lambda / T) sum_t ||w_t - w||² = 8 + 1.
        W = np.array([[1.0, 3.0], [2.0, 2.0]])
        K = coupling(np.zeros(2, int), 1 / 2, 0, 1 / 2)
        assert np.trace(W @ K @ W.T) == pytest.approx(9)

    def test_two_scalar_tasks(self):
        X, y = [np.ones((2, 1))] * 2, [np.full(2, 1.0), np.full(2, 3.0)]
        found = MultiTaskRegressor(MeanRegularized(1, 1, form="2005"), fit_intercept=False).fit(X, y)
        np.testing.assert_allclose(found.coef_, [[2 / 3, 2]])

    def test_values_of_clusters(self):
        W, group = np.array([[1.0, 2, 5], [0, 0, 1]]), np.array([0, 0, 1])
        parts = [np.trace(W @ coupling(group, *weights) @ W.T) for weights in np.eye(3)]
        np.testing.assert_allclose(parts, [21.666667, 8.833333, 0.5], atol=1e-6)
        assert sum(parts) == pytest.approx(np.sum(W**2))

    def test_value_of_the_relaxation_without_the_mean(self):
        # rho eta (1 + eta) tr(W (eta I + M)^-1 W^T) at rho = eta = 1, k = 1, where M = diag(0, 1) is best.
        W = np.diag([1.0, 2.0])
        penalty = SquaredBoxNorm(2 * 2, 1, 2, 1 + 2)
        np.testing.assert_allclose(penalty.optimal(W), np.diag([1, 2]))
        assert penalty.value(W) == pytest.approx(6)


class TestMeanRegularized:
    def test_mean_is_the_best_w_0(self):
        # The penalty with w_0 as a variable of its own.
        def penalty(W):
            w_0 = cp.Variable(D)
            differences = W - cp.reshape(w_0, (D, 1), order="F") @ np.ones((1, T))
            self.w_0 = w_0
            return 0.7 / (2 * T) * cp.sum_squares(differences) + 0.2 * cp.sum_squares(w_0), []

        for kind in (MultiTaskRegressor, MultiTaskClassifier):
            found = fitted(MeanRegularized(0.7, 0.4), kind)
            value, W = by_cvxpy(kind, penalty)
            assert found.objective_[-1] == pytest.approx(value, rel=1e-6)
            np.testing.assert_allclose(found.coef_, W, atol=1e-3)
            np.testing.assert_allclose(found.mean_, self.w_0.value, atol=1e-3)
            np.testing.assert_allclose(found.mean_, 0.7 / 1.1 * found.coef_.mean(axis=1))

    @KINDS
    def test_forms(self, kind):
        same(MeanRegularized(0.7, 0.4), MeanRegularized(0.7, 0.7 * 0.4 / 1.1, form="2005"), kind)
        found = fitted(MeanRegularized(form="2005"), kind)
        np.testing.assert_allclose(found.mean_, found.coef_.mean(axis=1))

    @KINDS
    @pytest.mark.parametrize("form", ["2004", "2005"])
    def test_no_differences_is_pooled(self, kind, form):
        one = fitted(MeanRegularized(1e8, 0.6, form), kind, tol=1e-7)
        np.testing.assert_allclose(one.coef_, fitted(Pooled(0.6 / T), kind).coef_, atol=1e-6)

    @KINDS
    def test_no_mean_is_ridge(self, kind):
        same(MeanRegularized(0.6, 1e10), Ridge(0.6 / T), kind)
        same(MeanRegularized(0.6, 0.6, "2005"), Ridge(0.6 / T), kind)

    @KINDS
    def test_one_task_is_ridge(self, kind):
        X, y = samples(kind)
        W = [
            kind(m, tol=TOL).fit(X[:1], y[:1]).coef_
            for m in (MeanRegularized(0.6, 0.3), Ridge(0.6 * 0.3 / 0.9))
        ]
        np.testing.assert_allclose(*W, atol=1e-8)

    def test_no_penalty(self):
        found, (X, y) = fitted(MeanRegularized(0, 0)), samples()
        residual = y[0] - found.predict(X[0], np.zeros(len(y[0])))
        np.testing.assert_allclose(X[0].T @ residual, 0, atol=1e-6)


class TestGivenClusters:
    def test_coupling_is_the_sum_of_omegas(self):
        W = np.random.default_rng(0).normal(size=(D, T))
        value = np.trace(W @ coupling(GROUP, 0.3, 2.0, 5.0) @ W.T)
        assert value == pytest.approx(np.dot([0.3, 2.0, 5.0], omegas(W, GROUP)))
        assert sum(omegas(W, GROUP)) == pytest.approx(np.sum(W**2))

    @KINDS
    def test_gradient_is_zero(self, kind):
        method = Clustered(clusters=GROUP, alpha=0.2, eps_mean=0.3, eps_between=2, eps_within=5)
        found, (X, y) = fitted(method, kind), samples(kind)
        f = [x @ found.coef_[:, t] + found.intercept_[t] for t, x in enumerate(X)]
        if kind is MultiTaskRegressor:
            u = [g - v for g, v in zip(f, y, strict=True)]
        else:
            u = [-v / (1 + np.exp(v * g)) for g, v in zip(f, y, strict=True)]
        slope = np.stack([x.T @ r / len(r) for x, r in zip(X, u, strict=True)], axis=1)
        np.testing.assert_allclose(slope, -0.2 * found.coef_ @ coupling(GROUP, 0.3, 2, 5), atol=1e-7)
        np.testing.assert_array_equal(found.task_groups_, GROUP)
        for c in range(3):
            np.testing.assert_allclose(found.cluster_means_[:, c], found.coef_[:, c == GROUP].mean(axis=1))

    def test_relationship_gives_the_penalty(self):
        found = fitted(Clustered(clusters=GROUP, eps_between=2, eps_within=5))
        Wc, (_, between, within) = centred(found.coef_), omegas(found.coef_, GROUP)
        value = np.trace(Wc @ np.linalg.inv(found.relationship_) @ Wc.T)
        assert value == pytest.approx(2 * between + 5 * within)

    @KINDS
    def test_strict_clusters_share_their_weights(self, kind):
        W = fitted(Clustered(clusters=GROUP, eps_within=1e8), kind, tol=1e-7).coef_
        np.testing.assert_allclose(W[:, [0, 1, 3]], W[:, [2, 4, 5]], atol=1e-6)
        assert W[:, [0, 1, 3]].std(axis=1).max() > 0.1

    def test_ways_to_give_them(self):
        X, y = samples()
        names = list("abcdef")
        X, y = dict(zip(names, X, strict=True)), dict(zip(names, y, strict=True))
        by_name = {name: f"cluster {g}" for name, g in zip(names, GROUP, strict=True)}
        ways = [GROUP, list("xyxzyz"), by_name, [["a", "c"], ["b", "e"], ["d", "f"]]]
        W = [MultiTaskRegressor(Clustered(clusters=way)).fit(X, y).coef_ for way in ways]
        for other in W[1:]:
            np.testing.assert_array_equal(other, W[0])


def relaxed(alpha, mean, between, within, r):
    """The relaxation from its definition, with Sigma as a variable."""
    centre = np.eye(T) - np.full((T, T), 1 / T)

    def penalty(W):
        Sigma = cp.Variable((T, T), symmetric=True)
        total = (T - r + 1) / within + (r - 1) / between
        bounds = [Sigma >> np.eye(T) / within, Sigma << np.eye(T) / between, cp.trace(Sigma) == total]
        apart = cp.matrix_frac((W @ centre).T, Sigma)
        return alpha / 2 * (mean * T * cp.sum_squares(W @ np.full(T, 1 / T)) + apart), bounds

    return penalty


class TestLearnedClusters:
    @KINDS
    def test_against_convex_solver(self, kind):
        found = fitted(Clustered(3, None, 0.2, 0.3, 1.0, 6.0), kind)
        value, W = by_cvxpy(kind, relaxed(0.2, 0.3, 1.0, 6.0, 3))
        assert found.objective_[-1] == pytest.approx(value, rel=1e-6)
        np.testing.assert_allclose(found.coef_, W, atol=1e-3)

    def test_prox_against_definition(self):
        rng = np.random.default_rng(0)
        V, W = rng.normal(size=(D, T)) + 1, cp.Variable((D, T))
        penalty = MeanAndCentred(0.06, SquaredBoxNorm(0.2, 1 / 6, 1.0, 4 / 6 + 2))
        value, bounds = relaxed(0.2, 0.3, 1.0, 6.0, 3)(W)
        cp.Problem(cp.Minimize(0.5 * cp.sum_squares(W - V) + 1.5 * value), bounds).solve(solver=cp.CLARABEL)
        np.testing.assert_allclose(penalty.prox(V, 1.5), W.value, atol=1e-4)
        assert penalty.value(W.value) == pytest.approx(value.value, rel=1e-6)

    @KINDS
    def test_groups_and_relationship(self, kind):
        found = fitted(Clustered(3), kind)
        Wc, Sigma = centred(found.coef_), found.relationship_
        values = np.linalg.eigvalsh(Sigma)
        assert values[0] >= 0.1 - 1e-9
        assert values[-1] <= 1 + 1e-9
        assert np.trace(Sigma) == pytest.approx((T - 2) / 10 + 2)
        box = SquaredBoxNorm(1.0, 0.1, 1.0, (T - 2) / 10 + 2)
        assert np.trace(Wc @ np.linalg.inv(Sigma) @ Wc.T) / 2 == pytest.approx(box.value(Wc))
        assert found.cluster_means_.shape == (D, 3)
        if kind is MultiTaskRegressor:
            np.testing.assert_array_equal(found.task_groups_, GROUP)

    def test_relaxation_is_a_lower_bound(self):
        # The Sigma of given clusters is feasible.
        learned, known = fitted(Clustered(3)), fitted(Clustered(clusters=GROUP))
        assert learned.objective_[-1] <= known.objective_[-1]
        assert np.trace(known.relationship_) == pytest.approx(np.trace(learned.relationship_))

    def test_more_tasks_than_features(self):
        W = np.random.default_rng(0).normal(size=(2, 5))
        box = SquaredBoxNorm(1.0, 0.2, 1.0, 5 * 0.2 + 0.8)
        Sigma = box.optimal(W)
        assert np.trace(Sigma) == pytest.approx(1.8)
        assert np.trace(W @ np.linalg.inv(Sigma) @ W.T) / 2 == pytest.approx(box.value(W))

    def test_read_off(self):
        W = np.random.default_rng(0).normal(size=(D, 3))[:, GROUP]
        np.testing.assert_array_equal(read_off(centred(W), 3), GROUP)
        assert read_off(np.zeros((D, T)), 3).tolist() == [0] * T


class TestSpecialCases:
    @KINDS
    @pytest.mark.parametrize("clusters", [None, [0] * T])
    def test_one_cluster_is_mean_regularised(self, kind, clusters):
        alpha, mean, within = 0.1, 0.5, 4.0
        one = Clustered(1, clusters, alpha, mean, 1.0, within)
        same(one, MeanRegularized(T * alpha * within, T * alpha * mean, form="2005"), kind)
        assert fitted(one, kind).task_groups_.tolist() == [0] * T

    @KINDS
    @pytest.mark.parametrize("clusters", [None, GROUP])
    def test_equal_weights_are_ridge(self, kind, clusters):
        same(Clustered(3, clusters, 0.1, 2.0, 2.0, 2.0), Ridge(0.2), kind)

    @KINDS
    def test_as_many_clusters_as_tasks(self, kind):
        # All lambda but one are as large as they may be; there are T - 1 directions apart from the mean.
        same(Clustered(T + 5, None, 0.1, 2.0, 2.0, 50.0), Ridge(0.2), kind)


class TestBehaviour:
    METHODS = (MeanRegularized(), Clustered(3), Clustered(clusters=dict(enumerate(GROUP.tolist()))))

    @pytest.mark.parametrize("method", METHODS)
    def test_order_of_tasks(self, method):
        X, y = samples()
        order = np.array([2, 0, 3, 1, 5, 4])
        one = fitted(method)
        other = MultiTaskRegressor(method, tol=TOL).fit(
            {t: X[t] for t in order.tolist()}, {t: y[t] for t in order.tolist()}
        )
        places = np.asarray(other.tasks_)
        np.testing.assert_allclose(other.coef_, one.coef_[:, places], atol=1e-7)
        if isinstance(method, Clustered):
            np.testing.assert_allclose(
                other.relationship_, one.relationship_[np.ix_(places, places)], atol=1e-6
            )
            together = one.task_groups_[places]
            np.testing.assert_array_equal(
                other.task_groups_[:, None] == other.task_groups_, together[:, None] == together
            )

    @pytest.mark.parametrize("method", METHODS)
    def test_warm_start_and_pickle(self, method):
        found = fitted(method, MultiTaskClassifier, tol=1e-6, warm_start=True)
        copy = pickle.loads(pickle.dumps(found)).fit(*samples(MultiTaskClassifier))
        assert copy.n_iter_ < found.n_iter_
        np.testing.assert_allclose(copy.coef_, found.coef_, atol=1e-4)

    @pytest.mark.parametrize(
        ("method", "what"),
        [
            (MeanRegularized(lambda1=-1), "lambda1"),
            (MeanRegularized(form="2006"), "form"),
            (Clustered(0), "n_clusters"),
            (Clustered(eps_between=0), "eps_between"),
            (Clustered(eps_between=2, eps_within=1), "eps_between is 2, above eps_within, 1"),
            (Clustered(clusters=[0, 1]), "clusters"),
            (Clustered(clusters=3), "clusters"),
            (Clustered(clusters={0: "a"}), "1 has no group"),
            (Clustered(clusters=[[0, 1, 2], [3, 4, 5, 6]]), "6 is no task"),
            (Clustered(clusters=[[0, 1, 2], [2, 3, 4, 5]]), "one cluster only"),
            (Clustered(clusters=[[0, 1, 2], 3, 4, 5]), "list of task labels"),
        ],
    )
    def test_impossible(self, method, what):
        with pytest.raises(InputError, match=what):
            fitted(method)

    def test_box_penalty_sees_zero_singular_values(self):
        W = np.random.default_rng(0).normal(size=(2, 5))
        value = prox.box_value(np.append(prox.singular_values(W), [0, 0, 0]), 0.2, 1.0, 1.8)[0]
        assert SquaredBoxNorm(2.0, 0.2, 1.0, 1.8).value(W) == pytest.approx(value)
