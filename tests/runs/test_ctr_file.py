"""CTR in a run file: on tables and images, with pseudo-tasks, stopped and resumed, and what is predicted."""

import json

import pandas as pd
import pytest
import torch
import yaml

from moduli.errors import InputError
from moduli.runs import load_predictor, read_run_file, run_file


def changed(path, **changes):
    content = {**yaml.safe_load(path.read_text()), **changes}
    path.write_text(yaml.safe_dump(content))
    return path


def evolving(path, **options):
    """The run file of `clinic` with some generations of CTR."""
    sharing = {"kind": "ctr", "layers": 2, "width": 8, **options}
    train = {"steps": 60, "batch_size": 16, "phase": 10, "patience": None}
    return changed(path, sharing=sharing, compare=["soft"], train=train, seeds=2)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"start": "minimal", "challengers": 2},
        {"start": "random", "max_nodes": 4, "removal": 0.3, "alpha": 0.3},
        {"pseudotasks": {"decoders": 3, "control": "HGD"}},
        {"balance": "uncertainty", "schedule": "random"},
        {"balance": "upgrad"},
    ],
    ids=["defaults", "minimal", "random", "pta", "one task at a time", "upgrad"],
)
def test_runs_and_predicts_what_the_best_model_says(clinic, options):
    path = evolving(clinic, **options)
    result = run_file(path, path.parent / "out")
    assert not result.failures
    method = next(iter(result.summary["methods"]))
    model = result.best_models[method]
    tasks = {task.name: task for task in read_run_file(path).load_tasks()}
    inputs = tasks["heart"].data.test.inputs
    with torch.no_grad():
        expected = tasks["heart"].kind.predict(model({tasks["heart"].data.name: inputs}, ["heart"])["heart"])
    predictor = load_predictor(path.parent / "out", method)
    said = predictor.predict("heart", inputs)
    assert said.iloc[:, -1].to_numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert "#" not in "".join(predictor.model.structure.routes), "champions alone are saved"
    heart = pd.read_csv(path.parent / "heart.csv")
    assert len(predictor.predict("heart", heart)) == len(heart)
    records = [json.loads(line) for line in (path.parent / "out" / "metrics.jsonl").read_text().splitlines()]
    assert sum(r["split"] == "evolution" for r in records) == 2 * 3 * 6  # seeds, tasks, phases
    assert (path.parent / "out" / "report.html").stat().st_size > 10_000


def test_a_stopped_run_goes_on_to_the_same_numbers(clinic, assert_goes_on):
    assert_goes_on(evolving(clinic, removal=0.2), "ctr", step=35)


def test_the_explicit_file_says_the_same(clinic, tmp_path):
    run = read_run_file(evolving(clinic, start="random", max_nodes=9, removal=0.1))
    (tmp_path / "again.yaml").write_text(run.to_yaml())
    assert read_run_file(tmp_path / "again.yaml").methods == run.methods


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 1.0}, "sharing.alpha"),
        ({"challengers": -1}, "sharing.challengers"),
        ({"start": "chains"}, "sharing.start"),
        ({"removal": 2}, "sharing.removal"),
        ({"max_node": 3}, "max_node: unknown key"),
        ({"max_nodes": 1}, "max_nodes is 1: a route has 2 nodes at the start"),
    ],
)
def test_bad_input_gets_one_clear_line(clinic, options, words):
    path = evolving(clinic, **options)
    with pytest.raises(InputError, match=words) as caught:
        run_file(path, path.parent / "out")
    assert "\n" not in str(caught.value)
    assert not (path.parent / "out").exists()
