"""A pool of modules and one route per task: single-task, hard, permuted, soft order and more in one class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.functional import constant, dropout
from moduli.modules import Aliases, named_state
from moduli.sharing.apart import ApartModules
from moduli.sharing.plan import Plan, PoolInfo, make_plan
from moduli.sharing.route import Route, inputs_of
from moduli.sharing.steps import Buffers, Context, halve
from moduli.types import Copy, Part

_AUTO = -1
_PLANS_KEPT = 256


class RoutedStructure(nn.Module):
    """Modules of a pool, assembled for each task along its route; `{task: [B, ...]} -> {task: [B, ...]}`.

    Execution is planned once for each set of tasks and batch shapes and then replayed in batched calls
    (see `moduli.sharing.plan`); the results are those of interpreting every route by itself. Tasks that
    are given the same tensor object share what their routes have in common, dropout masks included.

    The soft-merge weights of all routes are the softmax of `scales`, one flat parameter that starts at
    zero, so that every merge starts as a plain mean.

    Args:
        modules: the pool; modules must keep the shape of their input and not change it in place. One that
            also takes fewer channels than it puts out says with `filters` how many that are.
        routes: one for each task; their node numbers refer to the pool.
        owners: for each module, the task it belongs to, or None if it is shared (the default).
        dropout: rate (share of values dropped) after every application of a module with parameters,
            after the pooling that follows it.
        pool: the adapter from one level to the next; 2x2 max-pooling by default.
        limit: most numbers in the result of one batched call, None for no limit. By default 2**20 on a
            CPU, beyond which results leave the cache and batching costs more than it saves, and no limit
            elsewhere. 0 turns batching off.
        drop_last: whether dropout also follows the modules whose results end a route.

    Raises:
        InputError: if a route names a module that is not in the pool or belongs to another task, or the
            dropout rate is not in [0, 1).
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        routes: Mapping[str, Route],
        owners: Sequence[str | None] | None = None,
        dropout: float = 0.0,
        pool: Callable[[Tensor], Tensor] = halve,
        limit: int | None = _AUTO,
        drop_last: bool = True,
    ):
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout {dropout} is not a rate: give a number from 0 to below 1")
        self.modules_pool = nn.ModuleList(modules)
        self.owners = tuple(owners) if owners is not None else (None,) * len(self.modules_pool)
        if len(self.owners) != len(self.modules_pool):
            raise InputError(
                f"{len(self.owners)} owners for {len(self.modules_pool)} modules: give one for each"
            )
        self.dropout, self.pool, self.limit, self.drop_last = dropout, pool, limit, drop_last
        self._plans: dict[tuple, Plan] = {}
        total = self._take(routes)
        self.scales = nn.Parameter(torch.zeros(total)) if total else None
        self._apart = False
        self._aliases = Aliases()
        self._copies: list[Copy] = []

    # -------------------------------------------------------------- routes and merge weights

    def _take(self, routes: Mapping[str, Route]) -> int:
        """Checks the routes, lays out the scales of all merges, task by task, and says how many there are."""
        self.routes = dict(routes)
        self._check_routes()
        self._plans.clear()
        self._merge_row: dict[tuple[str, int], int] = {}
        self._scales_of: dict[str, slice] = {}
        widths: list[int] = []
        for task, route in self.routes.items():
            start = sum(widths)
            for node in route.merges:
                self._merge_row[task, node] = len(widths)
                widths.append(len(inputs_of(route.nodes[node - 1])))
            self._scales_of[task] = slice(start, sum(widths))
        total, widest = sum(widths), max(widths, default=0)
        self._ragged = any(width != widest for width in widths)
        # In a ragged table, missing entries point one past the end, where a -inf stands.
        table = torch.full((len(widths), widest), total)
        start = 0
        for row, width in enumerate(widths):
            table[row, :width] = torch.arange(start, start + width)
            start += width
        self._table: Tensor
        self.register_buffer("_table", table, persistent=False)
        return total

    def rerouted(self, routes: Mapping[str, Route]) -> RoutedStructure:
        """The same modules along other routes, whose merges start as plain means."""
        structure = RoutedStructure(
            list(self.modules_pool),
            routes,
            self.owners,
            self.dropout,
            self.pool,
            self.limit,
            self.drop_last,
        )
        parameter = next(self.parameters(), None)
        return structure.to(parameter.device if parameter is not None else None).train(self.training)

    def _check_routes(self) -> None:
        for task, route in self.routes.items():
            unknown = [k for k in route.modules if not 0 <= k < len(self.modules_pool)]
            if unknown:
                raise InputError(
                    f"the route of {task!r} applies module {unknown[0]}, but the pool has "
                    f"{len(self.modules_pool)}: number them from 0"
                )
            taken = [k for k in sorted(route.modules) if self.owners[k] not in (None, task)]
            if taken:
                owner = self.owners[taken[0]]
                raise InputError(
                    f"the route of {task!r} applies module {taken[0]}, which belongs to {owner!r}"
                )

    def merge_weights(self) -> Tensor | None:
        """The softmax weights of all merges `[merges, M]`, rows ordered by task and node; None if none."""
        if self.scales is None or not len(self._table):
            return None
        if not self._ragged:
            return self.scales.view(self._table.shape).softmax(-1)
        padded = torch.cat([self.scales, self.scales.new_full((1,), float("-inf"))])
        return padded[self._table].softmax(-1)

    def scales_of(self, task: str) -> slice:
        """Where the scales of a task's merges stand in `scales`."""
        return self._scales_of[task]

    def merge_weights_of(self, task: str) -> list[list[float]]:
        """The softmax weights of one task's merges: a list for each merge along its route."""
        weights, route = self.merge_weights(), self.routes[task]
        if weights is None:
            return []
        rows = weights.detach()[[self._merge_row[task, node] for node in route.merges]].tolist()
        widths = [len(inputs_of(route.nodes[node - 1])) for node in route.merges]
        return [row[:width] for row, width in zip(rows, widths, strict=True)]

    def record(self) -> list[dict[str, Any]]:
        """What is logged after every phase: the softmax weights of all merges, by task."""
        if self.scales is None:
            return []
        return [{"split": "scales", "scales": {task: self.merge_weights_of(task) for task in self.routes}}]

    # -------------------------------------------------------------- execution

    def forward(self, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        sources: list[Tensor] = []
        number: dict[int, int] = {}
        source_of: dict[str, int] = {}
        for task, x in hidden.items():
            if id(x) not in number:
                number[id(x)] = len(sources)
                sources.append(x)
            source_of[task] = number[id(x)]
        apart = self._apart and self.training and len(sources) == len(source_of)
        plan = self._plan(source_of, sources, apart)

        drop = (lambda x: dropout(x, self.dropout)) if self.training and self.dropout else (lambda x: x)
        buffers = Buffers(sources, plan.cuts)
        context = Context(list(self.modules_pool), drop, self.pool, iter(self._rows(plan)))
        if apart:
            shared = [owner is None for owner in self.owners]
            context.apart = ApartModules(list(self.modules_pool), shared, self._aliases, list(hidden))
        for step in plan.steps:
            buffers.append(step(buffers, context))
        self._copies = context.apart.copies if context.apart is not None else []
        return {task: buffers.take(runs) for task, runs in plan.outputs.items()}

    def _rows(self, plan: Plan) -> Sequence[Tensor]:
        """The weights of the merges of each step, taken from the table in one piece."""
        weights = self.merge_weights()
        if weights is None or not plan.merge_rows:
            return ()
        rows = constant(plan.merge_rows, weights.device)
        return weights.index_select(0, rows).split(plan.merge_counts)

    def _plan(self, source_of: dict[str, int], sources: list[Tensor], apart: bool) -> Plan:
        device = sources[0].device
        key = (
            tuple(source_of.items()),
            tuple(x.shape for x in sources),
            device,
            self.training,
            self.drop_last,
            apart,
        )
        plan = self._plans.get(key)
        if plan is None:
            missing = [task for task in source_of if task not in self.routes]
            if missing:
                raise InputError(f"no route for task {missing[0]!r}: there are {', '.join(self.routes)}")
            if len(self._plans) >= _PLANS_KEPT:
                self._plans.pop(next(iter(self._plans)))
            limit = self.limit
            if limit == _AUTO:
                limit = 1 << 20 if device.type == "cpu" else None
            plan = self._plans[key] = make_plan(
                {task: self.routes[task] for task in source_of},
                source_of,
                [tuple(x.shape) for x in sources],
                self._merge_row,
                self._pool_info(together=limit != 0, apart=apart),
                limit,
                self.drop_last,
            )
        return plan

    def _pool_info(self, together: bool, apart: bool) -> PoolInfo:
        modules = list(self.modules_pool)
        # Kept apart, shared modules must not be batched with others, nor tasks without `apart`.
        alike = [getattr(m, "alike", None) if together else None for m in modules]
        alone = [self.training and mixes_samples(m) for m in modules]
        if apart:
            alike = [
                (a, o) if a is not None and o is None else None
                for a, o in zip(alike, self.owners, strict=True)
            ]
            alone = [a or not hasattr(m, "apart") for a, m in zip(alone, modules, strict=True)]
        return PoolInfo(
            alike=tuple(alike),
            alone=tuple(alone),
            drop=tuple(self.dropout > 0 and any(True for _ in m.parameters()) for m in modules),
            channels=tuple(getattr(m, "filters", None) for m in modules),
        )

    # -------------------------------------------------------------- tasks apart

    def keep_apart(self, wanted: bool) -> None:
        """Whether every task's samples meet copies of the shared parameters, while training.

        Tasks that read one input cannot be kept apart: they share what is computed on it.
        """
        self._apart = wanted
        self._copies = []

    def copies(self) -> list[Copy]:
        """The copies that the last forward pass worked with; none if it did not keep tasks apart."""
        return self._copies

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to one step: graphs cannot be copied."""
        return {**super().__getstate__(), "_copies": [], "_aliases": Aliases()}

    # -------------------------------------------------------------- who owns what

    def shared_parameters(self) -> list[nn.Parameter]:
        return [
            p
            for module, owner in zip(self.modules_pool, self.owners, strict=True)
            if owner is None
            for p in module.parameters()
        ]

    def own(self, task: str) -> list[Part]:
        parts = [
            Part(name, tensor)
            for k, (module, owner) in enumerate(zip(self.modules_pool, self.owners, strict=True))
            if owner == task
            for name, tensor in named_state(module, f"modules_pool.{k}")
        ]
        here = self._scales_of.get(task, slice(0, 0))
        if self.scales is not None and here.start < here.stop:
            parts.append(Part("scales", self.scales, here))
        return parts


def mixes_samples(module: nn.Module) -> bool:
    """Whether a module's result for a sample depends on the rest of the batch while training.

    True for batch normalisation, and for any module that says so with `mixes_samples = True`.
    """
    return any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) or getattr(m, "mixes_samples", False)
        for m in module.modules()
    )
