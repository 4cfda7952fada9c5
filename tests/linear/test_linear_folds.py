"""Folds in which every task has its share, and parts held out of every task."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, cross_val_score

from moduli.errors import InputError
from moduli.linear.folds import TaskKFold, hold_out
from moduli.linear.perceptron import MultiTaskPerceptron

SIZES = {"a": 2, "b": 3, "c": 11, "d": 40}


def rows(seed=0):
    """The tasks of rows in random order, and labels of which one class is rare."""
    rng = np.random.default_rng(seed)
    task = rng.permutation(np.repeat(list(SIZES), list(SIZES.values())))
    y = np.zeros(len(task), int)
    for name in SIZES:
        own = np.flatnonzero(task == name)
        y[own[: max(2, len(own) // 5)]] = 1
    return task, y


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("K", [2, 5, 10])
def test_every_task_has_its_share_of_every_fold(K, shuffle):
    task, _ = rows()
    folds = list(TaskKFold(K, shuffle=shuffle).split(task, groups=task))
    assert len(folds) == TaskKFold(K).get_n_splits() == K
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(len(task)))
    for train, test in folds:
        np.testing.assert_array_equal(np.sort(np.r_[train, test]), np.arange(len(task)))
        assert set(task[train]) == set(SIZES)
        for name, size in SIZES.items():
            assert np.sum(task[test] == name) in (size // K, -(-size // K))
        assert len(test) in (len(task) // K, -(-len(task) // K))


def test_every_class_of_a_task_has_its_share_of_every_fold():
    task, y = rows()
    task, y = task[task > "b"], y[task > "b"]
    for train, test in TaskKFold(5, stratify_y=True, random_state=1).split(task, y, task):
        for name in "cd":
            for label in (0, 1):
                size = np.sum((task == name) & (y == label))
                assert np.sum((task[test] == name) & (y[test] == label)) in (size // 5, -(-size // 5))
            assert np.sum(task[test] == name) in (SIZES[name] // 5, -(-SIZES[name] // 5))
            assert set(y[train][task[train] == name]) == {0, 1}


def test_folds_depend_on_the_seed_only():
    task, _ = rows()

    def tests(seed):
        return [test.tolist() for _, test in TaskKFold(3, random_state=seed).split(task, groups=task)]

    assert tests(1) == tests(1)
    assert tests(1) != tests(2)


def test_without_shuffling_every_kth_sample_is_taken():
    task = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    first = next(iter(TaskKFold(2, shuffle=False).split(task, groups=task)))
    assert first[1].tolist() == [0, 1, 4, 5]


def samples():
    rng = np.random.default_rng(3)
    task = np.repeat(["p", "q", "r"], [12, 20, 40])
    X = pd.DataFrame(rng.normal(size=(72, 3)), columns=["u", "v", "w"])
    return X, np.sign(X["u"].to_numpy()), task


def test_grid_search_with_a_column_of_tasks():
    X, y, task = samples()
    X["task"] = task
    search = GridSearchCV(
        MultiTaskPerceptron(task_column="task"),
        {"b": [0, 1]},
        cv=TaskKFold(3, stratify_y=True, random_state=0),
    ).fit(X, y, groups=task)
    assert search.best_score_ > 0.7
    assert search.n_splits_ == 3


def test_grid_search_with_routed_tasks():
    X, y, task = samples()
    with sklearn.config_context(enable_metadata_routing=True):
        model = MultiTaskPerceptron().set_fit_request(task=True).set_score_request(task=True)
        cv = TaskKFold(3, stratify_y=True, random_state=0)
        search = GridSearchCV(model, {"b": [0, 1]}, cv=cv).fit(X, y, groups=task, task=task)
        scores = cross_val_score(
            model.set_params(**search.best_params_), X, y, cv=cv, params={"task": task, "groups": task}
        )
    assert search.best_score_ == pytest.approx(scores.mean())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_holds_out_the_same_share_of_each_task(share):
    task, _ = rows()
    mask = hold_out(task, share, random_state=0)
    assert mask.shape == task.shape
    assert mask.dtype == bool
    for name, size in SIZES.items():
        assert mask[task == name].sum() == np.clip(round(share * size), 1, size - 1)
    np.testing.assert_array_equal(mask, hold_out(task, share, random_state=0))
    assert not np.array_equal(mask, hold_out(task, share, random_state=1))


def test_every_row_is_held_out_equally_often():
    task = np.repeat([0, 1], [4, 8])
    often = np.mean([hold_out(task, 0.25, random_state=seed) for seed in range(2000)], axis=0)
    np.testing.assert_allclose(often, 0.25, atol=0.04)


@pytest.mark.parametrize(
    ("splitter", "y", "groups", "message"),
    [
        (TaskKFold(1), None, [0] * 8, "n_splits is 1"),
        (TaskKFold(9), None, [0] * 8, "greater than the number of samples, 8"),
        (TaskKFold(2), None, None, "'groups' parameter should not be None"),
        (TaskKFold(2), None, [0] * 7 + [5], "task 5 has 1 sample"),
        (TaskKFold(2, stratify_y=True), None, [0] * 8, "y is None"),
        (TaskKFold(2, stratify_y=True), np.linspace(0, 1, 8), [0] * 8, "y is continuous"),
        (TaskKFold(2, stratify_y=True), [0] * 7 + [1], ["a"] * 8, "class 1 of task 'a' has 1 sample"),
    ],
)
def test_impossible_folds(splitter, y, groups, message):
    with pytest.raises(InputError, match=message):
        next(iter(splitter.split(np.zeros((8, 1)), y, groups)))


def test_impossible_parts():
    for share in (0, 1, -0.5, "half"):
        with pytest.raises(InputError, match="share is"):
            hold_out([0, 0, 1, 1], share)
    with pytest.raises(InputError, match="task 1 has 1 sample"):
        hold_out([0, 0, 1], 0.5)
    with pytest.raises(InputError, match="empty"):
        hold_out([], 0.5)
