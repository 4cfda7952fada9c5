"""Trees and graphs of tasks: worked examples, a convex solver as oracle, and the limits of both penalties."""

import pickle

import cvxpy as cp
import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage

from moduli.errors import InputError
from moduli.linear import prox
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.methods.graph import FusedNorm, Graph, GraphFusedLasso, fused
from moduli.linear.methods.sparse import GroupLasso, Lasso
from moduli.linear.methods.tree import Tree, TreeLasso, TreeNorm

D, T = 5, 4
NESTED = (0.6, [(0.3, [0, 1]), 2, (0.8, [3])])
EDGES = [(0, 1, 0.9), (1, 2, -0.6), (0, 2, 0.3), (2, 3, 0.7)]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def samples(classes: bool = False, seed: int = 0):
    rng = np.random.default_rng(seed)
    X = [rng.normal(size=(12 + 3 * t, D)) for t in range(T)]
    W = rng.normal(size=(D, 1)) * [[1], [1], [0], [0], [0.5]] + 0.3 * rng.normal(size=(D, T))
    y = [x @ W[:, t] + 0.5 * rng.normal(size=len(x)) + 1 for t, x in enumerate(X)]
    return X, [np.where(v > 1, 1, -1) for v in y] if classes else y


def fitted(method, classes: bool = False, tol: float = 1e-9, **options):
    kind = MultiTaskClassifier if classes else MultiTaskRegressor
    return kind(method, tol=tol, max_iter=100_000, **options).fit(*samples(classes))


def groups(tree: Tree) -> list:
    return [group for level in tree.levels() for group in level]


def tree_penalty(W, alpha, cp=cp):
    weighted = groups(Tree.of_lists(NESTED, np.arange(T)))
    return alpha * sum(w * cp.sum(cp.norm(W[:, list(g)], 2, axis=1)) for g, w in weighted)


def graph_penalty(W, alpha, gamma, weight="abs"):
    total = alpha * cp.sum(cp.abs(W))
    for m, k, r in EDGES:
        tau = r**2 if weight == "square" else abs(r)
        total += gamma * tau * cp.sum(cp.abs(W[:, m] - np.sign(r) * W[:, k]))
    return total


CASES = {
    "tree": (TreeLasso(0.1, NESTED), lambda W: tree_penalty(W, 0.1)),
    "graph": (GraphFusedLasso(0.05, 0.1, EDGES), lambda W: graph_penalty(W, 0.05, 0.1)),
    "graph squares": (
        GraphFusedLasso(0.05, 0.3, EDGES, weight="square"),
        lambda W: graph_penalty(W, 0.05, 0.3, "square"),
    ),
}


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_minimum_is_that_of_a_convex_solver(name, classes):
    method, penalty = CASES[name]
    X, y = samples(classes)
    W, offset = cp.Variable((D, T)), cp.Variable(T)
    loss = 0
    for t in range(T):
        f = X[t] @ W[:, t] + offset[t]
        each = cp.sum(cp.logistic(cp.multiply(-y[t], f))) if classes else 0.5 * cp.sum_squares(y[t] - f)
        loss += each / len(y[t])
    best = cp.Problem(cp.Minimize(loss + penalty(W))).solve(solver=cp.CLARABEL)

    model = fitted(method, classes)
    assert model.objective_[-1] == pytest.approx(best, rel=1e-6)
    np.testing.assert_allclose(model.coef_, W.value, atol=2e-4)
    np.testing.assert_allclose(model.intercept_, offset.value, atol=2e-4)
    np.testing.assert_array_equal(model.support_, model.coef_.any(axis=1))


@pytest.mark.parametrize("name", CASES)
def test_duality_gap_closes(name):
    assert fitted(CASES[name][0], tol=1e-10).optimality_ <= 1e-10


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_warm_start_is_at_the_minimum_already(name, classes):
    model = fitted(CASES[name][0], classes, tol=1e-6, warm_start=True)
    before = model.coef_.copy()
    again = pickle.loads(pickle.dumps(model)).fit(*samples(classes))
    assert again.n_iter_ <= 10
    np.testing.assert_allclose(again.coef_, before, atol=1e-4)


