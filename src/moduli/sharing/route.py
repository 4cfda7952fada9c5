"""Routes: how one task assembles the shared modules. A route is plain data, a small immutable graph.

Node 0 is the source (the encoder's output). Every further node either applies a module of the pool or is
a soft merge of several nodes. One node feeds the sink (the decoder's input).

Every node stands at a *level*: the number of 2x2 poolings before it. Modules keep the resolution; an edge
from level a to level b carries b - a poolings, so that all inputs of a merge have one shape (Meyerson
2018, 7.2.2). Without space there is only level 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from moduli.errors import InputError


@dataclass(frozen=True, slots=True)
class Apply:
    """Applies module `module` of the pool to node `input`."""

    module: int
    input: int
    level: int = 0


@dataclass(frozen=True, slots=True)
class Merge:
    """A learned convex combination of nodes (Eq. 7 of Meyerson & Miikkulainen 2018)."""

    inputs: tuple[int, ...]
    level: int = 0


Node = Apply | Merge


@dataclass(frozen=True, slots=True)
class Route:
    """The assembly of modules for one task.

    Args:
        nodes: node i + 1 is `nodes[i]`; its inputs are 0 (the source) or earlier nodes.
        sink: the node whose value goes to the decoder.
        level: of the sink.

    Raises:
        InputError: if an input is not an earlier node, or an edge would lead to a lower level.
    """

    nodes: tuple[Node, ...]
    sink: int
    level: int = 0

    def __post_init__(self):
        for number, node in enumerate(self.nodes, start=1):
            inputs = inputs_of(node)
            if not inputs or not all(0 <= i < number for i in inputs):
                raise InputError(
                    f"node {number} of a route has inputs {inputs}: name 1 or more earlier nodes"
                )
            if any(self.level_of(i) > node.level for i in inputs):
                raise InputError(f"node {number} of a route stands at level {node.level}, below an input")
        if not 0 <= self.sink <= len(self.nodes) or self.level_of(self.sink) > self.level:
            raise InputError(
                f"sink {self.sink} of a route must be a node at its level ({self.level}) or below"
            )

    def level_of(self, node: int) -> int:
        """The level at which a node stands; the source stands at 0."""
        return self.nodes[node - 1].level if node else 0

    @property
    def merges(self) -> tuple[int, ...]:
        """Numbers of the nodes that are soft merges, in order."""
        return tuple(n for n, node in enumerate(self.nodes, start=1) if isinstance(node, Merge))

    @property
    def modules(self) -> frozenset[int]:
        """Modules that this route applies."""
        return frozenset(node.module for node in self.nodes if isinstance(node, Apply))

    def to_json(self) -> dict[str, Any]:
        """The route as JSON data; `from_json` gives it back."""
        nodes = [
            {"apply": n.module, "input": n.input, "level": n.level}
            if isinstance(n, Apply)
            else {"merge": list(n.inputs), "level": n.level}
            for n in self.nodes
        ]
        return {"nodes": nodes, "sink": self.sink, "level": self.level}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Route:
        """Raises `InputError` if `data` is not a route."""
        try:
            nodes = tuple(
                Apply(index(n["apply"]), n["input"], n["level"])
                if "apply" in n
                else Merge(tuple(n["merge"]), n["level"])
                for n in data["nodes"]
            )
            return cls(nodes, data["sink"], data["level"])
        except (KeyError, TypeError) as error:
            raise InputError(f"not a route: {error!r} in {str(data)[:80]}") from error


def inputs_of(node: Node) -> tuple[int, ...]:
    """The nodes that feed a node."""
    return (node.input,) if isinstance(node, Apply) else node.inputs


def chain(order: Sequence[int], pooling: bool = False) -> Route:
    """Modules one after another: f_order[0], f_order[1], ... (Eqs. 2 and 3).

    With `pooling`, a 2x2 pooling follows every module (Eq. 7.3 of Meyerson 2018).
    """
    up = 1 if pooling else 0
    nodes = tuple(Apply(module, depth, depth * up) for depth, module in enumerate(order))
    return Route(nodes, len(nodes), len(nodes) * up)


def soft_order(modules: Sequence[int], depth: int, pooling: bool = False) -> Route:
    """At each of `depth` depths every module is applied, and a soft merge mixes the results (Eq. 7).

    Args:
        modules: their numbers in the pool.
        depth: D, the number of mixes one after another.
        pooling: whether a 2x2 pooling follows every depth.
    """
    up, source = (1 if pooling else 0), 0
    nodes: list[Node] = []
    for d in range(depth):
        first = len(nodes) + 1
        nodes += [Apply(module, source, d * up) for module in modules]
        nodes.append(Merge(tuple(range(first, first + len(modules))), (d + 1) * up))
        source = len(nodes)
    return Route(tuple(nodes), source, depth * up)
