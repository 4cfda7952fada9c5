"""What all schedules that draw tasks at random have in common: the draw, and its bookkeeping."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from moduli.errors import InputError, did_you_mean
from moduli.types import Schedule, State


class Sampling(Schedule):
    """Draws the tasks of every step at random, with probabilities that a subclass gives.

    Args:
        count: tasks in a step, all different; all tasks if there are fewer.
        seed: of the draws, which are independent of all other random numbers.

    Raises:
        InputError: if `count` is below 1.
    """

    def __init__(self, count: int = 1, seed: int = 0):
        self.count = at_least_one(count)
        self._generator = torch.Generator().manual_seed(seed)
        self._sums: dict[str, float] = {}
        self._steps = 0

    @abstractmethod
    def chances(self, tasks: Sequence[str], step: int) -> Tensor:
        """What the probabilities of `tasks` are proportional to, `[T]` on the CPU. Called once a step."""
        ...

    def choose(self, tasks: Sequence[str], step: int) -> Sequence[str]:
        p = normalised(self.chances(tasks, step))
        self._steps += 1
        for task, probability in zip(tasks, p.tolist(), strict=True):
            self._sums[task] = self._sums.get(task, 0.0) + probability
        drawn = torch.multinomial(p, min(self.count, len(tasks)), generator=self._generator)
        rows: list[int] = sorted(drawn.tolist())
        return [tasks[row] for row in rows]

    def record(self) -> list[dict[str, Any]]:
        """The mean probability of every task since the last record (of its first draw, if `count` > 1)."""
        means = {task: total / self._steps for task, total in self._sums.items()}
        self._sums, self._steps = {}, 0
        return [{"split": "schedule", "probabilities": means}] if means else []

    def state_dict(self) -> State:
        return {
            "generator": self._generator.get_state(),
            "sums": dict(self._sums),
            "steps": self._steps,
        }

    def load_state_dict(self, state: State, /) -> None:
        self._generator.set_state(state["generator"])
        self._sums, self._steps = dict(state["sums"]), state["steps"]


def normalised(chances: Tensor) -> Tensor:
    """Probabilities `[T]` in float64; what is negative or no number counts as 0, and all 0 is uniform.

    A loss that has become NaN must not stop a schedule: the loop finds it, and names the task.
    """
    known = chances.double().nan_to_num(nan=0.0, posinf=torch.finfo(torch.float64).max, neginf=0.0)
    known = known.clamp(min=0.0)
    known = known / known.max()  # so that the sum is finite
    return torch.where(known.isnan(), 1.0, known) / known.sum().nan_to_num(nan=len(known))


def at_least_one(count: int) -> int:
    """`count`, a number of tasks.

    Raises:
        InputError: if it is below 1.
    """
    if count < 1:
        raise InputError(f"count is {count}: give at least 1 task for a step")
    return count


def check_known(what: str, names: Iterable[str], tasks: Iterable[str]) -> None:
    """Raises `InputError` if one of `names` is no task of the model."""
    known = list(tasks)
    for name in names:
        if name not in known:
            raise InputError(f"{what}: there is no task {name!r}, {did_you_mean(name, known)}")


def check_complete(what: str, names: Iterable[str], tasks: Iterable[str]) -> None:
    """Raises `InputError` if a task of the model is not one of `names`."""
    if missing := [task for task in tasks if task not in set(names)]:
        raise InputError(f"{what}: task {missing[0]!r} of the model is missing, give all tasks")
