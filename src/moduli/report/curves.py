"""Learning curves, from what runs logged on the validation split."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from moduli.evaluation.summary import Summary
from moduli.evaluation.tables import ARROWS
from moduli.report.figures import share_an_axis
from moduli.report.records import Records
from moduli.report.style import INK, MUTED, TICKS, WIDTH, MethodKey, Sheet, shorten, step_axis, styled

LOSS = "loss"
METRIC = "metric"
MOST_POINTS = 250
MOST_TASKS = 60
NOTE = "Validation split, by step of training"


class Panel(NamedTuple):
    """One set of axes: the mean of a quantity over some tasks."""

    title: str
    quantity: str
    tasks: list[str]
    note: str = ""


@styled
def learning_curves(summary: Summary, records: Records) -> Figure | None:
    """Validation loss, and every unit-free metric, by step: mean over tasks, band over seeds.

    The band goes from the lowest to the highest seed. None if nothing was logged.
    """
    titles, groups = {LOSS: "loss ↓"}, {LOSS: [task["name"] for task in summary["tasks"]]}
    only = len(summary["tasks"]) == 1
    for task in (task for task in summary["tasks"] if only or share_an_axis(task)):
        titles[task["metric"]] = _titled(task)
        groups.setdefault(task["metric"], []).append(task["name"])
    panels = [
        Panel(titles[quantity] + f"  (mean of {len(tasks)} tasks)" * (not only), quantity, tasks)
        for quantity, tasks in groups.items()
        if _logged(summary, records, quantity)
    ]
    return _figure(summary, records, panels, columns=2, cell_height=2.6) if panels else None


@styled
def task_curves(summary: Summary, records: Records, quantity: str = LOSS) -> Figure | None:
    """Small multiples: the loss, or with "metric" the primary metric, of every task by step.

    At most 60 tasks are drawn. None if nothing was logged, or if there is one task, which `learning_curves`
    shows already.
    """
    panels = []
    for task in summary["tasks"][:MOST_TASKS]:
        own, note = (LOSS, "") if quantity == LOSS else (task["metric"], _titled(task))
        panels.append(Panel(shorten(task["name"], 24), own, [task["name"]], note))
    if len(panels) == 1 or not any(_logged(summary, records, panel.quantity) for panel in panels):
        return None
    return _figure(summary, records, panels, columns=4, cell_height=1.55)


def _titled(task: dict[str, Any]) -> str:
    return f"{task['metric']} {ARROWS[task['direction']]}"


def _logged(summary: Summary, records: Records, quantity: str) -> bool:
    frame = records.curves
    if quantity not in frame:
        return False
    shown = frame["method"].isin(list(summary["methods"])) & (frame["split"] == "val")
    return bool(frame.loc[shown, quantity].notna().any())


def _figure(
    summary: Summary, records: Records, panels: list[Panel], columns: int, cell_height: float
) -> Figure:
    rows, cell = -(-len(panels) // columns), WIDTH / columns
    key = MethodKey(list(summary["methods"]), summary.get("baseline"))
    sheet = Sheet(WIDTH, key.height + rows * cell_height + 0.15)
    first = f". First {len(panels)} tasks" if MOST_TASKS == len(panels) < len(summary["tasks"]) else ""
    seeds = ". Line: mean over seeds; band: lowest to highest seed" * (len(summary["seeds"]) > 1)
    key.draw(sheet, NOTE + seeds + first, lines=True)
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        top = key.height + row * cell_height
        axes = sheet.axes(column * cell + 0.55, top, cell - 0.7, cell_height - 0.42)
        sheet.text(column * cell + 0.1, top - 0.2, panel.title, color=INK, fontweight="bold")
        if panel.note:  # in the corner that the curves leave free
            y, side = (0.05, "bottom") if ARROWS["higher"] in panel.note else (0.97, "top")
            axes.text(
                0.98, y, panel.note, transform=axes.transAxes, ha="right", va=side, fontsize=7.5, color=MUTED
            )
        _curves(axes, records, panel, key)
        if index + columns >= len(panels):
            axes.set_xlabel("step", fontsize=8, color=MUTED, labelpad=1)
        else:
            axes.tick_params(labelbottom=False)
    return sheet.figure


def _curves(axes: Axes, records: Records, panel: Panel, key: MethodKey) -> None:
    shown = []
    for method, style in key.styles.items():
        curve = _thinned(curve_over_seeds(records, method, panel))
        if curve.empty:
            continue
        shown.append(curve["mean"].to_numpy())
        steps = curve.index.to_numpy()
        axes.fill_between(steps, curve["low"], curve["high"], color=style["color"], alpha=0.16, lw=0)
        marker = "o" if len(curve) == 1 else ""
        line = {"color": style["color"], "linestyle": style["linestyle"], "marker": marker}
        axes.plot(steps, curve["mean"], ms=4, lw=1.4, **line)
    if shown:
        step_axis(axes)
        _value_axis(axes, np.concatenate(shown))
    else:
        axes.text(0.5, 0.5, "not logged", transform=axes.transAxes, ha="center", color=MUTED)
        axes.set_xticks([])
        axes.set_yticks([])


def curve_over_seeds(records: Records, method: str, panel: Panel) -> pd.DataFrame:
    """Validation curve of one method, mean over tasks: by step, the columns mean, low and high over seeds.

    A run that stopped early keeps its last value, so that late steps do not show the survivors alone.
    Empty if nothing was logged.
    """
    found = [records.validation[method, task] for task in panel.tasks if (method, task) in records.validation]
    if not found or panel.quantity not in records.curves:
        return pd.DataFrame(columns=["mean", "low", "high"])
    wide = pd.concat(found).pivot(index="step", columns=["seed", "task"], values=panel.quantity).ffill()
    seeds = pd.DataFrame({seed: wide[seed].mean(axis=1) for seed in wide.columns.unique("seed")})
    curve = {"mean": seeds.mean(axis=1), "low": seeds.min(axis=1), "high": seeds.max(axis=1)}
    return pd.DataFrame(curve).dropna()


def _value_axis(axes: Axes, values: np.ndarray) -> None:
    """Few ticks; a logarithmic axis where the start towers above the rest."""
    if values.min() > 0 and values.max() > 30 * np.median(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=TICKS, min_n_ticks=3))


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most `MOST_POINTS` points, the last among them."""
    if len(curve) <= MOST_POINTS:
        return curve
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, MOST_POINTS).astype(int))]
