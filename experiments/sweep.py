"""A result by a setting, such as error by number of tasks: one JSON file and one figure."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

import moduli
from moduli.evaluation import statistics as st
from moduli.files import finite, write_file, write_json
from moduli.report.style import INK, WIDTH, MethodKey, Sheet, png, styled
from moduli.training.settings import describe_device

SCHEMA = 1


@dataclass(frozen=True)
class Panel:
    """One table, or one set of axes.

    Args:
        title: what it shows.
        axis: what the points are, such as "alphabets".
        points: in order; numbers, or words for settings that are no numbers.
        series: for each method, for each point, a value for each seed; an empty list where nothing was run.
        paper: for methods that the paper has a number of, that number for each point, None where it has none.
    """

    title: str
    axis: str
    points: Sequence[float | str]
    series: Mapping[str, Sequence[Sequence[float]]]
    paper: Mapping[str, Sequence[float | None]] = field(default_factory=dict)


def write_sweep(
    into: Path,
    name: str,
    value: str,
    direction: str,
    panels: Sequence[Panel],
    *,
    device: str | torch.device,
    seeds: int,
    baseline: str | None = None,
    **facts: Any,
) -> None:
    """Writes `summary.json` and `figure.png`.

    Args:
        into: folder of the results.
        name: of the experiment.
        value: what the numbers are, with their unit, such as "test error, %".
        direction: "lower" or "higher" is better.
        panels: tables.
        device, seeds: what was computed on, and how many seeds there were.
        baseline: the method that is drawn as one.
        **facts: more to be kept, such as steps.
    """
    summary = sweep_summary(
        name, value, direction, panels, device=device, seeds=seeds, baseline=baseline, **facts
    )
    write_json(into / "summary.json", summary)
    write_file(into / "figure.png", png(sweep_figure(summary), dpi=110))
    print(f"results in {into}")


def sweep_summary(
    name: str,
    value: str,
    direction: str,
    panels: Sequence[Panel],
    *,
    device: str | torch.device,
    seeds: int,
    baseline: str | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """What `write_sweep` writes, as plain data; see there."""
    versions = {"moduli": moduli.__version__, "torch": torch.__version__, "python": platform.python_version()}
    return finite(
        {
            "schema": SCHEMA,
            "kind": "sweep",
            "name": name,
            "value": value,
            "direction": direction,
            "baseline": baseline,
            "panels": [asdict(panel) for panel in panels],
            "seeds": seeds,
            "device": describe_device(device),
            "versions": versions,
            **facts,
        }
    )


def seed_means(summary: Mapping[str, Any], method: str, percent_error: bool = True) -> list[float]:
    """From the summary of a comparison: for each seed, the mean over tasks of the test metric.

    Args:
        summary: of `moduli.compare`.
        method: which one.
        percent_error: turns an accuracy into an error in percent.
    """
    per_task = st.as_array([task["values"] for task in summary["methods"][method]["tasks"].values()])
    means = per_task.mean(axis=0)
    return (100 * (1 - means) if percent_error else means).tolist()


@styled
def sweep_figure(summary: Mapping[str, Any]) -> Figure:
    """A set of axes for each panel: a line for each method, with a 95 % interval over seeds at each point."""
    panels = summary["panels"]
    methods = list(dict.fromkeys(method for panel in panels for method in panel["series"]))
    columns = min(2, len(panels))
    rows, cell, height = -(-len(panels) // columns), (WIDTH - 0.3) / columns, 2.9
    key = MethodKey(methods, summary.get("baseline"))
    sheet = Sheet(WIDTH, key.height + rows * height)
    arrow = {"lower": "↓", "higher": "↑"}[summary["direction"]]
    seeds = summary["seeds"]
    spread = f"bars: 95 % interval over {seeds} seeds" if seeds > 1 else "one seed"
    key.draw(sheet, f"{summary['value']} {arrow}; {spread}", lines=True)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        left, top = 0.65 + column * cell, key.height + row * height + 0.25
        axes = sheet.axes(left, top, cell - 0.75, height - 0.85, title=panel["title"], xlabel=panel["axis"])
        words = any(isinstance(point, str) for point in panel["points"])
        places = list(range(len(panel["points"]))) if words else panel["points"]
        for shift, (method, values) in enumerate(panel["series"].items()):
            style = key.styles[method]
            known = [(x, *_interval(v)) for x, v in zip(places, values, strict=True) if v]
            if not known:
                continue
            xs, centers, halves = zip(*known, strict=True)
            if words:  # side by side
                xs = [x + 0.08 * (shift - (len(panel["series"]) - 1) / 2) for x in xs]
            line = "none" if words else style["linestyle"]
            axes.errorbar(
                xs, centers, halves, color=style["color"], marker=style["marker"], linestyle=line,
                markersize=4, elinewidth=1.0,
            )  # fmt: skip
        if words or len(places) <= 8:
            axes.set_xticks(places, [str(point) for point in panel["points"]])
        axes.tick_params(labelcolor=INK)
    return sheet.figure


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of the 95 % interval; no width for one seed."""
    center, half = st.mean_interval(st.as_array(values))
    return center, 0.0 if half != half else half
