"""The page about transfer between games: one file that opens without a network, made from folders of runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from moduli.evaluation.tables import NOTHING, decimals, interval_text, number_text, p_text
from moduli.files import write_file, write_json
from moduli.games.analysis import (
    GENERATIONS,
    INDICATORS,
    PUBLISHED,
    Analysis,
    Features,
    Pair,
    Row,
    Score,
    analyse,
)
from moduli.games.atari.names import FEATURES
from moduli.report.games_curves import game_curves_figure, title
from moduli.report.games_order import complexity_figure
from moduli.report.pictures import Picture
from moduli.report.style import png
from moduli.report.templates import render
from moduli.report.transfer import prediction_figure, transferability_figure

Line = tuple[str, list[str]]
"""The head of a row of a table and its cells, of one line or two."""


def write_analysis(
    folder: Path | str,
    out: Path | str,
    features: Features = FEATURES,
    generations: Iterable[int] = GENERATIONS,
) -> Path:
    """Analyses a folder of runs, and writes `analysis.json`, `plots/*.png` and `analysis.html`.

    Parts for which there are no runs are left out.

    Args:
        folder: with runs below it, see `moduli.games.analysis.analyse`.
        out: where the files are written; may be the same folder.
        features: what successful play of each game requires, by name; by default of eight Atari games.
        generations: at which success is measured, counted from 1.

    Returns:
        The path of the page.

    Raises:
        InputError: if there are no runs, or they cannot be analysed.
        RunError: if a file of a run is damaged.
        SaveError: if a file cannot be written.
    """
    analysis, out = analyse(folder, features, generations), Path(out)
    pictures = game_pictures(analysis)
    write_json(out / "analysis.json", analysis.to_json())
    for picture in pictures.values():
        if isinstance(picture.figure, Figure):
            write_file(out / "plots" / f"{picture.name}.png", png(picture.figure))
    return write_file(out / "analysis.html", game_page(analysis, pictures))


def game_pictures(analysis: Analysis) -> dict[str, Picture]:
    """The figures for which there are runs, by name, with what they show."""
    drawn = [
        (
            "game-curves",
            "Mean score by generation. The score of a run at a generation is the highest mean score of any "
            "network until then. Transfer is over all sources. A run that is shorter keeps its last score.",
            "Learning curves of every game: transfer, random and scratch.",
            game_curves_figure(analysis),
        ),
        (
            "game-complexity",
            "Left: what successful play of each game requires. Right: the order of the games by inclusion of "
            "these features. Every path from none to a game contains each feature of the game exactly once.",
            "Table of the features of each game, and a diagram of their order by inclusion of features.",
            complexity_figure(analysis),
        ),
        (
            "transferability",
            "An arrow from a source to a target: learning the target with a network of the source is better "
            "than the control, that is, its transfer effectiveness is positive. The stronger, the larger.",
            "Directed graphs of the games, one for each control; the numbers are in the tables below.",
            transferability_figure(analysis),
        ),
        (
            "prediction",
            "Each point is a pair. It is predicted by a linear regression on five indicators that was fitted "
            "to the pairs with other targets. On the dashed line the prediction is right.",
            "Scatter plots of predicted and actual transfer effectiveness, one for each control.",
            prediction_figure(analysis),
        ),
    ]
    return {name: Picture(name, text, alt, figure) for name, text, alt, figure in drawn if figure is not None}


def game_page(analysis: Analysis, pictures: dict[str, Picture]) -> str:
    """The page as HTML."""
    counts = [(len(analysis.games), "game"), (len(analysis.runs), "run"), (len(analysis.pairs), "pair")]
    return render(
        "games.html.jinja",
        lead=" · ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counts if count),
        analysis=analysis,
        pictures=pictures,
        verdicts=_verdicts(analysis),
        published=any(row.game in PUBLISHED for row in analysis.table),
        scores=[_score_line(row) for row in analysis.table],
        tests=[_test_line(row) for row in analysis.table if _tested(row)],
        games=[_game_line(analysis, game) for game in analysis.games],
        matrices={control: _matrix(analysis, control) for control in analysis.graphs},
        targets=[title(game) for game in _targets(analysis)],
        coefficients=_coefficients(analysis),
        against=[f"against {control}" for control in analysis.predictions],
        indicators=INDICATORS,
        pairs=[_pair_line(pair) for pair in analysis.pairs],
    )


# ------------------------------------------------------------------ words and lines of tables


def _verdicts(analysis: Analysis) -> list[str]:
    verdicts = []
    for control, edges in analysis.graphs.items():
        known = [pair for pair in analysis.pairs if not math.isnan(pair.effectiveness[control])]
        text = f"Transfer is better than {control} on {len(edges)} of {len(known)} pairs."
        prediction = analysis.predictions[control]
        if not math.isnan(prediction.r):
            p = p_text(prediction.p)
            text += f" Predicted and actual effectiveness: R = {number_text(prediction.r, 2)}, p "
            text += f"{p if p.startswith('<') else f'= {p}'}."
        if prediction.strongest:
            text += f" The strongest indicator is {prediction.strongest}."
        verdicts.append(text)
    return verdicts


def _score_line(row: Row) -> Line:
    """Final scores of the searches, and beside them those that were published."""
    best = row.transfer[row.best] if row.best else None
    shown = [row.scratch, row.random, best]
    digits = decimals([{"mean": s.mean, "ci95": _known(s.spread)} for s in shown if s])
    cells = [
        _score_text(score.mean, score.spread, score.runs, digits) if score else NOTHING for score in shown
    ]
    if row.best:
        cells[-1] += f"\n{title(row.best)}"
    known = PUBLISHED.get(row.game)
    if known is None:
        return title(row.game), [*cells, *[NOTHING] * 5]
    numbers = [known.scratch, known.random, known.transfer, known.human, known.dqn]
    places = max(len(f"{number:.10g}".partition(".")[2]) for number in numbers)
    texts = [number_text(number, places) for number in numbers]
    texts[2] += f"\n{title(known.source)}"
    return title(row.game), [*cells, *texts]


def _test_line(row: Row) -> Line:
    """Scores of the best networks on fresh episodes, for the same setups."""
    shown = [row.scratch, row.random, row.transfer[row.best] if row.best else None]
    tested = [score if score and score.tested else None for score in shown]
    digits = decimals([{"mean": s.test, "ci95": _known(s.test_spread)} for s in tested if s])
    texts = [_score_text(s.test, s.test_spread, s.tested, digits) if s else NOTHING for s in tested]
    if row.best and tested[-1]:
        texts[-1] += f"\n{title(row.best)}"
    return title(row.game), texts


def _tested(row: Row) -> bool:
    scores: Sequence[Score | None] = [row.scratch, row.random, *row.transfer.values()]
    return any(score and score.tested for score in scores)


def _score_text(mean: float, spread: float, runs: int, digits: int) -> str:
    return f"{interval_text(mean, _known(spread), digits)} ({runs})"


def _game_line(analysis: Analysis, game: str) -> Line:
    features, time = analysis.features.get(game), analysis.complexity.get(game)
    names = NOTHING if features is None else ", ".join(sorted(features)) or "none"
    return title(game), [names, number_text(time, 1)]


def _targets(analysis: Analysis) -> list[str]:
    return list(dict.fromkeys(pair.target for pair in analysis.pairs))


def _matrix(analysis: Analysis, control: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Transfer effectiveness against a control, a line for each source, a cell for each target."""
    worth = {(pair.source, pair.target): pair.effectiveness[control] for pair in analysis.pairs}
    sources = sorted({pair.source for pair in analysis.pairs}, key=analysis.games.index)
    lines = []
    for source in sources:
        values = [worth.get((source, target), math.nan) for target in _targets(analysis)]
        cells = [{"text": number_text(_known(value), 2, sign=True), "best": value > 0} for value in values]
        lines.append((title(source), cells))
    return lines


def _coefficients(analysis: Analysis) -> list[Line]:
    """A line for each indicator, a cell for each control; nothing if no coefficients are known."""
    found = [prediction.coefficients or {} for prediction in analysis.predictions.values()]
    if not any(found):
        return []
    return [(name, [number_text(c.get(name), 2, sign=True) for c in found]) for name in INDICATORS]


def _pair_line(pair: Pair) -> Line:
    effectiveness = [number_text(_known(value), 2, sign=True) for value in pair.effectiveness.values()]
    indicators = [
        number_text(_known(value), 1 if "training" in n else 0) for n, value in pair.indicators.items()
    ]
    name = f"{title(pair.source)} → {title(pair.target)}"
    return name, [str(pair.runs), number_text(pair.success, 1), *effectiveness, *indicators]


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number
