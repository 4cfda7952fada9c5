"""The experiments on linear methods: their measure, the search, and that finished runs are kept."""

# pyright: reportMissingImports=false

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

import common
import linear_kang
import linear_methods
import linear_school
from linear_methods import Choice, each, kept, some

from moduli.data import kang
from moduli.linear import SharedHypotheses, TraceNorm
from moduli.linear.methods.independent import Pooled, Ridge

FEW = {
    "ridge": Choice(Ridge(), each(alpha=[0.03, 0.3])),
    "pooled": Choice(Pooled(), each(alpha=[0.03, 0.3])),
    "trace norm": Choice(TraceNorm(), each(alpha=[0.03, 0.3])),
}


def test_every_scale_is_there():
    assert linear_kang.SCALES.keys() == linear_school.SCALES.keys() == set(common.SCALES)


@pytest.mark.parametrize("experiment", [linear_kang, linear_school])
def test_methods_have_the_hyperparameters_that_are_searched(experiment):
    for choice in experiment.METHODS.values():
        assert 1 <= len(choice.grid) <= 8
        assert len({str(sorted(point.items())) for point in choice.grid}) == len(choice.grid)
        for point in choice.grid:
            type(choice.method)(**{**choice.method.get_params(deep=False), **point})
    assert set(experiment.DRAWN) <= experiment.METHODS.keys()


def test_some_settings_are_the_same_ones_every_time():
    grid = some(5, a=[1, 2, 3], b=[1, 2, 3])
    assert grid == some(5, a=[1, 2, 3], b=[1, 2, 3])
    assert len({(point["a"], point["b"]) for point in grid}) == 5


def test_a_look_is_short():
    methods = {"ridge": FEW["ridge"], "hypotheses": Choice(SharedHypotheses(k=3), each(alpha=[1, 2, 3, 4]))}
    short = linear_methods.fewer(methods, 2)["hypotheses"]
    assert short.grid == each(alpha=[2, 3])
    assert short.method.get_params()["n_init"] == 1
    assert short.method.get_params()["k"] == 3
    assert methods["hypotheses"].method.get_params()["n_init"] == 10


def test_the_error_is_a_mean_over_tasks_not_over_samples():
    class Zero:
        def predict(self, X):
            return np.zeros(len(X))

    X = np.column_stack([np.ones(4), [0, 0, 0, 2]])
    assert linear_kang.mean_rmse(Zero(), X, np.array([1.0, 1, 1, 3])) == pytest.approx(2)


def test_the_search_takes_the_best_of_its_values():
    rng = np.random.default_rng(0)
    X, task = rng.standard_normal((60, 5)), np.repeat(np.arange(3), 20)
    y = X.sum(1)
    found = linear_methods.search(Choice(Ridge(), each(alpha=[1e-6, 10.0])), X, y, task, 4, 0)
    assert linear_methods.best(found) == {"alpha": 1e-6}
    assert found.score(linear_methods.with_task(X, task), y) == pytest.approx(1)
    assert np.allclose(found.best_estimator_.coef_, 1, atol=1e-3)


def test_no_method_sees_test_samples_and_sharing_helps():
    arrays = kang.generate(1)
    rows = linear_kang.errors(arrays, True, 0, FEW, 3)
    assert rows.keys() == FEW.keys()
    assert rows["trace norm"]["value"] < rows["ridge"]["value"] < rows["pooled"]["value"]
    other = {**arrays, "noisy_test_Y": -arrays["noisy_test_Y"]}
    again = linear_kang.errors(other, True, 0, FEW, 3)
    for name, row in rows.items():
        assert again[name]["chosen"] == row["chosen"]
        assert again[name]["value"] > row["value"]


def test_the_variance_that_can_be_explained_is_explained():
    rng = np.random.default_rng(0)
    data = {"X": rng.standard_normal((200, 4)), "task": np.repeat(np.arange(5), 40)}
    data["y"] = 50 + 10 * (data["X"].sum(1) + rng.standard_normal(200))
    rows = linear_school.explained(data, 0.5, 0, FEW, 2)
    assert all(60 < row["value"] < 90 for row in rows.values())  # 80 with the true weights
    assert rows["pooled"]["value"] > rows["ridge"]["value"]


def test_a_stopped_experiment_goes_on_to_the_same_numbers(tmp_path):
    arrays, counted = kang.generate(0), []

    def run(seed):
        counted.append(seed)
        return linear_kang.errors(arrays, True, seed, {"ridge": FEW["ridge"]}, 2)

    def stop():
        raise KeyboardInterrupt

    all_runs = {("noisy", seed): lambda seed=seed: run(seed) for seed in range(3)}
    with pytest.raises(SystemExit, match=r"noisy, seed 1.*goes on"):
        kept(tmp_path, {"folds": 2}, {**all_runs, ("noisy", 1): stop})
    found = kept(tmp_path, {"folds": 2}, all_runs)
    assert counted == [0, 1, 2]
    assert kept(tmp_path, {"folds": 2}, all_runs) == found
    whole = kept(tmp_path / "other", {"folds": 2}, all_runs)
    for rows in (found, whole):
        for row in rows["noisy"].values():
            row["ridge"].pop("seconds")
    assert whole == found
    with pytest.raises(SystemExit, match="other settings"):
        kept(tmp_path, {"folds": 3}, all_runs)


def test_a_summary_has_lists_over_seeds():
    row = {"value": 0.5, "chosen": {"alpha": 0.1, "h": 2}, "converged": False, "seconds": 1.0}
    found = linear_methods.together({0: {"ASO": row}, 1: {"ASO": {**row, "value": 0.7, "converged": True}}})
    assert found == {
        "ASO": {"value": [0.5, 0.7], "chosen": ["alpha=0.1, h=2"] * 2, "seconds": 1.0, "unfinished": 1}
    }
