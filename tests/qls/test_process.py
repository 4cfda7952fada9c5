"""Training as a decision process: its rewards, its resets, and going on in the middle of an episode."""

from __future__ import annotations

import io
import math

import pytest
import torch
from synthetic import sharing_tasks, tiny_model, tiny_tasks

from moduli import InputError, Train, Weights
from moduli.qls.process import TrainingProcess
from moduli.scheduling.monitor import Look, Monitor
from moduli.training import evaluate

TASKS = sharing_tasks()  # x regression, y binary, z multiclass, own regression
BASELINES = {"x": 1.0, "y": 0.8, "z": 0.6, "own": 2.0}


def process(**options) -> TrainingProcess:
    build = options.pop("build", lambda seed: tiny_model(TASKS, seed=seed, dropout=0.2))
    options = {"train": Train(batch_size=4), "device": "cpu", "reset_every": 6, **options}
    return TrainingProcess(build, TASKS, **options)


def test_the_reward_is_minus_the_mean_validation_loss():
    p = process()
    p.reset()
    for action in (0, 3, 1):
        state, reward, terminated, truncated, info = p.step(action)
        scores = evaluate(p.trainer.model, p.tasks, "val")
        assert reward == pytest.approx(-sum(scores.loss.values()) / 4)
        assert info["losses"] == pytest.approx(scores.loss)
        assert torch.equal(state, Monitor(TASKS).look(p.trainer.model).state)
        assert not terminated
        assert not truncated
        assert info["relative"] is None
        assert not info["punished"]


def test_an_action_trains_its_task_only():
    p = process(build=lambda seed: tiny_model(TASKS, "single", seed=seed), steps_per_action=3)
    p.reset()
    before = {n: x.clone() for n, x in p.trainer.model.state_dict().items()}
    *_, info = p.step(1)
    assert (info["task"], info["step"], p.trainer.step) == ("y", 3, 3)
    moved = {n for n, x in p.trainer.model.state_dict().items() if not torch.equal(x, before[n])}
    own = {part.name for part in p.trainer.model.own("y")}
    assert moved
    assert moved <= own | {n for n in before if n.startswith("encoders")}


def test_an_episode_is_truncated_and_the_next_begins_with_another_model():
    p = process(steps_per_action=4)
    first = p.reset()
    assert [p.step(0)[3], p.step(0)[3]] == [False, True]
    assert p.steps == 6  # the last action is shorter
    assert not torch.equal(p.reset(), first)
    assert (p.episode, p.steps) == (1, 0)


def test_models_differ_from_those_of_the_same_seed_elsewhere():
    seen = []
    p = process(build=lambda seed: (seen.append(seed), tiny_model(TASKS))[1], seed=3)
    for _ in range(3):
        p.reset()
    assert len(set(seen)) == 3
    assert min(seen) > 1000


def look(values, loss: float = 1.0) -> Look:
    return Look(torch.zeros(80), dict.fromkeys(BASELINES, loss), values)


AT = dict(BASELINES)
LOW = {**BASELINES, "y": 0.6, "z": 0.5}  # relative: (1 + 0.75 + 0.8333 + 1) / 4 = 0.8958


def test_relative_performance():
    p = process(baselines=BASELINES)
    assert p.relative(AT) == pytest.approx(1)
    assert p.relative(LOW) == pytest.approx(0.895833)
    assert p.relative({**AT, "x": 0.8}) == pytest.approx((1.25 + 3) / 4)  # an error: less is better
    assert p.relative({**AT, "x": 0.0}) == pytest.approx((2 + 3) / 4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [-10, -1, -10]),
        ({"penalty_mode": "armed"}, [-1, -1, -10]),
        ({"add": True}, [-11, -1, -11]),
        ({"penalty": -3.0, "threshold": 0.89}, [-1, -1, -1]),
        ({"penalty": -3.0, "threshold": 1.01}, [-3, -3, -3]),
        ({"baselines": None}, [-1, -1, -1]),
    ],
)
def test_the_penalty(options, expected):
    p = process(**{"baselines": BASELINES, **options})
    p.reset()
    assert [p._reward(look(values))[0] for values in (LOW, AT, LOW)] == pytest.approx(expected)


