"""A stage made of any modules of the user's: one for each name."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from moduli.errors import InputError
from moduli.functional import concatenate
from moduli.modules.alias import Aliases
from moduli.types import Copy, Part


class Each(nn.Module):
    """Applies the module of each name to the value of that name: `{name: x} -> {name: y}`.

    The same module object may stand under several names: it is then shared by them, and computed once
    for names that are given the same tensor.

    A module whose result for a sample depends on that sample alone may say so with `joins`, the most samples
    for which one call on a CPU is faster than several (see `LSTM`). Then the inputs of several names are
    joined for as few calls; elsewhere than on a CPU for one, of any size. The results are the same.

    Args:
        modules: a module for each input (encoders) or task (decoders).
    """

    def __init__(self, modules: Mapping[str, nn.Module]):
        super().__init__()
        self.names = {name: position for position, name in enumerate(modules)}
        self.members = nn.ModuleList(modules.values())  # a list: names may contain dots
        self._apart = False
        self._aliases = Aliases()

    def forward(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        self._aliases.copies.clear()
        module_of = {name: self._member(name) for name in inputs}
        different: dict[nn.Module, dict[int, Any]] = {}
        for name, x in inputs.items():
            different.setdefault(module_of[name], {})[id(x)] = x
        done = {
            module: dict(zip(values, self._results(module, list(values.values())), strict=True))
            for module, values in different.items()
        }
        return {name: done[module_of[name]][id(x)] for name, x in inputs.items()}

    def _results(self, module: nn.Module, values: Sequence[Any]) -> list[Tensor]:
        """What a module makes of each value."""
        most = 0 if self._apart else getattr(module, "joins", 0)
        results: list[Tensor] = []
        for some in _joined(values, most):
            if len(some) == 1:
                results.append(module(some[0]))
            else:
                results += module(concatenate(some)).split([len(x) for x in some])
        return results

    def _member(self, name: str) -> nn.Module:
        """The module of a name; while tasks are kept apart, an alias if others have it as well."""
        member = self.members[self._position(name)]
        if not (self._apart and self.training):
            return member
        shared = self._shared()
        return self._aliases.of(member, name) if any(id(p) in shared for p in member.parameters()) else member

    def renamed(self, names: Mapping[str, str]) -> Each:
        """The modules under other names: `{new name: present name}`.

        What several present names share stays shared. Of the rest, the first new name gets the module itself,
        and every further one a copy with weights of its own.
        """
        shared, taken = self._shared(), set()
        modules: dict[str, nn.Module] = {}
        for new, old in names.items():
            member = self.members[self._position(old)]
            state = [x for _, x in named_state(member)]
            own = {id(x) for x in state} - shared
            kept = {id(x): x for x in state if id(x) in shared}
            modules[new] = copy.deepcopy(member, kept) if own & taken else member
            taken |= own
        return Each(modules).train(self.training)

    def keep_apart(self, wanted: bool) -> None:
        """Whether every name has copies of what it shares, and a call of its own, while training."""
        self._apart = wanted

    def copies(self) -> list[Copy]:
        """The copies that the last forward pass worked with; none if it did not keep names apart."""
        return list(self._aliases.copies.values())

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to one step."""
        return {**super().__getstate__(), "_aliases": Aliases()}

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


def _joined(values: Sequence[Any], most: int) -> list[list[Any]]:
    """Values for one call each: consecutive tensors of like samples, on a CPU at most `most` samples."""
    calls: list[list[Any]] = []
    for x in values:
        if not (most and calls and isinstance(x, Tensor) and _fits(x, calls[-1], most)):
            calls.append([])
        calls[-1].append(x)
    return calls


def _fits(x: Tensor, call: Sequence[Tensor], most: int) -> bool:
    first = call[0]
    alike = isinstance(first, Tensor) and (x.shape[1:], x.dtype) == (first.shape[1:], first.dtype)
    return alike and (x.device.type != "cpu" or len(x) + sum(map(len, call)) <= most)
