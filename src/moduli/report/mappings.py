"""Which hypermodule stands where: the mapping as a map of colours, one column for a generation."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from moduli.evaluation.summary import Summary
from moduli.report.hypermodules import Ints, generated_runs
from moduli.report.layers import LOWEST, RowNames, layers_of
from moduli.report.records import Records
from moduli.report.style import INK, MUTED, PALETTE, PAPER, WIDTH, Sheet, shorten, styled

Color = tuple[float, float, float, float]
MOST_COLUMNS = 10
"""Generations that are drawn."""
STRONG = len(PALETTE)
"""Modules that have a strong colour of their own."""
PALE = (0.4, 0.18)
"""How opaque the colours of all other modules are."""


def telling(mappings: Ints, most: int) -> list[int]:
    """Which generations to show of `[G, L]`: the first, the last, and between them those that tell most.

    Half by time and half by change: they divide evenly the sum of two numbers that grow from 0 to 1, the
    generation and the number of changes so far.
    """
    changes = np.concatenate([[0], (mappings[1:] != mappings[:-1]).sum(1).cumsum()])
    progress = np.linspace(0, 1, len(mappings)) + changes / max(changes[-1], 1)
    targets = np.linspace(progress[0], progress[-1], most)
    return np.unique(np.abs(progress[:, None] - targets).argmin(0)).tolist()


def module_colors(mappings: Ints) -> dict[int, Color]:
    """A colour for each module of `[G, L]`, the same in all generations.

    The modules that are most used, summed over generations, have a strong colour each, the most used first.
    All others, and those that never have two locations, get a pale one that no module beside them has, as
    far as these go.
    """
    ids, uses = np.unique(mappings, return_counts=True)
    shared = {k for row in mappings.tolist() for k, count in Counter(row).items() if count > 1}
    ranked = [k for k in ids[np.argsort(-uses, kind="stable")].tolist() if k in shared]
    colors = {k: to_rgba(PALETTE[place]) for place, k in enumerate(ranked[:STRONG])}
    pale = [to_rgba(color, alpha) for alpha in PALE for color in PALETTE]
    beside: dict[int, set[int]] = {int(k): set() for k in ids}
    for a, b in zip(mappings[:, 1:].ravel().tolist(), mappings[:, :-1].ravel().tolist(), strict=True):
        beside[a].add(b)
        beside[b].add(a)
    for k in beside:
        if k not in colors:
            taken = {colors.get(other) for other in beside[k]}
            turned = [pale[(k + i) % len(pale)] for i in range(len(pale))]
            colors[k] = next((color for color in turned if color not in taken), turned[0])
    return colors


@styled
def mapping_figure(summary: Summary, records: Records, method: str) -> Figure | None:
    """The module at each location in some generations of the first run of a method, a colour for a module.

    After Figure 8.4 of Meyerson (2018). A row for each location, layers in order. None if no mappings were
    logged, which is so beyond 512 locations.
    """
    logged = [r for r in records.hypermodules if r["method"] == method and r.get("mapping")]
    logged = [record for record in logged if record["seed"] == logged[0]["seed"]]
    runs = generated_runs(summary, method)
    if len(logged) < 2 or not runs:
        return None
    everything = np.array([record["mapping"] for record in logged])
    shown = telling(everything, MOST_COLUMNS)
    mappings, phase = everything[shown], logged[0]["step"]
    layers, L = layers_of(runs[0]), everything.shape[1]
    height = float(np.clip(0.17 * L, 1.6, 6.8))
    names = RowNames(layers, [*(layer.first for layer in layers), L], height / L)
    colors = module_colors(mappings)
    sheet = Sheet(WIDTH, 0.95 + height)
    title = f"{shorten(method)}, seed {logged[0]['seed']}"
    sheet.text(0.1, 0.06, f"{title}: the module at each location, by generation")
    axes = sheet.axes(names.width, 0.8, WIDTH - names.width - 1.95, height)
    _columns(axes, np.array([[colors[int(k)] for k in row] for row in mappings]))
    generations = [f"{logged[i]['step'] / phase:g}" for i in shown]
    axes.set_xticks(np.arange(len(shown)) + 0.5, generations)
    sheet.text(names.width, 0.42, "generation", fontsize=8)
    for layer in layers[1:] if height > LOWEST * len(layers) else ():
        axes.axhline(layer.first, color=MUTED, lw=0.5)
    names.draw(axes)
    _key(sheet, WIDTH - 1.8, 0.8, mappings[-1], colors)
    return sheet.figure


def _columns(axes: Axes, image_GL4: Any) -> None:
    """A column for each generation, with a gap between them."""
    G, L = image_GL4.shape[:2]
    extent = (0, G, L, 0)
    axes.imshow(image_GL4.swapaxes(0, 1), aspect="auto", interpolation="none", extent=extent, zorder=1)
    axes.vlines(range(1, G), 0, L, color=PAPER, lw=5, zorder=1.5)
    axes.xaxis.tick_top()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _key(sheet: Sheet, left: float, top: float, last: Ints, colors: dict[int, Color]) -> None:
    """The modules with strong colours that are in use at the end, and how often."""
    sheet.text(left, top - 0.38, "uses at the end", fontsize=8)
    ids, uses = np.unique(last, return_counts=True)
    order = [i for i in np.argsort(-uses, kind="stable") if colors[int(ids[i])][3] == 1.0]
    rows = [(colors[int(ids[i])], f"module {ids[i]}: {uses[i]}") for i in order]
    if others := len(ids) - len(order):
        text = f"{others} other{'s' * (others > 1)}: {uses.sum() - uses[order].sum()}"
        rows.append((to_rgba(MUTED, PALE[0]), text))
    height = 0.2 * len(rows)
    axes = sheet.axes(left, top, 1.7, max(height, 0.2))
    for row, (color, text) in enumerate(rows):
        axes.plot([0.06], [row + 0.5], marker="s", ms=8, mew=0, color=color)
        axes.text(0.16, row + 0.5, text, va="center", fontsize=8, color=INK)
    axes.set_xlim(0, 1.7)
    axes.set_ylim(max(len(rows), 1), 0)
    axes.set_axis_off()