class TestTree:
    def test_worked_example_of_the_weights(self):
        tree = Tree.of_lists((0.6, [(0.3, [1, 2]), 3]), np.array([1, 2, 3]))
        weights = dict(groups(tree))
        assert weights == pytest.approx({(0, 1, 2): 0.4, (0, 1): 0.42, (0,): 0.18, (1,): 0.18, (2,): 0.6})

    def test_weights_of_every_task_add_up_to_one(self):
        trees = [
            Tree.of_linkage(linkage(normal(0, 9, 3)), 9),
            Tree.of_linkage(linkage(normal(1, 9, 3), "average"), 9, s=0.4),
            Tree.of_lists([[[0, 1], (0.2, [2, 3])], 4, [5, [6, 7, 8]]], np.arange(9)),
        ]
        for tree in trees:
            total = np.zeros(9)
            for members, weight in groups(tree):
                total[list(members)] += weight
            np.testing.assert_allclose(total, 1)

    def test_heights(self):
        """By linkage, relative to the root; in nested lists, levels over one more than there are."""
        Z = np.array([[0, 1, 1.0, 2], [2, 3, 4.0, 3]])
        assert Tree.of_linkage(Z, 3).s == (0.25, 1.0)
        assert Tree.of_lists([[0, 1], 2], np.arange(3)).s == pytest.approx((1 / 3, 2 / 3))
        assert Tree.of_lists([(0.9, [0, 1]), 2], np.arange(3), s=0.5).s == (0.9, 0.5)

    def test_labels_and_positions_are_alike(self):
        names = np.array(["a", "b", "c"])
        assert Tree.of_lists([["c", "a"], "b"], names) == Tree.of_lists([[2, 0], 1], names)
        # Labels come first where they are numbers themselves.
        assert Tree.of_lists([[2, 1], 0], np.array([0, 1, 2])).children[0] == (2, 1)
        assert Tree.of_lists([[7, 5], 9], np.array([5, 7, 9])).children[0] == (1, 0)

    def test_prox_is_one_pass_from_the_leaves(self):
        """Level by level gives what node by node gives."""
        tree = Tree.of_linkage(linkage(normal(2, 12, 3), "average"), 12)
        V = normal(3, 6, 12)
        W = TreeNorm(tree, 0.7).prox(V, 0.5)
        np.testing.assert_allclose(W, prox.tree_l2(V, 0.35, groups(tree)), atol=1e-14)
        # weights (1 - s) and s: both 1/2 for the group {1, 2} under a root, with leaves of s = 0 below it
        half = TreeNorm(Tree.of_lists((0.5, [(0.0, [0, 1]), (0.0, [2])]), np.arange(3)), 2.0)
        expected = prox.tree_l2(np.array([[3.0, 4, 1]]), 1.0, [([0, 1], 1), ([2], 1), ([0, 1, 2], 1)])
        np.testing.assert_allclose(half.prox(np.array([[3.0, 4, 1]]), 1.0), expected)

    def test_dual_norm_is_that_of_a_convex_solver(self):
        tree = Tree.of_lists(NESTED, np.arange(T))
        G = normal(4, 3, T)
        sizes = TreeNorm(tree, 0.7).row_dual_norms(G)
        for g, size in zip(G, sizes, strict=True):
            w = cp.Variable(T)
            unit = 0.7 * sum(weight * cp.norm(w[list(m)], 2) for m, weight in groups(tree)) <= 1
            best = cp.Problem(cp.Maximize(g @ w), [unit]).solve(solver=cp.CLARABEL)
            assert size == pytest.approx(best, rel=1e-6)

    @pytest.mark.parametrize("seed", range(5))
    def test_prox_is_zero_just_from_the_dual_norm_on(self, seed):
        tree = Tree.of_linkage(linkage(normal(seed, 15, 2), "average"), 15, s=[None, 0.5, 0.9][seed % 3])
        norm, G = TreeNorm(tree, 1.0), normal(seed + 10, 8, 15)
        G[0] = 0
        G[1, 1:] = 0
        sizes = norm.row_dual_norms(G)
        assert sizes[0] == 0
        assert sizes[1] == pytest.approx(abs(G[1, 0]))
        for g, size in zip(G[1:], sizes[1:], strict=True):
            assert norm.prox(g[None], size * (1 - 1e-9)).any()
            np.testing.assert_allclose(norm.prox(g[None], size * (1 + 1e-9)), 0, atol=1e-12)

    @pytest.mark.parametrize("classes", [False, True])
    def test_star_is_group_lasso_or_lasso(self, classes):
        star = [0, 1, 2, 3]
        for s, other in ((0, GroupLasso(0.05)), (1, Lasso(0.05))):
            model = fitted(TreeLasso(0.05, star, s=s), classes)
            np.testing.assert_allclose(model.coef_, fitted(other, classes).coef_, atol=1e-6)
        nested = fitted(TreeLasso(0.05, (0, [[0, 1], [2, 3]])), classes)
        np.testing.assert_allclose(nested.coef_, fitted(GroupLasso(0.05), classes).coef_, atol=1e-6)

    def test_zero_from_the_dual_norm_of_the_gradient_on(self):
        X, y = samples()
        tree = Tree.of_lists(NESTED, np.arange(T))
        C = np.stack([(x - x.mean(0)).T @ v / len(v) for x, v in zip(X, y, strict=True)], axis=1)
        largest = TreeNorm(tree, 1.0).dual_norm(C)
        assert not fitted(TreeLasso(largest * 1.001, NESTED)).coef_.any()
        assert fitted(TreeLasso(largest * 0.999, NESTED)).coef_.any()

    def test_learned_tree_joins_tasks_that_are_alike(self):
        """Two kinds of tasks; a change of sign makes no difference."""
        a, b = normal(5, 8), normal(6, 8)
        W = np.stack([a, b, -a, b, a, -b], axis=1)
        X = [normal(10 + t, 60, 8) for t in range(6)]
        model = MultiTaskRegressor(TreeLasso(0.01)).fit(X, [x @ w for x, w in zip(X, W.T, strict=True)])
        members = {tuple(sorted(group.tolist())) for group, _ in model.tree_}
        assert {(0, 2, 4), (1, 3, 5)} <= members
        assert (0, 1, 2, 3, 4, 5) not in members  # the root has s = 1

    def test_order_of_tasks_does_not_matter(self):
        X, y = samples()
        order = [2, 0, 3, 1]
        a = MultiTaskRegressor(TreeLasso(0.1, s=0.5), tol=1e-9).fit(X, y)
        b = MultiTaskRegressor(TreeLasso(0.1, s=0.5), tol=1e-9).fit(
            [X[t] for t in order], [y[t] for t in order]
        )
        np.testing.assert_allclose(b.coef_, a.coef_[:, order], atol=1e-5)

    @pytest.mark.parametrize(
        ("tree", "message"),
        [
            ([0, 1, 2], "exactly once"),
            ([0, 1, 2, 3, 3], "exactly once"),
            ([0, 1, 2, "x"], "'x'"),
            ([0, 1, 2, np.ones(2)], "unknown"),
            ([[], 0, 1, 2, 3], "without tasks"),
            ((2, [0, 1, 2, 3]), "s of a node"),
            (np.ones((2, 4)), "linkage"),
            (np.ones((3, 4)), "linkage"),
        ],
    )
    def test_impossible_trees(self, tree, message):
        with pytest.raises(InputError, match=message):
            fitted(TreeLasso(tree=tree))

    @pytest.mark.parametrize("method", [TreeLasso(alpha=-1), TreeLasso(s=1.5), TreeLasso(s="half")])
    def test_impossible_numbers(self, method):
        with pytest.raises(InputError):
            fitted(method)


