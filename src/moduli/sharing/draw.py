"""Drawing a route: which modules a task applies, in which order, and how much of each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from moduli.sharing.layout import Point, layered
from moduli.sharing.route import Apply, Merge, Route, inputs_of

if TYPE_CHECKING:
    import networkx
    from matplotlib.axes import Axes
    from matplotlib.path import Path

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
            before = graph.get_edge_data(i, number, {"share": 0.0})["share"]
            graph.add_edge(i, number, share=before + share, pools=node.level - route.level_of(i))
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


# ------------------------------------------------------------------ evolved routes


def topology_graph(route: Route, weights: Sequence[Sequence[float]] | None = None) -> networkx.DiGraph:
    """As `route_graph`, where a soft merge that one node alone reads is a part of that node.

    The shares of its inputs stand on the edges into that node, so an evolved route is a graph of source,
    modules and sink. Nodes have no ``wave``.
    """
    graph = route_graph(route, weights)
    for merge in route.merges:
        readers = list(graph.successors(merge))
        if len(readers) != 1:
            continue
        (reader,) = readers
        onward = graph.edges[merge, reader]
        for before, _, edge in list(graph.in_edges(merge, data=True)):
            there = graph.get_edge_data(before, reader, {"share": 0.0})["share"]
            share = there + edge["share"] * onward["share"]
            graph.add_edge(before, reader, share=share, pools=edge["pools"] + onward["pools"])
        graph.remove_node(merge)
    return graph


def draw_topology(
    route: Route,
    axes: Axes,
    weights: Sequence[Sequence[float]] | None = None,
    title: str = "",
    colors: Sequence[str] | None = None,
) -> None:
    """Draws a route of any size from left to right: a colour for each module, a band for each level.

    Nodes of one level stand in one band, with its number below it, so an edge from band to band is pooled.
    The width of an edge is its softmax share. Source, sink, and merges that several nodes read are small
    dots. Module numbers are left out where the axes are too small for them. After Figure 7.5 of Meyerson
    (2018).

    Args:
        route: the route.
        axes: matplotlib axes to draw into, of their final size.
        weights: of each merge along the route; equal if None.
        title: written above.
        colors: of the modules, again from the first where there are more; matplotlib's ten if None.
    """
    import numpy as np
    from matplotlib import color_sequences
    from matplotlib.collections import PathCollection

    graph = topology_graph(route, weights)
    place, lines = layered(graph)
    box, figure = axes.get_window_extent(), axes.get_figure(root=True)
    assert figure is not None
    widest = max(x for x, _ in place.values())
    highest = max(abs(y) for points in lines.values() for _, y in points)
    unit = 72 / figure.dpi  # pixels to points
    step = min(box.width * unit / (widest + 1), box.height * unit / (2 * highest + 1.6))
    size = min(max(0.85 * step, 3.0), 17.0)
    _draw_bands(graph, place, axes)
    shares = np.array([graph.edges[edge]["share"] for edge in lines])
    widths, curves = (0.3 + 2.9 * shares) * max(size / 17, 0.45), [_curve(way) for way in lines.values()]
    axes.add_collection(PathCollection(curves, fc="none", ec="#555555", lw=widths, alpha=0.75, zorder=1))
    modules: dict[Any, int] = {n: graph.nodes[n]["module"] for n in graph if "module" in graph.nodes[n]}
    palette = colors or color_sequences["tab10"]
    shades = [palette[modules[n] % len(palette)] if n in modules else "#333333" for n in graph]
    areas = [size**2 if n in modules else max(0.35 * size, 2.5) ** 2 for n in graph]
    axes.scatter(*np.array([place[n] for n in graph]).T, s=areas, c=shades, lw=0, zorder=2, clip_on=False)
    for node, module in modules.items() if size >= 7.5 else ():
        axes.text(
            *place[node], str(module + 1), ha="center", va="center_baseline", color="white",
            fontsize=0.56 * size, fontweight="bold", zorder=3,
        )  # fmt: skip
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    axes.set_xlim(-0.5, widest + 0.5)
    axes.set_ylim(-highest - 0.8, highest + 0.8)


def _curve(points: Sequence[Point]) -> Path:
    """A smooth curve through points of neighbouring columns, level at both ends and at every turn."""
    from matplotlib.path import Path

    rises = [after[1] - before[1] for before, after in pairwise(points)]
    inner = [(r + s) / 2 if r * s > 0 else 0.0 for r, s in pairwise(rises)]
    slopes = [0.0, *inner, 0.0]
    curve = [points[0]]
    for i, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        reach = (x1 - x0) / (2 if len(points) == 2 else 3)
        curve += [(x0 + reach, y0 + reach * slopes[i]), (x1 - reach, y1 - reach * slopes[i + 1]), (x1, y1)]
    return Path(curve, [Path.MOVETO] + [Path.CURVE4] * (len(curve) - 1))


def _draw_bands(graph: networkx.DiGraph, place: dict[Any, Point], axes: Axes) -> None:
    """A band behind the nodes of each level, every second one shaded, where there is more than one."""
    columns: dict[int, list[float]] = {}
    for node in graph:
        columns.setdefault(graph.nodes[node]["level"], []).append(place[node][0])
    if len(columns) < 2:
        return
    for level, xs in columns.items():
        low, high = min(xs) - 0.5, max(xs) + 0.5
        if level % 2 == 0:
            axes.axvspan(low, high, color="#d3d7dc", alpha=0.35, lw=0, zorder=0)
        axes.annotate(
            str(level), ((low + high) / 2, 0), (0, -2), ("data", "axes fraction"), "offset points",
            ha="center", va="top", fontsize=6.5, color="#656d77", annotation_clip=False,
        )  # fmt: skip
