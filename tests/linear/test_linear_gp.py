"""Gaussian processes of several tasks: special cases, invariances, gradients and a worked example."""

import pickle

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern, WhiteKernel
from sklearn.utils.estimator_checks import check_estimator

from moduli.errors import InputError
from moduli.linear.coregionalisation import without_scale
from moduli.linear.gaussian_process import MultiTaskGP
from moduli.linear.hierarchical_gp import HierarchicalGP

RELATED = np.array([[1.0, 0.5, -0.3], [0.5, 2.0, 0.2], [-0.3, 0.2, 0.7]])
BOTH = [
    MultiTaskGP(RBF(1.3), task_covariance=RELATED, noise=[0.1, 0.2, 0.05]),
    HierarchicalGP(RBF(1.3), max_iter=200),
]


def three_tasks(sizes=(12, 7, 9), features=2, seed=0):
    """Lists of inputs and targets of three related tasks."""
    rng = np.random.default_rng(seed)
    X = [rng.uniform(0, 4, (n, features)) for n in sizes]
    y = [(1 + t) * np.sin(x[:, 0]) + t + 0.1 * rng.standard_normal(len(x)) for t, x in enumerate(X)]
    return X, y


def stack(X, y):
    return np.concatenate(X), np.concatenate(y), np.repeat(np.arange(len(X)), [len(x) for x in X])


# ------------------------------------------------------------------ MultiTaskGP: exact inference


@pytest.mark.parametrize("shared", [True, False])
def test_worked_example(shared):
    gp = MultiTaskGP(RBF(1.0), task_covariance=[[1, 0.5], [0.5, 1]], noise=0.1, normalize_y=False)
    gp.set_params(optimize=False)
    X = np.array([[0.0], [1.0]])
    if shared:
        mean, std = gp.fit(X, np.eye(2)).predict([[0.5]], return_std=True)
        mean, std = mean[0, 0], std[0, 0]
    else:
        gp.fit(np.tile(X, (2, 1)), [1, 0, 0, 1], task=["a", "a", "b", "b"])
        mean, std = gp.predict([[0.5]], task=["a"], return_std=True)
        mean, std = mean[0], std[0]
    assert mean == pytest.approx(0.527431, abs=1e-6)
    assert std**2 == pytest.approx(0.086264, abs=1e-6)


def test_likelihood_and_posterior_are_those_of_the_joint_normal_distribution():
    """Against the definition, written as one covariance of samples and questions."""
    X, y, task = stack(*three_tasks())
    Q, asked = np.random.default_rng(1).uniform(0, 4, (6, 2)), np.array([2, 0, 1, 1, 0, 2])
    noise = np.array([0.1, 0.2, 0.05])
    gp = MultiTaskGP(RBF(0.8), task_covariance=RELATED, noise=noise, normalize_y=False, optimize=False)
    shuffled = np.random.default_rng(2).permutation(len(y))
    gp.fit(X[shuffled], y[shuffled], task=task[shuffled])
    everything, tasks = np.concatenate([X, Q]), np.concatenate([task, asked])
    S = RELATED[np.ix_(tasks, tasks)] * RBF(0.8)(everything)
    K = S[: len(y), : len(y)] + np.diag(noise[task])
    cross = S[len(y) :, : len(y)] @ np.linalg.inv(K)
    likelihood = multivariate_normal(np.zeros(len(y)), K).logpdf(y)
    assert gp.log_marginal_likelihood_value_ == pytest.approx(likelihood, rel=1e-8)
    mean, covariance = gp.predict(Q, task=asked, return_cov=True)
    np.testing.assert_allclose(mean, cross @ y, atol=1e-7)
    np.testing.assert_allclose(covariance, S[len(y) :, len(y) :] - cross @ S[: len(y), len(y) :], atol=1e-7)
    _, std = gp.predict(Q, task=asked, return_std=True)
    np.testing.assert_allclose(std**2, np.diag(covariance), atol=1e-10)


