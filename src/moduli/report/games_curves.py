"""Learning curves of games: from scratch, with random sources, and with networks of other games."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from moduli.games.analysis import Analysis, Curve
from moduli.report.style import INK, MUTED, PALETTE, REFERENCE, TICKS, WIDTH, Sheet, styled

STYLES = {
    "transfer": {"color": PALETTE[0], "linestyle": "-"},
    "random": {"color": PALETTE[1], "linestyle": (0, (4, 1.5))},
    "scratch": {"color": REFERENCE, "linestyle": (0, (1, 1))},
}
"""Of the conditions, as in Meyerson (2018), Figure 4.3: solid, dashed, dotted."""
COLUMNS, CELL, HEAD = 4, 1.75, 0.85


def title(game: str) -> str:
    """The name of a game as it is shown: `space_invaders` without its underscore."""
    return game.replace("_", " ")


@styled
def game_curves_figure(analysis: Analysis) -> Figure:
    """The mean score by generation of each game and condition, a band of one standard deviation over runs.

    After Figure 4.3 of Meyerson (2018), which has no bands.
    """
    games = list(analysis.curves)
    columns = min(COLUMNS, max(len(games), 2))
    cell, rows = WIDTH / columns, -(-len(games) // columns)
    height = CELL + 0.5 * (columns < COLUMNS)
    sheet = Sheet(WIDTH, HEAD + rows * height + 0.2)
    sheet.text(0.1, 0.06, "Score by generation. Line: mean over runs; band: ± one standard deviation")
    shown = [name for name in STYLES if any(name in curves for curves in analysis.curves.values())]
    handles = [Line2D([], [], label=name, lw=1.6, **STYLES[name]) for name in shown]
    sheet.figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.1 / WIDTH, 1 - 0.32 / sheet.height),
        ncols=len(handles),
        borderaxespad=0,
        borderpad=0,
        handlelength=2.6,
        columnspacing=1.6,
    )
    for index, game in enumerate(games):
        row, column = divmod(index, columns)
        top = HEAD + row * height
        axes = sheet.axes(column * cell + 0.5, top, cell - 0.65, height - 0.5)
        sheet.text(column * cell + 0.1, top - 0.2, title(game), color=INK, fontweight="bold")
        for name in reversed(shown):
            if name in analysis.curves[game]:
                _curve(axes, analysis.curves[game][name], name)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=TICKS))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=TICKS, min_n_ticks=3))
        axes.yaxis.set_major_formatter(FuncFormatter(_tick))
        if index + columns >= len(games):
            axes.set_xlabel("generation", fontsize=8, color=MUTED, labelpad=1)
    return sheet.figure


def _tick(score: float, _: int) -> str:
    """`25k` for 25000, as there is little room."""
    text = f"{score / 1000:g}k" if abs(score) >= 10_000 else f"{score:g}"
    return text.replace("-", "−")


def _curve(axes: Axes, curve: Curve, name: str) -> None:
    style = STYLES[name]
    generations = np.arange(1, len(curve.mean) + 1)
    axes.fill_between(
        generations,
        curve.mean - curve.spread,
        curve.mean + curve.spread,
        color=style["color"],
        alpha=0.13,
        lw=0,
    )
    axes.plot(generations, curve.mean, lw=1.5, marker="o" if len(generations) == 1 else "", ms=4, **style)
