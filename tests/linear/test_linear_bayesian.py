"""Bayesian clustering of tasks: bounds, worked examples, special cases, and groups that are there."""

import pickle
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import log_expit
from scipy.stats import beta, gamma, multivariate_normal

from moduli.errors import InputError
from moduli.linear.design import SharedDesign, stacked
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.likelihood import Bound, Gamma, integrated, likelihood_of
from moduli.linear.losses import Logistic, Squared
from moduli.linear.method import Stop
from moduli.linear.methods.mixture import MixtureOfTasks
from moduli.linear.methods.task_clustering import TaskClustering, _Process, stick_breaking
from moduli.linear.problem import moments, problem_of
from moduli.linear.samples import Samples

GROUPS = np.repeat(range(3), 4)
regressor: Any = MultiTaskRegressor
classifier: Any = MultiTaskClassifier

METHODS = [TaskClustering(), TaskClustering(4, 0.5), MixtureOfTasks(), MixtureOfTasks(2, "spherical")]


def data(seed=0, d=5, n=25, noise=0.5, spread=0.0):
    rng = np.random.default_rng(seed)
    W = 2 * rng.normal(size=(d, 3))[:, GROUPS] + spread * rng.normal(size=(d, len(GROUPS)))
    X = [rng.normal(size=(n + t, d)) + t for t in range(len(GROUPS))]
    y = [x @ w + noise * rng.normal(size=len(x)) + 3.0 for x, w in zip(X, W.T, strict=True)]
    return X, y, W


def classes(X, W, seed=0):
    rng = np.random.default_rng(seed)
    return [
        np.where(rng.random(len(x)) < np.exp(log_expit((x - x.mean(0)) @ w)), "b", "a")
        for x, w in zip(X, W.T, strict=True)
    ]


def problem(loss, seed=0, intercept=True) -> Any:
    X, y, W = data(seed)
    y = y if isinstance(loss, Squared) else [np.where(c == "a", -1.0, 1.0) for c in classes(X, W)]
    task = np.repeat(range(len(X)), [len(x) for x in X])
    samples = Samples(np.concatenate(X), np.concatenate(y), task, np.arange(len(X)), "rows")
    return problem_of(samples, loss, intercept).problem


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("loss", [Squared(), Logistic()])
@pytest.mark.parametrize("intercept", [True, False])
def test_bayesian_bound_never_falls(method, loss, intercept):
    solution = method.solve(problem(loss, intercept=intercept), np.arange(12), Stop(1e-12, 100))
    objective = np.array(solution.objective)
    assert len(objective) > 5
    assert (np.diff(objective) <= 1e-9 * np.abs(objective[1:])).all()


@pytest.mark.parametrize("method", [TaskClustering(), MixtureOfTasks()], ids=str)
def test_bayesian_groups_are_recovered(method):
    X, y, W = data()
    model = regressor(method).fit(X, y)
    assert model.task_groups_.tolist() == GROUPS.tolist()
    assert model.n_clusters_ == 3
    np.testing.assert_allclose(model.relationship_, GROUPS[:, None] == GROUPS, atol=1e-3)
    assert np.abs(model.coef_ - W).mean() < 0.1
    assert model.noise_precision_ == pytest.approx(1 / 0.5**2, rel=0.25)
    assert model.cluster_weights_.sum() == pytest.approx(1.0)


def test_bayesian_groups_are_recovered_from_classes():
    X, _, W = data(n=60)
    model = classifier(TaskClustering()).fit(X, classes(X, W))
    assert model.task_groups_.tolist() == GROUPS.tolist()
    cosine = (model.coef_ * W).sum(0) / np.linalg.norm(model.coef_, axis=0) / np.linalg.norm(W, axis=0)
    assert cosine.min() > 0.95


def test_tasks_of_a_cluster_have_the_same_weights_or_similar_ones():
    X, y, W = data(spread=0.5)
    same = regressor(TaskClustering(3)).fit(X, y)
    alike = regressor(MixtureOfTasks(3)).fit(X, y)
    assert alike.task_groups_.tolist() == GROUPS.tolist()
    assert np.abs(alike.coef_ - W).mean() < 0.5 * np.abs(same.coef_ - W).mean()
    assert alike.cluster_variances_.mean() == pytest.approx(0.25, rel=0.5)


def test_one_cluster_is_pooled_ridge_at_the_learned_precisions():
    q = problem(Squared())
    solution = TaskClustering(1).solve(q, np.arange(12), Stop(1e-13))
    sums, tau = moments(q), solution.found["noise_precision_"]
    G = (sums.G * sums.totals.sizes[:, None, None]).sum(0)
    C = (sums.C * sums.totals.sizes).sum(1)
    pooled = np.linalg.solve(tau * G + np.diag(solution.found["precision_"]), tau * C)
    np.testing.assert_allclose(solution.W, np.repeat(pooled[:, None], 12, 1), rtol=1e-5)


