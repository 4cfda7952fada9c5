"""Games by complexity: what each requires, and their partial order by inclusion of these features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations, pairwise
from random import Random

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moduli.games.analysis import Analysis, Order, letters
from moduli.report.games_curves import title
from moduli.report.style import GRID, INK, MUTED, PAPER, SHADE, WIDTH, Sheet, styled

ROW, LEVEL = 0.26, 0.72
"""Heights of a row of the table and of a level of the order, in inches."""
LEFT = 0.1
CROWD = 4
"""Nodes at one level beyond which the words of a name stand below each other."""
STARTS = 25
"""Random orders from which places are improved."""
Place = tuple[float, float]
Node = frozenset[str]
Edge = tuple[Node, Node]


@styled
def complexity_figure(analysis: Analysis) -> Figure | None:
    """Left: the features of each game. Right: the games ordered by inclusion of features, simple ones below.

    After Figure 4.2 of Meyerson (2018). None if no features are known.
    """
    order = analysis.order
    if order is None or not order.features:
        return None
    short = {name: letter.capitalize() for name, letter in letters(order.features).items()}
    name_width = 0.25 + 0.08 * max(len(title(game)) for game in analysis.features)
    table_width = name_width + 0.36 * len(order.features)
    levels = max(len(node) for node in order.games) + 1
    table_height = 0.62 + ROW * (len(analysis.features) + len(order.features)) + 0.25
    height = max(table_height, 0.4 + LEVEL * levels, 2.4)
    sheet = Sheet(WIDTH, height)
    _table(sheet, analysis.features, order, short, name_width)
    left = LEFT + max(table_width, 2.6) + 0.25
    sheet.text(left, 0.06, "Order by inclusion: an edge adds the features beside it", fontsize=8.5)
    axes = sheet.axes(left, 0.35, WIDTH - left - 0.1, height - 0.45)
    _diagram(axes, order, short, WIDTH - left - 0.1, height - 0.45)
    return sheet.figure


# ------------------------------------------------------------------ the table


def _table(
    sheet: Sheet, features: Mapping[str, frozenset[str]], order: Order, short: Mapping[str, str], names: float
) -> None:
    """A row for each game, a column for each feature; below it what the letters mean."""
    sheet.text(LEFT, 0.06, "What successful play requires")
    rows, columns = len(features), len(order.features)
    axes = sheet.axes(LEFT + names, 0.62, 0.36 * columns, ROW * rows)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.set_xticks(range(columns), [short[feature] for feature in order.features], fontweight="bold")
    axes.set_yticks(range(rows), [title(game) for game in features])
    for y, own in enumerate(features.values()):
        if y % 2 == 0:
            axes.axhspan(y - 0.5, y + 0.5, color=GRID, alpha=0.28, lw=0, zorder=0)
        for x, feature in enumerate(order.features):
            has = feature in own
            axes.plot(x, y, marker="o", ls="", ms=7 if has else 2.5, mew=0, color=SHADE if has else GRID)
    for index, feature in enumerate(order.features):
        top = 0.62 + ROW * rows + 0.15 + 0.19 * index
        sheet.text(LEFT, top, short[feature], color=INK, fontweight="bold")
        sheet.text(LEFT + 0.12 + 0.08 * max(map(len, short.values())), top, title(feature))


# ------------------------------------------------------------------ the diagram


def _diagram(axes: Axes, order: Order, short: Mapping[str, str], width: float, height: float) -> None:
    """The Hasse diagram, bottom up; the axes have inches for units."""
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.axis("off")
    places, bends = hasse_layout(order)
    top = max(y for _, y in places.values()) or 1
    labels, longest, size = _node_labels(order, width)
    margin = 0.15 + 0.0042 * size * longest

    def inches(place: Place) -> Place:
        x, y = place
        return margin + x * (width - 2 * margin), 0.25 + y / top * (height - 0.5)

    for edge in order.edges:
        points = [inches(place) for place in (places[edge[0]], *bends[edge], places[edge[1]])]
        axes.plot(*zip(*points, strict=True), color=MUTED, lw=1.0, zorder=1)
        _edge_label(axes, points, ", ".join(short[f] for f in order.features if f in edge[1] - edge[0]))
    for node, label in labels.items():
        named = bool(order.games[node])
        box = {"boxstyle": "round,pad=0.28", "fc": PAPER, "ec": SHADE if named else MUTED, "lw": 1.0}
        x, y = inches(places[node])
        style = {"fontsize": size, "color": INK if named else MUTED, "ha": "center", "va": "center"}
        axes.text(x, y, label, bbox=box, zorder=3, **style)


def _node_labels(order: Order, width: float) -> tuple[dict[Node, str], int, float]:
    """What stands at each node, how many letters its longest line has, and the size that has room for it."""
    widest = max(Counter(len(node) for node in order.games).values())
    gap = "\n" if widest > CROWD else " "
    labels = {
        node: "\n".join(title(game).replace(" ", gap) for game in games) or "none"
        for node, games in order.games.items()
    }
    longest = max(len(line) for label in labels.values() for line in label.split("\n"))
    return labels, longest, float(np.clip(8.5 * width / widest / (0.072 * longest + 0.25), 5.0, 8.5))


def _edge_label(axes: Axes, points: Sequence[Place], text: str) -> None:
    """On the first stretch, nearer to its lower end, where fewer edges cross."""
    (x0, y0), (x1, y1) = points[0], points[1]
    at = 0.4
    box = {"boxstyle": "round,pad=0.12", "fc": PAPER, "ec": "none"}
    axes.text(
        x0 + at * (x1 - x0),
        y0 + at * (y1 - y0),
        text,
        fontsize=8,
        color=INK,
        fontweight="bold",
        ha="center",
        va="center",
        bbox=box,
        zorder=2,
    )


def hasse_layout(order: Order) -> tuple[dict[Node, Place], dict[Edge, list[Place]]]:
    """Places of the nodes, and where edges bend: x from 0 to 1, y is the number of features.

    An edge over several levels has a bend at each level between, with a place of its own there, so that it
    does not run through a node. The orders within the levels are those with few crossings, then short edges.
    """
    chains: dict[Edge, list[Hashable]] = {
        (low, high): [low, *((low, high, level) for level in range(len(low) + 1, len(high))), high]
        for low, high in order.edges
    }
    level_of: dict[Hashable, int] = {node: len(node) for node in order.games}
    for (low, _), chain in chains.items():
        level_of |= {thing: len(low) + step for step, thing in enumerate(chain)}
    levels = [[t for t in level_of if level_of[t] == level] for level in range(max(level_of.values()) + 1)]
    segments = [pair for chain in chains.values() for pair in pairwise(chain)]
    place = _best_places(levels, segments)
    bends = {edge: [place[thing] for thing in chain[1:-1]] for edge, chain in chains.items()}
    return {node: place[node] for node in order.games}, bends


def _best_places(
    levels: list[list[Hashable]], segments: Sequence[tuple[Hashable, Hashable]]
) -> dict[Hashable, Place]:
    """Things change places within their level as long as that helps, from several orders drawn at random."""
    random = Random(0)
    found = []
    for _ in range(STARTS):
        for level in levels:
            random.shuffle(level)
        best, better = _cost(_places(levels), segments), True
        while better:
            better = False
            for level, i, j in [(v, i, j) for v in levels for i, j in combinations(range(len(v)), 2)]:
                level[i], level[j] = level[j], level[i]
                cost = _cost(_places(levels), segments)
                if cost < best:
                    best, better = cost, True
                else:
                    level[i], level[j] = level[j], level[i]
        found.append((best, _places(levels)))
    return min(found, key=lambda start: start[0])[1]


def _places(levels: Sequence[Sequence[Hashable]]) -> dict[Hashable, Place]:
    """Each level spread from 0 to 1; a thing alone in the middle."""
    return {
        thing: (0.5 if len(level) == 1 else index / (len(level) - 1), float(height))
        for height, level in enumerate(levels)
        for index, thing in enumerate(level)
    }


def _cost(
    place: Mapping[Hashable, Place], segments: Sequence[tuple[Hashable, Hashable]]
) -> tuple[int, float]:
    """Crossings of segments, and how far they go sideways in all."""
    low, high = (np.array([place[pair[end]] for pair in segments]) for end in (0, 1))
    left, right = (x[:, None, 0] - x[None, :, 0] for x in (low, high))
    crossing = (left * right < 0) & (low[:, None, 1] == low[None, :, 1])
    return int(crossing.sum()) // 2, round(float(np.abs(high[:, 0] - low[:, 0]).sum()), 9)
