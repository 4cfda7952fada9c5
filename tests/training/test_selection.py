"""Which phase is kept and when training stops, on scripted validation scores."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from synthetic import scores_of, tiny_model, tiny_tasks

from moduli import Train, Trainer
from moduli.training import loop as room
from moduli.training.selection import Selection

NAN = float("nan")


def mark(model, number: float) -> None:
    """Makes the weights of a phase recognisable."""
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(number)


def kept(model, task: str | None = None) -> float:
    """The phase whose weights the model has."""
    values = [part.value for part in model.own(task)] if task else [p.detach() for p in model.parameters()]
    numbers = {x for value in values for x in value.flatten().tolist()}
    assert len(numbers) == 1, "a mixture of phases"
    return numbers.pop()


def select(losses, rule="loss", patience=None, names=("a", "b"), method="hard", **options):
    """Runs a selection over phases; `losses[i]` holds those of the tasks in phase i + 1."""
    model = tiny_model(tiny_tasks(names), method)
    selection = Selection(model, rule, patience)
    for phase, values in enumerate(losses, start=1):
        mark(model, phase)
        scores = dict(zip(names, values, strict=True))
        if rule == "metric":
            selection.update(scores_of(dict.fromkeys(names, 0.0), scores, **options), 10 * phase)
        else:
            selection.update(scores_of(scores), 10 * phase)
        if selection.finished:
            break
    selection.restore()
    return selection, model, phase


def test_the_phase_with_the_lowest_sum_of_losses_is_kept():
    selection, model, _ = select([(3, 3), (1, 2), (2, 0.5), (0, 4)])
    assert kept(model) == 3
    assert selection.best_step == [30]


def test_the_phase_with_the_best_mean_metric_is_kept():
    metrics = [(0.1, 0.2), (0.9, 0.2), (0.5, 0.5)]
    _, model, _ = select(metrics, "metric")
    assert kept(model) == 2
    _, model, _ = select(metrics, "metric", higher=False)
    assert kept(model) == 1


def test_units_of_an_error_do_not_matter():
    model = tiny_model(tiny_tasks(("a", "b")), "hard")
    for unit in (1e-3, 1.0, 1e6):
        selection = Selection(model, "metric", None)
        for phase, (rmse, accuracy) in enumerate([(4.0, 0.5), (2.0, 0.6), (1.9, 0.1)], start=1):
            scores = scores_of({"a": 0.0, "b": 0.0}, {"a": unit * rmse, "b": accuracy})
            scores.higher_is_better["a"] = False
            selection.update(scores, phase)
        assert selection.best_step == [2]


def test_the_last_phase_is_kept_if_asked_for():
    selection, model, phases = select([(1, 1), (2, 2), (3, 3)], "last", patience=1)
    assert (kept(model), phases, selection.best_step) == (3, 3, [30])


@pytest.mark.parametrize("rule", ["loss", "metric"])
def test_ties_keep_the_earlier(rule):
    selection, model, _ = select([(1, 1), (0, 2), (2, 0), (1, 1)], rule)
    assert kept(model) == 1
    assert selection.best_step == [10]


def test_patience_counts_phases_without_a_better_score():
    losses = [(4, 0), (3, 0), (3, 0), (5, 0), (2, 0), (2, 0), (2.5, 0), (2, 0), (0, 0)]
    for patience, last, best in [(1, 3, 2), (2, 4, 2), (3, 8, 5), (4, 9, 9), (None, 9, 9)]:
        _, model, phases = select(losses, patience=patience)
        assert (phases, kept(model)) == (last, best)


def test_a_task_without_labels_does_not_count():
    _, model, _ = select([(3, NAN), (1, NAN), (2, NAN)])
    assert kept(model) == 2
    _, model, _ = select([(0.3, NAN), (0.9, NAN), (0.5, NAN)], "metric")
    assert kept(model) == 2


def test_a_loss_without_bound_is_never_the_best():
    _, model, _ = select([(1, 1), (math.inf, 0), (2, 2)])
    assert kept(model) == 1


# ------------------------------------------------------------------ separate models


def test_separate_models_are_kept_one_by_one():
    _, model, phases = select([(3, 1), (1, 2), (2, 0.5)], method="single")
    assert (kept(model, "a"), kept(model, "b"), phases) == (2, 3, 3)


def test_separate_models_run_out_of_patience_one_by_one():
    """What comes after a task's patience has ended is not for it, however good."""
    losses = [(1, 9), (2, 8), (2, 7), (0, 6), (0, 6), (0, 6), (0, 1)]
    selection, model, phases = select(losses, patience=2, method="single")
    assert (kept(model, "a"), kept(model, "b"), phases) == (1, 4, 6)
    assert selection.best_step == [10, 40]


