"""Figures of schedules: what was trained when, and what a learned schedule saw and thought of it.

All are of one run of a method, the first that logged what is shown.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from moduli.evaluation.summary import Summary
from moduli.report.over_time import Course, course_of, evenly, lines_height, shade, shade_key, task_lines
from moduli.report.records import Records
from moduli.report.scales import MOST_NAMED
from moduli.report.style import MUTED, WIDTH, Sheet, shorten, styled


def _course(summary: Summary, records: Records, method: str, what: str) -> Course | None:
    return course_of(records.schedule, [task["name"] for task in summary["tasks"]], method, what)


@styled
def shares_figure(summary: Summary, records: Records, method: str) -> Figure | None:
    """Which tasks were trained when: a row for each task, shaded by how many steps it took part in.

    Beside each row its share of the steps of the whole run. None if every task took part in every step, or
    if nothing was logged.
    """
    course = _course(summary, records, method, "shares")
    if course is None or np.nanmin(course.values) >= 1:
        return None
    shares = np.nan_to_num(course.values)  # a task that is not named was not trained
    count, named = len(course.tasks), len(course.tasks) <= MOST_NAMED
    names = [shorten(task, 22) for task in course.tasks]
    label = 0.25 + 0.07 * max(map(len, names)) * named
    height = count * (float(np.clip(5.0 / count, 0.15, 0.32)) if named else 0.06)
    sheet = Sheet(WIDTH, 1.0 + height)
    most = shares.max()
    sheet.text(
        0.1, 0.06, f"{course.title}: share of the steps of a phase that trained a task, 0 to {most:.0%}"
    )
    axes = sheet.axes(label, 0.5, WIDTH - label - 0.75, height)
    shade(axes, evenly(course.steps, shares).T, most, course.steps[-1], count)
    axes.invert_yaxis()
    axes.hlines(range(1, count), 0, course.steps[-1], color=MUTED, lw=0.3, alpha=0.4)
    places = np.arange(count) + 0.5
    axes.set_yticks(places if named else [], names if named else [], fontsize=8 if count <= 30 else 6.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("step", fontsize=8, color=MUTED, labelpad=1)
    sheet.text(WIDTH - 0.1, 0.3, "whole run", ha="right", fontsize=7.5)
    lengths = np.diff(course.steps, prepend=0)
    for place, total in zip(places, lengths @ shares / lengths.sum(), strict=True):
        if named:
            y = 0.5 + height * place / count
            sheet.text(WIDTH - 0.1, y, f"{total:.1%}", ha="right", va="center", fontsize=7.5)
    return sheet.figure


@styled
def probabilities_figure(summary: Summary, records: Records, method: str) -> Figure | None:
    """The probability of each task by step, a line each. None if none changes, or there are none."""
    course = _course(summary, records, method, "probabilities")
    if course is None or not (np.nanmax(course.values, 0) - np.nanmin(course.values, 0) > 1e-6).any():
        return None
    return _lines(course, "probability of each task, mean over a phase")


@styled
def q_figure(summary: Summary, records: Records, method: str) -> Figure | None:
    """The Q value of each task by step, a line each; None if there are none."""
    course = _course(summary, records, method, "q")
    return None if course is None else _lines(course, "Q value of training each task")


def _lines(course: Course, what: str) -> Figure:
    sheet = Sheet(WIDTH, 0.95 + lines_height(len(course.tasks)))
    sheet.text(0.1, 0.06, f"{course.title}: {what}")
    task_lines(sheet, 0.4, course)
    return sheet.figure


@styled
def histograms_figure(summary: Summary, records: Records, method: str) -> Figure | None:
    """Histograms of uncertainty by step, axes for each task: from 0 below to 1 above, shaded by frequency.

    None if there are none.
    """
    course = _course(summary, records, method, "histograms")
    if course is None or course.values.ndim != 3:
        return None
    frequencies = evenly(course.steps, course.values)  # [columns, T, bins]
    most = max(float(np.nanmax(frequencies)), 0.05)
    count = len(course.tasks)
    columns = min(count, 5 if count > 6 else 3)
    cell = (WIDTH - 0.5) / max(columns, 2)
    height = float(np.clip(0.55 * (cell - 0.3), 0.8, 1.6))
    row_height, rows = height + 0.42, -(-count // columns)
    sheet = Sheet(WIDTH, 1.0 + rows * row_height)
    sheet.text(
        0.1, 0.06, f"{course.title}: how uncertain the model is of validation samples, share of samples"
    )
    shade_key(sheet, 0.22, 0.32, f"{most:.0%}")
    for index, task in enumerate(course.tasks):
        row, column = divmod(index, columns)
        axes = sheet.axes(0.5 + column * cell, 0.78 + row * row_height, cell - 0.3, height)
        shade(axes, frequencies[:, index].T, most, course.steps[-1], 1)
        axes.set_title(shorten(task, 18), fontsize=8.5, pad=3)
        axes.set_yticks([0, 0.5, 1], ["0", "", "1"] if column == 0 else ["", "", ""])
        if column == 0:
            axes.set_ylabel("uncertainty", fontsize=7.5, color=MUTED, labelpad=-2)
        if index + columns >= count:
            axes.set_xlabel("step", fontsize=8, color=MUTED, labelpad=1)
        else:
            axes.set_xticklabels([])
    return sheet.figure
