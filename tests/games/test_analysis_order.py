"""The order of games by complexity."""

import itertools
import random

import pytest
from made_up_games import FEATURES

from moduli.games.analysis import letters, partial_order
from moduli.games.atari.names import FEATURES as ATARI


def paths(order, node):
    """All ways from none up to a node, each as a list of its nodes."""
    if not node:
        return [[node]]
    lower = [low for low, high in order.edges if high == node]
    return [[*path, node] for low in lower for path in paths(order, low)]


def drawn(seed):
    rng = random.Random(seed)
    return {f"game{i}": frozenset(rng.sample("abcdef", rng.randint(0, 5))) for i in range(9)}


@pytest.mark.parametrize("features", [FEATURES, ATARI, *map(drawn, range(8))])
def test_every_path_from_none_to_a_game_adds_each_of_its_features_exactly_once(features):
    order = partial_order(features)
    for game, own in features.items():
        found = paths(order, own)
        assert found
        assert game in order.games[own]
        for path in found:
            added = [feature for low, high in itertools.pairwise(path) for feature in high - low]
            assert sorted(added) == sorted(own)


@pytest.mark.parametrize("features", [FEATURES, ATARI, *map(drawn, range(8))])
def test_a_path_leads_from_one_game_to_another_exactly_if_its_features_are_included(features):
    order = partial_order(features)
    for node in order.games:
        below = {low for path in paths(order, node) for low in path}
        assert below == {other for other in order.games if other <= node and paths(order, other)}


def test_no_edge_skips_a_game():
    for low, high in partial_order(FEATURES).edges:
        assert low < high
        assert not any(low < own < high for own in FEATURES.values())


def test_games_with_the_same_features_share_a_place():
    order = partial_order({"a": {"x"}, "b": {"x"}, "c": set()})
    assert order.games == {frozenset(): ("c",), frozenset("x"): ("a", "b")}
    assert order.edges == ((frozenset(), frozenset("x")),)


def test_frequent_features_come_first():
    assert partial_order(FEATURES).features == ("vertical", "horizontal", "shooting", "delayed", "planning")


def test_letters_tell_features_apart():
    assert letters(["horizontal", "vertical"]) == {"horizontal": "h", "vertical": "v"}
    assert letters(["shooting", "steering", "s"]) == {"shooting": "sh", "steering": "st", "s": "s"}
