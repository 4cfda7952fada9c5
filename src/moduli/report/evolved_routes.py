"""Figures of evolved routes: how each task assembles the modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from moduli.errors import InputError
from moduli.evaluation.summary import Summary
from moduli.evolution.mutation import complexity
from moduli.report.style import INK, MUTED, PALETTE, WIDTH, Sheet, shorten, styled
from moduli.sharing.draw import draw_topology
from moduli.sharing.route import Route

FEW = 6
"""Routes in a first look at many."""
MOST_TASKS = 60


@dataclass(frozen=True)
class Evolved:
    """The routes that the tasks of one run ended with, simple ones first.

    ``shares`` are the softmax weights of the merges of each route, ``modules`` is K and ``levels`` L: all
    that the routes use.
    """

    seed: int
    routes: Mapping[str, Route]
    shares: Mapping[str, Sequence[Sequence[float]]]

    @property
    def modules(self) -> int:
        return 1 + max((module for route in self.routes.values() for module in route.modules), default=0)

    @property
    def levels(self) -> int:
        return max(route.level for route in self.routes.values())


def evolved_routes(summary: Summary, method: str) -> Evolved | None:
    """Those of the first run of a method that saved routes which can be read; else None."""
    names = [task["name"] for task in summary["tasks"]]
    for run in summary["methods"][method].get("runs", []):
        extra = run.get("extra", {})
        try:
            found = [(name, Route.from_json(extra["routes"][name])) for name in names]
        except (KeyError, TypeError, InputError):
            continue
        ordered = dict(sorted(found, key=lambda pair: complexity(pair[1])))
        return Evolved(run["seed"], ordered, extra.get("scales") or {})
    return None


@styled
def evolved_routes_figure(summary: Summary, method: str, most: int = MOST_TASKS) -> Figure | None:
    """The route of each task after evolution, from the simplest to the most complex; first run.

    Of more than `most` tasks some are drawn, evenly from the simplest through the median to the most
    complex. After Figure 7.5 of Meyerson (2018). None if no routes were saved.
    """
    final = evolved_routes(summary, method)
    if final is None:
        return None
    names = list(final.routes)
    if len(names) > most:
        names = [names[i] for i in np.linspace(0, len(names) - 1, most).round().astype(int)]
    largest = max(complexity(final.routes[name]) for name in names)
    columns = 2 if len(names) <= FEW else 3 if largest > 16 and len(names) <= 21 else 4
    height = 2.15 if columns == 2 else 1.65
    cell = WIDTH / columns
    sheet = Sheet(WIDTH, 0.75 + height * -(-len(names) // columns))
    shown = f", {len(names)} of {len(final.routes)} tasks" if len(names) < len(final.routes) else ""
    sheet.text(
        0.1, 0.06, f"{shorten(method)}, seed {final.seed}{shown}: from encoder (left) to decoder (right)"
    )
    _key(sheet, final)
    for index, name in enumerate(names):
        row, column = divmod(index, columns)
        axes = sheet.axes(0.1 + column * cell, 0.9 + row * height, cell - 0.2, height - 0.48)
        route = final.routes[name]
        title = shorten(name, 30 if columns == 2 else 24 if columns == 3 else 19)
        draw_topology(route, axes, final.shares.get(name), title, PALETTE)
        axes.set_title(str(complexity(route)), loc="right", fontsize=8, fontweight="normal", color=MUTED)
    return sheet.figure


def _key(sheet: Sheet, final: Evolved) -> None:
    """Which colour is which module, and the two ends."""
    dots: dict[str, Any] = {"ls": "", "marker": "o", "mew": 0}
    handles = [Line2D([], [], label="encoder, decoder", color=INK, ms=4, **dots)]
    for k, color in enumerate(PALETTE[: final.modules], start=1):
        numbers = list(range(k, final.modules + 1, len(PALETTE)))  # colours are used again
        label = ", ".join(map(str, numbers[:2])) + "…" * (len(numbers) > 2)
        handles.append(Line2D([], [], label=f"module {label}", color=color, ms=7, **dots))
    sheet.legend(handles)