def test_shared_inputs_give_what_repeated_ones_give():
    """The eigenvalues of the factors against a Cholesky factor of the whole, at every value they have."""
    rng = np.random.default_rng(0)
    X, Y = rng.uniform(0, 3, (9, 2)), rng.standard_normal((9, 3))
    gp = MultiTaskGP(RBF(0.7), task_covariance=RELATED, noise=[0.1, 0.3, 0.02], optimize=False)
    crossed, stacked = clone(gp).fit(X, Y), clone(gp).fit([X] * 3, list(Y.T))
    Q = rng.uniform(0, 3, (5, 2))
    mean, std = crossed.predict(Q, return_std=True)
    means, stds = stacked.predict([Q] * 3, return_std=True)
    np.testing.assert_allclose(mean, np.stack(means, axis=1), atol=1e-9)
    np.testing.assert_allclose(std, np.stack(stds, axis=1), atol=1e-9)
    covariances = [one.predict(q, return_cov=True)[1] for one, q in ((crossed, Q), (stacked, [Q] * 3))]
    np.testing.assert_allclose(*covariances, atol=1e-9)
    free = MultiTaskGP(RBF([0.7, 0.9]), optimize=False)
    crossed, stacked = clone(free).fit(X, Y), clone(free).fit([X] * 3, list(Y.T))
    theta = crossed.theta_ + 0.2 * rng.standard_normal(len(crossed.theta_))
    values = [one.log_marginal_likelihood(theta, eval_gradient=True) for one in (crossed, stacked)]
    assert values[0][0] == pytest.approx(values[1][0], rel=1e-10)
    np.testing.assert_allclose(values[0][1], values[1][1], atol=1e-8)


def test_noise_free_block_design_cancels_transfer():
    X = np.linspace(0, 3, 6)[:, None]
    Y = np.stack([np.sin(X[:, 0]), X[:, 0] ** 2, np.cos(3 * X[:, 0])], axis=1)
    Q = np.linspace(0.2, 2.8, 5)[:, None]
    given = {"noise": 0.0, "alpha": 1e-9, "normalize_y": False, "optimize": False}
    transfer = MultiTaskGP(RBF(0.6), task_covariance=RELATED, **given).fit(X, Y)
    alone = MultiTaskGP(RBF(0.6), task_covariance=np.eye(3), **given).fit(X, Y)
    np.testing.assert_allclose(transfer.predict(Q), alone.predict(Q), atol=1e-5)
    noisy = MultiTaskGP(RBF(0.6), task_covariance=RELATED, **{**given, "noise": 0.1}).fit(X, Y)
    apart = MultiTaskGP(RBF(0.6), task_covariance=np.eye(3), **{**given, "noise": 0.1}).fit(X, Y)
    assert np.abs(noisy.predict(Q) - apart.predict(Q)).max() > 1e-2


def test_identity_is_independent_processes():
    X, y = three_tasks()
    gp = MultiTaskGP(RBF(0.9), task_covariance=np.eye(3), noise=0.1, alpha=1e-12, optimize=False).fit(X, y)
    means, stds = gp.predict(X, return_std=True)
    likelihood = 0.0
    for x, values, mean, std in zip(X, y, means, stds, strict=True):
        single = GaussianProcessRegressor(RBF(0.9), alpha=0.1, optimizer=None, normalize_y=True)
        expected = single.fit(x, values).predict(x, return_std=True)
        np.testing.assert_allclose(mean, expected[0], atol=1e-8)
        np.testing.assert_allclose(std, expected[1], atol=1e-8)
        likelihood += single.log_marginal_likelihood_value_
    assert gp.log_marginal_likelihood_value_ == pytest.approx(likelihood, rel=1e-9)


# ------------------------------------------------------------------ MultiTaskGP: learning


def test_one_task_learns_what_scikit_learn_learns():
    X, y = three_tasks(sizes=(40, 2, 2))
    X, y = X[0], y[0]
    gp = MultiTaskGP().fit(X, y)
    kernel = ConstantKernel() * RBF() + WhiteKernel(0.1)
    single = GaussianProcessRegressor(kernel, normalize_y=True).fit(X, y)
    likelihood = gp.log_marginal_likelihood_value_
    assert likelihood == pytest.approx(single.log_marginal_likelihood_value_, abs=1e-4)
    np.testing.assert_allclose(gp.predict(X), single.predict(X), atol=1e-3)
    variance = gp.predict(X, return_std=True)[1] ** 2 + gp.noise_ * gp.scale_**2
    np.testing.assert_allclose(np.sqrt(variance), single.predict(X, return_std=True)[1], atol=1e-3)


