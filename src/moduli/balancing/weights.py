"""Weights chosen by hand."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from moduli.balancing.weighting import Weighting
from moduli.errors import InputError


class Weights(Weighting):
    """Follows the gradient of sum_t w_t L_t.

    Args:
        weights: w_t by task name; tasks that are not named weigh 1.

    Raises:
        InputError: if a weight is negative.
    """

    kept = ("_weights",)

    def __init__(self, weights: Mapping[str, float]):
        super().__init__()
        for task, weight in weights.items():
            if not weight >= 0:
                raise InputError(f"the weight of task {task!r} is {weight}: give a number of at least 0")
        self.weights = dict(weights)

    def begin(self, losses: Tensor) -> None:
        self._weights = losses.new_tensor([self.weights.get(task, 1.0) for task in self.tasks])

    def weigh(self, losses: Tensor) -> Tensor:
        return self._weights
