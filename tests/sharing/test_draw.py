"""Drawing routes: what the picture is made of."""

import networkx as nx
import pytest
from matplotlib.figure import Figure

from moduli import Apply, Merge, Route, chain, soft_order
from moduli.sharing import draw_route, route_graph


def test_the_graph_of_a_route_is_acyclic_and_leads_from_source_to_sink():
    graph = route_graph(soft_order(range(3), depth=2, pooling=True))
    assert nx.is_directed_acyclic_graph(graph)
    assert all(nx.has_path(graph, 0, node) and nx.has_path(graph, node, "sink") for node in graph)
    assert [graph.nodes[n]["module"] for n in graph if "module" in graph.nodes[n]] == [0, 1, 2] * 2


def test_edges_carry_softmax_shares_and_poolings():
    route = Route((Apply(0, 0, 0), Apply(1, 1, 1), Apply(2, 0, 2), Merge((2, 3), 2)), sink=4, level=3)
    graph = route_graph(route, weights=[[0.9, 0.1]])
    assert graph.edges[2, 4]["share"] == 0.9
    assert graph.edges[3, 4]["share"] == 0.1
    assert nx.get_edge_attributes(graph, "pools") == {
        (0, 1): 0, (1, 2): 1, (0, 3): 2, (2, 4): 1, (3, 4): 0, (4, "sink"): 1,
    }  # fmt: skip


@pytest.mark.parametrize("route", [chain([2, 0, 1]), soft_order(range(4), 4, pooling=True), Route((), 0)])
def test_every_route_can_be_drawn(route):
    axes = Figure().subplots()
    draw_route(route, axes, title="a task")
    assert axes.get_title() == "a task"
    assert len(axes.texts) == sum(isinstance(node, Apply) for node in route.nodes)
