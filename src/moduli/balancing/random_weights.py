"""Random loss weighting."""

from __future__ import annotations

import torch
from torch import Tensor

from moduli.balancing.weighting import Weighting
from moduli.types import State


class RandomWeights(Weighting):
    """Follows the gradient of sum_t w_t L_t with w = softmax(z), z ~ N(0, I), new for every step.

    The weights of all tasks together are 1, not T: compared with `Equal`, losses count 1/T as much. They are
    drawn for all tasks, also where a step trains a few. The numbers are drawn on the CPU, so they are the
    same on every device, and from a generator of its own.

    Args:
        seed: of the weights.

    Source: Lin et al. (2022), "Reasonable effectiveness of random weighting", algorithm 2.
    """

    def __init__(self, seed: int = 0):
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def weigh(self, losses: Tensor) -> Tensor:
        z = torch.randn(len(losses), generator=self._generator)
        return z.softmax(0).to(losses, non_blocking=True)

    def state_dict(self) -> State:
        return {**super().state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: State, /) -> None:
        state = dict(state)
        self._generator.set_state(state.pop("generator"))
        super().load_state_dict(state)
