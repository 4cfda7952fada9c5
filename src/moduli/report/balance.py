"""Figures of balancing: the weights of tasks over time, and whether the gradients of tasks are at odds."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from moduli.evaluation.summary import Summary
from moduli.report.over_time import course_of, lines_height, spans_decades, task_lines, thinned
from moduli.report.records import Records
from moduli.report.scales import MOST_NAMED, cluster_order, heat_map
from moduli.report.style import MUTED, SHADE, WIDTH, Sheet, shorten, step_axis, styled

Array = NDArray[np.float64]


@styled
def weights_figure(summary: Summary, records: Records, method: str) -> Figure | None:
    """Weights of all tasks by step, a line each: means over a phase, in the first run of a method.

    The axis is logarithmic if the weights span decades. None if there are none, or they are all equal all
    the time.
    """
    names = [task["name"] for task in summary["tasks"]]
    course = course_of(records.balance, names, method, "weights")
    if course is None or not np.nanmax(course.values) > np.nanmin(course.values):
        return None
    sheet = Sheet(WIDTH, 0.95 + lines_height(len(course.tasks)))
    logarithmic = spans_decades(course.values)
    scale = ", logarithmic axis" * logarithmic
    sheet.text(0.1, 0.06, f"{course.title}: weight of each task, mean over a phase{scale}")
    task_lines(sheet, 0.4, course, logarithmic)
    return sheet.figure


@styled
def conflict_figure(summary: Summary, records: Records, method: str) -> Figure | None:
    """Heat map of the cosine between the gradients of two tasks, and the share of pairs that are at odds.

    Means over phases and seeds; similar tasks side by side. Below it, the share of pairs with a cosine under
    0 by step, mean over seeds. None for fewer than two tasks, or if no cosines were logged.
    """
    names = [task["name"] for task in summary["tasks"]]
    logged = [r for r in records.balance if r["method"] == method and isinstance(r.get("cosine"), dict)]
    names = [name for name in names if any(name in record["cosine"] for record in logged)]
    if len(names) < 2:
        return None
    cosines = np.array([_cosines(record["cosine"], names) for record in logged])  # [records, T, T]
    known = np.isfinite(cosines)
    if not known.any():
        return None
    with np.errstate(invalid="ignore"):
        mean = np.nansum(cosines, 0) / known.sum(0)
    pairs, seeds = known.sum() / 2, len({record["seed"] for record in logged})
    order = cluster_order((1 + np.nan_to_num(mean)) / 2)
    labels = [shorten(names[index]) for index in order]
    named = len(names) <= MOST_NAMED
    label = 0.3 + 0.075 * max(map(len, labels)) * named
    side = float(np.clip(0.42 * len(names), 1.6, WIDTH - label - 1.0))
    several = len({record["step"] for record in logged}) > 1
    sheet = Sheet(max(6.4, label + side + 1.0), 0.45 + side + label + 1.75 * several)
    over = f"mean over {seeds} seeds" if seeds > 1 else "one seed"
    share = f"{(cosines < 0).sum() / 2 / pairs:.0%}"
    rest = "" if named else f"; names left out beyond {MOST_NAMED} tasks"
    note = f"cosine of gradients, {over}. Pairs at odds, of all pairs and phases: {share}{rest}"
    sheet.text(0.1, 0.06, f"{shorten(method)}: {note}")
    axes = sheet.axes(label, 0.45, side, side)
    most = float(np.clip(np.nanmax(np.abs(mean)), 0.2, 1.0))
    heat_map(axes, mean[np.ix_(order, order)], labels if named else [], -most, most, "RdBu")
    bar = sheet.axes(label + side + 0.2, 0.45, 0.16, min(2.0, side))
    sheet.figure.colorbar(axes.collections[0], cax=bar)
    bar.grid(visible=False)
    if several:
        _conflict_over_time(sheet, 0.45 + side + label + 0.3, logged, cosines)
    return sheet.figure


def _cosines(told: dict[str, Any], names: list[str]) -> Array:
    """`[T, T]`, symmetric where one of the two is known, NaN on the diagonal and where neither is."""
    one = np.full((len(names), len(names)), np.nan)
    for row, first in enumerate(names):
        for column, second in enumerate(names):
            value = (told.get(first) or {}).get(second)
            if row != column and isinstance(value, int | float) and np.isfinite(value):
                one[row, column] = value
    return np.where(np.isnan(one), one.T, one)


def _conflict_over_time(sheet: Sheet, top: float, logged: list[dict[str, Any]], cosines: Array) -> None:
    steps = np.array([record["step"] for record in logged])
    known = np.isfinite(cosines).sum((1, 2))
    odds = (cosines < 0).sum((1, 2))
    at = np.array([step for step in np.unique(steps) if known[steps == step].sum()], dtype=np.float64)
    shares = np.array([odds[steps == step].sum() / known[steps == step].sum() for step in at])
    axes = sheet.axes(0.6, top, sheet.width - 0.9, 0.95)
    axes.set_title("share of pairs at odds", pad=4)
    axes.plot(*thinned(at, shares), color=SHADE, lw=1.5)
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0, at[-1])
    step_axis(axes)
    axes.set_xlabel("step", fontsize=8, color=MUTED, labelpad=1)
