"""MUiR in a run file: on tables and texts, with pseudo-tasks, stopped and resumed, and what is predicted."""

import json

import pandas as pd
import pytest
import torch
import yaml

from moduli.errors import InputError
from moduli.hypermodules import HyperModel
from moduli.model import JointModel
from moduli.runs import load_predictor, read_run_file, run_file


def changed(path, **changes):
    content = {**yaml.safe_load(path.read_text()), **changes}
    path.write_text(yaml.safe_dump(content))
    return path


def generated(path, **options):
    """The run file of `clinic` with some generations of MUiR."""
    sharing = {
        "kind": "muir",
        "layers": 2,
        "width": 8,
        "block": [4, 4],
        "burn_in": 1,
        "final": 0.2,
        **options,
    }
    train = {"steps": 60, "batch_size": 16, "phase": 10, "patience": None}
    return changed(path, sharing=sharing, compare=["single"], train=train, seeds=2)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"candidates": 3, "share": 1.0, "epsilon": 0.2, "alpha": 0.3, "soft_lr": 0.02, "select": "random"},
        {"modules": 3, "draw": "uniform", "init": "he"},
        {"evolve": False, "context": 2, "block": [8, 4]},
        {"width": 10, "uneven": "truncate", "within_tasks": True},
        {"pseudotasks": {"decoders": 3, "control": "HGD"}},
        {"balance": "uncertainty", "schedule": "random"},
        {"balance": "upgrad"},
        {"schedule": {"kind": "qls", "steps": 24, "reset_every": 8, "state_every": 2}},
    ],
    ids=[
        "defaults",
        "many options",
        "K fixed",
        "no evolution",
        "truncated",
        "pta",
        "one task",
        "upgrad",
        "qls",
    ],
)
def test_runs_and_predicts_what_the_best_model_says(clinic, options):
    path = generated(clinic, **options)
    result = run_file(path, path.parent / "out")
    assert not result.failures
    method = next(iter(result.summary["methods"]))
    model = result.best_models[method]
    assert isinstance(model, HyperModel)
    tasks = {task.name: task for task in read_run_file(path).load_tasks()}
    inputs = tasks["heart"].data.test.inputs
    with torch.no_grad():
        expected = tasks["heart"].kind.predict(model({tasks["heart"].data.name: inputs}, ["heart"])["heart"])
    predictor = load_predictor(path.parent / "out", method)
    assert type(predictor.model) is JointModel, "plain weights are saved"
    said = predictor.predict("heart", inputs)
    assert said.iloc[:, -1].to_numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    heart = pd.read_csv(path.parent / "heart.csv")
    assert len(predictor.predict("heart", heart)) == len(heart)
    records = [json.loads(line) for line in (path.parent / "out" / "metrics.jsonl").read_text().splitlines()]
    assert sum(r["split"] == "hypermodules" for r in records) == 2 * 6  # seeds, phases
    told = result.outcomes[0].extra["hypermodules"]
    assert told["parameters"]["inference"] <= told["parameters"]["original"]
    if "pseudotasks" not in options:
        assert told["parameters"]["original"] == predictor.model.count_parameters()
    assert (path.parent / "out" / "report.html").stat().st_size > 10_000


def test_a_stopped_run_goes_on_to_the_same_numbers(clinic, assert_goes_on):
    assert_goes_on(generated(clinic, epsilon=0.1), "muir", step=35)


def test_the_explicit_file_says_the_same(clinic, tmp_path):
    run = read_run_file(generated(clinic, modules=5, within_tasks=True, block=[2, 8]))
    (tmp_path / "again.yaml").write_text(run.to_yaml())
    assert read_run_file(tmp_path / "again.yaml").methods == run.methods


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 1.0}, "sharing.alpha"),
        ({"candidates": 0}, "sharing.candidates"),
        ({"select": "best"}, "sharing.select"),
        ({"block": [4]}, "sharing.block"),
        ({"block": [0, 4]}, "block is .0, 4."),
        ({"contexts": 3}, "contexts: unknown key"),
        ({"block": [16, 16]}, "no weight can be made of blocks of 16×16"),
    ],
)
def test_bad_input_gets_one_clear_line(clinic, options, words):
    path = generated(clinic, **options)
    with pytest.raises(InputError, match=words) as caught:
        run_file(path, path.parent / "out")
    assert "\n" not in str(caught.value)
    assert not (path.parent / "out").exists()
