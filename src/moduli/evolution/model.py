"""A joint model in which several candidates compete for each task."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.evolution.mutation import complexity
from moduli.evolution.structure import EvolvingStructure
from moduli.model import JointModel
from moduli.types import Control, Cost, Decoders, Part

if TYPE_CHECKING:
    from moduli.evolution.ctr import RouteEvolution


class EvolvingModel(JointModel):
    """Champions and challengers of all tasks in one joint model, trained together over one pool of modules.

    A candidate (E, G, D) has a route G with scales of its own, a decoder D of its own, and an encoder E of
    its own if that has weights and no other task reads the same input (Eq. 7.2). In training a task has the
    outputs of all of its candidates, `[candidates, B, ...]`, and its loss is their mean, as it is of several
    decoders; else those of the chosen one. What champion and challenger have in common, such as the beginning
    of their routes behind an encoder without weights, is computed once.

    `evolve` makes one.

    Args:
        model: see `evolve`.
        challengers: for each task.
        evolution: what happens between phases.

    Raises:
        InputError: if encoders or decoders cannot be copied.
    """

    def __init__(self, model: JointModel, challengers: int, evolution: RouteEvolution):
        candidates = {
            task: [task, *(f"{task}#{c + 1}" for c in range(challengers))] for task in model.input_of
        }
        for name in (name for names in candidates.values() for name in names[1:]):
            if name in model.input_of or name in model.encoder_of.values():
                raise InputError(f"{name!r} would be the name of a challenger: call that task otherwise")
        owner = {name: task for task, names in candidates.items() for name in names}
        encoder_of, read = _encoders_for(model, owner)
        encoders: Any = model.encoders
        if any(new != old for new, old in read.items()):
            encoders = _renamed(encoders, read, "encoders")
        self._assemble(
            model.input_of,
            encoder_of,
            encoders,
            EvolvingStructure(model.structure, candidates),  # type: ignore[arg-type]
            _renamed(model.decoders, owner, "decoders") if challengers else model.decoders,
        )
        self.evolution = evolution
        self._owner = owner
        self._costs: dict[str, Sequence[Cost]] = {}
        evolution.begin(self)
        self.train(model.training)

    @property
    def routes(self) -> EvolvingStructure:
        """The structure, in which the routes compete."""
        assert isinstance(self.structure, EvolvingStructure)
        return self.structure

    # -------------------------------------------------------------- candidates side by side

    def forward(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Outputs of `tasks`: of the chosen candidates; in training of all, `{task: [candidates, B, ...]}`.

        Where candidates have D decoders each, `{task: [candidates * D, B, ...]}`.

        Args:
            inputs: a batch for each input name, as its encoder takes it.
            tasks: names of tasks, by default all whose input is given.
        """
        names = self._competing(inputs, tasks) if self.training else self._chosen(inputs, tasks)
        outputs = self.decoders(self._hidden(inputs, [name for some in names.values() for name in some]))
        join = torch.cat if isinstance(self.decoders, Decoders) else torch.stack
        return {
            task: outputs[some[0]] if len(some) == 1 else join([outputs[name] for name in some])
            for task, some in names.items()
        }

    def hidden(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """What the decoders of the chosen candidates read: `{task: [B, ...]}`."""
        names = self._chosen(inputs, tasks)
        hidden = self._hidden(inputs, [name for (name,) in names.values()])
        return {task: hidden[name] for task, (name,) in names.items()}

    def every(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Outputs of all decoders of all candidates, each under its name: `{candidate: [D, B, outputs]}`."""
        names = [name for some in self._competing(inputs, tasks).values() for name in some]
        return self._every(self._hidden(inputs, names))

    def task_of(self, name: str) -> str:
        """The task that a candidate is for."""
        return self._owner[name]

    def choose(self, costs: Mapping[str, Sequence[Cost]]) -> None:
        """Notes the best candidate of each task, and of each candidate the best decoder.

        The best has the least error, which is the primary metric, signed. Of equal ones it is the first, so
        that a challenger has to be strictly better than the champion.

        Args:
            costs: of the decoders of each candidate, by its name.
        """
        if isinstance(self.decoders, Decoders):
            self.decoders.choose(costs)
        self._costs = dict(costs)
        for task in self.input_of:
            names = [name for name in self.routes.active(task) if name in costs]
            if names:
                self.routes.chosen[task] = min(names, key=lambda name: _error(costs[name]))

    def decide(self, every: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """From what `every` gives to the outputs of the model, `{task: [B, outputs]}`."""
        chosen = {name: task for task, name in self.routes.chosen.items()}
        return {chosen[name]: y for name, y in super().decide(every).items() if name in chosen}

    def _hidden(self, inputs: Mapping[str, Any], names: Sequence[str]) -> dict[str, Tensor]:
        """What the decoders of candidates read."""
        read = {self.encoder_of[name]: inputs[self.input_of[self._owner[name]]] for name in names}
        encoded = self.encoders(read)
        return self.structure({name: encoded[self.encoder_of[name]] for name in names})

    def _competing(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None) -> dict[str, list[str]]:
        return {task: self.routes.active(task) for task in self._asked(inputs, tasks)}

    def _chosen(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None) -> dict[str, list[str]]:
        return {task: [self.routes.chosen[task]] for task in self._asked(inputs, tasks)}

    # -------------------------------------------------------------- what the loop asks for

    def controls(self) -> list[Control]:
        """Those of the stages, then the evolution of routes."""
        return [*super().controls(), self.evolution]

    def record(self) -> list[dict[str, Any]]:
        """For each task: errors and sizes of its candidates, which was chosen, and how that one was made.

        Beside what the stages tell, of the champions only.
        """
        told = [record for record in super().record() if record.get("task") in (None, *self.input_of)]
        return [*told, *(self._record_of(task) for task in self.input_of)]

    def _record_of(self, task: str) -> dict[str, Any]:
        routes, names = self.routes, self.routes.active(task)
        chosen = routes.chosen[task]
        mutation = routes.mutations.get(chosen)
        return {
            "split": "evolution",
            "task": task,
            "chosen": names.index(chosen),
            "errors": [_error(self._costs[name]) for name in names if name in self._costs],
            "nodes": [complexity(routes.routes[name]) for name in names],
            "accepted": mutation.to_json() if mutation is not None else None,
        }

    def exported(self) -> JointModel:
        """A plain joint model of the chosen candidates alone, with copies of all weights."""
        chosen = self.routes.chosen
        read = {self.encoder_of[task]: self.encoder_of[name] for task, name in chosen.items()}
        model = JointModel.__new__(JointModel)
        model._assemble(
            self.input_of,
            {task: self.encoder_of[task] for task in self.input_of},
            _copied(self.encoders, read),
            self.routes.champions(),
            _copied(self.decoders, chosen),
        )
        return model.train(self.training).exported()

    def count_parameters(self) -> int:
        """Trainable numbers of the modules and of the chosen candidates."""
        return self.exported().count_parameters()

    def own(self, task: str) -> list[Part]:
        """Parameters and buffers, or blocks of stacked ones, that only the candidates for this task have."""
        return [part for name in self.routes.candidates[task] for part in self.own_of(name)]

    def own_of(self, name: str) -> list[Part]:
        """Those of one candidate."""
        return super().own(name)

    def ends_of(self, name: str) -> list[Part]:
        """Those of the encoder and the decoder of one candidate."""
        return [part for part in self.own_of(name) if not part.name.startswith("structure.")]

    def keep_apart(self, wanted: bool = True) -> bool:
        """Not offered: candidates of one task share what their routes have in common. Always False."""
        return super().keep_apart(False)


# ------------------------------------------------------------------ inside


def _error(costs: Sequence[Cost]) -> float:
    """The error of a candidate is that of its best decoder."""
    return min(costs)[0]


def _encoders_for(model: JointModel, owner: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """For each candidate the name of its encoder; and for each of these names, of which encoder it is a copy.

    An encoder is copied if it has weights, and they belong to one task.
    """
    readers: dict[str, list[str]] = {}
    for task, name in model.encoder_of.items():
        readers.setdefault(name, []).append(task)
    stage: Any = model.encoders
    alone = {name for name, tasks in readers.items() if len(tasks) == 1 and stage.own(name)}
    encoder_of: dict[str, str] = {}
    read = {name: name for name in readers}
    for name, task in owner.items():
        encoder = model.encoder_of[task]
        encoder_of[name] = name if name != task and encoder in alone else encoder
        read[encoder_of[name]] = encoder
    return encoder_of, read


def _renamed(stage: Any, names: Mapping[str, str], what: str) -> nn.Module:
    if not hasattr(stage, "renamed"):
        raise InputError(
            f"{what} of type {type(stage).__name__} cannot be copied for challengers: give a module for each "
            "name, a LinearBank, or a stage with a method `renamed`"
        )
    return stage.renamed(names)


def _copied(stage: Any, names: Mapping[str, str]) -> nn.Module:
    """A copy of a stage, under other names."""
    twin = copy.deepcopy(stage)
    return twin.renamed(names) if hasattr(twin, "renamed") else twin
