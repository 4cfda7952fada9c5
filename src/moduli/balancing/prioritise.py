"""Nearly all the weight on one task."""

from __future__ import annotations

import torch
from torch import Tensor

from moduli.balancing.weighting import Weighting
from moduli.errors import InputError, did_you_mean
from moduli.functional import constant
from moduli.types import Model


class Prioritise(Weighting):
    """Follows the gradient of sum_t w_t L_t, with a large weight on one task and a small one on all others.

    The one task is named, or it is at every step the one with the least ("easiest") or greatest ("hardest")
    known loss; a task of that very name comes first. A step that trains some tasks only uses the last known
    losses of the others. Weights are as written, also where they do not add up to 1.

    Args:
        task: a task's name, "easiest" or "hardest".
        weight: of this task.
        other: of every other task.

    Raises:
        InputError: if a weight is negative, or the model has no such task.

    Source: "Prioritize hard" and "prioritize easy", compared in "Q-learning scheduler for multi-task learning
    through the use of histogram of task uncertainty".
    """

    def __init__(self, task: str, weight: float = 0.98, other: float = 0.01):
        super().__init__()
        for name, value in (("weight", weight), ("other", other)):
            if not value >= 0:
                raise InputError(f"{name} is {value}: give a number of at least 0")
        self.task, self.weight, self.other = task, weight, other

    def attach(self, model: Model) -> None:
        known = (*model.input_of, "easiest", "hardest")
        if self.task not in known:
            raise InputError(f"no task {self.task!r} to prioritise, {did_you_mean(self.task, known)}")

    def weigh(self, losses: Tensor) -> Tensor:
        if self.task in self.tasks:
            chosen = self.tasks.index(self.task)
        elif self.task == "easiest":
            chosen = losses.nan_to_num(nan=torch.inf).argmin()
        else:
            chosen = losses.nan_to_num(nan=-torch.inf).argmax()
        numbers = constant(tuple(range(len(losses))), losses.device)
        return torch.full_like(losses, self.other).masked_fill(numbers == chosen, self.weight)
