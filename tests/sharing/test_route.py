"""Routes are plain data that cannot be wrong."""

from __future__ import annotations

import json

import pytest

from moduli import Apply, InputError, Merge, Route, chain, soft_order

ROUTES = [
    Route((), 0),
    Route((), 0, 3),
    chain([2, 0, 1]),
    chain([2, 0, 1], pooling=True),
    soft_order([0, 1, 2], 2),
    soft_order([3], 4, pooling=True),
    Route((Apply(0, 0), Merge((0, 1, 1), level=2), Apply(7, 2, level=2)), 3, 5),
]


@pytest.mark.parametrize("route", ROUTES, ids=range(len(ROUTES)))
def test_json_gives_the_route_back(route):
    text = json.dumps(route.to_json())
    assert Route.from_json(json.loads(text)) == route
    assert hash(Route.from_json(json.loads(text))) == hash(route)


@pytest.mark.parametrize(
    ("nodes", "sink", "level", "message"),
    [
        ((Apply(0, 1),), 1, 0, r"node 1 of a route has inputs \(1,\): name 1 or more earlier nodes"),
        ((Apply(0, 2), Apply(0, 1)), 2, 0, r"node 1 of a route has inputs \(2,\)"),
        ((Apply(0, 0), Merge((1, 2))), 2, 0, r"node 2 of a route has inputs \(1, 2\)"),
        ((Apply(0, 0), Merge(())), 2, 0, r"node 2 of a route has inputs \(\): name 1 or more"),
        ((Apply(0, -1),), 1, 0, r"node 1 of a route has inputs \(-1,\)"),
        ((Apply(0, 0, 2), Apply(0, 1, 1)), 2, 2, "node 2 of a route stands at level 1, below an input"),
        ((Apply(0, 0, 1), Merge((0, 1), 0)), 2, 1, "node 2 of a route stands at level 0, below an input"),
        ((Apply(0, 0, -1),), 1, 0, "node 1 of a route stands at level -1, below an input"),
        ((Apply(0, 0),), 2, 0, r"sink 2 of a route must be a node at its level \(0\) or below"),
        ((Apply(0, 0),), -1, 0, "sink -1 of a route must be a node"),
        ((Apply(0, 0, 2),), 1, 1, r"sink 1 of a route must be a node at its level \(1\) or below"),
    ],
)
def test_an_impossible_route_is_refused(nodes, sink, level, message):
    with pytest.raises(InputError, match=message):
        Route(nodes, sink, level)


@pytest.mark.parametrize(
    "data",
    [
        {}, None, 3, [], {"nodes": 3, "sink": 0, "level": 0}, {"nodes": [3], "sink": 0, "level": 0},
        {"nodes": [{"apply": 0, "level": 0}], "sink": 1, "level": 0},
        {"nodes": [{"apply": 0, "input": "x", "level": 0}], "sink": 1, "level": 0},
        {"nodes": [{"apply": "x", "input": 0, "level": 0}], "sink": 1, "level": 0},
        {"nodes": [{"merge": 3, "level": 0}], "sink": 1, "level": 0},
        {"nodes": [{"apply": 0, "input": 1, "level": 0}], "sink": 1, "level": 0},
    ],
)  # fmt: skip
def test_json_that_is_no_route_is_refused(data):
    with pytest.raises(InputError, match="route"):
        Route.from_json(data)


def test_a_route_cannot_be_changed():
    with pytest.raises(AttributeError):
        chain([0]).sink = 0


def test_modules_and_merges():
    route = ROUTES[-1]
    assert route.modules == {0, 7}
    assert route.merges == (2,)
    assert [route.level_of(n) for n in range(4)] == [0, 0, 2, 2]


def test_soft_order_at_every_depth_applies_all_and_merges():
    route = soft_order([4, 5], 2, pooling=True)
    assert route.nodes == (
        Apply(4, 0, 0), Apply(5, 0, 0), Merge((1, 2), 1), Apply(4, 3, 1), Apply(5, 3, 1), Merge((4, 5), 2),
    )  # fmt: skip
    assert (route.sink, route.level) == (6, 2)
