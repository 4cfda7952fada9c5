"""Mutations of routes: what they must keep, and that learned scales come along."""

from __future__ import annotations

import math
import random

import pytest
import torch

from moduli import Dense, InputError, RoutedStructure
from moduli.evolution.mutation import (
    Add,
    Remove,
    ancestors,
    complexity,
    draw,
    from_json,
    inherited,
    insertion_scale,
    removable,
)
from moduli.sharing.route import Apply, Merge, Route, chain, inputs_of, soft_order

STARTS = {
    "chain": chain(range(4)),
    "pooled": chain(range(4), pooling=True),
    "soft": soft_order(range(4), 3),
    "soft pooled": soft_order(range(4), 3, pooling=True),
    "minimal": Route((), 0, 3),
}
starts = pytest.mark.parametrize("start", STARTS.values(), ids=STARTS.keys())


def scales_in(route: Route) -> int:
    return sum(len(inputs_of(route.nodes[n - 1])) for n in route.merges)


def history(start: Route, number: int, removal: float = 0.0):
    """A route, its scales, a mutation, and what comes of it, again and again."""
    route, scales = start, torch.randn(scales_in(start))
    for _ in range(number):
        mutation = draw(route, range(4), removal=removal)
        assert mutation is not None
        after, kept = mutation.apply(route)
        new = inherited(after, kept, scales, 0.1)
        yield route, scales, mutation, after, kept, new
        route, scales = after, new


def leads_to_the_sink(route: Route) -> set[int]:
    found, front = {route.sink}, [route.sink]
    while front:
        number = front.pop()
        before = inputs_of(route.nodes[number - 1]) if number else ()
        front += [i for i in before if i not in found]
        found |= set(before)
    return found - {0}


@starts
@pytest.mark.parametrize("removal", [0.0, 0.4])
def test_the_graph_stays_acyclic_reachable_and_consistent_in_its_levels(start, removal):
    for _, _, _, after, kept, new in history(start, 80, removal):
        # `Route` itself refuses later inputs and edges to lower levels.
        assert leads_to_the_sink(after) == set(range(1, len(after.nodes) + 1))
        assert after.level == start.level
        assert len(kept) == len(new) == scales_in(after)
        assert all(len(inputs_of(after.nodes[n - 1])) > 1 for n in after.merges)


@starts
def test_adding_adds_one_application_of_the_module_drawn(start):
    for route, _, mutation, after, _, _ in history(start, 30):
        assert isinstance(mutation, Add)
        assert complexity(after) == complexity(route) + 1
        before = sorted(n.module for n in route.nodes if isinstance(n, Apply))
        assert sorted(n.module for n in after.nodes if isinstance(n, Apply)) == sorted(
            [*before, mutation.module]
        )


@starts
def test_every_scale_is_kept_once_and_in_order_when_a_node_is_added(start):
    for _, scales, _, after, kept, new in history(start, 30):
        old = [place for place in kept if place is not None]
        assert old == list(range(len(scales)))
        assert torch.equal(new[[place is not None for place in kept]], scales)
        assert len(kept) - len(old) in (1, 2)
        assert scales_in(after) == len(kept)


def test_removing_what_was_added_gives_the_route_back():
    route = chain(range(4), pooling=True)
    added, _ = Add(0, None, 2, 1).apply(route)
    last, w = removable(added)
    assert Remove(w).apply(added)[0] == route
    assert complexity(Remove(last).apply(added)[0]) == 1, "what served it alone goes with it"


@starts
def test_mutations_are_data(start):
    for _, _, mutation, *_ in history(start, 40, removal=0.3):
        assert from_json(mutation.to_json()) == mutation


def test_insertion_scale_of_the_worked_examples():
    scale = insertion_scale(torch.tensor([0.0, 1.0]), 0.1)
    assert scale.item() == pytest.approx(-0.883963, abs=1e-6)
    shares = torch.cat([torch.tensor([0.0, 1.0]), scale.view(1)]).softmax(0)
    torch.testing.assert_close(shares, torch.tensor([0.242047, 0.657953, 0.1]), atol=1e-6, rtol=0)
    assert insertion_scale(torch.zeros(1), 0.1).item() == pytest.approx(-2.197225, abs=1e-6)
    assert insertion_scale(torch.tensor([500.0, 500.0]), 0.1).item() == pytest.approx(500 + math.log(2 / 9))


