"""What the figures of balancing and schedules are made of: numbers of every task, by step of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from moduli.report.style import MUTED, PALETTE, SHADE, WIDTH, Sheet, shorten, step_axis

Array = NDArray[np.float64]
MOST_COLUMNS = 240
"""Pieces into which the time of a run is cut, at most; what lies in one piece is averaged."""
DECADES = 30.0
"""Positive numbers whose largest is more than this many times the smallest get a logarithmic axis."""
STYLES = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 2)))
LINE = 0.135
"""Height of a label beside a line, in inches."""


@dataclass(frozen=True)
class Course:
    """Numbers of one run of a method: ``values`` `[phases, T, ...]` at ``steps`` `[phases]`, NaN if unknown.

    ``tasks`` are those that have any number, in the order of the comparison.
    """

    method: str
    seed: int
    tasks: list[str]
    steps: Array
    values: Array

    @property
    def title(self) -> str:
        return f"{shorten(self.method)}, seed {self.seed}"


def course_of(
    records: Sequence[dict[str, Any]], tasks: Sequence[str], method: str, what: str
) -> Course | None:
    """The first run of a method that logged `what`, a dict by task; None if there is none or it is broken."""
    having = [r for r in records if r["method"] == method and isinstance(r.get(what), dict) and r[what]]
    run = {record["step"]: record[what] for record in having if record["seed"] == having[0]["seed"]}
    try:
        by_task = {task: _stacked([values.get(task) for values in run.values()]) for task in tasks}
        known = {task: values for task, values in by_task.items() if np.isfinite(values).any()}
        if not known:
            return None
        array = np.stack(list(known.values()), axis=1)
    except (ValueError, TypeError):
        return None
    return Course(method, having[0]["seed"], list(known), np.array(list(run), dtype=np.float64), array)


def _stacked(values: list[Any]) -> Array:
    """Values of one task as `[phases, ...]`; NaN where there is none, or it is not finite."""
    shape = next((np.shape(value) for value in values if value is not None), ())
    stacked = np.array([np.full(shape, np.nan) if value is None else value for value in values], np.float64)
    return np.where(np.isfinite(stacked), stacked, np.nan)


def evenly(steps: Array, values: Array) -> Array:
    """Means over equal pieces of the time from step 0 to the last, `[columns, ...]`, at most 240 of them.

    A value holds from the step of the value before it to its own. Where it is unknown, the piece is.
    """
    ends = np.concatenate([[0.0], steps])
    lengths = np.diff(ends)
    # A multiple of the number of phases, so that phases of one length keep their edges.
    columns = MOST_COLUMNS // len(steps) * len(steps) or MOST_COLUMNS
    edges = np.linspace(0, steps[-1], columns + 1)
    flat = values.reshape(len(steps), -1)
    known = np.isfinite(flat)
    totals = [np.where(known, flat, 0.0) * lengths[:, None], known * lengths[:, None]]
    sums = [np.concatenate([np.zeros((1, flat.shape[1])), total.cumsum(0)]) for total in totals]
    value, weight = (
        np.diff([np.interp(edges, ends, column) for column in total.T], axis=1).T for total in sums
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(weight > 1e-9 * steps[-1] / columns, value / weight, np.nan)
    return means.reshape(columns, *values.shape[1:])


# ------------------------------------------------------------------ lines


def lines_height(tasks: int) -> float:
    """Of axes with one line for each task, in inches: every line has room for its name."""
    return max(1.8 + 0.08 * tasks, LINE * tasks)


def task_lines(sheet: Sheet, top: float, course: Course, logarithmic: bool = False) -> Axes:
    """A line for each task over the full width, its name beside its end."""
    names = [shorten(task, 22) for task in course.tasks]
    room = 0.3 + 0.068 * max(map(len, names))
    height = lines_height(len(names))
    axes = sheet.axes(0.6, top, WIDTH - 0.7 - room, height)
    steps, values = thinned(course.steps, course.values)
    ends = []
    for row in range(len(names)):
        known = np.isfinite(values[:, row])
        marker = "o" if known.sum() == 1 else None
        axes.plot(steps[known], values[known, row], lw=1.3, marker=marker, ms=3, **task_style(row))
        ends.append((steps[known][-1], values[known, row][-1]))
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(0, course.steps[-1])
    axes.margins(y=0.04)
    step_axis(axes)
    axes.set_xlabel("step", fontsize=8, color=MUTED, labelpad=1)
    _name_lines(axes, names, ends, LINE / height)
    return axes


def task_style(row: int) -> dict[str, Any]:
    """Colour and line style of a task; lines of one colour differ in style."""
    turn, index = divmod(row, len(PALETTE))
    return {"color": PALETTE[index], "linestyle": STYLES[turn % len(STYLES)]}


def spans_decades(values: Array) -> bool:
    """Whether numbers are all positive, and differ so much that they need a logarithmic axis."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0 and known.max() > DECADES * known.min())


