"""Loss exponentiation."""

from __future__ import annotations

from torch import Tensor

from moduli.balancing.weighting import Weighting
from moduli.errors import InputError


class Exponent(Weighting):
    """Follows the gradient of sum_t L_t^p: tasks with large losses count more.

    The weight of a task is p L_t^(p-1), with L_t the loss of this step. Losses above 1 are magnified, those
    below 1 are shrunk. Losses are at least 0; what a loss of the user's own puts out below 0 counts as 0.

    Args:
        p: the power; the default was found by a grid search in the source.

    Raises:
        InputError: if p is below 1, where a loss near 0 would weigh infinitely much.

    Source: "Loss exponentiation", compared in "Q-learning scheduler for multi-task learning through the use
    of histogram of task uncertainty".
    """

    def __init__(self, p: float = 1.15):
        super().__init__()
        if not p >= 1:
            raise InputError(f"the power p is {p}: give at least 1")
        self.p = p

    def weigh(self, losses: Tensor) -> Tensor:
        return self.p * losses.clamp(min=0.0) ** (self.p - 1.0)
