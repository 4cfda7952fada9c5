"""The loop over actions: networks play episodes, all that wait for an action are computed at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moduli.errors import InputError
from moduli.games.arena import Game
from moduli.games.networks import Architecture, Networks
from moduli.games.team import Team

SLOTS = 16
"""Enough to make the fixed costs of a step small beside the games; each emulator takes 0.1 s to make."""


@dataclass(frozen=True)
class Played:
    """What came of some episodes.

    Attributes:
        scores: sums of rewards, `[G, trials]`, float64.
        lengths: how many actions were taken, `[G, trials]`.
    """

    scores: np.ndarray
    lengths: np.ndarray


def play(game: Game, networks: Networks, seeds: np.ndarray, slots: int = SLOTS) -> Played:
    """Every network plays one episode with each of its seeds.

    Episodes are played side by side, and whenever one ends, the next takes its slot. Scores do not depend on
    how many slots there are.

    Args:
        game: what is played.
        networks: who plays.
        seeds: of the episodes, `[G, trials]`.
        slots: how many episodes are played at the same time.

    Raises:
        InputError: if the networks are of another shape than the game.
    """
    check_shape(game, networks.architecture)
    seeds = np.asarray(seeds)
    scores, lengths = np.zeros(seeds.size), np.zeros(seeds.size, np.int64)
    slots = min(slots, seeds.size)
    arena, team = game.open(slots), Team(networks, slots)
    try:
        playing, occupied = np.arange(slots), np.arange(slots)  # the episode of each row, and its slot
        coming = slots

        def begin(row: int, episode: int) -> None:
            playing[row] = episode
            team.load(row, episode // seeds.shape[1])
            arena.reset(int(occupied[row]), int(seeds.flat[episode]))

        for row in range(slots):
            begin(row, row)
        while playing.size:
            outputs = team.step(arena.observe(occupied))
            rewards, ended = arena.step(occupied, outputs)
            scores[playing] += rewards
            lengths[playing] += 1
            if not ended.any():
                continue
            for row in np.flatnonzero(ended):
                if coming < seeds.size:
                    begin(int(row), coming)
                    ended[row], coming = False, coming + 1
            if ended.any():
                team.keep(~ended)
                playing, occupied = playing[~ended], occupied[~ended]
    finally:
        arena.close()
    return Played(scores.reshape(seeds.shape), lengths.reshape(seeds.shape))


def check_shape(game: Game, architecture: Architecture) -> None:
    """Whether a network can play a game.

    Raises:
        InputError: if it has other numbers of inputs or outputs.
    """
    for what in ("inputs", "outputs"):
        has, needs = getattr(architecture, what), getattr(game, what)
        if has != needs:
            raise InputError(
                f"the network has {has} {what}, {game.name} needs {needs}: give a network that was trained "
                "on it, or reuse this one as a source"
            )
