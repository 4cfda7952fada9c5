"""Homoscedastic uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import Parameter

from moduli.balancing.given import check_given
from moduli.balancing.samples import scaled
from moduli.balancing.weighting import Weighting
from moduli.errors import InputError, did_you_mean
from moduli.functional import constant
from moduli.tasks import Regression, Task
from moduli.types import Losses, Model, State

Form = Literal["kendall", "half", "log1p"]


class Uncertainty(Weighting):
    """Learns a variance sigma_t^2 for each task, along with the network: uncertain tasks count less.

    With s_t = log sigma_t^2, the sum over the tasks that take part is followed, in one of three forms:

    * "kendall": e^-s L + s/2, and L e^-s / 2 + s/2 for regression (at the optimum sigma^2 is 2 L, and L).
    * "half": L e^-s / 2 + s/2 for all tasks, as LibMTL and torchjd have it.
    * "log1p": L e^-s / 2 + log(1 + e^s) for all tasks, which is never negative (Liebel & Körner 2018, Eq. 2).

    The optimizer of the network trains s, without weight decay. With Adam, an s moves by about the learning
    rate in a step, also for some steps in which its task does not take part, as all stacked parameters do.
    Before each step s is brought back to within `bound`: a loss of 0 would let it fall for ever.

    Differences from the source: a kind of the user's own counts as a classification. Where a regression has
    several outputs, our loss is their mean, so it has one s/2 and not one for each.

    Args:
        tasks: all tasks of the model; their kinds decide the form.
        init: of every s; LibMTL starts from -0.5.
        bound: the largest |s|; also the factors on losses stay between e^-bound and e^bound.
        form: "kendall", "half" or "log1p".

    Raises:
        InputError: for an unknown form, numbers without sense, or tasks that are not those of the model.

    Source: Kendall, Gal & Cipolla (2018), "Multi-task learning using uncertainty to weigh losses", Eq. 7 and
    10.
    """

    kept = ("_factor",)

    def __init__(self, tasks: Sequence[Task], init: float = 0.0, bound: float = 10.0, form: Form = "kendall"):
        super().__init__()
        if form not in get_args(Form):
            raise InputError(f"unknown form {form!r} of uncertainty, {did_you_mean(form, get_args(Form))}")
        if not 0 < bound <= 50:
            raise InputError(f"the bound on s is {bound}: give a number above 0, of at most 50")
        if not abs(init) <= bound:
            raise InputError(f"s starts at {init}: give a number within the bound {bound}")
        self.form, self.bound = form, bound
        self.factor = {task.name: self._half_or_one(task) for task in tasks}
        self.s = Parameter(torch.full((len(self.factor),), float(init)))  # in the model's order of tasks

    def _half_or_one(self, task: Task) -> float:
        return 1.0 if self.form == "kendall" and not isinstance(task.kind, Regression) else 0.5

    def attach(self, model: Model) -> None:
        check_given(self.factor, model, self)

    def begin(self, losses: Tensor) -> None:
        self._factor = losses.new_tensor([self.factor[task] for task in self.tasks])

    def parameters(self) -> Sequence[Parameter]:
        return [self.s]

    # -------------------------------------------------------------- a step

    def backward(self, losses: Losses, model: Model) -> None:
        with torch.no_grad():
            self.s.clamp_(-self.bound, self.bound)
        super().backward(losses, model)
        gradient = self._gradient(losses).to(self.s)
        self.s.grad = gradient if self.s.grad is None else self.s.grad + gradient

    def weigh(self, losses: Tensor) -> Tensor:
        return self._factor * torch.exp(-self.s.detach())

    def _gradient(self, losses: Losses) -> Tensor:
        """The gradient of the sum by s, 0 where a task does not take part."""
        price = self.s.detach().sigmoid() if self.form == "log1p" else 0.5
        gradient = price - self.weigh(self.last) * self.last
        if list(losses.mean) != self.tasks:
            part = constant(tuple(int(task in losses.mean) for task in self.tasks), gradient.device)
            gradient = torch.where(part > 0, gradient, 0.0)
        return scaled(gradient, losses)

    # -------------------------------------------------------------- records and state

    def record(self) -> list[dict[str, Any]]:
        """The mean weights since the last record, and every s as it is."""
        s = dict(zip(self.tasks, self.s.tolist(), strict=False))
        return [{**weights, "s": s} for weights in super().record()]

    def state_dict(self) -> State:
        return {**super().state_dict(), "s": self.s.detach().clone()}

    def load_state_dict(self, state: State, /) -> None:
        state = dict(state)
        with torch.no_grad():
            self.s.copy_(state.pop("s"))
        super().load_state_dict(state)
