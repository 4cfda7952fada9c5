"""The multitask perceptron: special cases, worked examples, mistake bounds, streams, and bad input."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import expm, logm
from sklearn.base import clone
from sklearn.linear_model import Perceptron
from sklearn.utils.estimator_checks import parametrize_with_checks

from moduli.errors import InputError
from moduli.linear.perceptron import (
    MultiTaskPerceptron,
    covariance,
    logdet_update,
    uniform_relationship,
    von_neumann_update,
)

LEARN = ("covariance", "logdet", "von_neumann")


def stream(seed=0, T=4, d=6, n=60, noise=0.1):
    """Rows of T related tasks in random order, with labels -1 and 1."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(d, 1)) + 0.5 * rng.normal(size=(d, T))
    task = rng.permutation(np.repeat(np.arange(T), n))
    X = rng.normal(size=(T * n, d))
    y = np.where(np.einsum("nd,nd->n", X, W.T[task]) > 0, 1, -1)
    return X, np.where(rng.random(T * n) < noise, -y, y), task


def alike(one, other):
    for name in ("coef_", "intercept_", "relationship_", "mistakes_", "t_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@parametrize_with_checks([MultiTaskPerceptron(), MultiTaskPerceptron(learn="logdet", priming=5)])
def test_is_a_scikit_learn_classifier(estimator, check):
    check(estimator)


# ------------------------------------------------------------------ a given relationship


def test_default_relationship_is_the_inverse_of_its_formula():
    A = 5 * np.eye(4) - np.ones((4, 4))  # b = 4, T = 4
    np.testing.assert_allclose(uniform_relationship(4, 4), np.linalg.inv(A))
    np.testing.assert_allclose(uniform_relationship(4, 4), np.full((4, 4), 0.2) + 0.2 * np.eye(4))


def test_first_mistake_moves_each_task_by_its_relation():
    model = MultiTaskPerceptron(b=4).partial_fit(
        [[1.0, -2.0]], ["no"], task=[2], classes=["no", "yes"], tasks=range(4)
    )
    spread = np.array([0.2, 0.2, 0.4, 0.2])
    np.testing.assert_allclose(model.coef_, -np.outer([1, -2], spread))
    np.testing.assert_allclose(model.intercept_, -spread)
    assert model.mistakes_.tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("epochs", [1, 3])
def test_without_relations_tasks_are_perceptrons_of_scikit_learn(fit_intercept, epochs):
    X, y, task = stream()
    together = MultiTaskPerceptron(b=0, max_iter=epochs, fit_intercept=fit_intercept).fit(X, y, task)
    for t in range(4):
        own = Perceptron(shuffle=False, max_iter=epochs, tol=None, fit_intercept=fit_intercept)
        own.fit(X[task == t], y[task == t])
        np.testing.assert_allclose(together.coef_[:, t], own.coef_[0], atol=1e-12)
        np.testing.assert_allclose(together.intercept_[t], own.intercept_, atol=1e-12)


@pytest.mark.parametrize("b", [np.inf, 1e12])
def test_with_strongest_relations_tasks_are_one_perceptron(b):
    X, y, task = stream()
    together = MultiTaskPerceptron(b=b).fit(X, y, task)
    pooled = MultiTaskPerceptron().fit(X, y)
    np.testing.assert_allclose(together.coef_, np.repeat(pooled.coef_ / 4, 4, axis=1), atol=1e-9)
    assert together.mistakes_.sum() == pooled.mistakes_.sum()


def test_is_a_perceptron_with_the_kernel_of_the_relationship():
    X, y, task = stream(n=15)
    root = np.random.default_rng(1).normal(size=(4, 4))
    relationship = root @ root.T
    model = MultiTaskPerceptron(relationship, fit_intercept=False).fit(X, y, task)
    kernel = relationship[np.ix_(task, task)] * (X @ X.T)
    dual = np.zeros(len(y))
    for k in range(len(y)):
        dual[k] = y[k] * (y[k] * (kernel[k] @ dual) <= 0)
    np.testing.assert_allclose(model.decision_function(X, task), kernel @ dual, atol=1e-9)
    assert model.mistakes_.tolist() == [np.abs(dual[task == t]).sum() for t in range(4)]


@pytest.mark.parametrize("b", [0.0, 1.0, 10.0])
def test_mistakes_are_bounded_on_separable_data(b):
    # Novikoff in the space of A: mistakes <= max_i (A^-1)_ii ||x||^2 * tr(W A W^T) if all y x.w >= 1.
    rng = np.random.default_rng(2)
    W = rng.normal(size=(5, 1)) + 0.1 * rng.normal(size=(5, 4))
    X, task = rng.normal(size=(600, 5)), rng.integers(4, size=600)
    margin = np.einsum("nd,nd->n", X, W.T[task])
    X, task, margin = X[np.abs(margin) > 0.3], task[np.abs(margin) > 0.3], margin[np.abs(margin) > 0.3]
    model = MultiTaskPerceptron(b=b, fit_intercept=False, max_iter=1000).fit(X, np.sign(margin), task)
    inverse = uniform_relationship(4, b)
    unit = W / np.abs(margin).min()
    radius = inverse[0, 0] * (X**2).sum(axis=1).max()
    assert 0 < model.mistakes_.sum() <= radius * np.trace(unit @ np.linalg.inv(inverse) @ unit.T)
    assert model.n_iter_ < 1000  # it ends after an epoch without mistakes,
    assert model.score(X, np.sign(margin), task) == 1  # and then is right about all


def test_relations_help_tasks_with_few_samples():
    X, y, task = stream(seed=3, T=20, d=20, n=20, noise=0)
    apart = MultiTaskPerceptron(b=0).fit(X, y, task)
    related = MultiTaskPerceptron(b=10).fit(X, y, task)
    assert related.mistakes_.sum() < 0.95 * apart.mistakes_.sum()


# ------------------------------------------------------------------ a learned relationship


def test_worked_examples_of_updates():
    gradient = np.array([[1, 0.5], [0.5, 2]])
    A = np.linalg.inv(logdet_update(np.eye(2), gradient, 0.1))
    np.testing.assert_allclose(A, [[0.910816, -0.037951], [-0.037951, 0.834915]], atol=1e-6)
    A = np.linalg.inv(von_neumann_update(np.eye(2), gradient, 0.1))
    np.testing.assert_allclose(A, [[0.905932, -0.043071], [-0.043071, 0.819789]], atol=1e-6)
    gram = np.array([[5, 4], [4, 5]])  # the root is [[2, 1], [1, 2]]
    np.testing.assert_allclose(covariance(gram), [[0.5, 0.25], [0.25, 0.5]])


@pytest.mark.parametrize("learn", LEARN)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_learns_as_its_definition_says(learn, fit_intercept):
    X, y, task = stream(n=20)
    model = MultiTaskPerceptron(learn=learn, eta=0.3, priming=30, fit_intercept=fit_intercept)
    model.fit(X, y, task)
    inputs = np.column_stack([X, np.ones(len(X))]) if fit_intercept else X
    W, inverse = np.zeros((inputs.shape[1], 4)), np.eye(4)
    for k, (x, sign, i) in enumerate(zip(inputs, y, task, strict=True)):
        if sign * (x @ W[:, i]) > 0:
            continue
        W += sign * np.outer(x, inverse[i])
        if k >= 30:
            G = W.T @ W / (W**2).sum()
            if learn == "covariance":
                values, vectors = np.linalg.eigh(W.T @ W)
                inverse = vectors @ np.diag(np.sqrt(np.abs(values))) @ vectors.T
            elif learn == "logdet":
                inverse = inverse + 0.3 * G
            else:
                inverse = expm(logm(inverse) + 0.3 * G)
            inverse *= 4 / np.trace(inverse)
    np.testing.assert_allclose(model.relationship_, inverse, atol=1e-8)
    found = np.vstack([model.coef_, model.intercept_]) if fit_intercept else model.coef_
    np.testing.assert_allclose(found, W, atol=1e-8)


@pytest.mark.parametrize("learn", LEARN)
def test_learned_relationship_finds_groups_and_opposites(learn):
    rng = np.random.default_rng(4)
    u, v = rng.normal(size=(2, 10))
    W = np.column_stack([u, u, v, -v])
    X, task = rng.normal(size=(2000, 10)), rng.integers(4, size=2000)
    y = np.sign(np.einsum("nd,nd->n", X, W.T[task]))
    model = MultiTaskPerceptron(learn=learn, eta=0.02, fit_intercept=False).fit(X, y, task)
    A = model.relationship_
    assert A[0, 1] > 0.2
    assert A[2, 3] < -0.2
    assert np.abs(A[:2, 2:]).max() < min(A[0, 1], -A[2, 3])
    assert np.isclose(np.trace(A), 4)
    assert np.linalg.eigvalsh(A)[0] > -1e-10


@pytest.mark.parametrize("learn", LEARN)
def test_results_do_not_depend_on_the_scale_of_inputs(learn):
    X, y, task = stream()
    model = MultiTaskPerceptron(learn=learn, fit_intercept=False)
    one, scaled = clone(model).fit(X, y, task), clone(model).fit(1024 * X, y, task)
    np.testing.assert_allclose(scaled.coef_, 1024 * one.coef_)
    np.testing.assert_allclose(scaled.relationship_, one.relationship_)


@pytest.mark.parametrize("learn", LEARN)
def test_nothing_is_learned_while_priming(learn):
    X, y, task = stream()
    given = uniform_relationship(4, 2)
    primed = MultiTaskPerceptron(given, learn=learn, priming=1.0).fit(X, y, task)
    alike(primed, MultiTaskPerceptron(given).fit(X, y, task))
    np.testing.assert_array_equal(
        MultiTaskPerceptron(learn=learn, priming=len(y)).fit(X, y, task).relationship_, np.eye(4)
    )


def test_learning_begins_right_after_priming():
    X, y, task = stream()
    mistakes = [MultiTaskPerceptron(b=0).fit(X[:k], y[:k], task[:k]).mistakes_.sum() for k in range(50, 60)]
    last = 50 + int(np.argmax(np.diff(mistakes) > 0))  # a row whose sample is a mistake
    seen = X[: last + 1], y[: last + 1], task[: last + 1]
    for priming, learned in ((last + 1, False), (last, True)):
        model = MultiTaskPerceptron(learn="logdet", priming=priming).fit(*seen)
        assert learned != np.array_equal(model.relationship_, np.eye(4))


def test_a_share_of_priming_is_a_number_of_samples():
    X, y, task = stream()
    alike(
        MultiTaskPerceptron(learn="logdet", priming=0.25, max_iter=3).fit(X, y, task),
        MultiTaskPerceptron(learn="logdet", priming=60, max_iter=3).fit(X, y, task),
    )


# ------------------------------------------------------------------ streams


@pytest.mark.parametrize("learn", [None, *LEARN])
@pytest.mark.parametrize("size", [1, 7, 239])
def test_pieces_of_a_stream_give_the_same_to_the_bit(learn, size):
    X, y, task = stream()
    model = MultiTaskPerceptron(learn=learn, priming=100)
    whole, pieces = clone(model).fit(X, y, task), clone(model)
    for k in range(0, len(y), size):
        piece = slice(k, k + size)
        pieces.partial_fit(X[piece], y[piece], task[piece], classes=[1, -1], tasks=[3, 2, 1, 0])
    alike(whole, pieces)
    np.testing.assert_array_equal(whole.predict(X, task), pieces.predict(X, task))
    assert pieces.n_iter_ == 1


def test_stream_goes_on_after_a_pickle_and_after_fit():
    X, y, task = stream()
    model = MultiTaskPerceptron(learn="von_neumann", priming=0.5)
    first = pickle.loads(pickle.dumps(clone(model).fit(X[:120], y[:120], task[:120])))
    first.partial_fit(X[120:], y[120:], task[120:])
    alike(first, clone(model).set_params(priming=60).fit(X, y, task))


def test_fit_begins_anew():
    X, y, task = stream()
    model = MultiTaskPerceptron(learn="covariance").fit(X[::-1], y[::-1], task[::-1])
    alike(model.fit(X, y, task), clone(model).fit(X, y, task))


def test_given_relationship_is_not_changed():
    X, y, task = stream()
    given = np.eye(4)
    MultiTaskPerceptron(given, learn="logdet", priming=0).fit(X, y, task)
    np.testing.assert_array_equal(given, np.eye(4))


def test_shuffling_depends_on_the_seed_only():
    X, y, task = stream()
    model = MultiTaskPerceptron(shuffle=True, max_iter=2, random_state=3)
    alike(clone(model).fit(X, y, task), clone(model).fit(X, y, task))
    other = clone(model).set_params(random_state=4).fit(X, y, task)
    assert not np.array_equal(other.coef_, clone(model).fit(X, y, task).coef_)


# ------------------------------------------------------------------ tasks, classes, forms


@pytest.mark.parametrize("learn", [None, *LEARN])
def test_names_of_tasks_do_not_matter(learn):
    X, y, task = stream()
    names = np.array(["d", "b", "a", "c"])
    model = MultiTaskPerceptron(learn=learn)
    one, renamed = clone(model).fit(X, y, task), clone(model).fit(X, y, names[task])
    places = np.searchsorted(renamed.tasks_, names)
    np.testing.assert_allclose(renamed.coef_[:, places], one.coef_, atol=1e-9)
    np.testing.assert_allclose(renamed.relationship_[np.ix_(places, places)], one.relationship_, atol=1e-9)
    np.testing.assert_array_equal(renamed.mistakes_[places], one.mistakes_)
    np.testing.assert_array_equal(renamed.predict(X, names[task]), one.predict(X, task))


def test_swapped_labels_turn_the_signs():
    X, y, task = stream()
    one, turned = MultiTaskPerceptron().fit(X, y, task), MultiTaskPerceptron().fit(X, -y, task)
    np.testing.assert_array_equal(turned.coef_, -one.coef_)
    np.testing.assert_array_equal(turned.mistakes_, one.mistakes_)


def test_tasks_may_have_their_own_classes():
    X, y, task = stream(T=2)
    labels = np.where(task == 0, np.where(y > 0, "yes", "no"), np.where(y > 0, "up", "down"))
    one, own = MultiTaskPerceptron().fit(X, y, task), MultiTaskPerceptron().fit(X, labels, task)
    np.testing.assert_array_equal(one.classes_, [-1, 1])
    assert [pair.tolist() for pair in own.classes_] == [["no", "yes"], ["down", "up"]]
    predicted, signs = own.predict(X, task), one.predict(X, task)
    np.testing.assert_array_equal(predicted[task == 1], np.where(signs > 0, "up", "down")[task == 1])
    np.testing.assert_array_equal(predicted[task == 0], np.where(signs > 0, "yes", "no")[task == 0])
    assert own.score(X, labels, task) == one.score(X, y, task)
    streamed = MultiTaskPerceptron()
    for k in range(0, len(y), 10):
        batch = X[k : k + 10], labels[k : k + 10], task[k : k + 10]
        streamed.partial_fit(*batch, classes=[["up", "down"], ["no", "yes"]], tasks=[1, 0])
    alike(streamed, own)


def test_forms_of_input_agree_and_tasks_take_turns():
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(40, 3)), rng.choice([-1, 1], size=(40, 2))
    rows, labels, task = np.repeat(X, 2, axis=0), Y.ravel(), np.tile([0, 1], 40)
    one = MultiTaskPerceptron().fit(rows, labels, task)
    shared = MultiTaskPerceptron().fit(X, Y)
    lists = MultiTaskPerceptron().fit([X, X], list(Y.T))
    named = MultiTaskPerceptron().fit({"p": X, "q": X}, {"p": Y[:, 0], "q": Y[:, 1]})
    frame = pd.DataFrame(rows, columns=["u", "v", "w"]).assign(task=task)
    framed = MultiTaskPerceptron(task_column="task").fit(frame, labels)
    predicted = one.predict(rows, task).reshape(40, 2)
    np.testing.assert_array_equal(shared.predict(X), predicted)
    np.testing.assert_array_equal(np.column_stack(lists.predict([X, X])), predicted)
    np.testing.assert_array_equal(named.predict({"q": X})["q"], predicted[:, 1])
    np.testing.assert_array_equal(framed.predict(frame), predicted.ravel())
    for model in (shared, lists, named, framed):
        alike(model, one)
    right = one.score(rows, labels, task)
    assert shared.score(X, Y) == lists.score([X, X], list(Y.T)) == framed.score(frame, labels) == right
    assert named.score({"p": X, "q": X}, {"p": Y[:, 0], "q": Y[:, 1]}) == right


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"b": -1}, "b is -1"),
        ({"learn": "logdte"}, "learn is 'logdte'"),
        ({"learn": "logdet", "eta": 0}, "eta is 0"),
        ({"learn": "logdet", "priming": 1.5}, "priming is 1.5"),
        ({"learn": "logdet", "priming": -3}, "priming is -3"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"relationship": np.eye(3)}, r"shape \(3, 3\), there are 4 tasks"),
        ({"relationship": np.triu(np.ones((4, 4)))}, "not symmetric"),
        ({"relationship": np.eye(4) - 0.5}, "eigenvalues -1 to 1"),
        ({"relationship": np.zeros((4, 4))}, "and not 0"),
        ({"relationship": np.full((4, 4), np.nan)}, "NaN"),
    ],
)
def test_impossible_hyperparameters(parameters, message):
    with pytest.raises(InputError, match=message):
        MultiTaskPerceptron(**parameters).fit(*stream(n=5))


