"""Shared modules with a copy of their parameters for every task, so that gradients come out apart.

Balancing by gradients needs the gradient of every task's loss by the shared parameters. A backward pass for
each task costs as many passes as there are tasks, and in a graph whose calls are batched over tasks each
of them goes through all of it. Here a task's samples meet *copies* of the shared parameters instead: leaves
of the graph that have the same memory. One backward pass of the sum of all losses leaves every task's
gradient at its own copies.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moduli.functional import Blocks
from moduli.modules import Aliases
from moduli.types import Copy


class ApartModules:
    """The pool of a structure while it keeps tasks apart: stands in for the modules in one forward pass.

    Modules that offer `apart` (see `Dense.apart`) are called for many tasks at once, as ever, with views of
    their parameters that have a row for each task. All others have an alias for each task.

    Args:
        pool: the modules.
        shared: which of them are shared; the others are called as they are.
        aliases: of the modules, kept from step to step.
        tasks: those that take part; source s of the plan is the input of task s.
    """

    def __init__(
        self, pool: Sequence[nn.Module], shared: Sequence[bool], aliases: Aliases, tasks: Sequence[str]
    ):
        self._pool, self._shared, self._aliases, self._tasks = pool, shared, aliases, tasks
        self._views: dict[int, dict[str, Tensor]] = {}
        self._copies: list[Copy] = []
        aliases.copies.clear()

    @property
    def copies(self) -> list[Copy]:
        """What stood for the shared parameters."""
        return [*self._copies, *self._aliases.copies.values()]

    def apply(self, numbers: Sequence[int], x: Tensor, blocks: Sequence[Blocks]) -> Tensor:
        """Module l applied to `x[l]`, whose rows are those of `blocks[l]`: `[L, N, ...] -> [L, N, ...]`."""
        first = self._pool[numbers[0]]
        if not all(self._shared[k] for k in numbers):
            return torch.stack([self._pool[k](rows) for k, rows in zip(numbers, x, strict=True)])
        if hasattr(first, "apart"):
            modules = [self._pool[k] for k in numbers]
            return first.apart(modules, [self._view(k) for k in numbers], x, blocks)  # type: ignore[operator]
        (number,), ((source, _),) = numbers, blocks[0]  # a plan that keeps apart does not group others
        return self._aliases.of(self._pool[number], self._tasks[source])(x[0]).unsqueeze(0)

    def _view(self, number: int) -> dict[str, Tensor]:
        """The parameters of a module with a row for each task."""
        if number not in self._views:
            views = {}
            for name, p in self._pool[number].named_parameters():
                views[name] = p.detach().expand(len(self._tasks), *p.shape).requires_grad_(p.requires_grad)
                if p.requires_grad:
                    self._copies.append(Copy(p, views[name], tuple(self._tasks)))
            self._views[number] = views
        return self._views[number]
