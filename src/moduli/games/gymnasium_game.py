"""Environments of Gymnasium as games: anything whose actions are a choice among a few."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moduli.errors import InputError, MissingExtra, did_you_mean

MOST_STEPS = 10_000
"""After so many actions an episode ends if the environment has no limit of its own: one that waits forever
would hold up a search."""


@dataclass(frozen=True)
class GymnasiumGame:
    """A Gymnasium environment with a discrete action space, as a `Game`.

    A network sees the observation as one row: boxes are flattened, numbers out of a few are one-hot, and
    dictionaries and tuples are joined (`gymnasium.spaces.flatten`). Values are as the environment gives them.
    Where they are far from 1, tanh units are always full on or off: register the environment with
    `gymnasium.wrappers.RescaleObservation`.

    A network has one output for each action; the strongest acts (of equal ones the first). An episode ends
    when the environment says that it is terminated or truncated. It is seeded at its beginning, so it can
    be played again, if the environment draws all its random numbers from the generator that Gymnasium seeds.

    Args:
        name: the registered id, such as `CartPole-v1`; without a version it is the newest. `module:Id-v0`
            imports a module that registers the environment. Other processes need that too: in them only what
            Gymnasium and the module register is known.
        max_steps: the most actions of an episode. None: the environment's own limit, 10 000 if it has none.
        options: go to `gymnasium.make`; JSON data.

    Attributes:
        inputs: how many numbers an observation has when it is flattened.
        outputs: how many actions there are.

    Raises:
        MissingExtra: if Gymnasium is not installed.
        InputError: for an unknown id, an environment that cannot be made, actions that are not discrete,
            observations that have no fixed size, options that are not JSON, or `max_steps` below 1.
    """

    name: str
    max_steps: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    inputs: int = field(init=False, compare=False)
    outputs: int = field(init=False, compare=False)
    _made_with: Mapping[str, Any] = field(init=False, compare=False, repr=False)

    def __post_init__(self):
        if self.max_steps is not None and self.max_steps < 1:
            raise InputError(f"max_steps of {self.name} is {self.max_steps}: give at least 1")
        _check_options(self.name, self.options)
        environment = _make(self.name, self.options)
        try:
            module, colon, _ = self.name.rpartition(":")
            limit = self.max_steps or environment.spec.max_episode_steps or MOST_STEPS
            inputs, outputs = _sizes(self.name, environment)
            draws = "rgb_array" in _modes(environment)
        finally:
            environment.close()
        drawn = {"render_mode": "rgb_array"} if draws else {}  # costs nothing until a picture is asked for
        made_with = {"max_episode_steps": limit, **drawn, **self.options}
        names = {"name": module + colon + environment.spec.id, "max_steps": limit}
        for key, value in {**names, "inputs": inputs, "outputs": outputs, "_made_with": made_with}.items():
            object.__setattr__(self, key, value)

    def open(self, slots: int) -> GymnasiumArena:
        """Room for `slots` episodes, each in an environment of its own."""
        return GymnasiumArena(self, slots)

    def to_json(self) -> dict[str, Any]:
        """Name, limit and options; `GymnasiumGame(**json)` is the same game."""
        return {"name": self.name, "max_steps": self.max_steps, "options": dict(self.options)}


class GymnasiumArena:
    """Episodes of a Gymnasium environment side by side, see `Arena`.

    Args:
        game: what is played.
        slots: how many episodes at the same time.
    """

    def __init__(self, game: GymnasiumGame, slots: int):
        self._game = game
        with warnings.catch_warnings():  # what there is to say was said when the game was made
            warnings.simplefilter("ignore")
            self._environments = [_make(game.name, game._made_with) for _ in range(slots)]
        self._seen = np.zeros((slots, game.inputs), np.float32)

    def reset(self, slot: int, seed: int) -> None:
        """Begins the episode of a seed, 0 or above."""
        seen, _ = self._environments[slot].reset(seed=int(seed))
        self._see(slot, seen)

    def observe(self, slots: np.ndarray) -> np.ndarray:
        """What is seen in some slots, `[len(slots), inputs]`, float32: a copy."""
        return self._seen[slots]

    def step(self, slots: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Acts once in some slots: the strongest of `outputs [n, outputs]` is the action.

        Returns:
            Rewards `[n]`, float64, and whether an episode has ended `[n]`, bool.
        """
        rewards, ended = np.zeros(len(slots)), np.zeros(len(slots), bool)
        for row, (slot, choice) in enumerate(zip(slots, outputs.argmax(axis=1), strict=True)):
            environment = self._environments[slot]
            action = environment.action_space.start + choice
            seen, rewards[row], terminated, truncated, _ = environment.step(action)
            self._see(slot, seen)
            ended[row] = terminated or truncated
        return rewards, ended

    def screen(self, slot: int) -> np.ndarray:
        """The picture that the environment draws of itself, `[height, width, 3]`, uint8.

        Raises:
            InputError: if it has none, or the package is missing that draws it; the message says which.
        """
        name, environment = self._game.name, self._environments[slot]
        if environment.render_mode != "rgb_array":
            raise InputError(
                f"{name} has no pictures: its render modes are {_modes(environment)}, 'rgb_array' is needed"
            )
        try:
            picture = environment.render()
        except Exception as error:
            raise InputError(f"{name} cannot draw its screen: {_one_line(error)}") from error
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Closes the environments."""
        while self._environments:
            self._environments.pop().close()

    def _see(self, slot: int, seen: Any) -> None:
        from gymnasium.spaces import flatten

        row: Any = flatten(self._environments[slot].observation_space, seen)
        self._seen[slot] = row


# ------------------------------------------------------------------ what is Gymnasium's


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    if "max_episode_steps" in options:
        raise InputError(f"options of {name} have max_episode_steps: give max_steps instead")
    try:
        json.dumps(options)
    except TypeError as error:
        raise InputError(
            f"options of {name} are not JSON ({error}): register an environment that has them"
        ) from None


def _make(name: str, options: Mapping[str, Any]) -> Any:
    try:
        import gymnasium
    except ImportError:
        raise MissingExtra(f"the environment {name}", "gymnasium", "rl") from None
    try:
        return gymnasium.make(name, disable_env_checker=True, **options)
    except gymnasium.error.UnregisteredEnv:
        raise InputError(
            f"Gymnasium has no environment {name!r} (MODULE:ID is one that a module registers), "
            f"{did_you_mean(name.rpartition(':')[2], gymnasium.registry)}"
        ) from None
    except Exception as error:  # whatever another's module does
        raise InputError(f"the environment {name} cannot be made: {_one_line(error)}") from error


def _modes(environment: Any) -> list[str]:
    return list(environment.metadata.get("render_modes", ()))


def _sizes(name: str, environment: Any) -> tuple[int, int]:
    """How many numbers are seen, and how many actions there are."""
    from gymnasium.spaces import Discrete, flatdim

    actions, seen = environment.action_space, environment.observation_space
    if not isinstance(actions, Discrete):
        raise InputError(
            f"actions of {name} are {actions}: only a Discrete action space can be played, as an output of "
            "the network stands for each action"
        )
    if not seen.is_np_flattenable:
        raise InputError(f"observations of {name} are {seen}: they have no fixed size")
    return flatdim(seen), int(actions.n)


def _one_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
