"""Linear methods in a run file: fitted without a step, compared, saved, resumed, and what is predicted."""

import json

import numpy as np
import pytest
import torch
import yaml

from moduli.errors import InputError, RunError
from moduli.evaluation.job import Job
from moduli.linear.estimators import MultiTaskClassifier, MultiTaskRegressor
from moduli.linear.methods.independent import Pooled, Ridge
from moduli.linear.methods.sparse import GroupLasso
from moduli.runs import METHODS, load_predictor, read_run_file, resume, run_file
from moduli.runs.linear import LINEAR, LinearModel
from moduli.tasks import language_task
from moduli.tasks.arrays import from_arrays
from moduli.training import Train

CPU = torch.device("cpu")


def like_tasks(count=3, d=4, n=60):
    """Regressions with like weights, `count` of them, and features of very different sizes."""
    random = np.random.default_rng(0)
    w, size = random.normal(size=d), 10.0 ** np.arange(d)
    tasks = []
    for t in range(count):
        X = random.normal(size=(n, d))
        y = X @ (w + 0.1 * random.normal(size=d)) + 0.3 * random.normal(size=n)
        tasks += from_arrays(f"t{t}", X * size + 5, y, seed=t)
    return tasks


def fitted(word, tasks, seed=0, **options):
    return LINEAR[word].fit(tasks, LINEAR[word].options(**options), Train(), seed)


def outputs(model, task, split="test"):
    (batch,) = task.data.split(split).batches(4096, CPU)
    with torch.no_grad():
        return model({task.data.name: batch.inputs}, [task.name])[task.name]


def standardised(*tasks):
    """Training rows of each task by the mean and the scale of all, and a function that does so to others."""
    rows = [task.data.train.inputs.flatten(1).double().numpy() for task in tasks]
    mean, scale = np.concatenate(rows).mean(axis=0), np.concatenate(rows).std(axis=0)
    return [(x - mean) / scale for x in rows], lambda x: (x.flatten(1).double().numpy() - mean) / scale


def labels(task):
    return task.data.train.targets[task.name].double().numpy()


def shared(path, **changes):
    """The run file of `clinic`, with two tasks that have as many features."""
    tasks = [
        {"name": "one", "table": "panel.csv", "target": "glucose", "columns": ["a", "b", "c"]},
        {"name": "two", "table": "panel.csv", "target": "a", "columns": ["b", "c", "glucose"], "seed": 1},
    ]
    tasks[1]["indicators"] = False
    content = {**yaml.safe_load(path.read_text()), "tasks": tasks, **changes}
    path.write_text(yaml.safe_dump(content))
    return path


# ------------------------------------------------------------------ fits


@pytest.mark.parametrize("word", LINEAR)
def test_every_method_predicts_better_than_the_mean_and_takes_no_step(word):
    tasks = like_tasks()
    model = fitted(word, tasks)
    (first, *_), options = model.chosen, LINEAR[word].options
    assert first["converged"]
    assert set(LINEAR[word].grid) <= set(options.model_fields)
    for task in tasks:
        error = (outputs(model, task)[:, 0] - task.data.test.targets[task.name]).square().mean()
        assert error < 0.5  # that of the mean is about 1


def test_the_weights_are_those_of_the_estimator_on_standardised_rows():
    tasks = like_tasks()
    model = fitted("group-lasso", tasks, alpha=0.2)
    X, scaled = standardised(*tasks)
    estimator = MultiTaskRegressor(GroupLasso(alpha=0.2)).fit(X, [labels(task) for task in tasks])
    expected = estimator.predict([scaled(task.data.test.inputs) for task in tasks])
    for task, y in zip(tasks, expected, strict=True):
        np.testing.assert_allclose(outputs(model, task)[:, 0], y, atol=2e-3)


def test_classes_are_told_each_from_the_rest_and_missing_labels_left_out():
    random = np.random.default_rng(1)
    X = random.normal(size=(90, 3))
    kinds, sick = X.argmax(axis=1), (X[:, 0] > 0).astype(int)
    kinds[::9] = -1
    tasks = from_arrays("panel", X, {"kind": kinds, "sick": sick})
    model = fitted("pooled", tasks, alpha=0.01)
    (X,), scaled = standardised(tasks[0])
    known = labels(tasks[0]) >= 0
    columns = [(labels(tasks[0])[known] == k).astype(int) for k in range(3)]
    estimator = MultiTaskClassifier(Pooled(alpha=0.01)).fit(
        [*[X[known]] * 3, X], [*columns, labels(tasks[1])]
    )
    decision = estimator.decision_function([scaled(tasks[0].data.test.inputs)] * 4)
    got = torch.cat([outputs(model, task) for task in tasks], dim=1)
    np.testing.assert_allclose(got, np.stack(decision, axis=1), atol=2e-3)
    apart = fitted("ridge", tasks)
    accuracy = (outputs(apart, tasks[0]).argmax(1) == tasks[0].data.test.targets["kind"]).double().mean()
    assert accuracy > 0.6
    assert [told["tasks"] for told in apart.chosen] == [["kind"], ["sick"]]


