"""A figure of evolved modules: the graph of layers of each (after Fig. 7.4 of Meyerson 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from moduli.evolution.genome import INPUT, LAST, GlobalGenome, ModuleGenome
from moduli.report.style import INK, MUTED, SHADE, WIDTH, Sheet, styled

OUTPUT = -1
BOX, LINE = 1.3, 0.16
"""Width of a box, and of an edge that passes by boxes."""
THIN, FAT = 0.2, 0.4
"""Heights of the boxes of dropout and merges, and of layers."""
BESIDE, BELOW = 0.14, 0.3
"""Between boxes of a row, and between rows."""
TITLE, HEAD, GAP = 1.9, 0.3, 0.35
"""Of a module: the width and height of its title, and the space to the next one."""

Vertex = tuple[int, int]
"""A node in its own row, or an edge from that node that passes a row further down: (node, row)."""


@styled
def draw_modules(modules: Sequence[ModuleGenome], settings: GlobalGenome, axes: int = 3) -> Figure:
    """The architectures of a set of modules, each from its input at the top to its output.

    Fat boxes are layers, with kernel size, channels and activation. The thin boxes at them are what comes
    before and after: the merge of several inputs, and dropout.

    Args:
        modules: of the set, side by side as far as there is room.
        settings: written above; the last layer of every module has their width.
        axes: of a sample: 3 for images, where layers are convolutions, 1 for vectors.
    """
    plans = [_Plan(module) for module in modules]
    lines: list[list[_Plan]] = [[]]
    for plan in plans:
        if lines[-1] and sum(p.width + GAP for p in [*lines[-1], plan]) > WIDTH:
            lines.append([])
        lines[-1].append(plan)
    heights = [HEAD + max((plan.height for plan in line), default=0) + GAP for line in lines]
    width = max(WIDTH, *(plan.width + GAP for plan in plans), 0)
    sheet = Sheet(width, 0.4 + sum(heights))
    decay = f"weight decay {settings.weight_decay:.3g}"
    rest = f"learning rate {settings.lr:.3g}  ·  {decay}  ·  {settings.initialiser}"
    sheet.text(0.1, 0.06, f"width {settings.width}  ·  {rest}")
    top, number = 0.4, 0
    for line, height in zip(lines, heights, strict=True):
        left = 0.1
        for plan in line:
            number += 1
            sheet.text(left, top, f"Module {number}, genome {plan.genome.id}", color=INK, weight="bold")
            panel = sheet.axes(left, top + HEAD, plan.width, plan.height)
            panel.set(xlim=(0, plan.width), ylim=(plan.height, 0))
            panel.set_axis_off()
            _draw(plan, panel, settings.width, axes)
            left += plan.width + GAP
        top += height
    return sheet.figure


class _Plan:
    """Where everything of a module stands, in inches from its upper left corner."""

    def __init__(self, genome: ModuleGenome):
        self.genome = genome
        self.inputs = {**genome.inputs, OUTPUT: (LAST,)}
        self.row = {INPUT: 0}
        for node in (*genome.order, OUTPUT):
            self.row[node] = 1 + max(self.row[i] for i in self.inputs[node])
        self.ways = {(i, node): self._way(i, node) for node, ends in self.inputs.items() for i in ends}
        self.links = sorted({link for way in self.ways.values() for link in pairwise(way)})
        rows = _ordered(self.row, self.links)
        self.x = _placed(self.row, rows, self.links)
        left = min(x - _wide(v, self.row) / 2 for v, x in self.x.items())
        self.x = {v: x - left for v, x in self.x.items()}
        self.width = max(TITLE, *(x + _wide(v, self.row) / 2 for v, x in self.x.items()))
        self.tops: list[float] = []
        self.ends: list[float] = []
        self._stack_rows(rows)
        self.height = self.ends[-1]

    def _way(self, start: int, end: int) -> list[Vertex]:
        """An edge, row by row; edges from one node go together as far as they can."""
        return [(start, row) for row in range(self.row[start], self.row[end])] + [(end, self.row[end])]

    def _stack_rows(self, rows: list[list[Vertex]]) -> None:
        """The top and the end of each row, and of the fat box of each node in it."""
        self.box: dict[int, tuple[float, float]] = {}
        y = 0.0
        for row in rows:
            nodes = [node for node, r in row if self.row[node] == r]
            above = max(THIN * self.merges(node) for node in nodes)
            fat = FAT if any(node not in (INPUT, OUTPUT) for node in nodes) else THIN
            below = max(THIN * self.drops(node) for node in nodes)
            self.tops.append(y)
            self.box |= dict.fromkeys(nodes, (y + above, y + above + fat))
            self.ends.append(y + above + fat + below)
            y = self.ends[-1] + BELOW

    def merges(self, node: int) -> bool:
        """Whether a merge stands before a node."""
        return node != INPUT and len(self.inputs[node]) > 1

    def drops(self, node: int) -> bool:
        """Whether dropout stands behind a node."""
        return node not in (INPUT, OUTPUT) and self.genome.layer(node).dropout > 0


# ------------------------------------------------------------------ places


def _wide(vertex: Vertex, row: dict[int, int]) -> float:
    return BOX if row[vertex[0]] == vertex[1] else LINE


def _ordered(row: dict[int, int], links: Sequence[tuple[Vertex, Vertex]]) -> list[list[Vertex]]:
    """The vertices of each row from left to right, so that few edges cross.

    Down and up again, vertices are sorted by the mean place of their neighbours in the row before
    (barycentres); the best of these orders counts.
    """
    rows: list[list[Vertex]] = [[] for _ in range(max(row.values()) + 1)]
    for vertex in sorted({v for link in links for v in link}):
        rows[vertex[1]].append(vertex)
    best = [list(vertices) for vertices in rows]
    for sweep in range(8):
        down = sweep % 2 == 0
        order = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
        for r in order:
            place = {v: p for p, v in enumerate(rows[r - 1 if down else r + 1])}
            near: dict[Vertex, list[int]] = {v: [] for v in rows[r]}
            for a, b in links:
                here, there = (b, a) if down else (a, b)
                if here in near:
                    near[here].append(place[there])
            rows[r].sort(key=lambda v: sum(near[v]) / len(near[v]))
        if _crossings(rows, links) < _crossings(best, links):
            best = [list(vertices) for vertices in rows]
    return best


def _crossings(rows: Sequence[Sequence[Vertex]], links: Sequence[tuple[Vertex, Vertex]]) -> int:
    place = {v: p for vertices in rows for p, v in enumerate(vertices)}
    ends = [(a[1], place[a], place[b]) for a, b in links]
    return sum(
        r == s and (a - c) * (b - d) < 0 for n, (r, a, b) in enumerate(ends) for s, c, d in ends[n + 1 :]
    )


def _placed(
    row: dict[int, int], rows: Sequence[Sequence[Vertex]], links: Sequence[tuple[Vertex, Vertex]]
) -> dict[Vertex, float]:
    """The middle of each vertex: near those of its neighbours, without overlaps in a row.

    Links between two boxes, or two places that an edge passes, count most: they are to be straight.
    """
    x = {v: float(p) for vertices in rows for p, v in enumerate(vertices)}
    near: dict[Vertex, dict[Vertex, float]] = {v: {} for v in x}
    for a, b in links:
        near[a][b] = near[b][a] = 8.0 if _wide(a, row) == _wide(b, row) else 1.0
    for _ in range(60):
        for vertices in rows:
            wanted = [sum(w * x[u] for u, w in near[v].items()) / sum(near[v].values()) for v in vertices]
            apart = [(_wide(a, row) + _wide(b, row)) / 2 + BESIDE for a, b in pairwise(vertices)]
            right, left = list(wanted), list(wanted)
            for n, gap in enumerate(apart):
                right[n + 1] = max(right[n + 1], right[n] + gap)
            for n, gap in reversed(list(enumerate(apart))):
                left[n] = min(left[n], left[n + 1] - gap)
            x |= {v: (a + b) / 2 for v, a, b in zip(vertices, left, right, strict=True)}
    return x


# ------------------------------------------------------------------ drawing


def _draw(plan: _Plan, panel: Axes, width: int, axes: int) -> None:
    for (start, end), way in plan.ways.items():
        panel.add_patch(_arrow(plan, start, end, way))
    for node, (top, bottom) in plan.box.items():
        middle = plan.x[node, plan.row[node]]
        if node in (INPUT, OUTPUT):
            name = "input" if node == INPUT else "output"
            _box(panel, middle, top, bottom, f"{name}, {width}")
            continue
        gene = plan.genome.layer(node)
        kind = f"conv {gene.kernel}×{gene.kernel}" if axes == 3 else "dense"
        filters = width if node == LAST else gene.filters
        _box(panel, middle, top, bottom, f"{kind}, {filters}\n{gene.activation}", fat=True)
        if plan.merges(node):
            _box(panel, middle, top - THIN, top, gene.merge)
        if plan.drops(node):
            _box(panel, middle, bottom, bottom + THIN, f"dropout {gene.dropout:.2f}")


def _box(panel: Axes, middle: float, top: float, bottom: float, text: str, fat: bool = False) -> None:
    edge = {"edgecolor": INK, "linewidth": 1.8} if fat else {"edgecolor": MUTED, "linewidth": 0.6}
    inset = 0.02
    corner, size = (middle - BOX / 2 + inset, top + inset), (BOX - 2 * inset, bottom - top - 2 * inset)
    style = "round,pad=0,rounding_size=0.04"
    face = (*_rgb(SHADE), 0.14) if fat else "none"
    panel.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, facecolor=face, **edge))
    color, size_ = (INK, 8.0) if fat else (MUTED, 7.0)
    panel.text(
        middle, (top + bottom) / 2, text, ha="center", va="center_baseline", fontsize=size_, color=color
    )


def _rgb(color: str) -> tuple[float, ...]:
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _arrow(plan: _Plan, start: int, end: int, way: Sequence[Vertex]) -> FancyArrowPatch:
    """An edge: straight beside boxes, and curved between rows only."""
    y = plan.box[start][1] + THIN * plan.drops(start)
    points, codes = [(plan.x[way[0]], y)], [Path.MOVETO]
    for a, b in pairwise(way):
        x0, x1, y0, y1 = plan.x[a], plan.x[b], plan.ends[a[1]], plan.tops[b[1]]
        middle = (y0 + y1) / 2
        points += [(x0, y0), (x0, middle), (x1, middle), (x1, y1)]
        codes += [Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    top = plan.box[end][0] - THIN * plan.merges(end)
    if top > points[-1][1]:  # an arrow's head needs a last piece with a length
        points.append((plan.x[way[-1]], top))
        codes.append(Path.LINETO)
    return FancyArrowPatch(
        path=Path(points, codes),
        arrowstyle="-|>",
        mutation_scale=6,
        color=MUTED,
        linewidth=0.8,
        shrinkA=0,
        shrinkB=0,
    )
