"""Figures of pseudo-tasks: how the decoders of a task move, and how their dropout rates change.

Both are of one run of each method, the first seed that logged what is shown.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from moduli.evaluation.summary import Summary
from moduli.report.records import Records
from moduli.report.style import INK, MARKERS, MUTED, PALETTE, SHADE, WIDTH, Sheet, shorten, step_axis, styled

Array = NDArray[np.float64]
MOST_POINTS = 160
FEWEST_POINTS = 8
COLORS = PALETTE[1:]
"""Of single tasks; the first colour is that of their mean."""
WINDOW = 10
"""Phases in a moving average."""


@styled
def trajectories_figure(summary: Summary, records: Records) -> Figure | None:
    """The decoders of one task over training, a panel for each method: t-SNE of their weights.

    After Figure 4 of Meyerson & Miikkulainen 2018, "Pseudo-task augmentation". Each panel is a projection by
    itself, from cosine distances. Phases are thinned out to at most 160 points. None if no method logged the
    weights of several decoders.
    """
    found = {method: _first_run(records, method, "weights") for method in summary["methods"]}
    runs = {method: (run, _trajectories(run)) for method, run in found.items() if run}
    runs = {method: (run, points) for method, (run, points) in runs.items() if points is not None}
    if not runs:
        return None
    top, cell, columns = 0.75, 2.75, max(2, min(3, len(runs)))
    sheet = Sheet(WIDTH, top + cell * -(-len(runs) // columns))
    sheet.text(
        0.1,
        0.06,
        "Weights of the decoders of one task after each phase. Colour and marker: which decoder; opacity "
        "rises with time.\nRing: the best decoder at the end. Each panel is a projection of its own.",
    )
    for index, (method, (run, points)) in enumerate(runs.items()):
        row, column = divmod(index, columns)
        width = WIDTH / columns
        axes = sheet.axes(column * width + 0.1, top + row * cell, width - 0.2, cell - 0.35)
        axes.set_title(f"{shorten(method)}", pad=4)
        where = f"{shorten(run[-1]['task'], 18)}, seed {run[-1]['seed']}"
        axes.set_title(where, loc="right", fontsize=7.5, fontweight="normal", color=MUTED, pad=4)
        _draw_trajectories(axes, points, run[-1].get("chosen"))
    return sheet.figure


def _first_run(records: Records, method: str, what: str) -> list[dict[str, Any]]:
    """The records of the first task and seed of a method that logged `what`, by step."""
    having = [record for record in records.decoders if record["method"] == method and what in record]
    return [r for r in having if (r["seed"], r["task"]) == (having[0]["seed"], having[0]["task"])]


def _trajectories(run: list[dict[str, Any]]) -> Array | None:
    """Points in the plane `[phases, D, 2]`; None if they are too few, or not all alike."""
    try:
        weights = np.array([record["weights"] for record in run], dtype=np.float64)
    except (ValueError, TypeError):
        return None
    if weights.ndim != 3 or weights.shape[1] < 2 or not np.isfinite(weights).all():
        return None
    phases, decoders, _ = weights.shape
    shown = max(2, MOST_POINTS // decoders)
    if phases > shown:
        weights = weights[np.unique(np.linspace(0, phases - 1, shown).astype(int))]
    # A frozen decoder stays where it is: one point, not a crowd of equal ones that t-SNE would spread out.
    distinct, place = np.unique(weights.reshape(-1, weights.shape[2]), axis=0, return_inverse=True)
    if len(distinct) < FEWEST_POINTS:
        return None
    return tsne(distinct)[place.reshape(weights.shape[:2])]


def tsne(vectors: Array, metric: str = "cosine") -> Array:
    """Vectors `[N, F]` in the plane, `[N, 2]`; equal vectors give equal places."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    projection = TSNE(metric=metric, perplexity=perplexity, init="pca", random_state=0)
    with threadpool_limits(1):  # on so few points, threads of a busy machine only wait for each other
        return projection.fit_transform(vectors)


