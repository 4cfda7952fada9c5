"""Balancing and schedules in run files: all words, options, mistakes."""

from __future__ import annotations

import json
import math

import pytest
import torch
import yaml
from synthetic import tiny_model, tiny_tasks

from moduli import InputError, MissingExtra, RoundRobin, augment, fit, load_predictor
from moduli.files import read_json
from moduli.runs import BALANCES, SCHEDULES, read_run_file, resume, run_file
from moduli.runs.words import names

NEEDED = {  # options without a default
    "weights": {"weights": {"heart": 2.0}},
    "prioritise": {"task": "heart"},
    "by-weights": {"weighting": "dwa"},
    "constant": {"main": "heart"},
    "exponential": {"main": "heart"},
    "sigmoid": {"main": "heart"},
    "qls": {"steps": 24, "reset_every": 8, "state_every": 2},
}
SHORT = ["train.steps=4", "train.phase=2", "sharing.kind=hard", "seeds=1"]


def compared(table, part: str) -> str:
    entries = [{"kind": "hard", "name": kind, part: {"kind": kind, **NEEDED.get(kind, {})}} for kind in table]
    return f"compare={yaml.safe_dump(entries, default_flow_style=True, width=10**6).strip()}"


def test_every_balancing_runs_from_a_file(clinic, tmp_path):
    result = run_file(clinic, tmp_path / "out", [*SHORT, compared(BALANCES, "balance")])
    assert not result.failures
    assert set(result.summary["methods"]) == {"hard", *BALANCES}


def test_every_schedule_runs_from_a_file_and_is_resumed(clinic, tmp_path):
    folder = tmp_path / "out"
    result = run_file(clinic, folder, [*SHORT, compared(SCHEDULES, "schedule")])
    assert not result.failures
    assert set(result.summary["methods"]) == {"hard", *SCHEDULES}
    assert (folder / "schedules" / "qls" / "policy.safetensors").exists()
    assert read_json(folder / "baselines" / "summary.json")["methods"].keys() == {"single"}
    before = read_json(folder / "summary.json")["methods"]
    again = resume(folder)
    assert {m: r["tasks"] for m, r in again.summary["methods"].items()} == {
        m: r["tasks"] for m, r in before.items()
    }


def test_a_saved_policy_is_used_again(clinic, tmp_path):
    qls = json.dumps({"kind": "qls", **NEEDED["qls"]})
    run_file(clinic, tmp_path / "first", [*SHORT, "compare=[]", f"schedule={qls}"])
    policy = tmp_path / "first" / "schedules" / "hard" / "policy.safetensors"
    used = f"schedule={{kind: qls, policy: {policy}, state_every: 2}}"
    result = run_file(clinic, tmp_path / "second", [*SHORT, "compare=[]", used])
    assert not result.failures
    assert not (tmp_path / "second" / "schedules").exists()


@pytest.mark.parametrize("kind", BALANCES)
def test_every_balancing_with_every_order_pseudo_tasks_and_autocast(kind):
    tasks = tiny_tasks()
    options = {"weights": {"weights": {"a": 2.0}}, "prioritise": {"task": "a"}}.get(kind, {})
    for order in ("single", "hard", "permuted", "soft"):
        combine = BALANCES[kind].build(tasks, BALANCES[kind].options(**options), 0)
        torch.manual_seed(0)
        model = augment(tiny_model(tasks, order), "HGD", 2)
        result = fit(model, tasks, combine=combine, steps=4, phase=2, device="cpu", precision="bf16")
        assert all(math.isfinite(loss) for loss in result.val.loss.values())


@pytest.mark.parametrize("kind", [kind for kind in BALANCES if kind not in ("weights", "prioritise")])
def test_every_balancing_with_one_task_in_each_step(kind):
    tasks = tiny_tasks()
    combine = BALANCES[kind].build(tasks, BALANCES[kind].options(), 0)
    torch.manual_seed(0)
    model = tiny_model(tasks, "hard").separate_ends()
    result = fit(model, tasks, combine=combine, schedule=RoundRobin(), steps=7, phase=3, device="cpu")
    assert all(math.isfinite(loss) for loss in result.val.loss.values())


