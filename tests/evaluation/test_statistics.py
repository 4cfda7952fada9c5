"""Statistics against numbers worked out by hand, against scipy, and by their invariances."""

import math

import numpy as np
import pytest
from scipy import stats

from moduli.evaluation import statistics as st

NAN = float("nan")


def random_array(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# ------------------------------------------------------------------ means and intervals


def test_mean_interval_by_hand():
    # 1, 2, 3: standard error 1/sqrt(3), t quantile with 2 degrees of freedom 4.30265.
    center, half = st.mean_interval([1.0, 2.0, 3.0])
    assert center == 2.0
    assert half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


def test_mean_interval_agrees_with_scipy_and_leaves_out_what_is_missing():
    values = random_array(7)
    center, half = st.mean_interval([*values, NAN, None, math.inf])
    low, high = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    assert (center - half, center + half) == pytest.approx((low, high))


@pytest.mark.parametrize(("values", "center"), [([], NAN), ([NAN], NAN), ([4.0], 4.0), ([4.0, NAN], 4.0)])
def test_no_interval_without_two_values(values, center):
    assert st.mean_interval(values) == pytest.approx((center, NAN), nan_ok=True)


def test_mean_of_nothing_is_nan_without_a_warning(recwarn):
    means = st.mean([[1.0, NAN, 3.0], [NAN, NAN, NAN]], axis=1)
    assert means == pytest.approx([2.0, NAN], nan_ok=True)
    assert not recwarn


# ------------------------------------------------------------------ ranks


def test_ranks_by_hand():
    fitness = [[[3.0, 1.0]], [[2.0, 1.0]], [[1.0, 0.0]]]
    assert st.ranks(fitness).tolist() == [[[1.0, 1.5]], [[2.0, 1.5]], [[3.0, 3.0]]]
    assert st.average_ranks(fitness).tolist() == [1.25, 1.75, 3.0]


def test_ranks_of_a_cell_sum_to_that_of_their_places():
    fitness = np.round(random_array(5, 4, 3), 1)  # some ties
    assert np.allclose(st.ranks(fitness).sum(0), 5 * 6 / 2)


def test_ranks_do_not_depend_on_the_order_of_tasks_or_on_units():
    fitness = random_array(4, 6, 3)
    expected = st.average_ranks(fitness)
    assert np.allclose(st.average_ranks(fitness[:, ::-1]), expected)
    assert np.allclose(
        st.average_ranks(fitness * np.array([[[1.0], [1e3], [1e-3], [7.0], [2.0], [1.0]]])), expected
    )


def test_a_cell_that_one_method_lacks_is_not_ranked_but_an_empty_method_voids_nothing():
    fitness = random_array(3, 2, 2)
    fitness[0, 0, 0] = NAN
    fitness[2] = NAN
    ranked = st.ranks(fitness)
    assert np.isnan(ranked[:2, 0, 0]).all()
    assert np.isnan(ranked[2]).all()
    assert ranked[:2, 1].sum() == 2 * 3
    assert math.isnan(st.average_ranks(fitness)[2])


# ------------------------------------------------------------------ gains


def test_relative_gain_by_hand():
    # Accuracy 0.5 -> 0.6 is +20 %; error 10 -> 9, as fitness -10 -> -9, is +10 %.
    baseline, method = np.array([[0.5, 0.5], [-10.0, -10.0]]), np.array([[0.6, 0.6], [-9.0, -9.0]])
    relative = st.relative_differences(method, baseline, st.reference_scale(baseline))
    gain = st.relative_gain(relative)
    assert gain.value == pytest.approx(15.0)
    assert gain.per_seed == pytest.approx([15.0, 15.0])
    assert gain.ci95 == pytest.approx(0.0, abs=1e-9)


def test_gain_is_the_usual_one_whatever_the_pairing():
    baseline, method = 2 + random_array(5, 4) / 9, 2 + random_array(5, 4, seed=1) / 9
    relative = st.relative_differences(method, baseline, st.reference_scale(baseline))
    usual = 100 * np.mean((method.mean(1) - baseline.mean(1)) / baseline.mean(1))
    assert st.relative_gain(relative).value == pytest.approx(usual)
    assert st.relative_gain(relative).ci95 == pytest.approx(st.mean_interval(relative.mean(0))[1])


def test_gain_over_itself_is_exactly_zero_for_every_seed():
    baseline = random_array(5, 4)
    gain = st.relative_gain(st.relative_differences(baseline, baseline, st.reference_scale(baseline)))
    assert (gain.value, gain.ci95, gain.per_seed.tolist()) == (0.0, 0.0, [0.0] * 4)


def test_gain_does_not_depend_on_units_or_on_the_order_of_tasks():
    baseline, method = 2 + random_array(4, 3) / 9, 2 + random_array(4, 3, seed=1) / 9
    relative = st.relative_differences(method, baseline, st.reference_scale(baseline))
    units = np.array([[1.0], [60.0], [1e-3], [1e6]])
    scaled = st.relative_differences(units * method, units * baseline, st.reference_scale(units * baseline))
    assert st.relative_gain(scaled[::-1]).value == pytest.approx(st.relative_gain(relative).value)


def test_a_task_with_a_baseline_of_zero_is_left_out():
    baseline = np.array([[0.0, 0.0], [1.0, 1.0]])
    relative = st.relative_differences(baseline + 0.1, baseline, st.reference_scale(baseline))
    assert np.isnan(relative[0]).all()
    assert st.relative_gain(relative).value == pytest.approx(10.0)


def test_rounding_noise_is_no_difference():
    assert st.differences([0.1 + 0.2], [0.3]).tolist() == [0.0]
    assert st.differences([0.3001], [0.3]) == pytest.approx([1e-4])


# ------------------------------------------------------------------ the interval over tasks and seeds


def test_crossed_interval_surrounds_the_mean_and_grows_with_the_spread():
    paired = 1 + random_array(8, 5)
    low, high = st.crossed_interval(paired)
    assert low < st.task_mean(paired) < high
    wide_low, wide_high = st.crossed_interval(1 + 3 * (paired - 1))
    assert wide_high - wide_low > 2 * (high - low)


def test_crossed_interval_is_that_of_scipy_where_seeds_do_not_vary():
    tasks = random_array(9)
    low, high = st.crossed_interval(np.repeat(tasks[:, None], 4, axis=1))
    expected = stats.bootstrap((tasks,), np.mean, method="percentile").confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.08)


