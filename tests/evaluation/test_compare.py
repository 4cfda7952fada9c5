"""Comparing methods over seeds: reproducible, resumable, and honest about what failed."""

import json

import pytest
import torch
from torch import nn

from moduli import Dense, JointModel, dense_ends, files, hard, single, soft
from moduli.errors import InputError, SaveError
from moduli.evaluation import compare
from moduli.evaluation.folder import fingerprint
from moduli.tasks.arrays import from_arrays
from moduli.training import fit

TRAIN = {"steps": 12, "phase": 4, "batch_size": 8}


@pytest.fixture
def tasks():
    random = torch.Generator().manual_seed(0)
    X = torch.randn(60, 4, generator=random)
    labels = torch.where(torch.arange(60) % 5 == 0, -1, (X[:, 0] > 0).long())
    return from_arrays("a", X, {"y": labels, "z": X[:, 1]}) + from_arrays("b", X[:30], torch.arange(30) % 3)


def built(tasks, order):
    def build(seed):
        structure = order([task.name for task in tasks], lambda k: Dense(6), 2)
        return JointModel(tasks, structure, *dense_ends(tasks, 6))

    return build


@pytest.fixture
def methods(tasks):
    return {"soft": built(tasks, soft), "single": built(tasks, single)}


class Diverges(nn.Module):
    def forward(self, x):
        return x * float("nan")


def values(comparison, method):
    return {task: result["values"] for task, result in comparison.summary["methods"][method]["tasks"].items()}


def test_every_method_is_trained_with_every_seed(methods, tasks):
    comparison = compare(methods, tasks, 2, **TRAIN)
    assert [(o.method, o.seed) for o in comparison.outcomes] == [
        ("soft", 0), ("soft", 1), ("single", 0), ("single", 1)
    ]  # fmt: skip
    assert comparison.summary["baseline"] == "single"
    assert comparison.summary["tasks"][0]["samples"] == {"train": 32, "val": 7, "test": 9}
    first = comparison.outcomes[0]
    assert first.parameters == built(tasks, soft)(0).count_parameters()
    assert first.test.metrics["b"]["accuracy"] == values(comparison, "soft")["b"][0]
    for text in (comparison.markdown(), str(comparison.table().title)):
        assert "soft" in text or "comparison" in text


def test_a_result_does_not_depend_on_what_else_is_compared(methods, tasks):
    both = compare(methods, tasks, [3, 1], **TRAIN)
    torch.rand(5)
    alone = compare({"single": methods["single"]}, tasks, [1], **TRAIN)
    assert [v[1] for v in values(both, "single").values()] == [v[0] for v in values(alone, "single").values()]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = methods["single"](1)
    result = fit(model, tasks, seed=1, **TRAIN)
    assert result.test == alone.outcomes[0].test


def test_global_random_numbers_stay_as_they_were(methods, tasks):
    before = torch.get_rng_state()
    compare(methods, tasks, 1, **TRAIN)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_best_model_is_that_of_the_best_validation_loss(methods, tasks):
    comparison = compare(methods, tasks, 3, **TRAIN, select="loss")
    for method, model in comparison.best_models.items():
        runs = [o for o in comparison.outcomes if o.method == method]
        best = min(runs, key=lambda o: sum(o.val.loss.values()))
        assert comparison.best_seeds[method] == best.seed
        weights = model.state_dict()
        alone = compare({method: methods[method]}, tasks, [best.seed], **TRAIN, select="loss").best_models[
            method
        ]
        assert all(torch.equal(weights[name], x) for name, x in alone.state_dict().items())


def test_a_finished_part_is_not_trained_again(methods, tasks, tmp_path):
    first = compare(methods, tasks, 2, folder=tmp_path, **TRAIN)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("training/*/*/*")}
    assert {path.name for path in files} == {"outcome.json", "model.safetensors", "metrics.jsonl"}
    again = compare(methods, tasks, 2, folder=tmp_path, **TRAIN)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("training/*/*/*")} == files
    assert again.summary == first.summary
    more = compare({**methods, "hard": built(tasks, hard)}, tasks, 2, folder=tmp_path, **TRAIN)
    assert values(more, "soft") == values(first, "soft")
    assert json.loads((tmp_path / "summary.json").read_text())["methods"].keys() == {"soft", "single", "hard"}
    assert {p.name for p in tmp_path.iterdir()} == {
        "training", "summary.json", "metrics.jsonl", "comparison.md", "comparison.csv"
    }  # fmt: skip