def test_mixture_of_one_is_ridge_towards_the_mean_and_its_mean_is_stationary():
    q = problem(Squared())
    solution = MixtureOfTasks(1).solve(q, np.arange(12), Stop(1e-13))
    m, S = solution.found["cluster_means_"], solution.found["cluster_variances_"][:, 0]
    tau, sums = solution.found["noise_precision_"], moments(q)
    sizes = sums.totals.sizes
    left = tau * sums.G * sizes[:, None, None] + np.diag(1 / S)
    right = (tau * sums.C * sizes + m / S[:, None]).T[..., None]
    np.testing.assert_allclose(solution.W, np.linalg.solve(left, right)[..., 0].T, rtol=1e-5)
    np.testing.assert_allclose(solution.W.mean(1), m[:, 0], atol=1e-4)


def test_objective_of_the_mixture_is_the_probability_of_the_targets():
    X, y, _ = data(d=3, n=8)
    model = regressor(MixtureOfTasks(2), fit_intercept=False).fit(X, y)
    m, S, tau = model.cluster_means_, model.cluster_variances_, model.noise_precision_
    total = 0.0
    for x, target in zip(X, y, strict=True):
        parts = [
            multivariate_normal(x @ m[:, c], np.eye(len(x)) / tau + (x * S[:, c]) @ x.T).pdf(target)
            for c in range(2)
        ]
        total += np.log(parts @ model.cluster_weights_)
    assert model.objective_[-1] == pytest.approx(-total, rel=1e-8)


def test_responsibilities_of_the_worked_example():
    sharp = Bound(np.full((1, 1, 1), 1e9), np.full((1, 1), 1.5e9), np.zeros(1))  # a = 1.5 is all but known
    log, mean, _ = integrated(sharp, np.array([[0.0], [2.0]]), np.ones((2, 1)))
    r = np.exp(log - np.logaddexp.reduce(log, axis=1))
    np.testing.assert_allclose(r, [[0.268941, 0.731059]], atol=1e-6)
    np.testing.assert_allclose(mean, 1.5, atol=1e-6)


def test_integral_over_weights_against_quadrature():
    A, h, c, m, S = 2.0, 0.7, -0.3, 0.4, 0.5
    log, mean, covariance = integrated(
        Bound(np.full((1, 1, 1), A), np.full((1, 1), h), np.array([c])), np.array([[m]]), np.array([[S]])
    )

    def moment(power):
        def integrand(w):
            normal = np.exp(-0.5 * (w - m) ** 2 / S) / np.sqrt(2 * np.pi * S)
            return w**power * np.exp(c + h * w - 0.5 * A * w**2) * normal

        return quad(integrand, -10, 10)[0]

    assert log[0, 0] == pytest.approx(np.log(moment(0)))
    assert mean.item() == pytest.approx(moment(1) / moment(0))
    assert covariance.item() == pytest.approx(moment(2) / moment(0) - mean.item() ** 2)


def test_stick_breaking_of_the_worked_example():
    np.testing.assert_allclose(stick_breaking(np.array([0.5, 0.5])), [0.5, 0.25, 0.25])
    np.testing.assert_allclose(stick_breaking(np.zeros(0)), [1.0])


def test_terms_of_the_bound_against_quadrature():
    q, prior = Gamma(2.5, 1.5), Gamma(1.2, 0.7)
    density: Any = gamma(2.5, scale=1 / 1.5)
    before: Any = gamma(1.2, scale=1 / 0.7)
    divergence = quad(lambda x: density.pdf(x) * (density.logpdf(x) - before.logpdf(x)), 0, 60)[0]
    assert q.divergence(prior) == pytest.approx(divergence, rel=1e-6)
    process = _Process(likelihood_of(problem(Squared()), None), 1.7, 2)
    stick: Any = beta(2.3, 1.4)
    base: Any = beta(1.0, 1.7)
    kl = quad(lambda v: stick.pdf(v) * (stick.logpdf(v) - base.logpdf(v)), 0, 1)[0]
    assert process._process(np.array([[2.3], [1.4]]), 1.7) == pytest.approx(-kl, rel=1e-6)


@pytest.mark.parametrize("intercept", [True, False])
def test_logistic_bound_is_below_and_touches(intercept):
    p = problem(Logistic(), intercept=intercept)
    likelihood, rng = likelihood_of(p, None), np.random.default_rng(0)
    W = rng.normal(size=(p.d, p.T))
    params = likelihood.update(None, W, W.T[:, :, None] * W.T[:, None, :])  # of weights that are known
    bound = likelihood.bound(params)

    def gap(V):
        f = p.image(np.vstack([V, likelihood.intercepts(params)]))
        log = np.bincount(p.design.task, (p.weight > 0) * log_expit(p.y * f), p.T)
        form = bound.c + (bound.h * V).sum(0) - 0.5 * np.einsum("dt,tde,et->t", V, bound.A, V)
        return log - form

    # xi is best for the intercepts before: 0; the bound touches there
    if not intercept:
        np.testing.assert_allclose(gap(W), 0.0, atol=1e-8)
    for _ in range(10):
        assert (gap(W + rng.normal(size=W.shape)) >= -1e-10).all()


