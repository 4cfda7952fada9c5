"""Reads `metrics.jsonl`, what a run logged while it trained, for the learning curves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

KEYS = ["method", "seed", "step", "split", "task"]
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Records:
    """The lines of `metrics.jsonl`.

    ``curves`` has the columns method, seed, step, split, task, loss, and one per metric; ``scales``,
    ``decoders``, ``balance``, ``schedule``, ``evolution``, ``modules`` and ``hypermodules`` are the records
    of the splits of these names, by method, seed and step; ``skipped`` counts lines that could not be read
    (a killed run leaves half a line). A line that was written twice, because a run was resumed, counts once,
    as written last.
    """

    curves: pd.DataFrame
    scales: list[dict[str, Any]]
    decoders: list[dict[str, Any]]
    balance: list[dict[str, Any]]
    schedule: list[dict[str, Any]]
    evolution: list[dict[str, Any]]
    modules: list[dict[str, Any]]
    hypermodules: list[dict[str, Any]]
    skipped: int = 0

    @cached_property
    def validation(self) -> dict[tuple[str, str], pd.DataFrame]:
        """The rows of ``curves`` on the validation split, by method and task."""
        rows = self.curves[self.curves["split"] == "val"]
        found: Any = rows.groupby(["method", "task"], sort=False)
        return dict(iter(found))


def read_records(path: Path | str) -> Records:
    """Reads a `metrics.jsonl`; without such a file there are no records."""
    lines = list(_lines(Path(path)))
    known = [
        line for line in lines if isinstance(line, dict) and {"method", "seed", "step", "split"} <= set(line)
    ]
    scales = {
        (line["method"], line["seed"], line["step"]): line
        for line in known
        if line["split"] == "scales" and isinstance(line.get("scales"), dict)
    }
    curves = pd.DataFrame([line for line in known if line["split"] in SPLITS and "task" in line])
    if curves.empty:
        curves = pd.DataFrame(columns=[*KEYS, "loss"])
    numbers = [column for column in curves.columns if column not in KEYS]
    curves[numbers] = curves[numbers].apply(pd.to_numeric, errors="coerce")
    curves = curves.drop_duplicates(KEYS, keep="last").sort_values("step", kind="stable", ignore_index=True)
    skipped = len(lines) - len(known)
    decoders, evolution = _of_tasks(known, "decoders"), _of_tasks(known, "evolution")
    splits = ("balance", "schedule", "modules", "hypermodules")
    balance, schedule, modules, hyper = (_told(known, split) for split in splits)
    return Records(curves, _by_step(scales), decoders, balance, schedule, evolution, modules, hyper, skipped)


def _of_tasks(known: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """Records of a split of which a step has one for each task."""
    found = {
        (line["method"], line["seed"], line["step"], line["task"]): line
        for line in known
        if line["split"] == split and "task" in line
    }
    return _by_step(found)


def _told(known: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """Records of a split of which a step may have several, with different keys."""
    found = {
        (line["method"], line["seed"], line["step"], frozenset(line)): line
        for line in known
        if line["split"] == split
    }
    return _by_step(found)


def _by_step(records: dict[tuple, dict[str, Any]]) -> list[dict[str, Any]]:
    """Sorted by method, seed and step; records of one step keep their order."""
    return [records[key] for key in sorted(records, key=lambda key: key[:3])]


def _lines(path: Path) -> Iterator[Any]:
    """Parsed lines; None for one that is not JSON."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                yield None
