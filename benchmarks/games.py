"""How fast networks play Atari games: beside the emulator alone, beside a plain loop, and by two workers.

Time per frame, in turns and in one process, of
  - the emulator (ALE) alone with random actions, which is the limit;
  - `play` with networks of ten hidden units that see grids of objects, as in a job of a search; and the same
    with a network of another game that is reused;
  - a plain loop: one Gymnasium environment, the same grids, the same network in PyTorch. The environment
    gives bytes of memory, so it draws nothing, and it is seeded once, as each seed takes it 0.1 s.

The figures are time of ours over time of the other: 1.667 is 60 % of the limit, 0.333 is three times the
plain loop. No loop in one process is faster than `emulator alone / plain loop`. The parts of a step of ours
are timed as well, and what it takes to begin. Then a generation of 100 networks is played by one worker and
by two, that are up, in turns: 0.588 is 1.7 times as fast.

  python benchmarks/games.py [--quick] [--json FILE]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ale_py
import gymnasium
import numpy as np
import torch
from ale_py import roms
from harness import arguments, ratio, report, seconds
from torch import Tensor, nn

from moduli.evolution.evaluators import Job, Processes, Workers
from moduli.games import (
    Architecture,
    AtariGame,
    Network,
    Networks,
    Neuron,
    Source,
    Team,
    play,
    random_network,
)
from moduli.games.atari.actions import ACTIONS
from moduli.games.atari.layouts import object_grids
from moduli.games.atari.names import GAMES

UNITS, SLOTS = 10, 16
TARGETS = {"of the limit": 0.6, "times the plain loop": 3, "two workers": 1.7}
Timed = Callable[[], float]
"""Gives seconds per frame."""


# ------------------------------------------------------------------ who plays


def networks(game: AtariGame, number: int, source: bool = False) -> Networks:
    """Random networks, which reuse one of Freeway's shape if asked for."""
    units = (Neuron(),) * UNITS
    reused = random_network(Architecture(AtariGame("freeway").inputs, game.outputs, units), 0)
    recruits = (Source(reused), *units) if source else units
    architecture = Architecture(game.inputs, game.outputs, recruits)
    return Networks.of(*(random_network(architecture, seed) for seed in range(number)))


