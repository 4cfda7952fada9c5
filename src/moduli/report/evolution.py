"""Figures of evolution over time: fitness, growth of the routes, and which modules they use."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from moduli.evaluation.summary import Summary
from moduli.evaluation.tables import ARROWS
from moduli.evolution.features import uses
from moduli.report.curves import LOSS, Panel, curve_over_seeds
from moduli.report.evolved_routes import evolved_routes
from moduli.report.figures import share_an_axis
from moduli.report.over_time import apart, thinned
from moduli.report.records import Records
from moduli.report.scales import MOST_NAMED
from moduli.report.style import (
    INK,
    MUTED,
    PALETTE,
    PAPER,
    SHADE,
    TICKS,
    WIDTH,
    MethodKey,
    Sheet,
    shorten,
    styled,
)

Array = NDArray[np.float64]
WINDOW = 10
"""Meta-iterations in a moving average."""


def evolved_methods(summary: Summary, records: Records) -> list[str]:
    """Methods of a comparison that evolved the routes of their tasks."""
    evolved = {record["method"] for record in records.evolution}
    return [method for method in summary["methods"] if method in evolved]


# ------------------------------------------------------------------ fitness and growth


@styled
def evolution_figure(summary: Summary, records: Records) -> Figure | None:
    """Fitness of the champions by meta-iteration beside all other methods, and how their routes grow.

    Left: the validation metric, mean over tasks, with a band over seeds, after Figure 7.3 of Meyerson
    (2018). Right: modules in a route, mean and range over tasks; and how many tasks took a new route. None
    if no method evolved routes.
    """
    evolved = evolved_methods(summary, records)
    if not evolved:
        return None
    key = MethodKey(list(summary["methods"]), summary.get("baseline"))
    sheet = Sheet(WIDTH, key.height + 3.2)
    phase = min(record["step"] for record in records.evolution) or 1
    runs = " Band: lowest to highest seed." * (len(summary["seeds"]) > 1)
    key.draw(sheet, f"By meta-iteration, of {phase} steps each, means over seeds.{runs}", lines=True)
    panel = _fitness(summary)
    fitness = sheet.axes(0.55, key.height, 4.25, 2.75)
    grown = sheet.axes(5.45, key.height, WIDTH - 5.6, 1.15)
    taken = sheet.axes(5.45, key.height + 1.6, WIDTH - 5.6, 1.15)
    fitness.set_title(panel.title, pad=4)
    _titled(grown, "modules in a route", "band: range of tasks")
    frame = _frame(records)
    smoothed = len(set(frame["step"])) >= 2 * WINDOW
    over = f", mean of last {WINDOW}" * smoothed
    _titled(taken, "accepted mutations", f"by {len(summary['tasks'])} tasks{over}")
    for method, style in key.styles.items():
        line = {"color": style["color"], "linestyle": style["linestyle"], "lw": 1.4}
        _band(fitness, curve_over_seeds(records, method, panel), phase, line)
        if method in evolved:
            own = pd.DataFrame(frame[frame["method"] == method])
            _band(grown, _sizes(own), phase, line)
            accepted = _accepted(own, WINDOW if smoothed else 1)
            _line(taken, accepted.index.to_numpy() / phase, accepted.to_numpy(), line)
    for axes in (fitness, grown, taken):
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=TICKS))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=TICKS, min_n_ticks=3, integer=axes is grown))
    taken.set_ylim(bottom=0)
    for axes in (fitness, taken):
        axes.set_xlabel("meta-iteration", fontsize=8, color=MUTED, labelpad=1)
    return sheet.figure


def _fitness(summary: Summary) -> Panel:
    """The metric that most tasks have in common; the loss if all have units of their own."""
    alone = len(summary["tasks"]) == 1
    kinds = Counter(
        (task["metric"], task["direction"]) for task in summary["tasks"] if alone or share_an_axis(task)
    )
    if not kinds:
        return Panel("validation loss ↓ (mean)", LOSS, [task["name"] for task in summary["tasks"]])
    ((metric, direction), count), *_ = kinds.most_common()
    names = [task["name"] for task in summary["tasks"] if task["metric"] == metric]
    return Panel(f"validation {metric} {ARROWS[direction]} (mean of {count} tasks)", metric, names)


def _frame(records: Records) -> pd.DataFrame:
    """A row for each task and meta-iteration: the size of the chosen route, whether it was changed."""
    rows = []
    for record in records.evolution:
        nodes, chosen = record.get("nodes") or [], record.get("chosen", 0)
        size = nodes[chosen] if isinstance(chosen, int) and chosen < len(nodes) else np.nan
        where = {name: record[name] for name in ("method", "seed", "step", "task")}
        rows.append({**where, "nodes": size, "accepted": record.get("accepted") is not None})
    return pd.DataFrame(rows)


def _sizes(own: pd.DataFrame) -> pd.DataFrame:
    """Modules in the routes of a method by step: mean, low and high. A run that ended keeps its last."""
    wide = own.pivot(index="step", columns=["seed", "task"], values="nodes").ffill()
    return pd.DataFrame({"mean": wide.mean(axis=1), "low": wide.min(axis=1), "high": wide.max(axis=1)})


def _accepted(own: pd.DataFrame, window: int) -> pd.Series:
    """Tasks of a method that took a new route, by step: mean over the seeds that still ran."""
    wide = own.pivot(index="step", columns=["seed", "task"], values="accepted").astype(np.float64)
    seeds = [wide[seed].sum(axis=1, min_count=1) for seed in wide.columns.unique("seed")]
    return pd.Series(pd.concat(seeds, axis=1).mean(axis=1).dropna().rolling(window, min_periods=1).mean())


def _band(axes: Axes, curve: pd.DataFrame, phase: int, line: dict[str, Any]) -> None:
    if curve.empty:
        return
    steps, values = thinned(curve.index.to_numpy(np.float64), curve[["mean", "low", "high"]].to_numpy())
    axes.fill_between(steps / phase, values[:, 1], values[:, 2], color=line["color"], alpha=0.16, lw=0)
    _line(axes, steps / phase, values[:, 0], line)


def _titled(axes: Axes, title: str, note: str) -> None:
    axes.set_title(title, pad=4)
    axes.set_title(note, loc="right", fontsize=7.5, fontweight="normal", color=MUTED, pad=4)


def _line(axes: Axes, x: Any, y: Any, line: dict[str, Any]) -> None:
    axes.plot(x, y, marker="o" if len(x) == 1 else "", ms=4, **line)


# ------------------------------------------------------------------ modules


@styled
def module_use_figure(summary: Summary, records: Records, method: str) -> Figure | None:
    """How often all tasks together use each module by meta-iteration, and each task in its final route.

    Of the first run of a method that has routes: module k of one run has nothing to do with module k of
    another. None if there are no routes.
    """
    final = evolved_routes(summary, method)
    if final is None:
        return None
    logged = [r for r in records.modules if r["method"] == method and r["seed"] == final.seed]
    over_time = len(logged) > 1 and len({len(r["uses"]) for r in logged}) == 1
    U_KT = np.stack([uses(r, final.modules, final.levels).sum(1) for r in final.routes.values()], axis=1)
    K, T = U_KT.shape
    named, top = T <= MOST_NAMED, 0.6 + 2.5 * over_time
    names = [shorten(name, 22) for name in final.routes]
    foot = 0.3 + 0.068 * max(map(len, names)) * named
    width, height = float(np.clip(0.42 * T, 1.0, WIDTH - 1.2)), 0.24 * K
    sheet = Sheet(WIDTH, top + height + foot)
    sheet.text(0.1, 0.06, f"{shorten(method)}, seed {final.seed}: how often routes use each module")
    if over_time:
        phase = min(record["step"] for record in logged)
        _stacked(sheet, np.array([r["step"] / phase for r in logged]), np.array([r["uses"] for r in logged]))
    sheet.text(0.1, top - 0.26, "uses in the final route of each task", color=INK, fontweight="bold")
    _table(sheet.axes(0.85, top, width, height), U_KT, names if named else [])
    return sheet.figure


def _stacked(sheet: Sheet, x: Array, uses_NK: Array) -> None:
    """One above another, so that the height of all is the uses of all modules."""
    K = uses_NK.shape[1]
    axes = sheet.axes(0.85, 0.5, WIDTH - 1.9, 1.75)
    axes.set_title("uses by all tasks", pad=4)
    x, uses_NK = thinned(x, uses_NK.astype(np.float64))
    colors = [PALETTE[k % len(PALETTE)] for k in range(K)]
    axes.stackplot(x, uses_NK.T, colors=colors, alpha=0.8, edgecolor=PAPER, lw=0.6)
    axes.set_xlim(x[0], x[-1])
    axes.margins(y=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=TICKS))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=TICKS))
    axes.set_xlabel("meta-iteration", fontsize=8, color=MUTED, labelpad=1)
    ends = uses_NK[-1].cumsum() - uses_NK[-1] / 2
    for k, y in enumerate(apart(ends / axes.get_ylim()[1], 0.135 / 1.75)):
        color = PALETTE[k % len(PALETTE)]
        axes.text(
            1.01, y, f"module {k + 1}", transform=axes.transAxes, va="center", fontsize=7.5, color=color
        )


def _table(axes: Axes, U_KT: NDArray[np.int64], names: list[str]) -> None:
    """A row for each module, a column for each task, shaded by uses; these are written in named columns."""
    K, T = U_KT.shape
    image = np.empty((K, T, 4))
    image[..., :3] = tuple(int(SHADE[i : i + 2], 16) / 255 for i in (1, 3, 5))
    image[..., 3] = U_KT / max(U_KT.max(), 1)
    axes.imshow(image, aspect="auto", interpolation="none", extent=(0, T, K, 0), zorder=1)
    for k, t in np.argwhere(U_KT > 0) if names else ():
        color = "white" if image[k, t, 3] > 0.5 else INK
        axes.text(
            t + 0.5, k + 0.53, str(U_KT[k, t]), ha="center", va="center_baseline", fontsize=7, color=color
        )
    axes.hlines(range(K + 1), 0, T, color=MUTED, lw=0.3, alpha=0.5)
    axes.vlines(range(T + 1), 0, K, color=MUTED, lw=0.3, alpha=0.5)
    axes.set_yticks(np.arange(K) + 0.5, [f"module {k + 1}" for k in range(K)], fontsize=7.5)
    axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90, fontsize=7.5)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
