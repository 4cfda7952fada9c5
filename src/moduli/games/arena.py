"""What is played: the two protocols that everything else in this room is written against."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Game(Protocol):
    """A game, and how it is seen and controlled. Plain data: it is sent to other processes.

    Attributes:
        name: what the user calls it, such as `pong` or `CartPole-v1`.
        inputs: how many numbers an observation has.
        outputs: how many outputs of a network an action is decoded from.
    """

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> int: ...

    @property
    def outputs(self) -> int: ...

    def open(self, slots: int) -> Arena:
        """Room for `slots` episodes at the same time.

        Raises:
            MissingExtra: if the package that has the game is not installed.
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """All that decides what an episode is; `{"name": ..., ...}`."""
        ...


class Arena(Protocol):
    """Episodes of one game that are played side by side, one in each slot.

    An episode is a pure function of its seed and of the outputs it is given, whatever the other slots do and
    whatever was played in its slot before.
    """

    def reset(self, slot: int, seed: int) -> None:
        """Begins a new episode in a slot."""
        ...

    def observe(self, slots: np.ndarray) -> np.ndarray:
        """What is seen in some slots, `[len(slots), inputs]`, float32."""
        ...

    def step(self, slots: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Acts once in some slots.

        Args:
            slots: `[n]` numbers of slots whose episodes go on.
            outputs: `[n, outputs]` of the networks that play there.

        Returns:
            Rewards `[n]`, float64, and whether an episode has ended `[n]`, bool.
        """
        ...

    def screen(self, slot: int) -> np.ndarray:
        """The picture of a slot, `[height, width, 3]`, uint8."""
        ...

    def close(self) -> None:
        """Ends what is open, such as windows and emulators; twice does no harm."""
        ...
