"""Predicting transfer effectiveness for targets that were left out."""

import math

import numpy as np
import pytest
from made_up_games import FEATURES, write_experiment

from moduli.games.analysis import INDICATORS, Pair, analyse, leave_target_out, predict_effectiveness

GAMES = "abcdefgh"


def made_pairs(effectiveness, games=GAMES):
    """All pairs of games with random indicators; effectiveness is a function of these and of a noise."""
    rng = np.random.default_rng(0)
    pairs = []
    for target in games:
        for source in games:
            if source != target:
                indicators = dict(zip(INDICATORS, rng.normal(size=5), strict=True))
                worth = effectiveness(np.array(list(indicators.values())), rng.normal())
                pairs.append(Pair(source, target, 1, 0.0, {"scratch": worth}, indicators))
    return pairs


def test_a_pair_is_predicted_from_all_pairs_with_other_targets_by_least_squares():
    pairs = made_pairs(lambda x, noise: x[0] - 2 * x[3] + noise)
    found = predict_effectiveness(pairs, "scratch")
    X = np.array([[1, *pair.indicators.values()] for pair in pairs])
    y = np.array([pair.effectiveness["scratch"] for pair in pairs])
    for index, pair in enumerate(pairs):
        kept = [i for i, other in enumerate(pairs) if other.target != pair.target]
        assert pair.source in {pairs[i].source for i in kept}  # the same source stays
        weights = np.linalg.lstsq(X[kept], y[kept], rcond=None)[0]
        assert found.predicted[index] == pytest.approx(X[index] @ weights)
    assert found.actual == tuple(y)
    assert found.pairs == tuple((pair.source, pair.target) for pair in pairs)
    assert found.r == pytest.approx(np.corrcoef(found.predicted, y)[0, 1])
    # Two-sided p of a correlation from n pairs: t = r sqrt((n - 2) / (1 - r^2)).
    from scipy.stats import t

    n = len(y)
    assert found.p == pytest.approx(2 * t.sf(abs(found.r) * math.sqrt((n - 2) / (1 - found.r**2)), n - 2))


def test_a_linear_relation_is_predicted_without_error():
    found = predict_effectiveness(made_pairs(lambda x, _: 3 + x @ [1, -2, 0.5, 4, 0]), "scratch")
    assert found.r == pytest.approx(1)
    assert found.predicted == pytest.approx(found.actual)
    assert found.strongest == "source training complexity"
    assert found.note == ""


def test_noise_is_not_predicted():
    found = predict_effectiveness(made_pairs(lambda _, noise: noise), "scratch")
    assert abs(found.r) < 0.35
    assert found.p > 0.01


def test_coefficients_are_of_indicators_with_unit_variance():
    pairs = made_pairs(lambda x, _: float(x[1]))
    pairs = [
        Pair(p.source, p.target, 1, 0.0, {"scratch": p.effectiveness["scratch"]}, {
            **p.indicators, INDICATORS[1]: 1000 * p.indicators[INDICATORS[1]]
        })
        for p in pairs
    ]  # fmt: skip
    found = predict_effectiveness(pairs, "scratch").coefficients
    spread = np.std([pair.effectiveness["scratch"] for pair in pairs])
    assert found[INDICATORS[1]] == pytest.approx(spread)
    assert [found[name] for name in INDICATORS if name != INDICATORS[1]] == pytest.approx([0] * 4, abs=1e-9)


def test_the_order_of_the_pairs_changes_nothing():
    pairs = made_pairs(lambda x, noise: x[0] + noise)
    one, other = (predict_effectiveness(p, "scratch") for p in (pairs, pairs[::-1]))
    assert other.r == pytest.approx(one.r)
    assert other.predicted[::-1] == pytest.approx(one.predicted)


def test_an_unknown_number_leaves_only_its_pair_out():
    pairs = made_pairs(lambda x, _: x[0])
    pairs[3] = Pair("b", "a", 1, 0.0, {"scratch": math.nan}, pairs[3].indicators)
    pairs[9] = Pair("c", "b", 1, 0.0, {"scratch": 1.0}, {**pairs[9].indicators, INDICATORS[3]: math.nan})
    found = predict_effectiveness(pairs, "scratch")
    assert len(found.pairs) == len(pairs) - 2
    assert found.r == pytest.approx(1)


@pytest.mark.parametrize(("games", "left"), [("abc", 4), ("ab", 1), ("", 0)])
def test_too_few_pairs_are_said_and_no_number_is_given(games, left):
    found = predict_effectiveness(made_pairs(lambda x, _: x[0], games), "scratch")
    assert math.isnan(found.r)
    assert math.isnan(found.p)
    assert found.predicted == ()
    assert found.coefficients is None
    assert found.strongest is None
    assert f"needs 6 pairs with other targets, and there are {left}." in found.note


def test_four_games_are_enough():
    assert predict_effectiveness(made_pairs(lambda x, _: x[0], "abcd"), "scratch").r == pytest.approx(1)


def test_constant_effectiveness_has_no_correlation():
    found = predict_effectiveness(made_pairs(lambda *_: 0.5), "scratch")
    assert math.isnan(found.r)
    assert "No correlation against scratch" in found.note


def test_indicators_that_depend_on_each_other_have_no_single_coefficients():
    pairs = made_pairs(lambda x, _: x[0])
    for pair in pairs:
        pair.indicators[INDICATORS[1]] = 2 * pair.indicators[INDICATORS[2]]
    found = predict_effectiveness(pairs, "scratch")
    assert found.coefficients is None
    assert "indicators depend linearly" in found.note
    assert found.r == pytest.approx(1)


def test_prediction_for_a_target_does_not_see_it():
    X, y = np.arange(6.0)[:, None], np.array([0.0, 1, 2, 3, 100, 200])
    assert leave_target_out(X, y, list("aabbcc"))[4:] == pytest.approx([4, 5])


def test_gains_that_grow_with_the_complexity_of_the_target_are_found(tmp_path):
    write_experiment(tmp_path, list(FEATURES), generations=12, seeds=2, transfers=1)
    prediction = analyse(tmp_path, FEATURES).predictions["scratch"]
    assert len(prediction.predicted) == 56
    assert prediction.coefficients["target feature complexity"] > 0
