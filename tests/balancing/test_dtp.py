"""Dynamic task prioritization."""

from __future__ import annotations

import math

import pytest
import torch
from losses_at_hand import a_model, from_samples, through_a_file, weights_of
from synthetic import scores_of

from moduli import Binary, Multiclass, Regression, Scores, Task
from moduli.balancing.dtp import DynamicTaskPriority, validation_kpi

TASKS = [Task("a", Binary(), None), Task("b", Multiclass(3), None)]  # type: ignore[arg-type]
ONE = {"a": 1.0, "b": 1.0}


def made(**options) -> DynamicTaskPriority:
    return DynamicTaskPriority(TASKS, **{"gamma_samples": 0.0} | options)


def observed(combine, *metrics):
    """The weights after phases with these metrics."""
    for pair in metrics:
        weights_of(combine, ONE)
        combine.observe(scores_of(ONE, dict(zip("ab", pair, strict=True))))
    return weights_of(combine, ONE)


@pytest.mark.parametrize(
    ("gamma", "expected"), [(1.0, (0.0446287, 0.3465736)), (2.0, (0.0089257, 0.1732868))]
)
def test_weights_of_the_worked_example(gamma, expected):
    weights = observed(made(gamma=gamma), (0.8, 0.5))
    assert list(weights.values()) == pytest.approx(expected, abs=5e-8)


def test_average_of_the_worked_example():
    combine = made()
    observed(combine, (0.5, 0.9), (0.9, 0.5))
    assert combine._average.tolist() == pytest.approx([0.62, 0.78])


def test_all_weigh_1_before_the_first_scores():
    combine = made()
    assert weights_of(combine, ONE) == ONE
    assert weights_of(combine, {"b": 3.0}, "ab") == {"b": 1.0}


def test_no_task_weighs_infinitely_much_or_nothing():
    weights = observed(made(), (0.0, 1.0))
    assert weights["a"] == pytest.approx(-math.log(1e-3) * (1 - 1e-3))
    assert weights["b"] == pytest.approx(1e-6, rel=1e-2)


def test_a_task_that_was_not_measured_keeps_its_average():
    combine = made()
    observed(combine, (math.nan, 0.5))
    assert weights_of(combine, ONE) == pytest.approx({"a": 1.0, "b": 0.3465736})
    observed(combine, (0.4, math.nan))
    assert combine._average.tolist() == pytest.approx([0.4, 0.5])


def test_a_kpi_of_the_users_own():
    combine = made(kpi=lambda scores, task: {"a": 0.8, "b": 0.5}[task])
    assert list(observed(combine, (0.1, 0.1)).values()) == pytest.approx([0.0446287, 0.3465736], abs=5e-8)
    with pytest.raises(ValueError, match=r"the KPI of task 'a' is 1\.5: it must be a number from 0 to 1"):
        observed(made(kpi=lambda scores, task: 1.5), (0.1, 0.1))


@pytest.mark.parametrize(
    ("metric", "value", "higher", "expected"),
    [
        ("accuracy", 0.7, True, 0.7),
        ("r2", -0.4, True, 0.0),
        ("bleu", 34.0, True, math.exp(-0.5)),
        ("error", 0.1, False, 0.9),
        ("rmse", 0.1, False, math.exp(-0.5)),
    ],
)
def test_kpi_by_default(metric, value, higher, expected):
    scores = Scores("val", {"a": 0.5}, {"a": {metric: value}}, {"a": metric}, {"a": higher})
    assert validation_kpi(scores, "a") == pytest.approx(expected)


def test_kpi_of_a_task_without_labels_is_not_known():
    for higher in (True, False):
        scores = Scores("val", {"a": math.nan}, {"a": {"m": math.nan}}, {"a": "m"}, {"a": higher})
        assert math.isnan(validation_kpi(scores, "a"))


def test_samples_and_tasks_are_both_weighed():
    tasks = [*TASKS, Task("r", Regression(), None)]  # type: ignore[arg-type]
    combine = DynamicTaskPriority(tasks)
    samples = {t: torch.rand(4, dtype=torch.float64, requires_grad=True) for t in "abr"}
    weights_of(combine, dict.fromkeys("abr", 1.0))
    combine.observe(scores_of(dict.fromkeys("abr", 0.5), {"a": 0.8, "b": 0.5, "r": 0.5}))
    combine.backward(from_samples(samples), a_model(*"abr"))
    weights = {"a": 0.0446287, "b": 0.3465736, "r": 0.3465736}
    for task, x in samples.items():
        each = (1 - torch.exp(-x)) ** 2 * x if task != "r" else x
        (expected,) = torch.autograd.grad(weights[task] * each.mean(), x)
        torch.testing.assert_close(x.grad, expected, rtol=1e-6, atol=0)


def test_state_has_weights_and_averages():
    combine, other = made(), made()
    observed(combine, (0.8, 0.5))
    other.load_state_dict(through_a_file(combine.state_dict()))
    assert observed(other, (0.1, 0.2)) == observed(combine, (0.1, 0.2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": -1}, "gamma is -1: give a number of at least 0"),
        ({"gamma_samples": -1}, "gamma_samples is -1: give a number of at least 0"),
        ({"new_weight": 0}, "new_weight is 0: give a number above 0, of at most 1"),
        ({"clip": (0.0, 1.0)}, "clip is .*: give the least and the greatest KPI"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        made(**options)


def test_refuses_other_tasks_than_the_models():
    with pytest.raises(ValueError, match="the model has a task 'x' that DynamicTaskPriority was not given"):
        made().attach(a_model("a", "b", "x"))
