"""Settings of a training run: learning rates, optimizers, refusals."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from moduli import InputError, Train
from moduli.training import choose_device


def parameters():
    return list(nn.Linear(2, 2).parameters())


def rates(train: Train, steps: int) -> list[float]:
    """The learning rate of every step."""
    optimizer = train.make_optimizer(parameters())
    schedule = train.make_lr_schedule(optimizer)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return seen


def test_a_constant_rate_needs_no_schedule():
    train = Train(steps=5, lr=0.1)
    assert train.make_lr_schedule(train.make_optimizer(parameters())) is None
    assert rates(train, 5) == [0.1] * 5


def test_cosine_falls_to_zero():
    expected = [0.05 * (1 + math.cos(math.pi * k / 10)) for k in range(10)]
    assert rates(Train(steps=10, lr=0.1, lr_schedule="cosine"), 10) == pytest.approx(expected)
    assert rates(Train(steps=10, lr=0.1, lr_schedule="cosine"), 12)[10:] == pytest.approx([0, 0])


def test_linear_falls_to_zero():
    assert rates(Train(steps=4, lr=0.1, lr_schedule="linear"), 6) == pytest.approx(
        [0.1, 0.075, 0.05, 0.025, 0, 0]
    )


@pytest.mark.parametrize("word", ["constant", "cosine", "linear"])
def test_warmup_rises_to_the_rate(word):
    seen = rates(Train(steps=10, lr=0.1, lr_schedule=word, warmup=4), 10)
    assert seen[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    after = rates(Train(steps=6, lr=0.1, lr_schedule=word), 6)
    assert seen[4:] == pytest.approx(after)


def test_a_schedule_of_the_users():
    train = Train(lr=0.1, lr_schedule=lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5))
    assert rates(train, 5) == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])


@pytest.mark.parametrize("word", ["adam", "adamw", "sgd", "rmsprop", "adagrad"])
def test_an_optimizer_by_its_word(word):
    optimizer = Train(optimizer=word, lr=0.03, weight_decay=0.2, momentum=0.7).make_optimizer(parameters())
    assert type(optimizer).__name__.lower() == word
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.03, 0.2)
    assert group.get("momentum", 0.7) == 0.7
    assert ("momentum" in group) == (word in ("sgd", "rmsprop"))


def test_an_optimizer_of_the_users():
    made = Train(optimizer=lambda p: torch.optim.Adadelta(p, lr=0.5)).make_optimizer(parameters())
    assert isinstance(made, torch.optim.Adadelta)


def test_frozen_parameters_are_not_optimized():
    weight, bias = parameters()
    weight.requires_grad_(False)
    (group,) = Train().make_optimizer([weight, bias]).param_groups
    assert [id(p) for p in group["params"]] == [id(bias)]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", 0, "train.steps is 0: give at least 1"),
        ("batch_size", -1, "train.batch_size is -1: give at least 1"),
        ("phase", 0, "train.phase is 0: give at least 1"),
        ("eval_batch_size", 0, "train.eval_batch_size is 0"),
        ("keep", 0, "train.keep is 0: give at least 1"),
        ("weight_decay", -0.1, "train.weight_decay is -0.1: give at least 0"),
        ("momentum", -1, "train.momentum is -1"),
        ("warmup", -1, "train.warmup is -1"),
        ("lr", 0.0, "train.lr is 0.0: give a number above 0"),
        ("lr", float("nan"), "train.lr is nan"),
        ("clip", 0.0, "train.clip is 0.0: give a number above 0, or leave it out"),
        ("patience", 0, "train.patience is 0: give at least 1"),
        ("optimizer", "adan", "train.optimizer is 'adan': did you mean 'adam'"),
        ("lr_schedule", "cosin", "train.lr_schedule is 'cosin': did you mean 'cosine'"),
        ("precision", "fp64", "train.precision is 'fp64': did you mean"),
        ("select", "accuracy", "train.select is 'accuracy': known: "),
    ],
)
def test_an_impossible_value_is_refused(name, value, message):
    with pytest.raises(InputError, match=message):
        Train(**{name: value})


def test_settings_as_json():
    def my_optimizer(p):
        return torch.optim.SGD(p)

    data = Train(optimizer=my_optimizer, lr=0.5).to_json()
    assert json.loads(json.dumps(data)) == data
    assert (data["optimizer"], data["lr"], data["patience"]) == ("my_optimizer", 0.5, 10)
    assert Train(**Train(steps=7).to_json()) == Train(steps=7)


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type in ("cpu", "cuda", "mps")
    for impossible in ("cuda:99", "gpu", "tpu0"):
        with pytest.raises(InputError, match=f"device {impossible} cannot be used") as caught:
            choose_device(impossible)
        assert "\n" not in str(caught.value)
