"""D decoders for each task: together with the data of its task, each of them is a pseudo-task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.functional import dropout
from moduli.modules import Each, LinearBank
from moduli.modules.bank import stacks_of
from moduli.modules.parts import copy_parts
from moduli.pseudotasks.linear import LinearDecoders
from moduli.pseudotasks.stacked import StackedDecoders
from moduli.pseudotasks.task import TaskDecoders
from moduli.pseudotasks.trajectory import sketch
from moduli.types import Control, Cost, Part, Phase, State


class DecoderControl(Protocol):
    """Algorithm 1 of pseudo-task augmentation, its two plug points: *DecInitialize* and *DecUpdate*.

    Yours is a small class; if it keeps state between phases, give it `state_dict` and `load_state_dict`.
    """

    def initialize(self, bank: DecoderBank, /) -> None:
        """Before training: may freeze decoders, let them drop out apart, change rates or weights."""
        ...

    def update(self, decoders: TaskDecoders, costs: Sequence[Cost], /) -> None:
        """After a phase, for each task: what to do to its decoders, given how badly each does."""
        ...


class DecoderBank(nn.Module):
    """Pseudo-task augmentation: D decoders for each task, `{task: [B, ...]} -> {task: [D, B, outputs]}`.

    All decoders of a task are trained on the same samples, and the loss of a task is the mean over its
    decoders (Eq. 4 of Meyerson & Miikkulainen 2018, "Pseudo-task augmentation"). The model below has to
    serve all of them, which is what helps it. In evaluation mode a task is predicted by the one that did
    best on the validation split (Eq. 5), or by the mean of all (Eq. 6).

    Dropout before the decoders is shared by all decoders of a task (and by tasks that are given the same
    tensor), unless the control sets them apart.

    Args:
        decoders: for each task, inputs and outputs of linear decoders, or D modules of one make.
        number: D.
        control: what to do with the decoders between phases, such as `PTA("HGD")`; None leaves them alone.
        dropout: rate before each decoder. The paper's is 0.5.
        ensemble: predict by the mean of all decoders' outputs instead of the best one. The outputs are
            those before softmax or sigmoid, so that the mean of linear decoders is a linear decoder (Eq. 14).
        trajectories: of so many tasks, the first ones, the weights of all decoders are logged after
            every phase.

    Raises:
        InputError: if a number or rate is impossible, or the control does not fit the bank.
    """

    rates: Tensor
    chosen: Tensor

    def __init__(
        self,
        decoders: Mapping[str, tuple[int, int]] | Mapping[str, Sequence[nn.Module]],
        number: int,
        control: DecoderControl | None = None,
        dropout: float = 0.5,
        ensemble: bool = False,
        trajectories: int = 1,
    ):
        super().__init__()
        if number < 1:
            raise InputError(f"{number} decoders for each task: give at least 1")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout {dropout} before the decoders is not a rate: give 0 to below 1")
        self.number, self.dropout, self.ensemble = number, dropout, ensemble
        self.control, self.trajectories = control, trajectories
        self.apart, self.frozen = False, False
        self.row = {task: row for row, task in enumerate(decoders)}
        self.stacks = nn.ModuleList(_make_stacks(decoders, number))
        self._stack_of = {task: s for s, stack in enumerate(self.stacks) for task in _tasks_of(stack)}
        self.register_buffer("rates", torch.full((len(self.row), number), float(dropout)))
        self.register_buffer("chosen", torch.zeros(len(self.row), dtype=torch.long))
        if control is not None:
            control.initialize(self)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.row)

    # -------------------------------------------------------------- what a control may ask for

    def freeze(self) -> None:
        """Trains only the first decoder of each task; the others stay as they are. Before training."""
        if self.number > 1 and not self.frozen:
            for stack in self._stacks():
                stack.freeze()
        self.frozen = True

    def drop_apart(self) -> None:
        """Draws dropout for each decoder by itself, at a rate of its own (`rates [tasks, D]`)."""
        self.apart = True

    def decoders_of(self, task: str, optimizer: Any = None) -> TaskDecoders:
        """The decoders of one task, to be looked at and changed."""
        s = self._stack_of[task]
        stack = self._stacks()[s]
        return TaskDecoders(
            task,
            self.rates[self.row[task]],
            [stack.weights_of(task, d) for d in range(self.number)],
            [stack.buffers_of(task, d) for d in range(self.number)],
            optimizer,
        )

    # -------------------------------------------------------------- decoding

    def forward(self, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.training:
            return self._training(hidden)
        if self.ensemble:
            return self.decide(self.every(hidden))
        return self._by_stack(hidden, lambda stack, some: stack.one(some, self.chosen[self._rows(some)]))

    def every(self, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of all decoders without dropout before them: `{task: [D, B, outputs]}`."""
        return self._by_stack(hidden, lambda stack, some: stack.every(some))

    def choose(self, costs: Mapping[str, Sequence[Cost]]) -> None:
        """Notes the best decoder of each task (Eq. 5); of equally good ones the first."""
        for task, values in costs.items():
            self.chosen[self.row[task]] = min(range(len(values)), key=values.__getitem__)

    def decide(self, every: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of the chosen decoders, or the mean over all: `{task: [B, outputs]}`."""
        if self.ensemble:
            return {task: outputs.mean(0) for task, outputs in every.items()}
        return {t: y.index_select(0, self.chosen[self.row[t]].view(1))[0] for t, y in every.items()}

    def _training(self, hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.apart:
            return self._by_stack(
                hidden, lambda stack, some: stack.every_apart(some, self.rates[self._rows(some)])
            )
        if self.dropout:
            dropped = {id(x): dropout(x, self.dropout) for x in {id(x): x for x in hidden.values()}.values()}
            hidden = {task: dropped[id(x)] for task, x in hidden.items()}
        return self.every(hidden)

    def _by_stack(
        self, hidden: Mapping[str, Tensor], decode: Callable[[Any, dict[str, Tensor]], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        parts: dict[int, dict[str, Tensor]] = {}
        for task, x in hidden.items():
            if task not in self._stack_of:
                raise InputError(f"no decoders for {task!r}: there are those of {', '.join(self.row)}")
            parts.setdefault(self._stack_of[task], {})[task] = x
        outputs: dict[str, Tensor] = {}
        for s, some in parts.items():
            outputs |= decode(self.stacks[s], some)
        return {task: outputs[task] for task in hidden}

    def _rows(self, tasks: Mapping[str, Any]) -> Any:
        rows = [self.row[task] for task in tasks]
        return slice(None) if rows == list(range(len(self.row))) else rows

    def _stacks(self) -> list[Any]:
        return list(self.stacks)

    # -------------------------------------------------------------- what the model is told

    def controls(self) -> list[Control]:
        """What the loop calls after every phase."""
        return [] if self.control is None or self.number == 1 else [_BetweenPhases(self.control)]

    def record(self) -> list[dict[str, Any]]:
        """Which decoder was chosen, the dropout rates where each has its own, and weights (see `sketch`)."""
        if self.number == 1:
            return []
        records: list[dict[str, Any]] = []
        chosen, rates = self.chosen.tolist(), self.rates.tolist()
        for task, row in self.row.items():
            record: dict[str, Any] = {"split": "decoders", "task": task, "chosen": chosen[row]}
            if self.apart:
                record["rates"] = [round(rate, 4) for rate in rates[row]]
            if row < self.trajectories:
                record["weights"] = [sketch(vector) for vector in self.decoders_of(task).vectors()]
            records.append(record)
        return records

    def exported(self) -> nn.Module:
        """Plain decoders, one for each task: the chosen ones, or the mean of all for an ensemble."""
        linear = [stack for stack in self.stacks if isinstance(stack, LinearDecoders)]
        if len(linear) == len(self.stacks):
            return self._exported_linear(linear)
        modules: dict[str, nn.Module] = {}
        for task in self.row:
            stack: Any = self.stacks[self._stack_of[task]]
            members = range(self.number) if self.ensemble else [int(self.chosen[self.row[task]])]
            copies = [stack.copy_of(d) for d in members]
            modules[task] = MeanOf(copies) if self.ensemble else copies[0]
        return Each(modules).train(self.training)

    def _exported_linear(self, stacks: Sequence[LinearDecoders]) -> LinearBank:
        sizes = {task: size for stack in stacks for task, size in stack.sizes.items()}
        bank = LinearBank({task: sizes[task] for task in self.row}).to(stacks[0].weight)
        for task, row in self.row.items():
            decoders = self.decoders_of(task)
            for number, part in enumerate(bank.own(task)):
                values = [weights[number].value for weights in decoders.weights]
                one = torch.stack(values).mean(0) if self.ensemble else values[int(self.chosen[row])]
                part.value.copy_(one)
        return bank.train(self.training)

    def renamed(self, names: Mapping[str, str]) -> DecoderBank:
        """The decoders under other names, each with weights of their own: `{new name: present name}`."""
        made: dict[str, Any] = {}
        for new, old in names.items():
            stack: Any = self.stacks[self._stack_of[old]]
            linear = isinstance(stack, LinearDecoders)
            made[new] = stack.sizes[old] if linear else [stack.copy_of(d) for d in range(self.number)]
        bank = DecoderBank(made, self.number, self.control, self.dropout, self.ensemble, self.trajectories)
        bank.to(self.rates).train(self.training)
        for new, old in names.items():
            copy_parts(self.own(old), bank.own(new))
        return bank

    def shared_parameters(self) -> list[nn.Parameter]:
        return []

    def own(self, task: str) -> list[Part]:
        s, row = self._stack_of[task], self.row[task]
        parts = [Part(f"stacks.{s}.{p.name}", p.tensor, p.index) for p in self._stacks()[s].own(task)]
        return [*parts, Part("rates", self.rates, row), Part("chosen", self.chosen, row)]

    def extra_repr(self) -> str:
        how = "apart" if self.apart else "shared"
        return f"{len(self.row)} tasks, {self.number} decoders each, dropout {self.dropout} {how}"


class MeanOf(nn.Module):
    """The mean of the outputs of several modules (Eq. 6)."""

    def __init__(self, modules: Sequence[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in self.members]).mean(0)


class _BetweenPhases:
    """Lets a `DecoderControl` act on the decoders of each task."""

    def __init__(self, control: DecoderControl):
        self._control = control

    def after_phase(self, phase: Phase) -> None:
        bank: Any = phase.model.decoders  # type: ignore[attr-defined]
        with torch.no_grad():
            for task, costs in phase.scores.costs.items():
                if any(error < float("inf") for error, _ in costs):  # else nothing is known
                    self._control.update(bank.decoders_of(task, phase.optimizer), costs)

    def state_dict(self) -> State:
        state: Any = getattr(self._control, "state_dict", dict)
        return copy.deepcopy(state())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if hasattr(self._control, "load_state_dict"):
            self._control.load_state_dict(state)  # type: ignore[attr-defined]


def _make_stacks(decoders: Mapping[str, Any], number: int) -> list[nn.Module]:
    """Linear decoders of similar sizes share a stack; other modules have one for each task."""
    sizes = {task: given for task, given in decoders.items() if isinstance(given[0], int)}
    stacks: list[nn.Module] = [
        LinearDecoders({t: sizes[t] for t in names}, number) for names in stacks_of(sizes)
    ]
    for task, modules in decoders.items():
        if task in sizes:
            continue
        if len(modules) != number:
            raise InputError(f"{len(modules)} decoders of {task!r}: give {number}")
        if not any(True for _ in modules[0].parameters()):
            raise InputError(f"the decoder of {task!r} has no weights, so several would all be the same")
        stacks.append(StackedDecoders(task, modules))
    return stacks


def _tasks_of(stack: nn.Module) -> list[str]:
    return list(stack.sizes) if isinstance(stack, LinearDecoders) else [stack.task]  # type: ignore[list-item]
