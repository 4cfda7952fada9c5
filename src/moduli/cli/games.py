"""`moduli games`: networks that play games, and reuse networks of other games."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moduli.cli.console import as_table, out, say
from moduli.errors import InputError

if TYPE_CHECKING:
    from moduli.games.sweep import Plan

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Networks that play games, and reuse networks that were trained on other games (GRUSM-ESP).",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of `moduli games train`.")]
Generations = Annotated[int | None, typer.Option(metavar="N", help="How many, at most.")]
Evaluations = Annotated[int | None, typer.Option(metavar="N", help="Networks in each generation.")]
Trials = Annotated[int | None, typer.Option(metavar="N", help="Episodes of each network.")]
Units = Annotated[int | None, typer.Option(metavar="N", help="Hidden units at the start.")]
Test = Annotated[int | None, typer.Option(metavar="N", help="Fresh episodes of the best at the end.")]
Sticky = Annotated[float | None, typer.Option(metavar="P", help="Atari: probability of a repeated action.")]
FrameSkip = Annotated[int | None, typer.Option(metavar="N", help="Atari: frames for each action.")]
MaxFrames = Annotated[
    int | None, typer.Option(metavar="N", help="The longest episode: frames (Atari), actions (Gymnasium).")
]
Workers = Annotated[int, typer.Option(metavar="N", help="Processes that play; 1 is this one alone.")]


@app.command()
def train(
    games: Annotated[str, typer.Option(metavar="A,B", help="See `moduli games list`.")],
    folder: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder of all searches.")],
    generations: Generations = None,
    evaluations: Evaluations = None,
    trials: Trials = None,
    units: Units = None,
    test: Test = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Searches of each game.")] = 1,
    workers: Workers = 2,
    sticky: Sticky = None,
    frame_skip: FrameSkip = None,
    max_frames: MaxFrames = None,
) -> None:
    """Learn games from scratch: one search for each game and seed, in DIR/scratch/GAME/seedN.

    What is not given: 200 generations of 100 networks and 5 episodes for each, as in the dissertation, and 5
    hidden units at the start. On a laptop that takes days, so give less. In Atari games an action is repeated
    with probability 0.25, every frame has an action, and an episode has at most 50 000 frames.

    The same command again goes on with what was stopped, and repeats nothing.

    Example: `moduli games train --games pong,freeway --generations 20 --frame-skip 4 --out runs/games`
    """
    from moduli.games.named import game_named
    from moduli.games.sweep import plan_scratch

    played = _given(sticky=sticky, frame_skip=frame_skip, max_frames=max_frames)
    settings = _given(generations=generations, evaluations=evaluations, trials=trials, units=units, test=test)
    chosen = [game_named(name, **played) for name in _names(games)]
    _run(plan_scratch(folder, chosen, seeds, **settings), workers)


@app.command()
def transfer(
    folder: Folder,
    games: Annotated[
        str | None, typer.Option(metavar="A,B", help="Games to be learned; all of DIR if not given.")
    ] = None,
    sources: Annotated[
        str | None, typer.Option(metavar="A,B", help="Games whose networks are reused; all if not given.")
    ] = None,
    control: Annotated[bool, typer.Option("--control", help="Also reuse random networks.")] = False,
    generations: Generations = None,
    evaluations: Evaluations = None,
    trials: Trials = None,
    units: Units = None,
    test: Test = None,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Searches of each pair; those of its source if not given."),
    ] = None,
    workers: Workers = 2,
    sticky: Sticky = None,
    frame_skip: FrameSkip = None,
    max_frames: MaxFrames = None,
) -> None:
    """Learn games while reusing networks of others: every pair, in DIR/transfer/GAME-from-SOURCE/seedN.

    Sources are the best networks of DIR/scratch. What is not given is as it was there. With `--control`, also
    the searches of DIR/random/GAME/seedN. The same command again goes on with what was stopped.

    Example: `moduli games transfer runs/games --games pong --sources freeway --control`
    """
    from moduli.games.sweep import plan_random, plan_transfer

    played = _given(sticky=sticky, frame_skip=frame_skip, max_frames=max_frames)
    settings = _given(generations=generations, evaluations=evaluations, trials=trials, units=units, test=test)
    targets = _names(games) if games is not None else None
    plans = plan_transfer(
        folder, targets, _names(sources) if sources is not None else None, seeds, played, **settings
    )
    if control:
        plans += plan_random(folder, targets, seeds, played, **settings)
    _run(plans, workers)


@app.command()
def play(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="A search, such as DIR/scratch/pong/seed0.")
    ],
    episodes: Annotated[int, typer.Option(metavar="N", help="How many are played.")] = 10,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the first episode; the next has the next.")] = 0,
    gif: Annotated[Path | None, typer.Option(metavar="FILE.gif", help="Record the first episode.")] = None,
    every: Annotated[int, typer.Option(metavar="N", help="Actions between two frames of the GIF.")] = 4,
    strip: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Pictures of the first episode, side by side.")
    ] = None,
) -> None:
    """Let the best network of a search play: scores of fresh episodes, a GIF or a strip of pictures.

    The GIF shows the beginning of the first episode, the strip the whole of it.

    Example: `moduli games play runs/games/scratch/pong/seed0 --episodes 30 --gif pong.gif`
    """
    from moduli.games.recording import record_files
    from moduli.games.sweep import fresh_scores, load_player

    game, network = load_player(folder)
    for path in record_files(game, network, seed, gif, strip, every):
        say(f"written: {path}")
    scores = fresh_scores(game, network, episodes, seed)
    spread = f", standard deviation {scores.std(ddof=1):.6g}" if episodes > 1 else ""
    out.print(f"{game.name}: mean {scores.mean():.6g}{spread}, {scores.min():g} to {scores.max():g}")


@app.command()
def analyse(
    folder: Folder,
    to: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="DIR/analysis if not given.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="N,N", help="Generations that count; 1,10,50,100,200 if not given."),
    ] = None,
) -> None:
    """Compare the searches of DIR: learning curves, what transfer gained, whether that is predictable.

    What a search is worth is the sum of its scores at some generations, those that all searches have.

    Example: `moduli games analyse runs/games`
    """
    from moduli.games.analysis import GENERATIONS
    from moduli.report.games import write_analysis

    generations = GENERATIONS if at is None else _numbers(at)
    page = write_analysis(folder, to or folder / "analysis", generations=generations)
    say(f"analysis: {page}")


@app.command("list")
def list_games() -> None:
    """List the Atari games. Any environment of Gymnasium with a choice among a few actions can be played too.

    Example: `moduli games list`
    """
    from moduli.games.atari.names import FEATURES, GAMES

    rows = [(name, title, ", ".join(sorted(FEATURES[name]))) for name, title in GAMES.items()]
    out.print(as_table("", ("name", "game", "what it takes"), rows))
    say("and ids of Gymnasium such as CartPole-v1, or MODULE:ID where a module registers the environment")


# ------------------------------------------------------------------ what the commands share


def _names(words: str) -> list[str]:
    """`pong, freeway` as a list, each once."""
    names = list(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
    if not names:
        raise InputError(f"no game is named in {words!r}: give one or more, such as pong,freeway")
    return names


def _numbers(words: str) -> list[int]:
    """`1,10` as a list."""
    try:
        return [int(word) for word in words.split(",")]
    except ValueError:
        raise InputError(f"{words!r} are not generations: give whole numbers, such as 1,10,50") from None


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _run(plans: Sequence[Plan], workers: int) -> None:
    from moduli.evolution.evaluators import Board
    from moduli.games.sweep import evaluator_with, run_plans

    records = run_plans(plans, evaluator_with(workers), Board(), say)
    rows = [
        (plan.title, str(len(record["generations"])), *map("{:.6g}".format, _scores(record)))
        for plan, record in zip(plans, records, strict=True)
    ]
    out.print(as_table("", ("search", "generations", "best score", "test score"), rows))


def _scores(record: dict[str, Any]) -> tuple[float, float]:
    return record["best"]["fitness"], record["test"]["mean"]
