"""How long evolution looks for the right modules: the theory of section 8.3 of Meyerson (2018), simulated.

L locations, K modules of which one is right at each location, T tasks, and an ideal score: how many locations
are right. The (1+1)-EA is simulated at the three levels of Table 8.1, as `moduli.evolution.onemax` says.

  no decomposition   one score for all locations
  per task           one for the locations of each task; tasks evolve at the same time
  per block          one for each location
  K = L, by use      per block, L modules at the start, drawn in proportion to their use (section 8.3.2)
  K = L, uniformly   the same, each module drawn as often

Times are iterations until all locations are right. Beside them the figure has the orders of Table 8.1 (for
drawing by use log L), times a constant that is fitted for each level; and what is predicted without such a
constant: `leading_terms`, and for drawing by use the recurrence of Eq. 8.8.

  scale   runs   locations    time on 1 CPU core
  smoke      3   16 to 256    2 s
  cpu       30   16 to 16384  5 s
  paper   1000   16 to 65536  1 min

The dissertation has the orders and no simulation.

  python experiments/muir_onemax.py --scale cpu
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import numpy as np
from common import arguments
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, NullFormatter
from sweep import Panel, sweep_summary

from moduli.evaluation import statistics as st
from moduli.evolution.onemax import convergence_time, leading_terms, orders, usage_recurrence, usage_time
from moduli.files import write_file, write_json
from moduli.report.style import MUTED, WIDTH, Sheet, method_styles, png, styled

RUNS = {"smoke": 3, "cpu": 30, "paper": 1000}
LARGEST = {"smoke": 256, "cpu": 16_384, "paper": 65_536}
L, K, T = 1024, 8, 8  # where another number is varied
LEVELS = {"no decomposition": "none", "per task": "task", "per block": "block"}
BY_USE, UNIFORMLY = "K = L, by use", "K = L, uniformly"
Sizes = tuple[int, int, int]


def of_levels(title: str, axis: str, points: Mapping[int, Sizes], runs: int) -> tuple[Panel, dict[str, Any]]:
    """Times of the three levels, and what theory says of them, for some (L, K, T)."""
    series: dict[str, list[list[float]]] = {}
    theory: dict[str, Any] = {"orders": {}, "near": {}}
    for name, level in LEVELS.items():
        times = [
            convergence_time(*sizes, level, runs=runs, seed=seed)  # type: ignore[arg-type]
            for seed, sizes in enumerate(points.values())
        ]
        series[name] = [some.tolist() for some in times]
        theory["orders"][name] = [orders(*sizes)[level] for sizes in points.values()]
        theory["near"][name] = [leading_terms(*sizes)[level] for sizes in points.values()]
    return Panel(title, axis, list(points), series), theory


def by_locations(largest: int, runs: int) -> tuple[Panel, dict[str, Any]]:
    """All that is compared, by the number of locations."""
    sizes = [4**k for k in range(2, 9) if 4**k <= largest]
    panel, theory = of_levels(f"K = {K}, T = {T}", "locations L", {n: (n, K, T) for n in sizes}, runs)
    drawn = {
        BY_USE: [usage_time(n, runs=runs, seed=k) for k, n in enumerate(sizes)],
        UNIFORMLY: [convergence_time(n, n, level="block", runs=runs, seed=k) for k, n in enumerate(sizes)],
    }
    series = {**panel.series, **{name: [some.tolist() for some in times] for name, times in drawn.items()}}
    theory["orders"] |= {BY_USE: [log(n) for n in sizes], UNIFORMLY: [orders(n, n)["block"] for n in sizes]}
    theory["near"] |= {
        BY_USE: [usage_recurrence(n) for n in sizes],
        UNIFORMLY: [leading_terms(n, n)["block"] for n in sizes],
    }
    return Panel(panel.title, panel.axis, sizes, series), theory


@styled
def figure(summary: Mapping[str, Any]) -> Figure:
    """Simulated times, the orders and what times come near to, on logarithmic scales."""
    styles = method_styles(list(summary["panels"][0]["series"]), None)
    height, top, widths = 3.3, 1.0, (3.4, 2.25, 2.25)
    sheet = Sheet(WIDTH, top + height + 0.55)
    runs = summary["seeds"]
    sheet.text(
        0.1, 0.06, f"Iterations until all locations are right; bars: 95 % interval of the mean of {runs} runs"
    )
    marks = [Line2D([], [], **{**style, "linestyle": "none"}, label=name) for name, style in styles.items()]
    sheet.legend(marks, top=0.3)
    lines = [
        Line2D([], [], color=MUTED, label=" predicted, nothing fitted"),
        Line2D([], [], color=MUTED, linestyle=":", label=" order of Table 8.1, times a fitted constant"),
    ]
    sheet.legend(lines, top=0.52)
    means = [np.mean(some, 1) for panel in summary["panels"] for some in panel["series"].values()]
    limits = (0.6 * np.concatenate(means).min(), 1.7 * np.concatenate(means).max())
    for number, (panel, theory) in enumerate(zip(summary["panels"], summary["theory"], strict=True)):
        left = 0.6 + sum(widths[:number]) + 0.15 * number
        axes = sheet.axes(left, top, widths[number], height, title=panel["title"], xlabel=panel["axis"])
        for method, values in panel["series"].items():
            _times(axes, panel["points"], values, styles[method])
            _theory(axes, panel["points"], values, theory, method, styles[method]["color"])
        axes.set(xscale="log", yscale="log", ylim=limits)
        axes.set_xticks(panel["points"], [f"{point}" for point in panel["points"]])
        axes.yaxis.set_major_formatter(EngFormatter(sep="") if number == 0 else NullFormatter())
        axes.tick_params(which="minor", bottom=False, left=False)
    return sheet.figure


def _times(
    axes: Axes, points: Sequence[float], values: Sequence[Sequence[float]], style: dict[str, Any]
) -> None:
    centers, halves = zip(*(st.mean_interval(st.as_array(some)) for some in values), strict=True)
    color, marker = style["color"], style["marker"]
    axes.errorbar(points, centers, halves, color=color, marker=marker, markersize=4, linestyle="none")


def _theory(
    axes: Axes,
    points: Sequence[float],
    values: Sequence[Sequence[float]],
    theory: Mapping[str, Any],
    method: str,
    color: str,
) -> None:
    order = np.array(theory["orders"][method])
    constant = np.exp(np.mean(np.log(np.mean(values, 1) / order)))
    axes.plot(points, theory["near"][method], color=color, linewidth=1)
    axes.plot(points, constant * order, color=color, linewidth=1, linestyle=":")


def main() -> None:
    options = arguments("muir_onemax", __doc__ or "")
    runs, largest = options.seeds or RUNS[options.scale], LARGEST[options.scale]
    powers = [4**k for k in range(6)]
    found = [
        by_locations(largest, runs),
        of_levels(f"L = {L}, K = {K}", "tasks T", {tasks: (L, K, tasks) for tasks in powers}, runs),
        of_levels(f"L = {L}, T = {T}", "modules K", {2**k: (L, 2**k, T) for k in range(2, 8)}, runs),
    ]
    panels, theory = zip(*found, strict=True)
    summary = sweep_summary(
        "time to the right modules", "iterations", "lower", panels, device="cpu", seeds=runs, theory=theory
    )
    into = options.results / "muir_onemax" / options.scale
    write_json(into / "summary.json", summary)
    write_file(into / "onemax.png", png(figure(summary), dpi=110))
    print(f"results in {into}")


if __name__ == "__main__":
    main()