def test_crossed_interval_has_the_width_that_theory_gives():
    # Variance of the mean of resampled rows plus that of resampled columns, for an additive table.
    rows, columns = random_array(30, 1), random_array(1, 20, seed=1)
    low, high = st.crossed_interval(rows + columns)
    sd = math.sqrt(rows.var() / 30 + columns.var() / 20)
    assert high - low == pytest.approx(2 * 1.96 * sd, rel=0.06)


def test_crossed_interval_covers_the_truth_when_runs_have_something_in_common():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        paired = random.normal(size=(1, 5)) + random.normal(size=(10, 5))
        low, high = st.crossed_interval(paired, resamples=400)
        covered += low <= 0 <= high
    assert covered / 200 > 0.8  # seeds drawn anew within each task: below 0.7


def test_crossed_interval_does_not_depend_on_the_order_of_tasks_and_turns_with_the_sign():
    paired = random_array(6, 4)
    low, high = st.crossed_interval(paired)
    assert st.crossed_interval(paired[[3, 1, 5, 0, 2, 4]]) == (low, high)
    assert st.crossed_interval(-paired) == pytest.approx((-high, -low), abs=0.05)


def test_crossed_interval_with_gaps_and_in_small_cases():
    paired = random_array(4, 3)
    full = st.crossed_interval(paired)
    padded = np.full((6, 4), NAN)
    padded[:4, :3] = paired
    assert st.crossed_interval(padded) == full
    padded[0, 1] = NAN
    assert st.crossed_interval(padded)[0] < st.task_mean(padded) < st.crossed_interval(padded)[1]
    center, half = st.mean_interval(paired[0])
    assert st.crossed_interval(paired[:1]) == pytest.approx((center - half, center + half))
    for nothing in (paired[:1, :1], paired[:0], np.full((3, 2), NAN)):
        assert np.isnan(st.crossed_interval(nothing)).all()


# ------------------------------------------------------------------ tests


def test_signed_rank_by_hand():
    # All six differences of one sign: 2 of the 2**6 equally likely patterns of signs are as extreme.
    assert st.signed_rank([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == st.SignedRank(2 / 64, 6)


def test_signed_rank_agrees_with_scipy_and_turns_with_the_sign():
    paired = random_array(30) + 0.3
    result = st.signed_rank(paired.reshape(6, 5))
    assert result.p == pytest.approx(stats.wilcoxon(paired, method="exact").pvalue)
    assert st.signed_rank(-paired) == result


def test_signed_rank_drops_zeros_and_missing_and_sees_ties_through_rounding():
    paired = [0.85 - 0.80, 0.75 - 0.70, -(0.65 - 0.60), 0.3, 0.2, 0.1]
    expected = st.signed_rank([0.05, 0.05, -0.05, 0.3, 0.2, 0.1])
    assert st.signed_rank([*paired, 0.0, NAN, 1e-15]) == expected


def test_signed_rank_says_why_it_cannot_be_computed():
    assert st.signed_rank([0.0] * 9).reason == "all differences are zero"
    few = st.signed_rank([0.1, 0.2, 0.0])
    assert (few.pairs, math.isnan(few.p)) == (2, True)
    assert few.reason == "2 nonzero differences, fewer than 6"


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03: times 3, 2, 1, and never below the one before.
    assert st.holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert st.holm([0.01, NAN, 0.9]) == pytest.approx([0.02, NAN, 0.9], nan_ok=True)
    assert st.holm([0.7, 0.8]) == [1.0, 1.0]
    assert st.holm([]) == []


def test_holm_lies_between_no_correction_and_that_of_bonferroni():
    p = np.random.default_rng(0).uniform(0, 0.2, size=8)
    corrected = np.array(st.holm(p))
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(1, 8 * p)).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()


def test_record_counts():
    assert st.record([[0.1, -0.2, 0.0], [NAN, 0.3, 0.0]]) == st.Record(wins=2, ties=2, losses=1)
