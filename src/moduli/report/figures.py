"""Figures of a comparison: values per task, gains over the baseline, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from moduli.evaluation.summary import Summary
from moduli.report.records import Records, curves_over_seeds
from moduli.report.style import GRID, INK, MUTED, Sheet, method_styles, shorten, styled
from moduli.report.tables import ARROWS

WIDTH = 9.0
MOST_POINTS = 250
LOSS = "loss"


def share_an_axis(task: dict[str, Any]) -> bool:
    """Whether the task's metric has no unit, so that its values can stand beside those of other tasks."""
    return task.get("kind") != "regression" or task.get("metric") == "r2"


# ------------------------------------------------------------------ values and gains


@styled
def comparison_figure(summary: Summary) -> Figure:
    """Every method's test metric per task: mean, 95 % interval, and the single seeds as faint dots.

    Tasks with one unit-free metric share an axis; a task in units of its own has its own.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for task in summary["tasks"]:
        key = task.get("metric", "") if share_an_axis(task) else f"{task['name']}\n{task.get('metric')}"
        groups.setdefault(key, []).append(task)
    groups = dict(sorted(groups.items(), key=lambda item: "\n" in item[0]))
    methods = summary["methods"]
    left, row = _label_width(task["name"] for task in summary["tasks"]), _row_height(len(methods))
    height = 0.75 + sum(len(group) * row + 0.72 for group in groups.values())
    sheet = Sheet(WIDTH, height)
    seeds = len(summary["seeds"])
    sheet.text(0.1, 0.06, _note("Mean and 95 % interval over", seeds, "; faint: single seeds"))
    _method_legend(sheet, summary, list(methods))
    top = 0.9
    for group in groups.values():
        axes = sheet.axes(left, top, WIDTH - left - 0.2, len(group) * row)
        _dot_rows(axes, [task["name"] for task in group])
        axes.set_title(f"{group[0].get('metric', '')} {ARROWS.get(group[0].get('direction', ''), '')}")
        drawn = []
        for name, style, offset in _offsets(summary, list(methods)):
            for y, task in enumerate(group):
                result = methods[name]["tasks"].get(task["name"], {})
                values = [value for value in result.get("values", []) if value is not None]
                axes.plot(values, [y + offset] * len(values), ls="", marker="o", ms=2.2, alpha=0.4, **_color(style))
                drawn.append((result.get("mean"), *_around(result.get("mean"), result.get("ci95"))))
                _dot(axes, y + offset, *drawn[-1], style)
        _limit(axes, drawn)
        top += len(group) * row + 0.72
    return sheet.figure


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
    left, row = _label_width(names), _row_height(len(against))
    sheet = Sheet(WIDTH, 1.35 + (len(names) + 1) * row)
    note = f"Gain over {shorten(str(baseline))} in percent, right of the line is better; 95 % intervals, "
    sheet.text(0.1, 0.06, note + "per task over seeds, for all tasks over tasks and seeds")
    _method_legend(sheet, summary, list(against))
    axes = sheet.axes(left, 0.75, WIDTH - left - 0.2, (len(names) + 1) * row)
    _dot_rows(axes, ["all tasks (Δm)", *names])
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.axvline(0, color=INK, lw=1.0, zorder=1.5)
    drawn = []
    for method, style, offset in _offsets(summary, list(against)):
        comparison = against[method]
        rows = [(comparison["difference"], comparison["ci95"])]
        rows += [(task["percent"], task["percent_ci95"]) for task in (comparison["tasks"][name] for name in names)]
        for y, (center, interval) in enumerate(rows):
            drawn.append((center, *(interval or (None, None))))
            _dot(axes, y + offset, *drawn[-1], style, size=7.0 if y == 0 else 5.0)
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


def _dot(
    axes: Axes, y: float, center: float | None, low: float | None, high: float | None, style: dict, size: float = 5.0
) -> None:
    if center is None:
        return
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], lw=1.5, solid_capstyle="butt", **_color(style))
    axes.plot([center], [y], ls="", marker=style["marker"], ms=size, **_color(style))


def _limit(axes: Axes, drawn: list[tuple[float | None, float | None, float | None]]) -> None:
    """Limits the axis so that one very wide interval does not squeeze all others into a point."""
    known = [center for center, _, _ in drawn if center is not None]
    ends = [end for _, *interval in drawn for end in interval if end is not None]
    axes.xaxis.set_major_locator(MaxNLocator(7))
    if not known:
        axes.set_xticks([])
        return
    low, high = min(known), max(known)
    slack = 1.5 * (high - low) or np.inf
    low, high = max(min([low, *ends]), low - slack), min(max([high, *ends]), high + slack)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_xlim(low - margin, high + margin)


def _around(center: float | None, half: float | None) -> tuple[float | None, float | None]:
    return (None, None) if center is None or half is None else (center - half, center + half)


def _offsets(summary: Summary, methods: list[str]) -> list[tuple[str, dict, float]]:
    styles = method_styles(list(summary["methods"]), summary.get("baseline"))
    places = np.linspace(-0.3, 0.3, len(methods)) if len(methods) > 1 else np.zeros(1)
    return [(method, styles[method], float(place)) for method, place in zip(methods, places, strict=True)]


def _color(style: dict[str, Any]) -> dict[str, Any]:
    return {"color": style["color"], "markeredgewidth": 0}


def _label_width(names: Any) -> float:
    return 0.35 + 0.078 * max(len("all tasks (Δm)"), *(len(shorten(name)) for name in names))


def _row_height(methods: int) -> float:
    return max(0.3, 0.11 * methods + 0.06)


def _note(text: str, seeds: int, rest: str) -> str:
    return f"{text} {seeds} seeds{rest}" if seeds > 1 else "One seed: nothing is known of the spread over seeds"


def _method_legend(sheet: Sheet, summary: Summary, methods: Sequence[str], lines: bool = False) -> None:
    styles = method_styles(list(summary["methods"]), summary.get("baseline"))
    handles = []
    for method in methods:
        style = {"ls": styles[method]["linestyle"], "marker": ""} if lines else {"marker": styles[method]["marker"]}
        label = shorten(method, 20) + (" (baseline)" if method == summary.get("baseline") else "")
        handles.append(Line2D([], [], label=label, markersize=5, **style, **_color(styles[method])))
    sheet.legend(handles, 0.1, 0.34, min(len(handles), 6))


# ------------------------------------------------------------------ learning curves


@styled
def learning_curves(summary: Summary, records: Records) -> Figure | None:
    """Validation loss, and every unit-free metric, by step: mean over tasks; band from lowest to highest seed.

    None if nothing was logged.
    """
    tasks = summary["tasks"]
    panels = [("loss ↓", LOSS, [task["name"] for task in tasks])]
    for task in filter(share_an_axis, tasks):
        title = f"{task['metric']} {ARROWS[task['direction']]}"
        group = next((names for _, quantity, names in panels if quantity == task["metric"]), None)
        if group is None:
            panels.append((title, task["metric"], [task["name"]]))
        else:
            group.append(task["name"])
    panels = [panel for panel in panels if _logged(summary, records, panel[1])]
    if not panels:
        return None
    titles = [f"{title}  (mean of {len(names)} task{'s' * (len(names) > 1)})" for title, _, names in panels]
    parts = [(title, quantity, names) for title, (_, quantity, names) in zip(titles, panels, strict=True)]
    return _curve_grid(summary, records, parts, columns=min(2, len(parts)), cell_height=2.6)


@styled
def task_curves(summary: Summary, records: Records, quantity: str = LOSS, most: int = 60) -> Figure | None:
    """Small multiples: validation loss (or the primary metric, `quantity="metric"`) of every task by step."""
    parts = []
    for task in summary["tasks"][:most]:
        own = LOSS if quantity == LOSS else task["metric"]
        suffix = "" if quantity == LOSS else f": {task['metric']} {ARROWS[task['direction']]}"
        parts.append((shorten(task["name"], 26 - len(suffix)) + suffix, own, [task["name"]]))
    if not any(_logged(summary, records, own) for _, own, _ in parts):
        return None
    return _curve_grid(summary, records, parts, columns=min(4, len(parts)), cell_height=1.55)


def _logged(summary: Summary, records: Records, quantity: str) -> bool:
    frame = records.curves
    if quantity not in frame:
        return False
    shown = frame["method"].isin(list(summary["methods"])) & (frame["split"] == "val")
    return bool(frame.loc[shown, quantity].notna().any())


def _curve_grid(
    summary: Summary, records: Records, parts: list[tuple[str, str, list[str]]], columns: int, cell_height: float
) -> Figure:
    rows = -(-len(parts) // columns)
    sheet = Sheet(WIDTH, 0.75 + rows * cell_height + 0.3)
    sheet.text(0.1, 0.06, "Validation split, by step of training. Line: mean over seeds; band: lowest to highest seed")
    _method_legend(sheet, summary, list(summary["methods"]), lines=True)
    cell = WIDTH / columns
    for index, (title, quantity, names) in enumerate(parts):
        line, column = divmod(index, columns)
        axes = sheet.axes(
            column * cell + 0.55, 0.9 + line * cell_height, cell - 0.7, cell_height - (0.42 if rows > 1 else 0.35)
        )
        axes.set_title(title, fontsize=8.5)
        _curves(axes, summary, records, quantity, names)
        if index + columns >= len(parts):
            axes.set_xlabel("step", fontsize=8, color=MUTED, labelpad=1)
        else:
            axes.tick_params(labelbottom=False)
    return sheet.figure


def _curves(axes: Axes, summary: Summary, records: Records, quantity: str, names: list[str]) -> None:
    shown = []
    for method, style in method_styles(list(summary["methods"]), summary.get("baseline")).items():
        curve = _thinned(curves_over_seeds(records, method, quantity, names))
        if curve.empty:
            continue
        shown.append(curve)
        x = curve.index.to_numpy()
        axes.fill_between(x, curve["low"], curve["high"], color=style["color"], alpha=0.16, lw=0)
        mark = "o" if len(curve) == 1 else ""
        axes.plot(x, curve["mean"], color=style["color"], ls=style["linestyle"], marker=mark, ms=4, lw=1.4)
    if not shown:
        axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", color=MUTED)
        axes.set_yticks([])
        return
    _scale(axes, np.concatenate([curve["mean"].to_numpy() for curve in shown]))


def _scale(axes: Axes, values: np.ndarray) -> None:
    """Few, short ticks; a logarithmic axis where the start towers above the rest."""
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if abs(x) >= 1000 else f"{x:g}"))
    if values.min() > 0 and values.max() > 30 * np.median(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most `MOST_POINTS` points, the last among them."""
    if len(curve) <= MOST_POINTS:
        return curve
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, MOST_POINTS).astype(int))]
