"""Proximal operators: worked examples, numerical optimisers, and the identities that every prox obeys."""

import numpy as np
import pytest
from scipy.optimize import minimize

from moduli.errors import InputError
from moduli.linear import prox

GROUPS = [([1], 0.5), ([0, 1], 0.4), ([2, 3], 0.7), ([0, 1, 2, 3], 0.3)]  # a forest over 4 columns
BOX = {"low": 0.5, "high": 2.0, "total": 4.0}

# name -> (prox(V, t), its penalty(W)), where the prox is argmin 0.5 ||W - V||^2 + t * penalty(W).
NORMS = {
    "l1": (prox.soft_threshold, lambda W: np.abs(W).sum()),
    "rows_l2": (prox.rows_l2, lambda W: np.linalg.norm(W, axis=1).sum()),
    "columns_l2": (prox.columns_l2, lambda W: np.linalg.norm(W, axis=0).sum()),
    "rows_linf": (prox.rows_linf, lambda W: np.abs(W).max(axis=1).sum()),
    "trace": (prox.trace_norm, lambda W: np.linalg.norm(W, "nuc")),
    "tree": (
        lambda V, t: prox.tree_l2(V, t, GROUPS),
        lambda W: sum(w * np.linalg.norm(W[:, g], axis=1).sum() for g, w in GROUPS),
    ),
}
SQUARES = {
    "squared_trace": (prox.squared_trace_norm, lambda W: np.linalg.norm(W, "nuc") ** 2 / 2),
    "box": (
        lambda V, t: prox.spectral_box(V, t, **BOX),
        lambda W: prox.box_value(prox.singular_values(W, W.shape[1]), **BOX)[0] / 2,
    ),
}
ALL = NORMS | SQUARES
SPECTRAL = ("trace", "squared_trace", "box")


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def shaped(s, d: int, T: int, seed: int = 0) -> np.ndarray:
    """A `[d, T]` matrix with singular values s and random singular vectors."""
    U, _ = np.linalg.qr(normal(seed, d, len(s)))
    Q, _ = np.linalg.qr(normal(seed + 1, T, len(s)))
    return (U * s) @ Q.T


class TestWorkedExamples:
    def test_rows_l2(self):
        W = prox.rows_l2(np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), 1)
        np.testing.assert_allclose(W, [[2.4, 3.2], [0, 0], [0, 0]])

    @pytest.mark.parametrize(("t", "expected"), [(1, [2, -2, 0.5]), (2, [1.5, -1.5, 0.5]), (6, [0, 0, 0])])
    def test_rows_linf(self, t, expected):
        np.testing.assert_array_equal(prox.rows_linf(np.array([[3, -2, 0.5]]), t), [expected])

    def test_trace_norm(self):
        np.testing.assert_allclose(prox.trace_norm(np.diag([3.0, 1.0]), 1.5), np.diag([1.5, 0]), atol=1e-15)

    def test_tree(self):
        W = prox.tree_l2(np.array([[3.0, 4.0, 1.0]]), 1.0, [([0, 1], 1), ([0, 1, 2], 1)])
        np.testing.assert_allclose(W, [[1.817914, 2.423886, 0.757464]], atol=1e-6)

    def test_convex_clustering_value(self):
        # rho eta (1 + eta) h(W), rho = eta = 1, k = 1: bounds eta and 1 + eta, total k + T eta.
        value, lam = prox.box_value(prox.singular_values(np.diag([1.0, 2.0])), 1, 2, 3)
        np.testing.assert_allclose(lam, [2, 1])
        assert 2 * value == pytest.approx(6)

    def test_squared_trace_norm(self):
        # S = (3 + 2) / (1 + 2 * 0.5) = 2.5, the threshold t S = 1.25 removes the third.
        W = prox.squared_trace_norm(np.diag([3.0, 2.0, 1.0]), 0.5)
        np.testing.assert_allclose(W, np.diag([1.75, 0.75, 0]), atol=1e-15)


