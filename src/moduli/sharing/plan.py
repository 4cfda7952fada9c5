"""Planning: from the routes of many tasks to a short list of batched steps.

Interpreting routes task by task costs T * D small calls. A plan is made once for a set of routes and
batch shapes, and then replayed at every training step:

1. *Values.* Every result that is needed is named by what it is: module k applied to value v, value v
   pooled, ... Equal names are one value, so what two tasks have in common (a shared input, the common
   beginning of two routes) is computed once.
2. *Waves.* Values whose inputs are ready are computed together.
3. *Groups.* In a wave, applications of one module to inputs of one shape become one call on their
   concatenation; groups of alike modules (see `Dense.alike`) become one batched call; merges with equally
   many inputs become one merge. A group is cut into chunks where one call would fall out of the cache.
4. *Buffers.* The result of a step is one tensor, the rows of its values one after another. A step whose
   inputs already lie in that order in one buffer takes it as it is: in a chain nothing is ever copied.

Modules that mix the samples of a batch (batch normalisation in training) get each value alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod

from moduli.errors import InputError
from moduli.functional import Blocks
from moduli.sharing.route import Apply, Merge, Route
from moduli.sharing.steps import (
    ApplyStep,
    CommonMergeStep,
    DropStep,
    MergeStep,
    PoolStep,
    Run,
    Step,
    TogetherStep,
)

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


@dataclass(frozen=True)
class Plan:
    """Steps to replay. Buffers 0..sources-1 are the inputs; every step appends one buffer.

    ``cuts[b]``: lengths of the pieces that buffer b is split into, if it is ever taken in part.
    ``outputs``: where the value of each key lies at the end. ``merge_rows``: rows of the table of merge
    weights, in the order in which the steps use them; ``merge_counts``: how many of them each step uses.
    """

    steps: tuple[Step, ...]
    cuts: Mapping[int, tuple[int, ...]]
    outputs: Mapping[str, tuple[Run, ...]]
    merge_rows: tuple[int, ...]
    merge_counts: tuple[int, ...]


@dataclass
class _Value:
    """`operation` on `inputs` (other values): `rows` samples of `shape` each, ready in wave `wave`."""

    operation: tuple
    inputs: tuple[int, ...]
    rows: int
    shape: Shape
    wave: int
    source: int  # the first that it depends on


@dataclass
class _Group:
    """Values computed by one step, in this order, into one buffer."""

    values: list[int]
    modules: list[int] = field(default_factory=list)  # applied, each to an equal share of the rows


def make_plan(
    routes: Mapping[str, Route],
    sources: Mapping[str, int],
    shapes: Sequence[Shape],
    merge_row: Mapping[tuple[str, int], int],
    pool: PoolInfo,
    limit: int | None,
    drop_last: bool = True,
) -> Plan:
    """Plans the execution of `routes`.

    Args:
        routes: by key (a task, or a candidate for one).
        sources: for each key, which source tensor is its input.
        shapes: `(samples, ...)` of each source tensor.
        merge_row: for each (key, merge node), its row in the table of merge weights.
        pool: facts about the modules.
        limit: most numbers in the result of one call, None for no limit.
        drop_last: whether dropout also follows the modules whose results end a route.
    """
    values = _Values(shapes, pool, drop_last)
    outputs = {key: values.of_route(key, route, sources[key], merge_row) for key, route in routes.items()}
    groups = _group(values.all, pool, limit, len(shapes))
    return _lay_out(values.all, groups, outputs, shapes)


# ------------------------------------------------------------------ 1. values


class _Values:
    """All values, each once."""

    def __init__(self, shapes: Sequence[Shape], pool: PoolInfo, drop_last: bool):
        self.pool, self.drop_last = pool, drop_last
        self.all = [_Value(("source",), (), s[0], tuple(s[1:]), 0, n) for n, s in enumerate(shapes)]
        self._number: dict[Hashable, int] = {}

    def applied(self, module: int, value: int) -> int:
        """Module `module` applied to a value."""
        shape, channels = self.all[value].shape, self.pool.channels[module]
        return self.add(("apply", module), (value,), shape if channels is None else (channels, *shape[1:]))

    def add(self, operation: tuple, inputs: tuple[int, ...], shape: Shape | None = None) -> int:
        key = (operation, inputs)
        if key not in self._number:
            first = self.all[inputs[0]]
            wave = 1 + max(self.all[i].wave for i in inputs)
            self._number[key] = len(self.all)
            self.all.append(_Value(operation, inputs, first.rows, shape or first.shape, wave, first.source))
        return self._number[key]

    def pooled(self, value: int) -> int:
        """The value one level up; a map that is down to one row or column stays as it is."""
        shape = self.all[value].shape
        if len(shape) < 2 or min(shape[-2:]) < 2:
            return value
        return self.add(("pool",), (value,), (*shape[:-2], shape[-2] // 2, shape[-1] // 2))

    def of_route(self, key: str, route: Route, source: int, merge_row: Mapping[tuple[str, int], int]) -> int:
        numbers = {0: source}
        undropped = set() if self.drop_last else _ends(route)

        def at(node: int, level: int, last: bool = False) -> int:
            value = numbers[node]
            for _ in range(level - route.level_of(node)):
                value = self.pooled(value)
            made_by = route.nodes[node - 1] if node else None
            if isinstance(made_by, Apply) and self.pool.drop[made_by.module] and not last:
                value = self.add(("drop",), (value,))
            return value

        for number, node in enumerate(route.nodes, start=1):
            if isinstance(node, Apply):
                numbers[number] = self.applied(node.module, at(node.input, node.level))
            else:
                inputs = tuple(at(i, node.level, number in undropped) for i in node.inputs)
                shapes = sorted({self.all[i].shape for i in inputs})
                if len(shapes) > 1:
                    raise InputError(
                        f"the route of {key!r} merges samples of shapes {shapes[0]} and {shapes[-1]}: let "
                        "its encoder give as many channels as the modules have (see PadChannels)"
                    )
                numbers[number] = self.add(("merge", merge_row[key, number]), inputs)
        return at(route.sink, route.level, not self.drop_last)


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


# ------------------------------------------------------------------ 2. and 3. waves and groups


def _group(values: list[_Value], pool: PoolInfo, limit: int | None, sources: int) -> list[_Group]:
    """Groups in the order in which they can be computed. ``place``: of each value, its buffer and rank."""
    place = {number: (number, 0) for number in range(sources)}
    groups: list[_Group] = []
    waves: dict[int, list[int]] = {}
    for number in range(sources, len(values)):
        waves.setdefault(values[number].wave, []).append(number)

    for _, wave in sorted(waves.items()):
        together: dict[Hashable, list[int]] = {}
        for number in wave:
            together.setdefault(_group_key(number, values, place, pool), []).append(number)
        made: list[_Group] = []
        for members in together.values():
            if values[members[0]].operation[0] in ("pool", "drop"):
                # One buffer in, one out: in its order, uncut.
                made.append(_Group(sorted(members, key=lambda n: place[values[n].inputs[0]])))
            else:
                made += [_Group(chunk) for chunk in _chunks(members, values, limit)]
        for group in _merge_alike(made, values, pool):
            place |= {number: (sources + len(groups), rank) for rank, number in enumerate(group.values)}
            groups.append(group)
    return groups


def _group_key(
    number: int, values: list[_Value], place: Mapping[int, tuple[int, int]], pool: PoolInfo
) -> Hashable:
    value = values[number]
    operation = value.operation
    if operation[0] == "apply":
        return (*operation, values[value.inputs[0]].shape, number if pool.alone[operation[1]] else None)
    if operation[0] == "merge":
        return ("merge", len(value.inputs), value.shape)
    return (operation, place[value.inputs[0]][0])  # pooling and dropout follow the buffers that are there


def _chunks(members: list[int], values: list[_Value], limit: int | None) -> Iterable[list[int]]:
    chunk: list[int] = []
    size = 0
    for number in members:
        numbers = values[number].rows * prod(values[number].shape)
        if chunk and limit is not None and size + numbers > limit:
            yield chunk
            chunk, size = [], 0
        chunk.append(number)
        size += numbers
    yield chunk


def _merge_alike(groups: list[_Group], values: list[_Value], pool: PoolInfo) -> list[_Group]:
    """Joins groups that apply different but alike modules to equally many rows."""
    joined: dict[Hashable, _Group] = {}
    operations = [values[group.values[0]].operation for group in groups]
    for position, (group, operation) in enumerate(zip(groups, operations, strict=True)):
        key: Hashable = position
        if operation[0] == "apply":
            group.modules = [operation[1]]
            # A module whose group was cut into chunks stays cut.
            if pool.alike[operation[1]] is not None and operations.count(operation) == 1:
                rows = sum(values[n].rows for n in group.values)
                key = (pool.alike[operation[1]], rows, values[values[group.values[0]].inputs[0]].shape)
        if key in joined:
            joined[key].values += group.values
            joined[key].modules += group.modules
        else:
            joined[key] = group
    return list(joined.values())


# ------------------------------------------------------------------ 4. buffers


def _lay_out(
    values: list[_Value], groups: list[_Group], outputs: Mapping[str, int], shapes: Sequence[Shape]
) -> Plan:
    place: dict[int, tuple[int, int]] = {number: (number, 0) for number in range(len(shapes))}
    lengths = [shape[0] for shape in shapes]
    for buffer, group in enumerate(groups, start=len(shapes)):
        start = 0
        for number in group.values:
            place[number] = (buffer, start)
            start += values[number].rows
        lengths.append(start)

    layout = _Layout(place, lengths, values)
    specs = [(group, layout.wanted(group)) for group in groups]
    finals = {key: layout.spans((number,)) for key, number in outputs.items()}
    runs = layout.runs

    steps: list[Step] = []
    merge_rows: list[int] = []
    merge_counts: list[int] = []
    for group, wanted in specs:
        first = values[group.values[0]]
        taken = [runs(spans) for spans in wanted]
        if first.operation[0] == "apply" and len(group.modules) == 1:
            steps.append(ApplyStep(group.modules[0], taken[0], _blocks(group, values)))
        elif first.operation[0] == "apply":
            one, blocks = layout.one_input(group), _blocks(group, values)
            steps.append(TogetherStep(tuple(group.modules), taken[0], one, blocks))
        elif first.operation[0] == "merge":
            sizes = tuple(values[n].rows for n in group.values)
            common = len(sizes) > 1 and len({values[n].inputs for n in group.values}) == 1
            steps.append(CommonMergeStep(tuple(taken)) if common else MergeStep(tuple(taken), sizes))
            merge_rows += [values[n].operation[1] for n in group.values]
            merge_counts.append(len(sizes))
        else:
            steps.append((PoolStep if first.operation[0] == "pool" else DropStep)(taken[0]))
    return Plan(
        tuple(steps),
        layout.cuts(),
        {k: runs(v) for k, v in finals.items()},
        tuple(merge_rows),
        tuple(merge_counts),
    )


def _blocks(group: _Group, values: list[_Value]) -> tuple[Blocks, ...]:
    """For each module of a group, from which source each block of its rows comes."""
    rows = sum(values[n].rows for n in group.values) // len(group.modules)
    blocks: list[list[tuple[int, int]]] = [[]]
    for number in group.values:
        if sum(n for _, n in blocks[-1]) == rows and len(blocks) < len(group.modules):
            blocks.append([])
        blocks[-1].append((values[number].source, values[number].rows))
    return tuple(tuple(layer) for layer in blocks)


Span = tuple[int, int, int]
"""Buffer, first row, row after the last."""


class _Layout:
    """Where values lie, and where the buffers must be cut so that all steps find their inputs."""

    def __init__(self, place: dict[int, tuple[int, int]], lengths: list[int], values: list[_Value]):
        self.place, self.lengths, self.values = place, lengths, values
        self._cuts: dict[int, set[int]] = {}

    def spans(self, numbers: Iterable[int]) -> tuple[Span, ...]:
        """The rows of some values, neighbours joined; remembers where that cuts the buffers."""
        spans: list[Span] = []
        for number in numbers:
            buffer, start = self.place[number]
            stop = start + self.values[number].rows
            if spans and spans[-1][0] == buffer and spans[-1][2] == start:
                spans[-1] = (buffer, spans[-1][1], stop)
            else:
                spans.append((buffer, start, stop))
        for buffer, start, stop in spans:
            if (start, stop) != (0, self.lengths[buffer]):
                self._cuts.setdefault(buffer, {0, self.lengths[buffer]}).update((start, stop))
        return tuple(spans)

    def wanted(self, group: _Group) -> list[tuple[Span, ...]]:
        """What a group takes: one list of spans for each input of its merges, else one list."""
        members = [self.values[n] for n in group.values]
        if members[0].operation[0] == "merge":
            if len({v.inputs for v in members}) == 1:
                members = members[:1]
            return [self.spans(column) for column in zip(*(v.inputs for v in members), strict=True)]
        inputs = [v.inputs[0] for v in members]
        return [self.spans(inputs[: len(inputs) // len(group.modules)] if self.one_input(group) else inputs)]

    def one_input(self, group: _Group) -> bool:
        """Whether all modules of a batched call are applied to the same values."""
        shares = len(group.modules)
        if shares < 2 or len(group.values) % shares:
            return False
        inputs = [self.values[n].inputs[0] for n in group.values]
        return inputs == inputs[: len(inputs) // shares] * shares

    def cuts(self) -> dict[int, tuple[int, ...]]:
        """Lengths of the pieces of every buffer that is cut."""
        bounds = {buffer: sorted(cuts) for buffer, cuts in self._cuts.items()}
        return {buffer: tuple(b - a for a, b in pairwise(points)) for buffer, points in bounds.items()}

    def runs(self, spans: tuple[Span, ...]) -> tuple[Run, ...]:
        """Spans as ranges of pieces."""
        runs = []
        for buffer, start, stop in spans:
            if (start, stop) == (0, self.lengths[buffer]):
                runs.append(Run(buffer, None, None))
            else:
                points = sorted(self._cuts[buffer])
                runs.append(Run(buffer, points.index(start), points.index(stop)))
        return tuple(runs)