def test_learned_merges_and_routes_are_kept_for_the_report(methods, tasks):
    soft_run, single_run = compare(methods, tasks, 1, **TRAIN).outcomes
    assert [len(depth) for depth in soft_run.extra["scales"]["y"]] == [2, 2]
    assert sum(soft_run.extra["scales"]["b"][0]) == pytest.approx(1.0)
    assert "scales" not in single_run.extra
    assert json.dumps(single_run.extra["routes"])


def test_a_failed_run_is_recorded_and_the_others_go_on(methods, tasks, tmp_path):
    def broken(seed):
        model = methods["soft"](seed)
        if seed == 1:
            model.structure = nn.Sequential()
            model.structure.forward = lambda hidden: {t: Diverges()(x) for t, x in hidden.items()}
            model.structure.shared_parameters, model.structure.own = list, lambda task: []
        return model

    comparison = compare({"broken": broken, **methods}, tasks, 2, folder=tmp_path, **TRAIN)
    (failure,) = comparison.failures
    assert (failure.method, failure.seed) == ("broken", 1)
    assert "loss of task" in failure.error
    assert comparison.summary["failures"] == [vars(failure)]
    assert values(comparison, "broken")["b"][1] is None
    assert None not in values(comparison, "soft")["b"]
    assert comparison.best_seeds["broken"] == 0
    assert not (tmp_path / "training/broken/seed-1/outcome.json").exists()


def test_a_full_disk_stops_at_once(methods, tasks, tmp_path, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    compare(methods, tasks, 1, folder=tmp_path, **TRAIN)
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(SaveError, match="No space left"):
        compare(methods, tasks, 2, folder=tmp_path, **TRAIN)


def test_a_folder_of_something_else_is_refused(methods, tasks, tmp_path):
    compare(methods, tasks, 1, folder=tmp_path, **TRAIN)
    with pytest.raises(InputError, match="was begun with steps 12, now 13: choose another folder"):
        compare(methods, tasks, 1, folder=tmp_path, **{**TRAIN, "steps": 13})
    with pytest.raises(InputError, match="holds a comparison on the tasks y, z, b"):
        compare({"soft": built(tasks[:2], soft)}, tasks[:2], 1, folder=tmp_path, **TRAIN)
    tasks[0].data.train.inputs[0, 0] += 1e-3
    with pytest.raises(InputError, match="the data of task 'y' have changed"):
        compare(methods, tasks, 1, folder=tmp_path, **TRAIN)


def test_a_fingerprint_sees_inputs_targets_and_splits(tasks):
    data = tasks[0].data
    marks = {fingerprint(data)}
    data.val.targets["y"][0] = 1 - data.val.targets["y"][0]
    marks.add(fingerprint(data))
    data.test.inputs[-1] += 1
    marks.add(fingerprint(data))
    assert len(marks) == 3


def test_a_fingerprint_sees_the_words_of_a_text():
    from moduli.tasks import language_task

    texts = [torch.arange(30) % 4 for _ in range(3)]
    data = language_task("text", *texts, tokens=4, length=5, columns=2).data
    before = fingerprint(data)
    assert fingerprint(data) == before
    texts[2][7] = 0
    assert fingerprint(data) != before


def test_parts_with_state_are_made_anew_for_every_run(methods, tasks):
    from moduli import AllTasks, Equal

    made = []

    def make(part):
        made.append(part())
        return made[-1]

    combine, schedule = (lambda seed: make(Equal)), (lambda seed: make(AllTasks))
    compare(methods, tasks, 2, combine=combine, schedule=schedule, **TRAIN)
    assert len({id(part) for part in made}) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": 0}, "seeds is 0: give a number of at least 1"),
        ({"seeds": [1, 1]}, "list of different numbers"),
        ({"baseline": "singel"}, "unknown baseline 'singel', did you mean 'single'"),
        ({"methods": {}}, "no methods"),
        ({"methods": {"a/b": None}}, "method 'a/b' names a folder"),
    ],
)
def test_bad_arguments_are_refused(methods, tasks, arguments, message):
    with pytest.raises(InputError, match=message):
        compare(**{"methods": methods, "tasks": tasks, **arguments})
