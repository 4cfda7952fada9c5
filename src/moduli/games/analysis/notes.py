"""What a reader should know before believing the numbers: each function gives sentences, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moduli.games.analysis.order import Features
from moduli.games.analysis.records import Run
from moduli.games.analysis.transfer import CONTROLS, Pair, score_range

MOST_NAMED = 6
"""Of runs or games that a sentence names."""


def unfinished(runs: Sequence[Run], used: Sequence[Run]) -> list[str]:
    """Which runs did not come to their end, and whether they are used all the same."""
    going = [str(run.path.parent) for run in runs if not run.finished]
    if not going:
        return []
    if any(run.finished for run in used):
        return [f"Not finished, and left out: {_named(going)}."]
    return [f"No run is finished: the numbers are of searches that go on ({_named(going)})."]


def dropped(generations: Sequence[int], kept: Sequence[int], shortest: Run) -> list[str]:
    """Which generations do not count for success."""
    beyond = [str(generation) for generation in generations if generation not in kept]
    if not beyond:
        return []
    summed = f"over generations {', '.join(map(str, kept))}" if len(kept) > 1 else f"at generation {kept[0]}"
    return [
        f"Success is measured {summed}, without {', '.join(beyond)}: "
        f"{shortest.path.parent} has {len(shortest.scores)} generations."
    ]


def settings(runs: Sequence[Run]) -> list[str]:
    """What differs between runs that are compared with each other."""
    sentences = []
    for what in ("generations", "evaluations", "trials"):
        found = {str(run.settings[what]) for run in runs if what in run.settings}
        if len(found) > 1:
            sentences.append(f"Runs differ in {what}: {', '.join(sorted(found, key=lambda n: (len(n), n)))}.")
    for game in sorted({run.game for run in runs}):
        first, *others = [run.settings["game"] for run in runs if run.game == game]
        differing = {key for other in others for key in other if other[key] != first.get(key)}
        if differing:
            sentences.append(f"Runs of {game} differ in {', '.join(sorted(differing))}.")
    return sentences


def pairs(
    pairs: Sequence[Pair],
    by_game: Mapping[str, Sequence[Run]],
    features: Features,
    complexity: Mapping[str, float],
) -> list[str]:
    """Why the effectiveness or an indicator of a pair is unknown."""
    sentences = []
    for target in dict.fromkeys(pair.target for pair in pairs):
        own = by_game[target]
        if score_range(own) == 0:
            sentences.append(f"All runs of {target} end with one score: effectiveness on it is unknown.")
        played = {run.condition for run in own}
        if missing := [control for control in CONTROLS if control not in played]:
            sentences.append(f"No run of {target} is from {' or '.join(missing)}, to compare transfer with.")
    games = sorted({game for pair in pairs for game in (pair.source, pair.target)})
    if unknown := [game for game in games if game not in features]:
        sentences.append(f"No complexity features are known of {_named(unknown)}.")
    if untrained := [game for game in games if game not in complexity]:
        sentences.append(f"No training complexity, as there is no run from scratch: {_named(untrained)}.")
    return sentences


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
