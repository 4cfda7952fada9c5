"""A joint model in which several candidates compete for each task: CTR, coevolution of task routing."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from moduli.errors import InputError
from moduli.evolution.mutation import complexity
from moduli.evolution.structure import EvolvingStructure
from moduli.model import JointModel
from moduli.modules.parts import copy_parts
from moduli.sharing import RoutedStructure
from moduli.types import Control, Cost, Decoders, Part, Phase, State


def evolve(
    model: JointModel,
    challengers: int = 1,
    alpha: float = 0.1,
    max_nodes: int | None = None,
    removal: float = 0.0,
) -> EvolvingModel:
    """Lets the routes of a model evolve while it is trained: CTR, Algorithm 7.1 of Meyerson (2018).

    Nothing else changes: `fit(evolve(JointModel(tasks, hard(...), ...)), tasks)`. The routes that the model
    has are those of the first champions: `hard` gives the chain of Eq. 7.3, `minimal` and `random_chains`
    other beginnings; any routes over a shared pool will do. Pseudo-tasks (see `moduli.augment`) may be made
    before or after.

    Args:
        model: its structure is a `RoutedStructure` whose modules are shared. It is used up: the modules of
            the pool, encoders and decoders are taken over.
        challengers: candidates beside the champion of each task, the lambda of a (1 + lambda)-EA; 1 in the
            dissertation. With 0 nothing evolves.
        alpha: softmax share of a new edge at the start, 0 < alpha < 1; "small" in the dissertation.
        max_nodes: most applications of modules in a task's route; None for no bound.
        removal: probability that a mutation removes a node, where one can be, instead of adding one.

    Returns:
        The evolving model.

    Raises:
        InputError: if a number is impossible, or parts of the model cannot be copied.
    """
    structure = model.structure
    if not isinstance(structure, RoutedStructure) or isinstance(structure, EvolvingStructure):
        raise InputError(
            f"a structure of type {type(structure).__name__} cannot evolve: give a RoutedStructure (see hard)"
        )
    if any(owner is not None for owner in structure.owners):
        raise InputError("modules belong to single tasks: routes evolve over a pool that all tasks share")
    if challengers < 0:
        raise InputError(f"challengers is {challengers}: give 1, or 0 for routes that stay as they are")
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}: give a share above 0 and below 1, such as 0.1")
    if not 0 <= removal <= 1:
        raise InputError(f"removal is {removal}: give a probability from 0 to 1")
    most = max(complexity(structure.routes[task]) for task in model.input_of)
    if max_nodes is not None and max_nodes < most:
        raise InputError(
            f"max_nodes is {max_nodes}: a route has {most} nodes at the start, give at least that"
        )
    return EvolvingModel(model, challengers, RouteEvolution(alpha, max_nodes, removal))


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
        hidden, decoders = self._hidden(inputs, names), self.decoders
        if isinstance(decoders, Decoders):
            return decoders.every(hidden)
        return {name: y.unsqueeze(0) for name, y in decoders(hidden).items()}

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
        decided = super().decide(every)
        return {self.task_of(name): y for name, y in decided.items() if name in self.routes.chosen.values()}

    def _hidden(self, inputs: Mapping[str, Any], names: Sequence[str]) -> dict[str, Tensor]:
        """What the decoders of candidates read."""
        read = {self.encoder_of[name]: inputs[self.input_of[self._owner[name]]] for name in names}
        encoded = self.encoders(read)
        return self.structure({name: encoded[self.encoder_of[name]] for name in names})

    def _competing(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None) -> dict[str, list[str]]:
        return {task: self.routes.active(task) for task in self._asked(inputs, tasks)}

    def _chosen(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None) -> dict[str, list[str]]:
        return {task: [self.routes.chosen[task]] for task in self._asked(inputs, tasks)}

    def _asked(self, inputs: Mapping[str, Any], tasks: Sequence[str] | None) -> list[str]:
        if tasks is not None:
            return list(tasks)
        return [task for task, name in self.input_of.items() if name in inputs]

    # -------------------------------------------------------------- what the loop asks for

    def controls(self) -> list[Control]:
        """Those of the stages, then the evolution of routes."""
        return [*super().controls(), self.evolution]

    def record(self) -> list[dict[str, Any]]:
        """For each task: errors and sizes of its candidates, which was chosen, and how that one was made.

        Beside what the stages tell, of the champions only.
        """
        told = [
            r for r in super().record() if self._owner.get(r.get("task", ""), r.get("task")) == r.get("task")
        ]
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


class RouteEvolution:
    """A (1 + lambda)-EA for the routes of every task, between phases (sections 7.2.4 and 7.2.5).

    The candidate that did best on the validation split is the champion of the next phase, a challenger only
    if it was strictly better. Every challenger begins as a copy of its champion, learned weights and what the
    optimizer knows of them included, with one mutation.

    Random numbers are torch's global ones, which a run saves. Evolution itself keeps no state: routes and
    choices are in the state of the model.

    Args:
        alpha, max_nodes, removal: see `evolve`.
    """

    def __init__(self, alpha: float = 0.1, max_nodes: int | None = None, removal: float = 0.0):
        self.alpha, self.max_nodes, self.removal = alpha, max_nodes, removal

    def begin(self, model: EvolvingModel) -> None:
        """Makes the first challengers."""
        self._next_generation(model, None)

    def after_phase(self, phase: Phase) -> None:
        """Makes the chosen candidates champions, and new challengers of them."""
        assert isinstance(phase.model, EvolvingModel)
        self._next_generation(phase.model, phase.optimizer)

    @torch.no_grad()
    def _next_generation(self, model: EvolvingModel, optimizer: Any) -> None:
        routes = model.routes
        heirs = {
            name: heir
            for task in routes.candidates
            for name, heir in routes.heirs(task, self.alpha, self.max_nodes, self.removal).items()
        }
        for task, names in routes.candidates.items():
            source = model.ends_of(routes.chosen[task])
            for name in names:
                if name in heirs and name != routes.chosen[task]:
                    copy_parts(source, model.ends_of(name), optimizer)
        routes.succeed(heirs, optimizer)

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None:
        """Nothing to do."""


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
