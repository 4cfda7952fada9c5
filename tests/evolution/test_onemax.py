"""The theory of hypermodule mapping: are simulated times right, and are the printed orders?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from moduli.errors import InputError
from moduli.evolution.onemax import (
    Level,
    convergence_time,
    leading_terms,
    orders,
    usage_recurrence,
    usage_time,
)

State = tuple[int, ...]


def expected_time(
    states: Sequence[State], moves: Callable[[State], dict[State, float]], start: dict[State, float]
) -> float:
    """The mean time to the state of zeros, which is right everywhere, from the probabilities of all moves."""
    number = {state: k for k, state in enumerate(states)}
    P = np.zeros((len(states), len(states)))
    for state in states:
        for after, probability in moves(state).items():
            P[number[state], number[after]] += probability
    np.testing.assert_allclose(P.sum(1), 1)
    on = [k for k, state in enumerate(states) if any(state)]
    times = np.zeros(len(states))
    times[on] = np.linalg.solve(np.eye(len(on)) - P[np.ix_(on, on)], np.ones(len(on)))
    return sum(probability * times[number[state]] for state, probability in start.items())


def assert_mean(times: np.ndarray, expected: float) -> None:
    """Within three standard errors."""
    assert times.mean() == pytest.approx(expected, abs=3 * times.std() / math.sqrt(len(times)))


@pytest.mark.parametrize(("locations", "values"), [(1, 4), (2, 2), (2, 5), (3, 3), (4, 3)])
def test_times_are_those_of_the_algorithm_location_by_location(locations, values):
    """The steps of section 8.3.1 on vectors of values, by the probabilities of all mutants."""
    states = list(itertools.product(range(values), repeat=locations))

    def moves(state: State) -> dict[State, float]:
        found = dict.fromkeys(states, 0.0)
        for mutant in states:
            steps = [
                1 - 1 / locations if a == b else 1 / locations / (values - 1)
                for a, b in zip(state, mutant, strict=True)
            ]
            worse = sum(map(bool, mutant)) >= sum(map(bool, state))
            found[state if worse else mutant] += math.prod(steps)
        return found

    expected = expected_time(states, moves, dict.fromkeys(states, 1 / len(states)))
    assert_mean(convergence_time(locations, values, runs=20_000, seed=1), expected)


def test_the_slowest_instance_counts():
    """All instances evolve at the same time: the maximum of independent times of one alone."""
    alone = np.sort(convergence_time(4, 3, runs=20_000, seed=2))
    of_three = alone[np.random.default_rng(0).integers(len(alone), size=(20_000, 3))].max(1)
    assert_mean(convergence_time(12, 3, 3, "task", runs=20_000, seed=3), of_three.mean())


def test_a_location_alone_takes_a_geometric_time():
    times = convergence_time(100, 5, level="block", runs=5000, seed=4)
    wrong_after = 4 / 5 * (3 / 4) ** np.arange(200)  # a location after so many iterations
    assert_mean(times, (1 - (1 - wrong_after) ** 100).sum())


def test_two_values_are_right_after_one_mutation():
    assert set(convergence_time(20, 2, level="block", runs=50)) == {1}
    assert set(convergence_time(1, 2, runs=50)) == {0, 1}


def test_one_task_is_no_decomposition_and_a_task_for_each_location_is_blocks():
    same: list[tuple[int, Level]] = [(1, "none"), (24, "block")]
    for tasks, level in same:
        first, second = (convergence_time(24, 3, tasks, x, runs=50, seed=5) for x in (level, "task"))
        np.testing.assert_array_equal(first, second)
        for formula in (orders, leading_terms):
            times = formula(24, 3, tasks)
            assert times[level] == times["task"]


def test_runs_follow_the_seed():
    first, again, other = (convergence_time(16, 4, 2, "task", runs=30, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(usage_time(50, runs=30, seed=1), usage_time(50, runs=30, seed=1))


# ------------------------------------------------------------------ Table 8.1


def grows(level: Level, small: tuple[int, int, int], large: tuple[int, int, int]) -> float:
    """By which factor times grow when (L, K, T) do, over that of the order in Table 8.1."""
    times = [convergence_time(*sizes, level, runs=200, seed=6).mean() for sizes in (small, large)]
    return times[1] / times[0] / (orders(*large)[level] / orders(*small)[level])


@pytest.mark.parametrize("level", ["none", "block"])
@pytest.mark.parametrize("large", [(512, 64, 8), (256, 128, 8), (1024, 64, 8)], ids=str)
def test_times_grow_as_table_8_1_says(level, large):
    assert grows(level, (256, 64, 8), large) == pytest.approx(1, abs=0.06)


def test_times_of_single_tasks_grow_by_locations_and_values_as_table_8_1_says():
    assert grows("task", (1024, 64, 8), (2048, 64, 8)) == pytest.approx(1, abs=0.06)
    assert grows("task", (1024, 64, 8), (1024, 128, 8)) == pytest.approx(1, abs=0.06)


def test_per_block_times_are_logarithmic_in_the_locations():
    times = [convergence_time(4**k, 8, level="block", runs=4000, seed=7).mean() for k in (3, 4, 5)]
    rises = np.diff(times)  # ln 4 times the mean of a geometric time, whatever L is
    np.testing.assert_allclose(rises, math.log(4) / -math.log(1 - 1 / 7), rtol=0.1)


def test_the_order_of_single_tasks_is_an_upper_bound_and_the_speedup_is_t():
    """T / log T is what Table 8.1 promises."""
    none = convergence_time(1024, 8, runs=200, seed=8).mean()
    constant = none / orders(1024, 8)["none"]
    for tasks in (4, 16, 64):
        time = convergence_time(1024, 8, tasks, "task", runs=200, seed=8).mean()
        assert time < constant * orders(1024, 8, tasks)["task"]
        assert none / time == pytest.approx(tasks, rel=0.05)


@pytest.mark.parametrize("level", ["none", "task", "block"])
@pytest.mark.parametrize(("locations", "values", "tasks"), [(128, 8, 4), (1024, 16, 16), (1024, 32, 2)])
def test_leading_terms_are_near(level, locations, values, tasks):
    mean = convergence_time(locations, values, tasks, level, runs=200, seed=9).mean()
    assert mean == pytest.approx(leading_terms(locations, values, tasks)[level], rel=0.12)


def test_orders_by_hand():
    assert orders(4, 3, 2) == pytest.approx(
        {"none": 12 * 25 / 12, "task": 6 * 1.5 * 1.5, "block": 3 * 25 / 12}
    )


# ------------------------------------------------------------------ drawing by use


@pytest.mark.parametrize("locations", [2, 3, 4])
def test_drawing_by_use_is_that_of_section_8_3_2(locations):
    """Every location draws the module of a random one, and keeps its own if that is right already."""
    every = itertools.product(range(locations), repeat=locations)
    states = [state for state in every if 0 in state]  # the right module never dies out

    def moves(state: State) -> dict[State, float]:
        found = dict.fromkeys(states, 0.0)
        for drawn in itertools.product(range(locations), repeat=locations):
            taken = tuple(own and state[other] for own, other in zip(state, drawn, strict=True))
            found[taken] += locations**-locations
        return found

    expected = expected_time(states, moves, {tuple(range(locations)): 1.0})
    assert_mean(usage_time(locations, runs=20_000, seed=10), expected)


def test_drawing_by_use_takes_logarithmic_time():
    times = [usage_time(4**k, runs=2000, seed=11).mean() for k in (3, 4, 5, 6, 7)]
    np.testing.assert_allclose(np.diff(times), 2, atol=0.45)  # growth doubles: log2 of 4, and a little
    uniform = convergence_time(1024, 1024, level="block", runs=50, seed=11).mean()
    assert uniform > 300 * times[2]


@pytest.mark.parametrize(("locations", "iterations"), [(1, 0), (2, 1), (10, 5), (100, 9), (1000, 13)])
def test_the_recurrence_of_section_8_3_2(locations, iterations):
    assert usage_recurrence(locations) == iterations


@pytest.mark.parametrize("locations", [3, 10, 100, 1000, 10_000])
def test_the_recurrence_is_between_its_bounds(locations):
    """Eq. 8.11 with both signs as they must be."""
    ratio = math.log(locations) / math.log(locations / (locations - 1))
    assert (locations - 1) * math.log(locations) < ratio < locations * math.log(locations)
    t = usage_recurrence(locations)
    assert t == math.ceil(math.log2(ratio)) < 1 + math.log2(locations * math.log(locations))

    def wrong(t: int) -> float:
        return locations * (1 - 1 / locations) ** 2**t  # Eq. 8.9

    assert wrong(t) < 1 <= wrong(t - 1)


def test_bounds_by_hand():
    for locations, bound in ((10, 4.53), (100, 8.85), (1000, 12.75)):
        assert math.log2(locations * math.log(locations)) == pytest.approx(bound, abs=0.005)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: convergence_time(10, 4, 3), "10 locations and 3 tasks: give every task equally many"),
        (lambda: orders(0, 4), "0 locations"),
        (lambda: convergence_time(10, 1), "values is 1: give 2 or more"),
        (lambda: convergence_time(10, 4, level="blocks"), "level is 'blocks': give none, task or block"),  # type: ignore[arg-type]
        (lambda: convergence_time(10, 4, runs=0), "runs is 0"),
        (lambda: usage_time(0), "0 locations and 1 runs"),
        (lambda: usage_recurrence(0), "0 locations"),
    ],
)
def test_impossible_numbers(call, message):
    with pytest.raises(InputError, match=message):
        call()