def test_several_outputs_and_images_are_linear_in_the_pixels():
    random = np.random.default_rng(2)
    X = random.random((80, 1, 3, 3))
    Y = X.reshape(80, 9) @ random.normal(size=(9, 2))
    (task,) = from_arrays("photo", X, Y)
    model = fitted("trace-norm", [task])
    assert outputs(model, task).shape == (len(task.data.test), 2)
    assert (outputs(model, task) - task.data.test.targets["photo"]).square().mean() < 0.01


def test_numbers_and_classes_are_fitted_separately():
    tasks = like_tasks(2)
    X = np.random.default_rng(3).normal(size=(60, 4))
    both = [*tasks, *from_arrays("sick", X, (X[:, 0] > 0).astype(int))]
    model = fitted("group-lasso", both)
    assert [told["tasks"] for told in model.chosen] == [["t0", "t1"], ["sick"]]
    torch.testing.assert_close(
        outputs(model, both[0]), outputs(fitted("group-lasso", tasks), both[0]), rtol=1e-6, atol=1e-6
    )


def test_hyperparameters_are_chosen_on_the_validation_rows_alone():
    tasks = like_tasks(1, n=40)
    task = tasks[0]
    errors = {}
    for alpha in LINEAR["ridge"].grid["alpha"]:
        model = fitted("ridge", tasks, alpha=alpha)
        errors[alpha] = (
            (outputs(model, task, "val")[:, 0] - task.data.val.targets["t0"]).square().mean().item()
        )
    before = fitted("ridge", tasks)
    assert before.chosen[0]["alpha"] == min(errors, key=errors.get)
    task.data.test.targets["t0"].fill_(100.0)
    assert fitted("ridge", tasks).chosen == before.chosen


def test_single_task_methods_need_no_common_features_and_choose_for_each_task():
    X = np.random.default_rng(4).normal(size=(60, 4))
    tasks = from_arrays("a", X, X[:, 0]) + from_arrays("b", X[:, :3], X[:, 1] > 0)
    assert [told["tasks"] for told in fitted("lasso", tasks).chosen] == [["a"], ["b"]]
    alone = fitted("lasso", tasks[:1])
    torch.testing.assert_close(outputs(alone, tasks[0]), outputs(fitted("lasso", tasks), tasks[0]))


def test_a_random_method_follows_the_seed():
    tasks = like_tasks()
    one, two = (fitted("dg-mtl", tasks, seed=7, groups=2).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)


# ------------------------------------------------------------------ runs


def test_from_file_to_report_and_prediction(clinic):
    path = shared(clinic, compare=["single", "linear/ridge", {"kind": "linear/go-mtl", "k": 2, "name": "go"}])
    result = run_file(path, path.parent / "out")
    assert not result.failures
    assert list(result.summary["methods"]) == ["soft", "single", "linear-ridge", "go"]
    assert {o.steps for o in result.outcomes if o.method in ("linear-ridge", "go")} == {0}
    assert all(o.seconds > 0 for o in result.outcomes)
    assert (path.parent / "out" / "report.html").stat().st_size > 10_000
    task = next(task for task in read_run_file(path).load_tasks() if task.name == "one")
    seed = result.best_seeds["linear-ridge"]
    outcome = next(o for o in result.outcomes if (o.method, o.seed) == ("linear-ridge", seed))
    (X,), scaled = standardised(task)
    alpha = outcome.extra["linear"][0]["alpha"]
    estimator = MultiTaskRegressor(Ridge(alpha)).fit(X, labels(task))
    predictor = load_predictor(path.parent / "out", "linear-ridge")
    said = predictor.predict("one", task.data.test.inputs)["glucose"]
    expected = task.kind.predict(torch.from_numpy(estimator.predict(scaled(task.data.test.inputs))[:, None]))
    np.testing.assert_allclose(said, expected, rtol=1e-4)
    assert len(predictor.predict("two", path.parent / "panel.csv")) == 60


