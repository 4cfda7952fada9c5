"""The contract of every schedule (`moduli.types.Schedule`)."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from implementations import SCHEDULES, TASKS
from synthetic import same, scores_of, tiny_model, tiny_tasks

from moduli import AllTasks
from moduli.types import Schedule

schedules = pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES.keys())

SCORES = [
    scores_of({"a": 3.0, "b": 1.0, "c": 2.0}, {"a": 0.1, "b": 0.9, "c": 0.5}),
    scores_of({"a": 1.0, "b": 1.5, "c": 2.0}, {"a": 0.8, "b": 0.2, "c": 0.4}, higher=False),
    scores_of({"a": float("nan"), "b": 0.0, "c": 1e8}, {"a": float("nan"), "b": 0.0, "c": -1e8}),
]


def choices(schedule, steps, tasks=TASKS, first=0) -> list:
    """What is chosen, with scores observed every few steps."""
    made = []
    for step in range(first, first + steps):
        made.append(list(schedule.choose(list(tasks), step)))
        if step % 4 == 3:
            schedule.observe(SCORES[step // 4 % len(SCORES)])
    return made


def attached(make):
    """A schedule that knows the model that is trained; always the same model."""
    schedule = make()
    schedule.attach(tiny_model(tiny_tasks(TASKS), "soft"))
    return schedule


@schedules
def test_speaks_the_protocol(make):
    assert isinstance(make(), Schedule)


@schedules
@pytest.mark.parametrize("tasks", [["a"], ["c", "a"], ["a", "b", "c"]], ids="".join)
def test_chooses_some_tasks_in_their_order(make, tasks):
    for chosen in choices(attached(make), 30, tasks):
        assert chosen, "no task was chosen"
        assert chosen == [task for task in tasks if task in chosen]


@schedules
def test_does_not_change_the_tasks(make):
    schedule, tasks = attached(make), list(TASKS)
    for step in range(9):
        schedule.choose(tasks, step)
    assert tasks == list(TASKS)


@schedules
def test_is_repeatable(make):
    assert choices(attached(make), 30) == choices(attached(make), 30)


@schedules
@pytest.mark.parametrize("stop", [0, 1, 6, 8])
def test_goes_on_from_its_state(make, stop):
    schedule = attached(make)
    choices(schedule, stop)
    file = io.BytesIO()
    torch.save(schedule.state_dict(), file)
    file.seek(0)
    expected = choices(schedule, 15, first=stop)
    other = attached(make)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert choices(other, 15, first=stop) == expected


@schedules
def test_its_state_is_a_snapshot(make):
    schedule = attached(make)
    choices(schedule, 5)
    state = schedule.state_dict()
    before = copy.deepcopy(state)
    choices(schedule, 9, first=5)
    assert same(state, before)


def test_all_tasks_are_all_tasks():
    assert choices(AllTasks(), 5) == [list(TASKS)] * 5
