"""Mutations of a route: one more application of a module, or one less (Meyerson 2018, 7.2.4).

A mutation is plain data. `apply` gives the new route, and for every soft-merge scale of it the scale of the
old route that it continues, so that what was learned comes along (see `inherited`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from moduli.errors import InputError
from moduli.sharing.route import Apply, Merge, Node, Route, inputs_of

Kept = tuple[int | None, ...]
"""For every scale of a route, its place among the scales of another route, or None for a new one."""


@dataclass(frozen=True, slots=True)
class Add:
    """Adds a node w that applies `module`, with the edges u -> w -> v.

    What already led to v and w's result meet in a soft merge: the one that v has, or a new one. The
    dissertation calls v an ancestor of u; the graph stays acyclic only if u is the ancestor, as here.

    Args:
        u: the node that w reads: 0, the source, or one that applies a module.
        v: a node downstream of u that applies a module; None, the sink.
        module: its number in the pool.
        level: at which w stands, from that of u to that of v.
    """

    u: int
    v: int | None
    module: int
    level: int = 0

    def apply(self, route: Route) -> tuple[Route, Kept]:
        """The route with the new node, and where its scales come from.

        Raises:
            InputError: if u is no ancestor of v, or the level is not between theirs.
        """
        if self.u not in ancestors(route, self.v):
            raise InputError(f"node {self.u} is no ancestor of {self._name_of_v}: add between two that are")
        top = _level_of_place(route, self.v)
        if not route.level_of(self.u) <= self.level <= top:
            raise InputError(
                f"level {self.level} is not between that of node {self.u} ({route.level_of(self.u)}) and "
                f"that of {self._name_of_v} ({top})"
            )
        entry = _entry(route, self.v)
        made_by = route.nodes[entry - 1] if entry else None
        w = Apply(self.module, self.u, self.level)
        extends = isinstance(made_by, Merge) and _uses(route, entry) == 1 and self.level <= made_by.level
        if extends:
            nodes = _inserted(route, entry, [w])
            merge = nodes[entry]
            assert isinstance(merge, Merge)
            nodes[entry] = replace(merge, inputs=(*merge.inputs, entry))
            return Route(tuple(nodes), _moved(route.sink, entry, 1), route.level), _kept_with(route, entry)
        at = len(route.nodes) + 1 if self.v is None else self.v
        nodes = _inserted(route, at, [w, Merge((entry, at), top)])
        if self.v is None:
            return Route(tuple(nodes), at + 1, route.level), _kept_with(route, at)
        v = nodes[at + 1]
        assert isinstance(v, Apply)
        nodes[at + 1] = replace(v, input=at + 1)
        return Route(tuple(nodes), _moved(route.sink, at, 2), route.level), _kept_with(route, at)

    @property
    def _name_of_v(self) -> str:
        return "the sink" if self.v is None else f"node {self.v}"

    def to_json(self) -> dict[str, Any]:
        """The mutation as JSON data; the node numbers are those of the route before it."""
        return {"add": self.module, "after": self.u, "before": self.v, "level": self.level}


@dataclass(frozen=True, slots=True)
class Remove:
    """Removes a node that applies a module, and whatever served it alone.

    Every soft merge that it led to goes on with its other inputs; of one input nothing is left to merge.
    Not in the papers, whose routes only grow.

    Args:
        node: one of `removable(route)`.
    """

    node: int

    def apply(self, route: Route) -> tuple[Route, Kept]:
        """The route without the node, and where its scales come from.

        Raises:
            InputError: if the sink or a module has no other input.
        """
        if self.node not in removable(route):
            raise InputError(f"node {self.node} cannot be removed: something reads it alone")
        instead = {0: 0}  # which node stands for an old one
        entries = _entries(route)
        inputs_kept: dict[int, list[int]] = {}  # of each merge, the places of its inputs that stay
        for number, node in enumerate(route.nodes, start=1):
            instead[number] = number
            if isinstance(node, Merge):
                places = [p for p, i in enumerate(node.inputs) if i != self.node]
                inputs_kept[number] = places
                if len(places) == 1:
                    instead[number] = instead[node.inputs[places[0]]]
        needed = self._needed(route, instead, inputs_kept)
        renumbered = {0: 0} | {old: new for new, old in enumerate(sorted(needed), start=1)}
        nodes: list[Node] = []
        kept: list[int | None] = []
        for number in sorted(needed):
            node = route.nodes[number - 1]
            if isinstance(node, Apply):
                nodes.append(replace(node, input=renumbered[instead[node.input]]))
            else:
                places = inputs_kept[number]
                inputs = tuple(renumbered[instead[node.inputs[p]]] for p in places)
                nodes.append(replace(node, inputs=inputs))
                kept += [entries[number] + p for p in places]
        return Route(tuple(nodes), renumbered[instead[route.sink]], route.level), tuple(kept)

    def _needed(self, route: Route, instead: dict[int, int], inputs_kept: dict[int, list[int]]) -> set[int]:
        """The nodes that still lead to the sink."""
        needed: set[int] = set()
        front = [instead[route.sink]]
        while front:
            number = front.pop()
            if number in needed or number == 0:
                continue
            needed.add(number)
            node = route.nodes[number - 1]
            before = (
                [node.input] if isinstance(node, Apply) else [node.inputs[p] for p in inputs_kept[number]]
            )
            front += [instead[i] for i in before]
        return needed

    def to_json(self) -> dict[str, Any]:
        """The mutation as JSON data; the node number is that of the route before it."""
        return {"remove": self.node}


Mutation = Add | Remove


def from_json(data: dict[str, Any]) -> Mutation:
    """The mutation that `to_json` wrote."""
    if "remove" in data:
        return Remove(data["remove"])
    return Add(data["after"], data["before"], data["add"], data["level"])


# ------------------------------------------------------------------ drawing one


def draw(
    route: Route, modules: Sequence[int], max_nodes: int | None = None, removal: float = 0.0
) -> Mutation | None:
    """A random mutation, by torch's global random numbers; None if there is none.

    A node is added between a pair (u, v) of which u is an ancestor of v, uniform over all such pairs; its
    module and its level (between those of u and v) are uniform as well. Of levels the paper says nothing.

    Args:
        route: of the champion.
        modules: those that may be added.
        max_nodes: most applications of modules in a route; None for no bound.
        removal: probability of removing a node, uniform over those that can be, rather than adding one.
    """
    candidates = removable(route) if removal else []
    if candidates and torch.rand(()).item() < removal:
        return Remove(candidates[_random(len(candidates))])
    if max_nodes is not None and complexity(route) >= max_nodes:
        return None
    places = [*(n for n in sorted(ancestors(route, None)) if n), None]
    pairs = [(u, v) for v in places for u in sorted(ancestors(route, v))]
    u, v = pairs[_random(len(pairs))]
    low, high = route.level_of(u), _level_of_place(route, v)
    return Add(u, v, modules[_random(len(modules))], low + _random(high - low + 1))


def _random(number: int) -> int:
    return int(torch.randint(number, ()).item())


def complexity(route: Route) -> int:
    """How many times a route applies a module."""
    return sum(isinstance(node, Apply) for node in route.nodes)


def ancestors(route: Route, place: int | None) -> set[int]:
    """The source and the applications of modules from which a node (None: the sink) can be reached."""
    found: set[int] = set()
    seen: set[int] = set()
    front = [_entry(route, place)]
    while front:
        number = front.pop()
        if number in seen:
            continue
        seen.add(number)
        node = route.nodes[number - 1] if number else None
        if not isinstance(node, Merge):
            found.add(number)
        front += inputs_of(node) if node is not None else ()
    return found


def removable(route: Route) -> list[int]:
    """The applications of modules that lead to soft merges alone, of which each has another input."""
    readers: dict[int, list[Node | None]] = {n: [] for n in range(len(route.nodes) + 1)}
    for node in route.nodes:
        for i in inputs_of(node):
            readers[i].append(node)
    readers[route.sink].append(None)
    return [
        number
        for number, node in enumerate(route.nodes, start=1)
        if isinstance(node, Apply)
        and all(isinstance(r, Merge) and set(r.inputs) != {number} for r in readers[number])
    ]


# ------------------------------------------------------------------ scales


def insertion_scale(scales: Tensor, alpha: float) -> Tensor:
    """The scale of a new input whose softmax share is `alpha`: ln(alpha / (1 - alpha)) + logsumexp(s).

    Eq. 7.4 of Meyerson (2018), of `scales` [m], those of the inputs that are there; a scalar. The paper
    subtracts the greatest scale inside the sum and adds it outside, as logsumexp does.
    """
    return math.log(alpha / (1 - alpha)) + torch.logsumexp(scales, 0)


def inherited(route: Route, kept: Kept, scales: Tensor, alpha: float) -> Tensor:
    """The scales of a mutated route: those that it continues, and for a new input one of share `alpha`.

    What had no scale because it was the only input has scale 0 in a new merge.

    Args:
        route: the mutated route.
        kept: as `apply` gives it.
        scales: of the route before, flat, merge by merge.
        alpha: share of a new input at the start.
    """
    values: list[Tensor] = []
    for node in route.nodes:
        if not isinstance(node, Merge):
            continue
        mine: list[Tensor] = []
        for place in kept[len(values) : len(values) + len(node.inputs)]:
            if place is not None:
                mine.append(scales[place])
            else:
                mine.append(insertion_scale(torch.stack(mine), alpha) if mine else scales.new_zeros(()))
        values += mine
    return torch.stack(values) if values else scales.new_zeros(0)


# ------------------------------------------------------------------ inside


def _entry(route: Route, place: int | None) -> int:
    """The node that a place reads."""
    if place is None:
        return route.sink
    node = route.nodes[place - 1]
    if not isinstance(node, Apply):
        raise InputError(f"node {place} is a soft merge: name a node that applies a module, or the sink")
    return node.input


def _level_of_place(route: Route, place: int | None) -> int:
    return route.level if place is None else route.level_of(place)


def _uses(route: Route, number: int) -> int:
    """How many edges leave a node."""
    return sum(inputs_of(node).count(number) for node in route.nodes) + (route.sink == number)


def _inserted(route: Route, at: int, new: Sequence[Node]) -> list[Node]:
    """The nodes with new ones inserted as number `at` and following; the new ones read nodes before them."""
    nodes: list[Node] = []
    for node in route.nodes:
        if isinstance(node, Apply):
            nodes.append(replace(node, input=_moved(node.input, at, len(new))))
        else:
            nodes.append(replace(node, inputs=tuple(_moved(i, at, len(new)) for i in node.inputs)))
    return [*nodes[: at - 1], *new, *nodes[at - 1 :]]


def _moved(number: int, at: int, shift: int) -> int:
    """The number of a node after `shift` others were inserted as number `at` and following."""
    return number + shift if number >= at else number


def _entries(route: Route) -> dict[int, int]:
    """For every merge, where its scales begin."""
    starts: dict[int, int] = {}
    start = 0
    for number in route.merges:
        starts[number] = start
        start += len(inputs_of(route.nodes[number - 1]))
    return starts


def _kept_with(route: Route, at: int) -> Kept:
    """Scales of `route` in their order, with what is new where node `at` is.

    If that is a merge, it has one input more, at its end; else a new merge of two inputs stands before it.
    """
    kept: list[int | None] = []
    made = False
    for number in route.merges:
        if number > at and not made:
            kept, made = [*kept, None, None], True
        start = len([k for k in kept if k is not None])
        kept += range(start, start + len(inputs_of(route.nodes[number - 1])))
        if number == at:
            kept, made = [*kept, None], True
    return tuple(kept) if made else (*kept, None, None)
