"""Weights chosen by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import Parameter

from moduli.errors import InputError
from moduli.types import Losses, Model, State


class Weights:
    """Follows the gradient of sum_t w_t L_t.

    Args:
        weights: w_t by task name; tasks that are not named weigh 1.

    Raises:
        InputError: if a weight is negative.
    """

    def __init__(self, weights: Mapping[str, float]):
        for task, weight in weights.items():
            if not weight >= 0:
                raise InputError(f"the weight of task {task!r} is {weight}: give a number of at least 0")
        self.weights = dict(weights)

    def backward(self, losses: Losses, model: Model) -> None:
        weighted = [self.weights.get(task, 1.0) * loss for task, loss in losses.mean.items()]
        torch.stack(weighted).sum().backward()

    def parameters(self) -> Sequence[Parameter]:
        return ()

    def state_dict(self) -> State:
        return {"weights": dict(self.weights)}

    def load_state_dict(self, state: State, /) -> None:
        self.weights = dict(state["weights"])