def test_impossible_samples():
    X, _, task = stream(n=5)
    with pytest.raises(InputError, match="of task 2 have only one class"):
        MultiTaskPerceptron().fit(X, np.where(task == 2, 1, np.arange(20) % 2), task)
    with pytest.raises(InputError, match="Only binary classification is supported"):
        MultiTaskPerceptron().fit(X, np.arange(20) % 3, task)
    with pytest.raises(InputError, match="unknown task 9"):
        MultiTaskPerceptron().fit(X, np.arange(20) % 2, np.repeat(range(4), 5)).predict(X[:1], [9])


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"tasks": range(4)}, "classes must be passed on the first call"),
        ({"classes": [-1, 1]}, "tasks must be passed on the first call"),
        ({"classes": [-1, 0, 1], "tasks": range(4)}, "Only binary classification is supported"),
        ({"classes": [[-1, 1]] * 3, "tasks": range(4)}, "classes has 3 parts, there are 4 tasks"),
        ({"classes": [-1, 1], "tasks": [0, 1, 2, 2]}, "doubled"),
        ({"classes": [-1, 1], "tasks": range(3)}, "unknown task 3.*first call, with tasks="),
        ({"classes": [0, 1], "tasks": range(4)}, "label -1, not one of the classes"),
    ],
)
def test_first_call_names_what_will_come(named, message):
    with pytest.raises(InputError, match=message):
        MultiTaskPerceptron().partial_fit(*stream(), **named)


