"""Atari games as `Game` and `Arena`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import Any

import numpy as np

from moduli.errors import InputError, did_you_mean
from moduli.games.atari.actions import OUTPUTS, decode
from moduli.games.atari.emulators import Emulator, ale_py, borrow, give_back
from moduli.games.atari.layouts import object_grids
from moduli.games.atari.names import GAMES

_BLOCK = 512
"""Random numbers that an episode draws at once."""


@dataclass(frozen=True)
class AtariGame:
    """One of eight games of the Atari 2600, as in section 4.4 of Meyerson's dissertation (2018).

    A network sees grids of 8 x 10 cells, one for each class of objects, the first for what it plays itself
    (`moduli.games.atari.layouts.KINDS`; Hausknecht et al., 2013). The objects are read from the console's
    memory, so that nothing is drawn. It has ten outputs: a 3 x 3 joystick and the fire button.

    The emulator repeats itself exactly, so **sticky actions** make the game a random one (Hausknecht & Stone,
    2015): in each frame of the emulator, with probability `sticky`, the action that was executed in the frame
    before is executed again in place of the chosen one. Before the first frame that is no action at all.

    An episode ends with the game, or after `max_frames` frames.

    Args:
        name: `pong`, `breakout`, `asterix`, `bowling`, `freeway`, `boxing`, `space_invaders` or `seaquest`.
        sticky: probability of a repeated action.
        frame_skip: for how many frames an action is held; rewards are added up. The dissertation names no
            number; acting in every frame is what Hausknecht et al. did, DQN skips 4.
        max_frames: frames of the emulator after which an episode ends; not in the dissertation either, 50 000
            is that of Hausknecht et al.

    Raises:
        InputError: for an unknown game or an impossible number.
        MissingExtra: if ale-py is not installed.
    """

    name: str
    sticky: float = 0.25
    frame_skip: int = 1
    max_frames: int = 50_000

    def __post_init__(self) -> None:
        if self.name not in GAMES:
            raise InputError(f"unknown Atari game {self.name!r}, {did_you_mean(str(self.name), GAMES)}")
        if not 0 <= self.sticky <= 1:
            raise InputError(f"sticky is {self.sticky}: give a probability from 0 to 1")
        for what in ("frame_skip", "max_frames"):
            value = getattr(self, what)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{what} is {value}: give a whole number of frames, at least 1")
        ale_py()

    @property
    def inputs(self) -> int:
        """80 for each class of objects."""
        return object_grids(self.name).inputs

    @property
    def outputs(self) -> int:
        """The 3 x 3 joystick and the button: 10."""
        return OUTPUTS

    def open(self, slots: int) -> AtariArena:
        """Room for `slots` episodes at the same time, each with an emulator of its own.

        Raises:
            MissingExtra: if ale-py is not installed.
        """
        return AtariArena(self, slots)

    def to_json(self) -> dict[str, Any]:
        """The four arguments."""
        return asdict(self)


class AtariArena:
    """Episodes of one Atari game side by side; see `moduli.games.arena.Arena` for what the methods do.

    Args:
        game: what is played.
        slots: how many episodes there are at a time.
    """

    def __init__(self, game: AtariGame, slots: int):
        self._game = game
        self._grids = object_grids(game.name)
        self._memory = np.zeros((slots, 128), dtype=np.uint8)
        self._slots = [_Slot(game, borrow(game.name), row) for row in self._memory]

    def reset(self, slot: int, seed: int) -> None:
        """Begins a new episode in a slot; the seed decides in which frames actions are repeated."""
        self._slots[slot].reset(seed)

    def observe(self, slots: np.ndarray) -> np.ndarray:
        """Grids of some slots, `[len(slots), inputs]`, float32: zeros and ones."""
        return self._grids(self._memory.take(slots, axis=0))

    def step(self, slots: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Acts for `frame_skip` frames in some slots; the rewards are the points of the game."""
        of_slots = self._slots
        chosen = zip(slots.tolist(), decode(outputs).tolist(), strict=True)
        results = [of_slots[slot].act(action) for slot, action in chosen]
        rewards, ended = zip(*results, strict=True) if results else ((), ())
        return np.array(rewards, dtype=np.float64), np.array(ended, dtype=bool)

    def screen(self, slot: int) -> np.ndarray:
        """The picture of a slot, `[210, 160, 3]`, uint8."""
        return self._slots[slot].screen()

    def close(self) -> None:
        """Keeps the emulators for the next arena of this process; twice does no harm."""
        while self._slots:
            give_back(self._game.name, self._slots.pop().emulator)


class _Slot:
    """One emulator, and where the episode in it is."""

    __slots__ = ("_act", "_game", "_game_over", "_left", "_memory", "_previous", "_repeats", "emulator")

    def __init__(self, game: AtariGame, emulator: Emulator, memory: np.ndarray):
        self.emulator = emulator
        self._game = game
        self._memory = memory
        self._act = emulator.ale.act
        self._game_over = emulator.ale.game_over
        self.reset(0)

    def reset(self, seed: int) -> None:
        ale = self.emulator.ale
        ale.restoreState(self.emulator.start)
        ale.getRAM(self._memory)
        self._left = self._game.max_frames
        self._previous = 0
        self._repeats = _repeats(self._game.sticky, seed)

    def act(self, action: int) -> tuple[int, bool]:
        """The chosen action for some frames: points, and whether the episode is over."""
        points, over = 0, False
        for _ in range(self._game.frame_skip):
            if not next(self._repeats):
                self._previous = action
            points += self._act(self._previous)
            self._left -= 1
            over = self._left <= 0 or self._game_over()
            if over:
                break
        self.emulator.ale.getRAM(self._memory)
        return points, over

    def screen(self) -> np.ndarray:
        if self._left == self._game.max_frames:  # restoring a state leaves the old picture
            return self.emulator.picture.copy()
        return self.emulator.ale.getScreenRGB()


def _repeats(sticky: float, seed: int) -> Iterator[bool]:
    """Whether each frame of an episode repeats the action before."""
    if sticky == 0:
        yield from repeat(False)
    random = np.random.Generator(np.random.PCG64(seed))
    while True:
        yield from (random.random(_BLOCK) < sticky).tolist()