@pytest.mark.parametrize("rank", [None, 1, 2])
@pytest.mark.parametrize("shared", [True, False])
def test_gradient_is_that_of_finite_differences(rank, shared):
    rng = np.random.default_rng(0)
    kernel = RBF([0.8, 1.2]) + ConstantKernel(0.5) * Matern(1.5)
    gp = MultiTaskGP(kernel, rank=rank, optimize=False, random_state=0)
    gp.fit(*((rng.uniform(0, 3, (8, 2)), rng.standard_normal((8, 3))) if shared else three_tasks()))
    theta = gp.theta_ + 0.2 * rng.standard_normal(len(gp.theta_))
    gradient = gp.log_marginal_likelihood(theta, eval_gradient=True)[1]
    numeric = approx_fprime(theta, gp.log_marginal_likelihood, 1e-6)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [None, 1])
def test_learning_ends_where_the_gradient_is_zero(rank):
    X, y = three_tasks(sizes=(20, 20, 20))
    y = [values + 0.3 * np.random.default_rng(t).standard_normal(20) for t, values in enumerate(y)]
    gp = MultiTaskGP(rank=rank, random_state=0).fit(X, y)
    value, gradient = gp.log_marginal_likelihood(eval_gradient=True)
    start = clone(gp).set_params(optimize=False).fit(X, y)
    assert value > start.log_marginal_likelihood_value_ + 1
    assert np.abs(gradient).max() < 0.05 < np.abs(start.log_marginal_likelihood(eval_gradient=True)[1]).max()


def test_likelihood_does_not_depend_on_the_order_of_tasks():
    X, y, task = stack(*three_tasks())
    order = np.array([2, 0, 1])
    rng = np.random.default_rng(0)
    Q, asked = rng.uniform(0, 4, (10, 2)), rng.integers(0, 3, 10)
    one = MultiTaskGP().fit(X, y, task=task)
    other = MultiTaskGP().fit(X, y, task=order[task])
    assert one.log_marginal_likelihood_value_ == pytest.approx(other.log_marginal_likelihood_value_, abs=1e-2)
    np.testing.assert_allclose(one.relationship_, other.relationship_[np.ix_(order, order)], atol=0.02)
    np.testing.assert_allclose(one.predict(Q, task=asked), other.predict(Q, task=order[asked]), atol=0.02)


def test_relationships_are_found_and_help():
    """Task 1 is minus task 0; task 2 has nothing to do with them, at other inputs."""
    rng = np.random.default_rng(0)
    X = [rng.uniform(0, 6, (n, 1)) for n in (40, 8, 40)]
    functions = [lambda x: np.sin(2 * x), lambda x: -np.sin(2 * x), lambda x: np.cos(3 * x + 1)]
    y = [f(x[:, 0]) + 0.05 * rng.standard_normal(len(x)) for f, x in zip(functions, X, strict=True)]
    gp = MultiTaskGP(normalize_y=False).fit(X, y)
    assert gp.relationship_[0, 1] < -0.9
    assert np.abs(gp.relationship_[0, 2]) < 0.5
    Q = np.linspace(0, 6, 50)
    alone = MultiTaskGP(normalize_y=False).fit(X[1], y[1])
    errors = [gp.predict(Q[:, None], task=np.ones(50)) - functions[1](Q)]
    errors.append(alone.predict(Q[:, None]) - functions[1](Q))
    assert np.mean(errors[0] ** 2) < 0.2 * np.mean(errors[1] ** 2)


def test_the_scale_of_the_kernel_is_fixed():
    c = ConstantKernel
    assert len(without_scale(c(2.0) * RBF()).theta) == 1
    assert len(without_scale(c(2.0) * RBF() + c(3.0) * Matern()).theta) == 3
    assert len(without_scale((c(2.0) * RBF()) * (c(3.0) * Matern())).theta) == 2
    assert len(without_scale((c(2.0) * RBF()) ** 2).theta) == 1
    for kernel in (RBF() + c(2.0) * Matern(), RBF() + c(1.0), DotProduct(), c(1.0, "fixed") * RBF()):
        assert without_scale(kernel) == kernel
    X, y = three_tasks()
    gp = MultiTaskGP(c(4.0) * RBF()).fit(X, y)
    assert gp.kernel_.k1.constant_value == 4.0
    likelihood = MultiTaskGP(RBF()).fit(X, y).log_marginal_likelihood_value_
    assert gp.log_marginal_likelihood_value_ == pytest.approx(likelihood, abs=1e-2)
    known = MultiTaskGP(c(4.0) * RBF(), task_covariance=RELATED).fit(X, y)
    assert known.kernel_.k1.constant_value != 4.0