def test_later_batches_must_fit_the_first():
    X, y, task = stream()
    model = MultiTaskPerceptron().partial_fit(X, y, task, classes=[-1, 1], tasks=range(4))
    before = model.coef_
    with pytest.raises(InputError, match=r"unknown task 7.*with tasks="):
        model.partial_fit(X[:2], y[:2], [0, 7])
    with pytest.raises(InputError, match="label 5, not one of the classes"):
        model.partial_fit(X[:2], [1, 5], [0, 1])
    with pytest.raises(InputError, match="X does not say which: give task="):
        model.partial_fit(X, y)
    with pytest.raises(InputError, match=r"tasks=\[0, 1\] differ"):
        model.partial_fit(X, y, task, tasks=[0, 1])
    with pytest.raises(InputError, match="not those of the first call"):
        model.partial_fit(X, y, task, classes=[0, 1])
    with pytest.raises(InputError, match="inconsistent"):
        model.partial_fit(X, y[:-1], task)
    with pytest.raises(InputError, match="give partial_fit rows"):
        model.partial_fit([X, X], [y, y])
    assert model.coef_ is before
    assert model.t_ == len(y)


def test_a_stream_does_not_know_shares():
    X, y, task = stream()
    with pytest.raises(InputError, match=r"priming is 0.5, a share .* give a whole number"):
        MultiTaskPerceptron(learn="logdet").partial_fit(X, y, task, classes=[-1, 1], tasks=range(4))
