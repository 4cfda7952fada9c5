"""What a folder of runs says: which game gains from which, and whether that was to be expected."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moduli.errors import InputError
from moduli.files import finite
from moduli.games.analysis import notes
from moduli.games.analysis.order import Features, Order, partial_order
from moduli.games.analysis.prediction import Prediction, predict_effectiveness
from moduli.games.analysis.records import CONDITIONS, SCRATCH, Run, load_runs, of
from moduli.games.analysis.scores import Row, score_row
from moduli.games.analysis.transfer import (
    CONTROLS,
    Curve,
    Pair,
    learning_curve,
    pairs_to,
    training_complexity,
)
from moduli.games.atari.names import FEATURES

GENERATIONS = (1, 10, 50, 100, 200)
"""At which success is measured (Meyerson 2018, section 4.4); dense at first, as early success counts most."""


@dataclass(frozen=True)
class Analysis:
    """What `analyse` found.

    Attributes:
        runs: those the numbers are made from.
        games: that were played, in the order of ``features``, others after them.
        features: of each game, as far as they are known.
        order: of the games by complexity; None if no game has known features.
        generations: at which success was measured.
        curves: learning curves by game and condition.
        complexity: generations to the threshold, by game; only of games that were learned from scratch.
        pairs: transfer effectiveness and indicators of every source and target.
        predictions: of transfer effectiveness, by control; only of controls that were played.
        graphs: by control, the pairs (source, target) with a positive effectiveness (Figure 4.5).
        table: final scores of each game.
        notes: what a reader should know before believing the numbers.
    """

    runs: tuple[Run, ...]
    games: tuple[str, ...]
    features: Mapping[str, frozenset[str]]
    order: Order | None
    generations: tuple[int, ...]
    curves: Mapping[str, Mapping[str, Curve]]
    complexity: Mapping[str, float]
    pairs: tuple[Pair, ...]
    predictions: Mapping[str, Prediction]
    graphs: Mapping[str, tuple[tuple[str, str], ...]]
    table: tuple[Row, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, without the settings of the runs; what is unknown is None."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        order = self.order and {
            "nodes": [{"features": sorted(node), "games": games} for node, games in self.order.games.items()],
            "edges": [{"from": sorted(low), "to": sorted(high)} for low, high in self.order.edges],
        }
        return finite(_plain({**fields, "order": order}))


def analyse(
    folder: Path | str, features: Features = FEATURES, generations: Iterable[int] = GENERATIONS
) -> Analysis:
    """Analyses runs as chapter 4 of Meyerson (2018) does: is transfer effective, and is that predictable?

    Runs that are not finished are left out, unless none is. What there are no runs for is left empty.

    Args:
        folder: any folder with runs below it; what a run is, its settings say, not the name of its folder.
        features: what successful play of each game requires, by name of game; by default of eight Atari
            games. A game that is not in it has no feature indicators.
        generations: at which success is measured, counted from 1. Those beyond the shortest run are dropped
            for all setups, so that these stay comparable.

    Raises:
        InputError: if there is no run, none has a generation, two are the same, or no generation is left.
        RunError: if a file is damaged.
    """
    found = load_runs(folder)
    runs = _usable(found)
    asked = sorted(set(generations))
    shortest = min(runs, key=lambda run: len(run.scores))
    kept = _reached(asked, shortest)

    played = sorted({name for run in runs for name in (run.game, run.source) if name})
    games = sorted(played, key=lambda game: [*features, game].index(game))
    known = {game: frozenset(features[game]) for game in games if game in features}
    by_game = {game: [run for run in runs if run.game == game] for game in games}
    scratch = {game: of(own, SCRATCH) for game, own in by_game.items()}
    complexity = {game: training_complexity(own) for game, own in scratch.items() if own}
    pairs = [pair for game, own in by_game.items() for pair in pairs_to(game, own, known, complexity, kept)]
    pairs.sort(key=lambda pair: (games.index(pair.target), games.index(pair.source)))
    controls = [control for control in CONTROLS if pairs and of(runs, control)]
    predictions = {control: predict_effectiveness(pairs, control) for control in controls}
    return Analysis(
        runs=tuple(runs),
        games=tuple(games),
        features=known,
        order=partial_order(known) if known else None,
        generations=tuple(kept),
        curves={game: _curves(own) for game, own in by_game.items() if own},
        complexity=complexity,
        pairs=tuple(pairs),
        predictions=predictions,
        graphs={
            control: tuple((pair.source, pair.target) for pair in pairs if pair.effectiveness[control] > 0)
            for control in controls
        },
        table=tuple(score_row(game, own) for game, own in by_game.items() if own),
        notes=(
            *notes.unfinished(found, runs),
            *(notes.dropped(asked, kept, shortest) if pairs else ()),
            *notes.settings(runs),
            *notes.pairs(pairs, by_game, known, complexity),
            *(prediction.note for prediction in predictions.values() if prediction.note),
        ),
    )


def _usable(runs: Sequence[Run]) -> list[Run]:
    """Finished runs; if there are none, all that have a generation."""
    usable = [run for run in runs if run.finished] or [run for run in runs if run.scores]
    if not usable:
        raise InputError(f"no run has a generation yet ({len(runs)} began): analyse when one has")
    return usable


def _reached(generations: Sequence[int], shortest: Run) -> list[int]:
    """The generations that every run reached."""
    length = len(shortest.scores)
    kept = [generation for generation in generations if 1 <= generation <= length]
    if not kept:
        listed = ", ".join(map(str, generations)) or "none"
        raise InputError(
            f"success cannot be measured at generations {listed}: {shortest.path.parent}, the shortest run, "
            f"has 1 to {length}; give some of these"
        )
    return kept


def _curves(runs: Sequence[Run]) -> dict[str, Curve]:
    found = {condition: of(runs, condition) for condition in CONDITIONS}
    return {condition: learning_curve(own) for condition, own in found.items() if own}


def _plain(value: Any) -> Any:
    """The same nest as dicts and lists of what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}
        return _plain(fields)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.as_posix() if isinstance(value, Path) else value
