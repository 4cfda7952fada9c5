"""What all weightings have in common: one number for each task, and its bookkeeping."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from moduli.functional import constant
from moduli.types import Combine, Losses, Model, State


class Weighting(Combine):
    """Follows the gradient of sum_t w_t L_t, with weights that change as training goes on.

    A weighting is a subclass with `weigh`. It gets the last known losses of *all* tasks of the model, also
    where a step trains a few of them only, so every weighting works with every schedule. One that changes
    the losses of single samples writes `objectives` as well.

    What a subclass keeps between steps is in tensors, usually `[T]` in the order of `tasks`. It names them
    in `kept`, and makes them in `begin`; they are then in its state. ``of_losses`` is False if the weights
    do not follow from the losses alone, so that tasks cannot be drawn by them (see `moduli.ByWeights`).
    """

    kept: ClassVar[tuple[str, ...]] = ()
    of_losses: ClassVar[bool] = True

    def __init__(self):
        self.tasks: list[str] = []
        self.last = self._sum = self._steps = torch.empty(0)

    @abstractmethod
    def weigh(self, losses: Tensor) -> Tensor:
        """The weights of all tasks `[T]`, without gradient. Called once for every step.

        Args:
            losses: the last known loss of each task `[T]`, NaN for a task that was not seen yet.
        """
        ...

    def objectives(self, losses: Losses) -> Mapping[str, Tensor]:
        """What is weighted and summed: a scalar for each task that takes part; its mean loss by default."""
        return losses.mean

    def begin(self, losses: Tensor) -> None:
        """Makes the tensors named in `kept`, of the type and on the device of `losses` `[T]`."""

    # -------------------------------------------------------------- a step

    def backward(self, losses: Losses, model: Model) -> None:
        rows = self.note(losses, model)
        weights = self.weigh(self.last)
        weights = weights if rows is None else weights[rows]
        self.count(weights, rows)
        objectives = torch.stack(list(self.objectives(losses).values()))
        (weights * objectives).sum().backward()

    def note(self, losses: Losses, model: Model) -> Tensor | None:
        """Keeps the losses of the tasks that take part; their rows, None if these are all tasks in order."""
        values = losses.values()
        if not self.tasks:
            self.tasks = list(model.input_of)
            self.last = values.new_full((len(self.tasks),), torch.nan)
            self._sum, self._steps = torch.zeros_like(self.last), torch.zeros_like(self.last)
            self.begin(self.last)
        elif self.last.device != values.device:  # a state was loaded
            for name in self._names():
                setattr(self, name, getattr(self, name).to(values.device))
        names = list(losses.mean)
        if names == self.tasks:
            self.last = values
            return None
        rows = constant(tuple(self.tasks.index(name) for name in names), values.device)
        self.last = self.last.index_copy(0, rows, values)
        return rows

    def count(self, weights: Tensor, rows: Tensor | None) -> None:
        """Adds to the mean weights that `record` tells."""
        if rows is None:
            self._sum, self._steps = self._sum + weights, self._steps + 1
        else:
            self._sum = self._sum.index_add(0, rows, weights)
            self._steps = self._steps.index_add(0, rows, torch.ones_like(weights))

    # -------------------------------------------------------------- records and state

    def record(self) -> list[dict[str, Any]]:
        """The mean weight of every task since the last record."""
        means, steps = (self._sum / self._steps).tolist(), self._steps.tolist()
        self._sum, self._steps = torch.zeros_like(self._sum), torch.zeros_like(self._steps)
        weights = {task: w for task, w, n in zip(self.tasks, means, steps, strict=True) if n}
        return [{"split": "balance", "weights": weights}] if weights else []

    def _names(self) -> tuple[str, ...]:
        return ("last", "_sum", "_steps", *self.kept)

    def state_dict(self) -> State:
        if not self.tasks:
            return {}
        return {"tasks": list(self.tasks), **{name: getattr(self, name).clone() for name in self._names()}}

    def load_state_dict(self, state: State, /) -> None:
        if state:
            self.tasks = list(state["tasks"])
            for name in self._names():
                setattr(self, name, state[name].clone())