def test_restarts_never_end_below_the_first_start():
    X, y = three_tasks()
    first = MultiTaskGP(Matern(0.1), rank=2, random_state=0).fit(X, y)
    more = MultiTaskGP(Matern(0.1), rank=2, n_restarts=2, random_state=0).fit(X, y)
    again = MultiTaskGP(Matern(0.1), rank=2, n_restarts=2, random_state=0).fit(X, y)
    assert more.log_marginal_likelihood_value_ >= first.log_marginal_likelihood_value_
    np.testing.assert_array_equal(more.theta_, again.theta_)


# ------------------------------------------------------------------ HierarchicalGP


def hierarchy(tasks=12, seed=0):
    """Tasks with 3 to 8 samples each of functions around a common one."""
    rng = np.random.default_rng(seed)
    X = [rng.uniform(0, 6, (rng.integers(3, 9), 1)) for _ in range(tasks)]
    a, b = rng.normal(1, 0.3, tasks), rng.normal(0, 0.4, tasks)
    functions = [lambda x, t=t: a[t] * np.sin(3 * x + b[t]) for t in range(tasks)]
    y = [f(x[:, 0]) + 0.05 * rng.standard_normal(len(x)) for f, x in zip(functions, X, strict=True)]
    return X, y, functions


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("tau", [0.1, 10.0])
@pytest.mark.parametrize("kernel", [RBF(0.5), DotProduct()])
def test_the_log_posterior_never_decreases(kernel, tau):
    X, y, _ = hierarchy()
    gp = HierarchicalGP(kernel, pi=0.5, tau=tau, tol=1e-9, max_iter=100).fit(X, y)
    assert gp.n_iter_ == len(gp.objective_) - 1 > 10
    assert (np.diff(gp.objective_) > -1e-8).all()
    assert gp.objective_[-1] > gp.objective_[0] + 0.1


def paper_step(kappa, rows, y, mu, C, noise, pi, tau):
    """One iteration with f = K a, task by task, as it is written in the paper."""
    a, spread, squares = [], [], 0.0
    for r, values in zip(rows, y, strict=True):
        Cl = np.linalg.inv(kappa[r].T @ kappa[r] / noise + np.linalg.inv(C))
        a.append(Cl @ (kappa[r].T @ values / noise + np.linalg.inv(C) @ mu))
        spread.append(Cl)
        squares += np.sum((values - kappa[r] @ a[-1]) ** 2) + np.trace(kappa[r] @ Cl @ kappa[r].T)
    mu = np.sum(a, axis=0) / (pi + len(y))
    C = pi * np.outer(mu, mu) + tau * np.linalg.inv(kappa) + sum(spread)
    C = (C + sum(np.outer(one - mu, one - mu) for one in a)) / (tau + len(y))
    return mu, C, squares / sum(map(len, y)), a, spread


@pytest.mark.parametrize("steps", [1, 12])
def test_steps_and_predictions_are_those_of_the_paper(steps):
    """The paper's basis has two inputs more, which no task observed: we predict what it finds there."""
    rng = np.random.default_rng(0)
    inputs = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 2.5, 7.0])[:, None]
    rows = [np.array([0, 1, 3]), np.array([2, 4]), np.array([0, 2, 3, 4])]
    y = [rng.standard_normal(len(r)) for r in rows]
    kappa = RBF(0.8)(inputs)
    found = np.zeros(7), np.linalg.inv(kappa), 0.1 * np.mean(np.concatenate(y) ** 2)
    for _ in range(steps):
        found = paper_step(kappa, rows, y, *found[:3], pi=0.7, tau=1.5)
    mu, C, noise = found[:3]
    gp = HierarchicalGP(RBF(0.8), pi=0.7, tau=1.5, tol=0, max_iter=steps, normalize_y=False)
    with pytest.warns(ConvergenceWarning):
        gp.fit([inputs[r] for r in rows], y)
    np.testing.assert_allclose(gp.mean_, (kappa @ mu)[:5], atol=1e-9)
    np.testing.assert_allclose(gp.covariance_, (kappa @ C @ kappa)[:5, :5], atol=1e-9)
    assert gp.noise_ == pytest.approx(noise, rel=1e-9)
    a, spread = paper_step(kappa, rows, y, mu, C, noise, pi=0.7, tau=1.5)[3:]
    means, stds = gp.predict([inputs] * 3, return_std=True)
    for t in range(3):
        np.testing.assert_allclose(means[t], kappa @ a[t], atol=1e-9)
        np.testing.assert_allclose(stds[t] ** 2, np.diag(kappa @ spread[t] @ kappa), atol=1e-9)


