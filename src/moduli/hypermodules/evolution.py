"""Which hypermodule generates which block: the mapping evolves while everything is trained.

Section 8.4 of Meyerson (2018). A phase of the training loop is a generation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from moduli.errors import InputError
from moduli.types import Phase, State

if TYPE_CHECKING:
    from moduli.hypermodules.model import HyperModel

SELECTIONS = ("soft", "random")
DRAWS = ("usage", "uniform")


@dataclass(frozen=True)
class MappingEvolution:
    """How the mapping of hypermodules to locations evolves (the algorithm of section 8.4.2).

    At the start of a generation, a share of all locations is chosen, and each gets candidates beside the
    module that it has. They are mixed by a softmax of weights that are trained with everything else; at
    the end of the generation the one with the largest share stays. Modules that are then used nowhere are
    deleted. When `final` of the run is left, the model returns to its best validation score so far and is
    trained to the end without evolution.

    Readings of ours: the dissertation gives no numbers for candidates, generations or steps; defaults are
    those of its cross-modal experiments as published. The optimizer begins anew after the return to the best
    model, whose table may have another shape.

    Args:
        candidates: for each chosen location, Q.
        share: of the locations, p.
        epsilon: probability that a candidate is a new module.
        alpha: share of the weights that a location's candidates have together at the start, below 1. 0.5
            gives one candidate and the present module equal shares.
        soft_lr: learning rate of the soft weights; the dissertation's is 100 times that of the rest. No
            weight decay acts on them.
        final: share of the run's steps that train without evolution, from the best model on; with 0 the
            mapping evolves to the end. A run that stops early may end before.
        burn_in: generations before the first candidates, in which a joint model trains as its models would
            apart. The published settings of the cross-modal experiments have 2; candidates seldom win against
            blocks that are trained already. Where the models are trained before, give some, or a small
            `alpha`: else the first candidates take half of the weights away.
        select: "soft" by the learned shares; "random" by random numbers, to compare with.
        draw: candidates are drawn by "usage", the module of a random location, or "uniform" among all. Only
            with "usage" modules are deleted and made.
        within_tasks: whether a location's candidates are only modules that its task uses.

    Raises:
        InputError: if a number is impossible.
    """

    candidates: int = 1
    share: float = 0.5
    epsilon: float = 1e-4
    alpha: float = 0.5
    soft_lr: float = 0.1
    final: float = 0.1
    burn_in: int = 0
    select: Literal["soft", "random"] = "soft"
    draw: Literal["usage", "uniform"] = "usage"
    within_tasks: bool = False

    def __post_init__(self):
        self._check("candidates", self.candidates >= 1, "give at least 1")
        self._check("share", 0 < self.share <= 1, "give a share above 0, at most 1")
        self._check("epsilon", 0 <= self.epsilon <= 1, "give a probability from 0 to 1")
        self._check("alpha", 0 < self.alpha < 1, "give a share above 0 and below 1, such as 0.5")
        self._check("soft_lr", self.soft_lr > 0, "give a learning rate above 0")
        self._check("final", 0 <= self.final < 1, "give a share from 0 to below 1")
        self._check("burn_in", self.burn_in >= 0, "give at least 0")
        self._check("select", self.select in SELECTIONS, f"give one of {', '.join(SELECTIONS)}")
        self._check("draw", self.draw in DRAWS, f"give one of {', '.join(DRAWS)}")

    def _check(self, name: str, fine: bool, remedy: str) -> None:
        if not fine:
            raise InputError(f"{name} of the evolution is {getattr(self, name)!r}: {remedy}")

    def check(self, model: HyperModel) -> None:
        """Refuses models with which this cannot work.

        Raises:
            InputError: if candidates are to be those of a task, and layers belong to several.
        """
        if self.within_tasks and any(len(weight.tasks) > 1 for weight in model.coverage.weights):
            raise InputError(
                "within_tasks: some layers are shared by all tasks, so no task has modules alone"
            )

    def control(self) -> Generations:
        """What acts between the phases of one run."""
        return Generations(self)

    # -------------------------------------------------------------- one generation

    def begin(self, model: HyperModel) -> None:
        """The first candidates."""
        if not self.burn_in:
            self.propose(model, None)

    def propose(self, model: HyperModel, optimizer: Any) -> None:
        """Steps 2 to 4: chooses locations and draws candidates for them."""
        bank = model.hypermodules
        L = len(bank.mapping)
        chosen = torch.randperm(L)[: math.ceil(self.share * L)].sort().values
        drawn = self._draw(model, chosen)
        new = torch.zeros_like(drawn, dtype=torch.bool)
        if self.epsilon and self.draw == "usage" and not bank.frozen:
            new = torch.rand(drawn.shape) < self.epsilon
        fresh = int(new.sum())
        drawn[new] = len(bank.table) + torch.arange(fresh)
        device = bank.mapping.device
        bank.compete(chosen.to(device), drawn.to(device), self.alpha, optimizer, fresh)

    def _draw(self, model: HyperModel, chosen: Tensor) -> Tensor:
        """Modules for locations `[C]`, on the CPU: `[C, Q]`."""
        bank, shape = model.hypermodules, (len(chosen), self.candidates)
        if self.draw == "uniform":
            return torch.randint(len(bank.table), shape)
        mapping = bank.mapping.cpu()
        if not self.within_tasks:
            weights = (bank.uses() + bank.before).cpu().double()
            return torch.multinomial(weights, math.prod(shape), replacement=True).view(shape)
        drawn = torch.empty(shape, dtype=torch.long)
        for task in model.input_of:
            ranges = [w.locations for w in model.coverage.weights if w.tasks == (task,)]
            here = torch.zeros(len(mapping), dtype=torch.bool)
            for locations in ranges:
                here[locations] = True
            rows, own = here[chosen], mapping[here]
            if len(own):
                drawn[rows] = own[torch.randint(len(own), (int(rows.sum()), self.candidates))]
        return drawn

    def settle(self, model: HyperModel, optimizer: Any) -> None:
        """Step 7, and the deletion of modules without use."""
        bank = model.hypermodules
        delete = self.draw == "usage" and not bank.frozen
        bank.settle(optimizer, chance=self.select == "random", delete=delete)


class Generations:
    """Acts between the phases of one run: the loop of section 8.4.2.

    Random numbers are torch's global ones, which a run saves. The mapping is in the state of the model.

    Args:
        evolution: what is to be done.
    """

    def __init__(self, evolution: MappingEvolution):
        self.evolution = evolution
        self.over = False  # whether the final training has begun

    def after_phase(self, phase: Phase) -> None:
        """Selects modules, then tries others; at the time of the final training, begins that."""
        if self.over:
            return
        model: Any = phase.model
        self.evolution.settle(model, phase.optimizer)
        if phase.step >= phase.steps:
            return
        if phase.steps - phase.step <= self.evolution.final * phase.steps:
            self._begin_final(phase)
        elif phase.number >= self.evolution.burn_in:
            self.evolution.propose(model, phase.optimizer)

    def _begin_final(self, phase: Phase) -> None:
        """Step 9."""
        self.over = True
        model: Any = phase.model
        phase.restore()
        self.evolution.settle(model, None)
        model.hypermodules.changed.zero_()  # from now on nothing does
        phase.optimizer.state.clear()

    def state_dict(self) -> State:
        return {"over": self.over}

    def load_state_dict(self, state: State) -> None:
        self.over = state["over"]