def test_a_separate_model_without_labels_keeps_its_first_weights():
    _, model, _ = select([(3, NAN), (1, NAN), (2, NAN)], method="single")
    assert kept(model, "a") == 2
    assert kept(model, "b") in (1, 2, 3)


# ------------------------------------------------------------------ state


@pytest.mark.parametrize("method", ["hard", "single"])
@pytest.mark.parametrize("stop", [1, 2, 4])
def test_goes_on_from_its_state(method, stop):
    losses = [(3, 1), (1, 2), (2, 0.5), (0.5, 3), (4, 0.1), (9, 9)]
    expected, model, _ = select(losses, patience=3, method=method)
    selection, other, _ = select(losses[:stop], patience=3, method=method)
    again = Selection(other, "loss", 3)
    again.load_state_dict(copy.deepcopy(selection.state_dict()))
    for phase, values in enumerate(losses[stop:], start=stop + 1):
        if again.finished:
            break
        mark(other, phase)
        again.update(scores_of(dict(zip("ab", values, strict=True))), 10 * phase)
    again.restore()
    assert (again.best, again.best_step, again.stale) == (expected.best, expected.best_step, expected.stale)
    torch.testing.assert_close(dict(other.state_dict()), dict(model.state_dict()), rtol=0, atol=0)


def test_kept_weights_do_not_change_with_the_model():
    model = tiny_model(tiny_tasks(["a"]))
    selection = Selection(model, "loss", None)
    mark(model, 1)
    selection.update(scores_of({"a": 1.0}), 1)
    mark(model, 2)
    selection.restore()
    assert kept(model) == 1


# ------------------------------------------------------------------ in the loop


def run_scripted(monkeypatch, losses, tmp_path, **settings):
    """A run whose validation losses are a script; `script[i]` is the loss of both tasks in phase i + 1."""
    tasks = tiny_tasks(("a", "b"))
    script = iter(losses)
    weights = []

    def scripted(model, tasks, split, *rest):
        if split == "val":
            weights.append(copy.deepcopy(model.state_dict()))
            loss = next(script, -1.0)
            return scores_of({"a": loss, "b": loss})
        return scores_of({"a": 0.0, "b": 0.0})

    monkeypatch.setattr(room, "evaluate", scripted)
    settings = {"steps": 100, "phase": 2, "select": "loss"} | settings
    trainer = Trainer(tiny_model(tasks), tasks, Train(**settings), device="cpu", folder=tmp_path)
    return trainer.run(), weights


def test_the_loop_stops_early_and_restores_the_best(monkeypatch, tmp_path):
    result, weights = run_scripted(monkeypatch, [5, 3, 4, 3, 3.5, 9], tmp_path, patience=3)
    assert (result.steps, result.best_step) == (10, 4)
    torch.testing.assert_close(dict(result.model.state_dict()), dict(weights[1]), rtol=0, atol=0)
    steps = sorted({r["step"] for r in result.history})
    assert steps == [2, 4, 6, 8, 10]
    val = [r["loss"] for r in result.history if r["split"] == "val" and r["task"] == "a"]
    assert val == [5, 3, 4, 3, 3.5]


def test_the_checkpoint_of_the_best_phase_is_kept_beside_the_last(monkeypatch, tmp_path):
    run_scripted(monkeypatch, [5, 3, 4, 3, 3.5, 9, 9], tmp_path, patience=5, keep=2)
    kept_steps = sorted(int(p.stem.split("-")[1]) for p in (tmp_path / "checkpoints").iterdir())
    assert kept_steps == [4, 12, 14]


def test_a_run_ends_with_an_evaluation_whatever_the_phase(monkeypatch, tmp_path):
    result, _ = run_scripted(monkeypatch, [5, 4, 3, 2], tmp_path, steps=5, phase=2)
    assert sorted({r["step"] for r in result.history}) == [2, 4, 5]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.history
