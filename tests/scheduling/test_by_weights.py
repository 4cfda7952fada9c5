"""A weighting as a schedule."""

from collections import Counter

import pytest
import torch
from synthetic import tiny_model, tiny_tasks
from torch import nn

from moduli import Equal, Weights
from moduli.balancing.weighting import Weighting
from moduli.errors import InputError
from moduli.scheduling import ByWeights
from moduli.scheduling.sampling import normalised
from moduli.types import Losses

TASKS = ["a", "b", "c"]


class ByLoss(Weighting):
    """Weights that are the last known losses; 0 for a task that was not seen."""

    def weigh(self, losses):
        return losses.nan_to_num(nan=0.0)


class Learned(ByLoss):
    def parameters(self):
        return [nn.Parameter(torch.zeros(()))]


@pytest.fixture(scope="module")
def model():
    return tiny_model(tiny_tasks(TASKS))


def attached(weighting, model, **options):
    schedule = ByWeights(weighting, **options)
    schedule.attach(model)
    return schedule


def losses(scale=None, **values):
    mean = {task: torch.tensor(float(value)) for task, value in values.items()}
    return Losses(mean, {}, {}, {}, scale=scale)


def p(schedule, tasks=TASKS):
    return normalised(schedule.chances(tasks, 0)).tolist()


def test_tasks_are_drawn_in_proportion_to_their_weights(model):
    schedule = attached(Weights({"a": 2.0, "c": 5.0}), model, seed=1)
    schedule.after_step(losses(a=1.0, b=1.0, c=1.0))
    assert p(schedule) == pytest.approx([0.25, 0.125, 0.625])
    assert p(schedule, ["b", "a"]) == pytest.approx([1 / 3, 2 / 3])
    counts = Counter(schedule.choose(TASKS, step)[0] for step in range(5000))
    assert abs(counts["c"] - 5000 * 0.625) < 5 * (5000 * 0.625 * 0.375) ** 0.5


def test_every_task_is_trained_once_before_weights_decide(model):
    schedule = attached(ByLoss(), model)
    assert p(schedule) == pytest.approx([1 / 3] * 3)
    schedule.after_step(losses(b=6.0))
    assert p(schedule) == [0.5, 0.0, 0.5]
    assert p(schedule, ["b", "a"]) == [0.0, 1.0]
    schedule.after_step(losses(a=1.0))
    assert p(schedule) == [0.0, 0.0, 1.0]
    assert p(schedule, ["a", "b"]) == pytest.approx([1 / 7, 6 / 7])


def test_the_last_known_losses_of_all_tasks_decide(model):
    schedule = attached(ByLoss(), model)
    schedule.after_step(losses(a=1.0, b=6.0, c=1.0))
    schedule.after_step(losses(c=3.0))
    schedule.after_step(losses(torch.tensor(4.0), a=4.0))
    assert p(schedule) == pytest.approx([1 / 10, 6 / 10, 3 / 10])


def test_the_expected_gradient_is_that_of_the_weighting_up_to_a_constant(model):
    """sum_k p_k grad L_k = (sum_k w_k grad L_k) / sum_k w_k."""
    weights = {"a": 2.0, "b": 1.0, "c": 5.0}
    schedule = attached(Weights(weights), model)
    schedule.after_step(losses(a=1.0, b=1.0, c=1.0))
    grads = torch.randn(3, 7, dtype=torch.float64)
    drawn = torch.tensor(p(schedule), dtype=torch.float64) @ grads
    weighted = torch.tensor(list(weights.values()), dtype=torch.float64) @ grads
    torch.testing.assert_close(drawn, weighted / 8)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_weights_that_are_all_nothing_draw_uniformly(model, value):
    class Nothing(ByLoss):
        def weigh(self, losses):
            return torch.full_like(losses, value)

    schedule = attached(Nothing(), model)
    schedule.after_step(losses(a=1.0, b=1.0, c=1.0))
    assert p(schedule) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_goes_on_from_its_state(model, scale):
    schedule = attached(ByLoss(), model, seed=5)
    for task in "abcab":
        schedule.choose(TASKS, 0)
        schedule.after_step(losses(**{task: scale * ord(task)}))
    other = attached(ByLoss(), model)
    other.load_state_dict(schedule.state_dict())
    for step in range(20):
        assert other.choose(TASKS, step) == schedule.choose(TASKS, step)
        for one in (schedule, other):
            one.after_step(losses(b=scale * step))
    assert other.record() == schedule.record()


def test_what_gives_no_weights_is_refused():
    with pytest.raises(InputError, match="Equal gives no weights"):
        ByWeights(Equal())


def test_weights_that_the_optimizer_trains_are_refused():
    with pytest.raises(InputError, match="trains the weights of Learned: use it as combine"):
        ByWeights(Learned())