@starts
def test_a_new_edge_has_the_share_alpha_and_the_others_keep_their_proportions(start):
    for route, scales, mutation, after, kept, new in history(start, 30):
        at = 0
        for number in after.merges:
            width = len(inputs_of(after.nodes[number - 1]))
            places, shares = kept[at : at + width], new[at : at + width].softmax(0)
            if None in places:
                assert shares[-1].item() == pytest.approx(0.1, abs=1e-5)
                old = [p for p in places if p is not None]
                if old:
                    torch.testing.assert_close(shares[:-1] / 0.9, scales[old].softmax(0))
            at += width
        assert after.nodes != route.nodes, mutation


def outputs(route: Route, scales: torch.Tensor, x: torch.Tensor, modules) -> torch.Tensor:
    structure = RoutedStructure(modules, {"t": route}).double()
    if structure.scales is not None:
        structure.scales.data = scales.double()
    return structure({"t": x})["t"]


@pytest.mark.parametrize("start", [STARTS["chain"], STARTS["soft"], STARTS["minimal"]])
def test_for_alpha_to_zero_the_challenger_computes_what_the_champion_does(start):
    modules = [Dense(5) for _ in range(4)]
    x = torch.randn(3, 5, dtype=torch.float64)
    for route, scales, mutation, *_ in history(start, 25):
        after, kept = mutation.apply(route)
        expected = outputs(route, scales, x, modules)
        distances = [
            (outputs(after, inherited(after, kept, scales.double(), alpha), x, modules) - expected)
            .abs()
            .max()
            for alpha in (1e-2, 1e-5, 1e-12)
        ]
        assert distances[2] < 1e-9
        assert distances[1] <= distances[0] * 0.01 + 1e-12


def test_ancestors_are_upstream_and_never_merges():
    route = soft_order([0, 1], 2)  # 1, 2 -> merge 3 -> 4, 5 -> merge 6
    assert ancestors(route, 1) == {0}
    assert ancestors(route, 4) == {0, 1, 2}
    assert ancestors(route, None) == {0, 1, 2, 4, 5}


def test_a_merge_that_others_read_as_well_is_not_extended():
    route = soft_order([0, 1], 2)
    after, kept = Add(0, 4, 1).apply(route)
    assert kept == (0, 1, None, None, 2, 3)
    v = next(n for n in after.nodes if isinstance(n, Apply) and n.module == 0 and n.input > 3)
    merge = after.nodes[v.input - 1]
    assert isinstance(merge, Merge)
    assert merge.inputs[0] == 3, "what was there comes first"


def test_a_merge_of_one_reader_gets_one_input_more():
    once, _ = Add(0, None, 1).apply(chain([0, 1]))
    twice, kept = Add(1, None, 0).apply(once)
    assert len(twice.merges) == 1
    assert kept == (0, 1, None)


def test_pairs_are_drawn_uniformly():
    route, counts = chain([0, 1]), {}
    for _ in range(3000):
        mutation = draw(route, [0])
        counts[mutation.u, mutation.v] = counts.get((mutation.u, mutation.v), 0) + 1
    # source -> 1 -> 2 -> sink: one pair ends in node 1, two in node 2, three in the sink.
    assert set(counts) == {(0, 1), (0, 2), (1, 2), (0, None), (1, None), (2, None)}
    assert all(abs(count - 500) < 100 for count in counts.values())


def test_levels_are_drawn_between_those_of_both_ends():
    seen = {draw(chain(range(3), pooling=True), [0]).level for _ in range(200)}
    assert seen == {0, 1, 2, 3}


def test_no_more_nodes_than_the_bound():
    route = chain(range(3))
    assert draw(route, range(3), max_nodes=3) is None
    assert draw(route, range(3), max_nodes=4) is not None


def test_at_the_bound_nodes_may_still_be_removed():
    route, _ = Add(0, None, 1).apply(chain(range(3)))
    assert isinstance(draw(route, range(3), max_nodes=4, removal=1.0), Remove)


def test_impossible_mutations_are_refused():
    route = chain(range(3), pooling=True)
    for mutation, words in [
        (Add(3, 2, 0, 1), "no ancestor"),
        (Add(2, 3, 0, 0), "level 0 is not between"),
        (Add(0, None, 0, 9), "level 9 is not between"),
        (Remove(2), "reads it alone"),
    ]:
        with pytest.raises(InputError, match=words):
            mutation.apply(route)


def test_the_same_random_numbers_give_the_same_mutations():
    def run(seed):
        torch.manual_seed(seed)
        return [m for _, _, m, *_ in history(STARTS["pooled"], 20, removal=0.2)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_long_evolution_uses_all_modules_at_all_levels():
    random.seed(0)
    *_, last = history(STARTS["pooled"], 120)
    nodes = [n for n in last[3].nodes if isinstance(n, Apply)]
    assert {(n.module, n.level) for n in nodes} == {(k, level) for k in range(4) for level in range(5)}
