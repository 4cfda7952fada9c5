"""The weightings that need no more than the losses of tasks."""

from __future__ import annotations

import math

import pytest
import torch
from losses_at_hand import a_model, through_a_file, weights_of
from synthetic import scores_of

from moduli.balancing.dwa import DWA
from moduli.balancing.exponent import Exponent
from moduli.balancing.prioritise import Prioritise
from moduli.balancing.random_weights import RandomWeights

SOME = {"a": 1.0, "b": 2.0, "c": 0.5}


# ------------------------------------------------------------------ loss exponentiation


def test_exponent_of_the_worked_example():
    weights = weights_of(Exponent(), {"a": 2.0, "b": 0.1})
    assert weights == pytest.approx({"a": 1.276005, "b": 0.814138}, abs=1e-6)


def test_exponent_follows_the_sum_of_powers():
    losses = torch.tensor([2.0, 0.1, 3.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad((losses**1.5).sum(), losses)
    weights = weights_of(Exponent(1.5), dict(zip("abc", losses.tolist(), strict=True)))
    assert list(weights.values()) == pytest.approx(gradient.tolist())


def test_exponent_has_no_gradient_at_a_loss_of_0_or_below():
    assert weights_of(Exponent(), {"a": 0.0, "b": -1.0}) == {"a": 0.0, "b": 0.0}


def test_exponent_of_1_is_equal():
    assert weights_of(Exponent(1.0), {"a": 0.0, "b": 7.0}) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("p", [0.9, -1, math.nan])
def test_exponent_refuses_powers_below_1(p):
    with pytest.raises(ValueError, match=f"the power p is {p}: give at least 1"):
        Exponent(p)


# ------------------------------------------------------------------ random weights


def test_random_weights_are_a_softmax_of_normal_numbers():
    combine = RandomWeights(seed=5)
    drawn = torch.tensor([list(weights_of(combine, SOME).values()) for _ in range(4000)])
    torch.testing.assert_close(drawn.sum(1), torch.ones(4000))
    logs = drawn.log() - drawn.log().mean(1, keepdim=True)  # z less its mean: variance 1 - 1/3
    torch.testing.assert_close(logs.mean(0), torch.zeros(3), rtol=0, atol=5 / math.sqrt(4000))
    torch.testing.assert_close(logs.var(0), torch.full((3,), 2 / 3), rtol=0.12, atol=0)


def test_random_weights_are_shared_by_the_tasks_of_the_model_not_of_the_step():
    all_tasks, one = (weights_of(RandomWeights(3), losses, "abc") for losses in (SOME, {"b": 2.0}))
    assert one["b"] == all_tasks["b"]


def test_random_weights_depend_on_their_seed_alone():
    before = torch.get_rng_state()
    first = weights_of(RandomWeights(1), SOME)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert weights_of(RandomWeights(1), SOME) == first
    assert weights_of(RandomWeights(2), SOME) != first


# ------------------------------------------------------------------ dynamic weight average


def phase_of(combine, *losses, tasks="ab"):
    """Steps with the given losses, and the end of a phase; the weights of the last step."""
    weights = {}
    for values in losses:
        weights = weights_of(combine, values, tasks)
    combine.observe(scores_of(dict.fromkeys(tasks, 123.0)))  # validation does not matter
    return weights


def test_dwa_of_the_worked_example():
    combine = DWA()
    assert phase_of(combine, {"a": 1.5, "b": 3.0}, {"a": 2.5, "b": 5.0}) == {"a": 1.0, "b": 1.0}
    assert phase_of(combine, {"a": 1.8, "b": 2.0}) == {"a": 1.0, "b": 1.0}
    weights = phase_of(combine, {"a": 100.0, "b": 0.1})
    assert weights == pytest.approx({"a": 1.099668, "b": 0.900332}, abs=1e-6)
    weights = weights_of(combine, {"a": 1.0, "b": 1.0})  # 100 / 1.8 against 0.1 / 2
    assert weights == pytest.approx({"a": 2.0, "b": 0.0}, abs=1e-6)


def test_dwa_with_a_high_temperature_is_equal():
    combine = DWA(temperature=1e9)
    for losses in ({"a": 1.0, "b": 3.0}, {"a": 5.0, "b": 0.1}):
        phase_of(combine, losses)
    assert weights_of(combine, {"a": 1.0, "b": 1.0}) == pytest.approx({"a": 1.0, "b": 1.0})


def test_dwa_ignores_phases_in_which_a_task_did_not_take_part():
    combine = DWA()
    phase_of(combine, {"a": 2.0, "b": 4.0})
    phase_of(combine, {"b": 3.0})
    phase_of(combine, {"a": 1.0})  # rates: 1 / 2, and 3 / 4 as before
    expected = (2 * torch.softmax(torch.tensor([0.5, 0.75], dtype=torch.float64) / 2, 0)).tolist()
    assert list(weights_of(combine, {"a": 1.0, "b": 1.0}).values()) == pytest.approx(expected)


def test_dwa_has_no_rate_of_a_task_before_its_second_phase():
    combine = DWA()
    phase_of(combine, {"a": 2.0, "b": 4.0})
    phase_of(combine, {"b": 2.0})
    expected = (2 * torch.softmax(torch.tensor([1.0, 0.5], dtype=torch.float64) / 2, 0)).tolist()
    assert list(weights_of(combine, {"a": 1.0, "b": 1.0}).values()) == pytest.approx(expected)


def test_dwa_averages_over_the_steps_in_which_a_task_took_part():
    combine = DWA()
    phase_of(combine, {"a": 1.0}, {"a": 3.0}, {"b": 8.0})
    phase_of(combine, {"b": 4.0}, {"a": 1.0, "b": 4.0})
    assert weights_of(combine, {"a": 1.0, "b": 1.0}) == pytest.approx({"a": 1.0, "b": 1.0})  # both halved


def test_dwa_stays_finite_when_a_loss_was_0():
    combine = DWA()
    phase_of(combine, {"a": 0.0, "b": 0.0})
    phase_of(combine, {"a": 1.0, "b": 0.0})
    weights = weights_of(combine, {"a": 1.0, "b": 1.0})
    assert weights == pytest.approx({"a": 2.0, "b": 0.0})


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_dwa_refuses_impossible_temperatures(temperature):
    with pytest.raises(ValueError, match=f"the temperature is {temperature}: give a number above 0"):
        DWA(temperature)


# ------------------------------------------------------------------ prioritise


@pytest.mark.parametrize(("task", "chosen"), [("b", "b"), ("easiest", "c"), ("hardest", "b"), ("a", "a")])
def test_prioritise(task, chosen):
    weights = weights_of(Prioritise(task), SOME)
    assert weights == pytest.approx({t: 0.98 if t == chosen else 0.01 for t in SOME})


def test_prioritise_follows_the_last_known_losses():
    combine = Prioritise("hardest")
    assert weights_of(combine, {"c": 0.5}, "abc") == {"c": 0.98}  # the others were not seen yet
    assert weights_of(combine, {"a": 1.0}, "abc") == {"a": 0.98}
    assert weights_of(combine, {"c": 0.7}, "abc") == {"c": 0.01}
    assert weights_of(combine, {"c": 1.7}, "abc") == {"c": 0.98}


def test_prioritise_takes_a_task_by_its_name_first():
    assert weights_of(Prioritise("easiest"), {"easiest": 9.0, "b": 1.0})["easiest"] == 0.98


def test_prioritise_refuses_unknown_tasks_and_negative_weights():
    with pytest.raises(ValueError, match="no task 'hardes' to prioritise, did you mean 'hardest'"):
        Prioritise("hardes").attach(a_model("a", "b"))
    with pytest.raises(ValueError, match="other is -1: give a number of at least 0"):
        Prioritise("a", other=-1)


# ------------------------------------------------------------------ all of them

MAKE = {
    "exponent": Exponent,
    "random": RandomWeights,
    "dwa": DWA,
    "prioritise": lambda: Prioritise("hardest"),
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_scale_of_fp16_does_not_change_the_weights(make):
    for losses in (SOME, {"b": 0.3}):
        expected, scaled = (weights_of(make(), losses, "abc", scale) for scale in (None, 2.0**16))
        assert scaled == pytest.approx(expected)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_a_state_of_before_the_first_step_holds(make):
    expected, other = make(), make()
    other.load_state_dict(through_a_file(make().state_dict()))
    assert weights_of(other, SOME) == weights_of(expected, SOME)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_mean_weights_are_told(make):
    combine = make()
    first, second = weights_of(combine, SOME), weights_of(combine, {"a": 4.0, "b": 0.1}, "abc")
    (record,) = combine.record()
    assert record["split"] == "balance"
    assert record["weights"] == pytest.approx(
        {"a": (first["a"] + second["a"]) / 2, "b": (first["b"] + second["b"]) / 2, "c": first["c"]}
    )
    assert combine.record() == []