def test_what_stands_at_the_top_is_for_all_methods_and_an_entrys_own_goes_first(clinic):
    run = read_run_file(
        clinic, ["balance=upgrad", "schedule=random", "compare=[single, {kind: hard, balance: dwa}]"]
    )
    found = {name: (m.balance.kind, m.schedule.kind) for name, m in run.methods.items()}
    assert found == {
        "soft": ("upgrad", "random"),
        "single": ("upgrad", "random"),
        "hard+dwa": ("dwa", "random"),
    }
    again = yaml.safe_load(run.to_yaml())
    assert again["compare"][1]["balance"] == {"kind": "dwa", "temperature": 2.0}


def test_where_steps_leave_tasks_out_the_ends_are_modules_of_their_own(clinic, tmp_path):
    """Rows of a stacked layer would be moved by Adam's momentum; and the saved model is built alike."""
    result = run_file(clinic, tmp_path / "out", [*SHORT, "compare=[]", "schedule=round-robin"])
    encoders = result.best_models["hard"].encoders
    assert type(encoders).__name__ == "Each"
    predictor = load_predictor(tmp_path / "out")
    for p, q in zip(predictor.model.parameters(), result.best_models["hard"].parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("balance=pcgard", "balance.kind is 'pcgard': did you mean 'pcgrad'?"),
        ("balance={kind: gradnorm, alpha: -1}", "balance.alpha: "),
        ("balance={kind: prioritise, task: hart}", "balance.task: no task 'hart', did you mean 'heart'?"),
        ("balance={kind: weights, weights: {hart: 1}}", "balance.weights.hart: no such task, did you mean"),
        ("balance={kind: focal, gama: 2}", "balance.gama: unknown key, did you mean 'gamma'?"),
        ("schedule=greedi", "schedule.kind is 'greedi': did you mean 'greedy'?"),
        ("schedule={kind: constant, main: hart}", "schedule.main: no task 'hart', did you mean 'heart'?"),
        ("schedule=constant", "schedule.main is missing"),
        ("schedule={kind: by-weights, weighting: uncertainty}", "use it as combine, not to draw by"),
        ("schedule={kind: by-weights, weighting: pcgrad}", "gives no weights to draw tasks by"),
        ("schedule={kind: adaptive, baselines: {heart: 0.8}}", "schedule.baselines: task 'glucose' has none"),
        ("schedule={kind: adaptive, baselines: {hart: 1}}", "schedule.baselines.hart: no such task"),
        ("schedule={kind: qls, policy: nowhere.safetensors}", "no policy at nowhere.safetensors"),
        ("compare=[{kind: hard, schedule: {kind: random, count: 0}}]", "compare.0.schedule.count: "),
    ],
)
def test_mistakes_are_one_line_before_anything_is_trained(clinic, tmp_path, change, message):
    with pytest.raises((InputError, RuntimeError)) as caught:
        run_file(clinic, tmp_path / "out", [change])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_all_words_are_listed():
    words = names()
    assert [word for word, _ in words["balance"]] == list(BALANCES)
    assert [word for word, _ in words["schedule"]] == list(SCHEDULES)
    assert all(line for rows in words.values() for _, line in rows)


def test_an_aggregator_without_its_solver_names_the_extra(monkeypatch):
    def absent(*args, **options):
        raise ImportError("cvxpy")

    monkeypatch.setattr("torchjd.aggregation.CAGrad", absent)
    with pytest.raises(MissingExtra, match=r"CAGrad needs .*pip install 'moduli\[solvers\]'"):
        BALANCES["cagrad"].build(tiny_tasks(), BALANCES["cagrad"].options(), 0)