class TestGraph:
    @pytest.mark.parametrize(("r", "expected"), [(0.5, 1), (-0.5, 2)])
    def test_worked_example_of_the_fused_term(self, r, expected):
        graph = Graph.of_edges([(0, 1, r)], np.arange(2))
        W = np.array([[1.0, 2], [0, -1]])
        assert FusedNorm(graph, 1e-300, np.abs(graph.r)).value(W) == pytest.approx(expected)

    @pytest.mark.parametrize("t", [0.01, 0.3, 20.0])
    def test_prox_is_that_of_a_convex_solver(self, t):
        graph = Graph.of_edges(EDGES, np.arange(T))
        V, W = 2 * normal(0, D, T), cp.Variable((D, T))
        penalty = graph_penalty(W, 0.4, 1.0)
        cp.Problem(cp.Minimize(0.5 * cp.sum_squares(W - V) + t * penalty)).solve(solver=cp.CLARABEL)
        found = FusedNorm(graph, 0.4, np.abs(graph.r)).prox(V, t)
        np.testing.assert_allclose(found, W.value, atol=2e-5)

    def test_dual_variables_prove_the_prox(self):
        """W = V - t U C^T with |U| <= weight, and U at its bound wherever tasks differ."""
        R = np.corrcoef(normal(1, 10, 30))
        graph = Graph.of_matrix(R, 10, 0.1)
        V, weight = normal(2, 40, 10), 0.5 * np.abs(graph.r)
        W, U = fused(V, 0.3, graph, weight, np.zeros((40, len(weight))))
        np.testing.assert_allclose(W, V - 0.3 * (U @ graph.incidence.T), atol=1e-12)
        assert (np.abs(U) <= weight).all()
        differences = W @ graph.incidence
        gap = (weight * np.abs(differences) - U * differences).sum()
        assert 0 <= gap < 1e-9

    def test_steps_are_below_the_curvature(self):
        graph = Graph.of_edges([*EDGES, (0, 3, 0.1)], np.arange(T))
        C = graph.incidence.toarray()
        assert np.linalg.eigvalsh(np.diag(1 / graph.steps) - C.T @ C).min() >= -1e-12

    @pytest.mark.parametrize("classes", [False, True])
    def test_without_edges_it_is_a_lasso(self, classes):
        lasso = fitted(Lasso(0.05), classes).coef_
        for method in (GraphFusedLasso(0.05, 0, EDGES), GraphFusedLasso(0.05, 1, [])):
            np.testing.assert_allclose(fitted(method, classes).coef_, lasso, atol=1e-6)

    @pytest.mark.parametrize("classes", [False, True])
    def test_connected_tasks_become_equal(self, classes):
        """With a large gamma, up to the sign of r along the way; tasks that are not connected are apart."""
        model = fitted(GraphFusedLasso(0.02, 50, [(0, 1, 1), (1, 2, -1)]), classes)
        W = model.coef_
        np.testing.assert_allclose(W[:, 1], W[:, 0], atol=1e-6)
        np.testing.assert_allclose(W[:, 2], -W[:, 0], atol=1e-6)
        np.testing.assert_allclose(W[:, 3], fitted(Lasso(0.02), classes).coef_[:, 3], atol=1e-5)

    def test_chain_with_a_large_gamma_is_one_model(self):
        model = fitted(GraphFusedLasso(0.02, 100, [(0, 1, 1), (1, 2, 1), (2, 3, 1)]))
        np.testing.assert_allclose(model.coef_, np.repeat(model.coef_[:, :1], T, axis=1), atol=1e-6)
        assert model.coef_.any()

    def test_matrix_is_the_list_of_its_edges(self):
        R = np.eye(T)
        for m, k, r in EDGES:
            R[m, k] = R[k, m] = r
        listed = fitted(GraphFusedLasso(0.05, 0.1, [e for e in EDGES if abs(e[2]) >= 0.5]))
        model = fitted(GraphFusedLasso(0.05, 0.1, R))
        np.testing.assert_allclose(model.coef_, listed.coef_, atol=1e-7)
        np.testing.assert_allclose(model.relationship_, np.where(np.abs(R) < 0.5, 0, R))

    def test_learned_graph(self):
        """Tasks with the same weights are joined, those with opposite weights by a negative edge."""
        w = np.array([1.0, -2, 0, 1, 0, 0])
        X = [normal(20 + t, 60, 6) for t in range(4)]
        y = [x @ v for x, v in zip(X, [w, w, -w, w[::-1]], strict=True)]
        R = MultiTaskRegressor(GraphFusedLasso(0.01, 0.1, threshold=0.7)).fit(X, y).relationship_
        np.testing.assert_array_equal(
            np.sign(R), [[1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 1]]
        )

    def test_labels_and_positions_are_alike(self):
        X, y = samples()
        keys = list("dbca")  # sorted: a, b, c, d
        by_label = [(keys[m], keys[k], r) for m, k, r in EDGES]
        named = MultiTaskRegressor(GraphFusedLasso(0.05, 0.1, by_label), tol=1e-9).fit(
            dict(zip(keys, X, strict=True)), dict(zip(keys, y, strict=True))
        )
        columns = [named.tasks_.tolist().index(key) for key in keys]
        expected = fitted(GraphFusedLasso(0.05, 0.1, EDGES)).coef_
        np.testing.assert_allclose(named.coef_[:, columns], expected, atol=1e-5)

    @pytest.mark.parametrize(
        ("graph", "message"),
        [
            ([(0, 1)], "list of edges"),
            (7, "list of edges"),
            ([(0, 1, np.nan)], "finite"),
            ([(0, 1, "r")], "finite"),
            ([(0, "x", 1.0)], "'x'"),
            ([(0, 9, 1.0)], "9"),
            ([(2, 2, 1.0)], "itself"),
            (np.eye(3), "symmetric"),
            (np.triu(np.ones((T, T))), "symmetric"),
        ],
    )
    def test_impossible_graphs(self, graph, message):
        with pytest.raises(InputError, match=message):
            fitted(GraphFusedLasso(graph=graph))

    @pytest.mark.parametrize(
        "method",
        [
            GraphFusedLasso(alpha=0),
            GraphFusedLasso(gamma=-1),
            GraphFusedLasso(weight="cube"),
            GraphFusedLasso(threshold=None),
        ],
    )
    def test_impossible_numbers(self, method):
        with pytest.raises(InputError):
            fitted(method)
