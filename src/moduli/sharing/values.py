"""What must be computed for the routes of many tasks: every result once, named by what it is.

The first part of planning, see `moduli.sharing.plan`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from moduli.errors import InputError
from moduli.sharing.route import Apply, Merge, Route

Shape = tuple[int, ...]


@dataclass(frozen=True)
class PoolInfo:
    """What planning must know about a pool of modules, by module number.

    ``alike``: equal keys may be computed together; None never. ``alone``: the module mixes samples.
    ``drop``: dropout follows the module. ``channels``: how many it puts out, None for as many as it gets.
    When tasks are kept apart (see `moduli.sharing.apart`), modules that do not offer `apart` are alone, and a
    batched call must not have shared and owned modules both.
    """

    alike: tuple[Hashable | None, ...]
    alone: tuple[bool, ...]
    drop: tuple[bool, ...]
    channels: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """`operation` on `inputs` (other values): `rows` samples of `shape` each.

    Operations: ("source",), ("apply", module), ("merge", row of its weights), ("pool",), ("drop",), and
    ("fill", channels), which appends channels of zeros. ``source``: the first that it depends on.
    """

    operation: tuple
    inputs: tuple[int, ...]
    rows: int
    shape: Shape
    source: int

    @property
    def size(self) -> int:
        """How many numbers it is."""
        return self.rows * prod(self.shape)


class Values:
    """All values, each once; a value's inputs stand before it. The sources come first.

    Args:
        shapes: `(samples, ...)` of each source tensor.
        pool: facts about the modules.
        drop_last: whether dropout also follows the modules whose results end a route.
    """

    def __init__(self, shapes: Sequence[Shape], pool: PoolInfo, drop_last: bool):
        self.pool, self.drop_last = pool, drop_last
        self.all = [Value(("source",), (), s[0], tuple(s[1:]), n) for n, s in enumerate(shapes)]
        self._number: dict[Hashable, int] = {}

    def of_route(self, key: str, route: Route, source: int, merge_row: Mapping[tuple[str, int], int]) -> int:
        """The value of a route's sink; `merge_row`: see `moduli.sharing.plan.make_plan`.

        Raises:
            InputError: if a merge would have inputs of unlike shapes.
        """
        numbers = {0: source}
        undropped = set() if self.drop_last else _ends(route)

        def at(node: int, level: int, last: bool = False) -> int:
            value = numbers[node]
            for _ in range(level - route.level_of(node)):
                value = self._pooled(value)
            made_by = route.nodes[node - 1] if node else None
            if isinstance(made_by, Apply) and self.pool.drop[made_by.module] and not last:
                value = self._add(("drop",), (value,))
            return value

        for number, node in enumerate(route.nodes, start=1):
            if isinstance(node, Apply):
                numbers[number] = self._applied(node.module, at(node.input, node.level))
            else:
                inputs = self._alike(key, [at(i, node.level, number in undropped) for i in node.inputs])
                numbers[number] = self._add(("merge", merge_row[key, number]), inputs)
        return at(route.sink, route.level, not self.drop_last)

    def _applied(self, module: int, value: int) -> int:
        shape, channels = self.all[value].shape, self.pool.channels[module]
        shape = shape if channels is None else (channels, *shape[1:])
        return self._add(("apply", module), (value,), shape)

    def _pooled(self, value: int) -> int:
        """The value one level up; a map that is down to one row or column stays as it is."""
        shape = self.all[value].shape
        if len(shape) < 2 or min(shape[-2:]) < 2:
            return value
        return self._add(("pool",), (value,), (*shape[:-2], shape[-2] // 2, shape[-1] // 2))

    def _alike(self, key: str, inputs: list[int]) -> tuple[int, ...]:
        """The inputs of a merge; maps with fewer channels than a module's count as filled up with zeros."""
        shapes = {self.all[i].shape for i in inputs}
        if len(shapes) == 1:
            return tuple(inputs)
        *_, most = sorted(shapes)
        if most[0] not in self.pool.channels or any(shape[1:] != most[1:] for shape in shapes):
            raise InputError(
                f"the route of {key!r} merges samples of shapes {min(shapes)} and {most}: let its encoder "
                "give as many channels as the modules have (see PadChannels)"
            )
        return tuple(
            i if self.all[i].shape == most else self._add(("fill", most[0]), (i,), most) for i in inputs
        )

    def _add(self, operation: tuple, inputs: tuple[int, ...], shape: Shape | None = None) -> int:
        key = (operation, inputs)
        if key not in self._number:
            first = self.all[inputs[0]]
            self._number[key] = len(self.all)
            self.all.append(Value(operation, inputs, first.rows, shape or first.shape, first.source))
        return self._number[key]


def _ends(route: Route) -> set[int]:
    """The sink, and the merges that reach it through merges alone."""
    ends, front = {route.sink}, [route.sink]
    while front:
        number = front.pop()
        node = route.nodes[number - 1] if number else None
        if isinstance(node, Merge):
            front += [i for i in node.inputs if i not in ends]
            ends |= set(node.inputs)
    return ends
