"""A comparison as data: what was trained (`Outcome`), and `summary.json` made from it.

The summary is a plain dict, described field by field in ``docs/summary.md``. Tables, figures and the report
are made from it and from nothing else. What is missing (a failed run, an undefined metric) is null in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from moduli.errors import InputError, did_you_mean
from moduli.evaluation import statistics as st
from moduli.files import finite, write_file
from moduli.types import Scores

SCHEMA = 1
SIGNS = {"higher": 1.0, "lower": -1.0}
"""The two words for a metric's ``direction``: which values are better."""

Summary = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """One trained (method, seed), with its scores on the test and validation splits.

    ``parameters`` counts trainable numbers once each, ``seconds`` is the training time. ``extra`` holds
    JSON-able things for the report: ``"scales"`` is `{task: [[K softmax scales] per depth]}`.
    """

    method: str
    seed: int
    parameters: int
    seconds: float
    steps: int
    test: Scores
    val: Scores
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A dict that `json.dumps` takes; numbers that are not finite become None."""
        return finite(asdict(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        """The outcome that `to_json` was called on; missing scores come back as NaN.

        Raises:
            InputError: if a field is missing or unknown.
        """
        try:
            return cls(**{**data, "test": _scores(data["test"]), "val": _scores(data["val"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"not a saved outcome of a run ({error}): delete it and run again") from None


def summarize(
    name: str,
    tasks_info: Sequence[Mapping[str, Any]],
    outcomes: Iterable[Outcome],
    baseline: str | None = None,
    *,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    versions: Mapping[str, str] | None = None,
    device: str = "",
) -> Summary:
    """Everything the tables show, as one dict of schema 1.

    Args:
        name: of the comparison.
        tasks_info: per task ``name``, ``kind``, ``metric``, ``direction`` ("higher" or "lower" is better)
            and ``samples``: `{"train": n, "val": n, "test": n}`.
        outcomes: what was trained, in any order; one that failed is simply not there.
        baseline: the method that gains are relative to; "single" if it is there, else the first, if None.
        methods: in the order of the tables; lists also those that failed throughout. As they come if None.
        seeds: that were to be run; those of the outcomes if None.
        versions: of the libraries. device: what the runs were computed on.

    Raises:
        InputError: for no method, two outcomes of one method and seed, unknown names or directions.
    """
    tasks = [dict(task) for task in tasks_info]
    _check_tasks(tasks)
    runs = _by_method_and_seed(outcomes)
    methods = list(methods) if methods else list(dict.fromkeys(method for method, _ in runs))
    seeds = list(seeds) if seeds else sorted({seed for _, seed in runs})
    baseline = _choose_baseline(baseline, methods)
    if unknown := [run for run in runs if run[0] not in methods or run[1] not in seeds]:
        raise InputError(f"an outcome of {unknown[0][0]!r}, seed {unknown[0][1]}, which was not to be run")

    signs = np.array([SIGNS[task["direction"]] for task in tasks])
    values = {method: _test_values(tasks, [runs.get((method, seed)) for seed in seeds]) for method in methods}
    fitness = {method: signs[:, None] * array for method, array in values.items()}
    scale = st.reference_scale(fitness[baseline])
    ranked = st.average_ranks(np.stack([fitness[method] for method in methods]))
    results = {}
    for method, rank in zip(methods, ranked, strict=True):
        relative = st.relative_differences(fitness[method], fitness[baseline], scale)
        own_runs = [runs.get((method, seed)) for seed in seeds]
        results[method] = _method_result(tasks, seeds, own_runs, values[method], relative)
        results[method]["average_rank"] = rank
    return finite(
        {
            "schema": SCHEMA,
            "name": name,
            "tasks": tasks,
            "methods": results,
            "comparisons": _comparisons([task["name"] for task in tasks], fitness, scale, baseline),
            "seeds": seeds,
            "baseline": baseline,
            "versions": dict(versions or {}),
            "device": device,
        }
    )


# ------------------------------------------------------------------ parts of a summary


def _method_result(
    tasks: list[dict], seeds: list[int], runs: list[Outcome | None], values: st.Array, relative: st.Array
) -> dict[str, Any]:
    done = [run for run in runs if run is not None]
    gain = st.relative_gain(relative)
    return {
        "parameters": max((run.parameters for run in done), default=None),
        "seconds": st.mean([run.seconds for run in done]),
        "steps": st.mean([run.steps for run in done]),
        "tasks": {
            task["name"]: _task_result(task, runs, row) for task, row in zip(tasks, values, strict=True)
        },
        "missing": int(np.isnan(values).sum()),
        "delta_m": gain.value,
        "delta_m_ci95": gain.ci95,
        "delta_m_values": gain.per_seed,
        "delta_m_left_out": _left_out(tasks, relative),
        "runs": [
            {"seed": seed, "seconds": run.seconds, "steps": run.steps, "extra": run.extra}
            for seed, run in zip(seeds, runs, strict=True)
            if run is not None
        ],
    }


def _task_result(task: dict, runs: list[Outcome | None], values: st.Array) -> dict[str, Any]:
    name = task["name"]
    center, half = st.mean_interval(values)
    others = dict.fromkeys(key for run in runs if run for key in run.test.metrics.get(name, {}))
    return {
        "values": values,
        "mean": center,
        "ci95": half,
        "loss": [run.test.loss.get(name) if run else None for run in runs],
        "metrics": {key: [_metric(run and run.test, name, key) for run in runs] for key in others},
        "val": {
            "values": [_metric(run and run.val, name, task["metric"]) for run in runs],
            "loss": [run.val.loss.get(name) if run else None for run in runs],
        },
    }


def _comparisons(
    names: list[str], fitness: Mapping[str, st.Array], scale: st.Array, baseline: str
) -> list[dict[str, Any]]:
    """Every method against the baseline, then all other pairs (the later method against the earlier)."""
    others = [method for method in fitness if method != baseline]
    pairs = [(method, baseline) for method in others]
    pairs += [(later, earlier) for earlier, later in combinations(others, 2)]
    compared = [_comparison(names, fitness, scale, method, other) for method, other in pairs]
    for test in ("wilcoxon", "wilcoxon_tasks"):
        corrected = st.holm([comparison[test]["p"] for comparison in compared])
        for comparison, p in zip(compared, corrected, strict=True):
            comparison[test]["p_holm"] = p
    return compared


def _comparison(
    names: list[str], fitness: Mapping[str, st.Array], scale: st.Array, method: str, other: str
) -> dict[str, Any]:
    paired = st.differences(fitness[method], fitness[other])
    relative = st.relative_differences(fitness[method], fitness[other], scale)
    return {
        "method": method,
        "other": other,
        "unit": "percent of the baseline",
        **_counts(relative),
        "difference": st.task_mean(relative),
        "ci95": _interval(st.crossed_interval(relative)),
        "wilcoxon": asdict(st.signed_rank(relative)),
        "wilcoxon_tasks": asdict(st.signed_rank(st.mean(relative, axis=1))),
        "tasks": {
            name: _task_comparison(row, row_relative)
            for name, row, row_relative in zip(names, paired, relative, strict=True)
        },
    }


def _task_comparison(paired: st.Array, relative: st.Array) -> dict[str, Any]:
    difference, half = st.mean_interval(paired)
    percent, percent_half = st.mean_interval(relative)
    return {
        **_counts(paired),
        "difference": difference,
        "ci95": _interval((difference - half, difference + half)),
        "percent": percent,
        "percent_ci95": _interval((percent - percent_half, percent + percent_half)),
        "wilcoxon": asdict(st.signed_rank(paired)),
    }


def _counts(paired: st.Array) -> dict[str, int]:
    missing = int(np.isnan(paired).sum())
    return {"pairs": paired.size - missing, "missing": missing, **asdict(st.record(paired))}


def _interval(bounds: tuple[float, float]) -> list[float] | None:
    return None if np.isnan(bounds).any() else list(bounds)


def _left_out(tasks: list[dict], relative: st.Array) -> list[str]:
    return [task["name"] for task, row in zip(tasks, relative, strict=True) if np.isnan(row).all()]


def _test_values(tasks: list[dict], runs: Sequence[Outcome | None]) -> st.Array:
    """The primary metric on the test split, `[T, S]`."""
    rows: Any = [[_metric(run and run.test, task["name"], task["metric"]) for run in runs] for task in tasks]
    return st.as_array(rows).reshape(len(tasks), len(runs))


def _metric(scores: Scores | None, task: str, metric: str) -> float | None:
    return scores.metrics.get(task, {}).get(metric) if scores else None


# ------------------------------------------------------------------ checks of what is given


def _check_tasks(tasks: list[dict]) -> None:
    if not tasks:
        raise InputError("no tasks to summarize: give at least one")
    for task in tasks:
        if missing := [key for key in ("name", "kind", "metric", "direction", "samples") if key not in task]:
            raise InputError(f"task {task.get('name', '?')!r}: its description lacks {', '.join(missing)}")
        if task["direction"] not in SIGNS:
            raise InputError(f"task {task['name']!r}: direction {task['direction']!r} is not higher or lower")
    twice = [name for name, count in Counter(task["name"] for task in tasks).items() if count > 1]
    if twice:
        raise InputError(f"two tasks are called {twice[0]!r}: give each its own name")


def _by_method_and_seed(outcomes: Iterable[Outcome]) -> dict[tuple[str, int], Outcome]:
    runs: dict[tuple[str, int], Outcome] = {}
    for outcome in outcomes:
        key = (outcome.method, outcome.seed)
        if key in runs:
            raise InputError(f"two outcomes of method {key[0]!r}, seed {key[1]}: give one")
        runs[key] = outcome
    return runs


def _choose_baseline(baseline: str | None, methods: list[str]) -> str:
    if not methods:
        raise InputError("no methods to summarize: none was trained")
    if baseline is None:
        return "single" if "single" in methods else methods[0]
    if baseline not in methods:
        raise InputError(f"unknown baseline {baseline!r}, {did_you_mean(baseline, methods)}")
    return baseline


def _scores(data: Mapping[str, Any]) -> Scores:
    def numbers(values: Mapping[str, float | None]) -> dict[str, float]:
        return {key: float("nan") if value is None else value for key, value in values.items()}

    metrics = {task: numbers(values) for task, values in data["metrics"].items()}
    return Scores(**{**data, "loss": numbers(data["loss"]), "metrics": metrics})


# ------------------------------------------------------------------ files


def write_summary(path: Path | str, summary: Summary) -> Path:
    """Writes `summary.json`."""
    text = json.dumps(finite(summary), indent=1, ensure_ascii=False, allow_nan=False)
    return write_file(path, text + "\n")


def read_summary(path: Path | str) -> Summary:
    """Reads `summary.json`.

    Raises:
        InputError: if there is no such file, it is not a summary, or of a schema that is not known here.
    """
    path = Path(path)
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged or not JSON ({error}): run again to make it anew") from None
    if not isinstance(summary, dict) or "schema" not in summary:
        raise InputError(f"{path} is not a summary of moduli: it has no 'schema'")
    if summary["schema"] != SCHEMA:
        raise InputError(
            f"{path} has schema {summary['schema']!r}, this version reads {SCHEMA}: "
            "use the version of moduli that wrote it"
        )
    missing = [key for key in ("name", "tasks", "methods", "seeds") if key not in summary]
    if missing:
        raise InputError(f"{path} is not a complete summary: it lacks {', '.join(missing)}")
    return summary
