"""Schedules that depend on time alone, with the worked examples of their formulas."""

from collections import Counter
from types import SimpleNamespace

import pytest

from moduli.errors import InputError
from moduli.scheduling import ConstantShare, ExponentialShare, ShiftingShares, SigmoidShare
from moduli.scheduling.sampling import normalised

EPOCH = 20
TIMES = (0, EPOCH, 3 * EPOCH)


def p(schedule, step, tasks):
    return normalised(schedule.chances(tasks, step)).tolist()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: ConstantShare("m", 0.5), [0.5, 0.5, 0.5]),
        (lambda: ExponentialShare("m", EPOCH, 0.5), [0.0, 0.393469, 0.776870]),
        (lambda: SigmoidShare("m", EPOCH, 0.5), [0.5, 0.622459, 0.817574]),
        (lambda: ShiftingShares({"m": 0, "x": 1}, {"m": 1, "x": 0}, EPOCH, 0.5), [0.0, 0.393469, 0.776870]),
        (
            lambda: ShiftingShares({"m": 1, "x": 1}, {"m": 1, "x": 0}, EPOCH, 0.5, "sigmoid"),
            [0.5, 0.622459, 0.817574],
        ),
    ],
    ids=["constant", "exponential", "sigmoid", "shift", "shift sigmoid"],
)
def test_the_worked_examples(make, expected):
    for tasks in (["m", "x"], ["x", "m"]):
        found = [p(make(), step, tasks)[tasks.index("m")] for step in TIMES]
        assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("make", [ExponentialShare, SigmoidShare])
def test_fractions_of_an_epoch_count(make):
    assert make("m", 1000, 0.5).probability(500) == pytest.approx(make("m", 1, 0.25).probability(1))


def test_the_other_tasks_share_the_rest_equally():
    assert p(ConstantShare("m", 0.4), 0, ["x", "m", "y", "z"]) == pytest.approx([0.2, 0.4, 0.2, 0.2])


def test_without_the_main_task_the_others_are_drawn_alike_and_alone_it_is_drawn():
    assert p(ExponentialShare("m", EPOCH), 10, ["x", "y"]) == [0.5, 0.5]
    assert ExponentialShare("m", EPOCH).choose(["m"], 0) == ["m"]


def test_the_main_task_is_not_drawn_at_the_start_and_nearly_always_at_the_end():
    schedule = ExponentialShare("m", 1, 0.5)
    assert "m" not in {schedule.choose(["m", "x"], 0)[0] for _ in range(200)}
    assert {schedule.choose(["m", "x"], 10_000)[0] for _ in range(200)} == {"m"}


def test_draws_follow_the_probability():
    schedule = SigmoidShare("m", EPOCH, 0.5, seed=4)
    counts = Counter(schedule.choose(["x", "m"], 3 * EPOCH)[0] for _ in range(5000))
    assert abs(counts["m"] - 5000 * 0.817574) < 5 * (5000 * 0.8176 * 0.1824) ** 0.5


@pytest.mark.parametrize("form", ["exponential", "sigmoid"])
def test_shift_goes_from_start_to_end_with_any_number_of_tasks(form):
    schedule = ShiftingShares({"a": 2, "b": 1, "c": 1}, {"a": 0, "b": 1, "c": 3}, EPOCH, form=form)
    assert p(schedule, 10**6, ["a", "b", "c"]) == pytest.approx([0.0, 0.25, 0.75])
    if form == "exponential":
        assert p(schedule, 0, ["a", "b", "c"]) == pytest.approx([0.5, 0.25, 0.25])


def test_sigmoid_shift_starts_where_it_says_and_never_below_zero():
    uniform = ShiftingShares(dict.fromkeys("abc", 1), {"a": 1, "b": 0, "c": 0}, EPOCH, form="sigmoid")
    # 2 start - end is (-1/3, 2/3, 2/3): scores at t = 0 are (2/3, 2/3, 2/3)
    assert p(uniform, 0, ["a", "b", "c"]) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantShare("m", 1.5), "a is 1.5: give a probability"),
        (lambda: ExponentialShare("m", 0), "epoch is 0: give a number above 0"),
        (lambda: SigmoidShare("m", 10, -1.0), "a is -1.0: give a number above 0"),
        (lambda: ShiftingShares({"a": 1}, {"a": 1, "b": 1}, 10), "task 'b' is in one of start and end only"),
        (
            lambda: ShiftingShares({"a": -1}, {"a": 1}, 10),
            "start of task 'a' is -1: give a number",
        ),
        (lambda: ShiftingShares({"a": 1}, {"a": 0}, 10), "end is 0 for every task"),
        (lambda: ShiftingShares({"a": 1}, {"a": 1}, 10, form="sigmoidal"), "did you mean 'sigmoid'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (ConstantShare("hart"), "main task: there is no task 'hart', did you mean 'heart'"),
        (ShiftingShares({"hart": 1}, {"hart": 1}, 10), "start and end: there is no task 'hart'"),
        (
            ShiftingShares({"heart": 1}, {"heart": 1}, 10),
            "start and end: task 'stay' of the model is",
        ),
    ],
    ids=["main", "unknown", "missing"],
)
def test_names_are_checked_against_those_of_the_model(schedule, message):
    with pytest.raises(InputError, match=message):
        schedule.attach(SimpleNamespace(input_of={"heart": "heart", "stay": "stay"}))
