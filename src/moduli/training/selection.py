"""Which phase's model is kept, and when to stop: decided on validation scores alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moduli.model import JointModel
from moduli.types import Scores, State

_TINY = 1e-12  # an error of zero has no logarithm


class Selection:
    """Keeps the best weights so far, and counts phases without a better score.

    If nothing is shared, every task is a model of its own: then each keeps the weights of its own best
    phase, and training goes on until the last has run out of patience. Otherwise the joint model is
    selected as a whole. So separate models are not held back by being trained side by side.

    Args:
        model: whose weights are kept.
        rule: "loss" sums validation losses, "metric" averages the tasks' metrics (see `validation_score`),
            "last" keeps the weights of the last phase and never stops early.
        patience: phases without a better score before stopping; None for no end.
    """

    def __init__(self, model: JointModel, rule: str, patience: int | None):
        self.model, self.rule, self.patience = model, rule, patience
        tasks = list(model.input_of)
        self.groups = [[task] for task in tasks] if model.separate else [tasks]
        self.best = [-math.inf] * len(self.groups)
        self.best_step = [0] * len(self.groups)
        self.stale = [0] * len(self.groups)
        self._weights: dict[str, Tensor] | None = None

    @property
    def finished(self) -> bool:
        """Whether no group has patience left."""
        return all(self._out_of_patience(group) for group in range(len(self.groups)))

    def update(self, scores: Scores, step: int) -> bool:
        """Takes the scores of a phase; True if some group has a new best."""
        if self.rule == "last":
            self.best_step = [step] * len(self.groups)
            return True
        values = [validation_score(scores, tasks, self.rule) for tasks in self.groups]
        better = [
            g for g, value in enumerate(values) if value > self.best[g] and not self._out_of_patience(g)
        ]
        if self._weights is None or (len(self.groups) == 1 and better):
            self._weights = {name: x.detach().clone() for name, x in self.model.state_dict().items()}
        elif better:
            for g in better:
                self._keep(self.groups[g])
        for g, value in enumerate(values):
            if g in better:
                self.best[g], self.best_step[g], self.stale[g] = value, step, 0
            else:
                self.stale[g] += 1
        return bool(better)

    def _out_of_patience(self, group: int) -> bool:
        return self.patience is not None and self.stale[group] >= self.patience

    def restore(self) -> None:
        """Puts the best weights into the model."""
        if self._weights is not None:
            self.model.load_state_dict(self._weights)

    def _keep(self, tasks: list[str]) -> None:
        assert self._weights is not None
        with torch.no_grad():
            for task in tasks:
                for part in self.model.own(task):
                    self._weights[part.name][part.index] = part.value

    def state_dict(self) -> State:
        return {
            "best": list(self.best),
            "best_step": list(self.best_step),
            "stale": list(self.stale),
            "weights": self._weights,
        }

    def load_state_dict(self, state: Mapping) -> None:
        self.best, self.best_step = list(state["best"]), list(state["best_step"])
        self.stale, self._weights = list(state["stale"]), state["weights"]


def validation_score(scores: Scores, tasks: Sequence[str], rule: str) -> float:
    """How good validation scores are, more is better: minus the sum of the losses, or the mean metric.

    Of metrics of which less is better, such as an error in the user's units, minus the logarithm counts:
    a change of units then adds a constant, which decides nothing.

    A task without labels in this split does not count.
    """
    if rule == "loss":
        return -sum(scores.loss[task] for task in tasks if not math.isnan(scores.loss[task]))
    known = [task for task in tasks if not math.isnan(scores.value(task))]
    values = [
        scores.value(task) if scores.higher_is_better[task] else -math.log(max(scores.value(task), _TINY))
        for task in known
    ]
    return sum(values) / max(1, len(known))
