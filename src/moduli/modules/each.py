"""A stage made of any modules of the user's: one for each name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from moduli.errors import InputError
from moduli.types import Part


class Each(nn.Module):
    """Applies the module of each name to the value of that name: `{name: x} -> {name: y}`.

    The same module object may stand under several names: it is then shared by them, and computed once
    for names that are given the same tensor.

    Args:
        modules: a module for each input (encoders) or task (decoders).
    """

    def __init__(self, modules: Mapping[str, nn.Module]):
        super().__init__()
        self.names = {name: position for position, name in enumerate(modules)}
        self.members = nn.ModuleList(modules.values())  # a list: names may contain dots

    def forward(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        done: dict[tuple[int, int], Tensor] = {}
        outputs: dict[str, Tensor] = {}
        for name, x in inputs.items():
            module = self.members[self._position(name)]
            key = (id(module), id(x))
            if key not in done:
                done[key] = module(x)
            outputs[name] = done[key]
        return outputs

    def shared_parameters(self) -> list[nn.Parameter]:
        shared = self._shared()
        return [p for p in self.parameters() if id(p) in shared]

    def own(self, task: str) -> list[Part]:
        position, shared = self._position(task), self._shared()
        member = self.members[position]
        return [
            Part(name, x) for name, x in named_state(member, f"members.{position}") if id(x) not in shared
        ]

    def _shared(self) -> set[int]:
        uses = Counter(id(x) for module in self.members for _, x in named_state(module))
        return {key for key, count in uses.items() if count > 1}

    def _position(self, name: str) -> int:
        if name not in self.names:
            raise InputError(f"no module for {name!r}: give one (there are: {', '.join(self.names)})")
        return self.names[name]


def named_state(module: nn.Module, prefix: str = "") -> list[tuple[str, Tensor]]:
    """Parameters and buffers of a module, by the names that its `state_dict` gives them."""
    return [*module.named_parameters(prefix), *module.named_buffers(prefix)]
