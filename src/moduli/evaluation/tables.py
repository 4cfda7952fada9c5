"""The comparison as a table: for the terminal (rich), as Markdown, and as CSV. Made from a summary alone."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moduli.evaluation import statistics as st
from moduli.evaluation.summary import Summary
from moduli.files import write_file

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 7  # methods; beyond, a terminal cannot show a column for each
ARROWS = {"higher": "↑", "lower": "↓"}
NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """One entry: what to print, and whether it is clearly the best of its row."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the table: a task with its metric, or a quantity over all tasks; one cell per method."""

    label: str
    note: str
    cells: tuple[Cell, ...]


# ------------------------------------------------------------------ rows


def task_rows(summary: Summary) -> list[Row]:
    """One row per task: mean ± interval of every method on the test split."""
    return [_task_row(summary, task) for task in summary["tasks"]]


def _task_row(summary: Summary, task: dict[str, Any]) -> Row:
    name = task["name"]
    results = [method["tasks"].get(name, {}) for method in summary["methods"].values()]
    digits = decimals(results)
    best = clearly_best(summary, name)
    cells = [
        Cell(_result_text(result, digits), method == best)
        for method, result in zip(summary["methods"], results, strict=True)
    ]
    return Row(
        name, f"{task.get('metric', '')} {ARROWS.get(task.get('direction', ''), '')}".strip(), tuple(cells)
    )


def total_rows(summary: Summary) -> list[Row]:
    """Gain, rank, parameters, time and steps of every method; a quantity nobody has is left out."""
    baseline = summary.get("baseline")

    def gain(name: str, method: dict[str, Any]) -> str:
        if name == baseline:
            return "baseline"
        return interval_text(method.get("delta_m"), method.get("delta_m_ci95"), 2, sign=True)

    quantities = [
        ("Δm %", f"vs {baseline} ↑", gain),
        ("mean rank", "↓", lambda _, method: number_text(method.get("average_rank"), 2)),
        ("parameters", "", lambda _, method: count_text(method.get("parameters"))),
        ("time", "per seed", lambda _, method: seconds_text(method.get("seconds"))),
        ("steps", "per seed", lambda _, method: count_text(method.get("steps"))),
    ]
    rows = []
    for label, note, text in quantities:
        if label == "mean rank" and len(summary["methods"]) == 1:
            continue
        cells = tuple(Cell(text(name, method)) for name, method in summary["methods"].items())
        if any(cell.text not in (NOTHING, "baseline") for cell in cells):
            rows.append(Row(label, note, cells))
    return rows


