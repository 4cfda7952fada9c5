"""A routed structure in which several candidate routes compete for each task, over one pool of modules."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from moduli.evolution.mutation import Kept, Mutation, draw, from_json, inherited
from moduli.sharing import Apply, Route, RoutedStructure


@dataclass(frozen=True)
class Heir:
    """What a candidate of the next generation is: its route, where its scales come from, and how it was made.

    ``scales`` are its values, ``origin`` for each the place in the flat parameter before, or None if new.
    """

    route: Route
    scales: Tensor
    origin: Kept
    mutation: Mutation | None = None


class EvolvingStructure(RoutedStructure):
    """Routes that compete: `{candidate: [B, ...]} -> {candidate: [B, ...]}`, all over one pool.

    Every task has the same number of places for candidates, the first for its champion. A place without a
    route is empty. The routes change between phases (see `succeed`); they are in the state of the module, so
    that a state is loaded whatever the routes are at that moment.

    Args:
        structure: its pool is taken over, and its routes are those of the first champions.
        candidates: for each task the names of its places; the first is that of the task itself.
    """

    def __init__(self, structure: RoutedStructure, candidates: Mapping[str, Sequence[str]]):
        super().__init__(
            list(structure.modules_pool),
            {task: structure.routes[task] for task in candidates},
            dropout=structure.dropout,
            pool=structure.pool,
            limit=structure.limit,
            drop_last=structure.drop_last,
        )
        self.candidates = {task: tuple(names) for task, names in candidates.items()}
        self.mutations: dict[str, Mutation] = {}
        self.chosen = {task: names[0] for task, names in self.candidates.items()}
        scales = torch.zeros(0) if structure.scales is None else structure.scales.detach()
        self.scales = nn.Parameter(torch.cat([scales[structure.scales_of(task)] for task in candidates]))

    def active(self, task: str) -> list[str]:
        """The candidates for a task that have a route, the champion first."""
        return [name for name in self.candidates[task] if name in self.routes]

    # -------------------------------------------------------------- from one generation to the next

    def heirs(
        self, task: str, alpha: float, max_nodes: int | None = None, removal: float = 0.0
    ) -> dict[str, Heir]:
        """The next candidates for a task: the chosen one as the champion, and mutants of it.

        Args:
            task: its name.
            alpha: share of a new edge at the start, see `inherited`.
            max_nodes, removal: see `moduli.evolution.mutation.draw`.
        """
        first, *others = self.candidates[task]
        chosen = self.chosen[task]
        route, place = self.routes[chosen], self.scales_of(chosen)
        scales, start = self._values()[place], place.start
        heirs = {first: Heir(route, scales, tuple(range(start, place.stop)))}
        for name in others:
            mutation = draw(route, range(len(self.modules_pool)), max_nodes, removal)
            if mutation is not None:
                mutant, kept = mutation.apply(route)
                origin = tuple(None if k is None else start + k for k in kept)
                heirs[name] = Heir(mutant, inherited(mutant, kept, scales, alpha), origin, mutation)
        return heirs

    def succeed(self, heirs: Mapping[str, Heir], optimizer: Any = None) -> None:
        """Takes over a new generation: routes and scales.

        What the optimizer knows of a scale follows it. Of a new scale it knows the mean of what it knows of
        all: in every merge the gradients of the scales add up to zero, so that is no momentum, and steps as
        large as elsewhere.

        Args:
            heirs: all candidates with a route.
            optimizer: of the scales; None before training.
        """
        scales, before = self._values(), self._values().shape
        places = [o for heir in heirs.values() for o in heir.origin]
        known = torch.tensor([o is not None for o in places], dtype=torch.bool, device=scales.device)
        place = torch.tensor([o or 0 for o in places], dtype=torch.long, device=scales.device)
        values = torch.cat([heir.scales for heir in heirs.values()]).to(scales)
        self._adopt({name: heir.route for name, heir in heirs.items()})
        assert self.scales is not None
        self.scales.data, self.scales.grad = values, None
        self.mutations = {name: h.mutation for name, h in heirs.items() if h.mutation is not None}
        self.chosen = {task: names[0] for task, names in self.candidates.items()}
        state = optimizer.state.get(self.scales, {}) if optimizer is not None else {}
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == before:
                some = value if value.numel() else value.new_zeros(1)
                state[key] = torch.where(known, some[place], some.mean())

    def _values(self) -> Tensor:
        assert self.scales is not None
        return self.scales.detach()

    def _adopt(self, routes: Mapping[str, Route]) -> int:
        device = self._values().device
        total = self._take(routes)
        self._table = self._table.to(device)
        return total

    # -------------------------------------------------------------- what is told and kept

    def record(self) -> list[dict[str, Any]]:
        """How often each module is applied in the chosen routes."""
        nodes = [node for name in self.chosen.values() for node in self.routes[name].nodes]
        uses = Counter(node.module for node in nodes if isinstance(node, Apply))
        return [{"split": "modules", "uses": [uses[k] for k in range(len(self.modules_pool))]}]

    def champions(self) -> RoutedStructure:
        """A structure of the chosen routes alone, with copies of the modules."""
        twin = copy.deepcopy(self)
        plain = twin.rerouted({task: self.routes[name] for task, name in self.chosen.items()})
        if plain.scales is not None:
            scales = [self._values()[self.scales_of(name)] for name in self.chosen.values()]
            plain.scales.data = torch.cat(scales)
        return plain

    def get_extra_state(self) -> Tensor:
        """Routes, mutations and choices, as JSON in a tensor: then they can be stored like weights."""
        state = {
            "routes": {name: route.to_json() for name, route in self.routes.items()},
            "mutations": {name: mutation.to_json() for name, mutation in self.mutations.items()},
            "chosen": self.chosen,
        }
        return torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Nothing is left to do: see `_load_from_state_dict`."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        # The routes come first: they decide how many scales there are.
        saved = state_dict.get(f"{prefix}_extra_state")
        if saved is not None:
            state = json.loads(bytes(saved.tolist()))
            total = self._adopt({name: Route.from_json(route) for name, route in state["routes"].items()})
            self.mutations = {name: from_json(mutation) for name, mutation in state["mutations"].items()}
            self.chosen = dict(state["chosen"])
            assert self.scales is not None
            self.scales.data, self.scales.grad = self._values().new_zeros(total), None
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
