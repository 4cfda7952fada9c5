"""The mean training loss of every task since the last evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moduli.types import State


class RunningMean:
    """Sums losses on the device; they are fetched only when somebody looks.

    Args:
        names: all tasks.
    """

    def __init__(self, names: Sequence[str], device: torch.device):
        self._names = list(names)
        self._row = {name: row for row, name in enumerate(names)}
        self._device = device
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self._total = torch.zeros(len(self._row), device=self._device)
        self._count = torch.zeros(len(self._row))
        self._fine = torch.zeros(len(self._row), device=self._device)

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Adds the losses of the tasks that took part in a step."""
        values = torch.stack([loss.detach() for loss in losses.values()]).float()
        if list(losses) == self._names:
            self._total += values
            self._count += 1
        else:
            rows = torch.tensor([self._row[name] for name in losses])
            self._total.index_add_(0, rows.to(self._device), values)
            self._count[rows] += 1
        self._fine += self._total.isfinite()

    def first_infinite(self) -> str | None:
        """The task whose loss was the first to be no finite number, or None if all are.

        A step later the losses of all tasks may be spoilt; the first is the one to look at.
        """
        fine = self._fine.tolist()
        return None if self._total.isfinite().all() else self._names[fine.index(min(fine))]

    def means(self) -> dict[str, float]:
        """The mean of every task that took part at least once."""
        values = (self._total.cpu() / self._count).tolist()
        counts = self._count.tolist()
        return {name: values[row] for name, row in self._row.items() if counts[row]}

    def shares(self, steps: int) -> dict[str, float]:
        """The share of the last `steps` steps that each task took part in."""
        return dict(zip(self._names, (self._count / steps).tolist(), strict=True))

    def state_dict(self) -> State:
        return {"total": self._total.clone(), "count": self._count.clone(), "fine": self._fine.clone()}

    def load_state_dict(self, state: State) -> None:
        self._total, self._fine = state["total"].to(self._device), state["fine"].to(self._device)
        self._count = state["count"].clone()