class TestAgainstConvexSolver:
    """cvxpy states the problem from its definition, without any of the closed forms."""

    @staticmethod
    def penalty(name, W, cp):
        if name == "l1":
            return cp.sum(cp.abs(W)), []
        if name == "rows_l2":
            return cp.sum(cp.norm(W, 2, axis=1)), []
        if name == "columns_l2":
            return cp.sum(cp.norm(W, 2, axis=0)), []
        if name == "rows_linf":
            return cp.sum(cp.max(cp.abs(W), axis=1)), []
        if name == "trace":
            return cp.normNuc(W), []
        if name == "squared_trace":
            return cp.square(cp.normNuc(W)) / 2, []
        if name == "tree":
            return sum(w * cp.sum(cp.norm(W[:, g], 2, axis=1)) for g, w in GROUPS), []
        T = W.shape[1]
        Sigma = cp.Variable((T, T), symmetric=True)
        eye = np.eye(T)
        box = [Sigma >> BOX["low"] * eye, BOX["high"] * eye >> Sigma, cp.trace(Sigma) <= BOX["total"]]
        return cp.matrix_frac(W.T, Sigma) / 2, box

    @pytest.mark.parametrize("name", ALL)
    @pytest.mark.parametrize("d", [3, 6])
    def test_argmin(self, name, d):
        cp = pytest.importorskip("cvxpy")
        V, t = 2 * normal(d, d, 4), 0.8
        W = cp.Variable(V.shape)
        penalty, constraints = self.penalty(name, W, cp)
        problem = cp.Problem(cp.Minimize(cp.sum_squares(W - V) / 2 + t * penalty), constraints)
        problem.solve(solver="CLARABEL")
        mine, value = ALL[name][0](V, t), ALL[name][1]
        np.testing.assert_allclose(mine, W.value, atol=2e-4)
        objective = 0.5 * np.sum((mine - V) ** 2) + t * value(mine)
        assert objective == pytest.approx(problem.value, rel=1e-6)


class TestEveryProx:
    @pytest.mark.parametrize("name", ALL)
    @pytest.mark.parametrize("d", [3, 7])
    def test_no_better_point_nearby(self, name, d):
        operator, penalty = ALL[name]
        V = normal(3, d, 4)
        W = operator(V, 0.4)

        def objective(A):
            return 0.5 * np.sum((A - V) ** 2) + 0.4 * penalty(A)

        best = objective(W)
        for seed, size in enumerate(np.logspace(-6, 0, 30)):
            step = size * normal(seed, d, 4)
            # 1-strongly convex, hence not only not better, but worse by half the squared distance.
            assert objective(W + step) >= best + 0.5 * np.sum(step**2) - 1e-12

    @pytest.mark.parametrize("name", ALL)
    def test_firmly_nonexpansive(self, name):
        operator = ALL[name][0]
        for seed in range(20):
            d = 2 + seed % 6
            V, U = normal(seed, d, 4), normal(seed + 100, d, 4)
            moved = operator(V, 0.5) - operator(U, 0.5)
            assert np.sum(moved**2) <= np.sum(moved * (V - U)) + 1e-12

    @pytest.mark.parametrize("name", ALL)
    @pytest.mark.parametrize("d", [3, 6])
    def test_zero_step_is_the_identity(self, name, d):
        V = normal(4, d, 4)
        np.testing.assert_allclose(ALL[name][0](V, 0.0), V, rtol=0, atol=1e-14)

    @pytest.mark.parametrize("name", ALL)
    @pytest.mark.parametrize("t", [1e18, 1e300])
    def test_huge_step_gives_zero(self, name, t):
        W = ALL[name][0](normal(5, 6, 4), t)
        np.testing.assert_allclose(W, 0, atol=1e-15 if name in SQUARES else 0)

    @pytest.mark.parametrize("name", ALL)
    @pytest.mark.parametrize("t", [0.0, 0.5])
    def test_zero_stays_zero_without_warning(self, name, t):
        np.testing.assert_array_equal(ALL[name][0](np.zeros((3, 4)), t), 0)

    @pytest.mark.parametrize("name", ALL)
    def test_input_is_left_alone(self, name):
        V = normal(6, 5, 4)
        before = V.copy()
        W = ALL[name][0](V, 0.5)
        np.testing.assert_array_equal(V, before)
        assert not np.shares_memory(V, W)
        assert W.dtype == np.float64

    @pytest.mark.parametrize("name", NORMS)
    def test_moreau(self, name):
        # What the prox of t * norm takes away has dual norm <= t, and = t against W: <V - W, W> = t norm(W).
        operator, norm = NORMS[name]
        V, t = normal(7, 6, 4), 0.3
        W = operator(V, t)
        assert norm(W) > 0
        assert np.sum((V - W) * W) == pytest.approx(t * norm(W))
        for seed in range(50):
            A = normal(100 + seed, 6, 4)
            assert np.sum((V - W) * A) <= t * norm(A)

    @pytest.mark.parametrize("name", SPECTRAL)
    @pytest.mark.parametrize("d", [3, 6])
    def test_orthogonal_invariance(self, name, d):
        operator = ALL[name][0]
        V = normal(8, d, 4)
        P, _ = np.linalg.qr(normal(9, d, d))
        Q, _ = np.linalg.qr(normal(10, 4, 4))
        np.testing.assert_allclose(operator(P @ V @ Q, 0.4), P @ operator(V, 0.4) @ Q, atol=1e-13)

    @pytest.mark.parametrize("name", sorted(set(ALL) - {"tree"}))
    def test_task_order(self, name):
        operator = ALL[name][0]
        V, order = normal(11, 6, 4), [2, 0, 3, 1]
        np.testing.assert_allclose(operator(V[:, order], 0.4), operator(V, 0.4)[:, order], atol=1e-14)