def _draw_trajectories(axes: Axes, points: Array, chosen: int | None) -> None:
    phases, decoders, _ = points.shape
    opacity = np.linspace(0.12, 1.0, phases)
    for d in range(decoders):
        turn, index = divmod(d, len(PALETTE))
        color, marker = PALETTE[index], MARKERS[(index + turn) % len(MARKERS)]
        shades = [to_rgba(color, alpha) for alpha in opacity]
        axes.scatter(points[:, d, 0], points[:, d, 1], s=16, marker=marker, c=shades, lw=0, zorder=2)
    if isinstance(chosen, int) and 0 <= chosen < decoders:
        axes.plot(*points[-1, chosen], ls="", marker="o", ms=9, mfc="none", mec=INK, mew=1.2, zorder=3)
    axes.margins(0.06)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)


# ------------------------------------------------------------------ dropout rates


@styled
def dropout_schedules(summary: Summary, records: Records) -> Figure | None:
    """Dropout rates by step where each decoder has its own that changes; a panel for each method.

    A thin line for each task, the mean over its decoders, and a thick one for the mean over all tasks. After
    Figure 5 of Meyerson & Miikkulainen 2018, "Pseudo-task augmentation". None if no rate ever changed.
    """
    tasks = len(summary["tasks"])
    found = {method: _schedules(records, method) for method in summary["methods"]}
    shown = {method: rates for method, rates in found.items() if rates is not None}
    if not shown:
        return None
    names = [task["name"] for task in summary["tasks"]] if 1 < tasks <= len(COLORS) else []
    columns = max(2, min(3, len(shown)))
    top, cell, width = 0.75, 2.2, WIDTH / columns
    sheet = Sheet(WIDTH, top + cell * -(-len(shown) // columns))
    smoothed = f"; moving averages over {WINDOW} phases" * any(map(_long, shown.values()))
    sheet.text(0.1, 0.06, f"Dropout rate before the decoders, mean over the decoders of a task{smoothed}")
    for index, (method, rates) in enumerate(shown.items()):
        row, column = divmod(index, columns)
        axes = sheet.axes(column * width + 0.5, top + 0.2 + row * cell, width - 0.65, cell - 0.75)
        axes.set_title(shorten(method), pad=4)
        if _long(rates):
            rates = pd.DataFrame(rates.rolling(WINDOW).mean()).dropna()
        for task, color in zip(rates, cycle(COLORS), strict=False):
            axes.plot(rates.index, rates[task], color=color, lw=0.9, alpha=0.8 if names else 0.4)
        axes.plot(rates.index, rates.mean(axis=1), color=SHADE, lw=2.4)
        step_axis(axes)
        axes.set_xlabel("step", fontsize=8, color=MUTED, labelpad=1)
    _key(sheet, names)
    return sheet.figure


def _schedules(records: Records, method: str) -> pd.DataFrame | None:
    """Mean rate over the decoders of each task, tasks by step, in the first run; None if none changes."""
    logged = [r for r in records.decoders if r["method"] == method and r.get("rates")]
    run = [r for r in logged if r["seed"] == logged[0]["seed"]]
    if len({rate for record in run for rate in record["rates"]}) < 2:
        return None
    rates = pd.DataFrame({"step": r["step"], "task": r["task"], "rate": np.mean(r["rates"])} for r in run)
    wide = rates.pivot(index="step", columns="task", values="rate")
    return wide.reindex(columns=list(dict.fromkeys(rates["task"]))) if len(wide) > 1 else None


def _long(rates: pd.DataFrame) -> bool:
    """Whether there are enough phases for a moving average."""
    return len(rates) >= 2 * WINDOW


def _key(sheet: Sheet, names: list[str]) -> None:
    """Which line is which task, where they are few."""
    lines = [Line2D([], [], color=SHADE, lw=2.4, label="mean over all tasks")]
    lines += [
        Line2D([], [], color=c, lw=0.9, label=shorten(n, 18)) for n, c in zip(names, COLORS, strict=False)
    ]
    sheet.figure.legend(
        handles=lines,
        loc="upper left",
        bbox_to_anchor=(0.1 / sheet.width, 1 - 0.34 / sheet.height),
        ncols=len(lines),
        borderaxespad=0,
        borderpad=0,
        handlelength=1.4,
        handletextpad=0.5,
        columnspacing=1.2,
    )