def test_objective_is_the_log_posterior():
    rng = np.random.default_rng(0)
    X = [rng.permutation(6)[:n, None].astype(float) for n in (3, 4, 2, 6)]
    y = [np.sin(x[:, 0]) + 0.1 * rng.standard_normal(len(x)) for x in X]
    gp = HierarchicalGP(RBF(0.5), pi=0.7, tau=2.0, normalize_y=False).fit(X, y)
    K, C = RBF(0.5)(gp.inputs_), gp.covariance_
    value = 0.0
    for x, values in zip(X, y, strict=True):
        at = [int(np.flatnonzero((gp.inputs_ == one).all(axis=1))[0]) for one in x]
        covariance = C[np.ix_(at, at)] + gp.noise_ * np.eye(len(at))
        value += multivariate_normal(gp.mean_[at], covariance).logpdf(values)
    inner = np.linalg.solve(C, 2.0 * K + 0.7 * np.outer(gp.mean_, gp.mean_))
    value -= 0.5 * (2.0 * (np.linalg.slogdet(C)[1] - np.linalg.slogdet(K)[1]) + np.trace(inner))
    assert gp.objective_[-1] == pytest.approx(value, rel=1e-9)


def test_a_strong_prior_is_a_process_for_each_task():
    X, y, _ = hierarchy()
    gp = HierarchicalGP(RBF(0.5), pi=1e10, tau=1e10, normalize_y=False).fit(X, y)
    Q = np.linspace(-1, 8, 20)[:, None]
    means, stds = gp.predict([Q] * len(X), return_std=True)
    for t, (x, values) in enumerate(zip(X, y, strict=True)):
        single = GaussianProcessRegressor(RBF(0.5), alpha=gp.noise_, optimizer=None).fit(x, values)
        mean, covariance = single.predict(Q, return_cov=True)
        np.testing.assert_allclose(means[t], mean, atol=1e-5)
        np.testing.assert_allclose(stds[t] ** 2, np.diag(covariance), atol=1e-5)
        ours = gp.predict(Q, task=np.full(20, t), return_cov=True)[1] if t == 0 else covariance
        np.testing.assert_allclose(ours, covariance, atol=1e-5)


def test_common_structure_helps():
    X, y, functions = hierarchy(tasks=30)
    Q = np.linspace(0, 6, 50)
    truth = [f(Q) for f in functions]
    gp = HierarchicalGP(RBF(0.5), normalize_y=False).fit(X, y)
    alone = HierarchicalGP(RBF(0.5), pi=1e10, tau=1e10, normalize_y=False).fit(X, y)
    assert gp.score([Q[:, None]] * 30, truth) > 0.9 > 0.7 > alone.score([Q[:, None]] * 30, truth)


def test_order_of_tasks_and_rows_is_of_no_matter():
    X, y, task = stack(*hierarchy()[:2])
    order = np.random.default_rng(0).permutation(12)
    rows = np.random.default_rng(1).permutation(len(y))
    one = HierarchicalGP(RBF(0.5)).fit(X, y, task=task)
    other = HierarchicalGP(RBF(0.5)).fit(X[rows], y[rows], task=order[task][rows])
    np.testing.assert_allclose(one.predict(X, task=task), other.predict(X, task=order[task]), atol=1e-7)


# ------------------------------------------------------------------ both


def _named(parts):
    return dict(zip("abc", parts, strict=True))


