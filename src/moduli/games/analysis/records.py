"""Runs of a search as the analysis sees them: what was played under which condition, and how scores rose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moduli.errors import InputError, RunError
from moduli.files import read_json

SCRATCH, TRANSFER, RANDOM = "scratch", "transfer", "random"
CONDITIONS = (SCRATCH, TRANSFER, RANDOM)


@dataclass(frozen=True)
class Run:
    """One search for a network that plays a game.

    Attributes:
        path: its `search.json`, relative to the folder that was read.
        game: what was played; the target of a transfer.
        condition: `scratch`, `transfer` or `random`.
        source: the game of the network that was reused; None unless the condition is `transfer`.
        seed: of the search.
        scores: the score of the run at each generation, the first at 1: the highest mean score of any network
            until then (Meyerson 2018, section 4.4).
        finished: whether the search came to its end.
        test: mean score of the best network on fresh episodes; None before the end.
        settings: all settings of the search, as they were saved.
    """

    path: Path
    game: str
    condition: str
    source: str | None
    seed: int
    scores: tuple[float, ...]
    finished: bool
    test: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def final(self) -> float:
        """The score at the last generation."""
        return self.scores[-1]

    def time_to(self, threshold: float) -> float:
        """The first generation, counted from 1, whose score reaches a threshold; NaN if none does."""
        return next((n for n, score in enumerate(self.scores, 1) if score >= threshold), math.nan)


def load_runs(folder: Path | str) -> list[Run]:
    """All runs below a folder, sorted by their paths; those that are not finished among them.

    Args:
        folder: where to look for files `search.json`, at any depth.

    Raises:
        InputError: if there is no run, or two are the same: game, condition, source and seed.
        RunError: if a file is damaged.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("**/search.json"))
    if not paths:
        raise InputError(
            f"{folder} has no runs (no search.json in it or below): train first, or name another folder"
        )
    runs = [_read(path, folder) for path in paths]
    seen: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        same = seen.setdefault((run.game, run.condition, run.source, run.seed), run)
        if same is not run:
            raise InputError(
                f"{same.path.parent} and {run.path.parent} are the same setup and seed "
                f"({run.condition} {run.game}, seed {run.seed}): keep one of them in {folder}"
            )
    return runs


def of(runs: Iterable[Run], condition: str) -> list[Run]:
    """The runs of one condition."""
    return [run for run in runs if run.condition == condition]


def by_source(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The transfers among the runs of a game, by the game they reuse networks of, sorted by its name."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if run.source is not None:
            found.setdefault(run.source, []).append(run)
    return dict(sorted(found.items()))


def _read(path: Path, folder: Path) -> Run:
    record = read_json(path)
    try:
        settings, condition = record["settings"], record["settings"]["condition"]
        if condition not in CONDITIONS:
            raise ValueError(f"condition {condition!r} is none of {', '.join(CONDITIONS)}")
        source = settings.get("source") if condition == TRANSFER else None
        if condition == TRANSFER and not isinstance(source, str):
            raise ValueError("a transfer without the name of its source")
        numbers = [entry["generation"] for entry in record["generations"]]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError("generations are not 1, 2, 3, …")
        scores = tuple(_number(entry["best_so_far"]) for entry in record["generations"])
        finished = bool(record["finished"])
        if finished and not scores:
            raise ValueError("finished without a generation")
        return Run(
            path=path.relative_to(folder),
            game=str(settings["game"]["name"]),
            condition=condition,
            source=source,
            seed=int(settings["seed"]),
            scores=scores,
            finished=finished,
            test=_number(record["test"]["mean"]) if record.get("test") else None,
            settings=settings,
        )
    except KeyError as error:
        raise _damaged(path, f"no {error.args[0]!r}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise _damaged(path, str(error)) from None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} where a score should be")
    return float(value)


def _damaged(path: Path, reason: str) -> RunError:
    return RunError(f"{path} is damaged ({reason}): restore it, or take its folder away")
