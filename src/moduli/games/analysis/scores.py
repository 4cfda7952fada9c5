"""Final scores of every game and condition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moduli.games.analysis.records import RANDOM, SCRATCH, Run, by_source, of


@dataclass(frozen=True)
class Score:
    """Final scores of the runs of a setup: their mean, standard deviation (NaN for one run) and number.

    A final score is the highest mean of a few episodes in a whole search: in a game of chance it is too good.
    ``test`` and ``test_spread`` are of the best networks of ``tested`` runs on fresh episodes, NaN for none.
    """

    mean: float
    spread: float
    runs: int
    test: float
    test_spread: float
    tested: int


@dataclass(frozen=True)
class Row:
    """Final scores of a game: from scratch, with random sources, with networks of each source game.

    ``best`` is the source with the highest mean final score; it is chosen by the scores of the search, never
    by those of fresh episodes. None where there are no such runs.
    """

    game: str
    scratch: Score | None
    random: Score | None
    transfer: Mapping[str, Score]
    best: str | None


def final_scores(runs: Sequence[Run]) -> Score:
    """Final and test scores of the runs of one setup, at least one."""
    tests = [run.test for run in runs if run.test is not None]
    finals = [run.final for run in runs]
    return Score(*_mean_and_spread(finals), len(finals), *_mean_and_spread(tests), len(tests))


def score_row(game: str, runs: Sequence[Run]) -> Row:
    """The line of a game in the table of final scores (Meyerson 2018, Table 4.1).

    Args:
        game: its name.
        runs: all of this game, under any condition.
    """
    scratch, random = (of(runs, control) for control in (SCRATCH, RANDOM))
    transfer = {source: final_scores(setup) for source, setup in by_source(runs).items()}
    best = max(transfer, key=lambda source: transfer[source].mean, default=None)
    return Row(
        game,
        final_scores(scratch) if scratch else None,
        final_scores(random) if random else None,
        transfer,
        best,
    )


def _mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    mean = float(np.mean(values)) if values else math.nan
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