def test_intercepts_of_classes_maximise_the_bound():
    p = problem(Logistic())
    solution = TaskClustering().solve(p, np.arange(12), Stop(1e-14))
    q = solution.state
    likelihood = likelihood_of(p, None)
    process = _Process(likelihood, Gamma(1.0, 1.0), 12)
    at = [
        np.sum(q.phi * process._fit(likelihood.bound((q.params[0], q.params[1] + e)), q.mean, q.second))
        for e in (-1e-3, 0.0, 1e-3)
    ]
    assert abs(at[2] - at[0]) / 2e-3 < 1e-3
    assert at[1] >= max(at[0], at[2])


@pytest.mark.parametrize("method", [TaskClustering(), MixtureOfTasks()], ids=str)
def test_bayesian_order_of_tasks_does_not_matter(method):
    X, y, _ = data()
    order = np.random.default_rng(1).permutation(12)
    first = regressor(method).fit(X, y)
    second = regressor(method).fit([X[t] for t in order], [y[t] for t in order])
    np.testing.assert_allclose(second.coef_, first.coef_[:, order], atol=1e-6)
    np.testing.assert_allclose(second.relationship_, first.relationship_[np.ix_(order, order)], atol=1e-6)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_one_task_and_ways_of_averaging(method):
    X, y, W = data()
    one = regressor(method).fit(X[0], y[0])
    assert np.abs(one.coef_ - W[:, :1]).max() < 0.5
    assert one.n_clusters_ == 1
    by_task = regressor(method, tol=1e-8).fit(X, y)
    by_sample = regressor(method, tol=1e-8, average="samples").fit(X, y)
    np.testing.assert_allclose(by_sample.coef_, by_task.coef_, atol=1e-2)


def test_shared_inputs_are_the_same_inputs_for_every_task():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4))
    Y = X @ rng.normal(size=(4, 3))[:, GROUPS] + 0.3 * rng.normal(size=(40, 12))
    whole = regressor(TaskClustering()).fit(X, Y)
    parts = regressor(TaskClustering()).fit([X] * 12, list(Y.T))
    np.testing.assert_allclose(whole.coef_, parts.coef_, atol=1e-8)
    labels = (Y > 0).astype(int)
    whole = classifier(TaskClustering()).fit(X, labels)
    parts = classifier(TaskClustering()).fit([X] * 12, list(labels.T))
    np.testing.assert_allclose(whole.coef_, parts.coef_, atol=1e-8)


@pytest.mark.parametrize("shared", [True, False])
def test_form_is_the_quadratic_form_of_every_sample(shared):
    rng = np.random.default_rng(0)
    X, task = rng.normal(size=(6, 3)), np.array([0, 1, 1, 0, 1, 1])
    design = SharedDesign(X, 2) if shared else stacked(X, task, 2)
    L = rng.normal(size=(2, 3, 3))
    M = L @ L.transpose(0, 2, 1)
    expected = sum(design.dot(L[:, :, k].T) ** 2 for k in range(3))
    np.testing.assert_allclose(design.form(M), expected)


def test_warm_start_goes_on_and_survives_pickle():
    X, y, _ = data()
    for method in (TaskClustering(), MixtureOfTasks()):
        model = regressor(method, warm_start=True).fit(X, y)
        model, before = pickle.loads(pickle.dumps(model)), model
        model.fit(X, y)
        assert model.n_iter_ < before.n_iter_
        assert model.objective_[-1] <= before.objective_[-1] + 1e-9


def test_a_higher_concentration_makes_no_fewer_clusters():
    X, y, _ = data(spread=0.15)
    counts = [regressor(TaskClustering(concentration=a)).fit(X, y).n_clusters_ for a in (1e-12, 1.0, 1e12)]
    assert counts == sorted(counts)
    assert counts[0] < counts[2]


@pytest.mark.parametrize(
    "method",
    [
        TaskClustering(0),
        TaskClustering(concentration=-1.0),
        TaskClustering(concentration=(1.0, 0.0)),
        TaskClustering(concentration=(1.0,)),  # type: ignore[arg-type]
        TaskClustering(n_init=0),
        MixtureOfTasks(0),
        MixtureOfTasks(covariance="full"),
        MixtureOfTasks(floor=0.0),
    ],
    ids=str,
)
def test_impossible_hyperparameters_of_clustering(method):
    X, y, _ = data()
    with pytest.raises(InputError, match="give"):
        regressor(method).fit(X, y)
