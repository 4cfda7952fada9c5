"""GRUSM-ESP on Atari games: Meyerson (2018), "General Reuse of Static Modules", chapter 4.

Networks evolve to play a game in three conditions: from scratch, reusing a network of another game, and
reusing a random network of the same size, which is the control for the number of weights. Sources are the
best networks of the searches from scratch with the same seed. Then the analysis of section 4.4: learning
curves, order of the games by complexity, transfer effectiveness and its prediction, transferability graphs.

  scale   games   searches   generations   evaluations   trials   frames   time
  smoke       2          6             3             8        1      300   15 s
  cpu         3         36            12            40        2    1 500   1 hour on 2 CPU cores
  paper       8        360           200           100        5   50 000   7 000 hours of one CPU core

Frames are those of the longest episode. What the dissertation leaves open is as in the defaults of `Esp` and
`AtariGame`: five units and subpopulations of ten at the start, acting in every frame, sources from the first
generation on. It has 333 searches of 72 setups, 4 or 5 of each; here there are 5.

The games of the cpu scale are Freeway (2 features), Space Invaders (3) and Seaquest (5, all of those two
among them): the whole range of complexity. ESP improves on them within so few generations; on Asterix, in a
trial with 15 generations, it did not. A burst comes after 3 generations without a better network instead of
15, else there were none. Success is measured at generations 1, 4, 8 and 12. The 5 best networks play 30 fresh
episodes, so that a source is not one that was lucky in two.

What that can show: that all conditions run, how fast networks learn at first, and effects of transfer that
are large. What it cannot: scores of the dissertation, as episodes are cut after 25 seconds of play and
searches after 480 evaluations of 20 000; whether transfer pays in the long run; small effects, with 3 seeds
and 2 trials; and the prediction of transfer effectiveness (Figure 4.4), which needs four games or more.

The time of the paper scale is 100 000 episodes of each search, times what one of random networks takes:
0.06 s (Asterix) to 2.2 s (Breakout, where who never fires waits until the cap), 0.7 s in the mean over games,
measured with 20 episodes of each. Trained networks play longer in some games, shorter in others.

  python experiments/grusm_atari.py --scale cpu
  python experiments/grusm_atari.py --scale paper --ray auto

The second command uses a Ray cluster, but a search has 10 jobs at a time, and searches run one after another.
Machines that share a folder finish sooner: each learns some games from scratch, and when all are finished,
the same games with sources. The last command analyses what all have done:

  python experiments/grusm_atari.py --scale paper --games pong --workers 10 --conditions scratch
  python experiments/grusm_atari.py --scale paper --games pong --workers 10 --conditions transfer random
  python experiments/grusm_atari.py --scale paper
"""

from __future__ import annotations

import platform
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import arguments
from matplotlib.figure import Figure

import moduli
from moduli.errors import InputError, Interrupted, RunError
from moduli.evolution.evaluators import Board, Evaluator, Ray
from moduli.files import write_file, write_json
from moduli.games import AtariGame
from moduli.games.analysis import GENERATIONS, analyse
from moduli.games.atari.names import FEATURES, GAMES
from moduli.games.sweep import Plan, evaluator_with, plan_random, plan_scratch, plan_transfer, run_plans
from moduli.report.games import game_pictures, write_analysis
from moduli.report.style import png

CONDITIONS = ("scratch", "transfer", "random")
OWN_OPTIONS: dict[str, dict[str, Any]] = {
    "--games": {"nargs": "+", "choices": GAMES, "metavar": "GAME", "help": "only learn these"},
    "--conditions": {"nargs": "+", "choices": CONDITIONS, "default": CONDITIONS, "help": "only run these"},
    "--workers": {"type": int, "default": 2, "help": "processes that play on this machine"},
    "--ray": {"help": "address of a Ray cluster, or auto"},
}


class Scale(NamedTuple):
    """How much is computed.

    Attributes:
        games: each is a target of transfer, and a source.
        max_frames: the longest episode.
        seeds: of each game and pair.
        evolution: settings of the search, see `moduli.games.search.Esp`; the others are its defaults.
        generations: at which success is measured.
    """

    games: Sequence[str]
    max_frames: int
    seeds: int
    evolution: dict[str, Any]
    generations: Sequence[int]


SCALES = {
    "smoke": Scale(
        ("space_invaders", "seaquest"),
        300,
        1,
        {
            "generations": 3,
            "evaluations": 8,
            "trials": 1,
            "subpopulation": 4,
            "patience": 1,
            "finalists": 2,
            "test": 2,
        },
        (1, 2, 3),
    ),
    "cpu": Scale(
        ("freeway", "space_invaders", "seaquest"),
        1500,
        3,
        {"generations": 12, "evaluations": 40, "trials": 2, "patience": 3},
        (1, 4, 8, 12),
    ),
    "paper": Scale(tuple(GAMES), 50_000, 5, {}, GENERATIONS),
}


def plans(
    scale: Scale, folder: Path, seeds: int, games: Sequence[str]
) -> dict[str, Callable[[], list[Plan]]]:
    """What each condition runs; sources must be trained before a plan that reuses them can be made."""
    played = [AtariGame(name, max_frames=scale.max_frames) for name in games]
    return {
        "scratch": lambda: plan_scratch(folder, played, seeds, **scale.evolution),
        "transfer": lambda: plan_transfer(folder, games, scale.games, seeds),
        "random": lambda: plan_random(folder, games, seeds),
    }


def evaluator(options: Namespace) -> Evaluator:
    """Where networks play; at the smallest scale here, as other processes take long to start."""
    if options.ray:
        return Ray(options.ray)
    return evaluator_with(1 if options.scale == "smoke" else options.workers)


def write_results(folder: Path, into: Path, scale: Scale) -> None:
    """The analysis of all runs that are finished: a page beside them, numbers and figures in the results."""
    page = write_analysis(folder, folder / "analysis", FEATURES, scale.generations)
    analysis = analyse(folder, FEATURES, scale.generations)
    versions = {"moduli": moduli.__version__, "python": platform.python_version()}
    summary = {"schema": 1, "kind": "games", "name": "GRUSM-ESP on Atari games", "versions": versions}
    settings = {"max_frames": scale.max_frames, **scale.evolution}
    write_json(into / "summary.json", {**summary, "settings": settings, **analysis.to_json()})
    for name, picture in game_pictures(analysis).items():
        if isinstance(picture.figure, Figure):
            write_file(into / f"{name}.png", png(picture.figure, dpi=110))
    for note in analysis.notes:
        print(note)
    print(f"results in {into}, a page in {page}")


def main() -> None:
    options = arguments("grusm_atari", __doc__ or "", OWN_OPTIONS)
    scale = SCALES[options.scale]
    todo = plans(scale, options.folder, options.seeds or scale.seeds, options.games or scale.games)
    try:
        for condition in options.conditions:
            run_plans(todo[condition](), evaluator(options), Board())
        write_results(options.folder, options.results / "grusm_atari" / options.scale, scale)
    except (Interrupted, InputError, RunError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