def ranking(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """What is said of all tasks together, turned: headings, and a line for each method, best rank first."""
    rows = [*_mean_rows(summary), *total_rows(summary)]
    heads = ["method", *(f"{row.label} {row.note}".strip() for row in rows)]
    ranks = {name: method.get("average_rank") for name, method in summary["methods"].items()}
    order = sorted(ranks, key=lambda name: (ranks[name] is None, ranks[name]))
    column = {name: index for index, name in enumerate(summary["methods"])}
    return heads, [[name, *(row.cells[column[name]].text for row in rows)] for name in order]


def _mean_rows(summary: Summary) -> list[Row]:
    """The mean over tasks of their metric, if all have the same; over the seeds with its interval."""
    metrics = {(task.get("metric"), task.get("direction")) for task in summary["tasks"]}
    if len(metrics) > 1 or len(summary["tasks"]) < 2:
        return []
    ((metric, direction),) = metrics
    found = []
    for method in summary["methods"].values():
        values = st.as_array([task.get("values", []) for task in method["tasks"].values()])
        center, half = st.mean_interval(values.mean(axis=0)) if values.size else (math.nan, math.nan)
        known = {"mean": None if math.isnan(center) else center, "ci95": None if math.isnan(half) else half}
        found.append(known)
    digits = decimals(found)
    cells = tuple(Cell(interval_text(x["mean"], x["ci95"], digits)) for x in found)
    return [Row(f"mean {metric}", ARROWS.get(direction or "", ""), cells)]


def clearly_best(summary: Summary, task: str) -> str | None:
    """The method whose paired 95 % intervals on this task exclude zero against every other, if any.

    A method without any result on the task does not count.
    """
    methods = [
        name
        for name, method in summary["methods"].items()
        if method["tasks"].get(task, {}).get("mean") is not None
    ]
    beaten: dict[str, set[str]] = {method: set() for method in methods}
    for comparison in summary.get("comparisons", []):
        interval = comparison.get("tasks", {}).get(task, {}).get("ci95")
        if interval and interval[0] > 0:
            beaten[comparison["method"]].add(comparison["other"])
        elif interval and interval[1] < 0:
            beaten[comparison["other"]].add(comparison["method"])
    return next((name for name in methods if len(beaten[name]) == len(methods) - 1 > 0), None)


def legend(summary: Summary) -> str:
    """What the numbers and marks of the table mean, in sentences."""
    if len(summary["seeds"]) > 1:
        text = "Mean ± half-width of the 95 % interval over seeds, on the test split."
    else:
        text = "One seed, on the test split."
    text += " ↑ more is better, ↓ less is better."
    if len(summary["seeds"]) > 1 and len(summary["methods"]) > 1:
        text += (
            " The best method of a task is marked only where it is clearly so: its paired difference to "
            "every other method has a 95 % interval that excludes zero."
        )
    return text


# ------------------------------------------------------------------ numbers as text


def decimals(results: Iterable[dict[str, Any]]) -> int:
    """Digits after the point for a row, at most 4.

    So many that the median interval shows one or two digits; without an interval, four digits in all.
    """
    results = list(results)
    spreads = [result["ci95"] for result in results if result.get("ci95")]
    if spreads:
        return min(4, max(0, -math.floor(math.log10(statistics.median(spreads) / 4))))
    sizes = [abs(result["mean"]) for result in results if result.get("mean")]
    return min(4, max(0, 3 - math.floor(math.log10(max(sizes))))) if sizes else 0


def number_text(value: float | None, digits: int, sign: bool = False) -> str:
    """A number with `digits` after the point, a true minus, or a dash for nothing."""
    if value is None:
        return NOTHING
    return f"{round(value, digits) + 0.0:{'+' if sign else ''},.{digits}f}".replace("-", "−")


def interval_text(value: float | None, half: float | None, digits: int, sign: bool = False) -> str:
    """`0.842 ± 0.012`, or the value alone where there is no interval."""
    text = number_text(value, digits, sign)
    return text if half is None or value is None else f"{text} ± {number_text(half, digits)}"


def count_text(value: float | None) -> str:
    """`12,345`."""
    return number_text(value, 0)


def seconds_text(value: float | None) -> str:
    """`8.3 s`, `4 min 10 s` or `2 h 05 min`."""
    if value is None:
        return NOTHING
    if value < 60:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def p_text(p: float | None) -> str:
    """A p value: three digits after the point, `< 0.001` below."""
    return NOTHING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _result_text(result: dict[str, Any], digits: int) -> str:
    text = interval_text(result.get("mean"), result.get("ci95"), digits)
    values = result.get("values", [])
    known = sum(value is not None for value in values)
    return f"{text} ({known}/{len(values)})" if 0 < known < len(values) else text


# ------------------------------------------------------------------ the three forms


def comparison_table(summary: Summary) -> Table:
    """The table for the terminal. Print it with `rich.console.Console`.

    A column for each method; with more than seven, a line for each, and nothing on single tasks.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    seeds = len(summary["seeds"])
    title = f"{summary['name']}: test split, {seeds} seed{'s' if seeds != 1 else ''}"
    table = Table(
        title=Text(title),
        caption=Text(legend(summary)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    if len(summary["methods"]) > WIDE:
        heads, lines = ranking(summary)
        for head in heads:
            table.add_column(Text(head), justify="left" if head == "method" else "right", overflow="fold")
        for line in lines:
            table.add_row(*map(Text, line))
        return table
    table.add_column("task", overflow="fold")
    table.add_column("metric", style="dim")
    for method in summary["methods"]:
        table.add_column(Text(method), justify="right", overflow="fold")
    tasks = task_rows(summary)
    for index, row in enumerate(tasks):
        cells = [
            Text(f"* {cell.text}" if cell.best else cell.text, "bold green" * cell.best) for cell in row.cells
        ]
        table.add_row(Text(row.label), Text(row.note), *cells, end_section=index == len(tasks) - 1)
    for row in total_rows(summary):
        table.add_row(Text(row.label), Text(row.note), *(Text(cell.text) for cell in row.cells))
    return table


def comparison_markdown(summary: Summary) -> str:
    """The table in Markdown; the clearly best method of a task is bold."""
    lines = [
        _markdown_line(["task", "metric", *summary["methods"]]),
        "|---|---|" + "---:|" * len(summary["methods"]),
    ]
    for row in task_rows(summary) + total_rows(summary):
        label, note, *cells = [_escaped(text) for text in (row.label, row.note, *(c.text for c in row.cells))]
        marked = [f"**{text}**" if cell.best else text for text, cell in zip(cells, row.cells, strict=True)]
        lines.append("| " + " | ".join([label, note, *marked]) + " |")
    return "\n".join(lines) + f"\n\n{legend(summary)}\n"


def _markdown_line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(_escaped(text) for text in texts) + " |"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, also within a table."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for character in "\\`*_[]|":
        text = text.replace(character, f"\\{character}")
    return text


def comparison_csv(summary: Summary) -> str:
    """Long form, in full precision: a row per task and method, then one per quantity and method.

    Rows over all tasks have no task name. The value of each seed is in a column of its own.
    """
    seeds = [f"seed {seed}" for seed in summary["seeds"]]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["task", "kind", "metric", "direction", "method", "mean", "ci95", "clearly_best", *seeds])
    for task in summary["tasks"]:
        best = clearly_best(summary, task["name"])
        head = [task["name"], task.get("kind"), task.get("metric"), task.get("direction")]
        for name, method in summary["methods"].items():
            result = method["tasks"].get(task["name"], {})
            values = result.get("values", [None] * len(seeds))
            writer.writerow([*head, name, result.get("mean"), result.get("ci95"), int(name == best), *values])
    for key, direction in (
        ("delta_m", "higher"),
        ("average_rank", "lower"),
        ("parameters", ""),
        ("seconds", "lower"),
    ):
        for name, method in summary["methods"].items():
            values = method.get(f"{key}_values", [None] * len(seeds))
            row = ["", "", key, direction, name, method.get(key), method.get(f"{key}_ci95"), ""]
            writer.writerow([*row, *values])
    return file.getvalue()


def write_tables(folder: Path | str, summary: Summary) -> list[Path]:
    """Writes `comparison.md` and `comparison.csv` into a folder."""
    folder = Path(folder)
    return [
        write_file(folder / "comparison.md", comparison_markdown(summary)),
        write_file(folder / "comparison.csv", comparison_csv(summary)),
    ]
