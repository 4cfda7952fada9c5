"""A weighting as a schedule: tasks are drawn as often as they would be weighted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from moduli.errors import InputError
from moduli.scheduling.sampling import Sampling
from moduli.types import Losses, Model, Scores, State, Stateful


class Weigher(Stateful, Protocol):
    """What is asked of a weighting; every `moduli.balancing.Weighting` has it."""

    tasks: list[str]
    last: Tensor

    def attach(self, model: Model) -> None: ...

    def parameters(self) -> Sequence[Any]: ...

    def note(self, losses: Losses, model: Model) -> Any:
        """Keeps the losses of the tasks that take part in `last`, `[T]` in the order of `tasks`."""
        ...

    def weigh(self, losses: Tensor, /) -> Tensor:
        """The weights of all tasks `[T]`; called once for every step."""
        ...

    def observe(self, scores: Scores) -> None: ...


class ByWeights(Sampling):
    """Draws one task with p_k = w_k / sum_j w_j, with w from the last known losses of all tasks.

    In expectation and up to a constant, this follows the same gradient as weighting the losses of a task
    that is drawn uniformly. Tasks whose loss is not known yet come first, at random. Pass the losses on as
    they are, that is, leave `combine` at its default: the weights are in the draw.

    Weights that depend on losses or scores are what this is for. What a weighting does to single samples
    has no effect here.

    Args:
        weighting: a `moduli.balancing.Weighting`, or what has the methods of `Weigher`.
        seed: of the draws.

    Raises:
        InputError: if this is no weighting, or its weights do not follow from losses alone.
    """

    def __init__(self, weighting: Weigher, seed: int = 0):
        super().__init__(1, seed)
        name = type(weighting).__name__
        if not (hasattr(weighting, "note") and hasattr(weighting, "weigh")):
            raise InputError(f"{name} gives no weights to draw tasks by: give a Weighting")
        if weighting.parameters():
            raise InputError(f"the optimizer trains the weights of {name}: use it as combine, not to draw by")
        if not getattr(weighting, "of_losses", True):
            raise InputError(f"the weights of {name} do not follow from losses alone: use it as combine")
        self.weighting = weighting
        self._model: Any = None
        self._weights: Tensor | None = None

    def attach(self, model: Any) -> None:
        self._model = model
        self.weighting.attach(model)

    def after_step(self, losses: Losses) -> None:
        self.weighting.note(losses, self._model)
        self._weights = self.weighting.weigh(self.weighting.last)

    def observe(self, scores: Scores) -> None:
        self.weighting.observe(scores)

    def chances(self, tasks: Sequence[str], step: int) -> Tensor:
        if self._weights is None:
            return torch.ones(len(tasks))
        rows = [self.weighting.tasks.index(task) for task in tasks]
        weights, last = torch.stack([self._weights.detach(), self.weighting.last]).cpu()[:, rows]
        unknown = last.isnan()
        return unknown.double() if unknown.any() else weights.double()

    def state_dict(self) -> State:
        weights = None if self._weights is None else self._weights.detach().clone()
        return {**super().state_dict(), "weighting": self.weighting.state_dict(), "weights": weights}

    def load_state_dict(self, state: State, /) -> None:
        super().load_state_dict(state)
        self.weighting.load_state_dict(state["weighting"])
        self._weights = state["weights"]