class TestSteps:
    """One threshold per row, column or element."""

    @pytest.mark.parametrize("name", ["rows_l2", "rows_linf", "tree"])
    def test_per_row(self, name):
        operator = ALL[name][0]
        V, t = normal(12, 3, 4), np.array([0.0, 0.4, 9.0])
        rows = [operator(V[i : i + 1], t[i])[0] for i in range(3)]
        np.testing.assert_array_equal(operator(V, t), rows)

    def test_per_column(self):
        V, t = normal(13, 3, 2), np.array([0.1, 0.5])
        columns = [prox.columns_l2(V[:, j : j + 1], t[j])[:, 0] for j in range(2)]
        np.testing.assert_allclose(prox.columns_l2(V, t).T, columns)

    def test_per_element(self):
        W = prox.soft_threshold(np.array([[2.0, -2.0], [0.5, -3.0]]), np.array([[1.0, 0.5], [1.0, 3.0]]))
        np.testing.assert_array_equal(W, [[1, -1.5], [0, 0]])


class TestL1Ball:
    def test_each_row(self):
        V = np.array([[3.0, -2.0, 0.5], [0.2, 0.1, 0.0], [-1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
        expected = [[1, 0, 0], [0.2, 0.1, 0], [-1 / 3, 1 / 3, 1 / 3], [0, 0, 0]]
        np.testing.assert_allclose(prox.project_l1_ball(V, 1), expected)

    def test_variational_inequality(self):
        V, radius = 3 * normal(14, 20, 6), np.linspace(0, 12, 20)
        P = prox.project_l1_ball(V, radius)
        inside = np.abs(V).sum(axis=1) <= radius
        assert 0 < inside.sum() < 20
        np.testing.assert_array_equal(P[inside], V[inside])
        np.testing.assert_allclose(np.abs(P[~inside]).sum(axis=1), radius[~inside], atol=1e-12)
        # <V - P, z> over the ball is greatest at P; its maximum over all z is radius * ||V - P||_inf.
        best = radius * np.abs(V - P).max(axis=1)
        np.testing.assert_allclose(np.sum((V - P) * P, axis=1), best, atol=1e-12)

    def test_with_linf_gives_back_v(self):
        V = normal(15, 8, 5)
        np.testing.assert_allclose(prox.rows_linf(V, 0.7) + prox.project_l1_ball(V, 0.7), V, atol=1e-15)


class TestSpectralAccuracy:
    """The Gram matrix is used only where it is as good as an SVD."""

    @pytest.mark.parametrize("t", [0.0, 1e-12, 1e-8, 0.99e-6, 1.01e-6, 1e-4, 1e-2])
    @pytest.mark.parametrize("shape", [(30, 12), (12, 30)])
    def test_trace_norm_of_ill_conditioned(self, t, shape):
        s = np.logspace(0, -13, 12)
        V, expected = shaped(s, *shape), shaped(np.maximum(s - t, 0), *shape)
        np.testing.assert_allclose(prox.trace_norm(V, t), expected, rtol=0, atol=1e-11)

    @pytest.mark.parametrize("t", [1e-12, 1e-8, 1e-4, 1.0])
    def test_squared_trace_norm_of_ill_conditioned(self, t):
        s = np.logspace(0, -13, 12)
        expected = np.diag(prox.squared_trace_norm(np.diag(s), t))
        W = prox.squared_trace_norm(shaped(s, 30, 12), t)
        np.testing.assert_allclose(W, shaped(expected, 30, 12), rtol=0, atol=1e-11)

    @pytest.mark.parametrize("t", [1e-12, 1e-8, 1e-4, 1.0])
    @pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
    def test_box_of_ill_conditioned(self, t, scale):
        s, low, high, total = np.logspace(0, -13, 12), 1e-7, 0.3, 1.0
        lam = prox.box_value(s, low + t, high + t, total + 12 * t)[1] - t
        W = prox.spectral_box(scale * shaped(s, 30, 12), t, low, high, total) / scale
        np.testing.assert_allclose(W, shaped(s * lam / (lam + t), 30, 12), rtol=0, atol=1e-11)

    def test_low_rank(self):
        V = shaped([3.0, 2.0], 40, 9)
        np.testing.assert_allclose(prox.trace_norm(V, 0.5), shaped([2.5, 1.5], 40, 9), atol=1e-13)
        assert np.linalg.matrix_rank(prox.trace_norm(V, 2.5)) == 1

    def test_singular_values(self):
        s = prox.singular_values(shaped([3.0, 1e-12], 2, 5), 5)
        np.testing.assert_allclose(s, [3, 1e-12, 0, 0, 0], rtol=1e-3, atol=1e-15)
        assert prox.singular_values(normal(0, 2, 5)).shape == (2,)


class TestBox:
    @pytest.mark.parametrize("seed", range(8))
    def test_value_against_optimiser(self, seed):
        rng = np.random.default_rng(seed)
        sigma = rng.exponential(size=5) * (rng.random(5) > 0.2)
        low, high = 0.3, rng.uniform(0.6, 2)
        total = rng.uniform(5 * low, 5 * high)
        value, lam = prox.box_value(sigma, low, high, total)
        assert lam.min() >= low
        assert lam.max() <= high
        assert lam.sum() <= total + 1e-12
        found = minimize(
            lambda x: np.sum(sigma**2 / x),
            np.full(5, total / 5),
            jac=lambda x: -(sigma**2) / x**2,
            bounds=[(low, high)] * 5,
            constraints={"type": "ineq", "fun": lambda x: total - x.sum(), "jac": lambda x: -np.ones(5)},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 300},
        )
        assert value == pytest.approx(found.fun, rel=1e-6)

    def test_water_filling_is_exact(self):
        # Multipliers: sigma_i / lambda_i = 1 / nu where lambda is free, more at high, less at low.
        for seed in range(50):
            rng = np.random.default_rng(seed)
            sigma = rng.exponential(size=30) ** 3
            total = rng.uniform(30 * 0.1, 30 * 1.5)
            _, lam = prox.box_value(sigma, 0.1, 1.5, total)
            assert lam.sum() == pytest.approx(total, rel=1e-14)
            free = (lam > 0.1) & (lam < 1.5)
            slope = sigma / lam
            assert np.ptp(slope[free]) <= 1e-13 * slope.max()
            if free.any():
                assert np.all(slope[lam == 1.5] >= slope[free].max() * (1 - 1e-13))
                assert np.all(slope[lam == 0.1] <= slope[free].min() * (1 + 1e-13))

    def test_order_is_kept(self):
        sigma = np.array([0.2, 3.0, 0.0, 1.0])
        value, lam = prox.box_value(sigma, 0.5, 2, 4)
        other, moved = prox.box_value(sigma[::-1], 0.5, 2, 4)
        np.testing.assert_array_equal(lam, moved[::-1])
        assert value == pytest.approx(other, rel=1e-15)

    @pytest.mark.parametrize(
        ("sigma", "total", "lam"),
        [
            ([3, 2, 1], 1.5, [0.5, 0.5, 0.5]),  # all at low
            ([3, 2, 1], 6, [2, 2, 2]),  # all at high
            ([3, 2, 1], np.inf, [2, 2, 2]),
            ([3, 2, 0], 5, [2, 2, 0.5]),  # a zero singular value needs no more than low
            ([0, 0, 0], 4, [0.5, 0.5, 0.5]),
            ([1e-320, 0, 1], 3, [0.5, 0.5, 2]),
            ([1, 1, 1], 3, [1, 1, 1]),
        ],
    )
    def test_ends(self, sigma, total, lam):
        sigma = np.array(sigma, dtype=float)
        value, found = prox.box_value(sigma, 0.5, 2, total)
        np.testing.assert_allclose(found, lam)
        assert value == pytest.approx(np.sum(sigma**2 / np.array(lam)))

    def test_one_bound_is_ridge(self):
        # low = high: h(W) = ||W||_F^2 / low.
        V = normal(16, 6, 4)
        np.testing.assert_allclose(prox.spectral_box(V, 0.7, 2, 2, 8), V * 2 / 2.7, rtol=1e-14)

    @pytest.mark.parametrize(("d", "total"), [(3, 6.5), (6, 8)])
    def test_loose_total_is_ridge_at_high(self, d, total):
        # With d = 3 the fourth singular value is 0 and needs only low: 3 * 2 + 0.5 is enough.
        V = normal(17, d, 4)
        np.testing.assert_allclose(prox.spectral_box(V, 0.7, 0.5, 2, total), V * 2 / 2.7, rtol=1e-13)
        less = prox.spectral_box(V, 0.7, 0.5, 2, total - 0.1)
        assert np.linalg.norm(less) < np.linalg.norm(V * 2 / 2.7) * (1 - 1e-6)

    @pytest.mark.parametrize("d", [3, 6])
    def test_tight_total_is_ridge_at_low(self, d):
        V = normal(18, d, 4)
        np.testing.assert_allclose(prox.spectral_box(V, 0.7, 0.1, 2, 4 * 0.1), V * 0.1 / 0.8, rtol=1e-13)

    @pytest.mark.parametrize("d", [3, 6])
    def test_without_bounds_is_the_squared_trace_norm(self, d):
        V = normal(19, d, 4)
        W = prox.spectral_box(V, 0.3, 1e-14, np.inf, 1)
        np.testing.assert_allclose(W, prox.squared_trace_norm(V, 0.3), atol=1e-12)
        value, _ = prox.box_value(prox.singular_values(V), 1e-14, np.inf, 1)
        assert value == pytest.approx(np.linalg.norm(V, "nuc") ** 2)

    def test_missing_singular_values_take_low(self):
        # With d < T, the T - d zeros use (T - d) low of the total: padding with zero rows changes nothing.
        V = normal(20, 2, 5)
        padded = np.vstack([V, np.zeros((4, 5))])
        np.testing.assert_allclose(
            prox.spectral_box(V, 0.3, 0.5, 2, 4), prox.spectral_box(padded, 0.3, 0.5, 2, 4)[:2], atol=1e-13
        )

    @pytest.mark.parametrize("d", [3, 6])
    def test_optimality(self, d):
        # V - W = t * gradient of h / 2 = t U diag(s / lambda) Q^T, at the lambda that is optimal for W.
        V = normal(21, d, 4)
        W = prox.spectral_box(V, 0.6, **BOX)
        U, s, Qt = np.linalg.svd(W, full_matrices=False)
        _, lam = prox.box_value(np.pad(s, (0, 4 - s.size)), **BOX)
        np.testing.assert_allclose(V - W, 0.6 * (U * (s / lam[: s.size])) @ Qt, atol=1e-12)

    def test_rounded_total(self):
        total = sum([0.1] * 10)  # a little less than 10 * 0.1
        assert total < 10 * 0.1
        np.testing.assert_array_equal(prox.box_value(np.arange(10.0), 0.1, 1, total)[1], 0.1)

    @pytest.mark.parametrize(
        ("low", "high", "total", "words"),
        [
            (0, 1, 4, "0 < low <= high"),
            (2, 1, 4, "0 < low <= high"),
            (np.nan, 1, 4, "0 < low <= high"),
            (1, 2, 3, "at least 4"),
            (1, 2, np.nan, "at least 4"),
        ],
    )
    def test_impossible_box(self, low, high, total, words):
        with pytest.raises(InputError, match=words):
            prox.spectral_box(np.eye(4), 1.0, low, high, total)
        with pytest.raises(InputError, match=words):
            prox.box_value(np.ones(4), low, high, total)


class TestTree:
    def test_disjoint_groups_are_group_lassos(self):
        V = normal(22, 5, 4)
        W = prox.tree_l2(V, 0.5, [([0, 2], 1.0), ([1, 3], 2.0)])
        np.testing.assert_allclose(W[:, [0, 2]], prox.rows_l2(V[:, [0, 2]], 0.5))
        np.testing.assert_allclose(W[:, [1, 3]], prox.rows_l2(V[:, [1, 3]], 1.0))

    def test_root_alone_and_leaves_alone(self):
        V = normal(23, 5, 4)
        np.testing.assert_array_equal(prox.tree_l2(V, 0.5, [(range(4), 1.0)]), prox.rows_l2(V, 0.5))
        leaves = [(np.array([j]), 1.0) for j in range(4)]
        np.testing.assert_allclose(prox.tree_l2(V, 0.5, leaves), prox.soft_threshold(V, 0.5), atol=1e-15)

    def test_order_matters(self):
        # Root before leaf is another map: the optimum needs the leaves first.
        V = normal(24, 5, 4)
        assert not np.allclose(prox.tree_l2(V, 0.8, GROUPS), prox.tree_l2(V, 0.8, GROUPS[::-1]))
