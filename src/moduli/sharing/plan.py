"""Planning: from the routes of many tasks to a short list of batched steps.

Interpreting routes task by task costs T * D small calls. A plan is made once for a set of routes and
batch shapes, and then replayed at every training step:

1. *Values.* Every result that is needed is named by what it is: module k applied to value v, value v
   pooled, ... Equal names are one value, so what two tasks have in common (a shared input, the common
   beginning of two routes) is computed once. See `moduli.sharing.values`.
2. *Groups.* Applications of one module to inputs of one shape become one call on their concatenation; alike
   modules (see `Dense.alike`) one batched call; merges of one shape one merge. Whatever can wait until more
   of its kind is ready waits. A group is cut into chunks where one call would fall out of the cache. See
   `moduli.sharing.grouping`.
3. *Buffers.* The result of a step is one tensor, the rows of its values one after another. A step whose
   inputs already lie in that order in one buffer takes it as it is: in a chain nothing is ever copied.

Modules that mix the samples of a batch (batch normalisation in training) get each value alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from moduli.functional import Blocks
from moduli.sharing.grouping import Group, grouped
from moduli.sharing.route import Route
from moduli.sharing.steps import (
    ApplyStep,
    CommonMergeStep,
    DropStep,
    FillStep,
    MergeStep,
    PoolStep,
    Run,
    Runs,
    Step,
    TogetherStep,
)
from moduli.sharing.values import PoolInfo, Shape, Value, Values


@dataclass(frozen=True)
class Plan:
    """Steps to replay. Buffers 0..sources-1 are the inputs; every step appends one buffer.

    ``cuts[b]``: lengths of the pieces that buffer b is split into, if it is ever taken in part.
    ``outputs``: where the value of each key lies at the end. ``merge_rows``: rows of the table of merge
    weights, in the order in which the steps use them; ``merge_counts``: how many of them each step uses.
    """

    steps: tuple[Step, ...]
    cuts: Mapping[int, tuple[int, ...]]
    outputs: Mapping[str, Runs]
    merge_rows: tuple[int, ...]
    merge_counts: tuple[int, ...]


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
    values = Values(shapes, pool, drop_last)
    outputs = {key: values.of_route(key, route, sources[key], merge_row) for key, route in routes.items()}
    groups = grouped(values.all, len(shapes), pool, limit)
    return _lay_out(values.all, groups, outputs, shapes)


# ------------------------------------------------------------------ buffers


def _lay_out(
    values: list[Value], groups: list[Group], outputs: Mapping[str, int], shapes: Sequence[Shape]
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

    steps = tuple(_step(group, layout, [runs(spans) for spans in wanted]) for group, wanted in specs)
    merges = [group.values for group in groups if values[group.values[0]].operation[0] == "merge"]
    return Plan(
        steps,
        layout.cuts(),
        {k: runs(v) for k, v in finals.items()},
        tuple(values[n].operation[1] for members in merges for n in members),
        tuple(len(members) for members in merges),
    )


def _step(group: Group, layout: _Layout, taken: list[Runs]) -> Step:
    """The step that computes a group from what `_Layout.wanted` says."""
    values = layout.values
    operation, *argument = values[group.values[0]].operation
    match operation:
        case "apply" if len(group.modules) == 1:
            return ApplyStep(group.modules[0], taken[0], _blocks(group, values))
        case "apply":
            return TogetherStep(
                tuple(group.modules), taken[0], layout.one_input(group), _blocks(group, values)
            )
        case "merge" if layout.common(group):
            return CommonMergeStep(tuple(taken))
        case "merge":
            return MergeStep(tuple(taken), tuple(values[n].rows for n in group.values))
        case "fill":
            return FillStep(taken[0], argument[0])
        case "pool":
            return PoolStep(taken[0])
        case _:
            return DropStep(taken[0])


def _blocks(group: Group, values: list[Value]) -> tuple[Blocks, ...]:
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

    def __init__(self, place: dict[int, tuple[int, int]], lengths: list[int], values: list[Value]):
        self.place, self.lengths, self.values = place, lengths, values
        self._cuts: dict[int, set[int]] = {}
        self._pieces: dict[int, dict[int, int]] = {}  # which piece begins at a row, once all cuts are known

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

    def wanted(self, group: Group) -> list[tuple[Span, ...]]:
        """What a group takes: for its merges a list of spans for each place of an input, else one list."""
        members = [self.values[n] for n in group.values]
        if members[0].operation[0] == "merge":
            members = members[:1] if self.common(group) else members
            places = range(len(members[0].inputs))  # the first has the most inputs
            return [self.spans(v.inputs[m] for v in members if m < len(v.inputs)) for m in places]
        inputs = [v.inputs[0] for v in members]
        return [self.spans(inputs[: len(inputs) // len(group.modules)] if self.one_input(group) else inputs)]

    def common(self, group: Group) -> bool:
        """Whether several merges have the same inputs."""
        return len(group.values) > 1 and len({self.values[n].inputs for n in group.values}) == 1

    def one_input(self, group: Group) -> bool:
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

    def runs(self, spans: tuple[Span, ...]) -> Runs:
        """Spans as ranges of pieces."""
        runs = []
        for buffer, start, stop in spans:
            if (start, stop) == (0, self.lengths[buffer]):
                runs.append(Run(buffer, None, None))
            else:
                if buffer not in self._pieces:
                    self._pieces[buffer] = {row: n for n, row in enumerate(sorted(self._cuts[buffer]))}
                pieces = self._pieces[buffer]
                runs.append(Run(buffer, pieces[start], pieces[stop]))
        return tuple(runs)
