"""Games by their names: the eight Atari games, and whatever Gymnasium knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moduli.errors import InputError, did_you_mean
from moduli.games.arena import Game
from moduli.games.atari.game import AtariGame
from moduli.games.atari.names import GAMES
from moduli.games.gymnasium_game import GymnasiumGame


def game_named(
    name: str,
    like: Mapping[str, Any] | None = None,
    *,
    sticky: float | None = None,
    frame_skip: int | None = None,
    max_frames: int | None = None,
) -> Game:
    """A game by its name, as the command line gives it.

    Args:
        name: `pong` or another of the eight Atari games, else an id of Gymnasium such as `CartPole-v1`.
        like: the `to_json` of a game; what is not given is as there. Settings of Atari games hold for all of
            them, those of an environment of Gymnasium for no other.
        sticky, frame_skip: of Atari games only, see `AtariGame`.
        max_frames: the longest episode; actions, for Gymnasium.

    Raises:
        InputError: for an unknown name, or options that the game does not have.
        MissingExtra: if the package that has the game is not installed.
    """
    like = like or {}
    given = {"sticky": sticky, "frame_skip": frame_skip, "max_frames": max_frames}
    given = {key: value for key, value in given.items() if value is not None}
    if name in GAMES:
        kept = {key: like[key] for key in ("sticky", "frame_skip", "max_frames") if key in like}
        return AtariGame(name, **{**kept, **given})
    if not re.search(r"-v\d+$", name):
        raise InputError(
            f"unknown game {name!r}, {did_you_mean(name, GAMES)}; other games are ids of Gymnasium with "
            "their version, such as CartPole-v1"
        )
    for option in ("sticky", "frame_skip"):
        if option in given:
            raise InputError(f"{name} has no {option}: it is of Atari games only")
    same = like if like.get("name") == name else {}
    limit = given.get("max_frames", same.get("max_steps"))
    return GymnasiumGame(name, limit, same.get("options", {}))


def game_from_json(data: Mapping[str, Any]) -> Game:
    """The game whose `to_json` this is.

    Raises:
        InputError: if it is neither an Atari game nor one of Gymnasium.
        MissingExtra: if the package that has the game is not installed.
    """
    return game_named(data["name"], data)
