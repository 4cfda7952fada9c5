"""A small game to evolve networks on: what was seen at first decides what is right in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Cue:
    """A cue, 1 or -1, is seen once; after some blank steps the stronger of two outputs must tell it.

    The score is 0 if it does, else -1: all scores are negative or 0. `fails_at` raises an error in that step.
    """

    blank: int = 2
    fails_at: int | None = None
    name: str = "cue"
    inputs: int = 2
    outputs: int = 2

    def open(self, slots: int) -> CueArena:
        return CueArena(self, slots)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "blank": self.blank}


class CueArena:
    def __init__(self, game: Cue, slots: int):
        self.game = game
        self.cues, self.steps = np.zeros(slots), np.zeros(slots, np.int64)

    def reset(self, slot: int, seed: int) -> None:
        self.cues[slot] = np.random.default_rng(seed).choice([-1, 1])
        self.steps[slot] = 0

    def observe(self, slots: np.ndarray) -> np.ndarray:
        seen = np.where(self.steps[slots] == 0, self.cues[slots], 0.0)
        return np.stack([seen, np.ones(len(slots))], 1).astype(np.float32)

    def step(self, slots: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.game.fails_at is not None and (self.steps[slots] == self.game.fails_at).any():
            raise RuntimeError("the plug was pulled")
        told = np.where(outputs[:, 0] > outputs[:, 1], 1, -1)
        ended = self.steps[slots] == self.game.blank
        self.steps[slots] += 1
        return np.where(ended & (told != self.cues[slots]), -1.0, 0.0), ended

    def screen(self, slot: int) -> np.ndarray:
        return np.full((8, 8, 3), 128 + 64 * int(self.cues[slot]), np.uint8)

    def close(self) -> None: ...