@pytest.mark.parametrize("gp", BOTH)
def test_forms_of_samples_agree(gp):
    X, y = three_tasks()
    rows, values, task = stack(X, y)
    listed, named = clone(gp).fit(X, y), clone(gp).fit(_named(X), _named(y))
    labelled = clone(gp).fit(rows, values, task=task)
    column = clone(gp).set_params(task_column=0).fit(np.column_stack([task, rows]), values)
    expected = labelled.predict(rows, task=task)
    np.testing.assert_allclose(np.concatenate(listed.predict(X)), expected, atol=1e-9)
    np.testing.assert_allclose(named.predict({"b": X[1]})["b"], expected[task == 1], atol=1e-9)
    np.testing.assert_allclose(column.predict(np.column_stack([task, rows])), expected, atol=1e-9)
    assert listed.score(X, y) == pytest.approx(labelled.score(rows, values, task=task))
    copy = pickle.loads(pickle.dumps(labelled))
    np.testing.assert_array_equal(copy.predict(rows, task=task), expected)


@pytest.mark.parametrize("gp", BOTH)
def test_draws_have_the_posterior_s_moments(gp):
    rng = np.random.default_rng(0)
    X, Y = rng.uniform(0, 3, (6, 1)), rng.standard_normal((6, 3))
    gp = clone(gp).fit(X, Y)
    Q = np.array([[0.5], [2.0]])
    draws = gp.sample_y(Q, n_samples=20_000, random_state=0)
    mean, std = gp.predict(Q, return_std=True)
    assert draws.shape == (2, 3, 20_000)
    np.testing.assert_allclose(draws.mean(axis=-1), mean, atol=0.05)
    np.testing.assert_allclose(draws.std(axis=-1), std, rtol=0.05)
    covariance = gp.predict(Q, return_cov=True)[1]
    np.testing.assert_allclose(np.cov(draws.swapaxes(0, 1).reshape(6, -1)), covariance, atol=0.05)


@pytest.mark.parametrize("gp", BOTH)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": "rbf"}, "kernel is 'rbf'"),
        ({"kernel": RBF() + WhiteKernel()}, "WhiteKernel"),
        ({"max_samples": 10}, "found 28 samples, max_samples is 10"),
        ({"max_iter": 0}, "max_iter is 0"),
    ],
)
def test_what_both_refuse(gp, change, message):
    with pytest.raises(InputError, match=message):
        clone(gp).set_params(**change).fit(*three_tasks())


@pytest.mark.parametrize(
    ("gp", "message"),
    [
        (MultiTaskGP(rank=4), "rank is 4"),
        (MultiTaskGP(alpha=0.0), "alpha is 0.0"),
        (MultiTaskGP(rank=1, task_covariance=RELATED), "both given"),
        (MultiTaskGP(task_covariance=np.eye(2)), r"shape \(2, 2\), there are 3 tasks"),
        (MultiTaskGP(task_covariance=RELATED - np.eye(3)), "has the eigenvalue"),
        (MultiTaskGP(task_covariance=np.triu(RELATED)), "not symmetric"),
        (MultiTaskGP(noise=[0.1, -1.0, 0.1]), "noise is"),
        (MultiTaskGP(RBF(1.0, (1e-3, np.inf)), n_restarts=1), "finite bounds"),
        (HierarchicalGP(pi=0.0), "pi is 0.0"),
        (HierarchicalGP(tau=-1.0), "tau is -1.0"),
    ],
)
def test_what_one_refuses(gp, message):
    with pytest.raises(InputError, match=message):
        gp.fit(*three_tasks())


def test_a_covariance_that_cannot_be_inverted_is_refused():
    X = [np.ones((3, 1)), np.ones((3, 1))]
    gp = MultiTaskGP(task_covariance=np.ones((2, 2)), noise=0.0, alpha=1e-300, optimize=False)
    with pytest.raises(InputError, match="raise alpha"):
        gp.fit(X, [np.arange(3.0), np.arange(3.0)])


@pytest.mark.parametrize("gp", BOTH)
def test_predictions_refuse_what_they_do_not_know(gp):
    gp = clone(gp).fit(*three_tasks())
    with pytest.raises(InputError, match="unknown task 7"):
        gp.predict(np.ones((1, 2)), task=[7])
    with pytest.raises(InputError, match="ask for one"):
        gp.predict(np.ones((1, 2)), task=[0], return_std=True, return_cov=True)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("gp", [MultiTaskGP(), HierarchicalGP(max_iter=10)])
def test_scikit_learn_s_checks(gp):
    check_estimator(gp, on_skip=None)
