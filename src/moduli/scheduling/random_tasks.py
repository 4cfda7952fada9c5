"""Random tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moduli.scheduling.sampling import Sampling


class RandomTasks(Sampling):
    """`count` different tasks at random, every task with the same probability.

    Args:
        count: tasks in a step; all tasks if there are fewer.
        seed: of the draws.

    Raises:
        InputError: if `count` is below 1.
    """

    def chances(self, tasks: Sequence[str], step: int) -> Tensor:
        return torch.ones(len(tasks))