class Plain(nn.Module):
    """A network without sources, as one would write it in PyTorch."""

    def __init__(self, network: Network):
        super().__init__()
        weights = {key: torch.tensor(w[0]) for key, w in Networks.of(network).weights().items()}
        outputs, units = weights["hidden", "output"].shape
        self.hidden = nn.Linear(network.architecture.inputs, units)
        self.output = nn.Linear(units, outputs, bias=False)
        self.loop = nn.Parameter(weights["loop", "hidden"][:, 0])
        self.hidden.weight.data = weights["input", "hidden"]
        self.hidden.bias.data = weights["bias", "hidden"][:, 0]
        self.output.weight.data = weights["hidden", "output"]

    def forward(self, seen: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.tanh(self.hidden(seen) + self.loop * state)
        return torch.tanh(self.output(state)), state


# ------------------------------------------------------------------ what is timed


def bare(name: str, frames: int) -> Timed:
    """The emulator alone, with random actions."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale: Any = ale_py.ALEInterface()
    ale.setFloat("repeat_action_probability", 0.25)
    ale.loadROM(roms.get_rom_path(name))
    actions = np.random.default_rng(0).integers(ACTIONS.size, size=frames).tolist()

    def run() -> None:
        for action in actions:
            ale.act(action)
            if ale.game_over():
                ale.reset_game()

    return lambda: seconds(run, 1, "cpu") / frames


def ours(game: AtariGame, some: Networks, trials: int) -> Timed:
    """Networks play as they do in a job of a search."""
    seeds = np.arange(len(some) * trials).reshape(len(some), trials)
    frames = play(game, some, seeds, SLOTS).lengths.sum().item()
    return lambda: seconds(lambda: play(game, some, seeds, SLOTS), 1, "cpu") / frames


def plain(name: str, network: Network, frames: int) -> Timed:
    """One environment at a time."""
    gymnasium.register_envs(ale_py)
    environment = gymnasium.make(
        f"ALE/{GAMES[name].replace(' ', '')}-v5", obs_type="ram", frameskip=1,
        repeat_action_probability=0.25, full_action_space=True,
    )  # fmt: skip
    grids, module = object_grids(name), Plain(network)
    actions = ACTIONS.tolist()
    first, _ = environment.reset(seed=0)

    @torch.inference_mode()
    def run() -> None:
        memory, state = first, torch.zeros(UNITS)
        for _ in range(frames):
            outputs, state = module(torch.from_numpy(grids(memory[None])[0]), state)
            action = actions[int(outputs[9] > 0)][int(outputs[:9].argmax())]
            memory, _, terminated, truncated, _ = environment.step(action)
            if terminated or truncated:
                memory, _ = environment.reset()
                state = torch.zeros(UNITS)

    return lambda: seconds(run, 1, "cpu") / frames


def assert_same(game: AtariGame, some: Networks) -> None:
    """The network in PyTorch computes what ours does."""
    team, module = Team(some, 1), Plain(some.network(0))
    seen = np.random.default_rng(0).integers(2, size=(3, 1, game.inputs)).astype(np.float32)
    state = torch.zeros(UNITS)
    for row in seen:
        outputs, state = module(torch.from_numpy(row[0]), state)
        np.testing.assert_allclose(np.tanh(team.step(row)[0]), outputs.detach(), atol=1e-4)


def split(game: AtariGame, some: Networks, steps: int) -> dict[str, float]:
    """Seconds per frame of the parts of a step, with all slots taken."""
    rows = np.arange(SLOTS)
    arena, team = game.open(SLOTS), Team(some, SLOTS)
    for row in range(SLOTS):
        team.load(row, row % len(some))
        arena.reset(row, row)
    parts = {"observation": 0.0, "network": 0.0, "emulator and actions": 0.0}
    for step in range(steps):
        began = time.perf_counter()
        seen = arena.observe(rows)
        observed = time.perf_counter()
        outputs = team.step(seen)
        computed = time.perf_counter()
        _, ended = arena.step(rows, outputs)
        acted = time.perf_counter()
        taken = (observed - began, computed - observed, acted - computed)
        parts = {part: parts[part] + some for part, some in zip(parts, taken, strict=True)}
        for row in np.flatnonzero(ended):
            arena.reset(int(row), step)
    arena.close()
    return {part: total / steps / SLOTS for part, total in parts.items()}


def start_up(game: AtariGame) -> dict[str, float]:
    """Seconds until an emulator is there, the next time too, and until an episode begins."""
    slots = 3 * SLOTS  # more than are kept from before

    def opened() -> float:
        began = time.perf_counter()
        arena = game.open(slots)
        taken = time.perf_counter() - began
        arena.close()
        return taken / slots

    first, again = opened(), opened()
    arena = game.open(1)
    begin = seconds(lambda: arena.reset(0, 0), 100, "cpu")
    arena.close()
    return {"emulator": first, "emulator again": again, "episode": begin}


# ------------------------------------------------------------------ workers


def played(game: AtariGame, content: tuple[Networks, np.ndarray]) -> list[list[float]]:
    """In the worker: scores of some networks."""
    return play(game, *content).scores.tolist()


def generation(game: AtariGame, number: int, trials: int) -> list[Job]:
    """Ten networks for each job, as in a search."""
    everyone = networks(game, number)
    seeds = np.arange(number * trials).reshape(number, trials)
    parts = [slice(start, start + 10) for start in range(0, number, 10)]
    return [Job(str(place), (everyone[part], seeds[part])) for place, part in enumerate(parts)]


def scores(workers: Workers, jobs: list[Job]) -> dict[str, Any]:
    """Of every job; fails if one did."""
    results = list(workers.run(jobs))
    assert all(result.error is None for result in results), results[0].error
    return {result.id: result.value for result in results}


def workers(game: AtariGame, jobs: list[Job], rounds: int) -> dict[str, list[float]]:
    """Seconds of a generation by one worker and by two, in turns."""
    times: dict[str, list[float]] = {"one": [], "two": []}
    one, two = (Processes(number).open(played, game) for number in (1, 2))
    with one, two:
        assert scores(one, jobs) == scores(two, jobs)  # and all are up now, with their emulators
        for _ in range(rounds):
            times["one"].append(seconds(lambda: scores(one, jobs), 1, "cpu"))
            times["two"].append(seconds(lambda: scores(two, jobs), 1, "cpu"))
    return times


# ------------------------------------------------------------------ all together


def compare(name: str, frames: int, rounds: int) -> dict[str, list[float]]:
    """Seconds per frame of all that plays a game, in turns, and of the parts of ours."""
    game = AtariGame(name, max_frames=max(50, frames // 50))
    some = networks(game, 10)
    assert_same(game, some)
    timed = {
        "bare": bare(name, frames),
        "ours": ours(game, some, 5),
        "ours with a source": ours(game, networks(game, 10, source=True), 5),
        "plain": plain(name, some.network(0), frames // 2),
    }
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        taken = {what: run() for what, run in timed.items()}
        for what, some_seconds in {**taken, **split(game, some, frames // SLOTS)}.items():
            times.setdefault(what, []).append(some_seconds)
    return times


def main() -> None:
    options = arguments(__doc__ or "")
    torch.set_num_threads(options.threads or 1)
    names = ("pong", "freeway") if options.quick else ("pong", "freeway", "space_invaders", "seaquest")
    frames, rounds = (5_000, 3) if options.quick else (25_000, 7)
    ratios, microseconds = {}, {}
    for name in names:
        times = compare(name, frames, rounds)
        ratios[f"{name}: ours / emulator alone"] = ratio(times["ours"], times["bare"])
        ratios[f"{name}: ours with a source / emulator alone"] = ratio(
            times["ours with a source"], times["bare"]
        )
        ratios[f"{name}: ours / plain loop"] = ratio(times["ours"], times["plain"])
        ratios[f"{name}: emulator alone / plain loop"] = ratio(times["bare"], times["plain"])
        microseconds[name] = {what: round(1e6 * statistics.median(t), 2) for what, t in times.items()}
    game = AtariGame("pong", max_frames=100 if options.quick else 400)
    taken = workers(game, generation(game, 100, 2 if options.quick else 5), rounds)
    ratios["two workers / one"] = ratio(taken["two"], taken["one"])
    start = start_up(replace(game, name="asterix"))
    faster = {case: round(1 / figures["median"], 3) for case, figures in ratios.items()}
    by_two = {
        name: round(faster[f"{name}: ours / plain loop"] * faster["two workers / one"], 3) for name in names
    }
    facts = {
        "frames_per_second": {
            name: {what: round(1e6 / micro[what]) for what in ("bare", "ours", "ours with a source", "plain")}
            for name, micro in microseconds.items()
        },
        "microseconds_per_frame": microseconds,
        "start_up_microseconds": {what: round(1e6 * some, 1) for what, some in start.items()},
        "times_as_fast": faster,
        "two_workers_times_as_fast_as_plain_loop": by_two,
        "targets": TARGETS,
    }
    for what in ("frames_per_second", "microseconds_per_frame"):
        for name, figures in facts[what].items():
            print(f"{what.replace('_', ' ')}, {name}: {figures}")
    print(f"start up, microseconds: {facts['start_up_microseconds']}")
    report("games", options, ratios, **facts)


if __name__ == "__main__":
    main()
