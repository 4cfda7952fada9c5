"""Schedules in the loop: they train, resume to the same bits, and what was trained is told."""

import io

import pytest
import torch
from synthetic import tiny_model, tiny_tasks

from moduli import Weights
from moduli.scheduling import (
    Adaptive,
    ByWeights,
    ConstantShare,
    ExponentialShare,
    Greedy,
    Proportional,
    RandomTasks,
    RoundRobin,
    ShiftingShares,
    SigmoidShare,
)
from moduli.training import Train, Trainer, fit

TASKS = ("a", "b", "c")
SCHEDULES = {
    "round-robin": lambda tasks: RoundRobin(2),
    "random": lambda tasks: RandomTasks(seed=1),
    "random-two": lambda tasks: RandomTasks(2),
    "proportional": lambda tasks: Proportional(tasks, 1.0, end=5.0, steps=10),
    "greedy": lambda tasks: Greedy(),
    "adaptive": lambda tasks: Adaptive(dict.fromkeys(TASKS, 0.7)),
    "adaptive-implicit": lambda tasks: Adaptive(dict.fromkeys(TASKS, 0.7), "implicit"),
    "constant": lambda tasks: ConstantShare("b"),
    "exponential": lambda tasks: ExponentialShare("b", 5),
    "sigmoid": lambda tasks: SigmoidShare("b", 5),
    "shift": lambda tasks: ShiftingShares({"a": 1, "b": 1, "c": 0}, {"a": 0, "b": 1, "c": 1}, 5),
    "by-weights": lambda tasks: ByWeights(Weights({"c": 3.0})),
}


def trainer(make):
    tasks = tiny_tasks(TASKS)
    return Trainer(
        tiny_model(tasks), tasks, Train(steps=14, phase=4, batch_size=6), schedule=make(tasks), device="cpu"
    )


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_a_run_goes_on_to_the_same_bits(make):
    """From the middle of a phase, through a file that may hold no code."""
    straight, first, second = trainer(make), trainer(make), trainer(make)
    expected = straight.run()
    steps = first.one_step
    for _ in range(6):
        steps()
        if first.step == 4:
            first._end_phase(0.0)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    result = second.run()
    for one, two in zip(expected.model.parameters(), result.model.parameters(), strict=True):
        assert torch.equal(one, two)
    assert result.history == [record for record in expected.history if record["step"] > 4]


def shares(history):
    return [record["shares"] for record in history if "shares" in record]


def test_the_share_of_steps_of_every_task_is_told():
    tasks = tiny_tasks(TASKS)
    options = {"steps": 14, "phase": 4, "batch_size": 6, "device": "cpu"}
    told = shares(fit(tiny_model(tasks), tasks, schedule=RoundRobin(), **options).history)
    assert told == [
        {"a": 0.5, "b": 0.25, "c": 0.25},
        {"a": 0.25, "b": 0.5, "c": 0.25},
        {"a": 0.25, "b": 0.25, "c": 0.5},
        {"a": 0.5, "b": 0.5, "c": 0.0},  # the last phase has two steps
    ]
    assert shares(fit(tiny_model(tasks), tasks, **options).history) == []
