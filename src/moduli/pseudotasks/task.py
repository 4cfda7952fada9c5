"""The decoders of one task, as a control sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from moduli.modules.parts import copy_parts
from moduli.types import Part


class TaskDecoders:
    """The D decoders of one task. What copies weights takes care of the optimizer's state as well.

    Args:
        task: its name.
        rates: dropout rate before each decoder, `[D]`; may be written to.
        weights: for each decoder its weights; `part.value` may be written to.
        buffers: for each decoder what else it has, such as running statistics.
        optimizer: of the weights; None before training.
    """

    def __init__(
        self,
        task: str,
        rates: Tensor,
        weights: Sequence[Sequence[Part]],
        buffers: Sequence[Sequence[Part]],
        optimizer: Any,
    ):
        self.task, self.rates, self.weights = task, rates, weights
        self._buffers, self._optimizer = buffers, optimizer

    def __len__(self) -> int:
        return len(self.weights)

    def copy(self, source: int, to: int) -> None:
        """Makes decoder `to` equal to decoder `source`: weights, buffers, dropout rate.

        What the optimizer knows of the weights (momentum, second moments) comes along. Where `source` was
        not trained, the optimizer knows nothing of it, and begins anew.
        """
        copy_parts(self.weights[source], self.weights[to], self._optimizer)
        copy_parts(self._buffers[source], self._buffers[to])
        self.rates[to] = self.rates[source]

    def perturb(self, d: int, std: float) -> None:
        """Adds normal noise to all weights of decoder d.

        The optimizer's moments stay: a little beside the old point they are still good estimates.
        """
        for part in self.weights[d]:
            part.value.add_(torch.randn_like(part.value), alpha=std)

    def vectors(self) -> list[Tensor]:
        """The weights of each decoder as one vector."""
        return [torch.cat([part.value.flatten() for part in parts]) for parts in self.weights]
