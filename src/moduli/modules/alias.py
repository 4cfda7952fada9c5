"""Modules with the same parameters in other leaves of the graph, so that gradients come out apart."""

from __future__ import annotations

import copy

from torch import nn

from moduli.types import Copy


class Aliases:
    """For modules that several tasks share, an alias for each task: see `moduli.sharing.apart`.

    ``copies``: what stood for which parameter since it was last cleared.
    """

    def __init__(self):
        self._made: dict[tuple[nn.Module, str], nn.Module] = {}
        self.copies: dict[tuple[int, str], Copy] = {}

    def of(self, module: nn.Module, task: str) -> nn.Module:
        """The alias of a module for a task; made anew if the module's weights have moved elsewhere."""
        key = (module, task)
        if key not in self._made or not same_memory(module, self._made[key]):
            self._made[key] = alias(module)
        other = self._made[key].train(module.training)
        for p, q in zip(module.parameters(), other.parameters(), strict=True):
            if p.requires_grad:
                self.copies[id(p), task] = Copy(p, q, (task,))
        return other


def alias(module: nn.Module) -> nn.Module:
    """The same module with parameters that are other leaves in the same memory; buffers are the same."""
    memo: dict[int, object] = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in module.parameters()}
    memo |= {id(buffer): buffer for buffer in module.buffers()}
    return copy.deepcopy(module, memo)  # type: ignore[arg-type]


def same_memory(module: nn.Module, other: nn.Module) -> bool:
    """Whether the parameters of two aliases still lie in the same place (not so after `.to(device)`)."""
    pairs = zip(module.parameters(), other.parameters(), strict=True)
    return all(p.data_ptr() == q.data_ptr() for p, q in pairs)
