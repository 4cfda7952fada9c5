"""Figures of transfer between games: which pairs gain, and whether that can be predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from moduli.evaluation.tables import number_text, p_text
from moduli.games.analysis import Analysis, Prediction
from moduli.report.games_curves import title
from moduli.report.style import (
    GRID,
    INK,
    MARKERS,
    MUTED,
    PALETTE,
    PAPER,
    REFERENCE,
    SHADE,
    TICKS,
    WIDTH,
    Sheet,
    styled,
)

Array = NDArray[np.float64]
MARGIN = 0.35
"""Above and below a circle of games, in inches."""

# ------------------------------------------------------------------ prediction


@styled
def prediction_figure(analysis: Analysis) -> Figure | None:
    """Predicted against actual transfer effectiveness of every pair, a panel for each control.

    After Figure 4.4 of Meyerson (2018). None if there is no prediction.
    """
    shown = [prediction for prediction in analysis.predictions.values() if prediction.predicted]
    if not shown:
        return None
    targets = sorted({target for p in shown for _, target in p.pairs}, key=analysis.games.index)
    styles: dict[str, dict[str, Any]] = {
        target: {"color": [*PALETTE, REFERENCE][index % 8], "marker": MARKERS[index % len(MARKERS)]}
        for index, target in enumerate(targets)
    }
    columns = min(len(targets), 5)
    head = 0.55 + 0.19 * -(-len(targets) // columns)
    side = 3.5
    sheet = Sheet(WIDTH, head + side + 0.7)
    sheet.text(
        0.1, 0.06, "Transfer effectiveness of each pair; colour and marker are those of the target game"
    )
    sheet.figure.legend(
        handles=[Line2D([], [], ls="", ms=5, mew=0, label=title(t), **styles[t]) for t in targets],
        loc="upper left",
        bbox_to_anchor=(0.1 / WIDTH, 1 - 0.3 / sheet.height),
        ncols=columns,
        borderaxespad=0,
        borderpad=0,
        handletextpad=0.2,
    )
    for index, prediction in enumerate(shown):
        axes = sheet.axes(0.7 + index * WIDTH / 2, head + 0.15, side, side)
        _scatter(axes, prediction, styles)
    return sheet.figure


def _scatter(axes: Axes, prediction: Prediction, styles: dict[str, dict[str, Any]]) -> None:
    r, p = (None if np.isnan(number) else number for number in (prediction.r, prediction.p))
    axes.set_title(f"against {prediction.control}: R = {number_text(r, 2)}, p {_p(p)}", pad=5)
    for (_, target), actual, predicted in zip(
        prediction.pairs, prediction.actual, prediction.predicted, strict=True
    ):
        axes.plot(predicted, actual, ls="", ms=5, mew=0, alpha=0.85, **styles[target])
    axes.axhline(0, color=MUTED, lw=0.8, zorder=1)
    axes.axvline(0, color=MUTED, lw=0.8, zorder=1)
    both = np.concatenate([prediction.actual, prediction.predicted])
    axes.axline((0, 0), slope=1, color=GRID, lw=1.2, ls=(0, (4, 2)), zorder=1)
    room = 0.06 * np.ptp(both) or 0.1
    axes.set_xlim(min(prediction.predicted) - room, max(prediction.predicted) + room)
    axes.set_ylim(min(prediction.actual) - room, max(prediction.actual) + room)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=TICKS))
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")


def _p(p: float | None) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"


# ------------------------------------------------------------------ graphs


@styled
def transferability_figure(analysis: Analysis) -> Figure | None:
    """An arrow from a source to a target where transfer is better than the control, a panel for each control.

    After Figure 4.5 of Meyerson (2018). The stronger the arrow, the larger the effectiveness. None without
    pairs or controls.
    """
    if not analysis.graphs:
        return None
    panel, at = WIDTH / 2, _circle(analysis.games)
    height = max(y for _, y in at.values()) + MARGIN
    sheet = Sheet(WIDTH, height + 0.35)
    for index, (control, edges) in enumerate(analysis.graphs.items()):
        known = [pair for pair in analysis.pairs if np.isfinite(pair.effectiveness[control])]
        text = f"{len(edges)} of {len(known)} pairs are better than {control}"
        sheet.text(0.1 + index * panel, 0.06, text, color=INK, fontweight="bold")
        axes = sheet.axes(index * panel, 0.3, panel, height, xlim=(0, panel), ylim=(height, 0))
        axes.axis("off")
        worth = {(p.source, p.target): p.effectiveness[control] for p in analysis.pairs}
        _graph(axes, at, {edge: worth[edge] for edge in edges})
    return sheet.figure


def _circle(games: Sequence[str]) -> dict[str, Array]:
    """Places of games clockwise from the top, x and y (downwards) in inches."""
    import networkx as nx

    radius = WIDTH / 4 - 0.55
    found = nx.circular_layout(nx.empty_graph(games), scale=radius)
    # networkx begins at the right.
    return {game: np.array([WIDTH / 4 + y, MARGIN + radius - x]) for game, (x, y) in found.items()}


def _graph(axes: Axes, at: Mapping[str, Array], worth: Mapping[tuple[str, str], float]) -> None:
    """Names at their places, arrows by worth; the axes have inches for units."""
    most = max(worth.values(), default=1.0)
    for (source, target), value in worth.items():
        strength = value / most
        arrow = {"color": SHADE, "lw": 0.8 + 1.4 * strength, "alpha": 0.55 + 0.4 * strength, "zorder": 1}
        if source == target:
            axes.add_patch(Circle(tuple(at[source]), 0.35, fill=False, **arrow))
            continue
        axes.add_patch(
            FancyArrowPatch(
                tuple(at[source]),
                tuple(at[target]),
                connectionstyle="arc3,rad=0.12",
                arrowstyle="-|>,head_length=5,head_width=2.2",
                shrinkA=_out_of_box(source, at[target] - at[source]),
                shrinkB=_out_of_box(target, at[target] - at[source]),
                **arrow,
            )
        )
    for game, (x, y) in at.items():
        box = {"boxstyle": "round,pad=0.28", "fc": PAPER, "ec": MUTED, "lw": 0.8}
        axes.text(x, y, _label(game), fontsize=8, color=INK, ha="center", va="center", bbox=box, zorder=3)


def _label(game: str) -> str:
    return title(game).replace(" ", "\n")


def _out_of_box(game: str, direction: Array) -> float:
    """How far an arrow stays away from the middle of a name, in points: it ends at the edge of its box."""
    lines = _label(game).split("\n")
    half = np.array([0.09 + 0.036 * max(map(len, lines)), 0.06 + 0.07 * len(lines)])
    dx, dy = np.abs(direction) / np.hypot(*direction)
    return 72 * min(half[0] / max(dx, 1e-9), half[1] / max(dy, 1e-9)) + 2
