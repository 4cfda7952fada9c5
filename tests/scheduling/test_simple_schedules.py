"""Schedules without a formula: tasks in turn, at random, and the one with the highest loss."""

from collections import Counter

import pytest
import torch

from moduli.errors import InputError
from moduli.scheduling import Greedy, RandomTasks, RoundRobin
from moduli.scheduling.sampling import normalised
from moduli.types import Losses

TASKS = ["a", "b", "c", "d", "e"]


def choices(schedule, steps, tasks=TASKS):
    return ["".join(schedule.choose(tasks, step)) for step in range(steps)]


def losses(scale=None, **values):
    mean = {task: torch.tensor(float(value)) for task, value in values.items()}
    return Losses(mean, {}, {}, {}, scale=scale)


# ------------------------------------------------------------------ round robin


def test_round_robin_goes_round():
    assert choices(RoundRobin(), 7) == ["a", "b", "c", "d", "e", "a", "b"]
    assert choices(RoundRobin(2), 5) == ["ab", "cd", "ae", "bc", "de"]


@pytest.mark.parametrize("count", [5, 9])
def test_more_tasks_than_there_are_is_all_tasks(count):
    assert choices(RoundRobin(count), 2) == ["abcde"] * 2
    assert choices(RandomTasks(count), 2) == ["abcde"] * 2


@pytest.mark.parametrize("make", [RoundRobin, RandomTasks])
@pytest.mark.parametrize("count", [0, -1])
def test_no_task_in_a_step_is_refused(make, count):
    with pytest.raises(InputError, match=f"count is {count}: give at least 1"):
        make(count)


# ------------------------------------------------------------------ random


@pytest.mark.parametrize("count", [1, 2, 4])
def test_random_tasks_take_part_equally_often(count):
    steps = 4000
    schedule = RandomTasks(count, seed=3)
    drawn = [schedule.choose(TASKS, step) for step in range(steps)]
    assert all(len(set(tasks)) == count for tasks in drawn)
    counts = Counter(task for tasks in drawn for task in tasks)
    p = count / len(TASKS)
    five_sigma = 5 * (steps * p * (1 - p)) ** 0.5
    assert all(abs(counts[task] - steps * p) < five_sigma for task in TASKS)


def test_the_seed_decides_and_global_random_numbers_do_not_matter():
    torch.manual_seed(0)
    first = choices(RandomTasks(seed=1), 30)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert choices(RandomTasks(seed=1), 30) == first
    assert choices(RandomTasks(seed=2), 30) != first
    assert torch.equal(torch.get_rng_state(), before)


def test_the_mean_probabilities_of_a_phase_are_told_once():
    schedule = RandomTasks()
    choices(schedule, 4)
    assert schedule.record() == [{"split": "schedule", "probabilities": dict.fromkeys(TASKS, 0.2)}]
    assert schedule.record() == []


# ------------------------------------------------------------------ what probabilities are made of


@pytest.mark.parametrize(
    ("chances", "p"),
    [
        ([1.0, 3.0], [0.25, 0.75]),
        ([0.0, 0.0], [0.5, 0.5]),
        ([float("nan"), 2.0], [0.0, 1.0]),
        ([float("nan"), float("nan")], [0.5, 0.5]),
        ([-5.0, 1e-30], [0.0, 1.0]),
        ([-5.0, -1.0], [0.5, 0.5]),
        ([float("inf"), 1.0], [1.0, 0.0]),
        ([1e308, 1e308], [0.5, 0.5]),
        ([1e-320, 1e-320], [0.5, 0.5]),
        ([0.0], [1.0]),
    ],
)
def test_probabilities_are_made_of_any_numbers(chances, p):
    found = normalised(torch.tensor(chances, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(p, dtype=torch.float64), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------ greedy


def test_greedy_takes_the_highest_loss_after_every_task_was_trained_once():
    schedule, given = Greedy(), {"a": 0.3, "b": 2.0, "c": 0.9}
    tasks, taken = list(given), []
    for step in range(6):
        (task,) = schedule.choose(tasks, step)
        schedule.after_step(losses(**{task: given[task]}))
        given[task] /= 2
        taken.append(task)
    assert taken == ["a", "b", "c", "b", "b", "c"]  # b was 2.0, then 1.0, then 0.5 with c at 0.9


def test_greedy_knows_the_losses_of_all_tasks_of_a_step():
    schedule = Greedy()
    schedule.after_step(losses(a=1.0, b=5.0, c=3.0))
    assert schedule.choose(["a", "b", "c"], 0) == ["b"]
    assert schedule.choose(["a", "c"], 1) == ["c"]
    assert schedule.choose(["a", "b", "c", "d"], 2) == ["d"]


def test_greedy_compares_losses_without_the_scale_of_fp16():
    schedule = Greedy()
    schedule.after_step(losses(a=1.0))
    schedule.after_step(losses(scale=torch.tensor(1024.0), b=512.0))
    assert schedule.choose(["a", "b"], 0) == ["a"]


def test_greedy_trains_the_task_whose_loss_is_no_number():
    schedule = Greedy()
    schedule.after_step(losses(a=float("nan"), b=5.0))
    assert schedule.choose(["b", "a"], 0) == ["a"]


def test_the_state_of_greedy_has_the_losses_of_the_last_step():
    schedule, other = Greedy(), Greedy()
    schedule.after_step(losses(a=0.1, b=7.0))
    other.load_state_dict(schedule.state_dict())
    assert other.choose(["a", "b"], 1) == ["b"]
