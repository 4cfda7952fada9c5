"""The task with the highest loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from moduli.types import Losses, Schedule, State


class Greedy(Schedule):
    """The one task whose last known training loss is the highest.

    The loss of a task is that of its own last batch, so it becomes known only when the task is trained;
    tasks that never were come first. Losses of different kinds are compared as they are: a regression whose
    targets were not standardised can keep the step for itself.

    The choice depends on the losses, so an accelerator is waited for at every step.
    """

    def __init__(self):
        self._losses: dict[str, float] = {}
        self._news: list[tuple[list[str], Tensor]] = []

    def choose(self, tasks: Sequence[str], step: int) -> Sequence[str]:
        known = self._known()
        losses = {task: known.get(task, math.inf) for task in tasks}
        # A loss that is no number counts as high: the task is trained, and the loop names it.
        return [max(losses, key=lambda task: math.inf if math.isnan(losses[task]) else losses[task])]

    def after_step(self, losses: Losses) -> None:
        self._news.append((list(losses.mean), losses.values()))

    def _known(self) -> dict[str, float]:
        """The last loss of each task that was trained; looks at the losses, all at once."""
        for names, values in self._news:
            self._losses.update(zip(names, values.tolist(), strict=True))
        self._news.clear()
        return self._losses

    def state_dict(self) -> State:
        return {"losses": dict(self._known())}

    def load_state_dict(self, state: State, /) -> None:
        self._losses, self._news = dict(state["losses"]), []
