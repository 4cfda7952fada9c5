"""Features of routes by hand, and nearest neighbours of which the matches are known."""

from itertools import permutations

import numpy as np
import pytest

from moduli.errors import InputError
from moduli.evolution.features import (
    feature_names,
    features,
    match_test,
    matches,
    nearest,
    standardised,
    uses,
)
from moduli.sharing.route import Apply, Merge, Route, chain

BRANCHED = Route((Apply(0, 0, 0), Apply(1, 1, 1), Apply(1, 0, 1), Merge((2, 3), 1)), sink=4, level=2)
"""Module 0 at level 0, module 1 twice at level 1, and nothing at level 2."""


def test_uses_are_counted_by_module_and_level():
    assert uses(BRANCHED, 3, 2).tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 0]]


def test_features_are_uses_by_module_then_by_depth_then_by_both():
    (vector,) = features([BRANCHED], 2, 2)
    assert vector.tolist() == [1, 2, *(1, 2, 0), *(1, 0, 0), *(0, 2, 0)]
    assert feature_names(2, 2)[:5] == ["module 1", "module 2", "level 0", "level 1", "level 2"]
    assert feature_names(2, 2)[9] == "module 2, level 1"


def test_four_modules_and_four_poolings_have_29_features():
    vectors = features([chain(range(4), pooling=True)] * 3, 4, 4)
    assert vectors.shape == (3, 29)
    assert len(feature_names(4, 4)) == 29
    assert vectors[0, :9].tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 0]  # nothing stands behind the last pooling


def test_merges_and_the_order_of_nodes_do_not_count():
    merged = Route((Apply(0, 0), Apply(1, 1), Merge((1, 2))), 3)
    assert (features([merged], 2, 0) == features([chain([1, 0])], 2, 0)).all()


@pytest.mark.parametrize(("modules", "levels"), [(1, 2), (2, 0)])
def test_a_route_beyond_the_pool_is_refused(modules, levels):
    with pytest.raises(InputError, match="numbers of the whole pool"):
        features([BRANCHED], modules, levels)


def test_standardised_columns_have_mean_0_and_variance_1_and_a_constant_one_is_0():
    vectors = np.array([[1.0, 0.1, 5], [2, 0.1, 7], [6, 0.1, 0]])
    scaled = standardised(vectors)
    assert scaled.mean(0) == pytest.approx([0, 0, 0])
    assert scaled.var(0) == pytest.approx([1, 0, 1])
    assert (scaled[:, 1] == 0).all()
    assert scaled[:, 0] == pytest.approx((vectors[:, 0] - 3) / np.sqrt(14 / 3))


def test_the_nearest_is_another_one_by_l1_distance():
    # By L2, (3, 3) would be nearer to the origin than (5, 0); by L1 it is not.
    assert nearest([[0, 0], [3, 3], [5, 0]]).tolist() == [2, 2, 0]
    assert nearest([[0.0], [1.0], [-1.0]])[0] == 1  # of two as near, the first
    with pytest.raises(InputError, match="at least 2"):
        nearest([[1.0, 2.0]])


def test_matches_are_tasks_with_the_same_neighbour():
    assert matches([1, 0, 0], [1, 2, 0]) == 2
    with pytest.raises(InputError, match="same tasks"):
        matches([1, 0], [1, 0, 0])


def test_the_permutation_test_agrees_with_all_permutations():
    first, second = np.array([1, 0, 0, 2]), np.array([1, 2, 3, 2])
    counts = []
    for pi in map(np.array, permutations(range(4))):
        renamed = np.empty(4, dtype=int)
        renamed[pi] = pi[second]
        counts.append((renamed == first).sum())
    exact = np.mean(np.array(counts) >= matches(first, second))
    assert 0.1 < exact < 0.9
    assert match_test(first, second, 4000) == pytest.approx(exact, abs=0.03)


def test_equal_lists_are_unlikely_and_lists_without_a_match_are_certain():
    ring = (np.arange(30) + 1) % 30
    assert match_test(ring, ring, 500) == 1 / 501
    assert match_test(ring, (np.arange(30) - 1) % 30, 500) == 1.0
    assert match_test(ring, ring[::-1], 200, seed=3) == match_test(ring, ring[::-1], 200, seed=3)
