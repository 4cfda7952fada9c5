"""Which values are computed together, and in which order. The second part of planning.

Values that one call can compute have one *kind*: one module (or modules that are alike) on inputs of one
shape, soft merges of one shape, poolings of one shape. Whenever a kind is chosen, all its values that are
ready are computed, so the order decides how many calls there are: a kind that can wait until more of it is
ready should wait. The fewest calls are hard to find (it is the shortest common supersequence of the routes);
two rules come near. Pooling waits until nothing else is ready, so that a resolution is finished before the
next begins. Else that kind goes first which the longest chain of operations still waits for; of equals, the
one of which the greatest share is ready.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from moduli.sharing.values import PoolInfo, Value


@dataclass
class Group:
    """Values computed by one step, in this order, into one buffer."""

    values: list[int]
    modules: list[int] = field(default_factory=list)  # applied, each to an equal share of the rows


def grouped(values: Sequence[Value], sources: int, pool: PoolInfo, limit: int | None) -> list[Group]:
    """Groups in the order in which they can be computed.

    Args:
        values: the sources first, and each after its inputs.
        sources: how many of them are sources.
        pool: facts about the modules.
        limit: most numbers in the result of one call, None for no limit.
    """
    agenda = _Agenda(values, sources, pool)
    place = {number: (number, 0) for number in range(sources)}  # of each value, its buffer and rank
    groups: list[Group] = []
    while ready := agenda.next():
        # Values whose inputs lie side by side are taken without a copy.
        ready.sort(key=lambda n: (-len(values[n].inputs), *place[values[n].inputs[0]]))
        for made in _groups(ready, values, pool, limit, place):
            place |= {number: (sources + len(groups), rank) for rank, number in enumerate(made.values)}
            groups.append(made)
    return groups


class _Agenda:
    """What is ready, by kind; `next` decides which kind's turn it is."""

    def __init__(self, values: Sequence[Value], sources: int, pool: PoolInfo):
        self._values = values
        self._kinds = [_kind(value, values, pool) for value in values]
        self._left = Counter(self._kinds[sources:])
        self._missing = [len(set(value.inputs)) for value in values]
        self._readers: list[list[int]] = [[] for _ in values]
        for number, value in enumerate(values):
            for i in dict.fromkeys(value.inputs):
                self._readers[i].append(number)
        self._chain = [1] * len(values)  # length of the longest chain of operations from a value on
        for number in reversed(range(len(values))):
            for i in values[number].inputs:
                self._chain[i] = max(self._chain[i], 1 + self._chain[number])
        self._ready: dict[Hashable, list[int]] = {}
        self._longest: dict[Hashable, int] = {}  # chain of those that are ready
        self._computed(range(sources))

    def next(self) -> list[int]:
        """The values to compute next, all of one kind; none at the end."""
        if not self._ready:
            return []
        kind = max(self._ready, key=self._urgency)
        members = self._ready.pop(kind)
        self._left[kind] -= len(members)
        del self._longest[kind]
        self._computed(members)
        return members

    def _urgency(self, kind: Hashable) -> tuple:
        members = self._ready[kind]
        waits = self._values[members[0]].operation[0] == "pool"
        return (not waits, self._longest[kind], len(members) / self._left[kind])

    def _computed(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            for reader in self._readers[number]:
                self._missing[reader] -= 1
                if not self._missing[reader]:
                    kind = self._kinds[reader]
                    self._ready.setdefault(kind, []).append(reader)
                    self._longest[kind] = max(self._longest.get(kind, 0), self._chain[reader])


def _kind(value: Value, values: Sequence[Value], pool: PoolInfo) -> Hashable:
    operation, *argument = value.operation
    if operation == "apply":
        (module,) = argument
        alike = pool.alike[module]
        return ("apply", alike, module if alike is None else None, values[value.inputs[0]].shape)
    return (operation, values[value.inputs[0]].shape if value.inputs else None, value.shape)


# ------------------------------------------------------------------ from values of one kind to calls


def _groups(
    ready: list[int],
    values: Sequence[Value],
    pool: PoolInfo,
    limit: int | None,
    place: dict[int, tuple[int, int]],
) -> list[Group]:
    operation = values[ready[0]].operation[0]
    if operation == "apply":
        return _applications(ready, values, pool, limit)
    if operation == "merge":
        return [Group(chunk) for chunk in _chunks([[n] for n in ready], values, limit)]
    # One buffer in, one out: what lies in one buffer stays together.
    buffers = [list(members) for _, members in groupby(ready, key=lambda n: place[values[n].inputs[0]][0])]
    return [Group(chunk) for chunk in _chunks(buffers, values, limit)]


def _applications(
    ready: list[int], values: Sequence[Value], pool: PoolInfo, limit: int | None
) -> list[Group]:
    """One group for each module, cut into chunks; of alike modules with equally many rows, one for all."""
    of_module: dict[int, list[int]] = {}
    for number in sorted(ready, key=lambda n: values[n].operation[1]):
        of_module.setdefault(values[number].operation[1], []).append(number)
    joined: dict[Hashable, Group] = {}
    for module, members in of_module.items():
        chunks = list(_chunks([[n] for n in members], values, 0 if pool.alone[module] else limit))
        for position, chunk in enumerate(chunks):
            together = pool.alike[module] is not None and len(chunks) == 1  # what was cut stays cut
            rows = sum(values[n].rows for n in chunk)
            made = joined.setdefault(rows if together else (module, position), Group([]))
            made.values += chunk
            made.modules.append(module)
    return list(joined.values())


def _chunks(units: list[list[int]], values: Sequence[Value], limit: int | None) -> Iterable[list[int]]:
    """Units joined to chunks of at most `limit` numbers; a unit is never cut."""
    chunk: list[int] = []
    size = 0
    for unit in units:
        numbers = sum(values[n].size for n in unit)
        if chunk and limit is not None and size + numbers > limit:
            yield chunk
            chunk, size = [], 0
        chunk = chunk + unit
        size += numbers
    yield chunk
