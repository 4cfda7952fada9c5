"""Drawing evolved routes: what is drawn, and where it stands."""

from itertools import combinations, pairwise

import networkx as nx
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from moduli.evolution.mutation import complexity, draw
from moduli.sharing.draw import draw_topology, topology_graph
from moduli.sharing.layout import layered
from moduli.sharing.route import Apply, Merge, Route, chain, soft_order

BRANCHED = Route((Apply(0, 0, 0), Apply(1, 1, 1), Apply(0, 0, 1), Merge((2, 3), 1)), sink=4, level=2)


def evolved(size, pooling, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        route = chain(range(4), pooling)
        while complexity(route) < size:
            mutation = draw(route, range(4))
            assert mutation is not None
            route, _ = mutation.apply(route)
    return route


def test_a_merge_with_one_reader_becomes_a_part_of_it():
    graph = topology_graph(BRANCHED, [[0.9, 0.1]])
    assert set(graph) == {0, 1, 2, 3, "sink"}
    assert graph.edges[2, "sink"]["share"] == 0.9
    assert graph.edges[3, "sink"]["share"] == 0.1
    assert graph.edges[3, "sink"]["pools"] == 1


def test_shares_of_merges_one_after_another_multiply_and_those_of_one_node_add_up():
    route = Route((Apply(0, 0), Merge((0, 1)), Apply(1, 0), Merge((2, 3, 1))), sink=4)
    graph = topology_graph(route, [[0.25, 0.75], [0.4, 0.5, 0.1]])
    shares = {edge: graph.edges[edge]["share"] for edge in graph.in_edges("sink")}
    assert shares == pytest.approx({(0, "sink"): 0.1, (1, "sink"): 0.3 + 0.1, (3, "sink"): 0.5})


def test_a_merge_with_several_readers_stays():
    graph = topology_graph(soft_order(range(3), 2))
    assert sum(facts["kind"] == "merge" for _, facts in graph.nodes(data=True)) == 1


@pytest.mark.parametrize("pooling", [False, True])
@pytest.mark.parametrize("size", [4, 9, 25, 60])
def test_nodes_keep_apart_edges_lead_right_and_levels_stand_in_bands(size, pooling):
    graph = topology_graph(evolved(size, pooling, seed=size))
    place, lines = layered(graph)
    assert set(lines) == set(graph.edges)
    assert all(place[u][0] < place[v][0] for u, v in graph.edges)
    for (x0, y0), (x1, y1) in combinations(place.values(), 2):
        assert x0 != x1 or abs(y0 - y1) > 0.99
    by_level = {}
    for node, level in graph.nodes(data="level"):
        by_level.setdefault(level, []).append(place[node][0])
    bands = [by_level[level] for level in sorted(by_level)]
    assert all(max(low) < min(high) for low, high in pairwise(bands))
    for (u, v), points in lines.items():
        assert points[0] == place[u]
        assert points[-1] == place[v]
        assert [x for x, _ in points] == list(range(int(place[u][0]), int(place[v][0]) + 1))


def test_an_edge_passes_other_nodes_at_a_distance():
    place, lines = layered(topology_graph(evolved(25, True, seed=1)))
    nodes = set(place.values())
    for points in lines.values():
        for x, y in points[1:-1]:
            assert all(abs(y - other) > 0.6 for at, other in nodes if at == x)


def test_a_chain_is_a_straight_line_and_two_branches_do_not_cross():
    place, _ = layered(topology_graph(chain(range(3))))
    assert {y for _, y in place.values()} == {0.0}
    two = Route((Apply(0, 0), Apply(1, 0), Apply(2, 1), Apply(3, 2), Merge((3, 4))), 5)
    place, _ = layered(topology_graph(two))
    assert (place[1][1] < place[2][1]) == (place[3][1] < place[4][1])


def test_circles_have_the_colour_and_number_of_their_module_and_lines_their_share():
    axes = Figure(figsize=(4, 2)).subplots()
    draw_topology(BRANCHED, axes, [[0.9, 0.1]], "a task", ["#ff0000", "#00ff00"])
    edges, nodes = axes.collections
    colors = [to_hex(color) for color in nodes.get_facecolors()]
    assert colors == ["#333333", "#ff0000", "#00ff00", "#ff0000", "#333333"]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["0", "1", "2", "1", "2", "1"]  # three levels, then the modules
    widths = dict(zip(topology_graph(BRANCHED).edges, edges.get_linewidths(), strict=True))
    assert widths[2, "sink"] > 2 * widths[3, "sink"]
    assert axes.get_title() == "a task"


def test_numbers_are_left_out_where_there_is_no_room():
    axes = Figure(figsize=(2, 1)).subplots()
    route = evolved(60, False, 0)
    draw_topology(route, axes)
    assert not axes.texts
    assert len(axes.collections[1].get_offsets()) == 62


@pytest.mark.parametrize("route", [Route((), 0), soft_order(range(4), 3, pooling=True), BRANCHED])
def test_every_route_can_be_drawn(route):
    axes = Figure().subplots()
    draw_topology(route, axes)
    assert nx.is_directed_acyclic_graph(topology_graph(route))
    inside = axes.get_xlim()
    assert all(inside[0] < x < inside[1] for x, _ in axes.collections[-1].get_offsets())
