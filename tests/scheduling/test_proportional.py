"""Tasks in proportion to their data."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from synthetic import tiny_tasks
from torch.utils.data import TensorDataset

from moduli import Data, Multiclass, Task
from moduli.errors import InputError
from moduli.scheduling import Proportional
from moduli.scheduling.sampling import normalised
from moduli.tasks import DatasetSource

NAMES = ["a", "b"]


@pytest.fixture
def tasks():
    """8 and 72 samples."""
    return [*tiny_tasks(["a"], samples=(8, 4, 4)), *tiny_tasks(["b"], samples=(72, 4, 4))]


def p(schedule, step=0, names=NAMES):
    return pytest.approx(normalised(schedule.chances(names, step)).tolist())


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (1.0, [0.1, 0.9]),
        (2.0, [0.25, 0.75]),  # sqrt(9) = 3
        (0.5, [1 / 82, 81 / 82]),
        (1e9, [0.5, 0.5]),
        (1e-9, [0.0, 1.0]),
    ],
)
def test_probabilities_are_the_samples_to_the_power_of_one_over_temperature(tasks, temperature, expected):
    assert expected == p(Proportional(tasks, temperature))


def test_the_temperature_moves_in_a_straight_line_and_then_stays(tasks):
    schedule = Proportional(tasks, 1.0, end=3.0, steps=100)
    assert [schedule.temperature_at(step) for step in (0, 25, 50, 100, 1000)] == [1.0, 1.5, 2.0, 3.0, 3.0]
    assert p(schedule) == [0.1, 0.9]
    assert p(schedule, 50) == [0.25, 0.75]
    falling = Proportional(tasks, 4.0, end=2.0, steps=10)
    assert p(falling, 10) == [0.25, 0.75]


def test_only_samples_with_a_label_count():
    tasks = tiny_tasks(["a", "b"], samples=(80, 8, 8), missing=0.5)
    schedule = Proportional(tasks)
    for task in tasks:
        targets = task.data.train.targets[task.name]
        expected = (targets >= 0).sum() if task.name == "b" else (~targets.isnan()).sum()
        assert 20 < schedule.samples[task.name] == expected < 60


def test_a_source_without_a_tensor_of_labels_counts_all_samples():
    source = DatasetSource(TensorDataset(torch.zeros(30, 2), torch.zeros(30).long()), ["t"])
    task = Task("t", Multiclass(2), Data("t", (2,), source, source, source))
    assert Proportional([task]).samples == {"t": 30}


def test_draws_follow_the_probabilities(tasks):
    schedule = Proportional(tasks, seed=1)
    counts = Counter(task for step in range(5000) for task in schedule.choose(NAMES, step))
    assert abs(counts["a"] - 500) < 5 * (5000 * 0.1 * 0.9) ** 0.5
    assert {"a", "b"} == set(Proportional(tasks, count=2).choose(NAMES, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0: give a number above 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"end": 2.0}, "end is 2.0 and steps is None: give both"),
        ({"steps": 2}, "end is None and steps is 2: give both"),
        ({"end": -1.0, "steps": 2}, "end is -1.0"),
        ({"end": 1.0, "steps": 0}, "steps is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tasks, options, message):
    with pytest.raises(InputError, match=message):
        Proportional(tasks, **options)


def test_a_task_of_the_model_that_was_not_given_is_named(tasks):
    with pytest.raises(InputError, match="task 'c' of the model is missing"):
        Proportional(tasks).attach(SimpleNamespace(input_of={"a": "a", "b": "b", "c": "c"}))
