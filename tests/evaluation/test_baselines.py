"""What single-task models reach."""

import pytest
import torch
from synthetic import scores_of, tiny_tasks

from moduli import Dense, JointModel, dense_ends, hard, single
from moduli.errors import InputError, RunError
from moduli.evaluation import compare
from moduli.evaluation.baselines import baselines_of, single_task_scores

TRAIN = {"steps": 8, "phase": 4, "batch_size": 8, "device": "cpu"}


@pytest.fixture(scope="module")
def tasks():
    return tiny_tasks(["a", "b"])


def built(tasks, order):
    def build(seed):
        structure = order([task.name for task in tasks], lambda k: Dense(6), 2)
        return JointModel(tasks, structure, *dense_ends(tasks, 6))

    return build


def test_baselines_of_a_comparison_are_means_over_seeds_on_validation(tasks):
    made = compare({"single": built(tasks, single), "hard": built(tasks, hard)}, tasks, 2, **TRAIN)
    for method in ("single", "hard"):
        runs = [outcome for outcome in made.outcomes if outcome.method == method]
        expected = {t.name: sum(run.val.value(t.name) for run in runs) / 2 for t in tasks}
        assert baselines_of(made.summary, method) == pytest.approx(expected)
    assert baselines_of(made.summary) == baselines_of(made.summary, "single")
    with pytest.raises(InputError, match="no method 'sinlge', did you mean 'single'"):
        baselines_of(made.summary, "sinlge")


def test_baselines_of_scores_are_their_values():
    assert baselines_of(scores_of({"a": 1.0, "b": 2.0}, {"a": 0.25, "b": 0.5})) == {"a": 0.25, "b": 0.5}


def test_a_task_without_any_result_is_named(tasks):
    summary = compare({"single": built(tasks, single)}, tasks, 1, **TRAIN).summary
    summary["methods"]["single"]["tasks"]["b"]["val"]["values"] = [None]
    with pytest.raises(InputError, match="no validation score of task 'b'"):
        baselines_of(summary)


def test_single_task_models_are_trained_once_in_a_folder(tasks, tmp_path):
    first = single_task_scores(built(tasks, single), tasks, folder=tmp_path, **TRAIN)
    assert set(first) == {"a", "b"}
    log = tmp_path / "training" / "single" / "seed-0" / "metrics.jsonl"
    log.write_text("")  # training again would write to it
    assert single_task_scores(built(tasks, single), tasks, folder=tmp_path, **TRAIN) == first
    assert log.read_text() == ""


def test_training_that_fails_is_an_error(tasks):
    class Diverges(torch.nn.Module):
        def forward(self, x):
            return x * float("nan")

    def build(seed):
        structure = single([task.name for task in tasks], lambda k: Diverges(), 1)
        return JointModel(tasks, structure, *dense_ends(tasks, 6))

    with pytest.raises(RunError, match=r"no single-task baselines: .*is nan"):
        single_task_scores(build, tasks, **TRAIN)
