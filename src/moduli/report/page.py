"""The report: one HTML page that opens without a network, made from the files of a run folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from moduli.errors import InputError
from moduli.evaluation.summary import Summary, read_summary
from moduli.evaluation.tables import (
    decimals,
    interval_text,
    legend,
    number_text,
    p_text,
    task_rows,
    total_rows,
)
from moduli.files import write_file
from moduli.report.hypermodules import parameter_rows
from moduli.report.pictures import (
    Picture,
    balance_pictures,
    curve_pictures,
    decoder_pictures,
    evolution_pictures,
    hypermodule_pictures,
    schedule_pictures,
    search_pictures,
    sharing_pictures,
    value_pictures,
)
from moduli.report.records import Records, read_records
from moduli.report.search import searches
from moduli.report.style import png
from moduli.report.templates import render

MOST_FAILURES = 5


def write_report(run_dir: Path | str, pictures: Sequence[Picture] = ()) -> Path:
    """Writes `report.html` and `plots/*.png` into a run folder, from what is there.

    Reads `summary.json`, and as far as they exist `metrics.jsonl`, `config.yaml`, `run.json` and the searches
    for modules; parts of the page for which there is nothing are left out.

    Args:
        run_dir: the run folder.
        pictures: figures to show besides those that the report draws itself.

    Raises:
        InputError: if there is no readable `summary.json`.
        SaveError: if a file cannot be written.
    """
    folder = Path(run_dir)
    if not (folder / "summary.json").exists():
        raise InputError(f"{folder} has no summary.json, so there is nothing to report: finish its run first")
    summary = read_summary(folder / "summary.json")
    records = read_records(folder / "metrics.jsonl")
    values = value_pictures(summary)
    curves = curve_pictures(summary, records)
    sharing = sharing_pictures(summary, records)
    balance, schedule = balance_pictures(summary, records), schedule_pictures(summary, records)
    decoders = decoder_pictures(summary, records)
    evolution = [*evolution_pictures(summary, records), *search_pictures(searches(folder))]
    hypermodules = hypermodule_pictures(summary, records)
    drawn = [*values, *curves, *sharing, *evolution, *hypermodules, *balance, *schedule, *decoders, *pictures]
    for picture in drawn:
        if isinstance(picture.figure, Figure):
            write_file(folder / "plots" / f"{picture.name}.png", png(picture.figure))
    run = _read_json(folder / "run.json")
    config = folder / "config.yaml"
    page = render(
        "page.html.jinja",
        summary={"baseline": None, "device": "", **summary},
        methods=list(summary["methods"]),
        lead=_lead(summary),
        warnings=_warnings(summary, records),
        separate_test=not _same_splits(summary),
        verdicts=_verdicts(summary),
        totals=total_rows(summary),
        rows=task_rows(summary),
        legend=legend(summary),
        comparisons=_comparisons(summary),
        values=values,
        curves=curves,
        sharing=sharing,
        evolution=evolution,
        hypermodules=hypermodules,
        parameters=parameter_rows(summary),
        balance=balance,
        schedule=schedule,
        decoders=decoders,
        pictures=list(pictures),
        tasks=[_task(summary, task, run.get("data", {})) for task in summary["tasks"]],
        config=config.read_text(encoding="utf-8", errors="replace") if config.exists() else "",
        **_run(summary, run),
    )
    return write_file(folder / "report.html", page)


# ------------------------------------------------------------------ words


def _lead(summary: Summary) -> str:
    def counted(things: Sequence[Any] | Mapping[str, Any], word: str) -> str:
        return f"{len(things)} {word}{'s' * (len(things) != 1)}"

    parts = [counted(summary["methods"], "method"), counted(summary["tasks"], "task")]
    parts.append(counted(summary["seeds"], "seed"))
    return " · ".join([*parts, *filter(None, [summary.get("device")])])


def _warnings(summary: Summary, records: Records) -> list[str]:
    """Whatever a reader should know before believing the numbers."""
    failures = summary.get("failures", [])
    found = [f"Failed: {failure['error']}" for failure in failures[:MOST_FAILURES]]
    if len(failures) > MOST_FAILURES:
        found.append(f"{len(failures) - MOST_FAILURES} more runs failed.")
    missing = {name: method.get("missing", 0) for name, method in summary["methods"].items()}
    if any(missing.values()):
        counts = ", ".join(f"{name} {count}" for name, count in missing.items() if count)
        found.append(
            f"Results that are missing, of {len(summary['tasks']) * len(summary['seeds'])}: {counts}."
        )
    baseline = summary.get("baseline")
    if left_out := summary["methods"].get(baseline, {}).get("delta_m_left_out"):
        tasks = "every task" if len(left_out) == len(summary["tasks"]) else ", ".join(left_out)
        found.append(f"Left out of Δm, because the mean of {baseline} is zero or unknown: {tasks}.")
    if same := _same_splits(summary):
        tasks = "every task" if len(same) == len(summary["tasks"]) else ", ".join(same)
        found.append(
            "Validation and test scores are equal, so the two splits hold the same samples; where the best "
            f"step was chosen on them, the numbers are too good: {tasks}."
        )
    if len(summary["seeds"]) == 1:
        found.append("There is one seed only: nothing is known of the spread over seeds. Run at least three.")
    if records.skipped:
        found.append(f"Lines of metrics.jsonl that could not be read: {records.skipped}.")
    return found


def _same_splits(summary: Summary) -> list[str]:
    """Tasks on which every score on the test split equals that on the validation split."""
    same = []
    for task in summary["tasks"]:
        results = [method["tasks"].get(task["name"], {}) for method in summary["methods"].values()]
        test = [loss for result in results for loss in result.get("loss", [])]
        val = [loss for result in results for loss in result.get("val", {}).get("loss", [])]
        if any(loss is not None for loss in test) and test == val:
            same.append(task["name"])
    return same


def _verdicts(summary: Summary) -> list[dict[str, str]]:
    """What the comparison with the baseline comes to, in words, one sentence per method."""
    verdicts = []
    for comparison in summary.get("comparisons", []):
        if comparison["other"] != summary.get("baseline") or comparison["difference"] is None:
            continue
        interval = comparison["ci95"]
        if len(summary["seeds"]) == 1:
            kind, words = "open", "with one seed cannot be told from"
        elif interval is None:
            kind, words = "open", "cannot be told from"
        elif interval[0] > 0:
            kind, words = "better", "does better than"
        elif interval[1] < 0:
            kind, words = "worse", "does worse than"
        else:
            kind, words = "open", "is not clearly different from"
        left_out = summary["methods"][comparison["method"]].get("delta_m_left_out", [])
        tasks = len(summary["tasks"]) - len(left_out)
        gain = number_text(comparison["difference"], 2, sign=True)
        bounds = "no interval" if interval is None else "95 % interval {} to {}".format(*_signed(interval))
        over = f"over {tasks} tasks" if tasks > 1 else "on one task"
        text = f"{comparison['method']} {words} {comparison['other']} {over}: {gain} % ({bounds})."
        verdicts.append({"kind": kind, "text": text})
    return verdicts


def _signed(numbers: Sequence[float]) -> list[str]:
    return [number_text(number, 2, sign=True) for number in numbers]


def _comparisons(summary: Summary) -> list[dict[str, Any]]:
    lines = []
    for comparison in summary.get("comparisons", []):
        interval = comparison["ci95"]
        texts = [
            number_text(comparison["difference"], 2, sign=True),
            " to ".join(_signed(interval)) if interval else "–",
            f"{comparison['wins']} / {comparison['ties']} / {comparison['losses']}",
            p_text(comparison["wilcoxon_tasks"]["p_holm"]),
            p_text(comparison["wilcoxon"]["p_holm"]),
        ]
        lines.append({"pair": f"{comparison['method']} − {comparison['other']}", "texts": texts})
    return lines


def _task(summary: Summary, task: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """One task: what it is, and for every method all its numbers."""
    results = {name: method["tasks"].get(task["name"], {}) for name, method in summary["methods"].items()}
    metrics = dict.fromkeys(key for result in results.values() for key in result.get("metrics", {}))
    others = [key for key in metrics if key != task.get("metric")]
    metric = task.get("metric", "")
    heads = [f"test {metric}", *(f"seed {seed}" for seed in summary["seeds"])]
    heads += [f"validation {metric}", "test loss", *(f"test {key}" for key in others)]
    digits = decimals(results.values())
    lines = []
    for name, result in results.items():
        values = result.get("values", [None] * len(summary["seeds"]))
        rest = [result.get("val", {}).get("values", []), result.get("loss", [])]
        rest += [result.get("metrics", {}).get(key, []) for key in others]
        texts = [interval_text(result.get("mean"), result.get("ci95"), digits)]
        texts += [number_text(value, digits) for value in values]
        lines.append((name, texts + [_mean_text(numbers) for numbers in rest]))
    samples = ", ".join(f"{count:,} {split}" for split, count in (task.get("samples") or {}).items() if count)
    notes = [str(note) for note in (data.get(task["name"]) or {}).get("notes", [])]
    description = " · ".join(filter(None, [task.get("kind"), metric, f"samples: {samples}" * bool(samples)]))
    return {"name": task["name"], "description": description, "heads": heads, "lines": lines, "notes": notes}


def _mean_text(numbers: Sequence[float | None]) -> str:
    known = [number for number in numbers if number is not None]
    mean = sum(known) / len(known) if known else None
    return number_text(mean, decimals([{"mean": mean}]))


# ------------------------------------------------------------------ the run


def _read_json(path: Path) -> dict[str, Any]:
    """The content of an accompanying file; empty if it is absent, damaged, or no mapping."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _run(summary: Summary, run: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, start and commands. `run.json` has a list of sessions, or is itself one."""
    sessions = run.get("sessions") or [run]
    versions = {**(sessions[0].get("versions") or {}), **(summary.get("versions") or {})}
    commands = dict.fromkeys(_command(session["command"]) for session in sessions if session.get("command"))
    return {
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "started": sessions[0].get("started", ""),
        "commands": list(commands),
    }


def _command(command: str | Sequence[str]) -> str:
    """A command line without the folder of its program."""
    try:
        words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    except ValueError:
        return str(command)
    program = Path(words[0]).name if words else ""
    return shlex.join(["python", "-m", "moduli"] if program == "__main__.py" else [program]) + "".join(
        f" {shlex.quote(word)}" for word in words[1:]
    )
