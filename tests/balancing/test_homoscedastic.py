"""Homoscedastic uncertainty."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from losses_at_hand import a_model, through_a_file, weights_of
from synthetic import tiny_model, tiny_tasks

from moduli import Binary, Regression, Train, Trainer
from moduli.balancing.uncertainty import Uncertainty

KINDS = {"c": Binary(), "r": Regression()}
TASKS = [SimpleNamespace(name=name, kind=kind) for name, kind in KINDS.items()]
LOSSES = {"c": 0.8, "r": 2.0}


def made(s=(0.0, 0.0), **options) -> Uncertainty:
    combine = Uncertainty(TASKS, **options)  # type: ignore[arg-type]
    combine.s.data = torch.tensor(s, dtype=torch.float64)
    return combine


def objective(form: str, s: torch.Tensor, losses=(0.8, 2.0), price: float = 1.0) -> torch.Tensor:
    c, r = losses
    factor = 1.0 if form == "kendall" else 0.5
    terms = (1 + s.exp()).log() if form == "log1p" else s / 2
    return factor * torch.exp(-s[0]) * c + 0.5 * torch.exp(-s[1]) * r + price * terms.sum()


def test_worked_example():
    combine = made((0.0, 1.0))
    weights = weights_of(combine, LOSSES)
    assert weights == pytest.approx({"c": 1.0, "r": 0.5 * math.exp(-1)})
    total = sum(weights[task] * LOSSES[task] for task in LOSSES) + 0.5
    assert total == pytest.approx(1.6678794, abs=1e-7)
    assert combine.s.grad.tolist() == pytest.approx([-0.3, 0.1321206], abs=1e-7)


@pytest.mark.parametrize("form", ["kendall", "half", "log1p"])
def test_follows_its_objective(form):
    s = torch.tensor([0.3, -1.2], dtype=torch.float64, requires_grad=True)
    losses = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in LOSSES.values()]
    *expected, by_s = torch.autograd.grad(objective(form, s, losses), [*losses, s])
    combine = made((0.3, -1.2), form=form)
    assert list(weights_of(combine, LOSSES).values()) == pytest.approx([x.item() for x in expected])
    assert combine.s.grad.tolist() == pytest.approx(by_s.tolist())


def test_the_optimum_is_where_it_should_be():
    """sigma^2 = 2 L for a classification, L for a regression: found by the optimizer."""
    combine = made()
    optimizer = torch.optim.Adam([combine.s], lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        weights_of(combine, LOSSES)
        optimizer.step()
    assert combine.s.tolist() == pytest.approx([math.log(1.6), math.log(2.0)], abs=1e-4)


def test_only_tasks_that_take_part_move_their_s():
    combine = made()
    assert weights_of(combine, {"r": 2.0}, "cr") == {"r": 0.5}
    assert combine.s.grad.tolist() == [0.0, 0.5 - 0.5 * 2.0]
    assert combine.s.grad.tolist()[1] != 0


def test_scale_of_fp16_multiplies_all_gradients_alike():
    plain, scaled = made((0.2, -0.4)), made((0.2, -0.4))
    assert weights_of(scaled, LOSSES, scale=2.0**10) == pytest.approx(weights_of(plain, LOSSES))
    torch.testing.assert_close(scaled.s.grad, plain.s.grad * 2**10)


def test_s_stays_within_its_bound():
    combine = made(bound=2.0)
    optimizer = torch.optim.SGD([combine.s], lr=1.0)
    for _ in range(20):
        optimizer.zero_grad()
        weights = weights_of(combine, {"c": 0.0, "r": 1e6})
        optimizer.step()
    assert weights == pytest.approx({"c": math.exp(2), "r": 0.5 * math.exp(-2)})
    for _ in range(20):  # nothing is stuck at the bound
        optimizer.zero_grad()
        weights = weights_of(combine, {"c": 1.0, "r": 1.0})
        optimizer.step()
    assert weights["c"] < 1


def test_rows_are_those_of_the_model_whatever_the_order_of_the_arguments():
    combine = Uncertainty(TASKS[::-1])  # type: ignore[arg-type]
    assert weights_of(combine, LOSSES) == {"c": 1.0, "r": 0.5}


def test_trained_by_the_optimizer_of_the_network_without_weight_decay():
    tasks = tiny_tasks()
    combine = Uncertainty(tasks, init=1.0)
    settings = Train(optimizer="adamw", weight_decay=0.5, lr=0.01)
    trainer = Trainer(tiny_model(tasks), tasks, settings, combine, device="cpu")
    groups = {id(p): group for group in trainer.parts.optimizer.param_groups for p in group["params"]}
    assert groups[id(combine.s)]["weight_decay"] == 0
    for _ in range(30):
        trainer.one_step()
    assert (combine.s != 1).all()
    assert (combine.s[1:] < 0.85).all()  # those of classifications, whose losses are far below 2 e
    (record,) = combine.record()
    assert record["s"] == dict(zip("abc", combine.s.tolist(), strict=True))
    assert 0 < record["weights"]["a"] < 1


def test_state_has_s_from_the_beginning():
    combine, other = made((0.5, -1.5)), made()
    other.load_state_dict(through_a_file(combine.state_dict()))
    assert other.s.tolist() == [0.5, -1.5]
    state = combine.state_dict()
    with torch.no_grad():
        combine.s.zero_()
    assert state["s"].tolist() == [0.5, -1.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "kendal"}, "unknown form 'kendal' of uncertainty, did you mean 'kendall'"),
        ({"bound": 0.0}, "the bound on s is 0.0: give a number above 0"),
        ({"init": 11.0}, "s starts at 11.0: give a number within the bound 10.0"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        made(**options)


def test_refuses_other_tasks_than_the_models():
    with pytest.raises(ValueError, match="the model has a task 'x' that Uncertainty was not given"):
        made().attach(a_model("c", "r", "x"))
    with pytest.raises(ValueError, match="was given a task 'r' that the model does not have"):
        made().attach(a_model("c"))
