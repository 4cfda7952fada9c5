"""The contract of every combine (`moduli.types.Combine`)."""

from __future__ import annotations

import copy
import io
import math
from itertools import permutations

import pytest
import torch
from implementations import COMBINES, TASKS
from synthetic import same, tiny_model, tiny_tasks

from moduli import Aggregated, Equal, Losses, RunError, Weights, fit
from moduli.types import Combine

combines = pytest.mark.parametrize("case", COMBINES, ids=lambda case: case.name)
some = pytest.mark.parametrize("case", [c for c in COMBINES if c.tasks < 2], ids=lambda case: case.name)
known = pytest.mark.parametrize("case", [c for c in COMBINES if c.objective], ids=lambda case: case.name)


@pytest.fixture
def model():
    return tiny_model(tiny_tasks(TASKS), "soft", dtype=torch.float64)


INPUTS = {
    task: torch.linspace(-1, 2, 4 * features, dtype=torch.float64).view(4, features).cos()[: 4 - row]
    for row, (task, features) in enumerate([("a", 3), ("b", 4), ("c", 5)])
}


def losses_of(model, tasks=TASKS, scale=1.0) -> Losses:
    outputs = model({task: INPUTS[task] for task in tasks}, tasks)
    samples = {task: scale * y.square().mean(-1) for task, y in outputs.items()}
    return Losses({t: x.mean() for t, x in samples.items()}, samples, outputs, {})


def gradient(combine, model, losses) -> list:
    model.zero_grad(set_to_none=True)
    combine.backward(losses, model)
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


@combines
def test_speaks_the_protocol(case):
    combine = case.make()
    assert isinstance(combine, Combine)
    assert all(isinstance(p, torch.nn.Parameter) for p in combine.parameters())


@known
def test_gradient_is_that_of_the_objective(case, model):
    got = gradient(case.make(), model, losses_of(model))
    expected = torch.autograd.grad(case.objective(losses_of(model)), list(model.parameters()))
    torch.testing.assert_close(got, list(expected))


@known
def test_gradient_agrees_with_finite_differences(case, model):
    weight = model.structure.modules_pool[0].weight
    gradient(case.make(), model, losses_of(model))
    for entry, step in [((0, 0), 1e-6), ((2, 3), 1e-6)]:
        with torch.no_grad():
            weight[entry] += step
            up = case.objective(losses_of(model)).item()
            weight[entry] -= 2 * step
            down = case.objective(losses_of(model)).item()
            weight[entry] += step
        assert weight.grad[entry].item() == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-8)


@combines
def test_every_task_that_takes_part_is_followed(case, model):
    gradient(case.make(), model, losses_of(model))
    for task in () if case.drops else TASKS:
        assert any(part.grad is not None and part.grad.any() for part in model.own(task))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.shared_parameters())


@some
def test_an_absent_task_is_left_alone(case, model):
    gradient(case.make(), model, losses_of(model, ["a", "c"]))
    for part in model.own("b"):
        assert part.grad is None or not part.grad.any()
    assert any(part.grad is not None and part.grad.any() for part in model.own("a"))


@some
def test_an_absent_task_may_come_back(case, model):
    combine = case.make()
    for tasks in (["a"], ["b", "c"], TASKS):
        gradient(combine, model, losses_of(model, tasks))
    assert all(part.grad is not None for part in model.own("b"))


@combines
@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1.0, 1e4, 1e8])
def test_finite_at_every_scale_of_the_losses(case, model, scale):
    combine = case.make()
    for _ in range(2):
        grads = gradient(combine, model, losses_of(model, scale=scale))
        assert all(g is None or g.isfinite().all() for g in grads)
        assert any(g is not None and g.any() for g in grads)


@combines
def test_adds_to_gradients_that_are_there(case, model):
    combine = case.make()
    expected = gradient(copy.deepcopy(combine), model, losses_of(model))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    combine.backward(losses_of(model), model)
    torch.testing.assert_close(
        [p.grad for p in model.parameters()],
        [
            torch.ones_like(p) if g is None else 1 + g
            for p, g in zip(model.parameters(), expected, strict=True)
        ],
    )


@combines
def test_order_of_tasks_does_not_matter(case, model):
    expected = gradient(case.make(), model, losses_of(model))
    for order in permutations(TASKS):
        losses = losses_of(model, order)
        torch.testing.assert_close(gradient(case.make(), model, losses), expected)


@combines
def test_leaves_weights_and_losses_alone(case, model):
    before = copy.deepcopy(model.state_dict())
    losses = losses_of(model)
    values = {task: loss.item() for task, loss in losses.mean.items()}
    gradient(case.make(), model, losses)
    assert {task: loss.item() for task, loss in losses.mean.items()} == values
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


@combines
def test_goes_on_from_its_state(case, model):
    """The state survives a file that may hold no code, and the next steps are the same to the bit."""
    combine = case.make()
    for scale in (1.0, 3.0):
        gradient(combine, model, losses_of(model, scale=scale))
    file = io.BytesIO()
    torch.save(combine.state_dict(), file)
    file.seek(0)
    other = case.make()
    other.load_state_dict(torch.load(file, weights_only=True))
    for scale in (0.5, 20.0):
        expected = gradient(combine, model, losses_of(model, scale=scale))
        got = gradient(other, model, losses_of(model, scale=scale))
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


@combines
def test_its_state_is_a_snapshot(case, model):
    """What a checkpoint holds does not change when training goes on."""
    combine = case.make()
    gradient(combine, model, losses_of(model))
    state = combine.state_dict()
    before = copy.deepcopy(state)
    gradient(combine, model, losses_of(model, scale=7.0))
    assert same(state, before)


@combines
def test_a_loss_that_is_no_number_is_named(case):
    """Whose loss was the first to be NaN: a step later those of all tasks may be."""
    tasks = tiny_tasks(TASKS)
    model = tiny_model(tasks, "soft")
    for part in model.own("b"):
        part.value.fill_(math.nan)
    combine = case.make()
    for parameter in combine.parameters():
        parameter.data = parameter.data.float()
    with pytest.raises(RunError, match="task 'b'") as caught:
        fit(model, tasks, combine=as_float(combine), steps=6, phase=3, device="cpu")
    assert "\n" not in str(caught.value)


def as_float(combine):
    """Weights that a case was given in double precision, in single; other combines as they are."""
    library = getattr(combine, "aggregator", None)
    return combine if library is None else Aggregated(library.float())


# ------------------------------------------------------------------ one another


def test_weights_of_one_are_equal_weights(model):
    equal = gradient(Equal(), model, losses_of(model))
    ones = gradient(Weights(dict.fromkeys(TASKS, 1.0)), model, losses_of(model))
    unnamed = gradient(Weights({}), model, losses_of(model))
    torch.testing.assert_close(ones, equal, rtol=0, atol=0)
    torch.testing.assert_close(unnamed, equal, rtol=0, atol=0)


def test_a_weight_of_zero_switches_a_task_off(model):
    gradient(Weights({"b": 0.0}), model, losses_of(model))
    assert not any(part.grad.any() for part in model.own("b") if part.grad is not None)


@pytest.mark.parametrize("weight", [-1.0, -1e-9, math.nan])
def test_weights_that_are_none_are_refused(weight):
    with pytest.raises(ValueError, match=r"weight of task 'a' is .*: give a number of at least 0"):
        Weights({"a": weight})
