"""Separate models trained side by side are models trained alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from synthetic import tiny_model, tiny_tasks

from moduli import Train, Trainer

NAMES = ("a", "b", "c")
SETTINGS = {"steps": 60, "phase": 3, "patience": 3, "batch_size": 6, "lr": 0.05}


def alone(joint, task) -> Trainer:
    """The same model for one task, with copies of its weights."""
    model = tiny_model([task], "single", dtype=torch.float64)
    for part, original in zip(model.own(task.name), joint.own(task.name), strict=True):
        part.value.copy_(original.value)
    return Trainer(model, [task], Train(**SETTINGS), device="cpu")


@pytest.mark.parametrize("select", ["loss", "metric"])
def test_side_by_side_is_alone(select, tmp_path: Path):
    settings = SETTINGS | {"select": select}
    tasks = tiny_tasks(NAMES, torch.float64)
    model = tiny_model(tasks, "single", dtype=torch.float64)
    separate = {task.name: alone(model, task) for task in tasks}
    for trainer in separate.values():
        trainer.train = Train(**settings)
        trainer.selection.rule = select
    together = Trainer(model, tasks, Train(**settings), device="cpu", folder=tmp_path)
    result = together.run()

    results = {name: trainer.run() for name, trainer in separate.items()}
    best_steps = [results[name].best_step for name in NAMES]
    assert together.selection.best_step == best_steps
    assert len(set(best_steps)) > 1, "the tasks should be at their best at different times"
    assert result.best_step == max(best_steps)
    assert result.steps == max(r.steps for r in results.values())
    for task in tasks:
        one = results[task.name]
        for part, kept in zip(one.model.own(task.name), result.model.own(task.name), strict=True):
            torch.testing.assert_close(kept.value, part.value, rtol=1e-9, atol=1e-11)
        for split in ("val", "test"):
            mine, theirs = getattr(result, split), getattr(one, split)
            assert mine.loss[task.name] == pytest.approx(theirs.loss[task.name], rel=1e-5)
            assert mine.metrics[task.name] == pytest.approx(theirs.metrics[task.name], rel=1e-5, nan_ok=True)


def test_a_joint_model_is_selected_as_a_whole():
    tasks = tiny_tasks(NAMES)
    trainer = Trainer(tiny_model(tasks, "hard"), tasks, Train(**SETTINGS), device="cpu")
    result = trainer.run()
    assert trainer.selection.best_step == [result.best_step]


def test_which_other_tasks_there_are_does_not_change_the_batches():
    tasks = tiny_tasks(NAMES)
    streams = Trainer(tiny_model(tasks), tasks, device="cpu").parts.streams
    only = Trainer(tiny_model(tasks[1:2]), tasks[1:2], device="cpu").parts.streams
    other_seed = Trainer(tiny_model(tasks), tasks, seed=1, device="cpu").parts.streams
    for _ in range(3):
        batch = streams["b"].draw()
        assert torch.equal(batch.inputs, only["b"].draw().inputs)
        assert not torch.equal(batch.inputs, other_seed["b"].draw().inputs)


def test_an_optimizer_of_the_same_kind_for_a_copy():
    """Training is a function of model, tasks, settings and seed alone."""
    tasks = tiny_tasks(NAMES)
    model = tiny_model(tasks, "soft", dropout=0.3)
    results = [
        Trainer(copy.deepcopy(model), tasks, Train(steps=7, phase=3), seed=seed, device="cpu").run()
        for seed in (0, 0, 1)
    ]
    states = [result.model.state_dict() for result in results]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert results[0].history == results[1].history