def thinned(steps: Array, values: Array) -> tuple[Array, Array]:
    """As they are, or means over 240 equal pieces of the time, if they are more."""
    if len(steps) <= MOST_COLUMNS:
        return steps, values
    means = evenly(steps, values)
    return (np.arange(len(means)) + 0.5) * steps[-1] / len(means), means


def _name_lines(axes: Axes, names: list[str], ends: list[tuple[float, float]], gap: float) -> None:
    """Names right of the axes, in the order of the ends of their lines, at least `gap` apart."""
    to_axes = axes.transData + axes.transAxes.inverted()
    at = np.array([to_axes.transform(end) for end in ends])  # as fractions of the axes
    order = np.argsort(at[:, 1], kind="stable")
    places = np.empty(len(at))
    places[order] = apart(at[order, 1], gap)
    for row, name in enumerate(names):
        x, y = [at[row, 0], 1.022, 1.03], [at[row, 1], places[row], places[row]]
        color = task_style(row)["color"]
        axes.plot(x, y, transform=axes.transAxes, color=color, lw=0.6, alpha=0.7, clip_on=False)
        axes.text(1.034, places[row], name, transform=axes.transAxes, va="center", fontsize=7.5, color=color)


def apart(at: Array, gap: float) -> Array:
    """Rising numbers in [0, 1] moved as little as needed to be `gap` apart.

    Least squares under y_i+1 >= y_i + gap is isotonic regression of y_i - i gap: pools of neighbours that
    are too near move to their common mean.
    """
    from sklearn.isotonic import isotonic_regression

    ladder = gap * np.arange(len(at))
    moved = np.asarray(isotonic_regression(at - ladder), dtype=np.float64)
    return np.clip(moved, 0.0, max(0.0, 1.0 - ladder[-1])) + ladder


# ------------------------------------------------------------------ shades


def shade(axes: Axes, values: Array, most: float, end: float, high: float) -> None:
    """Draws `[rows, columns]` as an image over steps 0 to `end`: nothing for 0, full colour for `most`.

    The rows go up from 0 to `high` on the vertical axis. What is unknown is grey.
    """
    image = np.empty((*values.shape, 4))
    image[..., :3] = to_rgb(SHADE)
    image[..., 3] = np.clip(np.nan_to_num(values) / most, 0.0, 1.0)
    image[np.isnan(values)] = (*to_rgb(MUTED), 0.18)
    extent = (0, end, 0, high)
    axes.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="none", zorder=1)
    axes.grid(visible=False)
    step_axis(axes)


def shade_key(sheet: Sheet, left: float, top: float, most: str) -> None:
    """What the shades of `shade` mean: from 0 to `most`."""
    axes = sheet.axes(left, top, 1.2, 0.13)
    image = np.empty((1, 64, 4))
    image[..., :3] = to_rgb(SHADE)
    image[..., 3] = np.linspace(0, 1, 64)
    axes.imshow(image, aspect="auto", interpolation="none", extent=(0, 1, 0, 1))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    sheet.text(left - 0.05, top, "0", ha="right", fontsize=8)
    sheet.text(left + 1.25, top, most, fontsize=8)
