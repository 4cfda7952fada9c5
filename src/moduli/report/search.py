"""The search for modules: how good the sets were that it tried, and the ones it ended with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moduli.evolution.evolved import ModuleSet
from moduli.files import read_json
from moduli.report.module_drawing import draw_modules
from moduli.report.style import INK, MUTED, WIDTH, Sheet, styled

Search = Mapping[str, Any]
"""The content of a `search.json`."""


def searches(folder: Path) -> dict[str, Search]:
    """The searches of a run that ended, by method."""
    files = sorted(folder.glob("searches/*/search.json"))
    found = {path.parent.name: read_json(path) for path in files}
    return {method: search for method, search in found.items() if "best" in search}


@styled
def search_figure(search: Search) -> Figure:
    """The fitness of every set of modules by generation, with its mean and the best so far."""
    sheet = Sheet(WIDTH, 2.75)
    generations, tried = search["generations"], search["evaluations"]
    failed = sum(generation["failed"] for generation in generations)
    note = f"{len(tried)} sets of modules in {len(generations)} generations" + f", {failed} failed" * (
        failed > 0
    )
    sheet.text(0.1, 0.06, f"{note}. Dots: sets; lines: best so far, mean of a generation")
    axes = sheet.axes(0.75, 0.4, WIDTH - 0.95, 1.8, ylabel="fitness ↑")
    sets = [(int(e["id"].split("-")[0]), e["fitness"]) for e in tried if e["fitness"] is not None]
    x = np.array([generation for generation, _ in sets], dtype=float)
    beside = np.random.default_rng(0).uniform(-0.12, 0.12, len(x))  # so that equal ones can be told apart
    axes.plot(
        x + beside, [fitness for _, fitness in sets], ls="", marker="o", ms=3.2, mew=0, color=MUTED, alpha=0.6
    )
    numbers = [generation["generation"] for generation in generations]
    axes.plot(numbers, [g["best_so_far"] for g in generations], color=INK, lw=1.6, marker="o", ms=3.5)
    axes.plot(numbers, [g["mean"] for g in generations], color=INK, lw=1.1, ls=(0, (4, 2)))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("generation", fontsize=8, color=MUTED, labelpad=1)
    return sheet.figure


def modules_figure(search: Search) -> Figure:
    """The architectures of the best set."""
    best = ModuleSet.from_json(search["best"]["set"])
    axes = len(search["settings"]["tasks"][0][3])
    return draw_modules(best.modules, best.settings, axes)
