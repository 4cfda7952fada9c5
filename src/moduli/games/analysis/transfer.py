"""What transfer is worth: learning curves, transfer effectiveness, and what may predict it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moduli.games.analysis.order import Features
from moduli.games.analysis.records import RANDOM, SCRATCH, Run, by_source, of

Array = NDArray[np.float64]
CONTROLS = (SCRATCH, RANDOM)
INDICATORS = (
    "feature similarity",
    "source feature complexity",
    "target feature complexity",
    "source training complexity",
    "target training complexity",
)


# ------------------------------------------------------------------ learning curves


@dataclass(frozen=True)
class Curve:
    """Mean and standard deviation over ``runs`` of the score at each generation, `[generations]`.

    The spread is NaN for one run.
    """

    mean: Array
    spread: Array
    runs: int


def learning_curve(runs: Sequence[Run]) -> Curve:
    """The mean score by generation. A shorter run keeps its last score, so that no line shows survivors."""
    length = max(len(run.scores) for run in runs)
    scores = np.array([run.scores + (run.final,) * (length - len(run.scores)) for run in runs])
    spread = scores.std(axis=0, ddof=1) if len(runs) > 1 else np.full(length, np.nan)
    return Curve(scores.mean(axis=0), spread, len(runs))


# ------------------------------------------------------------------ transfer effectiveness


@dataclass(frozen=True)
class Pair:
    """What became of reusing networks of the game ``source`` for the game ``target``.

    Attributes:
        source: the game of the reused networks.
        target: the game that is learned.
        runs: how many.
        success: of the setup, see `success`.
        effectiveness: by control (`scratch`, `random`); NaN where it is unknown.
        indicators: the five of `INDICATORS`; NaN where one is unknown.
    """

    source: str
    target: str
    runs: int
    success: float
    effectiveness: Mapping[str, float]
    indicators: Mapping[str, float]


def success(runs: Sequence[Run], generations: Sequence[int]) -> float:
    """The sum over some generations of the mean score of the runs of a setup (Meyerson 2018, section 4.4).

    Args:
        runs: of one setup. NaN for none.
        generations: counted from 1; no run may be shorter than the last.
    """
    if not runs:
        return math.nan
    return float(sum(np.mean([run.scores[g - 1] for run in runs]) for g in generations))


def score_range(runs: Sequence[Run]) -> float:
    """Highest minus lowest final score of all runs of a game, of any condition."""
    finals = [run.final for run in runs]
    return max(finals) - min(finals)


def transfer_effectiveness(setup: float, control: float, span: float) -> float:
    """TE = (success of the setup - success of the control) / range of the final scores of the game.

    NaN if one of them is unknown, or the range is zero.
    """
    return (setup - control) / span if span > 0 else math.nan


# ------------------------------------------------------------------ indicators


def threshold(scratch: Sequence[Run]) -> float:
    """The score that every run from scratch of a game reaches: the lowest of their highest scores."""
    return min(max(run.scores) for run in scratch)


def training_complexity(scratch: Sequence[Run]) -> float:
    """Mean number of generations that runs from scratch of a game take to its threshold; NaN without runs."""
    if not scratch:
        return math.nan
    reached = threshold(scratch)
    return float(np.mean([run.time_to(reached) for run in scratch]))


def indicators(
    source: str, target: str, features: Features, complexity: Mapping[str, float]
) -> dict[str, float]:
    """The five numbers from which the effectiveness of a transfer is predicted (Meyerson 2018, section 4.4).

    Args:
        source: a game.
        target: another.
        features: of the games; without those of a game, what depends on them is NaN.
        complexity: training complexity of each game.
    """
    own, others = (set(features[g]) if g in features else None for g in (source, target))
    numbers = (
        math.nan if own is None or others is None else len(own & others),
        math.nan if own is None else len(own),
        math.nan if others is None else len(others),
        complexity.get(source, math.nan),
        complexity.get(target, math.nan),
    )
    return dict(zip(INDICATORS, map(float, numbers), strict=True))


# ------------------------------------------------------------------ pairs


def pairs_to(
    target: str,
    runs: Sequence[Run],
    features: Features,
    complexity: Mapping[str, float],
    generations: Sequence[int],
) -> list[Pair]:
    """Effectiveness and indicators of every source that was reused for a game.

    Args:
        target: the game.
        runs: all of it, under any condition.
        features: of the games.
        complexity: training complexity of each game.
        generations: at which success is measured.
    """
    controls = {control: success(of(runs, control), generations) for control in CONTROLS}
    pairs = []
    for source, setup in by_source(runs).items():
        worth, span = success(setup, generations), score_range(runs)
        effectiveness = {
            control: transfer_effectiveness(worth, value, span) for control, value in controls.items()
        }
        numbers = indicators(source, target, features, complexity)
        pairs.append(Pair(source, target, len(setup), worth, effectiveness, numbers))
    return pairs
