"""CTR, coevolution of task routing: routes evolve while the modules that they assemble are trained.

Algorithm 7.1 of Meyerson (2018).
"""

from __future__ import annotations

from typing import Any

import torch

from moduli.errors import InputError
from moduli.evolution.model import EvolvingModel
from moduli.evolution.mutation import complexity
from moduli.evolution.structure import EvolvingStructure
from moduli.model import JointModel
from moduli.modules.parts import copy_parts
from moduli.sharing import RoutedStructure
from moduli.types import Phase, State


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
