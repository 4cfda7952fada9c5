"""Where the nodes of a route stand in a drawing: in columns, so that few edges cross.

The method of Sugiyama, Tagawa & Toda (1981), "Methods for visual understanding of hierarchical system
structures", with one addition: columns are grouped by level.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import networkx

Point = tuple[float, float]
Edge = tuple[Any, Any]

SWEEPS = 8
"""Ways over the columns, there and back in turn; more change nothing to be seen."""


def layered(graph: networkx.DiGraph) -> tuple[dict[Any, Point], dict[Edge, list[Point]]]:
    """Places of nodes, and the points that each edge passes through, for a drawing in columns.

    Levels stand one after another, and in them nodes behind whatever leads to them. Long edges get a
    stop in every column that they pass. Columns are sorted by the mean place of what their nodes are joined
    to, and then straightened.

    Args:
        graph: acyclic, its nodes with a ``level`` that no edge lowers.

    Returns:
        (x, y) by node, columns and rows one apart, around y = 0; and the points of every edge.
    """
    column = _columns(graph)
    ways = {(u, v): [u, *((u, v, c) for c in range(column[u] + 1, column[v])), v] for u, v in graph.edges}
    columns: list[list[Any]] = [[] for _ in range(1 + max(column.values()))]
    for node, c in column.items():
        columns[c].append(node)
    joined: dict[Any, tuple[list[Any], list[Any]]] = {node: ([], []) for node in graph}
    for way in ways.values():
        for c, stop in enumerate(way[1:-1], start=column[way[0]] + 1):
            columns[c].append(stop)
            joined[stop] = ([], [])
        for before, after in pairwise(way):
            joined[before][1].append(after)
            joined[after][0].append(before)
    y = _rows(columns, joined)
    x = {item: float(c) for c, items in enumerate(columns) for item in items}
    points = {item: (x[item], y[item]) for item in x}
    return {node: points[node] for node in graph}, {e: [points[i] for i in way] for e, way in ways.items()}


def _columns(graph: networkx.DiGraph) -> dict[Any, int]:
    """As early as possible, then each node to the emptiest column before whatever follows it in its level."""
    import networkx as nx

    column: dict[Any, int] = {}
    order = list(nx.topological_sort(graph))
    level_of: dict[Any, int] = {node: graph.nodes[node]["level"] for node in graph}
    first, last = 0, {}
    for level in sorted(set(level_of.values())):
        for node in (n for n in order if level_of[n] == level):
            column[node] = max([first, *(column[p] + 1 for p in graph.predecessors(node))])
        last[level] = max(column.values())
        first = last[level] + 1
    filled = Counter(column.values())
    for node in reversed(order):
        end = min([last[level_of[node]], *(column[s] - 1 for s in graph.successors(node))])
        filled[column[node]] -= 1
        column[node] = min(range(column[node], end + 1), key=lambda c: filled[c])
        filled[column[node]] += 1
    return column


def _rows(columns: list[list[Any]], joined: dict[Any, tuple[list[Any], list[Any]]]) -> dict[Any, float]:
    """Heights at which few edges cross, and most are nearly straight."""
    y = {item: i - (len(items) - 1) / 2 for items in columns for i, item in enumerate(items)}
    for sweep in range(SWEEPS):
        back = sweep % 2
        for items in columns[::-1] if back else columns:
            towards = {i: [y[n] for n in joined[i][back]] or [y[i]] for i in items}
            mean = {item: sum(ys) / len(ys) for item, ys in towards.items()}
            items.sort(key=lambda item: mean[item])
            for i, item in enumerate(items):
                y[item] = i - (len(items) - 1) / 2
    for sweep in range(SWEEPS):
        for items in columns[::-1] if sweep % 2 else columns:
            around = [[y[n] for side in joined[item] for n in side] for item in items]
            wanted = [sum(ys) / len(ys) for ys in around]
            y |= dict(zip(items, _apart(wanted, [_gap(*pair) for pair in pairwise(items)]), strict=True))
    middle = (max(y.values()) + min(y.values())) / 2
    return {item: height - middle for item, height in y.items()}


def _gap(one: Any, other: Any) -> float:
    """Rows between neighbours of a column: a whole one between nodes, less beside a passing edge."""
    passing = isinstance(one, tuple) + isinstance(other, tuple)
    return (1.0, 0.65, 0.3)[passing]


def _apart(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Heights as near as possible to those wanted, with gaps between them: least squares, in their order."""
    from sklearn.isotonic import isotonic_regression

    if len(wanted) == 1:
        return [*wanted]
    ladder = [0.0, *accumulate(gaps)]
    moved = isotonic_regression([w - rung for w, rung in zip(wanted, ladder, strict=True)])
    return [float(m) + rung for m, rung in zip(moved, ladder, strict=True)]
