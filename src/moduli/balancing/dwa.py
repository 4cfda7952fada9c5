"""Dynamic weight average."""

from __future__ import annotations

import torch
from torch import Tensor

from moduli.balancing.weighting import Weighting
from moduli.errors import InputError
from moduli.types import Losses, Model, Scores

_MOST = 1e4  # the softmax of anything larger is the same


class DWA(Weighting):
    """Dynamic weight average: tasks whose losses fall slowly count more.

    w_k = T softmax_k(r_k / temperature), with r_k the mean training loss of task k in the last phase over
    that of the phase before. A phase stands for the epoch of the source, since tasks of different sizes
    have no common epoch.

    All weights are 1 in the first two phases. A phase in which a task did not take part does not count for
    it: its r_k stays. A task that took part in fewer than two phases has r_k = 1.

    Args:
        temperature: the greater, the more equal the weights.

    Raises:
        InputError: if the temperature is not above 0.

    Source: Liu, Johns & Davison (2019), "End-to-end multi-task learning with attention", Eq. 7.
    """

    kept = ("_weights", "_total", "_count", "_last", "_before")

    def __init__(self, temperature: float = 2.0):
        super().__init__()
        if not temperature > 0:
            raise InputError(f"the temperature is {temperature}: give a number above 0")
        self.temperature = temperature

    def begin(self, losses: Tensor) -> None:
        self._weights = torch.ones_like(losses)
        self._total, self._count = torch.zeros_like(losses), torch.zeros_like(losses)
        self._last, self._before = losses.clone(), losses.clone()  # NaN: no phase yet

    def note(self, losses: Losses, model: Model) -> Tensor | None:
        rows = super().note(losses, model)
        if rows is None:
            self._total, self._count = self._total + self.last, self._count + 1
        else:
            seen = self.last[rows]
            self._total = self._total.index_add(0, rows, seen)
            self._count = self._count.index_add(0, rows, torch.ones_like(seen))
        return rows

    def weigh(self, losses: Tensor) -> Tensor:
        return self._weights

    def observe(self, scores: Scores) -> None:
        """Ends a phase."""
        if not self.tasks:
            return
        seen = self._count > 0
        self._before = torch.where(seen, self._last, self._before)
        self._last = torch.where(seen, self._total / self._count, self._last)
        self._total, self._count = torch.zeros_like(self._total), torch.zeros_like(self._count)
        rates = (self._last / self._before).nan_to_num(nan=1.0, posinf=_MOST).clamp(max=_MOST)
        self._weights = len(self.tasks) * torch.softmax(rates / self.temperature, 0)