def test_a_stopped_run_goes_on_to_the_same_numbers(clinic, monkeypatch):
    path = shared(clinic, compare=["linear/group-lasso", "linear/ridge"])
    whole = run_file(path, path.parent / "whole")
    trained = Job.trained

    def stops(self, trainer):
        if (self.method, self.seed) == ("linear-ridge", 1):
            raise KeyboardInterrupt
        return trained(self, trainer)

    monkeypatch.setattr(Job, "trained", stops)
    with pytest.raises(KeyboardInterrupt):
        run_file(path, path.parent / "stopped")
    monkeypatch.undo()
    resumed = resume(path.parent / "stopped")
    for one, two in zip(whole.outcomes, resumed.outcomes, strict=True):
        assert one.test == two.test
        assert one.extra == two.extra
    for method, model in whole.best_models.items():
        for key, value in model.state_dict().items():
            assert torch.equal(value, resumed.best_models[method].state_dict()[key])


def test_a_linear_method_may_be_the_one_in_question(clinic):
    path = shared(clinic, sharing={"kind": "linear/ridge", "alpha": 0.5}, compare=["ctr", "linear/lasso"])
    run = read_run_file(path)
    assert list(run.methods) == ["linear-ridge", "ctr", "linear-lasso"]
    assert run.methods["ctr"].options.alpha == 0.1, "alpha is another thing there"
    assert run.methods["linear-lasso"].options.alpha is None
    copy = path.with_name("copy.yaml")
    copy.write_text(run.to_yaml())
    assert read_run_file(copy).methods == run.methods
    result = run_file(path, path.parent / "out")
    assert isinstance(result.best_models["linear-ridge"], LinearModel)
    assert json.loads((path.parent / "out/models/linear-ridge/model.json").read_text())["alpha"] == 0.5


def test_what_is_common_to_all_methods_is_not_for_linear_ones(clinic):
    path = shared(clinic, balance="uncertainty", schedule="random", compare=["linear/ridge"])
    run = read_run_file(path)
    assert run.methods["linear-ridge"].balance.kind == "equal"
    copy = path.with_name("copy.yaml")
    copy.write_text(run.to_yaml())
    assert read_run_file(copy).methods == run.methods
    assert not run_file(path, path.parent / "out").failures


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("linear/gomtl", "compare.0.kind is 'linear/gomtl': did you mean 'linear/go-mtl'?"),
        ({"kind": "linear/ridge", "alhpa": 1}, "compare.0.alhpa: unknown key, did you mean 'alpha'?"),
        (
            {"kind": "linear/ridge", "alpha": -1},
            "compare.0.alpha: should be greater than or equal to 0, found -1",
        ),
        ({"kind": "linear/go-mtl", "k": 2.5}, "compare.0.k: should be a valid integer"),
        ({"kind": "linear/ridge", "balance": "dwa"}, "compare.0.balance: linear/ridge is fitted without"),
        ({"kind": "linear/ridge", "schedule": "all"}, "leave schedule out"),
        ({"kind": "linear/ridge", "pseudotasks": "HGD"}, "leave pseudotasks out"),
        ({"kind": "linear/ridge", "name": "linear/ridge"}, "names a folder"),
        (
            {"kind": "linear/pooled"},
            "task 'heart' has 5 features, task 'diabetic' 3: linear methods that share need the same",
        ),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(clinic, entry, message):
    content = {**yaml.safe_load(clinic.read_text()), "compare": [entry]}
    clinic.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError) as caught:
        run_file(clinic, clinic.parent / "out")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (clinic.parent / "out").exists()


def test_texts_are_refused():
    tokens = torch.randint(0, 12, (300,))
    text = from_arrays("review", tokens.reshape(60, 5), torch.arange(60) % 2, tokens=12)
    novel = language_task("novel", tokens, tokens, tokens, 12, length=5, columns=4)
    for task in (*text, novel):
        with pytest.raises(InputError, match=f"task '{task.name}' reads a text, and linear methods take"):
            METHODS["linear/ridge"].build([task], METHODS["linear/ridge"].options(), 0)


def test_what_no_method_can_fit_is_a_failure_and_the_others_go_on(clinic):
    path = shared(clinic, compare=[{"kind": "linear/robust", "shared": "rows"}, "linear/ridge"], seeds=1)
    result = run_file(path, path.parent / "out")
    (failure,) = result.failures
    assert failure.method == "linear-robust"
    assert failure.error.startswith("Robust: shared is 'rows': give one of")
    assert "linear-ridge" in result.best_models
    X = torch.rand(40, 3)
    (task,) = from_arrays("same", X, torch.arange(40) % 2)
    task.data.train.targets["same"].zero_()
    with pytest.raises(RunError, match="only one class"):
        fitted("ridge", [task])
