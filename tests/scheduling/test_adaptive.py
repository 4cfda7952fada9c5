"""The adaptive schedule of Jean, Firat and Johnson, with the worked example of its formulas."""

from collections import Counter
from types import SimpleNamespace

import pytest
from synthetic import scores_of

from moduli.errors import InputError
from moduli.scheduling import Adaptive
from moduli.scheduling.adaptive import ratio

TASKS = ["a", "b"]
NAN = float("nan")


def observed(form="inverse", alpha=1.0, metric=None, **options):
    """Scores of half, and of nine tenths of what single-task models reach."""
    schedule = Adaptive({"a": 0.8, "b": 0.5}, form, alpha, **options)
    metric = {"a": 0.4, "b": 0.45} if metric is None else metric
    schedule.observe(scores_of(dict.fromkeys(TASKS, 1.0), metric))
    return schedule


@pytest.mark.parametrize(
    ("form", "alpha", "expected"),
    [
        ("inverse", 1.0, [0.633333, 0.366667]),
        ("simple", 1.0, [0.785714, 0.214286]),
        ("inverse", 4.0, [0.862570, 0.137430]),
        ("simple", 4.0, [0.714854, 0.285146]),
        ("implicit", 1.0, [0.633333, 0.366667]),
    ],
)
def test_the_worked_example(form, alpha, expected):
    assert observed(form, alpha).probabilities(TASKS).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("score", "baseline", "higher", "rho"),
    [
        (0.4, 0.8, True, 0.5),
        (0.9, 0.8, True, 1.0),
        (NAN, 0.8, True, 0.0),
        (-0.3, 0.8, True, 0.0),
        (0.4, 0.0, True, 1.0),
        (-0.4, -0.1, True, 1.0),
        (4.0, 2.0, False, 0.5),
        (1.0, 2.0, False, 1.0),
        (0.0, 2.0, False, 1.0),
        (1e8, 1e-8, False, 1e-16),
        (NAN, 2.0, False, 0.0),
        (4.0, 0.0, False, 1.0),
    ],
)
def test_how_much_of_the_baseline_a_score_reaches(score, baseline, higher, rho):
    assert ratio(score, baseline, higher) == pytest.approx(rho)


@pytest.mark.parametrize("form", ["inverse", "simple", "implicit"])
def test_unknown_scores_start_uniform(form):
    schedule = Adaptive({"a": 0.8, "b": 0.5}, form)
    assert schedule.probabilities(TASKS).tolist() == [0.5, 0.5]
    schedule.choose(TASKS, 0)
    assert schedule.rate(["b"]) == 1.0


def test_the_explicit_forms_draw_more_of_the_task_that_lags_behind():
    schedule = observed(seed=2)
    counts = Counter(schedule.choose(TASKS, step)[0] for step in range(5000))
    assert abs(counts["a"] - 5000 * 0.633333) < 5 * (5000 * 0.6333 * 0.3667) ** 0.5
    assert schedule.rate(["a"]) == 1.0
    told = schedule.record()[0]["probabilities"]
    assert told == pytest.approx({"a": 0.633333, "b": 0.366667}, abs=1e-6)


def test_the_implicit_form_draws_uniformly_and_scales_the_rate_instead():
    schedule, total = observed("implicit"), Counter()
    for step in range(5000):
        (task,) = schedule.choose(TASKS, step)
        total[task] += 1
        assert schedule.rate([task]) == pytest.approx(2 * {"a": 0.633333, "b": 0.366667}[task], abs=1e-5)
    assert abs(total["a"] - 2500) < 5 * (5000 / 4) ** 0.5


def test_the_rates_of_some_tasks_are_relative_to_these():
    schedule = Adaptive({"a": 0.8, "b": 0.5, "c": 1.0}, "implicit")
    schedule.observe(scores_of(dict.fromkeys("abc", 1.0), {"a": 0.4, "b": 0.45, "c": 1.0}))
    schedule.choose(["a", "b"], 0)
    assert schedule.rate(["a"]) == pytest.approx(2 * 0.633333, abs=1e-5)


def test_scores_are_read_anew_and_the_state_has_them():
    schedule = observed()
    other = Adaptive({"a": 0.8, "b": 0.5})
    other.load_state_dict(schedule.state_dict())
    assert other.probabilities(TASKS).tolist() == schedule.probabilities(TASKS).tolist()
    schedule.observe(scores_of({"a": 1.0, "b": 1.0}, {"a": 0.8, "b": 0.05}))
    p = schedule.probabilities(TASKS).tolist()
    assert p == pytest.approx([0.15 / (0.15 + 1.05), 1.05 / (0.15 + 1.05)])


def test_a_task_without_a_baseline_is_named():
    schedule = Adaptive({"a": 0.8})
    with pytest.raises(InputError, match="task 'b' has no single-task baseline"):
        schedule.choose(TASKS, 0)
    with pytest.raises(InputError, match="task 'b' has no single-task baseline"):
        schedule.attach(SimpleNamespace(input_of={"a": "a", "b": "b"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "inverted"}, "unknown form 'inverted', did you mean 'inverse'"),
        ({"alpha": 0.0}, "alpha is 0.0: give a number above 0"),
        ({"eps": -0.1}, "eps is -0.1: give a number above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Adaptive({"a": 0.8}, **options)


def test_a_baseline_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="baseline of task 'a' is nan"):
        Adaptive({"a": NAN})
