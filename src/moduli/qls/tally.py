"""What is told of an episode of learning a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from moduli.scheduling.dqn import first_best
from moduli.types import State


class Tally:
    """Sums over the actions of an episode.

    Args:
        tasks: names, in the order of the actions.
    """

    def __init__(self, tasks: Sequence[str]):
        self.tasks = list(tasks)
        self.actions = self.learned = self.greedy = self.punished = 0
        self.reward = self.last_reward = self.loss = 0.0
        self.q, self.picked = torch.zeros(len(tasks)), torch.zeros(len(tasks))

    def add(
        self, q: Tensor, action: int, steps: int, reward: float, loss: float | None, punished: bool
    ) -> None:
        """Counts an action: the Q values before it, and what came of its steps."""
        self.actions, self.reward, self.last_reward = self.actions + 1, self.reward + reward, reward
        self.greedy, self.punished = self.greedy + (action == first_best(q)), self.punished + punished
        self.q = self.q + q
        self.picked[action] += steps
        if loss is not None:
            self.learned, self.loss = self.learned + 1, self.loss + loss

    def record(self) -> dict[str, Any]:
        """Means and shares, as JSON data."""
        n, picked = self.actions, self.picked / self.picked.sum()
        return {
            "reward": self.reward / n,
            "return": self.reward,
            "last_reward": self.last_reward,
            "loss": self.loss / self.learned if self.learned else None,
            "q": dict(zip(self.tasks, (self.q / n).tolist(), strict=True)),
            "picked": dict(zip(self.tasks, picked.tolist(), strict=True)),
            "greedy": self.greedy / n,
            "punished": self.punished / n,
        }

    def state_dict(self) -> State:
        return {name: x.clone() if isinstance(x, Tensor) else x for name, x in vars(self).items()}

    def load_state_dict(self, state: State) -> None:
        for name, x in state.items():
            setattr(self, name, x.clone() if isinstance(x, Tensor) else x)
