"""Tasks in turn."""

from __future__ import annotations

from collections.abc import Sequence

from moduli.scheduling.sampling import at_least_one
from moduli.types import Schedule, State


class RoundRobin(Schedule):
    """The next `count` tasks in turn, so that every task is trained equally often.

    Args:
        count: tasks in a step; all tasks if there are fewer.

    Raises:
        InputError: if `count` is below 1.
    """

    def __init__(self, count: int = 1):
        self.count = at_least_one(count)
        self._next = 0

    def choose(self, tasks: Sequence[str], step: int) -> Sequence[str]:
        turn = [(self._next + i) % len(tasks) for i in range(min(self.count, len(tasks)))]
        self._next = (turn[-1] + 1) % len(tasks)
        return [tasks[row] for row in sorted(turn)]

    def state_dict(self) -> State:
        return {"next": self._next}

    def load_state_dict(self, state: State, /) -> None:
        self._next = state["next"]
