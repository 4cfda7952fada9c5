"""Drawing a route: which modules a task applies, in which order, and how much of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from moduli.sharing.route import Apply, Merge, Route, inputs_of

if TYPE_CHECKING:
    import networkx
    from matplotlib.axes import Axes

SOURCE, SINK = 0, "sink"


def route_graph(route: Route, weights: Sequence[Sequence[float]] | None = None) -> networkx.DiGraph:
    """A route as a graph, to be drawn or measured with networkx.

    Nodes have ``kind`` ("source", "apply", "merge", "sink"), ``level``, ``wave`` (longest way from the
    source) and, if they apply a module, ``module``. Edges have ``share`` (the softmax weight into a merge,
    else 1) and ``pools``.

    Args:
        route: the route.
        weights: of each merge along the route (see `RoutedStructure.merge_weights_of`); equal if None.
    """
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_node(SOURCE, kind="source", level=0, wave=0)
    merges = iter(weights or [])
    for number, node in enumerate(route.nodes, start=1):
        inputs = inputs_of(node)
        kind = "apply" if isinstance(node, Apply) else "merge"
        wave = 1 + max(graph.nodes[i]["wave"] for i in inputs)
        graph.add_node(number, kind=kind, level=node.level, wave=wave)
        shares: Sequence[float] = [1.0]
        if isinstance(node, Apply):
            graph.nodes[number]["module"] = node.module
        elif isinstance(node, Merge):
            shares = next(merges, None) or [1.0 / len(inputs)] * len(inputs)
        for i, share in zip(inputs, shares, strict=True):
            graph.add_edge(i, number, share=share, pools=node.level - route.level_of(i))
    wave = 1 + graph.nodes[route.sink]["wave"]
    graph.add_node(SINK, kind="sink", level=route.level, wave=wave)
    graph.add_edge(route.sink, SINK, share=1.0, pools=route.level - route.level_of(route.sink))
    return graph


def draw_route(
    route: Route, axes: Axes, weights: Sequence[Sequence[float]] | None = None, title: str = ""
) -> None:
    """Draws a route from left to right: a row for each module, a colour for each level.

    The width of an edge is its softmax share, and a tick across it a pooling.

    Args:
        route: the route.
        axes: matplotlib axes to draw into.
        weights: of each merge along the route; equal if None.
        title: written above.
    """
    import networkx as nx
    from matplotlib import colormaps

    graph = route_graph(route, weights)
    rows = sorted(route.modules)
    middle = (len(rows) - 1) / 2
    data: dict[Any, dict[str, Any]] = dict(graph.nodes(data=True))
    place = {
        node: (facts["wave"], -rows.index(facts["module"]) if "module" in facts else -middle)
        for node, facts in data.items()
    }
    levels = max(1, max(facts["level"] for facts in data.values()))
    palette = colormaps["viridis"]
    sizes = {"source": 60, "apply": 260, "merge": 30, "sink": 60}
    nx.draw_networkx_nodes(
        graph, place, ax=axes,
        node_size=[sizes[facts["kind"]] for facts in data.values()],
        node_color=[palette(0.62 - 0.45 * facts["level"] / levels) for facts in data.values()],
        edgecolors="#333333", linewidths=0.6,
    )  # fmt: skip
    labels = {node: str(facts["module"] + 1) for node, facts in data.items() if "module" in facts}
    nx.draw_networkx_labels(graph, place, labels, ax=axes, font_size=8, font_color="white")
    nx.draw_networkx_edges(
        graph, place, ax=axes, arrows=False, edge_color="#555555",
        width=[0.4 + 3.0 * share for _, _, share in graph.edges(data="share")],
    )  # fmt: skip
    for start, end, pools in graph.edges(data="pools"):
        (x0, y0), (x1, y1) = place[start], place[end]
        for pool in range(pools):
            at = 0.5 + 0.08 * (pool - (pools - 1) / 2)
            axes.plot(x0 + at * (x1 - x0), y0 + at * (y1 - y0), marker="|", color="#b03030", markersize=7)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    axes.margins(0.12)