def test_a_reset_disarms():
    p = process(baselines=BASELINES, penalty_mode="armed")
    p.reset()
    p._reward(look(AT))
    p.reset()
    assert p._reward(look(LOW)) == (-1.0, {"relative": pytest.approx(0.895833), "punished": False})


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_earns_the_penalty(loss):
    for options in ({}, {"add": True}, {"baselines": BASELINES, "penalty_mode": "armed"}):
        p = process(**options)
        p.reset()
        reward, told = p._reward(look(AT, loss))
        assert reward == -10
        assert told["punished"]


def test_it_is_repeatable_and_leaves_the_random_numbers_alone():
    found = []
    for k in range(2):
        torch.manual_seed(k)
        p, states = process(seed=5), []
        for action in (0, 1, 2, 3, 1, 0):
            if p.steps % 6 == 0:
                states.append(p.reset())
            torch.rand(k)  # what others draw does not matter
            before = torch.get_rng_state()
            states.append(p.step(action)[0])
            assert torch.equal(torch.get_rng_state(), before)
        found.append(torch.stack(states))
    assert torch.equal(*found)


def test_a_seed_at_the_reset_begins_anew():
    p = process()
    first = p.reset(seed=7)
    p.step(0)
    assert not torch.equal(p.reset(), first)
    assert torch.equal(p.reset(seed=7), first)


@pytest.mark.parametrize("stop", [0, 2, 4])
def test_goes_on_in_the_middle_of_an_episode_to_the_same_bits(stop):
    options = {"baselines": BASELINES, "penalty_mode": "armed", "combine": lambda: Weights({"x": 2.0})}
    p = process(**options)
    p.reset()
    for action in range(stop):
        p.step(action)
    file = io.BytesIO()
    torch.save(p.state_dict(), file)
    expected = []
    for action in (3, 0, 1, 2):
        expected.append(p.step(action)[:2])
    expected.append(p.reset())
    file.seek(0)
    other = process(**options)
    other.load_state_dict(torch.load(file, weights_only=True))
    for action, (state, reward) in zip((3, 0, 1, 2), expected, strict=False):
        found = other.step(action)
        assert torch.equal(found[0], state)
        assert found[1] == reward
    assert torch.equal(other.reset(), expected[-1])


def test_a_state_before_the_first_episode():
    p, other = process(seed=2), process()
    other.load_state_dict(p.state_dict())
    assert torch.equal(other.reset(), p.reset())


def test_the_test_split_is_never_read():
    tasks = tiny_tasks(("a", "b"))
    for task in tasks:
        task.data.test.inputs.fill_(math.nan)  # type: ignore[attr-defined]
        task.data.test.batches = task.data.test.stream = None  # type: ignore[assignment]
    p = TrainingProcess(lambda seed: tiny_model(tasks, seed=seed), tasks, device="cpu")
    p.reset()
    assert math.isfinite(p.step(1)[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reset_every": 0}, "reset_every is 0"),
        ({"steps_per_action": 0}, "steps_per_action is 0"),
        ({"penalty_mode": "alway"}, "did you mean 'always'"),
        ({"baselines": {**BASELINES, "y": 0.0}}, "baseline of 'y' is 0.0"),
        ({"baselines": {"x": 1.0}}, "baseline of 'y' is None"),
        ({"monitor": Monitor(TASKS[:2])}, "other tasks"),
    ],
)
def test_errors(options, message):
    with pytest.raises(InputError, match=message):
        process(**options)


def test_actions_that_cannot_be():
    p = process()
    with pytest.raises(InputError, match="reset"):
        p.step(0)
    p.reset()
    for action in (-1, 4):
        with pytest.raises(InputError, match=f"action {action}: give .* 0 to 3"):
            p.step(action)
