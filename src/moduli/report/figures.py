"""Figures of a comparison: values per task, and gains over the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moduli.evaluation.summary import Summary
from moduli.evaluation.tables import ARROWS
from moduli.report.style import GRID, INK, TICKS, WIDTH, MethodKey, Sheet, shorten, styled

Estimate = tuple[float | None, Sequence[float] | None]
"""A number and its interval, as far as they are known."""


def share_an_axis(task: dict[str, Any]) -> bool:
    """Whether the task's metric has no unit, so that its values can stand beside those of other tasks."""
    return task.get("kind") != "regression" or task.get("metric") == "r2"


# ------------------------------------------------------------------ values and gains


@styled
def comparison_figure(summary: Summary) -> Figure:
    """Every method's test metric per task: mean, 95 % interval, and the single seeds as faint dots.

    Tasks with one unit-free metric share an axis; a task in units of its own has its own.
    """
    panels = _panels(summary["tasks"])
    key = MethodKey(list(summary["methods"]), summary.get("baseline"))
    left, row = _label_width(task["name"] for task in summary["tasks"]), _row_height(len(key.shown))
    sheet = Sheet(WIDTH, key.height + sum(len(tasks) * row + 0.72 for tasks in panels))
    seeds = len(summary["seeds"])
    note = f"Mean and 95 % interval over {seeds} seeds; faint: single seeds"
    key.draw(sheet, note if seeds > 1 else "One seed: nothing is known of the spread over seeds")
    top = key.height
    for tasks in panels:
        axes = sheet.axes(left, top, WIDTH - left - 0.2, len(tasks) * row)
        axes.set_title(f"{tasks[0].get('metric', '')} {ARROWS.get(tasks[0].get('direction', ''), '')}")
        _values(axes, summary, tasks, key)
        top += len(tasks) * row + 0.72
    return sheet.figure


def _panels(tasks: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Tasks that share an axis together, then each other task alone."""
    shared: dict[str, list[dict[str, Any]]] = {}
    for task in filter(share_an_axis, tasks):
        shared.setdefault(task.get("metric", ""), []).append(task)
    return [*shared.values(), *([task] for task in tasks if not share_an_axis(task))]


def _values(axes: Axes, summary: Summary, tasks: list[dict[str, Any]], key: MethodKey) -> None:
    _dot_rows(axes, [task["name"] for task in tasks])
    drawn: list[Estimate] = []
    for method, style, offset in _offsets(key):
        for y, task in enumerate(tasks):
            result = summary["methods"][method]["tasks"].get(task["name"], {})
            seeds = [value for value in result.get("values", []) if value is not None]
            places = [y + offset] * len(seeds)
            axes.plot(seeds, places, ls="", marker="o", ms=2.2, alpha=0.4, **_color(style))
            center, half = result.get("mean"), result.get("ci95")
            interval = None if center is None or half is None else (center - half, center + half)
            _dot(axes, y + offset, (center, interval), style)
            drawn += [(center, interval), *((value, None) for value in seeds)]
    _limit(axes, drawn)


@styled
def gains_figure(summary: Summary) -> Figure | None:
    """Relative gain over the baseline in percent, over all tasks and per task, with 95 % intervals.

    None if there is no comparison with the baseline.
    """
    baseline = summary.get("baseline")
    against = {c["method"]: c for c in summary.get("comparisons", []) if c["other"] == baseline}
    if not any(comparison["difference"] is not None for comparison in against.values()):
        return None
    names = [task["name"] for task in summary["tasks"]]
    key = MethodKey(list(summary["methods"]), baseline, list(against))
    left, row = _label_width(names), _row_height(len(against))
    sheet = Sheet(WIDTH, key.height + 0.45 + (len(names) + 1) * row)
    note = f"Gain over {shorten(str(baseline))} in percent, right of the line is better; 95 % intervals, "
    key.draw(sheet, note + "per task over seeds, for all tasks over tasks and seeds")
    axes = sheet.axes(left, key.height - 0.1, WIDTH - left - 0.2, (len(names) + 1) * row)
    _dot_rows(axes, ["all tasks (Δm)", *names])
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.axvline(0, color=INK, lw=1.0, zorder=1.5)
    drawn: list[Estimate] = []
    for method, style, offset in _offsets(key):
        comparison = against[method]
        per_task = [comparison["tasks"][name] for name in names]
        rows: list[Estimate] = [(comparison["difference"], comparison["ci95"])]
        rows += [(task["percent"], task["percent_ci95"]) for task in per_task]
        for y, estimate in enumerate(rows):
            _dot(axes, y + offset, estimate, style, size=7.0 if y == 0 else 5.0)
        drawn += rows
    _limit(axes, drawn)
    axes.set_xlabel(f"percent of the mean of {shorten(str(baseline))}")
    return sheet.figure


def _dot_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [shorten(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    for y in range(0, len(names), 2):
        axes.axhspan(y - 0.5, y + 0.5, color=GRID, alpha=0.28, lw=0, zorder=0)


def _dot(axes: Axes, y: float, estimate: Estimate, style: dict[str, Any], size: float = 5.0) -> None:
    center, interval = estimate
    if center is None:
        return
    if interval is not None:
        axes.plot(interval, [y, y], lw=1.5, solid_capstyle="butt", **_color(style))
    axes.plot([center], [y], ls="", marker=style["marker"], ms=size, **_color(style))


def _limit(axes: Axes, drawn: list[Estimate]) -> None:
    """Limits the axis so that one very wide interval does not squeeze all others into a point."""
    known = [center for center, _ in drawn if center is not None]
    ends = [end for _, interval in drawn for end in interval or ()]
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=TICKS))
    if not known:
        axes.set_xticks([])
        return
    low, high = min(known), max(known)
    slack = 1.5 * (high - low) or np.inf
    low, high = max(min([low, *ends]), low - slack), min(max([high, *ends]), high + slack)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_xlim(low - margin, high + margin)


def _offsets(key: MethodKey) -> list[tuple[str, dict[str, Any], float]]:
    """Methods with their style and their place within a row."""
    places = np.linspace(-0.3, 0.3, len(key.shown)) if len(key.shown) > 1 else np.zeros(1)
    return [(method, key.styles[method], float(at)) for method, at in zip(key.shown, places, strict=True)]


def _color(style: dict[str, Any]) -> dict[str, Any]:
    return {"color": style["color"], "markeredgewidth": 0}


def _label_width(names: Iterable[str]) -> float:
    return 0.35 + 0.078 * max(len("all tasks (Δm)"), *(len(shorten(name)) for name in names))


def _row_height(methods: int) -> float:
    return max(0.3, 0.11 * methods + 0.06)
